//! Where a figure comes from: which sources, when, on what machine. A figure without these says nothing a week later.

use std::{fs, path::Path, process::Command};

use k8s_openapi::jiff::{Timestamp, Unit};
use serde::Serialize;

use crate::{aims, measure::Figure};

/// The sources and the machine of a run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Origin {
    /// The commit, with `-dirty` when the checkout differed from it.
    pub(crate) commit: String,
    /// The machine.
    pub(crate) machine: Machine,
}

/// What figures depend on beside the sources.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    /// The processor's model.
    cpu: String,
    /// Logical processors that this process may use.
    cores: usize,
    /// The kernel's version.
    kernel: String,
    /// Memory in MiB.
    memory_mib: u64,
}

/// One figure as a program reads it: one line of JSON.
#[derive(Serialize)]
pub(crate) struct Line<'a> {
    #[serde(flatten)]
    figure: &'a Figure,
    /// What is aimed at, and whether it is reached; not there where nothing is aimed at.
    #[serde(skip_serializing_if = "Option::is_none")]
    aim: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<&'static str>,
    /// Only there when it is true: then the figure means nothing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    quick: bool,
    #[serde(flatten)]
    origin: &'a Origin,
    /// RFC 3339, in UTC.
    date: String,
}

impl Origin {
    /// Of this process.
    pub(crate) fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self {
            commit: commit_of(test_support::find().as_deref()),
            machine: Machine {
                cpu: entry(&read("/proc/cpuinfo"), "model name"),
                cores: std::thread::available_parallelism().map_or(0, Into::into),
                kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
                memory_mib: mebibytes(&entry(&read("/proc/meminfo"), "MemTotal")),
            },
        }
    }

    /// This figure, taken now.
    pub(crate) fn line<'a>(&'a self, figure: &'a Figure, quick: bool) -> Line<'a> {
        let now = Timestamp::now();
        let aim = aims::of(&figure.name).filter(|_| !quick);
        let verdict = aim.map(|aim| aim.verdict(figure));
        let aim = aim.map(|aim| aim.to_string());
        Line { figure, aim, verdict, quick, origin: self, date: now.round(Unit::Second).unwrap_or(now).to_string() }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Machine { cpu, cores, kernel, memory_mib } = &self.machine;
        write!(f, "commit {}, {cores} × {cpu}, Linux {kernel}, {memory_mib} MiB", self.commit)
    }
}

/// The commit of a checkout, as git says.
fn commit_of(checkout: Option<&Path>) -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(checkout?).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    match (git(&["rev-parse", "HEAD"]), git(&["status", "--porcelain"])) {
        (Some(head), Some(changes)) => named(&head, &changes),
        _ => "unknown".to_owned(),
    }
}

/// A commit, and whether what was built is something else. A file that is not under version control may be a source as well.
fn named(head: &str, changes: &str) -> String {
    let dirty = if changes.trim().is_empty() { "" } else { "-dirty" };
    format!("{}{dirty}", head.trim())
}

/// The first entry of this name in a file of lines `name: value`.
fn entry(text: &str, name: &str) -> String {
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(key, _)| key.trim() == name).map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
}

/// `16384 kB` in MiB; 0 of anything else.
fn mebibytes(text: &str) -> u64 {
    text.strip_suffix(" kB").and_then(|number| number.trim().parse::<u64>().ok()).unwrap_or_default() / 1024
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn origin() -> Origin {
        let machine = Machine { cpu: "A CPU".into(), cores: 2, kernel: "6.18.0".into(), memory_mib: 24_000 };
        Origin { commit: named("0123abcd\n", ""), machine }
    }

    fn line(quick: bool) -> Value {
        serde_json::to_value(origin().line(&Figure::of("f", "µs", &[(2.0, 1.0)]), quick)).unwrap()
    }

    #[test]
    fn a_line_has_the_figure_the_commit_the_date_and_the_machine() {
        let mut line = line(false);
        let date = line.as_object_mut().unwrap().remove("date").unwrap();
        assert!(date.as_str().unwrap().parse::<Timestamp>().is_ok(), "{date} is no time as RFC 3339 writes it");
        let wanted = json!({"name": "f", "value": 2.0, "unit": "µs", "yardstick": 1.0, "ratio": 2.0, "spread": 0.0,
            "value_spread": 0.0, "rounds": 1, "commit": "0123abcd",
            "machine": {"cpu": "A CPU", "cores": 2, "kernel": "6.18.0", "memory_mib": 24_000}});
        assert_eq!(line, wanted);
    }

    #[test]
    fn a_line_of_a_figure_with_an_aim_says_whether_it_is_reached() {
        let figure = Figure::of("reconcile-4k", "µs", &[(2.0, 1.0)]);
        let line = serde_json::to_value(origin().line(&figure, false)).unwrap();
        assert_eq!((&line["aim"], &line["verdict"]), (&json!("ratio ≤ 2.3"), &json!("reached")));
        let quick = serde_json::to_value(origin().line(&figure, true)).unwrap();
        assert_eq!(quick.get("verdict"), None, "a quick run reaches nothing");
    }

    #[test]
    fn a_line_of_a_quick_run_says_so() {
        assert_eq!(line(true)["quick"], true);
    }

    #[test]
    fn a_changed_checkout_is_no_commit() {
        assert_eq!(named("0123abcd\n", " M Cargo.toml\n"), "0123abcd-dirty");
        assert_eq!(named("0123abcd\n", "?? new.rs\n"), "0123abcd-dirty");
    }

    #[test]
    fn a_machine_is_read_from_the_kernels_files() {
        assert_eq!(
            entry("processor\t: 0\nmodel name\t: A CPU @ 2 GHz\nmodel name\t: B\n", "model name"),
            "A CPU @ 2 GHz"
        );
        assert_eq!(entry("", "model name"), "unknown");
        assert_eq!((mebibytes("2048 kB"), mebibytes("unknown")), (2, 0));
    }
}
