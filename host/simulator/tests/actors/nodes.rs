//! Nodes that fall silent.

use operator_simulator::actors::Device;
use serde_json::json;

use super::*;

fn is_marked(stage: &Stage, pod: &str) -> bool {
    stage.object("Pod", pod)["metadata"].get("deletionTimestamp").is_some()
}

#[test]
fn a_pod_on_a_silent_node_is_not_ready_and_is_marked_after_five_minutes() {
    let stage = Stage::new(&["a"]);
    stage.apply(&workload("StatefulSet", 1, "x:1"));
    stage.settle();
    stage.ready("a", false);
    stage.settle();
    assert!(!is_marked(&stage, "x-0"));
    assert_eq!(stage.object("StatefulSet", "x")["status"].get("readyReplicas"), None);
    stage.world.cluster.advance(300);
    stage.settle();
    assert!(is_marked(&stage, "x-0"));
}

#[test]
fn a_numbered_pod_is_stuck_with_its_silent_node_and_is_replaced_when_the_node_is_back() {
    let stage = Stage::new(&["a", "b"]);
    stage.apply(&workload("StatefulSet", 1, "x:1"));
    stage.settle();
    let uid = stage.object("Pod", "x-0")["metadata"]["uid"].clone();
    stage.ready("a", false);
    stage.delete("Pod", "x-0");
    stage.settle();
    assert_eq!(stage.object("Pod", "x-0")["metadata"]["uid"], uid, "nobody knows whether it still runs");
    stage.ready("a", true);
    stage.settle();
    assert_ne!(stage.object("Pod", "x-0")["metadata"]["uid"], uid);
}

#[test]
fn a_pod_on_a_silent_node_goes_when_it_is_deleted_without_grace() {
    let stage = Stage::new(&["a", "b"]);
    stage.apply(&workload("StatefulSet", 1, "x:1"));
    stage.settle();
    stage.ready("a", false);
    let path = stage.world.path_of(&stage.identity("Pod", "x-0"));
    stage.world.send(http::Method::DELETE, &path, "application/json", &json!({"gracePeriodSeconds": 0}));
    stage.settle();
    assert_eq!(stage.node_of("x-0"), "b");
}

#[test]
fn a_pod_goes_with_its_node() {
    let stage = Stage::new(&["a", "b"]);
    stage.apply(&workload("StatefulSet", 1, "x:1"));
    stage.settle();
    stage.delete("Node", "a");
    stage.settle();
    assert_eq!(stage.node_of("x-0"), "b");
}

#[test]
fn a_deployment_replaces_a_pod_that_is_marked_and_the_old_one_ends_with_the_silence() {
    let stage = Stage::new(&["a"]);
    stage.apply(&workload("Deployment", 1, "x:1"));
    stage.settle();
    let old = stage.names("Pod")[0].clone();
    stage.node("b", json!({}));
    stage.ready("a", false);
    stage.world.cluster.advance(300);
    stage.settle();
    assert!(is_marked(&stage, &old));
    assert_eq!(stage.names("Pod").len(), 2);
    assert_eq!(stage.object("Deployment", "x")["status"]["availableReplicas"], 1);
    stage.ready("a", true);
    stage.settle();
    assert!(stage.find("Pod", &old).is_none());
    assert_eq!(stage.names("Pod").len(), 1);
}

#[test]
fn a_pod_stays_on_a_silent_node_for_as_long_as_it_tolerates_that() {
    let stage = Stage::new(&["a"]);
    let forever = json!([{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"}]);
    let soon = json!([{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute",
        "tolerationSeconds": 10}]);
    stage.apply(&pod("p", json!({"tolerations": forever})));
    stage.apply(&pod("q", json!({"tolerations": soon})));
    stage.settle();
    stage.ready("a", false);
    stage.world.cluster.advance(10);
    stage.settle();
    assert_eq!((is_marked(&stage, "p"), is_marked(&stage, "q")), (false, true));
    stage.world.cluster.advance(3600);
    stage.settle();
    assert!(!is_marked(&stage, "p"));
}

#[test]
fn a_silent_node_keeps_its_devices() {
    let mut stage = Stage::new(&["a"]);
    let label = ("app".to_owned(), "x".to_owned());
    let resource = "example.org/device".to_owned();
    stage.world.actors.devices.push(Device { node: "a".into(), resource, count: 3, label });
    stage.apply(&workload("Deployment", 1, "x:1"));
    stage.settle();
    let devices = |stage: &Stage| stage.object("Node", "a")["status"]["allocatable"]["example.org/device"].clone();
    assert_eq!(devices(&stage), "3");
    stage.ready("a", false);
    stage.settle();
    assert_eq!(devices(&stage), "3", "its kubelet says nothing else any more");
}

#[test]
fn a_pod_of_a_daemon_set_stays_on_a_node_that_takes_no_new_ones() {
    let stage = Stage::new(&["a", "b"]);
    stage.apply(&workload("DaemonSet", 1, "x:1"));
    stage.settle();
    assert_eq!(stage.names("Pod").len(), 2);
    let taint = |effect: &str| json!({"spec": {"taints": [{"key": "k", "effect": effect}]}});
    stage.merge("Node", "a", &taint("NoSchedule"));
    stage.settle();
    assert_eq!(stage.names("Pod").len(), 2);
    let status = stage.object("DaemonSet", "x")["status"].clone();
    assert_eq!((&status["desiredNumberScheduled"], &status["numberMisscheduled"]), (&json!(1), &json!(1)));
    stage.merge("Node", "a", &taint("NoExecute"));
    stage.settle();
    assert_eq!(stage.names("Pod").len(), 1);
}

#[test]
fn who_runs_needs_no_registry() {
    let mut stage = Stage::new(&["a"]);
    stage.apply(&workload("StatefulSet", 1, "x:1"));
    stage.settle();
    stage.world.actors.bad_images.push(("x:".to_owned(), "401".to_owned()));
    stage.settle();
    assert_eq!(stage.object("StatefulSet", "x")["status"]["readyReplicas"], 1);
    stage.delete("Pod", "x-0");
    stage.settle();
    assert_eq!(stage.object("Pod", "x-0")["status"]["phase"], "Pending");
}
