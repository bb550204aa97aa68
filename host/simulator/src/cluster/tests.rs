//! The rules of the server, one by one.

mod apply;
mod custom;
mod lifecycle;
mod requests;
mod services;

use bytes::Bytes;
use http::{Method, Request};
use serde_json::{Value, json};

use super::{Admission, Admitted, FakeCluster, Refused};
use operator_core::ObjectRef;

/// A cluster with one namespace, `a`.
fn cluster() -> FakeCluster {
    let cluster = FakeCluster::new();
    cluster.put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}));
    cluster
}

/// Sends a request; the answer's code and body.
fn send(cluster: &FakeCluster, method: Method, path: &str, content_type: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
    let request = Request::builder().method(method).uri(path).header("content-type", content_type).body(body).unwrap();
    let response = cluster.handle(&request);
    (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap())
}

fn get(cluster: &FakeCluster, path: &str) -> (u16, Value) {
    send(cluster, Method::GET, path, "", &Value::Null)
}

fn post(cluster: &FakeCluster, path: &str, body: &Value) -> (u16, Value) {
    send(cluster, Method::POST, path, "application/json", body)
}

fn put(cluster: &FakeCluster, path: &str, body: &Value) -> (u16, Value) {
    send(cluster, Method::PUT, path, "application/json", body)
}

fn merge(cluster: &FakeCluster, path: &str, body: &Value) -> (u16, Value) {
    send(cluster, Method::PATCH, path, "application/merge-patch+json", body)
}

fn delete(cluster: &FakeCluster, path: &str, options: &Value) -> (u16, Value) {
    send(cluster, Method::DELETE, path, "application/json", options)
}

/// Server-side apply, not forced.
fn apply(cluster: &FakeCluster, path: &str, manager: &str, body: &Value) -> (u16, Value) {
    let path = format!("{path}?fieldManager={manager}");
    send(cluster, Method::PATCH, &path, "application/apply-patch+yaml", body)
}

fn force(cluster: &FakeCluster, path: &str, manager: &str, body: &Value) -> (u16, Value) {
    apply(cluster, path, &format!("{manager}&force=true"), body)
}

const MAP: &str = "/api/v1/namespaces/a/configmaps/m";
const MAPS: &str = "/api/v1/namespaces/a/configmaps";
const SET: &str = "/apis/apps/v1/namespaces/a/daemonsets/d";
const THING: &str = "/apis/example.org/v1/namespaces/a/things/t";

fn config_map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": data})
}

fn daemon_set(containers: Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "d"},
        "spec": {
            "selector": {"matchLabels": {"app": "d"}},
            "template": {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": containers}},
        },
    })
}

fn thing_crd() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.org"},
        "spec": {
            "group": "example.org", "scope": "Namespaced", "names": {"kind": "Thing", "plural": "things"},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": {
                        "port": {"type": "integer", "minimum": 1, "maximum": 65535, "default": 80},
                        "mode": {"type": "string", "enum": ["A", "B"]},
                        "rules": {"type": "array", "items": {"type": "object", "properties": {
                            "key": {"type": "string"}, "value": {"type": "string"}}}},
                    }},
                    "status": {"type": "object", "properties": {
                        "state": {"type": "string"},
                        "conditions": {"type": "array", "x-kubernetes-list-type": "map",
                            "x-kubernetes-list-map-keys": ["type"], "items": {"type": "object", "properties": {
                                "type": {"type": "string"}, "status": {"type": "string"}}}},
                    }},
                }}}}],
        },
    })
}

fn thing(spec: Value) -> Value {
    json!({"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": spec})
}

/// `manager/operation` of each entry in `managedFields`.
fn managers(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let text =
        |entry: &Value| format!("{}/{}", entry["manager"].as_str().unwrap(), entry["operation"].as_str().unwrap());
    entries.iter().map(text).collect()
}
