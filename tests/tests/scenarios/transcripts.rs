//! Every scenario gives the transcript that stands beside it.

use std::process::Command;

use super::runs::{RUNS, folder, simulate, variable};

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

#[test]
fn every_scenario_gives_its_transcript() {
    let update = std::env::var_os("UPDATE").is_some();
    let mut wrong = Vec::new();
    for (name, run) in RUNS.iter() {
        assert_eq!(run.code, Some(0), "scenario {name} failed:\n{}", run.text);
        let golden = folder().join(format!("{name}.out"));
        let text = redacted(&run.text);
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
    let again = redacted(&simulate("first-install").text);
    assert_eq!(redacted(&RUNS["first-install"].text), again);
}

#[test]
fn a_program_gets_one_json_object_for_each_step() {
    let output = Command::new(variable("SCONE_OPERATOR_MODCTL"))
        .current_dir(folder())
        .args(["simulate", "bad-las-denied.scenario", "-o", "json", "--modules"])
        .arg(variable("SCONE_OPERATOR_MODULES"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    let told: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(told.iter().any(|step| step["step"] == "try-apply" && step["output"].is_array()), "{text}");
    // The last line is the summary; the others are what `--steps-to` writes, but for how long they took.
    let timeless = |step: &serde_json::Value| {
        let mut step = step.clone();
        step.as_object_mut().unwrap().remove("ms").unwrap();
        step
    };
    let steps: Vec<_> = told[..told.len() - 1].iter().map(timeless).collect();
    let written: Vec<_> = RUNS["bad-las-denied"].steps.iter().map(timeless).collect();
    assert_eq!(steps, written);
}
