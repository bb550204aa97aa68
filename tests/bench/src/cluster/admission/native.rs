//! The same judgement as a webhook that users would write: axum, and the code of the module without a sandbox around it. The envelope is read
//! into the few fields that are needed, and the object by the module's own types.

use std::{net::SocketAddr, path::Path};

use axum::{
    Router,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::post,
};
use bytes::Bytes;
use hyper::{Request, body::Incoming, service::service_fn};
use las::LasModule;
use operator_guest::{ObjectRef, Operation, Phase, User, native, wire};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};
use tower::ServiceExt;

use super::{constant::listen, reviews::VALIDATE};
use crate::Error;

#[derive(Deserialize)]
struct Review<'a> {
    #[serde(borrow)]
    request: Asked<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked<'a> {
    uid: String,
    kind: Kind,
    #[serde(default)]
    name: String,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
    user_info: UserInfo,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Deserialize)]
struct Kind {
    group: String,
    version: String,
    #[serde(rename = "kind")]
    name: String,
}

#[derive(Deserialize)]
struct UserInfo {
    username: String,
    #[serde(default)]
    groups: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    api_version: &'static str,
    kind: &'static str,
    response: Response,
}

#[derive(Serialize)]
struct Response {
    uid: String,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// Serves until the process that started this one is gone.
pub(crate) fn serve(folder: &Path, tell: impl FnOnce(SocketAddr)) -> Result<(), Error> {
    let router = Router::new().route(VALIDATE, post(judge));
    listen(folder, tell, service_fn(move |request: Request<Incoming>| router.clone().oneshot(request)))
}

async fn judge(body: Bytes) -> axum::response::Response {
    match judged(&body).and_then(|answer| serde_json::to_vec(&answer)) {
        Ok(answer) => ([(CONTENT_TYPE, "application/json")], answer).into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}

fn judged(body: &[u8]) -> Result<Answer, serde_json::Error> {
    let Review { request } = serde_json::from_slice(body)?;
    let Kind { group, version, name: kind } = request.kind;
    let identity = ObjectRef { api_version: format!("{group}/{version}"), kind, namespace: None, name: request.name };
    let verdict = native::admit::<LasModule>(wire::Request {
        phase: Phase::Validate,
        operation: Operation::Create,
        identity: identity.clone(),
        subresource: None,
        object: request.object.map(|object| object.get().as_bytes().to_vec()),
        old_object: None,
        user: User { name: request.user_info.username, groups: request.user_info.groups },
        dry_run: request.dry_run,
        settings: b"{}".to_vec(),
        extensions: Vec::new(),
    });
    Ok(answer(&request.uid, &identity, verdict.unwrap_or_else(|failure| unusable(&format!("{failure:?}")))))
}

fn unusable(message: &str) -> wire::Verdict {
    let denial = wire::Denial { code: 403, reason: "Failed".into(), message: message.to_owned(), causes: Vec::new() };
    wire::Verdict {
        denied: Some(denial),
        object: None,
        before: None,
        warnings: Vec::new(),
        audit: Vec::new(),
        extensions: Vec::new(),
    }
}

fn answer(uid: &str, identity: &ObjectRef, verdict: wire::Verdict) -> Answer {
    let response = Response {
        uid: uid.to_owned(),
        allowed: verdict.denied.is_none(),
        status: verdict.denied.map(|denial| status(identity, &denial)),
        warnings: verdict.warnings,
    };
    Answer { api_version: "admission.k8s.io/v1", kind: "AdmissionReview", response }
}

/// What is told of a refusal.
fn status(identity: &ObjectRef, denial: &wire::Denial) -> Value {
    let causes: Vec<_> = denial
        .causes
        .iter()
        .map(|cause| json!({"reason": cause.reason, "message": cause.message, "field": cause.field}))
        .collect();
    json!({"status": "Failure", "code": denial.code, "reason": denial.reason, "message": denial.message,
        "details": {"name": identity.name, "kind": identity.kind, "causes": causes}})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::admission::reviews::{bad_specs, body};

    #[test]
    fn the_native_webhook_allows_a_good_las_and_says_what_is_wrong_with_a_bad_one() {
        let las = |spec: &Value| json!({"apiVersion": "base.scone.cloud/v1beta1", "kind": "LAS", "metadata": {"name": "las"}, "spec": spec});
        let told = |spec: &Value| {
            serde_json::to_value(judged(body(&las(spec)).as_bytes()).unwrap()).unwrap()["response"].take()
        };
        let good = told(&json!({"dcapKey": "0".repeat(32)}));
        assert_eq!(good, json!({"uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "allowed": true}));
        for bad in bad_specs(&json!({})) {
            let bad = told(&bad);
            assert_eq!((&bad["allowed"], &bad["status"]["code"]), (&json!(false), &json!(422)), "{bad}");
        }
    }
}
