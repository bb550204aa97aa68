//! Ring scripts: every scenario gives the transcript that stands beside it, through the command that people use.
#![cfg(test)]

use std::{path::PathBuf, process::Command};

fn folder() -> PathBuf {
    test_support::checkout().join("tests/scenarios")
}

fn variable(name: &str) -> PathBuf {
    let path = std::env::var_os(name).map(PathBuf::from).filter(|path| path.exists());
    path.unwrap_or_else(|| panic!("{name} names nothing that exists; run the tests with `cargo xtask test scenarios`"))
}

/// Runs a scenario; its transcript and exit code.
fn simulate(name: &str, more: &[&str]) -> (String, Option<i32>) {
    let output = Command::new(variable("SCONE_OPERATOR_MODCTL"))
        .current_dir(folder())
        .args(["simulate", &format!("{name}.scenario"), "--modules"])
        .arg(variable("SCONE_OPERATOR_MODULES"))
        .args(more)
        .output()
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (text, output.status.code())
}

/// What differs from run to run: how many calls two threads made, and how long they took.
fn redacted(text: &str) -> String {
    let line = |line: &str| {
        if line.contains(" calls, ") && line.contains("slowest") {
            let failed = line.split(", ").nth(1).unwrap_or_default();
            format!("  N calls, {failed}, slowest N ms")
        } else {
            line.to_owned()
        }
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n") + "\n"
}

fn scenarios() -> Vec<String> {
    let entries = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.filter_map(|name| name.strip_suffix(".scenario").map(str::to_owned)).collect();
    // `cargo xtask test scenarios NAME` asks for one.
    if let Ok(name) = std::env::var("SCONE_OPERATOR_SCENARIO") {
        names.retain(|known| *known == name);
        assert!(!names.is_empty(), "there is no scenario {name}");
    }
    names.sort();
    names
}

#[test]
fn every_scenario_gives_its_transcript() {
    let update = std::env::var_os("UPDATE").is_some();
    let mut wrong = Vec::new();
    for name in scenarios() {
        let (text, code) = simulate(&name, &[]);
        assert_eq!(code, Some(0), "scenario {name} failed:\n{text}");
        let golden = folder().join(format!("{name}.out"));
        let text = redacted(&text);
        if update {
            std::fs::write(&golden, &text).unwrap();
        } else if std::fs::read_to_string(&golden).ok().as_deref() != Some(&text) {
            wrong.push(format!("{name}: the transcript differs from {name}.out; it is now:\n{text}"));
        }
    }
    assert!(wrong.is_empty(), "{}\nUPDATE=1 rewrites the transcripts; read them then", wrong.join("\n"));
}

#[test]
fn the_same_scenario_gives_the_same_transcript_twice() {
    let run = || redacted(&simulate("first-install", &[]).0);
    assert_eq!(run(), run());
}

#[test]
fn a_program_gets_one_json_object_for_each_step() {
    let (text, code) = simulate("bad-las-denied", &["-o", "json"]);
    assert_eq!(code, Some(0));
    let steps: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(steps.iter().any(|step| step["step"] == "try-apply" && step["output"].is_array()), "{text}");
}
