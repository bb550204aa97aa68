//! What CAS answered, or why it did not. Nothing of what it says reaches a message: it may repeat the policy.

use operator_guest::{HttpResponse, Parent, QueryFailure, Snapshot, Trust};
use serde::Deserialize;
use serde_json::Value;

use super::{
    Place, Upload,
    belief::{Server, not_believed},
};
use crate::{
    policy::PolicyState,
    policy_text::{self, Head},
    problem::Problem,
};

/// Under which name the host tells the certificate that a server showed, beside each answer.
const CERTIFICATE: &str = "operator/server-certificate-sha256";

/// Why there is nothing to go by.
#[derive(Clone)]
pub(super) struct Failed {
    pub(super) state: PolicyState,
    pub(super) problem: Problem,
}

impl Failed {
    fn unreachable(reason: &'static str, message: String) -> Self {
        Self { state: PolicyState::Unreachable, problem: Problem::new(reason, message) }
    }

    fn failing(cas: &str, status: u16) -> Self {
        let message = format!("{cas} answers with status {status}; see its log; it is asked again");
        Self::unreachable("CASFailing", message)
    }

    fn unreadable(cas: &str, what: &str) -> Self {
        let message = format!("{cas} {what}; check that spec.casAddress is that of a CAS of version 5.8 or later");
        Self::unreachable("AnswerUnreadable", message)
    }
}

/// What came of one request.
pub(super) enum Reply<'a> {
    /// Nothing yet.
    NotYet,
    /// The server answered.
    Http(&'a HttpResponse),
    /// It did not.
    Failed(Failed),
}

/// What came of the request with this id.
pub(super) fn reply<'a, P: Parent>(
    snapshot: &'a Snapshot<P>,
    id: &str,
    place: &Place<'_>,
    server: &Server,
) -> Reply<'a> {
    match snapshot.http(id) {
        None => Reply::NotYet,
        Some(Ok(response)) => Reply::Http(response),
        Some(Err(failure)) => Reply::Failed(explain(&failure, certificate(snapshot, id).as_deref(), place, server)),
    }
}

/// The SHA-256 of the certificate that the server showed.
pub(super) fn certificate<P: Parent>(snapshot: &Snapshot<P>, id: &str) -> Option<String> {
    let extensions = &snapshot.answer(id)?.extensions;
    let (_, bytes) = extensions.iter().find(|(name, _)| name == CERTIFICATE)?;
    String::from_utf8(bytes.clone()).ok().filter(|hex| hex.len() == 64)
}

/// Why the first look at a server showed no certificate; none while it has not been looked at.
pub(super) fn not_met<P: Parent>(
    snapshot: &Snapshot<P>,
    id: &str,
    place: &Place<'_>,
    server: &Server,
) -> Option<Failed> {
    match reply(snapshot, id, place, server) {
        Reply::NotYet => None,
        Reply::Failed(failed) => Some(failed),
        Reply::Http(_) => Some(Failed::unreadable(place.cas, "answers without a certificate that could be kept")),
    }
}

fn explain(failure: &QueryFailure, seen: Option<&str>, place: &Place<'_>, server: &Server) -> Failed {
    let cas = place.cas;
    match (failure, &server.trust) {
        (QueryFailure::Denied(grant), _) => {
            let message = format!("the operator may not ask {cas}: {grant}");
            Failed::unreachable("NotGranted", message)
        }
        (QueryFailure::TimedOut, _) => {
            let message = format!("{cas} does not answer in time; see its pods and its log; it is asked again");
            Failed::unreachable("TimedOut", message)
        }
        (QueryFailure::NotFound(_) | QueryFailure::Failed(_), Trust::Ca(key)) if seen.is_none() => {
            let message = format!(
                "key {} of Secret {} in namespace {} gives no certificate to believe ({failure}); put one in PEM there",
                key.key, key.name, place.namespace
            );
            Failed { state: PolicyState::Untrusted, problem: Problem::new("TrustSecretUnusable", message) }
        }
        (QueryFailure::Unreachable(_) | QueryFailure::Failed(_), Trust::Pinned(wanted))
            if let Some(seen) = seen.filter(|seen| *seen != wanted.as_str()) =>
        {
            not_believed(seen, "", place, server)
        }
        (QueryFailure::Unreachable(why), Trust::System | Trust::Ca(_)) if let Some(seen) = seen => {
            not_believed(seen, why, place, server)
        }
        _ => {
            let message =
                format!("{cas} cannot be reached ({failure}); check spec.casAddress and CAS; it is asked again");
            Failed::unreachable("Unreachable", message)
        }
    }
}

/// What CAS tells of a session that it holds, or has just taken.
#[derive(Clone, Default)]
pub(super) struct Told {
    pub(super) hash: Option<String>,
    pub(super) revision: Option<String>,
}

/// How CAS stands to the session.
pub(super) enum Seen {
    /// It has not been asked yet, or not for long enough.
    NotYet,
    /// It answers, and nobody knows under which name to ask for the session.
    Alive,
    /// It holds no session of that name.
    Absent,
    /// It does not show it to whoever has no client certificate.
    Hidden,
    /// It holds one; whether to the letter this one, and what it tells of it.
    Holds { same: bool, told: Told },
    /// There is nothing to go by.
    Failed(Failed),
}

/// Reads the answer to the question for the session, or for the version when its name is not known.
pub(super) fn seen(reply: Reply<'_>, upload: &Upload<'_>) -> Seen {
    let response = match reply {
        Reply::NotYet => return Seen::NotYet,
        Reply::Failed(failed) => return Seen::Failed(failed),
        Reply::Http(response) => response,
    };
    match (response.status, upload.session.as_deref()) {
        (429 | 500.., _) => Seen::Failed(Failed::failing(upload.address, response.status)),
        (_, None) => Seen::Alive,
        (200, Some(name)) => held(response, name, upload),
        (404, _) => Seen::Absent,
        (401 | 403, _) => Seen::Hidden,
        (status, _) => {
            let what = format!("answers with status {status} when asked for a session");
            Seen::Failed(Failed::unreadable(upload.address, &what))
        }
    }
}

/// What CAS says of a session. The published pages do not tell the format: either the text alone, or an object around it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Document {
    session: Option<String>,
    hash: Option<String>,
    revision: Option<Value>,
}

fn held(response: &HttpResponse, name: &str, upload: &Upload<'_>) -> Seen {
    let text = std::str::from_utf8(&response.body).unwrap_or_default();
    let document: Document = serde_json::from_slice(&response.body).unwrap_or_default();
    let policy = document.session.as_deref().unwrap_or(text);
    let same = upload.text.is_some_and(|text| policy_text::is_same(text, policy));
    // The same text has the same name, and is long.
    if !same && Head::of(policy).name.as_deref() != Some(name) {
        return Seen::Failed(Failed::unreadable(upload.address, "gives an answer that is no session of that name"));
    }
    Seen::Holds { same, told: told(&document) }
}

/// What CAS says when it takes an upload.
pub(super) fn taken(response: &HttpResponse) -> Told {
    told(&serde_json::from_slice(&response.body).unwrap_or_default())
}

/// Only what has the shape of a hash or a number gets into the status.
fn told(document: &Document) -> Told {
    let plain =
        |text: &String| (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let revision = document.revision.as_ref().and_then(|value| match value {
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        _ => None,
    });
    Told { hash: document.hash.clone().filter(plain), revision: revision.filter(plain) }
}

/// Whether CAS holds a session, as far as it shows. None while that is not known.
pub(super) fn exists(reply: Reply<'_>, cas: &str) -> Option<Result<bool, Failed>> {
    match reply {
        Reply::NotYet => None,
        Reply::Failed(failed) => Some(Err(failed)),
        Reply::Http(response) => Some(match response.status {
            404 => Ok(false),
            status @ (429 | 500..) => Err(Failed::failing(cas, status)),
            // One that is hidden is there.
            _ => Ok(true),
        }),
    }
}

/// Why CAS did not take an upload; none when it did.
pub(super) fn refusal(response: &HttpResponse, upload: &Upload<'_>) -> Option<Failed> {
    let (cas, status, path) = (upload.address, response.status, upload.path);
    let refused = |state, reason, message| Some(Failed { state, problem: Problem::new(reason, message) });
    match status {
        200..300 => None,
        429 | 500 | 502.. => Some(Failed::failing(cas, status)),
        409 | 412 => {
            let message = format!(
                "{cas} holds another version under the name of this session (status {status}): an update has to name as \
                 predecessor the hash of the version that it replaces, and be signed or encrypted again. If an earlier try was cut \
                 off, it may also be this very policy"
            );
            refused(PolicyState::Conflict, "VersionRefused", message)
        }
        401 | 403 => {
            let message = format!(
                "{cas} does not allow it (status {status}): its signers must have the right to create or update the session, in the \
                 access policy of its namespace or of the version before"
            );
            refused(PolicyState::Refused, "NotAllowed", message)
        }
        404 | 405 | 501 => {
            let message = format!(
                "{cas} takes nothing at {path} (status {status}): it may be older than 5.8 or use another path, or the namespace of \
                 the session is missing"
            );
            refused(PolicyState::Refused, "NotTaken", message)
        }
        400..500 => {
            let message = format!(
                "{cas} says that the policy is wrong (status {status}); see the log of CAS, and sign or encrypt it again with the CLI \
                 of the version of CAS"
            );
            refused(PolicyState::Refused, "PolicyRefused", message)
        }
        _ => Some(Failed::unreadable(cas, &format!("answers with status {status} to an upload"))),
    }
}
