//! Children of the kinds that servers fill in most, and that change least.

use serde_json::json;

use super::*;

fn in_a(api_version: &str, kind: &str, name: &str) -> ObjectRef {
    ObjectRef::namespaced(api_version, kind, "a", name)
}

fn set_ref() -> ObjectRef {
    in_a("apps/v1", "StatefulSet", "s")
}

fn stateful_set(size: &str, image: &str) -> Child {
    let container = json!({"name": "main", "image": image, "volumeMounts": [{"name": "data", "mountPath": "/d"}],
        "resources": {"limits": {"memory": "1024Mi", "cpu": "0.5"}}});
    let body = json!({"spec": {
        "selector": {"matchLabels": {"app": "s"}}, "serviceName": "s",
        "template": {"metadata": {"labels": {"app": "s"}}, "spec": {"containers": [container]}},
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}}],
    }});
    Child { readiness: Readiness::Status, strategy: Strategy::RecreateOnImmutable, ..child_of(set_ref(), body) }
}

fn service(type_: &str) -> Child {
    let body = json!({"spec": {"type": type_, "selector": {"app": "s"}, "ports": [{"name": "api", "port": 8081}]}});
    child_of(in_a("v1", "Service", "s"), body)
}

fn claim(size: &str) -> Child {
    let body = json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}});
    let child = child_of(in_a("v1", "PersistentVolumeClaim", "c"), body);
    Child { readiness: Readiness::Status, ..child }
}

fn everything() -> Vec<Child> {
    let budget = json!({"spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"app": "s"}}}});
    let policy = json!({"spec": {"podSelector": {"matchLabels": {"app": "s"}}, "ingress": [
        {"from": [{"namespaceSelector": {}}], "ports": [{"port": 8081}]}]}});
    let deployment = json!({"spec": {
        "replicas": 2, "selector": {"matchLabels": {"app": "d"}},
        "template": {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [{"name": "main", "image": "d:1"}]}},
    }});
    let deployment = child_of(in_a("apps/v1", "Deployment", "d"), deployment);
    vec![
        stateful_set("1024Mi", "s:1"),
        service("NodePort"),
        claim("2048Mi"),
        Child { readiness: Readiness::Status, ..deployment },
        child_of(in_a("policy/v1", "PodDisruptionBudget", "b"), budget),
        child_of(in_a("networking.k8s.io/v1", "NetworkPolicy", "n"), policy),
    ]
}

#[test]
fn children_with_all_that_a_server_fills_in_come_to_rest() {
    let stage = Stage::new(|_| children(everything()));
    stage.settle();
    assert_eq!(stage.condition("Ready").0, "True");
    let mark = stage.mark();
    stage.once();
    assert_eq!(stage.writes_since(mark), Vec::<String>::new());
}

#[test]
fn a_set_with_other_claim_templates_is_made_again_and_its_claims_stay() {
    let stage = Stage::new(|_| children(vec![stateful_set("1Gi", "s:1")]));
    stage.settle();
    let uid = |identity: &ObjectRef| stage.object(identity).unwrap()["metadata"]["uid"].clone();
    let claim = in_a("v1", "PersistentVolumeClaim", "data-s-0");
    let before = (uid(&set_ref()), uid(&claim));
    stage.answers(|_| children(vec![stateful_set("2Gi", "s:1")]));
    let mark = stage.mark();
    stage.settle();
    assert!(stage.writes_since(mark).contains(&"delete StatefulSet a/s".to_owned()));
    assert_ne!(uid(&set_ref()), before.0);
    assert_eq!(uid(&claim), before.1);
    assert_eq!(stage.condition("Ready").0, "True");
}

#[test]
fn a_set_with_another_image_is_updated_and_the_parent_is_ready_with_its_last_pod() {
    let stage = Stage::new(|_| children(vec![stateful_set("1Gi", "s:1")]));
    stage.settle();
    let uid = stage.object(&set_ref()).unwrap()["metadata"]["uid"].clone();
    stage.answers(|_| children(vec![stateful_set("1Gi", "s:2")]));
    stage.once();
    stage.world.actors.step(stage.cluster());
    stage.once();
    assert_eq!(stage.condition("Ready").0, "False");
    stage.settle();
    assert_eq!(stage.condition("Ready").0, "True");
    assert_eq!(stage.object(&set_ref()).unwrap()["metadata"]["uid"], uid);
    let pod = stage.object(&in_a("v1", "Pod", "s-0")).unwrap();
    assert_eq!(pod["spec"]["containers"][0]["image"], "s:2");
}

#[test]
fn a_service_that_changes_its_type_keeps_its_address() {
    let stage = Stage::new(|_| children(vec![service("ClusterIP")]));
    stage.settle();
    let of = |field: &str| stage.object(&in_a("v1", "Service", "s")).unwrap()["spec"][field].clone();
    let address = of("clusterIP");
    stage.answers(|_| children(vec![service("NodePort")]));
    stage.settle();
    assert_eq!((of("clusterIP"), of("type")), (address.clone(), json!("NodePort")));
    assert_eq!(of("ports")[0]["nodePort"], 30_000);
    stage.answers(|_| children(vec![service("ClusterIP")]));
    stage.settle();
    assert_eq!((of("clusterIP"), of("ports")[0].get("nodePort").cloned()), (address, None));
}

#[test]
fn a_claim_that_shall_shrink_stalls_with_the_servers_words() {
    let stage = Stage::new(|_| children(vec![claim("2Gi")]));
    stage.settle();
    stage.answers(|_| children(vec![claim("1Gi")]));
    let outcome = stage.once();
    assert!(is_stalled(&outcome, "ApplyRefused"), "{outcome:?}");
    assert!(stage.object(&stage.parent).unwrap().to_string().contains("field can not be less than previous value"));
}
