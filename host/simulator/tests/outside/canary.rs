//! A marked Secret wherever a user or a module can name one, and every failure that this can lead to: the mark is in nothing that is told
//! to the module, and so in no status, condition, event or metric, nor in the log.

use std::{
    io,
    sync::{Mutex, PoisonError},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use operator_core::{HeaderValue, contract::extension::REGISTRY_CREDENTIALS};

use super::{
    server::{HANGS, Server, message},
    *,
};

/// What must not be told.
const MARK: &str = "c4nary-0f-the-secret";

/// The mark as it would show in text, in base64 at any offset, in hexadecimal digits, and as a list of bytes, which is how readers of PEM
/// quote a line.
fn is_in(text: &str) -> bool {
    let lists = MARK.bytes().take(6).map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ");
    let encoded = (0..3).map(|at| BASE64_STANDARD.encode(format!("{}{MARK}", "x".repeat(at))));
    let encoded = encoded.map(|text| text[4..20].to_owned());
    text.contains(MARK)
        || text.contains(&hex::encode(MARK))
        || text.contains(&lists)
        || encoded.into_iter().any(|e| text.contains(&e))
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Contents of a Secret that are wrong in every way that readers tell apart.
fn contents(good: &str) -> Vec<String> {
    let body = BASE64_STANDARD.encode(MARK.repeat(4));
    let docker = |entry: &str| format!(r#"{{"auths": {{"127.0.0.1": {entry}}}}}"#);
    vec![
        MARK.to_owned(),
        format!("-----BEGIN {MARK}\n"),
        format!("-----BEGIN CERTIFICATE-----\n{MARK}\n-----END CERTIFICATE-----\n"),
        format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"),
        format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END {MARK}-----\n"),
        format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n"),
        format!("{good}-----BEGIN {MARK}\n"),
        format!("{MARK}\n{MARK}"),
        format!("\u{1}{MARK}"),
        format!("{{\"auths\": {MARK}"),
        format!("{{\"auths\": \"{MARK}\"}}"),
        docker(&format!("\"{MARK}\"")),
        docker(&format!("{{\"auth\": [\"{MARK}\"]}}")),
        docker(&format!("{{\"auth\": \"{MARK}\\n\"}}")),
        docker(&format!("{{\"username\": \"{MARK}\", \"password\": 1}}")),
    ]
}

/// Requests that name the Secret in each place where one can be named.
fn queries(server: &Server) -> Vec<Query> {
    let marked = SecretKey { name: "marked".into(), key: "value".into() };
    let believed = request("GET", &server.url, Trust::Pinned(server.digest.clone()));
    let header = ("authorization".to_owned(), HeaderValue::Secret(marked.clone()));
    let missing = SecretKey { name: "marked".into(), key: "other".into() };
    let pull = vec![(REGISTRY_CREDENTIALS.to_owned(), b"pull".to_vec())];
    vec![
        query(request("GET", &server.url, Trust::Ca(marked.clone()))),
        query(HttpRequest { headers: vec![header.clone()], ..believed.clone() }),
        query(HttpRequest { headers: vec![header.clone()], ..request("GET", "http://127.0.0.1:1", Trust::System) }),
        query(HttpRequest { headers: vec![header], trust: Trust::Pinned("0".repeat(64)), ..believed.clone() }),
        query(request("GET", &server.url, Trust::Ca(missing))),
        with_extensions(believed, pull),
    ]
}

#[tokio::test]
async fn no_failure_tells_what_a_secret_holds() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    // All tasks of this test run on its one thread.
    let _subscribed = tracing::subscriber::set_default(subscriber);
    tracing::trace!("the log is heard");
    drive().await;
    let log = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(log.contains("the log is heard"), "{log}");
    let told = log.lines().find(|line| is_in(line));
    assert_eq!(told, None, "the log tells it");
}

async fn drive() {
    let replies = [
        message(401, &[("www-authenticate", "Basic realm=\"r\"")], ""),
        message(401, &[("www-authenticate", "Bearer realm=\"https://elsewhere.example.org/token\"")], ""),
        message(500, &[], "no"),
        "nonsense\r\n\r\n".to_owned(),
        HANGS.to_owned(),
    ];
    for (at, reply) in replies.into_iter().enumerate() {
        let hangs = reply == HANGS;
        let server = Server::secure(move |_| reply.clone()).await;
        for content in contents(&server.authority) {
            for query in queries(&server) {
                let query = Query { timeout: if hangs { 1 } else { 10 }, ..query };
                // What takes a second each is done with one content.
                if hangs && !content.starts_with(MARK) {
                    continue;
                }
                let mut stage = Stage::reaching(&[&server]);
                stage.secret("marked", "Opaque", "value", &content);
                stage.secret("pull", "Opaque", ".dockerconfigjson", &content);
                let found = stage.found(&query).await;
                let told = format!("{found:?} {:?}", found.outcome.as_ref().err().map(ToString::to_string));
                assert!(!is_in(&told), "reply {at}, content {content:?}: {told}");
            }
        }
    }
}

#[test]
fn the_mark_is_found_in_every_form_in_which_it_could_be_told() {
    for text in [
        format!("a {MARK} b"),
        BASE64_STANDARD.encode(format!("ab{MARK}cd")),
        hex::encode(format!("x{MARK}")),
        format!("{:?}", MARK.as_bytes()),
    ] {
        assert!(is_in(&text), "{text}");
    }
    assert!(!is_in("nothing"));
}
