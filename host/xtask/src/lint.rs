//! `cargo xtask lint`: format, lints, documentation, licences. All of them run, so that one round shows everything.

use clap::Args;

use crate::{
    cargo::{ask, cargo, show},
    failure::Failure,
    modules::WHOLE,
    progress,
    workspace::Workspace,
};

/// Which checks.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only this one: format, clippy, documentation or cargo-deny.
    #[arg(long, value_name = "CHECK")]
    only: Option<String>,
}

/// Runs every check; bad when one of them is.
pub(crate) fn command(workspace: &Workspace, arguments: &Arguments) -> Result<(), Failure> {
    let mut checks: Vec<(&str, Vec<&str>)> = vec![
        ("format", vec!["fmt", "--all", "--", "--check"]),
        ("clippy", [&["clippy"], &WHOLE[..], &["--all-targets", "--", "-D", "warnings"]].concat()),
        ("documentation", [&["doc", "--no-deps", "--document-private-items"], &WHOLE[..]].concat()),
    ];
    let deny = ask("cargo", &["deny", "--version"]).is_some();
    if deny {
        checks.push(("cargo-deny", vec!["deny", "--offline", "check", "bans", "licenses", "sources"]));
    }
    if let Some(only) = &arguments.only {
        checks.retain(|(name, _)| name == only);
        if checks.is_empty() {
            return Err(Failure::Bad(format!("there is no check `{only}` here; `cargo xtask lint --help` names them")));
        }
    }
    let mut bad = Vec::new();
    for (name, arguments) in &checks {
        progress::note(&format!("lint: {name} ..."));
        if let Err(failure) = show(name, cargo(workspace).args(arguments).env("RUSTDOCFLAGS", "-D warnings")) {
            progress::note(&failure.to_string());
            bad.push(*name);
        }
    }
    let skipped = !deny && arguments.only.is_none();
    if skipped {
        progress::note(
            "lint: cargo-deny is not installed (`cargo install --locked cargo-deny` brings it); the architecture test has \
             checked licences, sources and banned crates against deny.toml",
        );
    }
    let good = checks.len() - bad.len();
    progress::result(&format!("lint: {good} fine, {} bad, {} skipped", bad.len(), u8::from(skipped)));
    if bad.is_empty() { Ok(()) } else { Err(Failure::Bad(format!("lint: {}", bad.join(", ")))) }
}
