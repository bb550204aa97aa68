//! A reconcile of the operator is spared while everything is as it was when one of them changed nothing.

use std::sync::atomic::{AtomicUsize, Ordering};

use operator_controller::{Asker, Cache, Clock, Context, Error, Found, Outcome, Outside, reconcile};
use operator_core::{Action, Observed, Query, Serving};

use super::*;

/// What comes late.
#[derive(Clone, Copy, PartialEq)]
enum What {
    Node,
    Map,
    Versions,
}

/// A cache that learns of something right after somebody has looked for it for the first time.
struct Late {
    cluster: FakeCluster,
    what: What,
    looks: AtomicUsize,
}

impl Late {
    fn is_early(&self, what: What) -> bool {
        self.what == what && self.looks.fetch_add(1, Ordering::Relaxed) == 0
    }
}

impl Cache for Late {
    fn get(&self, identity: &ObjectRef) -> Option<Document> {
        let early = match identity.name.as_str() {
            "n" => self.is_early(What::Node),
            "m" => self.is_early(What::Map),
            _ => false,
        };
        self.cluster.get(identity).filter(|_| !early)
    }

    fn list(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
        labels: &[(String, String)],
    ) -> Vec<Observed> {
        self.cluster.list(api_version, kind, namespace, labels)
    }

    fn held_by(&self, api_version: &str, kind: &str, manager: &str) -> Vec<Observed> {
        self.cluster.held_by(api_version, kind, manager)
    }

    fn synced(&self, api_version: &str, kind: &str) -> bool {
        self.cluster.synced(api_version, kind)
    }

    fn resource(&self, api_version: &str, kind: &str) -> Option<(String, bool)> {
        self.cluster.resource(api_version, kind)
    }

    fn api_versions(&self) -> Arc<[String]> {
        if self.is_early(What::Versions) { Arc::default() } else { self.cluster.api_versions() }
    }
}

/// Nothing outside is asked.
struct Nothing;

impl Outside for Nothing {
    fn find(&self, _: Asker<'_>, _: &Query) -> Found {
        Found::pending()
    }

    fn act(&self, _: Asker<'_>, _: &Action) -> Found {
        Found::pending()
    }

    fn outcome(&self, _: &ObjectRef, _: &Action) -> Found {
        Found::pending()
    }

    fn forget(&self, _: &ObjectRef) {}
}

/// Reconciles the parent so often, with one memory, as the operator does.
fn sparing(stage: &Stage, cache: impl Cache + 'static, times: usize) -> Vec<Outcome> {
    tried(stage, cache, times).into_iter().map(Result::unwrap).collect()
}

pub(super) fn tried(stage: &Stage, cache: impl Cache + 'static, times: usize) -> Vec<Result<Outcome, Error>> {
    tried_through(stage, || stage.cluster().client(), cache, times)
}

/// The same, through this client; it is made within a runtime.
pub(super) fn tried_through(
    stage: &Stage,
    client: impl FnOnce() -> kube::Client,
    cache: impl Cache + 'static,
    times: usize,
) -> Vec<Result<Outcome, Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let cluster = stage.cluster().clone();
    let client = {
        let _inside = runtime.enter();
        client()
    };
    let ctx = Context::new(
        client,
        Arc::new(cache),
        Arc::new(Nothing) as Arc<dyn Outside>,
        Arc::new(cluster) as Arc<dyn Clock>,
        Arc::new(Serving::new(Arc::clone(&stage.told) as Arc<dyn Module>)),
        stage.told.manifest().grants.clone(),
        Document::new(&b"{}"[..]),
        "system".to_owned(),
    )
    .sparing()
    .releasing_after(stage.release_after);
    (0..times).map(|_| runtime.block_on(reconcile(&ctx, &stage.parent))).collect()
}

fn labelling() -> Stage {
    let stage = Stage::new(|_| Desired { partials: vec![label("example.org/ok")], ..Desired::default() });
    stage.settle();
    stage
}

fn late(stage: &Stage, what: What) -> Late {
    Late { cluster: stage.cluster().clone(), what, looks: AtomicUsize::new(0) }
}

#[test]
fn a_module_is_not_called_again_while_nothing_it_rested_on_has_changed() {
    let stage = labelling();
    let spared: Vec<_> = sparing(&stage, stage.cluster().clone(), 3).iter().map(|outcome| outcome.spared).collect();
    assert_eq!(spared, [false, true, true]);
}

#[test]
fn what_came_while_it_was_decided_is_not_taken_for_what_was_decided_about() {
    let stage = labelling();
    stage.delete(&ObjectRef::cluster("v1", "Node", "n"));
    stage.world.add(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}, "status": {}}));
    let outcomes = sparing(&stage, late(&stage, What::Node), 2);
    assert_eq!(
        outcomes.iter().map(|outcome| (outcome.spared, outcome.written.len())).collect::<Vec<_>>(),
        [(false, 0), (false, 1)]
    );
}

#[test]
fn versions_that_came_while_it_was_decided_call_the_module_again() {
    let stage = labelling();
    let outcomes = sparing(&stage, late(&stage, What::Versions), 3);
    assert_eq!(outcomes.iter().map(|outcome| outcome.spared).collect::<Vec<_>>(), [false, false, true]);
}

#[test]
fn what_somebody_made_while_the_cache_did_not_show_it_is_not_overwritten() {
    for strategy in [Strategy::Apply, Strategy::CreateOnce] {
        let stage = Stage::new(move |_| children(vec![Child { strategy, ..map("m", "v") }]));
        let made = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "a"}, "data": {"k": "theirs"}});
        let path = "/api/v1/namespaces/a/configmaps?fieldManager=manager";
        assert_eq!(stage.world.send(http::Method::POST, path, "application/json", &made).0, 201);
        let outcomes = tried(&stage, late(&stage, What::Map), 2);
        assert_eq!(outcomes[0].is_err(), strategy == Strategy::Apply, "a conflict: {outcomes:?}");
        let stalled = is_stalled(outcomes[1].as_ref().unwrap(), "AlreadyExists");
        assert_eq!(stalled, strategy == Strategy::Apply, "{outcomes:?}");
        assert_eq!(stage.object(&map_ref("m")).unwrap()["data"], json!({"k": "theirs"}), "{strategy:?}");
    }
}
