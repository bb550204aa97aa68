//! Objects that exist already: whose they are, and when they become the parent's.

use super::*;

fn found(metadata: Value) -> Value {
    let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "sys"}});
    object["metadata"].as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
    object
}

#[test]
fn an_object_that_nothing_marks_is_refused_with_its_name_and_the_way_out() {
    let mut world = world(vec![config("a", "1"), config("b", "1"), config("new", "1")]);
    world.objects = vec![found(json!({})), found(json!({"name": "b"}))];
    let rejection = world.plan().unwrap_err();
    assert_eq!(rejection.reason(), "AlreadyExists");
    let text = rejection.to_string();
    assert!(text.starts_with("ConfigMap sys/a, ConfigMap sys/b already exist, and nothing says"), "{text}");
    let way_out = "annotate Thing a with operator.scone.cloud/adopt=ConfigMap/a,ConfigMap/b";
    assert!(text.ends_with(way_out), "{text}");
}

#[test]
fn an_object_with_a_mark_of_this_operator_or_of_the_one_before_it_is_adopted() {
    let digest = json!({"annotations": {(DIGEST): "0123"}});
    let owner =
        json!({"ownerReferences": [{"apiVersion": "example.org/v1", "kind": "Thing", "name": "a", "uid": "u1"}]});
    let label = json!({"labels": {"example.org/owner-uid": "u1"}});
    for mark in [digest, owner, label] {
        let mut world = world(vec![config("a", "1")]);
        world.objects = vec![found(mark.clone())];
        assert_eq!(verbs(&world.plan().unwrap()), ["adopt a"], "{mark}");
    }
    let mut world = world(vec![config("a", "1")]);
    world.objects = vec![found(json!({"labels": {"example.org/owner-uid": "u2"}}))];
    assert_eq!(world.plan().unwrap_err().reason(), "AlreadyExists", "the mark of another parent");
}

#[test]
fn a_parent_has_what_it_names_taken_over_and_nothing_else() {
    let mut world = world(vec![config("a", "1"), config("b", "1")]);
    world.objects = vec![found(json!({})), found(json!({"name": "b"}))];
    world.parent.metadata.annotations.insert(ADOPT.into(), "DaemonSet/b, ConfigMap/a".into());
    assert!(world.plan().unwrap_err().to_string().starts_with("ConfigMap sys/b already exists, and"));
    world.parent.metadata.annotations.insert(ADOPT.into(), "ConfigMap/a,ConfigMap/b".into());
    assert_eq!(verbs(&world.plan().unwrap()), ["adopt a", "adopt b"]);
}

#[test]
fn an_object_of_somebody_else_is_not_adopted_even_when_the_parent_asks_for_it() {
    let mut world = world(vec![config("a", "1")]);
    let owners = json!([{"apiVersion": "v1", "kind": "Other", "name": "o", "uid": "u9", "controller": true}]);
    world.objects = vec![found(json!({"ownerReferences": owners}))];
    world.parent.metadata.annotations.insert(ADOPT.into(), "ConfigMap/a".into());
    assert_eq!(world.plan().unwrap_err().reason(), "OwnedByOther");
}

#[test]
fn create_once_never_touches_what_exists_whoever_made_it() {
    for mark in [json!({}), json!({"annotations": {(DIGEST): "0123"}})] {
        let mut world = world(vec![Child { strategy: Strategy::CreateOnce, ..config("a", "1") }]);
        world.objects = vec![found(mark)];
        let plan = world.plan().unwrap();
        assert_eq!(verbs(&plan), ["keep a"]);
        world.desired.children.clear();
        assert_eq!(verbs(&world.plan().unwrap()), [""; 0], "nor does it become a member that is pruned later");
    }
}
