//! Server-side apply.

use serde_json::json;

use super::*;

#[test]
fn apply_creates_an_object_and_owns_just_what_it_says() {
    let cluster = cluster();
    let (code, object) = apply(&cluster, MAP, "one", &config_map(json!({"k": "v"})));
    assert_eq!(code, 201);
    assert_eq!(managers(&object), ["one/Apply"]);
    assert_eq!(object["metadata"]["managedFields"][0]["fieldsV1"], json!({"f:data": {"f:k": {}}}));
}

#[test]
fn apply_with_a_uid_means_that_object_and_makes_no_other() {
    let cluster = cluster();
    let mut meant = config_map(json!({"k": "v"}));
    meant["metadata"]["uid"] = "of-one-that-went".into();
    let (code, status) = apply(&cluster, MAP, "one", &meant);
    assert_eq!((code, status["reason"].as_str()), (409, Some("Conflict")));
    assert_eq!(get(&cluster, MAP).0, 404);
    let (_, made) = apply(&cluster, MAP, "one", &config_map(json!({"k": "v"})));
    assert_eq!(apply(&cluster, MAP, "one", &meant).0, 409, "another object of that name");
    meant["metadata"]["uid"] = made["metadata"]["uid"].clone();
    assert_eq!(apply(&cluster, MAP, "one", &meant).0, 200);
}

#[test]
fn applying_the_same_again_changes_no_version() {
    let cluster = cluster();
    let (_, first) = apply(&cluster, MAP, "one", &config_map(json!({"k": "v"})));
    let (code, second) = apply(&cluster, MAP, "one", &config_map(json!({"k": "v"})));
    assert_eq!((code, first), (200, second));
}

#[test]
fn a_field_that_its_only_owner_no_longer_applies_goes() {
    let cluster = cluster();
    apply(&cluster, MAP, "one", &config_map(json!({"k": "v", "old": "x"})));
    let (_, object) = apply(&cluster, MAP, "one", &config_map(json!({"k": "v"})));
    assert_eq!(object["data"], json!({"k": "v"}));
}

#[test]
fn a_field_with_two_owners_stays_until_both_let_go() {
    let cluster = cluster();
    apply(&cluster, MAP, "one", &config_map(json!({"k": "v"})));
    apply(&cluster, MAP, "two", &config_map(json!({"k": "v"})));
    let (_, object) = apply(&cluster, MAP, "one", &config_map(json!({})));
    assert_eq!(object["data"], json!({"k": "v"}));
    let (_, object) = apply(&cluster, MAP, "two", &config_map(json!({})));
    assert_eq!(object["data"], Value::Null);
}

#[test]
fn another_value_for_a_foreign_field_conflicts_and_names_its_owner() {
    let cluster = cluster();
    apply(&cluster, MAP, "one", &config_map(json!({"k": "v"})));
    let (code, status) = apply(&cluster, MAP, "two", &config_map(json!({"k": "w"})));
    assert_eq!((code, status["reason"].as_str()), (409, Some("Conflict")));
    assert_eq!(status["message"], r#"Apply failed with 1 conflict: conflict with "one": .data.k"#);
    assert_eq!(status["details"]["causes"][0]["reason"], "FieldManagerConflict");
    assert_eq!(get(&cluster, MAP).1["data"], json!({"k": "v"}), "nothing is applied");
}

#[test]
fn force_takes_a_field_from_its_owner() {
    let cluster = cluster();
    apply(&cluster, MAP, "one", &config_map(json!({"k": "v", "own": "x"})));
    let (code, object) = force(&cluster, MAP, "two", &config_map(json!({"k": "w"})));
    assert_eq!((code, &object["data"]), (200, &json!({"k": "w", "own": "x"})));
    let (_, object) = apply(&cluster, MAP, "one", &config_map(json!({"own": "x"})));
    assert_eq!(object["data"]["k"], "w", "the former owner cannot remove it any more");
}

#[test]
fn what_an_update_changed_belongs_to_who_updated() {
    let cluster = cluster();
    apply(&cluster, MAP, "one", &config_map(json!({"k": "v"})));
    merge(&cluster, &format!("{MAP}?fieldManager=kubectl-edit"), &json!({"data": {"k": "w"}}));
    let (_, object) = get(&cluster, MAP);
    assert_eq!(managers(&object), ["kubectl-edit/Update"]);
    assert_eq!(apply(&cluster, MAP, "one", &config_map(json!({"k": "v"}))).0, 409);
}

#[test]
fn containers_are_merged_by_name() {
    let cluster = cluster();
    apply(&cluster, SET, "one", &daemon_set(json!([{"name": "main", "image": "x:1"}])));
    let injected = json!({"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "s:1"}]}}}});
    apply(&cluster, SET, "injector", &injected);
    let (_, set) = apply(&cluster, SET, "one", &daemon_set(json!([{"name": "main", "image": "x:2"}])));
    let containers = set["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    let images: Vec<_> = containers.iter().map(|c| c["image"].as_str().unwrap()).collect();
    assert_eq!(images, ["x:2", "s:1"]);
}

#[test]
fn a_container_that_is_no_longer_applied_goes_with_its_defaults() {
    let cluster = cluster();
    let both = json!([{"name": "main", "image": "x:1"}, {"name": "probe", "image": "p:1"}]);
    apply(&cluster, SET, "one", &daemon_set(both));
    let (_, set) = apply(&cluster, SET, "one", &daemon_set(json!([{"name": "main", "image": "x:1"}])));
    assert_eq!(set["spec"]["template"]["spec"]["containers"].as_array().unwrap().len(), 1);
}

#[test]
fn ports_without_a_protocol_are_the_tcp_ones() {
    let cluster = cluster();
    let with = |port: Value| daemon_set(json!([{"name": "main", "image": "x:1", "ports": [port]}]));
    apply(&cluster, SET, "one", &with(json!({"containerPort": 80})));
    let (_, set) = apply(&cluster, SET, "one", &with(json!({"containerPort": 80, "protocol": "TCP", "name": "web"})));
    let expected = json!([{"containerPort": 80, "protocol": "TCP", "name": "web"}]);
    assert_eq!(set["spec"]["template"]["spec"]["containers"][0]["ports"], expected);
}

#[test]
fn tolerations_are_replaced_as_a_whole() {
    let cluster = cluster();
    let with = |keys: &[&str]| {
        let tolerations: Vec<_> = keys.iter().map(|key| json!({"key": key, "operator": "Exists"})).collect();
        let mut set = daemon_set(json!([{"name": "main", "image": "x:1"}]));
        set["spec"]["template"]["spec"]["tolerations"] = tolerations.into();
        set
    };
    apply(&cluster, SET, "one", &with(&["a", "b"]));
    let (_, set) = apply(&cluster, SET, "one", &with(&["b"]));
    assert_eq!(set["spec"]["template"]["spec"]["tolerations"].as_array().unwrap().len(), 1);
}

#[test]
fn finalizers_are_a_set_and_each_has_its_own_owner() {
    let cluster = cluster();
    let with = |finalizers: Value| json!({"metadata": {"finalizers": finalizers}});
    apply(&cluster, MAP, "one", &with(json!(["x/one"])));
    apply(&cluster, MAP, "two", &with(json!(["x/two"])));
    let (_, object) = apply(&cluster, MAP, "one", &with(json!([])));
    assert_eq!(object["metadata"]["finalizers"], json!(["x/two"]));
}

#[test]
fn giving_up_an_empty_map_leaves_what_others_put_into_it() {
    let cluster = cluster();
    apply(&cluster, MAP, "one", &json!({"metadata": {"annotations": {}}}));
    // The server keeps no empty map, so that a first entry makes the map anew, which somebody owns.
    let others = json!({"metadata": {"annotations": {"k": "v"}}});
    assert_eq!(apply(&cluster, MAP, "two", &others).0, 409);
    force(&cluster, MAP, "two", &others);
    let (_, object) = apply(&cluster, MAP, "one", &json!({"metadata": {}}));
    assert_eq!(object["metadata"]["annotations"], json!({"k": "v"}));
}

#[test]
fn owners_of_an_object_are_merged_by_uid() {
    let cluster = cluster();
    let with = |uid: &str| json!({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "K", "name": uid, "uid": uid}]}});
    apply(&cluster, MAP, "one", &with("u1"));
    let (_, object) = apply(&cluster, MAP, "two", &with("u2"));
    assert_eq!(object["metadata"]["ownerReferences"].as_array().unwrap().len(), 2);
}

#[test]
fn labels_of_two_managers_live_side_by_side_and_are_withdrawn_apart() {
    let cluster = cluster();
    cluster.put(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "labels": {"zone": "z"}}}));
    let node = "/api/v1/nodes/n";
    apply(&cluster, node, "one", &json!({"metadata": {"labels": {"x/one": "true"}}}));
    apply(&cluster, node, "two", &json!({"metadata": {"labels": {"x/two": "true"}}}));
    let (_, object) = apply(&cluster, node, "one", &json!({"metadata": {}}));
    assert_eq!(object["metadata"]["labels"], json!({"zone": "z", "x/two": "true"}));
    assert_eq!(managers(&object), ["before-first-apply/Update", "two/Apply"], "who made it wrote down no claims");
}

#[test]
fn a_manager_without_name_or_with_a_long_one_may_not_apply() {
    let cluster = cluster();
    assert_eq!(apply(&cluster, MAP, "", &config_map(json!({}))).0, 422);
    assert_eq!(apply(&cluster, MAP, &"m".repeat(129), &config_map(json!({}))).0, 422);
}

#[test]
fn an_apply_with_managed_fields_or_another_name_is_refused() {
    let cluster = cluster();
    assert_eq!(apply(&cluster, MAP, "one", &json!({"metadata": {"managedFields": []}})).0, 400);
    assert_eq!(apply(&cluster, MAP, "one", &json!({"metadata": {"name": "other"}})).0, 400);
}

#[test]
fn an_apply_with_an_outdated_version_conflicts() {
    let cluster = cluster();
    apply(&cluster, MAP, "one", &config_map(json!({"k": "v"})));
    assert_eq!(apply(&cluster, MAP, "one", &json!({"metadata": {"resourceVersion": "1"}})).0, 409);
}
