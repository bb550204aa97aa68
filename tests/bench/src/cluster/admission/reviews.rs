//! What is asked: a new LAS of 4 KB, as the API server would store it and as it asks webhooks about it.

use las::LasModule;
use serde_json::{Value, json};

use crate::{
    Error,
    cluster::stage::{Stage, send},
    subject,
};

/// Where the module is asked.
pub(super) const VALIDATE: &str = "/validate-base-scone-cloud-v1beta1-las";

/// Where new LAS are written; nothing is stored.
pub(super) const CREATE: &str = "/apis/base.scone.cloud/v1beta1/las?dryRun=All&fieldManager=kubectl-create";

/// A new LAS as a user writes it.
pub(super) fn las() -> Result<Value, Error> {
    let parent: Value = serde_json::from_slice(&subject::native_snapshot::<LasModule>(subject::LAS_4K)?.parent)?;
    Ok(with_spec(parent.get("spec").unwrap_or(&Value::Null)))
}

fn with_spec(spec: &Value) -> Value {
    json!({"apiVersion": "base.scone.cloud/v1beta1", "kind": "LAS", "metadata": {"name": "las"}, "spec": spec})
}

/// The same, each with one fault that the schema of its CRD lets through: whoever judges has to find it.
pub(super) fn bad(las: &Value) -> Vec<Value> {
    bad_specs(las.get("spec").unwrap_or(&Value::Null)).iter().map(with_spec).collect()
}

/// Specs with one fault each.
pub(super) fn bad_specs(spec: &Value) -> Vec<Value> {
    let faults = [
        ("image", json!("registry.example.com/UPPER/las:6.0.6")),
        ("imagePullSecrets", json!([{"name": "No Name"}])),
        ("nodeSelector", json!({"no key": "true"})),
        ("nodeSelector", json!({"example.com/key": "no value"})),
        ("podAnnotations", json!({"no key": "true"})),
        ("resources", json!({"limits": {"cpu": "1"}, "requests": {"cpu": "2"}})),
    ];
    let with = |(field, value): (&str, Value)| {
        let mut spec = spec.clone();
        if let Some(fields) = spec.as_object_mut() {
            fields.insert(field.to_owned(), value);
        }
        spec
    };
    faults.into_iter().map(with).collect()
}

/// A new LAS as the API server would store it.
pub(super) async fn stored(stage: &Stage, las: &Value) -> Result<Value, Error> {
    let stored = send(&stage.client, "POST", CREATE, "application/json", las.to_string().into_bytes()).await?;
    Ok(serde_json::from_str(&stored)?)
}

/// The review of an object, as an API server writes it.
pub(super) fn body(object: &Value) -> String {
    let resource = json!({"group": "base.scone.cloud", "version": "v1beta1", "resource": "las"});
    let kind = json!({"group": "base.scone.cloud", "version": "v1beta1", "kind": "LAS"});
    let review = json!({
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "kind": kind, "resource": resource, "requestKind": kind,
        "requestResource": resource, "name": "las", "operation": "CREATE", "oldObject": null, "dryRun": false, "object": object,
        "userInfo": {"username": "admin", "uid": "u", "groups": ["system:masters", "system:authenticated"]},
        "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "kubectl-create"},
    });
    json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": review}).to_string()
}

/// The same as a request to a webhook.
pub(super) fn review(object: &Value) -> Vec<u8> {
    posted(&format!("{VALIDATE}?timeout=10s"), "kube-apiserver-admission", &body(object))
}

/// A new object, as a request to the API server.
pub(super) fn creation(object: &Value) -> Vec<u8> {
    posted(CREATE, "bench", &object.to_string())
}

fn posted(path: &str, agent: &str, body: &str) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nuser-agent: {agent}\r\naccept: application/json, */*\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    (head + body).into_bytes()
}
