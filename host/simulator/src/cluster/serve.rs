//! From a request to an answer: the verbs, admission, and errors as a Kubernetes `Status`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use operator_core::{ObjectRef, schema};
use serde_json::{Value, json};

use super::{
    Admission, Refused,
    apply::Conflict,
    request::Target,
    store::{Store, Stored, edit_metadata},
};

/// One write, as an audit log shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Field manager.
    pub manager: String,
    /// `create`, `update`, `patch`, `apply` or `delete`.
    pub verb: &'static str,
    /// Which object.
    pub identity: ObjectRef,
    /// Whether it was the status.
    pub status: bool,
}

type Answer = Result<(StatusCode, Value), Refused>;

/// Answers one request. Admission runs without the lock, as webhooks run beside an API server.
pub(crate) fn serve(
    store: &Mutex<Store>,
    admission: Option<&dyn Admission>,
    request: &Request<Bytes>,
) -> Response<Bytes> {
    let (status, body) = match answer(store, admission, request) {
        Ok(answer) => answer,
        Err(refused) => (StatusCode::from_u16(refused.code).unwrap_or(StatusCode::BAD_REQUEST), status_of(&refused)),
    };
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}

fn answer(store: &Mutex<Store>, admission: Option<&dyn Admission>, request: &Request<Bytes>) -> Answer {
    let target = Target::parse(&lock(store).kinds, request.uri())
        .ok_or_else(|| refused(404, "NotFound", "the server could not find the requested resource".into()))?;
    match (request.method(), &target.name) {
        (&Method::GET, None) => Ok((StatusCode::OK, list(&lock(store), &target))),
        (&Method::GET, Some(name)) => {
            let identity = identity(&target, name);
            lock(store).get(&identity).map(|s| (StatusCode::OK, s.visible())).ok_or_else(|| not_found(&identity))
        }
        (&Method::POST, None) => create(store, admission, &target, body(request)?),
        (&Method::PUT, Some(name)) => {
            let identity = identity(&target, name);
            let object = body(request)?;
            change(store, admission, &target, &identity, "update", |stored| {
                let sent = object.pointer("/metadata/resourceVersion").cloned();
                let there = stored.object.pointer("/metadata/resourceVersion").cloned();
                if sent.is_some() && sent != there {
                    return Err(refused(409, "Conflict", format!("{identity} has been modified; read it again")));
                }
                Ok(object.clone())
            })
        }
        (&Method::PATCH, Some(name)) => patch(store, admission, &target, &identity(&target, name), request),
        (&Method::DELETE, Some(name)) => delete(store, admission, &target, &identity(&target, name), request),
        _ => Err(refused(405, "MethodNotAllowed", "the server does not allow this method on the resource".into())),
    }
}

fn lock(store: &Mutex<Store>) -> MutexGuard<'_, Store> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

fn identity(target: &Target, name: &str) -> ObjectRef {
    ObjectRef {
        api_version: target.kind.api_version.clone(),
        kind: target.kind.kind.clone(),
        namespace: target.namespace.clone().filter(|_| target.kind.namespaced),
        name: name.to_owned(),
    }
}

fn body(request: &Request<Bytes>) -> Result<Value, Refused> {
    let value: Value = serde_json::from_slice(request.body())
        .map_err(|error| refused(400, "BadRequest", format!("the body is no JSON: {error}")))?;
    if value.is_object() { Ok(value) } else { Err(refused(400, "BadRequest", "the body is no object".into())) }
}

fn list(store: &Store, target: &Target) -> Value {
    let labels = target.labels();
    let named = target.parameter("fieldSelector").and_then(|s| s.strip_prefix("metadata.name="));
    let items: Vec<Value> = store
        .list(&target.kind.api_version, &target.kind.kind)
        .filter(|(identity, stored)| {
            target.namespace.as_ref().is_none_or(|namespace| identity.namespace.as_ref() == Some(namespace))
                && named.is_none_or(|name| identity.name == name)
                && stored.has_labels(&labels)
        })
        .map(|(_, stored)| stored.visible())
        .collect();
    json!({"apiVersion": target.kind.api_version, "kind": format!("{}List", target.kind.kind), "items": items})
}

fn create(store: &Mutex<Store>, admission: Option<&dyn Admission>, target: &Target, object: Value) -> Answer {
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    if name.is_empty() {
        return Err(refused(422, "Invalid", "metadata.name is required".into()));
    }
    let identity = identity(target, &name);
    if lock(store).get(&identity).is_some() {
        return Err(refused(409, "AlreadyExists", format!("{identity} already exists")));
    }
    let manager = target.parameter("fieldManager").unwrap_or("unknown").to_owned();
    let mut object = object;
    strip(&mut object, target);
    let object = admitted(store, admission, target, &identity, object, None)?;
    let mut stored = Stored::default();
    stored.ownership.update(&json!({}), &object, &manager, false);
    stored.object = object;
    let mut store = lock(store);
    store.writes.push(Write { manager, verb: "create", identity: identity.clone(), status: false });
    let stored = store.save(&identity, stored);
    Ok((StatusCode::CREATED, stored.visible()))
}

fn patch(
    store: &Mutex<Store>,
    admission: Option<&dyn Admission>,
    target: &Target,
    identity: &ObjectRef,
    request: &Request<Bytes>,
) -> Answer {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match kind {
        "application/apply-patch+yaml" => apply(store, admission, target, identity, &body(request)?),
        "application/merge-patch+json" | "application/strategic-merge-patch+json" => {
            let patch = body(request)?;
            change(store, admission, target, identity, "patch", |stored| {
                let mut object = stored.object.clone();
                merge_patch(&mut object, &patch);
                Ok(object)
            })
        }
        other => Err(refused(415, "UnsupportedMediaType", format!("patches of type {other} are not simulated"))),
    }
}

fn apply(
    store: &Mutex<Store>,
    admission: Option<&dyn Admission>,
    target: &Target,
    identity: &ObjectRef,
    config: &Value,
) -> Answer {
    let manager = target.parameter("fieldManager").unwrap_or_default().to_owned();
    if manager.is_empty() || manager.len() > 128 {
        return Err(refused(422, "Invalid", "fieldManager is required for apply and has at most 128 bytes".into()));
    }
    let named = config.pointer("/metadata/name").and_then(Value::as_str);
    if named.is_some_and(|name| name != identity.name) {
        return Err(refused(400, "BadRequest", format!("the body names {named:?}, the URL {}", identity.name)));
    }
    let before = lock(store).get(identity).cloned();
    if before.is_none() && target.status {
        return Err(not_found(identity));
    }
    let mut stored = before.clone().unwrap_or_default();
    let force = target.parameter("force") == Some("true");
    let empty = json!({});
    let object = if stored.object.is_null() { &empty } else { &stored.object };
    let merged = stored.ownership.apply(object, config, &manager, target.status, force);
    let mut merged = merged.map_err(|conflicts| conflict(&conflicts))?;
    edit_metadata(&mut merged, |metadata| {
        metadata.insert("name".into(), identity.name.clone().into());
        if let Some(namespace) = &identity.namespace {
            metadata.insert("namespace".into(), namespace.clone().into());
        }
    });
    let old = before.as_ref().map(|before| &before.object);
    stored.object = if target.status { merged } else { admitted(store, admission, target, identity, merged, old)? };
    immutable(identity, old, &stored.object)?;
    validate(target, identity, &stored.object)?;
    let mut store = lock(store);
    store.writes.push(Write { manager, verb: "apply", identity: identity.clone(), status: target.status });
    let code = if before.is_none() { StatusCode::CREATED } else { StatusCode::OK };
    Ok((code, store.save(identity, stored).visible()))
}

fn change(
    store: &Mutex<Store>,
    admission: Option<&dyn Admission>,
    target: &Target,
    identity: &ObjectRef,
    verb: &'static str,
    next: impl FnOnce(&Stored) -> Result<Value, Refused>,
) -> Answer {
    let before = lock(store).get(identity).cloned().ok_or_else(|| not_found(identity))?;
    let mut object = next(&before)?;
    // Main resource and status are written apart.
    if target.kind.has_status {
        let (from, into) = if target.status { (&object, &before.object) } else { (&before.object, &object) };
        let status = from.get("status").cloned();
        let mut mixed = into.clone();
        if let Some(map) = mixed.as_object_mut() {
            map.remove("status");
            map.extend(status.map(|status| ("status".to_owned(), status)));
        }
        object = mixed;
    }
    if !target.status {
        object = admitted(store, admission, target, identity, object, Some(&before.object))?;
    }
    immutable(identity, Some(&before.object), &object)?;
    validate(target, identity, &object)?;
    let manager = target.parameter("fieldManager").unwrap_or("unknown").to_owned();
    let mut stored = before.clone();
    stored.ownership.update(&before.object, &object, &manager, target.status);
    stored.object = object;
    let mut store = lock(store);
    store.writes.push(Write { manager, verb, identity: identity.clone(), status: target.status });
    Ok((StatusCode::OK, store.save(identity, stored).visible()))
}

fn delete(
    store: &Mutex<Store>,
    admission: Option<&dyn Admission>,
    target: &Target,
    identity: &ObjectRef,
    request: &Request<Bytes>,
) -> Answer {
    let before = lock(store).get(identity).cloned().ok_or_else(|| not_found(identity))?;
    let options: Value = serde_json::from_slice(request.body()).unwrap_or_default();
    let wanted = options.pointer("/preconditions/uid").and_then(Value::as_str);
    let there = before.object.pointer("/metadata/uid").and_then(Value::as_str);
    if wanted.is_some() && wanted != there {
        return Err(refused(409, "Conflict", format!("{identity} has another UID than the precondition")));
    }
    if let (Some(admission), true) = (admission, target.kind.schema.is_some()) {
        admission.admit(identity, None, Some(&before.object))?;
    }
    let mut store = lock(store);
    let manager = target.parameter("fieldManager").unwrap_or("unknown").to_owned();
    store.writes.push(Write { manager, verb: "delete", identity: identity.clone(), status: false });
    store.delete(identity);
    Ok((StatusCode::OK, json!({"apiVersion": "v1", "kind": "Status", "status": "Success"})))
}

/// What comes between request and store: webhooks, then defaults and pruning by the schema, then validation.
fn admitted(
    store: &Mutex<Store>,
    admission: Option<&dyn Admission>,
    target: &Target,
    identity: &ObjectRef,
    mut object: Value,
    old: Option<&Value>,
) -> Result<Value, Refused> {
    if let Some(map) = object.as_object_mut() {
        map.insert("apiVersion".into(), identity.api_version.clone().into());
        map.insert("kind".into(), identity.kind.clone().into());
    }
    let namespace_there = identity.namespace.as_ref().is_none_or(|namespace| {
        lock(store).get(&ObjectRef::cluster("v1", "Namespace", namespace)).is_some() || namespace == "default"
    });
    if !namespace_there {
        let namespace = identity.namespace.as_deref().unwrap_or_default();
        return Err(refused(404, "NotFound", format!("namespaces {namespace:?} not found")));
    }
    let Some(schema) = &target.kind.schema else { return Ok(object) };
    schema::apply_defaults(schema, &mut object);
    schema::prune(schema, &mut object);
    if let Some(admission) = admission {
        object = admission.admit(identity, Some(&object), old)?.object.unwrap_or(object);
    }
    validate(target, identity, &object)?;
    Ok(object)
}

fn validate(target: &Target, identity: &ObjectRef, object: &Value) -> Result<(), Refused> {
    let Some(schema) = &target.kind.schema else { return Ok(()) };
    let violations = schema::violations(schema, object);
    if violations.is_empty() {
        return Ok(());
    }
    let listed: Vec<String> = violations.iter().map(|v| format!("{}: {}", v.path, v.message)).collect();
    let message = format!("{} {:?} is invalid: {}", identity.kind, identity.name, listed.join("; "));
    let causes = violations.into_iter().map(|v| (v.path, v.reason.to_owned(), v.message)).collect();
    Err(Refused { code: 422, reason: "Invalid".into(), message, causes })
}

/// Workloads keep their selector for life.
fn immutable(identity: &ObjectRef, before: Option<&Value>, after: &Value) -> Result<(), Refused> {
    let selector = |object: &Value| object.pointer("/spec/selector").cloned();
    let workload = matches!(identity.kind.as_str(), "DaemonSet" | "Deployment" | "StatefulSet" | "ReplicaSet");
    match before.and_then(selector) {
        Some(before) if workload && Some(&before) != selector(after).as_ref() => {
            let message =
                format!("{} {:?} is invalid: spec.selector: field is immutable", identity.kind, identity.name);
            let cause = ("spec.selector".into(), "FieldValueInvalid".into(), "field is immutable".into());
            Err(Refused { code: 422, reason: "Invalid".into(), message, causes: vec![cause] })
        }
        _ => Ok(()),
    }
}

/// What a client may not set on a new object.
fn strip(object: &mut Value, target: &Target) {
    edit_metadata(object, |metadata| {
        for key in ["uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "managedFields"] {
            metadata.remove(key);
        }
        match &target.namespace {
            Some(namespace) if target.kind.namespaced => {
                metadata.insert("namespace".into(), namespace.clone().into());
            }
            _ => {
                metadata.remove("namespace");
            }
        }
    });
    if let (Some(map), true, true) = (object.as_object_mut(), target.kind.has_status, target.kind.schema.is_some()) {
        map.remove("status");
    }
}

/// RFC 7386.
fn merge_patch(object: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    let Some(map) = object.as_object_mut() else { return };
    for (key, value) in patch {
        if value.is_null() {
            map.remove(key);
        } else {
            merge_patch(map.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

fn conflict(conflicts: &[Conflict]) -> Refused {
    let causes: Vec<(String, String, String)> = conflicts
        .iter()
        .map(|c| (c.field.clone(), "FieldManagerConflict".into(), format!("conflict with {:?}", c.manager)))
        .collect();
    let listed: Vec<String> = conflicts.iter().map(|c| format!("conflict with {:?}: {}", c.manager, c.field)).collect();
    let message = format!("Apply failed with {} conflicts: {}", conflicts.len(), listed.join("; "));
    Refused { code: 409, reason: "Conflict".into(), message, causes }
}

fn not_found(identity: &ObjectRef) -> Refused {
    refused(404, "NotFound", format!("{identity} not found"))
}

fn refused(code: u16, reason: &str, message: String) -> Refused {
    Refused { code, reason: reason.to_owned(), message, causes: Vec::new() }
}

fn status_of(refused: &Refused) -> Value {
    let causes: Vec<Value> = refused
        .causes
        .iter()
        .map(|(field, reason, message)| json!({"field": field, "reason": reason, "message": message}))
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": refused.code,
        "reason": refused.reason, "message": refused.message, "details": {"causes": causes},
    })
}
