//! What a parent's children go through.

use serde_json::json;

use super::*;

#[test]
fn the_inventory_is_on_record_before_the_first_child_exists() {
    let stage = Stage::new(|_| children(vec![map("m", "v")]));
    let mark = stage.mark();
    stage.once();
    assert_eq!(stage.writes_since(mark), ["apply Thing a/t", "apply ConfigMap a/m", "apply Thing a/t status"]);
    let parent = stage.object(&stage.parent).unwrap();
    assert_eq!(parent["metadata"]["annotations"]["applyset.kubernetes.io/contains-group-kinds"], "ConfigMap");
}

#[test]
fn a_child_belongs_to_its_parent() {
    let stage = Stage::new(|_| children(vec![map("m", "v")]));
    stage.settle();
    let (child, parent) = (stage.object(&map_ref("m")).unwrap(), stage.object(&stage.parent).unwrap());
    assert_eq!(child["metadata"]["ownerReferences"][0]["uid"], parent["metadata"]["uid"]);
    assert_eq!(
        child["metadata"]["labels"]["applyset.kubernetes.io/part-of"],
        parent["metadata"]["labels"]["applyset.kubernetes.io/id"]
    );
}

#[test]
fn a_workload_with_server_defaults_comes_to_rest() {
    let stage = Stage::new(|_| children(vec![daemon_set("d", "x"), map("m", "v")]));
    stage.settle();
    assert_eq!(stage.condition("Ready").0, "True");
    let mark = stage.mark();
    stage.once();
    assert_eq!(stage.writes_since(mark), Vec::<String>::new());
}

#[test]
fn a_restart_in_a_quiet_cluster_writes_nothing() {
    let mut stage =
        Stage::new(|_| Desired { partials: vec![label("example.org/ok")], ..children(vec![daemon_set("d", "x")]) });
    stage.settle();
    stage.restart();
    stage.cluster().advance(3600);
    let mark = stage.mark();
    stage.settle();
    assert_eq!(stage.writes_since(mark), Vec::<String>::new());
}

#[test]
fn what_somebody_changed_is_restored_and_what_somebody_added_stays() {
    let stage = Stage::new(|_| children(vec![map("m", "v")]));
    stage.settle();
    let path = format!("{}?fieldManager=kubectl-edit", stage.world.path_of(&map_ref("m")));
    let edit = json!({"data": {"k": "changed", "own": "x"}});
    stage.world.send(http::Method::PATCH, &path, "application/merge-patch+json", &edit);
    stage.settle();
    assert_eq!(stage.object(&map_ref("m")).unwrap()["data"], json!({"k": "v", "own": "x"}));
}

#[test]
fn a_deleted_child_is_made_again() {
    let stage = Stage::new(|_| children(vec![map("m", "v")]));
    stage.settle();
    stage.delete(&map_ref("m"));
    stage.settle();
    assert!(stage.object(&map_ref("m")).is_some());
}

#[test]
fn a_field_that_is_no_longer_wanted_goes() {
    let stage = Stage::new(|_| children(vec![child_of(map_ref("m"), json!({"data": {"k": "v", "old": "x"}}))]));
    stage.settle();
    stage.answers(|_| children(vec![map("m", "v")]));
    stage.settle();
    assert_eq!(stage.object(&map_ref("m")).unwrap()["data"], json!({"k": "v"}));
}

#[test]
fn a_child_that_is_no_longer_wanted_goes_last_and_nothing_else_does() {
    let stage = Stage::new(|_| children(vec![map("old", "v")]));
    stage
        .world
        .add(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "foreign", "namespace": "a"}}));
    stage.settle();
    stage.answers(|_| children(vec![map("new", "v")]));
    let mark = stage.mark();
    stage.once();
    let writes = stage.writes_since(mark);
    assert_eq!(writes[..2], ["apply ConfigMap a/new", "delete ConfigMap a/old"]);
    assert!(stage.object(&map_ref("foreign")).is_some());
}

#[test]
fn the_last_child_of_a_kind_is_found_and_pruned_after_a_restart() {
    let mut stage = Stage::new(|_| children(vec![map("m", "v"), daemon_set("d", "x:1")]));
    stage.settle();
    stage.restart();
    stage.answers(|_| children(vec![map("m", "v")]));
    stage.settle();
    assert!(stage.object(&ObjectRef::namespaced("apps/v1", "DaemonSet", "a", "d")).is_none());
    assert_eq!(stage.condition("Ready").0, "True");
}

#[test]
fn a_later_stage_waits_for_the_readiness_of_an_earlier_one() {
    let stage = Stage::new(|_| children(vec![daemon_set("d", "x:1"), Child { stage: 1, ..map("late", "v") }]));
    stage.once();
    stage.world.actors.step(stage.cluster());
    stage.once();
    assert!(stage.object(&map_ref("late")).is_none());
    assert_eq!(stage.condition("Reconciling").0, "True");
    stage.settle();
    assert!(stage.object(&map_ref("late")).is_some());
    assert_eq!(stage.condition("Ready").0, "True");
}

#[test]
fn an_immutable_field_is_changed_by_making_the_object_again() {
    let recreate = |app: &str| Child { strategy: Strategy::RecreateOnImmutable, ..daemon_set(app, "x:1") };
    let stage = Stage::new(move |_| children(vec![recreate("one")]));
    stage.settle();
    let set = ObjectRef::namespaced("apps/v1", "DaemonSet", "a", "d");
    let uid = stage.object(&set).unwrap()["metadata"]["uid"].clone();
    stage.answers(move |_| children(vec![recreate("two")]));
    stage.settle();
    let made = stage.object(&set).unwrap();
    assert_ne!(made["metadata"]["uid"], uid);
    assert_eq!(made["spec"]["selector"]["matchLabels"], json!({"app": "two"}));
    assert_eq!(stage.condition("Ready").0, "True");
}

#[test]
fn a_refused_change_of_an_immutable_field_stalls_and_names_the_field() {
    let stage = Stage::new(|_| children(vec![daemon_set("one", "x:1")]));
    stage.settle();
    stage.answers(|_| children(vec![daemon_set("two", "x:1")]));
    let outcome = stage.once();
    assert!(is_stalled(&outcome, "ApplyRefused"), "{outcome:?}");
    assert!(stage.object(&stage.parent).unwrap().to_string().contains("spec.selector: field is immutable"));
    assert!(stage.object(&ObjectRef::namespaced("apps/v1", "DaemonSet", "a", "d")).is_some());
}

#[test]
fn a_child_made_once_is_never_touched_again() {
    let stage = Stage::new(|_| children(vec![Child { strategy: Strategy::CreateOnce, ..map("m", "v") }]));
    stage.settle();
    stage.answers(|_| children(vec![Child { strategy: Strategy::CreateOnce, ..map("m", "other") }]));
    stage.settle();
    assert_eq!(stage.object(&map_ref("m")).unwrap()["data"]["k"], "v");
}

/// Somebody's own ConfigMap, with this metadata beside its name.
fn made_by_hand(stage: &Stage, metadata: Value) {
    let mut made =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"k": "old", "own": "x"}});
    made["metadata"]["name"] = "m".into();
    made["metadata"]["namespace"] = "a".into();
    let path = "/api/v1/namespaces/a/configmaps?fieldManager=manager";
    assert_eq!(stage.world.send(http::Method::POST, path, "application/json", &made).0, 201);
}

#[test]
fn an_object_that_nothing_marks_is_left_alone_and_a_condition_names_it_and_the_way_out() {
    let stage = Stage::new(|_| children(vec![map("m", "v"), map("other", "v")]));
    made_by_hand(&stage, json!({}));
    let before = stage.object(&map_ref("m")).unwrap();
    let outcome = stage.once();
    assert!(is_stalled(&outcome, "AlreadyExists"), "{outcome:?}");
    let parent = stage.object(&stage.parent).unwrap().to_string();
    assert!(parent.contains("ConfigMap a/m already exists"), "{parent}");
    assert!(parent.contains("operator.scone.cloud/adopt=ConfigMap/m"), "{parent}");
    assert_eq!(stage.object(&map_ref("m")).unwrap(), before);
    assert_eq!(stage.object(&map_ref("other")), None, "nothing of a refused answer is applied");

    stage.world.send(http::Method::DELETE, &stage.world.path_of(&stage.parent), "application/json", &json!({}));
    stage.answers(|_| Desired { finalized: true, ..Desired::default() });
    stage.settle();
    assert_eq!(stage.object(&map_ref("m")).unwrap(), before, "it is not deleted with the parent either");
}

#[test]
fn an_object_that_the_parent_asks_for_is_adopted_and_what_its_maker_set_beyond_the_wanted_goes() {
    let stage = Stage::new(|_| children(vec![map("m", "v")]));
    made_by_hand(&stage, json!({}));
    let asking = json!({"apiVersion": "example.org/v1", "kind": "Thing", "spec": {},
        "metadata": {"name": "t", "annotations": {"operator.scone.cloud/adopt": "ConfigMap/m"}}});
    assert_eq!(stage.world.apply(&stage.parent, &asking).0, 200);
    stage.settle();
    let object = stage.object(&map_ref("m")).unwrap();
    assert_eq!(object["data"], json!({"k": "v"}));
    assert_eq!(object["metadata"]["ownerReferences"][0]["name"], "t");
    let managers = object["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(managers.len(), 1, "its maker claims nothing any more: {managers:?}");
}

#[test]
fn an_object_that_was_made_for_this_very_parent_is_adopted() {
    let stage = Stage::new(|_| children(vec![map("m", "v")]));
    let uid = stage.object(&stage.parent).unwrap()["metadata"]["uid"].clone();
    made_by_hand(&stage, json!({"labels": {"example.org/owner-uid": uid}}));
    stage.settle();
    assert_eq!(stage.object(&map_ref("m")).unwrap()["data"], json!({"k": "v"}));
}

#[test]
fn an_object_that_somebody_keeps_changing_back_is_written_once_a_minute_and_both_are_named() {
    let stage = Stage::new(|_| children(vec![map("m", "v"), map("calm", "v")]));
    stage.settle();
    let rival = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"k": "mine"}});
    let path = format!("{}?fieldManager=rival&force=true", stage.world.path_of(&map_ref("m")));
    let (mark, mut last) = (stage.mark(), None);
    for _ in 0..10 {
        stage.world.send(http::Method::PATCH, &path, "application/apply-patch+yaml", &rival);
        last = Some(stage.once());
    }
    let written = stage.writes_since(mark).iter().filter(|line| *line == "apply ConfigMap a/m").count() - 10;
    assert_eq!(written, 3, "of ten times that it was undone");
    let outcome = last.unwrap();
    assert!(is_stalled(&outcome, "Contended"), "{outcome:?}");
    assert!(outcome.requeue.is_some_and(|seconds| seconds <= 60));
    let text = format!("{:?}", outcome.progress);
    assert!(text.contains("operator.scone.cloud-told and rival both write data.k of ConfigMap a/m"), "{text}");
    stage.answers(|_| children(vec![map("m", "v"), map("calm", "changed")]));
    stage.once();
    assert_eq!(stage.object(&map_ref("calm")).unwrap()["data"]["k"], "changed", "other objects are not slowed");
}

#[test]
fn an_object_that_belongs_to_somebody_else_is_left_alone() {
    let stage = Stage::new(|_| children(vec![map("m", "v"), map("other", "v")]));
    stage.world.add(json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"k": "theirs"},
        "metadata": {"name": "m", "namespace": "a", "ownerReferences": [
            {"apiVersion": "v1", "kind": "Boss", "name": "b", "uid": "u", "controller": true}]}}));
    let outcome = stage.once();
    assert!(is_stalled(&outcome, "OwnedByOther"));
    assert_eq!(stage.object(&map_ref("m")).unwrap()["data"]["k"], "theirs");
    assert!(stage.object(&map_ref("other")).is_none(), "nothing of a refused answer is applied");
}

#[test]
fn each_writer_of_the_operator_has_its_own_field_manager() {
    let stage = Stage::new(|_| Desired { partials: vec![label("example.org/ok")], ..children(vec![map("m", "v")]) });
    stage.settle();
    let managers = |identity: &ObjectRef| {
        let object = stage.object(identity).unwrap();
        let entries = object["metadata"]["managedFields"].as_array().unwrap().clone();
        entries
            .iter()
            .map(|entry| entry["manager"].as_str().unwrap().to_owned())
            .filter(|m| m != "kubectl")
            .collect::<Vec<_>>()
    };
    assert_eq!(managers(&map_ref("m")), ["operator.scone.cloud-told"]);
    assert_eq!(managers(&stage.parent), ["operator.scone.cloud-told", "operator.scone.cloud-told-status"]);
    let of_node = managers(&ObjectRef::cluster("v1", "Node", "n"));
    assert!(of_node.iter().any(|m| m.starts_with("operator.scone.cloud-told-on-behalf-")), "{of_node:?}");
}

/// The rule `target` moves with the parent; what was made before does not.
#[test]
fn a_parent_that_moves_its_children_to_another_namespace_leaves_none_behind() {
    let mut manifest = manifest();
    manifest.grants.children.retain(|rule| rule.kind == "ConfigMap");
    manifest.grants.children[0].namespaces = operator_core::contract::NamespaceRule::Target;
    let stage = Stage::with(manifest, |snapshot| {
        let parent = snapshot.parent.to_value().unwrap();
        let target = parent["spec"]["namespace"].as_str().unwrap_or("system").to_owned();
        children(vec![child_of(ObjectRef::namespaced("v1", "ConfigMap", &target, "m"), json!({}))])
    });
    for namespace in ["old", "new"] {
        stage.world.add_namespace(namespace);
    }
    let moves = |namespace: &str| {
        let spec = json!({"namespace": namespace});
        let object = json!({"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": spec});
        assert_eq!(stage.world.apply(&stage.parent, &object).0, 200);
        stage.settle();
        ["old", "new", "system"].map(|at| stage.object(&ObjectRef::namespaced("v1", "ConfigMap", at, "m")).is_some())
    };
    assert_eq!(moves("old"), [true, false, false]);
    assert_eq!(moves("new"), [false, true, false]);
    let annotations = stage.object(&stage.parent).unwrap()["metadata"]["annotations"].clone();
    assert_eq!(annotations[operator_core::inventory::NAMESPACES], "new");
}
