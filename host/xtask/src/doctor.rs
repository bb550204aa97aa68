//! `cargo xtask doctor`: what this machine has, what is missing, and the command that brings it.

use std::{fs, path::Path};

use serde_json::json;

use crate::{
    Format,
    cargo::ask,
    failure::Failure,
    progress,
    setup::{self, Std},
    toolchain::{TARGET, Toolchain},
    workspace::Workspace,
};

/// Room for one build of everything, in GiB.
const ROOM: u64 = 6;
/// What there must be to begin at all, in KiB: a build that is up to date writes little.
const LEAST: u64 = 1024 * 1024;

/// One line of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Check {
    name: &'static str,
    /// What it is for; nothing works without the needed ones.
    needed: bool,
    /// What was found, or what is wrong.
    found: Result<String, String>,
    /// The command that brings it.
    fix: String,
}

/// Checks everything; bad when something needed is missing.
pub(crate) fn command(workspace: &Workspace, format: Format) -> Result<(), Failure> {
    let checks = checks(workspace);
    let missing: Vec<&str> =
        checks.iter().filter(|check| check.needed && check.found.is_err()).map(|check| check.name).collect();
    match format {
        Format::Text => checks.iter().for_each(|check| progress::result(&text(check))),
        Format::Json => progress::result(&json(&checks)),
    }
    if missing.is_empty() { Ok(()) } else { Err(Failure::Bad(format!("missing: {}", missing.join(", ")))) }
}

fn checks(workspace: &Workspace) -> Vec<Check> {
    let toolchain = Toolchain::find(workspace);
    let check =
        |name, needed, found: Result<String, String>, fix: &str| Check { name, needed, found, fix: fix.to_owned() };
    let program = |name, needed, arguments: &[&str], fix: &str| {
        let program = arguments.first().copied().unwrap_or(name);
        let answer = ask(program, arguments.get(1..).unwrap_or_default());
        let found = answer.map(|answer| answer.lines().next().unwrap_or_default().to_owned());
        check(name, needed, found.ok_or_else(|| format!("`{}` does not answer", arguments.join(" "))), fix)
    };
    vec![
        check("rust", true, pinned(workspace, &toolchain), "rustup toolchain install"),
        program("rustfmt", true, &["cargo", "fmt", "--version"], "rustup component add rustfmt"),
        program("clippy", true, &["cargo", "clippy", "--version"], "rustup component add clippy"),
        program("linker", true, &["cc", "--version"], "apt-get install gcc libc6-dev"),
        check("webassembly", true, wasm(workspace, toolchain), "cargo xtask setup"),
        check("cache", true, writable(&workspace.cache), "export SCONE_OPERATOR_CACHE=/a/folder/you/may/write"),
        check("disk", true, enough(&workspace.target), "free some space, or export CARGO_TARGET_DIR=/another/disk"),
        program("git", false, &["git", "--version"], "apt-get install git"),
        program("cargo-deny", false, &["cargo", "deny", "--version"], "cargo install --locked cargo-deny"),
    ]
}

fn pinned(workspace: &Workspace, toolchain: &Result<Toolchain, Failure>) -> Result<String, String> {
    let toolchain = toolchain.as_ref().map_err(ToString::to_string)?;
    let file = fs::read_to_string(workspace.root.join("rust-toolchain.toml")).unwrap_or_default();
    let channel = file.lines().find_map(|line| line.strip_prefix("channel = ")).map(|value| value.trim_matches('"'));
    match channel {
        Some(channel) if channel != toolchain.release => {
            Err(format!("Rust {} is active, rust-toolchain.toml asks for {channel}", toolchain.release))
        }
        _ => Ok(format!("Rust {} for {}", toolchain.release, toolchain.host)),
    }
}

fn wasm(workspace: &Workspace, toolchain: Result<Toolchain, Failure>) -> Result<String, String> {
    let found =
        toolchain.and_then(|toolchain| setup::present(workspace, &toolchain)).map_err(|failure| failure.to_string())?;
    match found {
        Some(Std::Toolchain) => Ok(format!("{TARGET} in the toolchain")),
        Some(Std::Sysroot(path)) => Ok(format!("{TARGET} in {}", path.display())),
        None => Err(format!("no standard library for {TARGET}")),
    }
}

fn writable(folder: &Path) -> Result<String, String> {
    let probe = folder.join(".doctor");
    let tried = fs::create_dir_all(folder).and_then(|()| fs::write(&probe, "")).and_then(|()| fs::remove_file(&probe));
    tried
        .map(|()| folder.display().to_string())
        .map_err(|error| format!("{} cannot be written: {error}", folder.display()))
}

/// Refuses what needs space where there is next to none: a build that fills a disk ends in the middle of a file, and in other programs' errors.
pub(crate) fn room(workspace: &Workspace) -> Result<(), Failure> {
    let Some(free) = free_in(&workspace.target) else { return Ok(()) };
    if free >= LEAST {
        return Ok(());
    }
    Err(Failure::Bad(format!(
        "{} MiB are free for {}, which is too little to begin; free some space, or set CARGO_TARGET_DIR to a folder on another disk",
        free / 1024,
        workspace.target.display()
    )))
}

/// Free space where a folder is or will be, in KiB; unknown where `df` does not say it.
fn free_in(folder: &Path) -> Option<u64> {
    let existing = folder.ancestors().find(|path| path.exists())?;
    free(&ask("df", &["-Pk", &existing.to_string_lossy()])?)
}

fn enough(target: &Path) -> Result<String, String> {
    let free = free_in(target).ok_or_else(|| format!("`df` does not say how much is free in {}", target.display()))?;
    let gib = free / (1024 * 1024);
    if gib < ROOM {
        Err(format!("{gib} GiB free in {}, a build needs {ROOM}", target.display()))
    } else {
        Ok(format!("{gib} GiB free"))
    }
}

/// The fourth column of `df -Pk`, in KiB.
fn free(table: &str) -> Option<u64> {
    table.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()
}

fn text(check: &Check) -> String {
    match &check.found {
        Ok(found) => format!("ok       {:12} {found}", check.name),
        Err(wrong) if check.needed => {
            format!("missing  {:12} {wrong}\n           {:10} bring it: {}", check.name, "", check.fix)
        }
        Err(wrong) => format!("optional {:12} {wrong}\n           {:10} bring it: {}", check.name, "", check.fix),
    }
}

fn json(checks: &[Check]) -> String {
    let entries: Vec<_> = checks
        .iter()
        .map(|check| {
            let (state, said) = match &check.found {
                Ok(found) => ("ok", found),
                Err(wrong) => ("missing", wrong),
            };
            let fix = check.found.is_err().then_some(&check.fix);
            json!({ "name": check.name, "state": state, "needed": check.needed, "found": said, "fix": fix })
        })
        .collect();
    let ok = checks.iter().all(|check| !check.needed || check.found.is_ok());
    format!("{:#}", json!({ "ok": ok, "checks": entries }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(needed: bool) -> Check {
        Check {
            name: "linker",
            needed,
            found: Err("`cc --version` does not answer".to_owned()),
            fix: "apt-get install gcc".to_owned(),
        }
    }

    #[test]
    fn what_is_missing_comes_with_the_command_that_brings_it() {
        let line = text(&missing(true));
        assert!(line.starts_with("missing") && line.contains("bring it: apt-get install gcc"), "{line}");
    }

    #[test]
    fn json_is_bad_only_when_something_needed_is_missing() {
        let parse = |checks: &[Check]| serde_json::from_str::<serde_json::Value>(&json(checks)).unwrap();
        assert_eq!(parse(&[missing(false)])["ok"], true);
        let bad = parse(&[missing(true)]);
        assert_eq!(bad["ok"], false);
        assert_eq!(bad["checks"][0]["fix"], "apt-get install gcc");
    }

    #[test]
    fn the_free_space_is_read_from_df() {
        let table =
            "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/vda 263174212 12700000 82000000 14% /";
        assert_eq!(free(table), Some(82_000_000));
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_missing() {
        assert!(writable(Path::new("/proc/no-such-folder")).is_err());
    }
}
