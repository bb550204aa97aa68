//! Paths, queries, patches, the write log, and a client on top of it all.

use operator_controller::Cache;
use serde_json::json;

use super::*;

#[test]
fn a_path_that_is_not_served_is_not_found() {
    let cluster = cluster();
    for path in ["/", "/api/v1/nonsense", "/apis/nope/v1/things", "/api/v1/namespaces/a/configmaps/m/scale/x"] {
        let (code, status) = get(&cluster, path);
        assert_eq!((code, status["kind"].as_str()), (404, Some("Status")), "{path}");
    }
}

#[test]
fn a_namespace_is_itself_a_resource() {
    let (code, object) = get(&cluster(), "/api/v1/namespaces/a");
    assert_eq!((code, object["kind"].as_str()), (200, Some("Namespace")));
}

fn names(cluster: &FakeCluster, path: &str) -> Vec<String> {
    let (_, list) = get(cluster, path);
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn lists_are_selected_by_namespace_labels_and_name() {
    let cluster = cluster();
    cluster.put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "b"}}));
    for (namespace, name, tier) in [("a", "one", "x"), ("a", "two", "y"), ("b", "three", "x")] {
        cluster.put(json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": namespace, "labels": {"tier": tier}}}));
    }
    assert_eq!(names(&cluster, "/api/v1/configmaps"), ["one", "two", "three"]);
    assert_eq!(names(&cluster, MAPS), ["one", "two"]);
    assert_eq!(names(&cluster, "/api/v1/configmaps?labelSelector=tier%3Dx"), ["one", "three"]);
    assert_eq!(names(&cluster, "/api/v1/configmaps?labelSelector=tier%20in%20%28x%2Cy%29,tier!%3Dx"), ["two"]);
    assert_eq!(names(&cluster, "/api/v1/configmaps?labelSelector=!tier"), Vec::<String>::new());
    assert_eq!(names(&cluster, "/api/v1/configmaps?fieldSelector=metadata.name%3Dtwo"), ["two"]);
}

#[test]
fn a_merge_patch_removes_what_it_sets_to_null() {
    let cluster = cluster();
    post(&cluster, MAPS, &config_map(json!({"k": "v", "old": "x"})));
    let (_, object) = merge(&cluster, MAP, &json!({"data": {"old": null, "new": "y"}}));
    assert_eq!(object["data"], json!({"k": "v", "new": "y"}));
}

#[test]
fn a_json_patch_applies_whole_or_not_at_all() {
    let cluster = cluster();
    post(&cluster, MAPS, &config_map(json!({"k": "v"})));
    let patch = |operations: Value| send(&cluster, Method::PATCH, MAP, "application/json-patch+json", &operations);
    let (code, object) = patch(json!([
        {"op": "test", "path": "/data/k", "value": "v"},
        {"op": "add", "path": "/data/a~1b", "value": "w"},
        {"op": "move", "from": "/data/k", "path": "/data/l"},
    ]));
    assert_eq!((code, &object["data"]), (200, &json!({"a/b": "w", "l": "v"})));
    let (code, status) = patch(json!([
        {"op": "add", "path": "/data/x", "value": "y"},
        {"op": "remove", "path": "/data/nope"},
    ]));
    assert_eq!(
        (code, status["message"].as_str()),
        (422, Some("operation 1 of the JSON patch: there is no /data/nope"))
    );
    assert_eq!(get(&cluster, MAP).1["data"], json!({"a/b": "w", "l": "v"}));
}

#[test]
fn a_name_is_generated_where_one_is_asked_for() {
    let cluster = cluster();
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "m-"}});
    let (_, first) = post(&cluster, MAPS, &object);
    let (_, second) = post(&cluster, MAPS, &object);
    assert!(first["metadata"]["name"].as_str().unwrap().starts_with("m-"));
    assert_ne!(first["metadata"]["name"], second["metadata"]["name"]);
}

#[test]
fn what_exists_cannot_be_created() {
    let cluster = cluster();
    post(&cluster, MAPS, &config_map(json!({})));
    let (code, status) = post(&cluster, MAPS, &config_map(json!({})));
    assert_eq!((code, status["reason"].as_str()), (409, Some("AlreadyExists")));
}

#[test]
fn a_dry_run_answers_and_stores_nothing() {
    let cluster = cluster();
    let path = format!("{MAP}?dryRun=All&fieldManager=one");
    let (code, object) =
        send(&cluster, Method::PATCH, &path, "application/apply-patch+yaml", &config_map(json!({"k": "v"})));
    assert_eq!((code, &object["data"]), (201, &json!({"k": "v"})));
    assert_eq!(get(&cluster, MAP).0, 404);
    assert!(cluster.writes().is_empty());
}

#[test]
fn bodies_and_patches_that_are_none_are_refused() {
    let cluster = cluster();
    let raw = |body: &str, kind: &str| {
        let request = Request::builder().method(Method::PATCH).uri(format!("{MAP}?fieldManager=one"));
        let request = request.header("content-type", kind).body(Bytes::from(body.to_owned())).unwrap();
        cluster.handle(&request).status().as_u16()
    };
    assert_eq!(raw("{", "application/apply-patch+yaml"), 400);
    assert_eq!(raw("[]", "application/apply-patch+yaml"), 400);
    assert_eq!(raw("{}", "text/plain"), 415);
}

#[test]
fn every_accepted_write_is_on_record_and_no_other() {
    let cluster = cluster();
    apply(&cluster, MAP, "one", &config_map(json!({"k": "v"})));
    apply(&cluster, MAP, "two", &config_map(json!({"k": "w"})));
    get(&cluster, MAP);
    delete(&cluster, &format!("{MAP}?fieldManager=one"), &json!({}));
    let writes: Vec<_> = cluster.writes().iter().map(|w| format!("{} {} {}", w.manager, w.verb, w.identity)).collect();
    assert_eq!(writes, ["one apply ConfigMap a/m", "one delete ConfigMap a/m"]);
}

#[test]
fn the_cache_shows_what_the_server_has() {
    let cluster = cluster();
    post(&cluster, MAPS, &config_map(json!({"k": "v"})));
    let identity = ObjectRef::namespaced("v1", "ConfigMap", "a", "m");
    assert!(Cache::get(&cluster, &identity).is_some());
    assert_eq!(Cache::list(&cluster, "v1", "ConfigMap", Some("a"), &[]).len(), 1);
    assert_eq!(Cache::list(&cluster, "v1", "ConfigMap", Some("b"), &[]).len(), 0);
    assert_eq!(cluster.resource("v1", "ConfigMap"), Some(("configmaps".into(), true)));
}

#[test]
fn two_clusters_with_the_same_history_are_equal() {
    let run = || {
        let cluster = cluster();
        apply(&cluster, SET, "one", &daemon_set(json!([{"name": "main", "image": "x:1"}])));
        merge(&cluster, SET, &json!({"metadata": {"labels": {"k": "v"}}}));
        cluster.identities().iter().map(|identity| cluster.object(identity).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

#[test]
fn a_client_of_a_real_cluster_works_on_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let body = runtime.block_on(async {
        let client = cluster().client();
        let request = Request::builder().uri("/api/v1/namespaces/a").body(Vec::new()).unwrap();
        client.request_text(request).await.unwrap()
    });
    assert!(body.contains("Namespace"));
}
