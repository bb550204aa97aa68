//! How many pods may be evicted.

use serde_json::json;

use super::*;

fn budget(spec: Value) -> Value {
    let mut budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"},
        "spec": {"selector": {"matchLabels": {"app": "x"}}}});
    for (key, value) in spec.as_object().unwrap() {
        budget["spec"][key] = value.clone();
    }
    budget
}

fn status(stage: &Stage) -> (i64, i64, i64, i64) {
    let status = stage.object("PodDisruptionBudget", "b")["status"].clone();
    let number = |field: &str| status[field].as_i64().unwrap();
    (number("expectedPods"), number("currentHealthy"), number("desiredHealthy"), number("disruptionsAllowed"))
}

#[test]
fn a_budget_of_all_pods_allows_no_disruption() {
    let stage = Stage::new(&["n"]);
    stage.apply(&workload("StatefulSet", 1, "x:1"));
    stage.apply(&budget(json!({"maxUnavailable": 0})));
    stage.settle();
    assert_eq!(status(&stage), (1, 1, 1, 0));
    let budget = stage.object("PodDisruptionBudget", "b");
    assert_eq!(budget["status"]["observedGeneration"], budget["metadata"]["generation"]);
    let condition = &budget["status"]["conditions"][0];
    assert_eq!((&condition["status"], &condition["reason"]), (&json!("False"), &json!("InsufficientPods")));
}

#[test]
fn a_budget_counts_what_the_owners_want_and_what_is_healthy() {
    let mut stage = Stage::new(&["n"]);
    stage.apply(&workload("Deployment", 4, "x:1"));
    stage.apply(&budget(json!({"minAvailable": "50%"})));
    stage.settle();
    assert_eq!(status(&stage), (4, 4, 2, 2));
    stage.world.actors.failing_probes.push(("n".into(), "main".into()));
    stage.settle();
    assert_eq!(status(&stage), (4, 0, 2, 0));
}

#[test]
fn a_budget_of_a_number_counts_the_pods_that_are_there() {
    let stage = Stage::new(&["n"]);
    stage.apply(&pod("p", json!({})));
    stage.apply(&pod("q", json!({})));
    stage.apply(&budget(json!({"minAvailable": 1})));
    stage.settle();
    assert_eq!(status(&stage), (2, 2, 1, 1));
}

#[test]
fn a_share_of_pods_that_nobody_controls_is_unknown() {
    let stage = Stage::new(&["n"]);
    stage.apply(&pod("p", json!({})));
    stage.apply(&budget(json!({"maxUnavailable": 1})));
    stage.settle();
    assert_eq!(status(&stage).3, 0);
    let reason = stage.object("PodDisruptionBudget", "b")["status"]["conditions"][0]["reason"].clone();
    assert_eq!(reason, "SyncFailed");
}

#[test]
fn a_budget_says_one_thing_only() {
    let stage = Stage::new(&[]);
    let (code, answer) = stage.try_apply(&budget(json!({"minAvailable": 1, "maxUnavailable": 1})));
    assert_eq!(code, 422);
    assert!(answer["message"].as_str().unwrap().contains("cannot be both set"));
}
