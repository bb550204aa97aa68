//! A marked Secret wherever a user or a module can name one, and every failure that this can lead to: the mark is in nothing that is told
//! to the module, and so in no status, condition, event or metric, nor in the log.

use std::{
    io,
    sync::{Mutex, PoisonError},
};

use operator_core::{HeaderValue, contract::extension::REGISTRY_CREDENTIALS};
use test_support::canary::{self, MARK};

use super::{
    server::{HANGS, Server, message},
    *,
};

/// What is logged.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Hears all log lines of this thread from now on, until the guard goes.
    pub(crate) fn heard() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        // All tasks of a test run on its one thread.
        (log, tracing::subscriber::set_default(subscriber))
    }

    /// All of it so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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
    let (log, _heard) = Log::heard();
    tracing::trace!("the log is heard");
    drive().await;
    let log = log.text();
    assert!(log.contains("the log is heard"), "{log}");
    assert_eq!(canary::told(&log), None, "the log tells it");
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
        for content in canary::contents(&server.authority, "127.0.0.1") {
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
                assert!(!canary::is_told(&told), "reply {at}, content {content:?}: {told}");
            }
        }
    }
}
