//! Which Rust this is, and whether it can build for WebAssembly by itself.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{cargo, failure::Failure, workspace::Workspace};

/// What modules are compiled for: bare WebAssembly, because a module imports nothing but what the contract names.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// The Rust that the checkout pins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Toolchain {
    /// `1.95.0`.
    pub(crate) release: String,
    /// The commit that it was built from.
    pub(crate) commit: String,
    /// The machine it runs on: `x86_64-unknown-linux-gnu`.
    pub(crate) host: String,
    /// Where it is installed.
    pub(crate) sysroot: PathBuf,
}

impl Toolchain {
    /// Asks rustc.
    pub(crate) fn find(workspace: &Workspace) -> Result<Self, Failure> {
        let version = rustc(workspace, &["-vV"])?;
        let sysroot = rustc(workspace, &["--print", "sysroot"])?;
        parse(&version, sysroot.trim())
    }

    /// Whether rustup has installed the WebAssembly target completely: its manifest is written last.
    pub(crate) fn has_target(&self) -> bool {
        let rustlib = self.rustlib();
        let distributed = rustlib.join(format!("manifest-rust-std-{TARGET}")).is_file();
        // Distributions without rustup have no manifests.
        let managed = rustlib.join("multirust-channel-manifest.toml").is_file();
        (distributed || !managed) && has_std(&rustlib.join(TARGET).join("lib"))
    }

    /// The sources of the standard library, when the rust-src component is installed.
    pub(crate) fn sources(&self) -> Option<PathBuf> {
        let library = self.rustlib().join("src/rust/library");
        library.join("std/Cargo.toml").is_file().then_some(library)
    }

    /// The folder that holds one folder per target.
    pub(crate) fn rustlib(&self) -> PathBuf {
        self.sysroot.join("lib/rustlib")
    }

    /// What a private sysroot of this toolchain is called.
    pub(crate) fn sysroot_name(&self) -> String {
        format!("sysroot-{}-{}", self.release, self.commit.get(..8).unwrap_or(&self.commit))
    }
}

/// Whether a folder holds a standard library.
pub(crate) fn has_std(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|entries| {
        entries.filter_map(Result::ok).any(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with("libstd-") && name.ends_with(".rlib")
        })
    })
}

fn rustc(workspace: &Workspace, arguments: &[&str]) -> Result<String, Failure> {
    let mut command = Command::new("rustc");
    command.current_dir(&workspace.root).args(arguments);
    let output =
        command.output().map_err(|error| cargo::start_failure("asking for the version of Rust", &command, &error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Failure::Bad(format!("rustc does not answer: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

fn parse(version: &str, sysroot: &str) -> Result<Toolchain, Failure> {
    let field = |name: &str| {
        let found = version.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        found.map(str::to_owned).ok_or_else(|| Failure::Internal(format!("`rustc -vV` names no {name}: {version}")))
    };
    Ok(Toolchain {
        release: field("release")?,
        commit: field("commit-hash")?,
        host: field("host")?,
        sysroot: PathBuf::from(sysroot),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const VERSION: &str = "rustc 1.95.0 (59807616e 2026-04-14)\nbinary: rustc\n\
        commit-hash: 59807616e1fa2540724bfbac14d7976d7e4a3860\ncommit-date: 2026-04-14\n\
        host: x86_64-unknown-linux-gnu\nrelease: 1.95.0\nLLVM version: 22.1.2\n";

    pub(crate) fn toolchain(sysroot: &Path) -> Toolchain {
        parse(VERSION, &sysroot.to_string_lossy()).unwrap()
    }

    #[test]
    fn a_private_sysroot_is_named_by_release_and_commit() {
        assert_eq!(toolchain(Path::new("/r")).sysroot_name(), "sysroot-1.95.0-59807616");
    }

    #[test]
    fn an_answer_without_a_release_is_said_so() {
        assert!(parse("rustc 1", "/r").unwrap_err().to_string().contains("release"));
    }

    #[test]
    fn a_target_whose_installation_was_interrupted_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let toolchain = toolchain(folder.path());
        let lib = toolchain.rustlib().join(TARGET).join("lib");
        fs::create_dir_all(&lib).unwrap();
        fs::write(toolchain.rustlib().join("multirust-channel-manifest.toml"), "").unwrap();
        fs::write(lib.join("libstd-1.rlib"), "").unwrap();
        assert!(!toolchain.has_target(), "rustup writes the manifest last");
        fs::write(toolchain.rustlib().join(format!("manifest-rust-std-{TARGET}")), "").unwrap();
        assert!(toolchain.has_target());
    }
}
