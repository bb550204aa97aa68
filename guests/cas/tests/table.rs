//! Every case of the table, and that the table leaves nothing out that the kind can say.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "the helpers of tests may do what tests may")]

use std::collections::BTreeSet;

use crate::support::{answer, cases::CASES, status, with};
use operator_guest::testing::Answer;
use serde_json::Value;

/// What a case shows: a field of the status, or the status of a condition.
fn shown(answer: &Answer, place: &str) -> String {
    match place.strip_prefix("condition:") {
        Some(type_) => format!("{:?}", answer.condition(type_).unwrap().status).replace("ConditionStatus::", ""),
        None => match &status(answer)[place] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        },
    }
}

#[test]
fn every_case_is_judged_as_the_table_says() {
    let mut wrong = Vec::new();
    for case in CASES {
        let answer = answer(&with(case.edits));
        let verdict = crate::support::verdict(&answer);
        if !verdict.starts_with(&format!("{}:", case.verdict)) {
            wrong.push(format!("{}: {verdict}", case.name));
        }
        let phase = shown(&answer, "phase");
        if phase != case.phase {
            wrong.push(format!("{}: phase {phase}", case.name));
        }
        for (place, expected) in case.shows {
            let found = shown(&answer, place);
            if found != *expected {
                wrong.push(format!("{}: {place} is {found}, not {expected}", case.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The values that a field of the status may have.
fn values(field: &str) -> BTreeSet<String> {
    let crd: Value = serde_json::from_str(scone_api::CAS_CRD).unwrap();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"][field];
    schema["enum"].as_array().unwrap().iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The values that the answers to all cases have there.
fn reached(answers: &[Answer], place: &str) -> BTreeSet<String> {
    answers.iter().map(status).filter_map(|status| status[place].as_str().map(str::to_owned)).collect()
}

fn answers() -> Vec<Answer> {
    CASES.iter().map(|case| answer(&with(case.edits))).collect()
}

#[test]
fn every_state_phase_and_status_is_reached_by_some_case() {
    let answers = answers();
    for (field, never) in [
        ("state", &[][..]),
        ("phase", &[]),
        ("provisioned", &[]),
        // Values of 5.8, which are read and not written.
        ("attestable", &["Failed", "No"]),
        ("snapshotStatus", &[]),
        ("safetyServiceStatus", &[]),
        ("safetyServiceDeploymentStatus", &[]),
        ("safetyServicePDBStatus", &[]),
        ("databasePvcStatus", &["FileSystemResizePending"]),
        ("snapshotPvcStatus", &["Resizing"]),
    ] {
        let mut expected = values(field);
        expected.retain(|value| !never.contains(&value.as_str()));
        assert_eq!(reached(&answers, field), expected, "{field}");
    }
}

#[test]
fn every_alert_is_reached_at_zero_above_it_and_where_it_may_be_unknown() {
    let answers = answers();
    let reached = |field: &str| -> BTreeSet<i64> {
        answers.iter().map(status).filter_map(|status| status[field].as_i64()).map(i64::signum).collect()
    };
    for field in ["replicaAlert", "migrationNodeAlert", "migrationControllerReplicaAlert"] {
        assert_eq!(reached(field), BTreeSet::from([-1, 0, 1]), "{field}");
    }
    assert_eq!(reached("podDisruptionBudgetAlert"), BTreeSet::from([0, 1]));
}

/// The README's table of a section: the words of its first column.
fn listed(section: &str) -> BTreeSet<String> {
    let readme = include_str!("../README.md");
    let text = readme.split(&format!("## {section}\n")).nth(1).unwrap().split("\n## ").next().unwrap();
    let cells = text.lines().filter(|line| line.starts_with("| `")).filter_map(|line| line.split('|').nth(1));
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

#[test]
fn every_condition_of_the_readme_is_reached_true_and_otherwise() {
    let answers = answers();
    let told: BTreeSet<(String, String)> = answers
        .iter()
        .flat_map(|answer| &answer.desired().unwrap().conditions)
        .map(|condition| {
            let type_ = condition
                .type_
                .rsplit_once('/')
                .map_or(condition.type_.clone(), |(_, name)| format!("<object>/{name}"));
            (type_, format!("{:?}", condition.status))
        })
        .collect();
    let types: BTreeSet<String> = told.iter().map(|(type_, _)| type_.clone()).collect();
    assert_eq!(types, listed("Conditions"));
    for type_ in types {
        let statuses: Vec<_> =
            told.iter().filter(|(other, _)| *other == type_).map(|(_, status)| status.as_str()).collect();
        assert!(statuses.len() > 1 && statuses.contains(&"ConditionStatus::True"), "{type_}: {statuses:?}");
    }
}

#[test]
fn every_reason_of_the_readme_is_reached() {
    let reasons: BTreeSet<String> =
        CASES.iter().map(|case| case.verdict.split(' ').nth(1).unwrap().to_owned()).collect();
    // Of kinds with a DaemonSet, or told in tests of their own below.
    let mut listed = listed("Reasons");
    for elsewhere in ["NoNodeSelected", "Provisioning"] {
        listed.remove(elsewhere);
    }
    assert_eq!(reasons, listed);
}

#[test]
fn every_phase_is_in_the_readme() {
    assert_eq!(listed("Phases"), values("phase"));
}

#[test]
fn every_metric_of_the_readme_is_exported_for_a_cas_with_everything() {
    let answer = answer(&crate::support::settled());
    let samples = &answer.desired().unwrap().samples;
    let names: BTreeSet<String> = samples.iter().map(|sample| sample.name.clone()).collect();
    assert_eq!(names, listed("Metrics"));
    for sample in samples {
        let labels: Vec<_> = sample.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(labels, ["cr_name=cas", "cr_namespace=prod"], "{}", sample.name);
    }
}

#[test]
fn metrics_code_values_as_the_dashboards_read_them() {
    let value = |edits: &[(&str, &str)], metric: &str| {
        let answer = answer(&with(edits));
        let samples = &answer.desired().unwrap().samples;
        samples.iter().find(|sample| sample.name == format!("scone_cas_{metric}")).unwrap().value
    };
    for (edits, metric, expected) in [
        (&[][..], "state", 1.0),
        (&[], "phase", 0.875),
        (&[("finalizing", "true")], "phase", 1.0),
        (&[("answers/attest/command/code", "1")], "attestable", -1.0),
        (&[("answers/attest/command/code", "1")], "phase", 0.25),
        (&[("answers/provisioned/http/status", "404")], "provisioned", 0.0),
        (&[("answers/provisioned/http/status", "404")], "phase", 0.625),
        (&[("answers/provisioned/http/status", "500")], "provisioned", -1.0),
        (&[("answers/backup-log/lines", r#"['{"node-1":true}']"#)], "migration_node_alert", 2.0),
        (&[("answers/snapshot-log/lines", "[snapshot failed]")], "snapshot_alert", 1.0),
        (&[("answers/snapshot-log/lines", "[snapshot failed]")], "snapshot_status", 0.0),
        (&[("child:Deployment/cas-safety-service/status/readyReplicas", "2")], "safety_service_status", 2.0),
        (&[], "snapshot_timestamp", 1_700_003_000.0),
        (&[], "snapshot_configured_interval", 86_400.0),
    ] {
        let found = value(edits, metric);
        assert!((found - expected).abs() < f64::EPSILON, "{metric} {edits:?}: {found}");
    }
}
