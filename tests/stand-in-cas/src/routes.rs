//! What is answered to which request.

use http_body_util::{BodyExt, Collected, Full, Limited};
use hyper::{
    Method, Request, Response,
    body::{Bytes, Incoming},
    header::{CONTENT_TYPE, HeaderValue},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Mode,
    server::Shared,
    store::{Refusal, SIGNED_SESSIONS, Version, Who, hash},
};

/// What no CAS would say.
const LABEL: &str = "not a CAS: a stand-in for tests";
/// Larger policies are refused.
const LARGEST: usize = 4 << 20;

type Answer = Response<Full<Bytes>>;

/// Answers one request, in the way of the current mode. What is about the stand-in itself is never faulty.
pub(crate) async fn answer(shared: &Shared, who: &Who, request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let query = parts.uri.query().unwrap_or_default().to_owned();
    // A body that does not arrive is an empty one.
    let body = Limited::new(body, LARGEST).collect().await.map(Collected::to_bytes).unwrap_or_default();
    if let Some(rest) = path.strip_prefix("/stand-in/") {
        return own(shared, &parts.method, rest, &body);
    }
    shared.count(format!("{} {path}", parts.method));
    let mode = shared.mode();
    match mode {
        Mode::Slow(milliseconds) => tokio::time::sleep(std::time::Duration::from_millis(milliseconds)).await,
        Mode::Hangs => std::future::pending().await,
        Mode::Failing => return told(500, &json!({"error": "failing, as told"})),
        Mode::Garbage => return text(200, vec![0xff, 0xfe, b'{', 0, 0x80]),
        _ => {}
    }
    let asked = Asked { shared, who, mode, path: &path, query: &query, body: &body };
    asked.answer(&parts.method).unwrap_or_else(|refusal| told(refusal.status(), &json!({"error": refusal.to_string()})))
}

struct Asked<'a> {
    shared: &'a Shared,
    who: &'a Who,
    mode: Mode,
    path: &'a str,
    query: &'a str,
    body: &'a [u8],
}

impl Asked<'_> {
    fn answer(&self, method: &Method) -> Result<Answer, Refusal> {
        let store = &self.shared.store;
        let under = |prefix: &str| self.path.strip_prefix(prefix);
        match (method, self.path) {
            (&Method::GET, "/v1/version") => {
                Ok(told(200, &json!({"version": env!("CARGO_PKG_VERSION"), "stand_in": LABEL})))
            }
            (&Method::GET, "/v1/attestation") => Ok(self.attestation()),
            (&Method::GET, _) if let Some(name) = under("/v1/values/session=") => {
                Ok(told(200, &json!({"values": store.values(name)?})))
            }
            (&Method::GET, _) if let Some(name) = under("/v1/sessions/") => {
                let version = self.read(name, self.parameter("hash"))?;
                Ok(told(200, &json!({"session": version.text, "hash": version.hash, "stand_in": LABEL})))
            }
            (&Method::GET, _) if let Some(name) = under("/session/") => {
                Ok(text(200, self.read(name, None)?.text.into()))
            }
            (&Method::POST, "/session") => {
                self.may_upload()?;
                if *self.who == Who::Anonymous {
                    return Err(Refusal::Forbidden("show a client certificate".to_owned()));
                }
                let policy = std::str::from_utf8(self.body);
                let policy = policy.map_err(|_| Refusal::Malformed("the policy is no text".to_owned()))?;
                Ok(taken(&store.upload(policy, self.who.clone())?))
            }
            (&Method::PUT, SIGNED_SESSIONS) => {
                self.may_upload()?;
                Ok(taken(&store.upload_signed(self.body)?))
            }
            (&Method::PUT, "/v1/encrypted_sessions") => {
                self.may_upload()?;
                Ok(taken(&store.upload_encrypted(self.body, self.shared.encryption_key())?))
            }
            _ => Err(Refusal::Missing(format!("nothing is at {}", self.path))),
        }
    }

    fn may_upload(&self) -> Result<(), Refusal> {
        if self.mode == Mode::Refuses { Err(Refusal::Forbidden("refused, as told".to_owned())) } else { Ok(()) }
    }

    fn read(&self, name: &str, hash: Option<&str>) -> Result<Version, Refusal> {
        if self.mode == Mode::Hides && *self.who == Who::Anonymous {
            return Err(Refusal::Forbidden("hidden, as told".to_owned()));
        }
        self.shared.store.read(name, hash, self.who)
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }

    /// How CAS is attested is not public. The stand-in answers with a report that depends on the nonce, and proves nothing.
    fn attestation(&self) -> Answer {
        if self.mode == Mode::Unattestable {
            return told(503, &json!({"error": "unattestable, as told"}));
        }
        let nonce = self.parameter("nonce").unwrap_or_default();
        let report = hash(&format!("{nonce} {}", self.shared.encryption_key()));
        told(200, &json!({"nonce": nonce, "report": report, "stand_in": LABEL}))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RollBack {
    keep: usize,
}

/// What tests that cannot call the library tell a stand-in in a container.
fn own(shared: &Shared, method: &Method, path: &str, body: &[u8]) -> Answer {
    let wrong = |error: serde_json::Error| told(400, &json!({"error": error.to_string()}));
    match (method, path) {
        (&Method::PUT, "mode") => match serde_json::from_slice::<Mode>(body) {
            Ok(mode) => {
                shared.set_mode(mode);
                told(200, &json!({"mode": shared.mode()}))
            }
            Err(error) => wrong(error),
        },
        (&Method::PUT, "roll-back") => match serde_json::from_slice::<RollBack>(body) {
            Ok(RollBack { keep }) => {
                shared.store.roll_back(keep);
                told(200, &json!({"versions": shared.store.len()}))
            }
            Err(error) => wrong(error),
        },
        (&Method::PUT, "provision") => {
            shared.provision();
            told(200, &json!({"provisioned": true}))
        }
        (&Method::GET, "counts") => told(200, &json!(shared.counts())),
        (&Method::GET, "keys") => told(
            200,
            &json!({"certificate": shared.identity().pem, "sha256": shared.identity().sha256, "encryption_key": shared.encryption_key()}),
        ),
        _ => told(404, &json!({"error": "the stand-in has mode, roll-back, provision, counts and keys"})),
    }
}

fn taken(version: &Version) -> Answer {
    let status = if version.predecessor.is_some() { 200 } else { 201 };
    told(status, &json!({"hash": version.hash, "predecessor": version.predecessor, "stand_in": LABEL}))
}

fn told(status: u16, body: &Value) -> Answer {
    let mut answer = text(status, body.to_string().into_bytes());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

fn text(status: u16, body: Vec<u8>) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    // All statuses here are from 200 to 503.
    *answer.status_mut() = status.try_into().unwrap_or_default();
    answer.headers_mut().insert("x-stand-in", HeaderValue::from_static(LABEL));
    answer
}
