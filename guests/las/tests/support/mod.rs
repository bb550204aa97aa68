//! The settled cluster that tests change one line of, and how they look at an answer.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "each test file uses some of it; helpers of tests may do what tests may"
)]

use k8s_openapi::api::apps::v1::DaemonSet;
use las::LasModule;
use operator_guest::testing::{self, Answer};
use serde_json::Value;

pub(crate) const SETTLED: &str = include_str!("../one-node.yaml");
pub(crate) const LAS_RUNS: &str =
    r#"{name: las, ready: true, restartCount: 0, state: {running: {startedAt: "2023-11-14T22:00:12Z"}}}"#;
pub(crate) const PROBE_READY: &str =
    r#"{name: probe, ready: true, restartCount: 0, state: {running: {startedAt: "2023-11-14T22:00:13Z"}}}"#;

pub(crate) fn answer(yaml: &str) -> Answer {
    testing::reconcile::<LasModule>(yaml).unwrap()
}

/// The settled cluster with `from` replaced; it must be there.
pub(crate) fn with(from: &str, to: &str) -> String {
    assert!(SETTLED.contains(from), "{from}");
    SETTLED.replace(from, to)
}

pub(crate) fn status(answer: &Answer) -> Value {
    answer.status().unwrap()
}

/// State, reason and message.
pub(crate) fn verdict(answer: &Answer) -> String {
    let ready = answer.condition("IsHealthy").unwrap();
    format!("{} {}: {}", status(answer)["state"].as_str().unwrap(), ready.reason, ready.message)
}

pub(crate) fn pod_spec(answer: &Answer) -> Value {
    let set: DaemonSet = answer.child("las").unwrap();
    serde_json::to_value(set).unwrap()["spec"]["template"]["spec"].clone()
}

pub(crate) fn labels(answer: &Answer) -> Vec<String> {
    let partials = &answer.desired().unwrap().partials;
    partials.iter().map(|p| format!("{}: {}", p.identity, String::from_utf8_lossy(&p.document))).collect()
}

/// As if this answer's status were stored already, with these conditions (a JSON list).
pub(crate) fn after(first: &Answer, conditions: &str, yaml: &str) -> String {
    let mut status = status(first);
    status["conditions"] = serde_json::from_str(conditions).unwrap();
    assert!(yaml.contains("children:\n"));
    yaml.replace("children:\n", &format!("  status: {status}\nchildren:\n"))
}

/// Status, reason and message of one condition.
pub(crate) fn condition(answer: &Answer, type_: &str) -> String {
    let found = answer.condition(type_).unwrap();
    format!("{:?} {}: {}", found.status, found.reason, found.message).replace("ConditionStatus::", "")
}
