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

use crate::Error;

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
}

/// Decides about a request: its method, and its path with the query.
pub type Decide = Arc<dyn Fn(&str, &str) -> Fate + Send + Sync>;

/// A running proxy. It ends when this is dropped.
pub struct Proxy {
    address: SocketAddr,
    silent: watch::Sender<bool>,
    cuts: watch::Sender<u64>,
    task: JoinHandle<()>,
}

#[derive(Clone)]
struct Shared {
    client: Client,
    decide: Decide,
    silent: watch::Receiver<bool>,
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
        let ((silent, silence), (cuts, cut)) = (watch::channel(false), watch::channel(0));
        let shared = Shared { client, decide, silent: silence, cuts: cut };
        let router = Router::new().fallback(forward).with_state(shared);
        let task = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Ok(Self { address, silent, cuts, task })
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

    /// While silent, connections stay open and nothing comes through them.
    pub fn silence(&self, silent: bool) {
        self.silent.send_replace(silent);
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

async fn audible(silent: &mut watch::Receiver<bool>) {
    // An error means that the proxy is gone, and this task with it.
    drop(silent.wait_for(|silent| !*silent).await);
}

async fn forward(State(mut shared): State<Shared>, request: Request) -> Response {
    audible(&mut shared.silent).await;
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let fate = (shared.decide)(request.method().as_str(), &path);
    match fate {
        Fate::Pass | Fate::Mute => {}
        Fate::Delay(time) => tokio::time::sleep(time).await,
        Fate::Refuse(code) => return refuse(code),
        Fate::Swallow => return std::future::pending().await,
    }
    let answer = pass_on(&mut shared, request, &path).await;
    if fate == Fate::Mute { std::future::pending().await } else { answer }
}

async fn pass_on(shared: &mut Shared, request: Request, path: &str) -> Response {
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
    audible(&mut shared.silent).await;
    let (head, body) = response.into_parts();
    let (silent, mut cuts) = (shared.silent.clone(), shared.cuts.clone());
    cuts.mark_unchanged();
    let cut = Box::pin(async move { drop(cuts.changed().await) });
    let chunks = http_body_util::BodyStream::new(body).take_until(cut).filter_map(move |frame| {
        let mut silent = silent.clone();
        async move {
            audible(&mut silent).await;
            frame.map(|frame| frame.into_data().ok()).transpose()
        }
    });
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
