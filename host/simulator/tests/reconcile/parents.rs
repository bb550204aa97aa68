//! Finalizers, labels on objects of others, and parents that come and go.

use serde_json::json;

use super::*;

fn labels(stage: &Stage) -> Value {
    stage.object(&ObjectRef::cluster("v1", "Node", "n")).unwrap()["metadata"]["labels"].clone()
}

#[test]
fn a_parent_that_is_gone_costs_nothing() {
    let stage = Stage::new(|_| children(vec![]));
    let gone = ObjectRef { name: "gone".into(), ..stage.parent.clone() };
    let mark = stage.mark();
    let outcome = stage.world.reconcile("told", &gone).unwrap().unwrap();
    assert!(!outcome.exists);
    assert_eq!(stage.mark(), mark);
}

#[test]
fn a_label_is_set_beside_those_of_others_and_withdrawn_when_no_longer_wanted() {
    let stage = Stage::new(|_| Desired { partials: vec![label("example.org/ok")], ..Desired::default() });
    stage.settle();
    assert_eq!(labels(&stage), json!({"zone": "z", "example.org/ok": "true"}));
    stage.answers(|_| Desired::default());
    stage.settle();
    assert_eq!(labels(&stage), json!({"zone": "z"}));
}

#[test]
fn one_of_two_labels_is_withdrawn() {
    let stage = Stage::new(|_| Desired {
        partials: vec![Partial {
            document: Document::from_value(
                &json!({"metadata": {"labels": {"example.org/a": "1", "example.org/b": "1"}}}),
            ),
            ..label("x")
        }],
        ..Desired::default()
    });
    stage.settle();
    stage.answers(|_| Desired {
        partials: vec![Partial {
            document: Document::from_value(&json!({"metadata": {"labels": {"example.org/a": "1"}}})),
            ..label("x")
        }],
        ..Desired::default()
    });
    stage.settle();
    assert_eq!(labels(&stage), json!({"zone": "z", "example.org/a": "1"}));
}

#[test]
fn parents_of_one_module_do_not_withdraw_each_others_labels() {
    let stage = Stage::new(|snapshot| {
        let finalized = snapshot.finalizing;
        Desired { partials: vec![label("example.org/ok")], finalized, ..Desired::default() }
    });
    let second = stage.add_parent("second");
    stage.settle();
    stage.delete(&second);
    stage.settle();
    assert!(stage.object(&second).is_none());
    assert_eq!(labels(&stage)["example.org/ok"], "true");
    stage.delete(&stage.parent);
    stage.settle();
    assert_eq!(labels(&stage), json!({"zone": "z"}));
}

#[test]
fn labels_are_withdrawn_although_the_host_restarted_before_the_parent_went() {
    let mut stage =
        Stage::new(|_| Desired { partials: vec![label("example.org/ok")], finalized: true, ..Desired::default() });
    stage.settle();
    stage.restart();
    stage.delete(&stage.parent);
    stage.settle();
    assert_eq!(labels(&stage), json!({"zone": "z"}));
}

#[test]
fn a_label_on_an_object_that_does_not_exist_is_no_reason_to_make_it() {
    let nowhere = || Partial { identity: ObjectRef::cluster("v1", "Node", "nowhere"), ..label("example.org/ok") };
    let stage = Stage::new(move |_| Desired { partials: vec![nowhere()], ..Desired::default() });
    stage.settle();
    assert!(stage.object(&ObjectRef::cluster("v1", "Node", "nowhere")).is_none());
    assert_eq!(stage.condition("Ready").0, "True");
}

#[test]
fn a_node_that_went_takes_its_label_along_and_one_that_comes_gets_it() {
    let stage = Stage::new(|_| Desired { partials: vec![label("example.org/ok")], ..Desired::default() });
    stage.settle();
    stage.delete(&ObjectRef::cluster("v1", "Node", "n"));
    stage.settle();
    stage.world.add(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}, "status": {}}));
    stage.settle();
    assert_eq!(labels(&stage), json!({"example.org/ok": "true"}));
}

#[test]
fn a_parent_stays_until_its_module_is_done_and_its_children_are_gone() {
    let stage = Stage::new(|_| children(vec![map("m", "v")]));
    stage.settle();
    stage
        .answers(|snapshot| Desired { finalized: false, ..children(vec![map("m", &snapshot.finalizing.to_string())]) });
    stage.delete(&stage.parent);
    stage.settle();
    assert!(stage.object(&stage.parent).is_some(), "the module is not done yet");
    assert_eq!(stage.object(&map_ref("m")).unwrap()["data"]["k"], "true");
    stage.answers(|_| children(vec![map("m", "v")]));
    stage.settle();
    assert!(stage.object(&map_ref("m")).is_none());
    assert!(stage.object(&stage.parent).is_none());
}

#[test]
fn a_child_that_does_not_go_holds_its_parent() {
    let stage = Stage::new(|_| children(vec![map("m", "v")]));
    stage.settle();
    let held = |finalizers: Value| {
        let path = format!("{}?fieldManager=holder&force=true", stage.world.path_of(&map_ref("m")));
        let body = json!({"metadata": {"finalizers": finalizers}});
        stage.world.send(http::Method::PATCH, &path, "application/apply-patch+yaml", &body);
    };
    held(json!(["holder/x"]));
    stage.delete(&stage.parent);
    stage.settle();
    assert!(stage.object(&stage.parent).is_some());
    held(json!([]));
    stage.settle();
    assert!(stage.object(&stage.parent).is_none());
}

#[test]
fn deletion_ends_in_an_empty_namespace_whatever_goes_first() {
    let all = || children(vec![map("m", "v"), daemon_set("d", "x:1")]);
    let set = ObjectRef::namespaced("apps/v1", "DaemonSet", "a", "d");
    for first in [vec![], vec![map_ref("m")], vec![set.clone()], vec![set, map_ref("m")]] {
        let stage = Stage::new(move |_| Desired { partials: vec![label("example.org/ok")], ..all() });
        stage.settle();
        for identity in &first {
            stage.delete(identity);
        }
        stage.delete(&stage.parent);
        stage.settle();
        let left: Vec<_> =
            stage.cluster().identities().into_iter().filter(|i| i.namespace.as_deref() == Some("a")).collect();
        assert!(left.iter().all(|identity| identity.kind == "Event"), "after {first:?}: {left:?}");
        assert_eq!(labels(&stage), json!({"zone": "z"}));
    }
}

#[test]
fn a_cluster_scoped_parent_owns_children_in_namespaces() {
    let mut stage = Stage::new(|_| children(vec![map("m", "v")]));
    stage.delete(&stage.parent);
    stage.parent = ObjectRef::cluster("example.org/v1", "Wide", "w");
    stage.world.apply(&stage.parent, &json!({"metadata": {"name": "w"}, "spec": {}}));
    stage.settle();
    let parent = stage.object(&stage.parent).unwrap();
    assert_eq!(parent["metadata"]["annotations"]["applyset.kubernetes.io/additional-namespaces"], "a");
    stage.delete(&stage.parent);
    stage.settle();
    assert!(stage.object(&map_ref("m")).is_none());
}

#[test]
fn the_status_says_for_which_generation_it_is() {
    let stage = Stage::new(|_| Desired {
        status: Some(Document::new(&br#"{"state":"fine"}"#[..])),
        ..children(vec![map("m", "v")])
    });
    stage.settle();
    let path = stage.world.path_of(&stage.parent);
    stage.world.send(http::Method::PATCH, &path, "application/merge-patch+json", &json!({"spec": {"a": 1}}));
    stage.settle();
    let parent = stage.object(&stage.parent).unwrap();
    assert_eq!(parent["status"]["state"], "fine");
    assert_eq!(parent["status"]["observedGeneration"], parent["metadata"]["generation"]);
}

#[test]
fn a_parent_with_the_longest_name_works_like_any_other() {
    let said = operator_core::Event {
        type_: operator_core::EventType::Normal,
        reason: "Tested".into(),
        action: "Test".into(),
        message: "a long name".into(),
        regarding: None,
    };
    let stage = Stage::new(move |_| Desired { events: vec![said.clone()], ..children(vec![]) });
    let name = "n".repeat(253);
    let parent = stage.add_parent(&name);
    let outcome = stage.world.reconcile("told", &parent).unwrap().unwrap();
    assert_eq!(outcome.events.len(), 1);
    assert!(stage.cluster().identities().iter().any(|identity| identity.kind == "Event"), "the event was lost");
}
