//! Versions, deletion, owners, and the rules of workloads.

use serde_json::json;

use super::*;

#[test]
fn the_server_gives_identity_version_and_time() {
    let cluster = cluster();
    cluster.advance(60);
    let mut sent = config_map(json!({"k": "v"}));
    sent["metadata"]["uid"] = "mine".into();
    sent["metadata"]["creationTimestamp"] = "1970-01-01T00:00:00Z".into();
    let (code, object) = post(&cluster, MAPS, &sent);
    assert_eq!(code, 201);
    assert_eq!(object["metadata"]["creationTimestamp"], "2026-01-01T00:01:00Z");
    assert_ne!(object["metadata"]["uid"], "mine");
    assert_eq!(object["metadata"]["generation"], Value::Null, "nothing counts the changes of such a kind");
}

#[test]
fn a_new_spec_is_a_new_generation_and_a_new_label_is_not() {
    let cluster = cluster();
    let set = daemon_set(json!([{"name": "main", "image": "x:1"}]));
    apply(&cluster, SET, "one", &set);
    let (_, labelled) = merge(&cluster, SET, &json!({"metadata": {"labels": {"k": "v"}}}));
    assert_eq!(labelled["metadata"]["generation"], 1);
    let (_, changed) = merge(&cluster, SET, &json!({"spec": {"minReadySeconds": 5}}));
    assert_eq!(changed["metadata"]["generation"], 2);
}

#[test]
fn an_update_with_an_outdated_version_conflicts() {
    let cluster = cluster();
    let (_, first) = post(&cluster, MAPS, &config_map(json!({"k": "v"})));
    merge(&cluster, MAP, &json!({"data": {"k": "w"}}));
    let (code, status) = put(&cluster, MAP, &first);
    assert_eq!((code, status["reason"].as_str()), (409, Some("Conflict")));
}

#[test]
fn an_object_with_finalizers_waits_for_them() {
    let cluster = cluster();
    apply(&cluster, MAP, "one", &json!({"metadata": {"finalizers": ["x/one"]}}));
    assert_eq!(delete(&cluster, MAP, &json!({})).0, 200);
    let (code, object) = get(&cluster, MAP);
    assert_eq!((code, object["metadata"]["deletionTimestamp"].as_str()), (200, Some("2026-01-01T00:00:00Z")));
    apply(&cluster, MAP, "one", &json!({"metadata": {}}));
    assert_eq!(get(&cluster, MAP).0, 404);
}

#[test]
fn a_deletion_with_another_uid_or_version_conflicts() {
    let cluster = cluster();
    post(&cluster, MAPS, &config_map(json!({})));
    assert_eq!(delete(&cluster, MAP, &json!({"preconditions": {"uid": "other"}})).0, 409);
    assert_eq!(delete(&cluster, MAP, &json!({"preconditions": {"resourceVersion": "0"}})).0, 409);
    let uid = get(&cluster, MAP).1["metadata"]["uid"].clone();
    assert_eq!(delete(&cluster, MAP, &json!({"preconditions": {"uid": uid}})).0, 200);
    assert_eq!(delete(&cluster, MAP, &json!({})).0, 404);
}

#[test]
fn an_object_made_again_under_its_name_is_another_one() {
    let cluster = cluster();
    let (_, first) = post(&cluster, MAPS, &config_map(json!({})));
    delete(&cluster, MAP, &json!({}));
    let (_, second) = post(&cluster, MAPS, &config_map(json!({})));
    assert_ne!(first["metadata"]["uid"], second["metadata"]["uid"]);
}

fn owned(name: &str, owner: &Value) -> Value {
    let reference = json!({"apiVersion": "v1", "kind": "K", "name": "o", "uid": owner["metadata"]["uid"]});
    json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "a", "ownerReferences": [reference]}})
}

#[test]
fn garbage_is_collected_through_all_generations() {
    let cluster = cluster();
    let (_, top) = post(&cluster, MAPS, &config_map(json!({})));
    let (_, middle) = post(&cluster, MAPS, &owned("middle", &top));
    post(&cluster, MAPS, &owned("leaf", &middle));
    assert!(cluster.collect_garbage().is_empty());
    delete(&cluster, MAP, &json!({}));
    let mut gone = Vec::new();
    loop {
        let round = cluster.collect_garbage();
        if round.is_empty() {
            break;
        }
        gone.extend(round.into_iter().map(|identity| identity.name));
    }
    assert_eq!(gone, ["middle", "leaf"]);
}

/// Collects garbage until there is none.
fn collect(cluster: &FakeCluster) {
    while !cluster.collect_garbage().is_empty() {}
}

#[test]
fn what_is_deleted_in_the_foreground_goes_after_what_depends_on_it() {
    let cluster = cluster();
    let (_, top) = post(&cluster, MAPS, &config_map(json!({})));
    let mut child = owned("child", &top);
    child["metadata"]["finalizers"] = json!(["x/one"]);
    post(&cluster, MAPS, &child);
    let (_, shown) = delete(&cluster, MAP, &json!({"propagationPolicy": "Foreground"}));
    assert_eq!(shown["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    collect(&cluster);
    let path = format!("{MAPS}/child");
    assert!(get(&cluster, &path).1["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(get(&cluster, MAP).0, 200, "it waits");
    merge(&cluster, &path, &json!({"metadata": {"finalizers": null}}));
    collect(&cluster);
    assert_eq!((get(&cluster, &path).0, get(&cluster, MAP).0), (404, 404));
}

#[test]
fn orphans_stay_without_their_owner() {
    let cluster = cluster();
    let (_, top) = post(&cluster, MAPS, &config_map(json!({})));
    post(&cluster, MAPS, &owned("child", &top));
    delete(&cluster, MAP, &json!({"propagationPolicy": "Orphan"}));
    collect(&cluster);
    assert_eq!(get(&cluster, MAP).0, 404);
    let (code, child) = get(&cluster, &format!("{MAPS}/child"));
    assert_eq!((code, child["metadata"].get("ownerReferences")), (200, None));
}

#[test]
fn a_cluster_scoped_owner_owns_in_every_namespace_and_a_foreign_namespaced_one_in_none() {
    let cluster = cluster();
    cluster.put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "b"}}));
    cluster.put(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}));
    let node = cluster.object(&ObjectRef::cluster("v1", "Node", "n")).unwrap();
    post(&cluster, MAPS, &owned("of-node", &node));
    assert!(cluster.collect_garbage().is_empty());
    let (_, other) = post(&cluster, "/api/v1/namespaces/b/configmaps", &config_map(json!({})));
    post(&cluster, MAPS, &owned("of-other", &other));
    assert_eq!(cluster.collect_garbage(), [ObjectRef::namespaced("v1", "ConfigMap", "a", "of-other")]);
}

#[test]
fn what_is_in_a_namespace_goes_with_it() {
    let cluster = cluster();
    post(&cluster, MAPS, &config_map(json!({})));
    delete(&cluster, "/api/v1/namespaces/a", &json!({}));
    assert_eq!(cluster.collect_garbage(), [ObjectRef::namespaced("v1", "ConfigMap", "a", "m")]);
}

#[test]
fn nothing_is_made_in_a_namespace_that_does_not_exist() {
    let cluster = cluster();
    let (code, status) = apply(&cluster, "/api/v1/namespaces/nope/configmaps/m", "one", &config_map(json!({})));
    assert_eq!((code, status["message"].as_str()), (404, Some(r#"namespaces "nope" not found"#)));
}

#[test]
fn the_selector_of_a_workload_is_immutable() {
    let cluster = cluster();
    let mut set = daemon_set(json!([{"name": "main", "image": "x:1"}]));
    apply(&cluster, SET, "one", &set);
    set["spec"]["selector"] = json!({"matchLabels": {"app": "e"}});
    set["spec"]["template"]["metadata"]["labels"] = json!({"app": "e"});
    let (code, status) = force(&cluster, SET, "one", &set);
    assert_eq!(code, 422);
    assert_eq!(status["message"], r#"DaemonSet "d" is invalid: spec.selector: field is immutable"#);
}

#[test]
fn a_workload_gets_the_defaults_of_a_server() {
    let cluster = cluster();
    let set = daemon_set(json!([{"name": "main", "image": "x", "readinessProbe": {"exec": {"command": ["true"]}}}]));
    let (_, stored) = apply(&cluster, SET, "one", &set);
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}});
    assert_eq!(stored["spec"]["updateStrategy"], strategy);
    let container = &stored["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        (&container["imagePullPolicy"], &container["readinessProbe"]["periodSeconds"]),
        (&json!("Always"), &json!(10))
    );
}

#[test]
fn what_says_nothing_is_not_stored() {
    let cluster = cluster();
    let mut set = daemon_set(json!([{"name": "main", "image": "x:1", "env": [], "securityContext": {}}]));
    set["spec"]["template"]["spec"]["hostNetwork"] = false.into();
    set["spec"]["template"]["spec"]["nodeSelector"] = json!({});
    set["metadata"]["labels"] = Value::Null;
    let (_, stored) = apply(&cluster, SET, "one", &set);
    let spec = &stored["spec"]["template"]["spec"];
    assert_eq!(
        (spec.get("hostNetwork"), spec.get("nodeSelector"), stored["metadata"].get("labels")),
        (None, None, None)
    );
    assert_eq!(spec["containers"][0].get("env"), None);
    assert_eq!(spec["containers"][0]["securityContext"], json!({}), "an empty one differs from none");
}

#[test]
fn texts_of_a_secret_are_stored_as_data() {
    let cluster = cluster();
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": "value"}});
    let (_, stored) = apply(&cluster, "/api/v1/namespaces/a/secrets/s", "one", &secret);
    assert_eq!((&stored["data"], &stored["type"]), (&json!({"k": "dmFsdWU="}), &json!("Opaque")));
    assert_eq!(stored.get("stringData"), None);
}

fn refusals(set: &Value) -> Vec<String> {
    let (code, status) = apply(&cluster(), SET, "one", set);
    assert_eq!(code, 422);
    let text = |cause: &Value| format!("{}: {}", cause["field"].as_str().unwrap(), cause["message"].as_str().unwrap());
    status["details"]["causes"].as_array().unwrap().iter().map(text).collect()
}

#[test]
fn a_malformed_workload_is_refused_field_by_field() {
    let mut set = daemon_set(json!([{"name": "Main", "volumeMounts": [{"name": "v", "mountPath": "/v"}],
        "ports": [{"containerPort": 70_000}]}]));
    set["spec"]["template"]["metadata"]["labels"] = json!({"app": "other", "too-long": "x".repeat(64)});
    let expected = [
        "spec.template.metadata.labels: `selector` does not match template `labels`",
        &format!(
            "spec.template.metadata.labels.too-long: {:?} is no label value: at most 63 of A-Z a-z 0-9 - _ .",
            "x".repeat(64)
        ),
        "spec.template.spec.containers[0].name: must be lower-case letters, digits and - (RFC 1123), at most 63",
        "spec.template.spec.containers[0].image: is required",
        "spec.template.spec.containers[0].volumeMounts[0].name: there is no volume \"v\"",
        "spec.template.spec.containers[0].ports[0].containerPort: must be between 1 and 65535",
    ];
    assert_eq!(refusals(&set), expected);
}

#[test]
fn a_request_for_a_device_must_equal_its_limit() {
    let resources = json!({"requests": {"x.example/device": 1}, "limits": {"x.example/device": "2"}});
    let set = daemon_set(json!([{"name": "main", "image": "x:1", "resources": resources}]));
    let expected = "spec.template.spec.containers[0].resources.requests.x.example/device: must be equal to its limit";
    assert_eq!(refusals(&set), [expected]);
}

#[test]
fn names_of_roles_may_hold_colons_and_other_names_may_not() {
    let role = |name: &str| json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}});
    let (code, _) = post(&cluster(), "/apis/rbac.authorization.k8s.io/v1/clusterroles", &role("scone:a:reader"));
    assert_eq!(code, 201);
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a:b"}});
    assert_eq!(post(&cluster(), MAPS, &map).0, 422);
}
