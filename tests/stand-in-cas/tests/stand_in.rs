//! What a client meets: requests over TLS, as anybody sends them.
#![expect(clippy::unwrap_used, reason = "the helpers of tests may do what tests may")]

use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use serde_json::{Value, json};
use stand_in_cas::{Mode, Options, SIGNED_SESSIONS, StandIn, encrypt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Who believes the stand-in's certificate, with or without one of its own.
fn client(running: &StandIn, own: bool) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(running.certificate_pem().as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    if !own {
        return config.with_no_client_auth();
    }
    let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["me".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    config.with_client_auth_cert(vec![cert.der().clone()], key).unwrap()
}

/// Status and body, or why there is no connection.
async fn send(
    running: &StandIn,
    config: ClientConfig,
    method: &str,
    path: &str,
    body: impl Into<Bytes>,
) -> Result<(u16, Bytes), String> {
    let stream = TcpStream::connect(("127.0.0.1", running.port())).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder().method(method).uri(path).header("host", "localhost");
    let response = sender.send_request(request.body(Full::new(body.into())).unwrap()).await.unwrap();
    assert!(response.headers()["x-stand-in"].to_str().unwrap().starts_with("not a CAS"), "it says what it is");
    let status = response.status().as_u16();
    Ok((status, response.into_body().collect().await.unwrap().to_bytes()))
}

async fn ask(running: &StandIn, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body).unwrap() };
    let (status, body) = send(running, client(running, false), method, path, body).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

fn signed(policy: &str) -> Value {
    json!({"session": policy, "signatures": [{"signer": "me", "signature": "00"}]})
}

const OPEN: &str = "name: team\naccess_policy: {read: [ANY]}\n";

#[tokio::test]
async fn a_signed_session_is_taken_and_read_back_with_its_hash() {
    let running = StandIn::start().await.unwrap();
    let (status, taken) = ask(&running, "PUT", SIGNED_SESSIONS, &signed(OPEN)).await;
    assert_eq!(status, 201);
    let (status, read) = ask(&running, "GET", "/v1/sessions/team", &Value::Null).await;
    assert_eq!((status, read["session"].as_str().unwrap(), &read["hash"]), (200, OPEN, &taken["hash"]));
    let path = format!("/v1/sessions/team?hash={}", taken["hash"].as_str().unwrap());
    assert_eq!(ask(&running, "GET", &path, &Value::Null).await.0, 200);
    assert_eq!(ask(&running, "PUT", SIGNED_SESSIONS, &signed("name: team\n")).await.0, 409);
}

#[tokio::test]
async fn an_encrypted_session_is_taken_with_the_key_of_the_stand_in() {
    let running = StandIn::start().await.unwrap();
    let body = |key: &str| json!({"encrypted_session": encrypt(OPEN), "encryption_key": key});
    assert_eq!(ask(&running, "PUT", "/v1/encrypted_sessions", &body("00")).await.0, 400);
    assert_eq!(ask(&running, "PUT", "/v1/encrypted_sessions", &body(running.encryption_key())).await.0, 201);
    assert_eq!(running.versions(), 2);
}

#[tokio::test]
async fn the_old_endpoints_want_a_client_certificate_and_a_policy_as_it_is() {
    let running = StandIn::start().await.unwrap();
    let anonymous = send(&running, client(&running, false), "POST", "/session", "name: mine\n").await.unwrap();
    assert_eq!(anonymous.0, 403);
    let me = client(&running, true);
    assert_eq!(send(&running, me.clone(), "POST", "/session", "name: mine\n").await.unwrap().0, 201);
    let read = send(&running, me, "GET", "/session/mine", "").await.unwrap();
    assert_eq!((read.0, &read.1[..]), (200, b"name: mine\n".as_slice()));
    assert_eq!(send(&running, client(&running, false), "GET", "/session/mine", "").await.unwrap().0, 403);
}

#[tokio::test]
async fn a_provisioned_one_has_the_marker_and_another_has_not() {
    let running = StandIn::start().await.unwrap();
    assert_eq!(ask(&running, "GET", "/v1/sessions/provisioned", &Value::Null).await.0, 200);
    let bare = StandIn::with(Options { provisioned: false, ..Options::default() }).await.unwrap();
    assert_eq!(ask(&bare, "GET", "/v1/sessions/provisioned", &Value::Null).await.0, 404);
}

#[tokio::test]
async fn public_values_version_and_attestation_are_for_anybody() {
    let running = StandIn::start().await.unwrap();
    let policy = "name: a\nsecrets: [{name: key, kind: ascii, value: open, export_public: true}]\n";
    ask(&running, "PUT", SIGNED_SESSIONS, &signed(policy)).await;
    let (_, values) = ask(&running, "GET", "/v1/values/session=a", &Value::Null).await;
    assert_eq!(values["values"]["key"]["value"], "open");
    assert!(ask(&running, "GET", "/v1/version", &Value::Null).await.1["stand_in"].is_string());
    let (one, other) = ("/v1/attestation?nonce=1", "/v1/attestation?nonce=2");
    let (one, other) = (ask(&running, "GET", one, &Value::Null).await, ask(&running, "GET", other, &Value::Null).await);
    assert_ne!(one.1["report"], other.1["report"]);
    running.set_mode(Mode::Unattestable);
    assert_eq!(ask(&running, "GET", "/v1/attestation", &Value::Null).await.0, 503);
}

#[tokio::test]
async fn every_fault_is_as_its_name_says() {
    let running = StandIn::start().await.unwrap();
    let version = async || send(&running, client(&running, false), "GET", "/v1/version", "").await;
    running.set_mode(Mode::Failing);
    assert_eq!(version().await.unwrap().0, 500);
    running.set_mode(Mode::Garbage);
    assert!(serde_json::from_slice::<Value>(&version().await.unwrap().1).is_err());
    running.set_mode(Mode::Refuses);
    assert_eq!(ask(&running, "PUT", SIGNED_SESSIONS, &signed(OPEN)).await.0, 403);
    assert_eq!(version().await.unwrap().0, 200, "it still answers");
    running.set_mode(Mode::Hides);
    assert_eq!(ask(&running, "GET", "/v1/sessions/provisioned", &Value::Null).await.0, 403);
    running.set_mode(Mode::Slow(1));
    assert_eq!(version().await.unwrap().0, 200);
    running.set_mode(Mode::WrongCertificate);
    assert!(version().await.unwrap_err().contains("certificate"));
}

#[tokio::test]
async fn one_that_hangs_never_answers() {
    let running = StandIn::with(Options { mode: Mode::Hangs, ..Options::default() }).await.unwrap();
    let answer = send(&running, client(&running, false), "GET", "/v1/version", "");
    assert!(tokio::time::timeout(std::time::Duration::from_millis(200), answer).await.is_err());
    assert_eq!(running.counts()["GET /v1/version"], 1, "it was asked all the same");
}

#[tokio::test]
async fn what_is_about_itself_is_told_in_every_mode() {
    let running = StandIn::with(Options { mode: Mode::Hangs, ..Options::default() }).await.unwrap();
    assert_eq!(ask(&running, "PUT", "/stand-in/mode", &json!({"slow": 1})).await.1, json!({"mode": {"slow": 1}}));
    assert_eq!(ask(&running, "PUT", "/stand-in/mode", &json!("nonsense")).await.0, 400);
    ask(&running, "PUT", SIGNED_SESSIONS, &signed(OPEN)).await;
    assert_eq!(ask(&running, "GET", "/stand-in/counts", &Value::Null).await.1[format!("PUT {SIGNED_SESSIONS}")], 1);
    assert_eq!(ask(&running, "PUT", "/stand-in/roll-back", &json!({"keep": 1})).await.1["versions"], 1);
    assert_eq!(ask(&running, "GET", "/v1/sessions/team", &Value::Null).await.0, 404);
    let keys = ask(&running, "GET", "/stand-in/keys", &Value::Null).await.1;
    assert_eq!(keys["sha256"], running.certificate_sha256());
}

#[tokio::test]
async fn a_stand_in_that_is_dropped_is_gone() {
    let running = StandIn::start().await.unwrap();
    let port = running.port();
    drop(running);
    // The port is closed once the runtime has dropped the task.
    while TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let running = StandIn::start().await.unwrap();
    let listen = format!("127.0.0.1:{}", running.port());
    let error = StandIn::with(Options { listen: listen.clone(), ..Options::default() }).await.unwrap_err();
    assert!(error.to_string().contains(&listen), "{error}");
}
