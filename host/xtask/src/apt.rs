//! The sources of the standard library from Debian, without touching the machine's packages or its apt configuration.
//!
//! The mirror, the keyring and the proxy are those of the machine. Everything that apt writes goes into one folder of ours.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    cargo::{ask, capture},
    failure::Failure,
};

/// Debian keeps several versions of Rust in backports, and the newest in sid.
const SUITES: [&str; 2] = ["trixie-backports", "sid"];

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Where Debian comes from on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mirror {
    uri: String,
    keyring: PathBuf,
}

/// Puts the sources of this release's standard library into `library`. Works in `scratch`.
pub(crate) fn rust_sources(release: &str, scratch: &Path, library: &Path) -> Result<(), Failure> {
    for program in ["apt-get", "apt-cache", "dpkg-deb", "tar"] {
        if ask(program, &["--version"]).is_none() {
            return Err(Failure::Bad(format!(
                "the sources are not installed, and without `{program}` there is no other way to them"
            )));
        }
    }
    let mirror = mirror(&configured());
    if !mirror.keyring.is_file() {
        return Err(Failure::Bad(format!(
            "Debian's keys are not at {}; `apt-get install debian-archive-keyring` brings them",
            mirror.keyring.display()
        )));
    }
    for suite in SUITES {
        let folder = scratch.join(suite);
        let configuration = configure(&folder, suite, &mirror)?;
        let apt = |program: &str| {
            let mut command = Command::new(program);
            command.env("APT_CONFIG", &configuration).env("LC_ALL", "C").current_dir(&folder);
            command
        };
        capture(&format!("reading the package list of Debian {suite}"), apt("apt-get").args(["update", "--quiet"]))?;
        let table = capture("looking for rust-src", apt("apt-cache").args(["madison", "rust-src"]))?;
        let Some(version) = pick(&table, release) else { continue };
        let package = format!("rust-src={version}");
        capture(&format!("downloading {package} (45 MB)"), apt("apt-get").args(["download", "--quiet", &package]))?;
        return unpack(&folder, library);
    }
    Err(Failure::Bad(format!("Debian ({}) no longer has rust-src {release}", SUITES.join(", "))))
}

/// All of the machine's lists of package sources.
fn configured() -> Vec<String> {
    let mut paths = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
        paths.extend(entries.filter_map(Result::ok).map(|entry| entry.path()));
    }
    paths.sort();
    paths.iter().filter_map(|path| fs::read_to_string(path).ok()).collect()
}

/// The machine's mirror of Debian, from either of the two formats; Debian's own when it names none.
fn mirror(texts: &[String]) -> Mirror {
    let found = texts
        .iter()
        .flat_map(|text| text.split("\n\n"))
        .find_map(|part| stanza(part).or_else(|| part.lines().find_map(one_line)));
    found.unwrap_or_else(|| Mirror { uri: "http://deb.debian.org/debian".to_owned(), keyring: PathBuf::from(KEYRING) })
}

/// `Types: deb` / `URIs: ...` / `Signed-By: ...`
fn stanza(part: &str) -> Option<Mirror> {
    let field = |name: &str| {
        let mut lines = part.lines().filter(|line| !line.starts_with('#'));
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    };
    let uri = field("URIs")?.split_whitespace().find(|uri| is_debian(uri))?;
    Some(Mirror { uri: uri.to_owned(), keyring: keyring(field("Signed-By")) })
}

/// `deb [signed-by=...] http://... suite components`
fn one_line(line: &str) -> Option<Mirror> {
    let rest = line.trim().strip_prefix("deb ")?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(inner) => inner.split_once(']')?,
        None => ("", rest),
    };
    let uri = rest.split_whitespace().next().filter(|uri| is_debian(uri))?;
    let signed = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
    Some(Mirror { uri: uri.to_owned(), keyring: keyring(signed) })
}

fn is_debian(uri: &str) -> bool {
    let path = uri.trim_end_matches('/');
    uri.starts_with("http") && path.ends_with("/debian")
}

/// A key that is written out in the list itself is not a path; Debian's own file holds the same one.
fn keyring(signed: Option<&str>) -> PathBuf {
    PathBuf::from(signed.filter(|path| path.starts_with('/')).unwrap_or(KEYRING))
}

fn configure(folder: &Path, suite: &str, mirror: &Mirror) -> Result<PathBuf, Failure> {
    for part in ["lists/partial", "cache/archives/partial", "etc/sources.list.d", "etc/preferences.d", "etc/apt.conf.d"]
    {
        let path = folder.join(part);
        fs::create_dir_all(&path).map_err(|error| Failure::file("create", &path, &error))?;
    }
    let Mirror { uri, keyring } = mirror;
    let sources =
        format!("Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: main\nSigned-By: {}\n", keyring.display());
    let root = folder.display();
    let machine = ask("apt-config", &["dump", "Acquire"]).unwrap_or_default();
    let text = format!(
        "Dir::Etc \"{root}/etc\";\nDir::Etc::SourceList \"{root}/etc/sources.list\";\n\
         Dir::Etc::SourceParts \"{root}/etc/sources.list.d\";\nDir::State::Lists \"{root}/lists\";\nDir::Cache \"{root}/cache\";\n\
         APT::Sandbox::User \"root\";\nAcquire::Languages \"none\";\n{}",
        transport(&machine)
    );
    let configuration = folder.join("apt.conf");
    for (path, text) in [
        (folder.join("etc/sources.list.d/debian.sources"), sources.as_str()),
        (folder.join("etc/sources.list"), ""),
        (configuration.clone(), text.as_str()),
    ] {
        fs::write(&path, text).map_err(|error| Failure::file("write", &path, &error))?;
    }
    Ok(configuration)
}

/// How this machine reaches its mirror. Its other settings stay behind: some of them are hooks that change the machine.
fn transport(dump: &str) -> String {
    const KEPT: [&str; 5] =
        ["Acquire::http", "Acquire::https", "Acquire::Check-", "Acquire::Retries", "Acquire::ForceIPv"];
    let kept = dump.lines().filter(|line| KEPT.iter().any(|prefix| line.starts_with(prefix)));
    kept.fold(String::new(), |text, line| text + line + "\n")
}

/// The newest packaging of exactly this release, from a table of `rust-src | version | place`.
fn pick(table: &str, release: &str) -> Option<String> {
    let versions = table.lines().filter_map(|line| line.split('|').nth(1)).map(str::trim);
    let mut fitting: Vec<&str> = versions
        .filter(|version| {
            version.strip_prefix(release).is_some_and(|rest| rest.starts_with('+') || rest.starts_with('-'))
        })
        .collect();
    // Shorter first, so that `-10` counts as newer than `-9`.
    fitting.sort_by_key(|version| (version.len(), *version));
    fitting.last().map(|version| (*version).to_owned())
}

/// Takes the library out of the package, and leaves the compiler's 300 MB of sources in it.
fn unpack(folder: &Path, library: &Path) -> Result<(), Failure> {
    let entries = fs::read_dir(folder).map_err(|error| Failure::file("list", folder, &error))?;
    let package = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|e| e == "deb"));
    let Some(package) = package else {
        return Err(Failure::Internal(format!("apt-get download left no package in {}", folder.display())));
    };
    fs::create_dir_all(library).map_err(|error| Failure::file("create", library, &error))?;
    let script = "dpkg-deb --fsys-tarfile \"$1\" | tar -x -C \"$2\" --strip-components=5 --wildcards './usr/src/rustc-*/library/*'";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(&package).arg(library);
    capture("unpacking the standard library", &mut command)?;
    if library.join("std/Cargo.toml").is_file() {
        return Ok(());
    }
    Err(Failure::Bad(format!("{} holds no usr/src/rustc-*/library/std", package.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        vec![text.to_owned()]
    }

    #[test]
    fn the_machines_mirror_is_used_and_its_security_archive_is_not() {
        let text = "Types: deb\nURIs: http://mirror.example/debian-security\nSuites: trixie-security\n\n\
                    Types: deb\n# a comment\nURIs: http://mirror.example/debian\nSuites: trixie\nSigned-By: /keys/debian.gpg\n";
        let expected =
            Mirror { uri: "http://mirror.example/debian".to_owned(), keyring: PathBuf::from("/keys/debian.gpg") };
        assert_eq!(mirror(&texts(text)), expected);
    }

    #[test]
    fn the_one_line_format_is_understood() {
        let text = "# deb http://old.example/debian x main\ndeb [arch=amd64 signed-by=/k.gpg] https://m.example/debian/ trixie main\n";
        let expected = Mirror { uri: "https://m.example/debian/".to_owned(), keyring: PathBuf::from("/k.gpg") };
        assert_eq!(mirror(&texts(text)), expected);
    }

    #[test]
    fn without_a_mirror_debians_own_is_used() {
        let other = "Types: deb\nURIs: https://deb.nodesource.com/node_20.x\nSuites: nodistro\n";
        assert_eq!(mirror(&texts(other)).uri, "http://deb.debian.org/debian");
    }

    #[test]
    fn a_key_inside_the_list_falls_back_to_the_keyring_file() {
        let text = "Types: deb\nURIs: http://m.example/debian\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n";
        assert_eq!(mirror(&texts(text)).keyring, Path::new(KEYRING));
    }

    #[test]
    fn only_the_exact_release_is_picked_and_its_newest_packaging() {
        let table = " rust-src | 1.96.1+dfsg1-2~bpo13+1 | http://m trixie-backports/main amd64 Packages\n \
                     rust-src | 1.95.0+dfsg1-9~bpo13+1 | x\n rust-src | 1.95.0+dfsg1-10~bpo13+1 | x\n rust-src | 1.95.01-1 | x\n";
        assert_eq!(pick(table, "1.95.0").as_deref(), Some("1.95.0+dfsg1-10~bpo13+1"));
        assert_eq!(pick(table, "1.94.0"), None);
    }

    #[test]
    fn the_proxy_is_kept_and_hooks_are_not() {
        let dump = "Acquire::http::Proxy \"http://p:1\";\nAcquire::IndexTargets::deb \"\";\nAPT::Update::Post-Invoke:: \"rm\";\n";
        assert_eq!(transport(dump), "Acquire::http::Proxy \"http://p:1\";\n");
    }
}
