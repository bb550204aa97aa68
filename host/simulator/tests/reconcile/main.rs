//! One reconcile against a simulated cluster: the controller's own code on the controller's own client. The module is a
//! closure, so that each test says what the module answers.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests are tests, which the lints cannot see"
)]

mod children;
mod failures;
mod lagging;
mod outside;
mod parents;
mod settled;
#[path = "../support/told.rs"]
mod told;
mod workloads;

use std::{sync::Arc, time::Duration};

use operator_core::{
    Cause, Child, Desired, Document, FailureKind, Module, ObjectRef, Partial, Readiness, Snapshot, Strategy,
    contract::Manifest, status::Progress,
};
use operator_simulator::{FakeCluster, World};
use serde_json::{Value, json};
use told::Told;

fn manifest() -> Manifest {
    let any = |api_version: &str, kind: &str| json!({"apiVersion": api_version, "kind": kind, "namespaces": "all"});
    let parent = |kind: &str, plural: &str, scope: &str| {
        json!({"apiVersion": "example.org/v1", "kind": kind, "plural": plural, "scope": scope, "crd": {
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.example.org")},
            "spec": {"group": "example.org", "scope": scope, "names": {"kind": kind, "plural": plural},
                "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}}})
    };
    serde_json::from_value(json!({
        "name": "told", "version": "1.0.0", "contract": "1.0.0", "codec": "json/1", "finalizer": true,
        "kinds": [parent("Thing", "things", "Namespaced"), parent("Wide", "wides", "Cluster")],
        "grants": {
            "children": [any("v1", "ConfigMap"), any("apps/v1", "DaemonSet"), any("apps/v1", "StatefulSet"),
                any("apps/v1", "Deployment"), any("v1", "Service"), any("v1", "PersistentVolumeClaim"),
                any("policy/v1", "PodDisruptionBudget"), any("networking.k8s.io/v1", "NetworkPolicy")],
            "partials": [{"apiVersion": "v1", "kind": "Node", "labels": ["example.org/*"]}],
            "objects": [any("v1", "Node"), any("v1", "Pod")],
            "podLogs": [{"namespaces": "all", "labels": {"app": "ours"}, "containers": ["main"]}],
            "delete": [any("v1", "Pod")],
        },
    }))
    .unwrap()
}

/// A world with a module, its parent `Thing a/t`, and a node.
struct Stage {
    world: World,
    told: Arc<Told>,
    parent: ObjectRef,
    /// What the administrator says about finalizers.
    release_after: Option<Duration>,
}

impl Stage {
    fn new(answer: impl Fn(&Snapshot) -> Desired + Send + 'static) -> Self {
        Self::with(manifest(), answer)
    }

    fn with(manifest: Manifest, answer: impl Fn(&Snapshot) -> Desired + Send + 'static) -> Self {
        let mut world = World::new("system").unwrap();
        world.add_namespace("a");
        world.add(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "labels": {"zone": "z"}},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]}}));
        let told = Arc::new(Told::new(manifest, answer));
        world.serve("told", Arc::clone(&told) as Arc<dyn Module>, Document::new(&b"{}"[..]));
        let stage = Self {
            world,
            told,
            parent: ObjectRef::namespaced("example.org/v1", "Thing", "a", "t"),
            release_after: None,
        };
        stage.add_parent("t");
        stage
    }

    fn add_parent(&self, name: &str) -> ObjectRef {
        let parent = ObjectRef { name: name.to_owned(), ..self.parent.clone() };
        let object = json!({"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": name}, "spec": {}});
        assert_eq!(self.world.apply(&parent, &object).0, 201);
        parent
    }

    /// From now on the module answers this.
    fn answers(&self, answer: impl Fn(&Snapshot) -> Desired + Send + 'static) {
        self.told.answers(move |snapshot| Ok(answer(snapshot)));
    }

    fn fails(&self, kind: FailureKind) {
        self.told.answers(move |_| Err(kind.clone()));
    }

    /// Forgets all that the host remembers, as a restart does.
    fn restart(&mut self) {
        let module = Arc::clone(&self.told) as Arc<dyn Module>;
        self.world.serve("told", module, Document::new(&b"{}"[..]));
    }

    fn try_once(&self) -> Result<operator_controller::Outcome, operator_controller::Error> {
        self.world.reconcile("told", &self.parent).unwrap()
    }

    fn once(&self) -> operator_controller::Outcome {
        self.try_once().unwrap()
    }

    /// Reconciles all parents and lets actors act until nothing is written any more; tells in how many rounds.
    fn settle(&self) -> usize {
        for round in 1..30 {
            let writes = self.cluster().writes().len();
            for parent in self.world.parents("told") {
                self.world.reconcile("told", &parent).unwrap().unwrap();
            }
            let moved = self.world.actors.step(self.cluster());
            if !moved && self.cluster().writes().len() == writes {
                return round;
            }
        }
        panic!("it never comes to rest: {:?}", self.cluster().writes().iter().rev().take(10).collect::<Vec<_>>());
    }

    fn cluster(&self) -> &FakeCluster {
        &self.world.cluster
    }

    fn object(&self, identity: &ObjectRef) -> Option<Value> {
        self.cluster().object(identity)
    }

    /// What was written since, one line each.
    fn writes_since(&self, mark: usize) -> Vec<String> {
        let line = |w: &operator_simulator::cluster::Write| {
            format!("{} {}{}", w.verb, w.identity, if w.status { " status" } else { "" })
        };
        self.cluster().writes().iter().skip(mark).map(line).collect()
    }

    fn mark(&self) -> usize {
        self.cluster().writes().len()
    }

    /// A condition of the parent: status and reason.
    fn condition(&self, type_: &str) -> (String, String) {
        let parent = self.object(&self.parent).unwrap();
        let all = parent["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = all.iter().find(|condition| condition["type"] == type_).unwrap();
        (found["status"].as_str().unwrap().to_owned(), found["reason"].as_str().unwrap().to_owned())
    }

    fn delete(&self, identity: &ObjectRef) {
        let path = self.world.path_of(identity);
        assert_eq!(self.world.send(http::Method::DELETE, &path, "application/json", &json!({})).0, 200);
    }
}

fn map_ref(name: &str) -> ObjectRef {
    ObjectRef::namespaced("v1", "ConfigMap", "a", name)
}

fn child_of(identity: ObjectRef, mut body: Value) -> Child {
    body["apiVersion"] = identity.api_version.clone().into();
    body["kind"] = identity.kind.clone().into();
    body["metadata"]["name"] = identity.name.clone().into();
    if let Some(namespace) = &identity.namespace {
        body["metadata"]["namespace"] = namespace.clone().into();
    }
    let document = Document::from_value(&body);
    Child { identity, document, strategy: Strategy::Apply, stage: 0, readiness: Readiness::Exists }
}

fn map(name: &str, value: &str) -> Child {
    child_of(map_ref(name), json!({"data": {"k": value}}))
}

fn daemon_set(app: &str, image: &str) -> Child {
    let body = json!({"spec": {
        "selector": {"matchLabels": {"app": app}},
        "template": {"metadata": {"labels": {"app": app}},
            "spec": {"containers": [{"name": "main", "image": image}]}},
    }});
    let child = child_of(ObjectRef::namespaced("apps/v1", "DaemonSet", "a", "d"), body);
    Child { readiness: Readiness::Status, ..child }
}

fn label(key: &str) -> Partial {
    Partial {
        identity: ObjectRef::cluster("v1", "Node", "n"),
        document: Document::from_value(&json!({"metadata": {"labels": {key: "true"}}})),
    }
}

fn children(children: Vec<Child>) -> Desired {
    Desired { children, finalized: true, ..Desired::default() }
}

fn is_stalled(outcome: &operator_controller::Outcome, wanted: &str) -> bool {
    matches!(&outcome.progress, Progress::Stalled { reason, .. } if *reason == wanted)
}
