//! A watch that lags: what the cache does not show yet is neither forgotten nor orphaned.

use operator_controller::{Cache, Outcome};
use operator_core::{Observed, inventory};

use super::{settled::tried, *};

/// A cache whose watch of one kind has told nothing yet of what was made since its first list.
struct Lagging {
    cluster: FakeCluster,
    kind: &'static str,
}

impl Cache for Lagging {
    fn get(&self, identity: &ObjectRef) -> Option<Document> {
        self.cluster.get(identity).filter(|_| identity.kind != self.kind)
    }

    fn list(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
        labels: &[(String, String)],
    ) -> Vec<Observed> {
        if kind == self.kind { Vec::new() } else { self.cluster.list(api_version, kind, namespace, labels) }
    }

    fn held_by(&self, api_version: &str, kind: &str, manager: &str) -> Vec<Observed> {
        if kind == self.kind { Vec::new() } else { self.cluster.held_by(api_version, kind, manager) }
    }

    fn synced(&self, api_version: &str, kind: &str) -> bool {
        self.cluster.synced(api_version, kind)
    }

    fn resource(&self, api_version: &str, kind: &str) -> Option<(String, bool)> {
        self.cluster.resource(api_version, kind)
    }

    fn api_versions(&self) -> Arc<[String]> {
        self.cluster.api_versions()
    }
}

/// Two reconciles of the parent while the watch of `kind` lags.
fn lagging(stage: &Stage, kind: &'static str) -> Outcome {
    let cache = Lagging { cluster: stage.cluster().clone(), kind };
    tried(stage, cache, 2).pop().unwrap().unwrap()
}

fn waiting(outcome: &Outcome) -> String {
    let Progress::Waiting(lines) = &outcome.progress else { panic!("{:?}", outcome.progress) };
    assert!(outcome.requeue.is_some(), "no watch need tell of it");
    lines.join("; ")
}

#[test]
fn a_finalizer_stays_until_the_server_itself_shows_no_member() {
    let stage = Stage::new(|_| children(vec![map("m", "v")]));
    stage.settle();
    stage.delete(&stage.parent);
    let told = waiting(&lagging(&stage, "ConfigMap"));
    assert_eq!(told, "ConfigMap a/m: is still there");
    assert!(stage.object(&stage.parent).is_some() && stage.object(&map_ref("m")).is_some());
    stage.settle();
    assert!(stage.object(&stage.parent).is_none() && stage.object(&map_ref("m")).is_none());
}

#[test]
fn an_inventory_names_a_kind_until_the_server_itself_shows_no_member_of_it() {
    let stage = Stage::new(|_| children(vec![map("m", "v"), daemon_set("d", "x:1")]));
    stage.settle();
    stage.answers(|_| children(vec![daemon_set("d", "x:1")]));
    let told = waiting(&lagging(&stage, "ConfigMap"));
    assert!(told.contains("ConfigMap a/m: is still there"), "{told}");
    let kinds = || stage.object(&stage.parent).unwrap()["metadata"]["annotations"][inventory::GROUP_KINDS].clone();
    assert_eq!(kinds(), "ConfigMap,DaemonSet.apps");
    stage.settle();
    assert_eq!(kinds(), "DaemonSet.apps");
}

#[test]
fn a_finalizer_stays_until_the_server_itself_shows_no_label() {
    let stage = Stage::new(|_| Desired { partials: vec![label("example.org/a")], ..children(vec![]) });
    stage.settle();
    stage.delete(&stage.parent);
    assert_eq!(waiting(&lagging(&stage, "Node")), "Node n: still carries labels");
    assert!(stage.object(&stage.parent).is_some());
    stage.settle();
    assert!(stage.object(&stage.parent).is_none());
    assert_eq!(
        stage.object(&ObjectRef::cluster("v1", "Node", "n")).unwrap()["metadata"]["labels"],
        json!({"zone": "z"})
    );
}

#[test]
fn members_of_a_kind_that_the_module_lost_hold_the_parent_and_are_named() {
    let stage = Stage::new(|_| children(vec![map("m", "v")]));
    stage.settle();
    let mut less = manifest();
    less.grants.children.retain(|rule| rule.kind != "ConfigMap");
    let stage = Stage { told: Arc::new(Told::new(less, |_| children(vec![]))), ..stage };
    stage.delete(&stage.parent);
    let told = waiting(&lagging(&stage, "nothing lags"));
    assert!(
        told.contains("the module may not touch its kind any more; grant it again, or delete the object"),
        "{told}"
    );
    assert!(stage.object(&stage.parent).is_some() && stage.object(&map_ref("m")).is_some());
}
