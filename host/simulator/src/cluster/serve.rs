//! From a request to an answer: routing and reading. What changes something is in `write`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use operator_core::ObjectRef;
use serde_json::{Value, json};

use super::{
    Admission, Refused,
    refused::{not_found, refused, status_of},
    request::Target,
    store::Store,
    write::Writer,
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

pub(crate) type Answer = Result<(StatusCode, Value), Refused>;

/// Answers one request. Admission runs without the lock, as webhooks run beside an API server.
pub(crate) fn serve(
    store: &Mutex<Store>,
    admission: Option<&dyn Admission>,
    request: &Request<Bytes>,
) -> Response<Bytes> {
    if let Some(found) = lock(store).kinds.discovery(request.uri().path()) {
        return response(StatusCode::OK, &found);
    }
    let target = Target::parse(&lock(store).kinds, request.uri());
    let (status, body) = match answer(store, admission, request, target.as_ref()) {
        Ok(answer) => answer,
        Err(refused) => {
            let code = StatusCode::from_u16(refused.code).unwrap_or(StatusCode::BAD_REQUEST);
            (code, status_of(&refused, target.as_ref()))
        }
    };
    response(status, &body)
}

fn response(status: StatusCode, body: &Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}

fn answer(
    store: &Mutex<Store>,
    admission: Option<&dyn Admission>,
    request: &Request<Bytes>,
    target: Option<&Target>,
) -> Answer {
    let target =
        target.ok_or_else(|| refused(404, "NotFound", "the server could not find the requested resource".into()))?;
    if target.status && !target.kind.has_status {
        return Err(refused(404, "NotFound", format!("{} has no subresource status", target.kind.kind)));
    }
    if request.method() != Method::GET {
        match &mut lock(store).outage {
            Some(0) => {
                return Err(refused(
                    503,
                    "ServiceUnavailable",
                    "the server is currently unable to handle the request".into(),
                ));
            }
            Some(left) => *left -= 1,
            None => {}
        }
    }
    let writer = Writer::new(store, admission, target);
    match (request.method(), &target.name) {
        (&Method::GET, None) => Ok((StatusCode::OK, list(&lock(store), target))),
        (&Method::GET, Some(name)) => {
            let identity = target.identity(name);
            lock(store).get(&identity).map(|s| (StatusCode::OK, s.visible())).ok_or_else(|| not_found(&identity))
        }
        (&Method::POST, None) => writer.create(object(request)?),
        (&Method::PUT, Some(name)) => writer.replace(&target.identity(name), &object(request)?),
        (&Method::PATCH, Some(name)) => patch(&writer, &target.identity(name), request),
        (&Method::DELETE, Some(name)) => {
            let options = if request.body().is_empty() { json!({}) } else { object(request)? };
            writer.delete(&target.identity(name), &options)
        }
        _ => Err(refused(405, "MethodNotAllowed", "the server does not allow this method on the resource".into())),
    }
}

fn patch(writer: &Writer<'_>, identity: &ObjectRef, request: &Request<Bytes>) -> Answer {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match kind {
        "application/apply-patch+yaml" | "application/apply-patch+json" => writer.apply(identity, &object(request)?),
        "application/merge-patch+json" => writer.merge(identity, &object(request)?),
        "application/strategic-merge-patch+json" if writer.merges_strategically() => {
            writer.merge_strategically(identity, &object(request)?)
        }
        "application/json-patch+json" => writer.patch(identity, &body(request)?),
        other => Err(refused(415, "UnsupportedMediaType", format!("patches of type {other} are not supported"))),
    }
}

pub(crate) fn lock(store: &Mutex<Store>) -> MutexGuard<'_, Store> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

fn body(request: &Request<Bytes>) -> Result<Value, Refused> {
    serde_json::from_slice(request.body())
        .map_err(|error| refused(400, "BadRequest", format!("the body is no JSON: {error}")))
}

fn object(request: &Request<Bytes>) -> Result<Value, Refused> {
    let value = body(request)?;
    if value.is_object() { Ok(value) } else { Err(refused(400, "BadRequest", "the body is no object".into())) }
}

fn list(store: &Store, target: &Target) -> Value {
    let items: Vec<Value> = store
        .list(&target.kind.api_version, &target.kind.kind)
        .filter(|(identity, stored)| {
            target.namespace.as_ref().is_none_or(|namespace| identity.namespace.as_ref() == Some(namespace))
                && target.selects(identity, stored)
        })
        .map(|(_, stored)| {
            let mut item = stored.visible();
            // The list says what its elements are, unless they are custom resources.
            if let (Some(map), None) = (item.as_object_mut(), &target.kind.schema) {
                map.retain(|key, _| key != "apiVersion" && key != "kind");
            }
            item
        })
        .collect();
    let mut metadata = json!({"resourceVersion": store.version().to_string()});
    if let (Some(metadata), Some(_)) = (metadata.as_object_mut(), &target.kind.schema) {
        metadata.insert("continue".into(), "".into());
    }
    json!({
        "apiVersion": target.kind.api_version, "kind": format!("{}List", target.kind.kind),
        "metadata": metadata, "items": items,
    })
}
