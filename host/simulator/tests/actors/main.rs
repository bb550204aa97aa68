//! Who else works in a cluster, without any module: workloads, storage, budgets, the scheduler, nodes that fall silent.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests are tests, which the lints cannot see"
)]

mod budgets;
mod claims;
mod deployments;
mod nodes;
mod scheduling;
mod stateful_sets;

use operator_core::ObjectRef;
use operator_simulator::{World, view};
use serde_json::{Value, json};

/// A world with a namespace `a` and nodes.
struct Stage {
    world: World,
}

impl Stage {
    fn new(nodes: &[&str]) -> Self {
        let stage = Self { world: World::new("system").unwrap() };
        stage.world.add_namespace("a");
        for name in nodes {
            stage.node(name, json!({}));
        }
        stage
    }

    fn node(&self, name: &str, more: Value) {
        let mut node = json!({"apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
            "status": {"allocatable": {"cpu": "8"}, "conditions": [{"type": "Ready", "status": "True"}]}});
        for (key, value) in more.as_object().unwrap() {
            node[key] = value.clone();
        }
        self.world.add(node);
    }

    fn ready(&self, node: &str, ready: bool) {
        let mut object = self.object("Node", node);
        let since = "2026-01-01T00:00:00Z";
        let status = if ready { "True" } else { "Unknown" };
        object["status"]["conditions"] = json!([{"type": "Ready", "status": status, "lastTransitionTime": since}]);
        self.world.add(object);
    }

    /// Applies an object in namespace `a`: the code and the answer.
    fn try_apply(&self, object: &Value) -> (u16, Value) {
        let identity = self.identity(object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap());
        self.world.apply(&identity, object)
    }

    fn apply(&self, object: &Value) {
        let (code, answer) = self.try_apply(object);
        assert!(code < 300, "{answer}");
    }

    fn delete(&self, kind: &str, name: &str) {
        let path = self.world.path_of(&self.identity(kind, name));
        let (code, answer) = self.world.send(http::Method::DELETE, &path, "application/json", &json!({}));
        assert_eq!(code, 200, "{answer}");
    }

    fn merge(&self, kind: &str, name: &str, change: &Value) -> (u16, Value) {
        let path = self.world.path_of(&self.identity(kind, name));
        self.world.send(http::Method::PATCH, &path, "application/merge-patch+json", change)
    }

    fn identity(&self, kind: &str, name: &str) -> ObjectRef {
        let (api_version, namespaced) = self.world.cluster.kind(kind).unwrap();
        let namespace = namespaced.then(|| "a".to_owned());
        ObjectRef { api_version, kind: kind.to_owned(), namespace, name: name.to_owned() }
    }

    fn find(&self, kind: &str, name: &str) -> Option<Value> {
        self.world.cluster.object(&self.identity(kind, name))
    }

    fn object(&self, kind: &str, name: &str) -> Value {
        self.find(kind, name).unwrap_or_else(|| panic!("there is no {kind} {name}"))
    }

    fn names(&self, kind: &str) -> Vec<String> {
        let all = self.world.cluster.identities().into_iter().filter(|identity| identity.kind == kind);
        all.map(|identity| identity.name).collect()
    }

    fn step(&self) -> bool {
        self.world.actors.step(&self.world.cluster)
    }

    /// Lets everybody act until nothing changes; tells in how many rounds.
    fn settle(&self) -> usize {
        for round in 0..60 {
            if !self.step() {
                return round;
            }
        }
        panic!("it never comes to rest");
    }

    /// Lets everybody act until something holds.
    fn until(&self, holds: impl Fn(&Self) -> bool) {
        for _ in 0..60 {
            if holds(self) {
                return;
            }
            assert!(self.step(), "it came to rest before");
        }
        panic!("it never holds");
    }

    fn node_of(&self, pod: &str) -> String {
        self.object("Pod", pod)["spec"]["nodeName"].as_str().unwrap_or_default().to_owned()
    }

    /// Why a pod waits for a node.
    fn waits(&self, pod: &str) -> String {
        let pod = self.object("Pod", pod);
        pod["status"]["conditions"][0]["message"]
            .as_str()
            .unwrap_or_else(|| panic!("it does not wait: {pod}"))
            .to_owned()
    }

    /// The image that a pod's first container runs.
    fn image(&self, pod: &str) -> String {
        self.object("Pod", pod)["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()
    }
}

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "main", "image": image}]}})
}

fn workload(kind: &str, replicas: i64, image: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "x"}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": {"app": "x"}}, "template": template(image)}})
}

/// A plain pod.
fn pod(name: &str, spec: Value) -> Value {
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "x"}},
        "spec": {"containers": [{"name": "main", "image": "x:1"}]}});
    for (key, value) in spec.as_object().unwrap() {
        pod["spec"][key] = value.clone();
    }
    pod
}

#[test]
fn a_table_shows_the_columns_of_a_built_in_kind() {
    let stage = Stage::new(&["n"]);
    stage.apply(&workload("StatefulSet", 1, "x:1"));
    stage.settle();
    assert_eq!(view::table(&stage.world, "StatefulSet").unwrap(), ["NAME   READY", "x      1/1"]);
    assert_eq!(
        view::table(&stage.world, "Pod").unwrap(),
        ["NAME   READY   STATUS    NODE", "x-0    1/1     Running   n"]
    );
}
