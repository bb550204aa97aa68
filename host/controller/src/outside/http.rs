//! One request to one server, over a connection of its own: they are minutes apart, and a pool would keep trust and secrets alive.

use std::{collections::BTreeMap, convert::Infallible, future::pending, net::SocketAddr, sync::OnceLock};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue as Value, Method, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use operator_core::{Finding, HeaderValue, HttpRequest, HttpResponse, QueryFailure, Server, Trust};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
};
use tokio_rustls::TlsConnector;

use super::{
    addresses,
    secrets::Secrets,
    trust::{self, Shown, Verifier},
};
use crate::Found;

/// At most so much of a body is read, in bytes.
const BODY_LIMIT: usize = 1024 * 1024;
/// What modules see of an answer's headers: what describes its content. Others, such as dates and request numbers, differ each time,
/// and each difference would call the module.
static TOLD: [HeaderName; 8] = [
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::ETAG,
    header::LAST_MODIFIED,
    header::LINK,
    header::LOCATION,
    header::WWW_AUTHENTICATE,
    HeaderName::from_static("docker-content-digest"),
];

/// What an administrator, and the cluster itself, say about servers.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// Servers by `host:port` that are reached at another address than their name says. Any address will do: an administrator named it.
    pub detours: BTreeMap<String, SocketAddr>,
    /// Host and port of the API server, which is never asked: it may trust the operator's address.
    pub api_server: Option<(String, u16)>,
    /// Hosts that may give tokens for any registry, beside those on the registry's own domain.
    pub token_realms: Vec<String>,
}

/// Sends requests to servers.
pub(super) struct Servers {
    reach: Reach,
    /// Reading the public roots takes milliseconds.
    system: OnceLock<Verifier>,
}

impl Servers {
    pub(super) fn new(reach: Reach) -> Self {
        Self { reach, system: OnceLock::new() }
    }

    /// Hosts that may give tokens for any registry.
    pub(super) fn token_realms(&self) -> &[String] {
        &self.reach.token_realms
    }

    /// Sends a request with these further headers.
    pub(super) async fn send(
        &self,
        secrets: Secrets<'_>,
        request: &HttpRequest,
        more: &[(HeaderName, Value)],
    ) -> Found {
        let shown = Shown::default();
        let outcome = self.exchange(secrets, request, more, &shown).await;
        Found { outcome: outcome.map(Finding::Http), at: None, certificate: shown.get().cloned() }
    }

    async fn exchange(
        &self,
        secrets: Secrets<'_>,
        request: &HttpRequest,
        more: &[(HeaderName, Value)],
        shown: &Shown,
    ) -> Result<HttpResponse, QueryFailure> {
        let server = request.server().map_err(|why| failed(request, why))?;
        let message = self.message(secrets, request, &server, more).await?;
        if !server.secure {
            return speak(self.connect(&server).await?, message).await;
        }
        // Before anything is sent: what a Secret lacks is not the server's fault.
        let verifier = self.verifier(secrets, &request.trust, &server.host).await?;
        let config = trust::configuration(verifier, Shown::clone(shown))?;
        let name = ServerName::try_from(server.host.clone()).map_err(|error| failed(request, error))?;
        let stream = self.connect(&server).await?;
        let stream = TlsConnector::from(std::sync::Arc::new(config)).connect(name, stream).await;
        let stream = stream.map_err(|error| {
            let place = place(&server);
            QueryFailure::Unreachable(match shown.get() {
                Some(digest) => format!("{place}: {error}; it showed the certificate with SHA-256 {digest}"),
                None => format!("{place}: {error}"),
            })
        })?;
        speak(stream, message).await
    }

    async fn verifier(&self, secrets: Secrets<'_>, trust: &Trust, host: &str) -> Result<Verifier, QueryFailure> {
        match trust {
            Trust::Pinned(digest) => trust::pinned(digest),
            Trust::Ca(key) => {
                let pem = secrets.value(key, host).await?;
                trust::authority(&pem, &format!("key {} of Secret {}/{}", key.key, secrets.namespace(), key.name))
            }
            Trust::System => match self.system.get() {
                Some(verifier) => Ok(Verifier::clone(verifier)),
                None => trust::system().map(|verifier| Verifier::clone(self.system.get_or_init(|| verifier))),
            },
        }
    }

    async fn message(
        &self,
        secrets: Secrets<'_>,
        request: &HttpRequest,
        server: &Server,
        more: &[(HeaderName, Value)],
    ) -> Result<Request<Full<Bytes>>, QueryFailure> {
        let method = Method::from_bytes(request.method.as_bytes()).map_err(|error| failed(request, error))?;
        let mut message = Request::new(Full::new(Bytes::from(request.body.clone())));
        *message.method_mut() = method;
        *message.uri_mut() = server.path.parse().map_err(|error| failed(request, error))?;
        let headers = message.headers_mut();
        headers.insert(header::HOST, value(&authority(server)).map_err(|error| failed(request, error))?);
        headers.insert(header::USER_AGENT, Value::from_static(env!("CARGO_PKG_NAME")));
        headers.insert(header::CONNECTION, Value::from_static("close"));
        for (name, given) in &request.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| failed(request, error))?;
            if [header::HOST, header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING].contains(&name) {
                return Err(failed(request, format!("the host itself sets the header {name}")));
            }
            headers.append(name, header_value(secrets, request, server, given).await?);
        }
        for (name, value) in more {
            headers.insert(name, value.clone());
        }
        Ok(message)
    }

    /// Connects to the first address that answers, and that is one where servers are asked.
    async fn connect(&self, server: &Server) -> Result<TcpStream, QueryFailure> {
        let unreachable = |why: String| QueryFailure::Unreachable(format!("{}: {why}", place(server)));
        if let Some(detour) = self.reach.detours.get(&authority(server)) {
            return TcpStream::connect(detour).await.map_err(|error| unreachable(error.to_string()));
        }
        let named = (server.host.as_str(), server.port);
        let found = lookup_host(named).await.map_err(|error| unreachable(error.to_string()))?;
        let api_server = self.api_server().await;
        let mut why = "the name has no address".to_owned();
        for address in found {
            let is_api_server = api_server.iter().any(|other| is_same(*other, address));
            let fault = if is_api_server { Some("is the API server") } else { addresses::fault(address.ip()) };
            if let Some(fault) = fault {
                why = format!("{} {fault}, where no server is asked", address.ip());
                continue;
            }
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => why = error.to_string(),
            }
        }
        Err(unreachable(why))
    }

    /// Where the API server is now. A name that cannot be resolved leads nobody there either.
    async fn api_server(&self) -> Vec<SocketAddr> {
        let Some((host, port)) = &self.reach.api_server else { return Vec::new() };
        lookup_host((host.as_str(), *port)).await.map(Iterator::collect).unwrap_or_default()
    }
}

/// The value of a header, read where it is.
async fn header_value(
    secrets: Secrets<'_>,
    request: &HttpRequest,
    server: &Server,
    given: &HeaderValue,
) -> Result<Value, QueryFailure> {
    match given {
        HeaderValue::Plain(text) => value(text).map_err(|error| failed(request, error)),
        HeaderValue::Secret(_) if !server.secure => {
            Err(failed(request, "a secret is not sent without TLS; write https://"))
        }
        HeaderValue::Secret(key) => {
            let text = secrets.value(key, &server.host).await?;
            let place = || format!("key {} of Secret {}/{} fits in no header", key.key, secrets.namespace(), key.name);
            let mut value = Value::from_bytes(text.trim_ascii()).map_err(|_| failed(request, place()))?;
            value.set_sensitive(true);
            Ok(value)
        }
    }
}

/// Whether two addresses are one, in whatever form they are written.
fn is_same(one: SocketAddr, other: SocketAddr) -> bool {
    (one.ip().to_canonical(), one.port()) == (other.ip().to_canonical(), other.port())
}

fn value(text: &str) -> Result<Value, header::InvalidHeaderValue> {
    Value::from_str(text)
}

/// Host and port as a URL has them.
fn authority(server: &Server) -> String {
    let (host, port) = (&server.host, server.port);
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn place(server: &Server) -> String {
    format!("{}://{}", if server.secure { "https" } else { "http" }, authority(server))
}

fn failed(request: &HttpRequest, why: impl std::fmt::Display) -> QueryFailure {
    QueryFailure::Failed(format!("{} {}: {why}", request.method, request.url))
}

/// Sends the message and reads the answer. The connection ends with the answer.
async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    message: Request<Full<Bytes>>,
) -> Result<HttpResponse, QueryFailure> {
    let broken = |error: hyper::Error| QueryFailure::Unreachable(format!("the connection broke: {error}"));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let answer = async {
        let answer = sender.send_request(message).await.map_err(broken)?;
        read(answer).await.map_err(broken)
    };
    let driven = async {
        // What it ends with, the request tells too; and it may end before the answer is read.
        let _ = connection.await;
        pending::<Infallible>().await
    };
    tokio::select! {
        answer = answer => answer,
        never = driven => match never {},
    }
}

async fn read(answer: Response<Incoming>) -> Result<HttpResponse, hyper::Error> {
    let (head, mut incoming) = answer.into_parts();
    let mut body = Vec::new();
    while body.len() < BODY_LIMIT {
        let Some(frame) = incoming.frame().await else { break };
        let Ok(data) = frame?.into_data() else { continue };
        let room = BODY_LIMIT - body.len();
        body.extend(data.iter().take(room));
    }
    Ok(HttpResponse { status: head.status.as_u16(), headers: told(&head.headers), body })
}

fn told(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &Value| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let all = TOLD.each_ref().map(|name| headers.get_all(name).iter().map(|value| (name.to_string(), text(value))));
    all.into_iter().flatten().collect()
}
