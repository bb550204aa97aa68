//! Each scenario once, two at a time: what a person gets to read, and what a program gets.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::Command,
    sync::{LazyLock, Mutex},
    thread,
};

use serde_json::Value;

/// What one run of a scenario gave.
pub(crate) struct Run {
    /// Standard output and standard error.
    pub(crate) text: String,
    pub(crate) code: Option<i32>,
    /// One object a step.
    pub(crate) steps: Vec<Value>,
}

/// All of them, by name, or the one that `cargo xtask test scenarios NAME` asks for.
pub(crate) static RUNS: LazyLock<BTreeMap<String, Run>> = LazyLock::new(|| {
    let (names, runs) = (Mutex::new(names()), Mutex::new(BTreeMap::new()));
    let worker = || {
        // The lock is given back before the scenario runs.
        while let Some(name) = { names.lock().unwrap().pop() } {
            let run = simulate(&name);
            runs.lock().unwrap().insert(name, run);
        }
    };
    thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(worker))));
    runs.into_inner().unwrap()
});

/// Where the scripts and their transcripts are.
pub(crate) fn folder() -> PathBuf {
    test_support::checkout().join("tests/scenarios")
}

/// Runs a scenario as a person does, and has its steps written for a program as well.
pub(crate) fn simulate(name: &str) -> Run {
    let scratch = tempfile::tempdir().unwrap();
    let steps = scratch.path().join("steps.json");
    let output = Command::new(variable("SCONE_OPERATOR_MODCTL"))
        .current_dir(folder())
        .args(["simulate", &format!("{name}.scenario"), "--modules"])
        .arg(variable("SCONE_OPERATOR_MODULES"))
        .arg("--steps-to")
        .arg(&steps)
        .output()
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let steps = std::fs::read_to_string(steps).unwrap_or_else(|error| panic!("{name} wrote no steps: {error}\n{text}"));
    let steps = steps.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    Run { text, code: output.status.code(), steps }
}

pub(crate) fn variable(name: &str) -> PathBuf {
    let path = std::env::var_os(name).map(PathBuf::from).filter(|path| path.exists());
    path.unwrap_or_else(|| panic!("{name} names nothing that exists; run the tests with `cargo xtask test scenarios`"))
}

fn names() -> Vec<String> {
    let entries = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.filter_map(|name| name.strip_suffix(".scenario").map(str::to_owned)).collect();
    if let Ok(name) = std::env::var("SCONE_OPERATOR_SCENARIO") {
        names.retain(|known| *known == name);
        assert!(!names.is_empty(), "there is no scenario {name}");
    }
    names
}
