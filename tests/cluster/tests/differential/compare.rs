//! Two answers side by side, without what no two servers have in common.

use serde_json::{Map, Value};

use super::sides::Answer;

/// One place in which two answers differ.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Difference {
    /// Such as `code` or `/metadata/labels/a`.
    pub(crate) at: String,
    pub(crate) simulator: Option<Value>,
    pub(crate) server: Option<Value>,
}

/// All places in which two answers differ.
pub(crate) fn differences(simulator: &Answer, server: &Answer) -> Vec<Difference> {
    if simulator.code != server.code {
        let said = |answer: &Answer| {
            let message = answer.body.get("message").and_then(Value::as_str).unwrap_or_default();
            Some(format!("{} {message}", answer.code).into())
        };
        return vec![Difference { at: "code".to_owned(), simulator: said(simulator), server: said(server) }];
    }
    let mut out = Vec::new();
    compare(String::new(), Some(&normal(&simulator.body)), Some(&normal(&server.body)), &mut out);
    out
}

fn compare(at: String, simulator: Option<&Value>, server: Option<&Value>, out: &mut Vec<Difference>) {
    match (simulator, server) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                compare(format!("{at}/{key}"), a.get(key), b.get(key), out);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                compare(format!("{at}/{index}"), Some(a), Some(b), out);
            }
        }
        (a, b) if a == b => {}
        (a, b) => out.push(Difference { at, simulator: a.cloned(), server: b.cloned() }),
    }
}

/// An answer without UIDs, versions, times and generated names; claims by their manager, causes by their field.
fn normal(body: &Value) -> Value {
    let mut body = body.clone();
    object(&mut body);
    if let Some(Value::Array(items)) = body.get_mut("items") {
        items.iter_mut().for_each(object);
        // Generated names come in an order of their own.
        let name = |item: &Value| item.pointer("/metadata/name").and_then(Value::as_str).map(str::to_owned);
        items.sort_by_key(|item| (name(item), item.get("metadata").map(Value::to_string)));
    }
    if let Some(Value::Array(causes)) = body.pointer_mut("/details/causes") {
        let key = |cause: &Value| ["field", "reason"].map(|key| cause.get(key).map(Value::to_string));
        // That rules in CEL were not tried is said only where there is an engine for them.
        causes.retain(|cause| cause.get("field").and_then(Value::as_str) != Some("<nil>"));
        causes.sort_by_key(key);
        // The server finds some of them twice.
        causes.dedup_by_key(|cause| key(cause));
    }
    if let Some(name) = body.pointer_mut("/details/name") {
        let generated = name.as_str().and_then(|name| name.rsplit_once('-')).filter(|(_, suffix)| suffix.len() == 5);
        if let Some((prefix, _)) = generated {
            *name = format!("{prefix}-*").into();
        }
    }
    body
}

fn object(object: &mut Value) {
    for pointer in ["/metadata/uid", "/metadata/resourceVersion", "/details/uid"] {
        if let Some(value) = object.pointer_mut(pointer) {
            *value = "*".into();
        }
    }
    for field in ["creationTimestamp", "deletionTimestamp"] {
        if let Some(value) = object.pointer_mut(&format!("/metadata/{field}")) {
            *value = "*".into();
        }
    }
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let text = |key: &str| metadata.get(key).and_then(Value::as_str).map(str::to_owned);
    if let (Some(prefix), Some(name)) = (text("generateName"), text("name"))
        && name.len() > prefix.len()
        && name.starts_with(&prefix)
    {
        metadata.insert("name".into(), format!("{prefix}*").into());
    }
    if let Some(Value::Array(claims)) = metadata.remove("managedFields") {
        metadata.insert("managedFields".into(), Value::Object(by_manager(claims)));
    }
}

fn by_manager(claims: Vec<Value>) -> Map<String, Value> {
    let mut all = Map::new();
    for mut claim in claims {
        let mut take = |key: &str| claim.as_object_mut().and_then(|map| map.remove(key));
        take("time");
        let name = ["manager", "operation", "subresource"]
            .map(|key| take(key).and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default());
        all.insert(name.join(" ").trim_end().to_owned(), claim);
    }
    all
}
