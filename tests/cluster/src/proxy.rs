//! A plain HTTP proxy in front of an API server, which a test lets delay, refuse, cut or swallow requests.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use kube::Client;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::{Error, exec};

/// Largest request that is passed on, in bytes.
const LIMIT: usize = 4 * 1024 * 1024;

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes through.
    Pass,
    /// It goes through later.
    Delay(Duration),
    /// The server is not asked; the answer is a `Status` with this code.
    Refuse(u16),
    /// The server is not asked, and there is no answer.
    Swallow,
    /// The server does it, and there is no answer.
    Mute,
    /// The server is not asked; the answer is a watch that tells at once that it is too old, as API servers do.
    Expire,
    /// The server is not asked; the answer is this text, such as the log of a pod that nobody runs.
    Text(String),
    /// The server is not asked; a command in a pod ends with this code, and printed this.
    Command(i32, String),
}

/// Decides about a request: its method, and its path with the query.
pub type Decide = Arc<dyn Fn(&str, &str) -> Fate + Send + Sync>;

/// A running proxy. It ends when this is dropped.
pub struct Proxy {
    address: SocketAddr,
    hole: watch::Sender<Hole>,
    cuts: watch::Sender<u64>,
    task: JoinHandle<()>,
}

/// What swallows everything at times.
#[derive(Clone, Copy, Default)]
struct Hole {
    open: bool,
    /// How often it has been open.
    times: u64,
}

#[derive(Clone)]
struct Shared {
    client: Client,
    decide: Decide,
    hole: watch::Receiver<Hole>,
    cuts: watch::Receiver<u64>,
}

impl Proxy {
    /// Starts in front of whatever `client` talks to, as whoever it is.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn start(client: Client, decide: Decide) -> Result<Self, Error> {
        let none = |source| Error::Io { what: "there is no free port".to_owned(), source };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(none)?;
        let address = listener.local_addr().map_err(none)?;
        let ((hole, holes), (cuts, cut)) = (watch::channel(Hole::default()), watch::channel(0));
        let shared = Shared { client, decide, hole: holes, cuts: cut };
        let router = Router::new().fallback(forward).with_state(shared);
        let task = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Ok(Self { address, hole, cuts, task })
    }

    /// A kubeconfig whose server is this proxy.
    pub fn kubeconfig(&self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
            "clusters": [{"name": "proxy", "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "nobody", "user": {}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "nobody"}}],
        })
    }

    /// While silent, connections stay open and nothing comes through them. What was under way, or was asked meanwhile, never gets an
    /// answer, as behind a router that has forgotten its connections.
    pub fn silence(&self, silent: bool) {
        self.hole.send_modify(|hole| *hole = Hole { open: silent, times: hole.times + u64::from(silent) });
    }

    /// Ends every answer that is still coming, such as those of watches.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    /// Never comes back when something was swallowed since the hole was seen last.
    async fn heard(&self, seen: Hole) {
        let now = *self.hole.borrow();
        if now.open || now.times != seen.times {
            std::future::pending::<()>().await;
        }
    }
}

async fn forward(State(shared): State<Shared>, request: Request) -> Response {
    let seen = *shared.hole.borrow();
    // From before the decision: a watch that was let pass, and not answered yet, is cut as well.
    let mut cuts = shared.cuts.clone();
    cuts.mark_unchanged();
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let fate = if seen.open { Fate::Swallow } else { (shared.decide)(request.method().as_str(), &path) };
    let is_mute = fate == Fate::Mute;
    match fate {
        Fate::Pass | Fate::Mute => {}
        Fate::Delay(time) => tokio::time::sleep(time).await,
        Fate::Refuse(code) => return refuse(code),
        Fate::Expire => return expire(),
        Fate::Text(text) => return text.into_response(),
        Fate::Command(code, printed) => return exec::answer(request, code, printed),
        Fate::Swallow => return std::future::pending().await,
    }
    let answer = pass_on(&shared, seen, cuts, request, &path).await;
    shared.heard(seen).await;
    if is_mute { std::future::pending().await } else { answer }
}

async fn pass_on(
    shared: &Shared,
    seen: Hole,
    mut cuts: watch::Receiver<u64>,
    request: Request,
    path: &str,
) -> Response {
    let (head, body) = request.into_parts();
    let mut forwarded = http::Request::builder().method(head.method).uri(path);
    for name in [http::header::CONTENT_TYPE, http::header::ACCEPT] {
        if let Some(value) = head.headers.get(&name) {
            forwarded = forwarded.header(name, value);
        }
    }
    let Ok(body) = axum::body::to_bytes(body, LIMIT).await else { return refuse(413) };
    let Ok(forwarded) = forwarded.body(kube::client::Body::from(body.to_vec())) else { return refuse(400) };
    let Ok(response) = shared.client.send(forwarded).await else { return refuse(502) };
    let (head, body) = response.into_parts();
    let shared = shared.clone();
    let cut = Box::pin(async move { drop(cuts.changed().await) });
    let at_end = shared.clone();
    let end = futures::stream::once(async move { at_end.heard(seen).await }).filter_map(|()| std::future::ready(None));
    let chunks = http_body_util::BodyStream::new(body).take_until(cut).filter_map(move |frame| {
        let shared = shared.clone();
        async move {
            shared.heard(seen).await;
            frame.map(|frame| frame.into_data().ok()).transpose()
        }
    });
    let chunks = chunks.chain(end);
    let mut answer = Response::new(Body::from_stream(chunks));
    *answer.status_mut() = head.status;
    if let Some(value) = head.headers.get(http::header::CONTENT_TYPE) {
        answer.headers_mut().insert(http::header::CONTENT_TYPE, value.clone());
    }
    answer
}

fn refuse(code: u16) -> Response {
    let reason = if code == 403 { "Forbidden" } else { "InternalError" };
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
        "reason": reason, "message": "refused by a test"});
    let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (code, [(http::header::CONTENT_TYPE, "application/json")], status.to_string()).into_response()
}

fn expire() -> Response {
    let event = json!({"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "code": 410, "reason": "Expired", "message": "too old resource version: 1 (2)"}});
    ([(http::header::CONTENT_TYPE, "application/json")], format!("{event}\n")).into_response()
}
