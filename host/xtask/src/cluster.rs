//! `cargo xtask cluster`: a real Kubernetes on this machine, and what the rings that need one have to have.

use std::{
    ffi::OsString,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, Stdio},
};

use clap::Args;

use crate::{
    cargo::{self, cargo},
    failure::Failure,
    image,
    modules::{self, WHOLE},
    progress::{self, Plan},
    rings::Ring,
    workspace::Workspace,
};

/// What is asked of the program `cluster`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// `up`, `down`, `status`, `exec`, `logs`, with their flags; `cargo xtask cluster help` tells all.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    words: Vec<OsString>,
}

/// Whether this machine may be changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Args)]
pub(crate) struct Install {
    /// Installs nothing: no packages of Debian's as root, no Go. What is missing is named with the command that brings it.
    #[arg(long)]
    pub(crate) no_install: bool,
}

/// Builds the program and becomes it.
pub(crate) fn command(workspace: &Workspace, arguments: &Arguments) -> Result<(), Failure> {
    let mut build = cargo(workspace);
    build.arg("build").args(WHOLE).args(["--bin", "cluster"]);
    cargo::show("building the cluster's command line", build.arg("--quiet"))?;
    let (words, install) = split(&arguments.words);
    let mut cluster = program(workspace, install);
    cluster.args(&words);
    if let Some(ring) = starts(&words) {
        bring(workspace, ring, install)?;
        if ring == Ring::Node && !words.iter().any(|word| word.to_string_lossy().starts_with("--image")) {
            cluster.arg("--image").arg(image(workspace)?);
        }
    }
    let error = cluster.exec();
    Err(cargo::start_failure("the cluster", &cluster, &error))
}

/// The operator's image of this checkout, for a ring with a node. The programs are those that tests use too: optimised ones take many
/// minutes, and `--image FILE` takes one of them.
fn image(workspace: &Workspace) -> Result<PathBuf, Failure> {
    let modules = modules::Arguments::default();
    let mut plan = Plan::new([modules::steps(&modules), vec!["the operator and its image".to_owned()]].concat());
    modules::make(workspace, &modules, &mut plan)?;
    plan.next();
    image::shipped(workspace)?;
    image::for_tests(workspace)
}

/// The words for the program, and what of them is for this one. What follows `--` belongs to yet another.
fn split(words: &[OsString]) -> (Vec<OsString>, Install) {
    let own = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let is_ours = |at: usize, word: &OsString| at < own && word == "--no-install";
    let rest = words.iter().enumerate().filter(|(at, word)| !is_ours(*at, word));
    let rest: Vec<OsString> = rest.map(|(_, word)| word.clone()).collect();
    let no_install = rest.len() < words.len();
    (rest, Install { no_install })
}

/// The ring that these words start, as far as it matters here: what it needs is brought first.
fn starts(words: &[OsString]) -> Option<Ring> {
    let mut words = words.iter().map(|word| word.to_string_lossy());
    let up = words.by_ref().find(|word| !word.starts_with('-')).is_some_and(|word| word == "up");
    let node = words.any(|word| word == "node" || word == "--ring=node");
    up.then_some(if node { Ring::Node } else { Ring::Api })
}

/// Brings what a ring needs, as far as this machine may be changed; gives why the ring cannot run here, if so.
pub(crate) fn prepare(workspace: &Workspace, ring: Ring, install: Install) -> Result<Option<String>, Failure> {
    bring(workspace, ring, install)?;
    let mut command = program(workspace, install);
    command.args(["prepare", "--ring", ring.name()]);
    let (code, answer) = ask("preparing the cluster", &mut command)?;
    match code {
        Some(0) => Ok(None),
        Some(1) => Ok(Some(answer.replace('\n', " "))),
        // A program of this repository is broken, which no machine is to blame for.
        _ => Err(Failure::Bad(answer)),
    }
}

/// Packages that are missing, by apt, where that is possible. When it does not work, preparing the ring says what is missing.
fn bring(workspace: &Workspace, ring: Ring, install: Install) -> Result<(), Failure> {
    let mut command = program(workspace, install);
    let (_, answer) = ask("asking what is missing", command.args(["missing", "--ring", ring.name()]))?;
    // Go is brought into the cache by the program itself: Debian's is too old.
    let packages: Vec<&str> = answer.lines().filter(|name| !name.is_empty() && *name != "go").collect();
    if packages.is_empty() || install.no_install || !may_install() {
        return Ok(());
    }
    progress::note(&format!(
        "installing what the {} ring needs, with apt-get: {} (--no-install turns this off) ...",
        ring.name(),
        packages.join(" ")
    ));
    let mut update = apt(&["update", "--quiet"]);
    let mut add = apt(&["install", "--yes", "--no-install-recommends", "--quiet"]);
    add.args(&packages);
    let done = cargo::capture("reading Debian's package lists", &mut update)
        .and_then(|_| cargo::capture("installing packages", &mut add));
    if let Err(failure) = done {
        progress::note(&format!("they were not installed: {failure}"));
    }
    Ok(())
}

/// Whether this is root on a machine with apt.
fn may_install() -> bool {
    let root = cargo::ask("id", &["-u"]).is_some_and(|user| user.trim() == "0");
    root && cargo::ask("apt-get", &["--version"]).is_some()
}

fn apt(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    // Nobody is there to answer questions.
    command.env("DEBIAN_FRONTEND", "noninteractive").args(arguments);
    command
}

fn program(workspace: &Workspace, install: Install) -> Command {
    let mut command = Command::new(workspace.program("debug", "cluster"));
    command.current_dir(&workspace.root);
    if install.no_install {
        command.env("SCONE_OPERATOR_NO_INSTALL", "1");
    }
    command
}

/// Runs a program whose answer is on standard output; its progress is shown as it comes.
fn ask(what: &str, command: &mut Command) -> Result<(Option<i32>, String), Failure> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| cargo::start_failure(what, command, &error))?;
    Ok((output.status.code(), String::from_utf8_lossy(&output.stdout).trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn that_nothing_may_be_installed_is_not_told_to_programs_that_do_not_ask() {
        let none = Install { no_install: true };
        assert_eq!(split(&words("up --no-install --ring node")), (words("up --ring node"), none));
        assert_eq!(split(&words("exec -- apk --no-install")), (words("exec -- apk --no-install"), Install::default()));
    }

    #[test]
    fn what_a_ring_needs_is_brought_only_when_that_ring_is_started() {
        let of = |line| starts(&words(line));
        assert_eq!(of("up --ring node"), Some(Ring::Node));
        assert_eq!(of("up --ring=node -o json"), Some(Ring::Node));
        assert_eq!(of("up"), Some(Ring::Api));
        assert_eq!(of("exec --ring node -- kubectl get nodes"), None);
        assert_eq!(of("status"), None);
    }
}
