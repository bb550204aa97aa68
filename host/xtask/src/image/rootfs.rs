//! What lies in the image, and where it comes from.
//!
//! The programs are linked to glibc, and the image carries its loader and the few libraries that they need, as they are on the
//! machine that builds. Static programs would be simpler, but there is no good way to them: with musl, the C parts of `ring` need a
//! C compiler for musl beside Rust's target, which neither rustup nor Debian's defaults bring; and static glibc cannot look up names.
//! So the same sources give the same image on machines with the same Debian, as they do with the same Rust.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

use super::oci::{Entry, Layer};
use crate::{cargo, failure::Failure, toolchain::Toolchain};

const PASSWD: &str = "root:x:0:0:root:/:/nologin\nnonroot:x:65532:65532:nonroot:/:/nologin\n";
const GROUP: &str = "root:x:0:\nnonroot:x:65532:\n";
/// glibc has both of these built in.
const NSSWITCH: &str = "hosts: files dns\n";

/// What programs run on, and the programs: the operator as `/manager`, its compiler beside it, where it looks for it.
pub(crate) fn programs(
    toolchain: &Toolchain,
    scratch: &Path,
    programs: &[PathBuf; 2],
    license: &Path,
) -> Result<[Layer; 2], Failure> {
    let mut base = BTreeMap::from([
        ("etc/group".to_owned(), Entry::File(GROUP.into())),
        ("etc/nsswitch.conf".to_owned(), Entry::File(NSSWITCH.into())),
        ("etc/passwd".to_owned(), Entry::File(PASSWD.into())),
        ("etc/ssl/certs/ca-certificates.crt".to_owned(), Entry::File(authorities().into_bytes())),
        ("licenses/LICENSE".to_owned(), Entry::File(read(license)?)),
    ]);
    for library in libraries(programs)? {
        let path = library.display().to_string();
        base.insert(path.trim_start_matches('/').to_owned(), Entry::Program(read(&library)?));
    }
    let [manager, compiler] = programs;
    let own = BTreeMap::from([
        ("manager".to_owned(), Entry::Program(stripped(toolchain, scratch, manager)?)),
        ("operator-compiler".to_owned(), Entry::Program(stripped(toolchain, scratch, compiler)?)),
        ("scone-operator".to_owned(), Entry::Link("manager")),
    ]);
    Ok([Layer { name: "runtime", entries: base }, Layer { name: "programs", entries: own }])
}

/// The packages of these crates. What else lies in the folder is for tests.
pub(crate) fn modules(folder: &Path, crates: &[OsString]) -> Result<Layer, Failure> {
    let mut entries = BTreeMap::new();
    for name in crates {
        let file = format!("{}.wasm", name.to_string_lossy().replace('_', "-"));
        entries.insert(format!("modules/{file}"), Entry::File(read(&folder.join(&file))?));
    }
    Ok(Layer { name: "modules", entries })
}

/// Public authorities, as Mozilla trusts them: from a crate whose version is pinned, not from the machine.
fn authorities() -> String {
    let mut text = String::new();
    for certificate in TLS_SERVER_ROOT_CERTS {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let encoded = STANDARD.encode(certificate);
        let mut rest = encoded.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at(rest.len().min(64));
            text.push_str(line);
            text.push('\n');
            rest = after;
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

/// The loader and the libraries that these programs need, as the machine's own loader finds them.
fn libraries(programs: &[PathBuf]) -> Result<BTreeSet<PathBuf>, Failure> {
    let mut command = Command::new("ldd");
    command.args(programs).env_remove("LD_LIBRARY_PATH").env_remove("LD_PRELOAD").env("LC_ALL", "C");
    let text = cargo::capture("looking for the libraries that the programs need", &mut command)?;
    found(&text)
}

fn found(text: &str) -> Result<BTreeSet<PathBuf>, Failure> {
    let mut libraries = BTreeSet::new();
    for line in text.lines().filter(|line| line.starts_with(char::is_whitespace)).map(str::trim) {
        if line.ends_with("not found") {
            return Err(Failure::Bad(format!("a library of the programs is missing: {line}; install it")));
        }
        let place = line.split_once("=> ").map_or(line, |(_, place)| place);
        let place = place.split(" (").next().unwrap_or_default();
        // The kernel brings `linux-vdso.so.1`, which has no place.
        if place.starts_with('/') {
            libraries.insert(PathBuf::from(place));
        }
    }
    Ok(libraries)
}

/// The program without what only debuggers need; names of functions stay, for backtraces.
fn stripped(toolchain: &Toolchain, scratch: &Path, program: &Path) -> Result<Vec<u8>, Failure> {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let place = scratch.join("image").join(format!(".{name}.{}", std::process::id()));
    if let Some(folder) = place.parent() {
        fs::create_dir_all(folder).map_err(|error| Failure::file("create", folder, &error))?;
    }
    let own = toolchain.rustlib().join(&toolchain.host).join("bin/rust-objcopy");
    // Distributions' Rust comes without one, and with binutils.
    let tool = if own.is_file() { own } else { PathBuf::from("objcopy") };
    let mut command = Command::new(tool);
    command.arg("--strip-debug").arg(program).arg(&place);
    cargo::capture(&format!("stripping {name}"), &mut command)?;
    let bytes = read(&place);
    // Left behind, it would only take space.
    let _ = fs::remove_file(&place);
    bytes
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| Failure::file("read", path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loader_and_libraries_are_taken_from_where_they_are_found() {
        let text = "/t/scone-operator:\n\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x2)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x3)\n/t/operator-compiler:\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x4)\n";
        let expected = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from);
        assert_eq!(found(text).unwrap(), BTreeSet::from(expected));
    }

    #[test]
    fn a_library_that_is_missing_is_named() {
        let failure = found("\tlibz.so.1 => not found\n").unwrap_err();
        assert!(failure.to_string().contains("libz.so.1"), "{failure}");
    }

    #[test]
    fn programs_that_need_no_library_get_none() {
        assert!(found("\tstatically linked\n").unwrap().is_empty());
    }

    #[test]
    fn authorities_are_certificates_in_text_form() {
        let text = authorities();
        assert!(text.matches("-----BEGIN CERTIFICATE-----\nMI").count() > 100);
        assert!(text.lines().all(|line| line.len() <= 64));
    }

    #[test]
    fn only_modules_of_the_checkout_are_taken() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["las.wasm", "las-next.wasm", "signed-policy.wasm"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let layer = modules(folder.path(), &["las".into(), "signed-policy".into()]).unwrap();
        assert_eq!(layer.entries.keys().collect::<Vec<_>>(), ["modules/las.wasm", "modules/signed-policy.wasm"]);
        assert!(modules(folder.path(), &["cas".into()]).unwrap_err().to_string().contains("cas.wasm"));
    }
}
