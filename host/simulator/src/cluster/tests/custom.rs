//! Custom resources: schema, status, admission.

use std::sync::Arc;

use serde_json::json;

use super::*;

fn with_things() -> FakeCluster {
    let cluster = cluster();
    assert_eq!(post(&cluster, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &thing_crd()).0, 201);
    cluster
}

#[test]
fn a_kind_is_served_while_its_definition_exists() {
    let cluster = cluster();
    assert_eq!(get(&cluster, THING).0, 404);
    let cluster = with_things();
    assert_eq!(apply(&cluster, THING, "one", &thing(json!({}))).0, 201);
    delete(&cluster, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.example.org", &json!({}));
    assert_eq!(cluster.kind("Thing"), None);
    assert!(cluster.identities().iter().all(|identity| identity.kind != "Thing"), "its objects went along");
}

#[test]
fn defaults_of_the_schema_are_stored_and_belong_to_nobody() {
    let cluster = with_things();
    let (_, object) = apply(&cluster, THING, "one", &thing(json!({"mode": "A"})));
    assert_eq!(object["spec"]["port"], 80);
    assert_eq!(object["metadata"]["managedFields"][0]["fieldsV1"], json!({"f:spec": {"f:mode": {}}}));
}

#[test]
fn fields_that_the_schema_does_not_know_are_dropped_or_cannot_be_applied() {
    let cluster = with_things();
    let things = "/apis/example.org/v1/namespaces/a/things";
    let (code, object) = post(&cluster, things, &thing(json!({"mdoe": "A"})));
    assert_eq!((code, &object["spec"]), (201, &json!({"port": 80})));
    let (code, status) = apply(&cluster, THING, "one", &thing(json!({"mdoe": "A"})));
    assert_eq!((code, status.get("reason")), (500, None));
    assert!(status["message"].as_str().unwrap().ends_with(".spec.mdoe: field not declared in schema"), "{status}");
}

#[test]
fn an_object_that_breaks_its_schema_is_refused_with_every_cause() {
    let cluster = with_things();
    let (code, status) = apply(&cluster, THING, "one", &thing(json!({"port": 0, "mode": "C"})));
    assert_eq!((code, status["reason"].as_str()), (422, Some("Invalid")));
    let fields: Vec<_> =
        status["details"]["causes"].as_array().unwrap().iter().map(|c| c["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["spec.mode", "spec.port"]);
}

#[test]
fn the_status_is_written_apart_from_the_rest() {
    let cluster = with_things();
    let mut object = thing(json!({"mode": "A"}));
    object["status"] = json!({"state": "said on the main resource"});
    let (_, stored) = apply(&cluster, THING, "one", &object);
    assert_eq!(stored["status"], Value::Null);
    let status = json!({"spec": {"mode": "B"}, "status": {"state": "ok"}});
    let (code, stored) = apply(&cluster, &format!("{THING}/status"), "one-status", &status);
    assert_eq!((code, &stored["status"]["state"], &stored["spec"]["mode"]), (200, &json!("ok"), &json!("A")));
    assert_eq!(stored["metadata"]["managedFields"][1]["subresource"], "status");
    assert_eq!(stored["metadata"]["generation"], 1, "a status makes no generation");
    let (_, stored) = merge(&cluster, THING, &json!({"spec": {"mode": "B"}, "status": {"state": "no"}}));
    assert_eq!(stored["status"]["state"], "ok", "an update of the rest keeps the status");
}

#[test]
fn the_status_of_what_does_not_exist_cannot_be_applied() {
    let cluster = with_things();
    assert_eq!(apply(&cluster, &format!("{THING}/status"), "one", &json!({"status": {}})).0, 404);
    assert_eq!(apply(&cluster, &format!("{MAP}/status"), "one", &json!({"status": {}})).0, 404);
}

#[test]
fn conditions_of_two_writers_survive_each_other_where_the_schema_says_so() {
    let cluster = with_things();
    apply(&cluster, THING, "one", &thing(json!({})));
    let path = format!("{THING}/status");
    let with = |type_: &str| json!({"status": {"conditions": [{"type": type_, "status": "True"}]}});
    apply(&cluster, &path, "one", &with("Ready"));
    let (_, object) = apply(&cluster, &path, "two", &with("Backed"));
    assert_eq!(object["status"]["conditions"].as_array().unwrap().len(), 2);
}

#[test]
fn lists_without_a_declared_type_are_replaced_as_a_whole() {
    let cluster = with_things();
    let rules = |keys: &[&str]| thing(json!({"rules": keys.iter().map(|key| json!({"key": key})).collect::<Vec<_>>()}));
    apply(&cluster, THING, "one", &rules(&["a", "b"]));
    assert_eq!(apply(&cluster, THING, "two", &rules(&["c"])).0, 409);
    let (_, object) = apply(&cluster, THING, "one", &rules(&["c"]));
    assert_eq!(object["spec"]["rules"], json!([{"key": "c"}]));
}

/// Sets `mode` where it is missing, and refuses port 13.
struct Hook;

impl Admission for Hook {
    fn admit(&self, _: &ObjectRef, object: Option<&Value>, _: Option<&Value>) -> Result<Admitted, Refused> {
        let mut object = object.cloned().unwrap_or_default();
        if object["spec"]["port"] == 13 {
            let causes = vec![("spec.port".into(), "FieldValueInvalid".into(), "13 brings bad luck".into())];
            return Err(Refused {
                code: 403,
                reason: "Forbidden".into(),
                message: "denied".into(),
                causes,
                about: None,
            });
        }
        if object["spec"]["mode"].is_null() {
            object["spec"]["mode"] = "B".into();
        }
        Ok(Admitted { object: Some(object), warnings: Vec::new() })
    }
}

#[test]
fn admission_changes_or_refuses_objects_before_they_are_stored() {
    let cluster = with_things();
    cluster.set_admission(Arc::new(Hook));
    let (_, object) = apply(&cluster, THING, "one", &thing(json!({"port": 1})));
    assert_eq!(object["spec"], json!({"port": 1, "mode": "B"}));
    let (code, status) = apply(&cluster, THING, "one", &thing(json!({"port": 13})));
    assert_eq!((code, &status["details"]["causes"][0]["field"]), (403, &json!("spec.port")));
    assert_eq!(get(&cluster, THING).1["spec"]["port"], 1);
}

#[test]
fn admission_never_sees_what_the_schema_refuses() {
    struct Unreachable;
    impl Admission for Unreachable {
        fn admit(&self, _: &ObjectRef, _: Option<&Value>, _: Option<&Value>) -> Result<Admitted, Refused> {
            panic!("asked about an object that its schema refuses")
        }
    }
    let cluster = with_things();
    cluster.set_admission(Arc::new(Unreachable));
    assert_eq!(apply(&cluster, THING, "one", &thing(json!({"port": 0}))).0, 422);
}

#[test]
fn a_definition_that_is_written_again_keeps_its_identity() {
    let cluster = with_things();
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.example.org";
    let uid = get(&cluster, path).1["metadata"]["uid"].clone();
    cluster.put(thing_crd());
    assert_eq!(get(&cluster, path).1["metadata"]["uid"], uid);
}
