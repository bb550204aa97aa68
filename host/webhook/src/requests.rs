//! Requests to the API server as plain JSON. Only the files that may write use what writes here (invariant I3).

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Limited};
use kube::client::Body;
use serde_json::Value;

use crate::Error;

/// Largest answer that is read, in bytes: a CRD with its schemas fits.
const ANSWER_LIMIT: usize = 8 * 1024 * 1024;
/// One request.
const PATIENCE: Duration = Duration::from_secs(15);
/// Who owns the fields that are written here.
pub(crate) const MANAGER: &str = "operator.scone.cloud-webhook";

/// How a body is to be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// An object, or options of a deletion.
    Json,
    /// Server-side apply.
    Apply,
    /// A merge patch.
    Merge,
}

impl Form {
    fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Apply => "application/apply-patch+yaml",
            Self::Merge => "application/merge-patch+json",
        }
    }
}

/// An object, or none when there is none.
pub(crate) async fn get(client: &kube::Client, path: &str) -> Result<Option<Value>, Error> {
    match send(client, "get", Method::GET, path, Form::Json, None).await {
        Ok((_, value)) => Ok(Some(value)),
        Err(error) if error.is(404) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Sends a request, and gives the headers and the body of its answer. `verb` is for people.
pub(crate) async fn send(
    client: &kube::Client,
    verb: &'static str,
    method: Method,
    path: &str,
    form: Form,
    body: Option<&Value>,
) -> Result<(HeaderMap, Value), Error> {
    let place = || path.split('?').next().unwrap_or_default().to_owned();
    let unanswered = |why: String| Error::Unanswered { verb, place: place(), why };
    let bytes = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
    let request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, form.content_type());
    let request = request.body(Body::from(bytes.to_vec())).map_err(|error| unanswered(error.to_string()))?;
    let exchange = async {
        let (head, body) = client.send(request).await.map_err(|error| unanswered(error.to_string()))?.into_parts();
        let body = Limited::new(body, ANSWER_LIMIT).collect().await.map_err(|error| unanswered(error.to_string()))?;
        Ok((head, body.to_bytes()))
    };
    let answered = tokio::time::timeout(PATIENCE, exchange).await;
    let (head, body) =
        answered.unwrap_or_else(|_| Err(unanswered(format!("no answer in {} s", PATIENCE.as_secs()))))?;
    // An answer that is no JSON (a proxy's page) may hold anything: its text is not shown.
    let value: Option<Value> = serde_json::from_slice(&body).ok();
    if head.status.is_success() {
        let value = value.ok_or_else(|| unanswered("the answer is no JSON".to_owned()))?;
        return Ok((head.headers, value));
    }
    let text = |key: &str| value.as_ref().and_then(|value| value.get(key)?.as_str()).unwrap_or_default().to_owned();
    let (reason, message) = (text("reason"), text("message"));
    Err(Error::Refused { verb, place: place(), code: head.status.as_u16(), reason, message })
}
