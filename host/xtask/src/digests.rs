//! `guests/modules.sha256`: the bytes of every module, so that whoever builds one sees whether it is the one that was reviewed. It takes
//! the place of a second build, which only showed that one machine does the same thing twice.
//!
//! The standard library is part of every module, and there are two ways to one; what they give may differ, so each has its lines.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use clap::ValueEnum;
use sha2::{Digest, Sha256};

use crate::{
    failure::Failure,
    modules::packages,
    setup::Std,
    workspace::{Workspace, text_or_nothing},
};

/// The command that writes the file.
const RECORD: &str = "cargo xtask modules --digests record";

/// What to do with the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Deed {
    /// Fail when a module is not the one whose digest is recorded.
    Check,
    /// Write the digests, after a change that was meant to change modules.
    Record,
}

/// Digests by `way/module.wasm`.
type Digests = BTreeMap<String, String>;

/// Writes the digests of what was built in the place of those of the same way to the standard library.
pub(crate) fn record(workspace: &Workspace, std: &Std) -> Result<(), Failure> {
    let mut all = read(workspace)?;
    all.retain(|name, _| !name.starts_with(&way(std)));
    all.extend(built(workspace, std)?);
    let lines: Vec<String> = all.iter().map(|(name, digest)| format!("{digest}  {name}\n")).collect();
    let file = file(workspace);
    fs::write(&file, lines.concat()).map_err(|error| Failure::file("write", &file, &error))
}

/// Fails when a module is not the one whose digest is recorded.
pub(crate) fn check(workspace: &Workspace, std: &Std) -> Result<(), Failure> {
    let differing = differing(&read(workspace)?, &built(workspace, std)?, &way(std));
    if differing.is_empty() {
        return Ok(());
    }
    Err(Failure::Bad(format!(
        "{} differ from {}; where their sources were meant to change, {RECORD} writes what they are now; where not, this machine \
         builds other bytes from the same sources",
        differing.join(", "),
        file(workspace).display(),
    )))
}

fn differing(recorded: &Digests, built: &Digests, way: &str) -> Vec<String> {
    let gone = recorded.keys().filter(|name| name.starts_with(way) && !built.contains_key(*name));
    let changed = built.keys().filter(|name| recorded.get(*name) != built.get(*name));
    changed.chain(gone).cloned().collect()
}

fn way(std: &Std) -> String {
    match std {
        Std::Toolchain => "rustup/".to_owned(),
        Std::Sysroot(_) => "from-source/".to_owned(),
    }
}

fn built(workspace: &Workspace, std: &Std) -> Result<Digests, Failure> {
    let name = |path: &PathBuf| Some(format!("{}.wasm", path.file_name()?.to_str()?));
    let shipped: BTreeSet<String> = workspace.guests()?.iter().filter_map(name).collect();
    let mut packages = packages(&workspace.modules())?;
    packages.retain(|name, _| shipped.contains(name));
    let entry = |(name, bytes): (String, Vec<u8>)| (format!("{}{name}", way(std)), hex::encode(Sha256::digest(bytes)));
    Ok(packages.into_iter().map(entry).collect())
}

fn file(workspace: &Workspace) -> PathBuf {
    workspace.root.join("guests/modules.sha256")
}

fn read(workspace: &Workspace) -> Result<Digests, Failure> {
    let text = text_or_nothing(&file(workspace))?;
    let line = |line: &str| line.split_once("  ").map(|(digest, name)| (name.to_owned(), digest.to_owned()));
    Ok(text.lines().filter_map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(modules: &[(&str, &str)]) -> (tempfile::TempDir, Workspace) {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace::within(folder.path());
        fs::create_dir_all(workspace.modules()).unwrap();
        for (name, bytes) in modules {
            let guest = workspace.root.join("guests").join(name);
            fs::create_dir_all(&guest).unwrap();
            fs::write(guest.join("Cargo.toml"), "crate-type = [\"cdylib\"]").unwrap();
            fs::write(workspace.modules().join(name).with_extension("wasm"), bytes).unwrap();
        }
        // Not shipped, and so not recorded.
        fs::write(workspace.modules().join("other.wasm"), "x").unwrap();
        (folder, workspace)
    }

    fn failure(result: Result<(), Failure>) -> String {
        result.err().map(|failure| failure.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_module_of_other_bytes_is_named_with_the_command_that_records_it() {
        let (_folder, workspace) = place(&[("cas", "one"), ("las", "two")]);
        record(&workspace, &Std::Toolchain).unwrap();
        check(&workspace, &Std::Toolchain).unwrap();
        fs::write(workspace.modules().join("las.wasm"), "three").unwrap();
        let text = failure(check(&workspace, &Std::Toolchain));
        assert!(text.starts_with("rustup/las.wasm differ from") && text.contains(RECORD), "{text}");
    }

    #[test]
    fn what_was_recorded_and_is_not_built_any_more_is_named() {
        let (_folder, workspace) = place(&[("cas", "one"), ("las", "two")]);
        record(&workspace, &Std::Toolchain).unwrap();
        fs::remove_dir_all(workspace.root.join("guests/las")).unwrap();
        assert!(failure(check(&workspace, &Std::Toolchain)).starts_with("rustup/las.wasm differ"));
    }

    #[test]
    fn each_way_to_the_standard_library_keeps_its_own() {
        let (_folder, workspace) = place(&[("cas", "one")]);
        record(&workspace, &Std::Toolchain).unwrap();
        let source = Std::Sysroot(PathBuf::from("/sysroot"));
        fs::write(workspace.modules().join("cas.wasm"), "two").unwrap();
        record(&workspace, &source).unwrap();
        check(&workspace, &source).unwrap();
        assert!(failure(check(&workspace, &Std::Toolchain)).starts_with("rustup/cas.wasm differ"));
    }
}
