//! Go: the machine's, or else a pinned one in the cache.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use sha2::{Digest, Sha256};

use crate::tools;

/// The one that is brought when there is none: its version, and the SHA-256 of its archives from <https://go.dev/dl>.
const VERSION: &str = "1.26.8";
const ARCHIVES: [(&str, &str, &str); 2] = [
    ("x86_64", "amd64", "d0f743b33e8d8945e6b1f432edd15785c70507121d6e2a723b21285eddf8b57b"),
    ("aarch64", "arm64", "211ffced9dcb9633a55eac6364816ec0ddd951389a740e88fa8b3337971bdda0"),
];

/// A Go that answers.
#[derive(Clone, Debug)]
pub(crate) struct Go {
    pub(crate) program: PathBuf,
    /// As it says.
    pub(crate) version: String,
}

/// The first Go that answers: on the path, where go.dev's instructions put it, in the cache. Brings one when there is none, unless
/// `SCONE_OPERATOR_NO_INSTALL` is set.
pub(crate) fn find(tell: &mut dyn FnMut(&str)) -> Result<Go, String> {
    // One process asks once: each start of a ring asks for many programs.
    static FOUND: OnceLock<Go> = OnceLock::new();
    if let Some(found) = FOUND.get() {
        return Ok(found.clone());
    }
    let cached = tools::cache().map_err(|error| error.to_string())?.join(format!("go-{VERSION}"));
    let places = [PathBuf::from("go"), PathBuf::from("/usr/local/go/bin/go"), cached.join("bin/go")];
    let brought = cached.join("bin/go");
    let go = if let Some(go) = places.iter().find_map(|program| ask(program)) {
        go
    } else {
        bring(&cached, tell)?;
        ask(&brought).ok_or_else(|| format!("{} does not answer", brought.display()))?
    };
    Ok(FOUND.get_or_init(|| go).clone())
}

/// Whether a Go is there already.
pub fn is_there() -> bool {
    let cached = tools::cache().map(|cache| cache.join(format!("go-{VERSION}/bin/go")));
    let places = [PathBuf::from("go"), PathBuf::from("/usr/local/go/bin/go")];
    places.into_iter().chain(cached).any(|program| ask(&program).is_some())
}

fn ask(program: &Path) -> Option<Go> {
    let output = Command::new(program).arg("version").stdin(Stdio::null()).output().ok()?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then(|| Go { program: program.to_owned(), version })
}

/// Downloads, checks and unpacks.
fn bring(place: &Path, tell: &mut dyn FnMut(&str)) -> Result<(), String> {
    if std::env::var_os("SCONE_OPERATOR_NO_INSTALL").is_some_and(|value| !value.is_empty()) {
        return Err("it is not installed, and nothing may be".to_owned());
    }
    let Some((_, name, expected)) = ARCHIVES.iter().find(|(machine, ..)| *machine == std::env::consts::ARCH) else {
        return Err(format!("there is no pinned archive for {}", std::env::consts::ARCH));
    };
    let url = format!("https://go.dev/dl/go{VERSION}.linux-{name}.tar.gz");
    tell(&format!("downloading {url} into {}", place.display()));
    let parent = place.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).map_err(|error| format!("{} cannot be made: {error}", parent.display()))?;
    let scratch =
        tempfile::tempdir_in(parent).map_err(|error| format!("{} cannot be used: {error}", parent.display()))?;
    let archive = scratch.path().join("go.tar.gz");
    run(Command::new("curl").args(["-fsSL", "--retry", "2", "--connect-timeout", "20", "-o"]).arg(&archive).arg(&url))?;
    check(&archive, expected)?;
    run(Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(scratch.path()))?;
    // Complete before it has its name.
    fs::rename(scratch.path().join("go"), place).map_err(|error| format!("{} cannot be made: {error}", place.display()))
}

fn check(archive: &Path, expected: &str) -> Result<(), String> {
    let bytes = fs::read(archive).map_err(|error| format!("{} cannot be read: {error}", archive.display()))?;
    let found = hex::encode(Sha256::digest(&bytes));
    if found == expected { Ok(()) } else { Err(format!("its SHA-256 is {found}, not {expected}")) }
}

fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{name} cannot be started: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(said.lines().last().unwrap_or("it failed").to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_with_another_digest_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("go.tar.gz");
        fs::write(&archive, "something else").unwrap();
        let said = check(&archive, ARCHIVES[0].2).unwrap_err();
        assert!(said.contains("SHA-256") && said.contains(ARCHIVES[0].2), "{said}");
        let right = hex::encode(Sha256::digest("something else"));
        assert_eq!(check(&archive, &right), Ok(()));
    }
}
