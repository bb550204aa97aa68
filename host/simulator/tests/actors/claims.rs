//! Storage.

use serde_json::json;

use super::*;

fn claim(size: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}})
}

fn user() -> Value {
    pod("p", json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]}))
}

fn class(name: &str, more: Value) -> Value {
    let mut class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
        "provisioner": "example.com/p"});
    for (key, value) in more.as_object().unwrap() {
        class[key] = value.clone();
    }
    class
}

fn phase(stage: &Stage) -> String {
    stage.object("PersistentVolumeClaim", "c")["status"]["phase"].as_str().unwrap().to_owned()
}

#[test]
fn a_claim_is_pending_until_it_is_bound() {
    let stage = Stage::new(&[]);
    stage.apply(&claim("1024Mi"));
    assert_eq!(phase(&stage), "Pending");
    stage.settle();
    let claim = stage.object("PersistentVolumeClaim", "c");
    let status = json!({"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}});
    assert_eq!(claim["status"], status);
    assert_eq!(claim["spec"]["storageClassName"], "standard");
}

#[test]
fn a_claim_without_a_class_that_exists_stays_pending_and_so_does_its_pod() {
    let stage = Stage::new(&["n"]);
    let mut claim = claim("1Gi");
    claim["spec"]["storageClassName"] = "fast".into();
    stage.apply(&claim);
    stage.apply(&user());
    stage.settle();
    assert_eq!(phase(&stage), "Pending");
    assert_eq!(stage.waits("p"), "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.");
    stage.apply(&class("fast", json!({})));
    stage.settle();
    assert_eq!((phase(&stage), stage.node_of("p")), ("Bound".into(), "n".into()));
}

#[test]
fn a_claim_that_waits_for_its_consumer_is_bound_with_it() {
    let stage = Stage::new(&["n"]);
    stage.apply(&class("late", json!({"volumeBindingMode": "WaitForFirstConsumer"})));
    let mut claim = claim("1Gi");
    claim["spec"]["storageClassName"] = "late".into();
    stage.apply(&claim);
    stage.settle();
    assert_eq!(phase(&stage), "Pending");
    stage.apply(&user());
    stage.settle();
    assert_eq!((phase(&stage), stage.node_of("p")), ("Bound".into(), "n".into()));
}

#[test]
fn a_claim_grows_volume_first_and_then_the_file_system_under_its_pod() {
    let stage = Stage::new(&["n"]);
    stage.apply(&claim("1Gi"));
    stage.settle();
    stage.apply(&claim("2Gi"));
    let told = |stage: &Stage| stage.object("PersistentVolumeClaim", "c")["status"]["conditions"][0]["type"].clone();
    stage.step();
    assert_eq!(told(&stage), "Resizing");
    stage.settle();
    assert_eq!(told(&stage), "FileSystemResizePending", "no pod uses it");
    stage.apply(&user());
    stage.settle();
    let status = stage.object("PersistentVolumeClaim", "c")["status"].clone();
    assert_eq!((&status["capacity"]["storage"], status.get("conditions")), (&json!("2Gi"), None));
}

#[test]
fn a_claim_neither_shrinks_nor_changes_otherwise() {
    let stage = Stage::new(&[]);
    stage.apply(&claim("2Gi"));
    let (code, answer) = stage.try_apply(&claim("3Gi"));
    assert_eq!(code, 422, "a claim that is not bound does not even grow");
    assert!(answer["message"].as_str().unwrap().contains("spec is immutable after creation"));
    stage.settle();
    let (code, answer) = stage.try_apply(&claim("1Gi"));
    assert_eq!((code, &answer["details"]["causes"][0]["field"]), (422, &json!("spec.resources.requests.storage")));
    let mut other = claim("2Gi");
    other["spec"]["accessModes"] = json!(["ReadWriteMany"]);
    assert_eq!(stage.try_apply(&other).0, 422);
    assert_eq!(stage.try_apply(&claim("2048Mi")).0, 200, "the same size in other words");
}

#[test]
fn a_claim_of_a_class_that_does_not_expand_may_not_grow() {
    let stage = Stage::new(&[]);
    stage.apply(&class("fixed", json!({})));
    let mut claim = claim("1Gi");
    claim["spec"]["storageClassName"] = "fixed".into();
    stage.apply(&claim);
    stage.settle();
    claim["spec"]["resources"]["requests"]["storage"] = "2Gi".into();
    let (code, answer) = stage.try_apply(&claim);
    assert_eq!((code, answer["reason"].as_str()), (403, Some("Forbidden")));
}

#[test]
fn a_claim_in_use_is_deleted_after_its_pod() {
    let stage = Stage::new(&["n"]);
    stage.apply(&claim("1Gi"));
    stage.apply(&user());
    stage.settle();
    stage.delete("PersistentVolumeClaim", "c");
    stage.settle();
    assert!(stage.object("PersistentVolumeClaim", "c")["metadata"].get("deletionTimestamp").is_some());
    stage.delete("Pod", "p");
    stage.settle();
    assert!(stage.find("PersistentVolumeClaim", "c").is_none());
}

#[test]
fn a_pod_waits_for_a_claim_that_is_not_there() {
    let stage = Stage::new(&["n"]);
    stage.apply(&user());
    stage.settle();
    assert_eq!(stage.waits("p"), "0/1 nodes are available: persistentvolumeclaim \"c\" not found.");
}
