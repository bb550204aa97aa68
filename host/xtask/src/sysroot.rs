//! A private sysroot: the standard library for WebAssembly, built from source by the toolchain that will use it.
//!
//! rustc accepts a library only from the very compiler that built it, so a distribution's compiled one does not help. The
//! build happens beside its final place and is renamed at the end: whatever interrupts it leaves nothing that looks complete.
//! The sources lie inside the seed's own workspace, and all paths are remapped, so that two machines get the same bytes.

use std::{
    env, fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use crate::{
    apt,
    cargo::{self, cargo},
    failure::Failure,
    progress,
    toolchain::{self, TARGET, Toolchain},
    workspace::Workspace,
};

/// Where a sysroot keeps its standard library.
pub(crate) fn lib(sysroot: &Path) -> PathBuf {
    sysroot.join("lib/rustlib").join(TARGET).join("lib")
}

/// The private sysroot, when it was built before.
pub(crate) fn built(workspace: &Workspace, toolchain: &Toolchain) -> Option<PathBuf> {
    let path = workspace.cache.join(toolchain.sysroot_name());
    toolchain::has_std(&lib(&path)).then_some(path)
}

/// The private sysroot, built when it is not there yet. A second process waits for the first.
pub(crate) fn private(workspace: &Workspace, toolchain: &Toolchain) -> Result<PathBuf, Failure> {
    if let Some(path) = built(workspace, toolchain) {
        return Ok(path);
    }
    let cache = &workspace.cache;
    fs::create_dir_all(cache).map_err(|error| Failure::file("create", cache, &error))?;
    let lock = cache.join("setup.lock");
    let guard = fs::File::create(&lock).map_err(|error| Failure::file("create", &lock, &error))?;
    guard.lock().map_err(|error| Failure::file("lock", &lock, &error))?;
    if let Some(path) = built(workspace, toolchain) {
        return Ok(path);
    }
    let place = cache.join(toolchain.sysroot_name());
    let scratch = cache.join(format!("{}.partial", toolchain.sysroot_name()));
    remove(&scratch)?;
    let made = build(workspace, toolchain, &scratch)?;
    remove(&place)?;
    fs::rename(&made, &place).map_err(|error| Failure::file("move the built sysroot to", &place, &error))?;
    remove(&scratch)?;
    Ok(place)
}

fn build(workspace: &Workspace, toolchain: &Toolchain, scratch: &Path) -> Result<PathBuf, Failure> {
    let seed = scratch.join("seed");
    let library = seed.join("library");
    write(&seed.join("src/lib.rs"), "")?;
    write(&seed.join("Cargo.toml"), SEED)?;
    match toolchain.sources() {
        Some(sources) => {
            progress::note(&format!("using the sources in {}", sources.display()));
            copy(&sources, &library)?;
        }
        None => apt::rust_sources(&toolchain.release, &scratch.join("apt"), &library)?,
    }
    let (target, wrapper) = (scratch.join("target"), scratch.join("rustc.sh"));
    write(&wrapper, &remapping(toolchain, &library))?;
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755))
        .map_err(|error| Failure::file("make executable", &wrapper, &error))?;
    let mut command = cargo(workspace);
    command
        .current_dir(&seed)
        .args(["build", "--release", "-Zbuild-std=std,panic_abort", "--target", TARGET])
        .env("CARGO_TARGET_DIR", &target)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("__CARGO_TESTS_ONLY_SRC_ROOT", &library)
        .env("RUSTC_WRAPPER", &wrapper)
        // Bitcode makes modules with and without link-time optimisation link.
        .env("CARGO_ENCODED_RUSTFLAGS", "-Cembed-bitcode=yes")
        .env_remove("RUSTFLAGS");
    cargo::capture(&format!("building Rust's standard library for {TARGET} (about 30 s)"), &mut command)?;
    assemble(toolchain, &target.join(TARGET).join("release/deps"), &scratch.join("sysroot"))
}

const SEED: &str = "\
[package]
name = \"seed\"
version = \"0.0.0\"
edition = \"2024\"

[profile.release]
panic = \"abort\"

[workspace]
";

/// A compiler that forgets where it works: paths get the names of an official build, and symbols are told apart by the crate
/// instead of by cargo's hash, into which the folder goes. Otherwise the same library built in two folders would differ, and
/// with it every module.
fn remapping(toolchain: &Toolchain, library: &Path) -> String {
    let registry = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")))
        .unwrap_or_default()
        .join("registry/src");
    format!(
        "#!/bin/sh\nfor word; do shift; case \"$word\" in metadata=*) word=metadata=std ;; esac; set -- \"$@\" \"$word\"; done\n\
         exec \"$@\" '--remap-path-prefix={}=/rust/deps' '--remap-path-prefix={}=/rustc/{}/library'\n",
        registry.display(),
        library.display(),
        toolchain.commit
    )
}

/// Puts the libraries where rustc looks, beside a link to the toolchain's own folder with the linker.
fn assemble(toolchain: &Toolchain, built: &Path, sysroot: &Path) -> Result<PathBuf, Failure> {
    let lib = lib(sysroot);
    fs::create_dir_all(&lib).map_err(|error| Failure::file("create", &lib, &error))?;
    let entries = fs::read_dir(built).map_err(|error| Failure::file("list", built, &error))?;
    for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        let library = path.extension().is_some_and(|extension| extension == "rlib");
        let name = path.file_name().filter(|name| !name.to_string_lossy().starts_with("libseed-"));
        if let (true, Some(name)) = (library, name) {
            fs::copy(&path, lib.join(name)).map_err(|error| Failure::file("copy", &path, &error))?;
        }
    }
    if !toolchain::has_std(&lib) {
        return Err(Failure::Internal(format!("the build in {} made no standard library", built.display())));
    }
    let host = sysroot.join("lib/rustlib").join(&toolchain.host);
    symlink(toolchain.rustlib().join(&toolchain.host), &host).map_err(|error| Failure::file("link", &host, &error))?;
    Ok(sysroot.to_path_buf())
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| Failure::file("create", folder, &error))?;
    }
    fs::write(path, text).map_err(|error| Failure::file("write", path, &error))
}

fn remove(folder: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Failure::file("remove", folder, &error)),
        _ => Ok(()),
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::create_dir_all(to).map_err(|error| Failure::file("create", to, &error))?;
    let entries = fs::read_dir(from).map_err(|error| Failure::file("list", from, &error))?;
    for entry in entries.filter_map(Result::ok) {
        let (path, place) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &place)?;
        } else {
            fs::copy(&path, &place).map_err(|error| Failure::file("copy", &path, &error))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toolchain::tests::toolchain;

    fn workspace(folder: &Path) -> Workspace {
        Workspace { root: folder.join("root"), target: folder.join("target"), cache: folder.join("cache") }
    }

    #[test]
    fn a_finished_sysroot_is_not_built_again() {
        let folder = tempfile::tempdir().unwrap();
        let (workspace, toolchain) = (workspace(folder.path()), toolchain(folder.path()));
        let place = workspace.cache.join(toolchain.sysroot_name());
        write(&lib(&place).join("libstd-1.rlib"), "").unwrap();
        assert_eq!(private(&workspace, &toolchain).unwrap(), place);
    }

    #[test]
    fn what_an_interrupted_build_leaves_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let (workspace, toolchain) = (workspace(folder.path()), toolchain(folder.path()));
        let scratch = workspace.cache.join(format!("{}.partial/sysroot", toolchain.sysroot_name()));
        write(&lib(&scratch).join("libstd-1.rlib"), "").unwrap();
        assert_eq!(built(&workspace, &toolchain), None);
    }

    #[test]
    fn a_sysroot_holds_the_libraries_and_the_hosts_linker() {
        let folder = tempfile::tempdir().unwrap();
        let toolchain = toolchain(&folder.path().join("toolchain"));
        let (deps, sysroot) = (folder.path().join("deps"), folder.path().join("sysroot"));
        write(&deps.join("libstd-1.rlib"), "std").unwrap();
        write(&deps.join("libstd-1.rmeta"), "not needed").unwrap();
        write(&toolchain.rustlib().join(&toolchain.host).join("bin/rust-lld"), "").unwrap();
        assemble(&toolchain, &deps, &sysroot).unwrap();
        assert!(lib(&sysroot).join("libstd-1.rlib").is_file());
        assert!(!lib(&sysroot).join("libstd-1.rmeta").exists());
        assert!(sysroot.join("lib/rustlib").join(&toolchain.host).join("bin/rust-lld").is_file());
    }

    #[test]
    fn a_build_that_made_nothing_is_said_so() {
        let folder = tempfile::tempdir().unwrap();
        let toolchain = toolchain(folder.path());
        let failure = assemble(&toolchain, folder.path(), &folder.path().join("sysroot")).unwrap_err();
        assert!(failure.to_string().contains("made no standard library"));
    }
}
