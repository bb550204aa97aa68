//! Which node a pod gets.

use operator_simulator::actors::Device;
use serde_json::json;

use super::*;

#[test]
fn a_pod_gets_a_node_that_it_selects_and_tolerates() {
    let stage = Stage::new(&["a"]);
    stage.node(
        "b",
        json!({"metadata": {"name": "b", "labels": {"kind": "big"}}, "spec": {
        "taints": [{"key": "only", "value": "big", "effect": "NoSchedule"}]}}),
    );
    stage.apply(&pod("p", json!({"nodeSelector": {"kind": "big"}})));
    stage.settle();
    let expected = "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, \
                    1 node(s) had untolerated taint {only: big}.";
    assert_eq!(stage.waits("p"), expected);
    let tolerations = json!([{"key": "only", "operator": "Exists"}]);
    stage.apply(&pod("q", json!({"nodeSelector": {"kind": "big"}, "tolerations": tolerations})));
    stage.settle();
    assert_eq!(stage.node_of("q"), "b");
}

#[test]
fn required_node_affinity_holds() {
    let stage = Stage::new(&["a", "b"]);
    let terms = json!([{"matchExpressions": [
        {"key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["a"]}]}]);
    let affinity =
        json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}});
    stage.apply(&pod("p", json!({"affinity": affinity})));
    stage.settle();
    assert_eq!(stage.node_of("p"), "b");
}

#[test]
fn pods_spread_over_the_nodes() {
    let stage = Stage::new(&["a", "b", "c"]);
    stage.apply(&workload("Deployment", 3, "x:1"));
    stage.settle();
    let mut nodes: Vec<String> = stage.names("Pod").iter().map(|pod| stage.node_of(pod)).collect();
    nodes.sort();
    assert_eq!(nodes, ["a", "b", "c"]);
}

fn apart(kind: &str) -> Value {
    let term = json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "x"}}});
    match kind {
        "required" => json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}),
        _ => json!({"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 100, "podAffinityTerm": term}]}}),
    }
}

#[test]
fn pods_that_must_be_apart_wait_for_a_node_of_their_own() {
    let stage = Stage::new(&["a", "b"]);
    for name in ["p", "q", "r"] {
        stage.apply(&pod(name, json!({"affinity": apart("required")})));
    }
    stage.settle();
    assert_eq!((stage.node_of("p"), stage.node_of("q")), ("a".into(), "b".into()));
    assert_eq!(stage.waits("r"), "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules.");
    stage.node("c", json!({}));
    stage.settle();
    assert_eq!(stage.node_of("r"), "c");
}

#[test]
fn a_pod_keeps_away_from_one_that_wants_to_be_alone() {
    let stage = Stage::new(&["a"]);
    stage.apply(&pod("p", json!({"affinity": apart("required")})));
    stage.settle();
    stage.apply(&pod("q", json!({})));
    stage.settle();
    assert_eq!(
        stage.waits("q"),
        "0/1 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules."
    );
}

#[test]
fn pods_that_would_rather_be_apart_share_a_node_when_they_must() {
    let stage = Stage::new(&["a", "b"]);
    for name in ["u", "v"] {
        let mut other = pod(name, json!({"nodeName": "a"}));
        other["metadata"]["labels"] = json!({"app": "y"});
        stage.apply(&other);
    }
    for name in ["p", "q", "r"] {
        stage.apply(&pod(name, json!({"affinity": apart("preferred")})));
    }
    stage.settle();
    let nodes: Vec<String> = ["p", "q", "r"].iter().map(|pod| stage.node_of(pod)).collect();
    assert_eq!(nodes, ["b", "a", "b"]);
}

#[test]
fn a_pod_that_needs_a_device_waits_until_one_is_free() {
    let mut stage = Stage::new(&["a"]);
    stage.world.actors.devices.push(Device {
        node: "a".into(),
        resource: "example.com/device".into(),
        count: 1,
        label: ("app".into(), "plugin".into()),
    });
    let needs = json!({"containers": [{"name": "main", "image": "x:1",
        "resources": {"limits": {"example.com/device": 1}}}]});
    stage.apply(&pod("p", needs.clone()));
    stage.settle();
    assert_eq!(stage.waits("p"), "0/1 nodes are available: 1 Insufficient example.com/device.");
    let mut plugin = pod("plugin", json!({}));
    plugin["metadata"]["labels"] = json!({"app": "plugin"});
    stage.apply(&plugin);
    stage.apply(&pod("q", needs));
    stage.settle();
    assert_eq!((stage.node_of("p"), stage.node_of("q")), ("a".into(), String::new()));
    stage.delete("Pod", "p");
    stage.settle();
    assert_eq!(stage.node_of("q"), "a");
}

#[test]
fn a_cordoned_node_gets_no_pods() {
    let stage = Stage::new(&["a"]);
    assert_eq!(stage.merge("Node", "a", &json!({"spec": {"unschedulable": true}})).0, 200);
    stage.apply(&pod("p", json!({})));
    stage.settle();
    assert_eq!(stage.waits("p"), "0/1 nodes are available: 1 node(s) were unschedulable.");
}

#[test]
fn a_pod_without_any_node_waits() {
    let stage = Stage::new(&[]);
    stage.apply(&pod("p", json!({})));
    stage.settle();
    assert_eq!(stage.waits("p"), "no nodes available to schedule pods");
}
