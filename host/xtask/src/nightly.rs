//! `cargo xtask nightly`: what takes too long for every change. Part by part, each with its output in a file; a part that passed for a
//! commit is not run again for it.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::{
    cargo::{self, cargo, last_lines},
    failure::Failure,
    progress::{self, Plan, Step},
    workspace::{Workspace, text_or_nothing},
};

/// What to run.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// These parts; all of them without a name.
    parts: Vec<Part>,
    /// Runs also what passed for this commit already.
    #[arg(long)]
    again: bool,
}

/// A part of the nightly run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// All modules built twice, in two folders, with the same bytes.
    Reproducible,
    /// The image with all optimisations, written twice with the same bytes.
    Image,
    /// Every benchmark, as JSON lines.
    Bench,
    /// The api ring on the lowest Kubernetes that the chart allows.
    KubernetesLowest,
    /// The api ring on the newest Kubernetes that it was tried on.
    KubernetesNewest,
    /// The chart with Helm 3.
    Helm3,
    /// The chart with Helm 4.
    Helm4,
    /// The documentation of every crate, and its examples.
    Rustdoc,
}

impl Part {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// What it runs, as words for `cargo xtask`.
    fn lines(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::Reproducible => &[&["modules", "--fixtures", "--check-reproducible"]],
            Self::Image => &[&["image", "--check-reproducible"]],
            Self::Bench => &[&["bench", "--json"]],
            Self::KubernetesLowest | Self::KubernetesNewest => &[&["test", "api"]],
            Self::Helm3 | Self::Helm4 => {
                &[&["test", "api", "--program", "chart"], &["test", "node", "uninstalling_leaves_nothing"]]
            }
            Self::Rustdoc => &[&["lint", "--only", "documentation"]],
        }
    }

    fn environment(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::KubernetesLowest => Some(("SCONE_OPERATOR_KUBERNETES", "lowest")),
            Self::KubernetesNewest => Some(("SCONE_OPERATOR_KUBERNETES", "newest")),
            Self::Helm3 => Some(("SCONE_OPERATOR_HELM", "3")),
            Self::Helm4 => Some(("SCONE_OPERATOR_HELM", "4")),
            Self::Reproducible | Self::Image | Self::Bench | Self::Rustdoc => None,
        }
    }
}

/// Runs the parts; bad when one of them is, after all of them.
pub(crate) fn command(workspace: &Workspace, arguments: &Arguments) -> Result<(), Failure> {
    let parts = if arguments.parts.is_empty() { Part::value_variants() } else { &arguments.parts };
    let commit = commit(workspace);
    let mut plan = Plan::new(parts.iter().map(|part| part.name()).collect());
    let mut bad = Vec::new();
    for &part in parts {
        plan.next();
        if !arguments.again && passed(workspace, part, &commit)? {
            progress::result(&format!("{}: passed before, for {commit}", part.name()));
        } else if !run(workspace, part, &commit)? {
            bad.push(part.name());
        }
    }
    if bad.is_empty() { Ok(()) } else { Err(Failure::Bad(format!("failing parts: {}", bad.join(", ")))) }
}

/// Runs one part, and records how it ended.
fn run(workspace: &Workspace, part: Part, commit: &str) -> Result<bool, Failure> {
    let file = |suffix: &str| folder(workspace).join(format!("{}.{suffix}", part.name()));
    let (out, log, record) = (file("out"), file("log"), file("json"));
    let open = |path: &Path| File::create(path).map_err(|error| Failure::file("write", path, &error));
    fs::create_dir_all(folder(workspace)).map_err(|error| Failure::file("make", &folder(workspace), &error))?;
    let (printed, told) = (open(&out)?, open(&log)?);
    let (started, step) = (Instant::now(), Step::start(format!("{} (its progress: {})", part.name(), log.display())));
    let mut passed = true;
    for words in part.lines() {
        let mut command = cargo(workspace);
        command.arg("xtask").args(*words).envs(part.environment()).stdin(Stdio::null());
        command.stdout(again(&printed, &out)?).stderr(again(&told, &log)?);
        let status = command.status().map_err(|error| cargo::start_failure("starting", &command, &error))?;
        passed = passed && status.success();
    }
    drop(step);
    let verdict = if passed { "passed" } else { "failed" };
    let line =
        json!({"part": part.name(), "commit": commit, "result": verdict, "seconds": started.elapsed().as_secs()});
    fs::write(&record, format!("{line}\n")).map_err(|error| Failure::file("write", &record, &error))?;
    progress::result(&format!("{}: {verdict} in {}", part.name(), progress::seconds(started.elapsed())));
    if !passed {
        let end = |path: &Path, lines| last_lines(&fs::read_to_string(path).unwrap_or_default(), lines);
        progress::note(&format!("{}\n{}", end(&out, 20), end(&log, 10)));
    }
    Ok(passed)
}

/// The same open file for one more program.
fn again(file: &File, path: &Path) -> Result<File, Failure> {
    file.try_clone().map_err(|error| Failure::file("write", path, &error))
}

/// Whether a part passed for this very commit. What is not committed has no name, so it is always run.
fn passed(workspace: &Workspace, part: Part, commit: &str) -> Result<bool, Failure> {
    let text = text_or_nothing(&folder(workspace).join(format!("{}.json", part.name())))?;
    let record: Value = serde_json::from_str(&text).unwrap_or_default();
    let is = |field: &str, value: &str| record.get(field).and_then(Value::as_str) == Some(value);
    Ok(is("commit", commit) && is("result", "passed") && !commit.ends_with(DIRTY))
}

const DIRTY: &str = "-dirty";

fn commit(workspace: &Workspace) -> String {
    let git = |arguments: &[&str]| {
        let output =
            Command::new("git").current_dir(&workspace.root).args(arguments).stderr(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"]);
    let clean = git(&["status", "--porcelain"]).is_some_and(|changes| changes.is_empty());
    let suffix = if clean { "" } else { DIRTY };
    commit.map_or_else(|| format!("unknown{DIRTY}"), |commit| commit + suffix)
}

fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target.join("nightly")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(commit: &str, result: &str) -> bool {
        let place = tempfile::tempdir().unwrap();
        let workspace = Workspace::within(place.path());
        fs::create_dir_all(folder(&workspace)).unwrap();
        let record = json!({"part": "image", "commit": commit, "result": result, "seconds": 1});
        fs::write(folder(&workspace).join("image.json"), record.to_string()).unwrap();
        passed(&workspace, Part::Image, commit).unwrap() && !passed(&workspace, Part::Image, "another").unwrap()
    }

    #[test]
    fn a_part_is_spared_only_where_it_passed_for_this_very_commit() {
        assert!(recorded("0123456789ab", "passed"));
        assert!(!recorded("0123456789ab", "failed"));
        assert!(!recorded("0123456789ab-dirty", "passed"));
    }

    #[test]
    fn a_part_that_was_never_run_has_not_passed() {
        let place = tempfile::tempdir().unwrap();
        assert!(!passed(&Workspace::within(place.path()), Part::Rustdoc, "0123456789ab").unwrap());
    }
}
