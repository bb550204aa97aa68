//! `cargo xtask setup`: a standard library for WebAssembly, from the cheapest place that has one.

use std::{env, path::PathBuf, process::Command, time::Duration};

use clap::Args;

use crate::{
    cargo::{self, Ended},
    failure::Failure,
    progress::{self, Step},
    sysroot,
    toolchain::{self, TARGET, Toolchain},
    workspace::Workspace,
};

/// How to set up.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Builds the private standard library even where rustup could bring one. To use it: `export SCONE_OPERATOR_SYSROOT=...`,
    /// as the command prints.
    #[arg(long)]
    private: bool,
    /// How long rustup may try, in seconds. Without a network it would hang for minutes.
    #[arg(long, default_value_t = 20, value_name = "SECONDS")]
    rustup_deadline: u64,
}

/// Where the standard library for modules is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Std {
    /// In the toolchain: nothing has to be said to rustc.
    Toolchain,
    /// In a sysroot of its own.
    Sysroot(PathBuf),
}

/// Sets up and says what there is.
pub(crate) fn command(workspace: &Workspace, arguments: &Arguments) -> Result<(), Failure> {
    let toolchain = Toolchain::find(workspace)?;
    let found = if arguments.private {
        Std::Sysroot(sysroot::private(workspace, &toolchain)?)
    } else {
        bring(workspace, &toolchain, Duration::from_secs(arguments.rustup_deadline))?
    };
    progress::result(&match found {
        Std::Toolchain => format!("set up: Rust {} has {TARGET}", toolchain.release),
        Std::Sysroot(path) if arguments.private => {
            format!("set up: to use it whatever else there is, `export SCONE_OPERATOR_SYSROOT={}`", path.display())
        }
        Std::Sysroot(path) => format!("set up: Rust {} and {TARGET} in {}", toolchain.release, path.display()),
    });
    Ok(())
}

/// The standard library, brought if it is not there yet.
pub(crate) fn ensure(workspace: &Workspace) -> Result<Std, Failure> {
    bring(workspace, &Toolchain::find(workspace)?, Duration::from_secs(20))
}

/// What is there without doing anything.
pub(crate) fn present(workspace: &Workspace, toolchain: &Toolchain) -> Result<Option<Std>, Failure> {
    if let Some(named) = env::var_os("SCONE_OPERATOR_SYSROOT").filter(|value| !value.is_empty()) {
        let path = PathBuf::from(named);
        if toolchain::has_std(&sysroot::lib(&path)) {
            return Ok(Some(Std::Sysroot(path)));
        }
        return Err(Failure::Bad(format!(
            "SCONE_OPERATOR_SYSROOT={} holds no standard library for {TARGET}; unset it, or run `cargo xtask setup --private` \
             and set it to the folder that is printed",
            path.display()
        )));
    }
    if toolchain.has_target() {
        return Ok(Some(Std::Toolchain));
    }
    Ok(sysroot::built(workspace, toolchain).map(Std::Sysroot))
}

fn bring(workspace: &Workspace, toolchain: &Toolchain, deadline: Duration) -> Result<Std, Failure> {
    if let Some(found) = present(workspace, toolchain)? {
        return Ok(found);
    }
    match rustup(workspace, toolchain, deadline)? {
        None => Ok(Std::Toolchain),
        Some(reason) => {
            progress::note(&format!("rustup did not bring {TARGET} ({reason}); building it from source"));
            let built = sysroot::private(workspace, toolchain);
            built.map(Std::Sysroot).map_err(|failure| unavailable(&reason, &failure))
        }
    }
}

/// None when rustup brought the target, else why it did not.
fn rustup(workspace: &Workspace, toolchain: &Toolchain, deadline: Duration) -> Result<Option<String>, Failure> {
    let managed = toolchain.rustlib().join("multirust-channel-manifest.toml").is_file();
    if !managed || cargo::ask("rustup", &["--version"]).is_none() {
        return Ok(Some("this Rust does not come from rustup".to_owned()));
    }
    let step = Step::start(format!("asking rustup for {TARGET}, at most {} s", deadline.as_secs()));
    let mut command = Command::new("rustup");
    command.current_dir(&workspace.root).args(["target", "add", TARGET]);
    // Once files are being put in place, stopping would cost more than waiting.
    let ended = cargo::with_deadline(&mut command, deadline, |seen| seen.contains("installing"))?;
    Ok(match ended {
        Ended::Well if toolchain.has_target() => {
            step.done();
            None
        }
        Ended::Well => Some("it ended well but the target is not there".to_owned()),
        Ended::Late(_) => Some(format!("no answer within {} s", deadline.as_secs())),
        Ended::Badly(text) => Some(text.lines().last().unwrap_or("it failed").to_owned()),
    })
}

fn unavailable(reason: &str, failure: &Failure) -> Failure {
    Failure::Bad(format!(
        "modules need Rust's standard library for {TARGET}, and neither way to it works here.\n  rustup: {reason}\n  from \
         source: {failure}\nWith a network, either of these brings it:\n  rustup target add {TARGET}\n  rustup component add \
         rust-src && cargo xtask setup"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_nothing_works_the_message_names_both_reasons_and_the_commands() {
        let failure = unavailable("no answer within 20 s", &Failure::Bad("no apt".to_owned()));
        let text = failure.to_string();
        assert_eq!(failure.code(), 1);
        for part in ["no answer within 20 s", "no apt", "rustup target add wasm32-unknown-unknown", "rust-src"] {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
    }
}
