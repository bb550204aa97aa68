//! Health and metrics over HTTP.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE},
};
use http_body_util::Full;
use operator_webhook::{Connections, Manners, Room};
use tokio::{net::TcpListener, sync::watch::Receiver};
use tracing::debug;

/// Connections at a time: a kubelet and a few that collect metrics need one each. One address gets half.
const ROOM: Room = Room { all: 64, peer: 32 };
/// Who asks here asks every few seconds, in a few hundred bytes.
const MANNERS: Manners = Manners {
    header: Duration::from_secs(5),
    idle: Duration::from_secs(30),
    answer: Duration::from_secs(10),
    header_bytes: 16 * 1024,
};

/// Answers one path: whether all is well, and the text.
pub(crate) type Answer = Arc<dyn Fn() -> (bool, String) + Send + Sync>;

/// Paths and their answers, bound to an address.
pub(crate) struct Server {
    listener: TcpListener,
    paths: Arc<[(String, Answer)]>,
    manners: Manners,
}

impl Server {
    /// Binds the address, so that a port in use is told at start.
    pub(crate) async fn bind(address: SocketAddr, paths: Vec<(&str, Answer)>) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let paths = paths.into_iter().map(|(path, answer)| (path.to_owned(), answer)).collect();
        Ok(Self { listener, paths, manners: MANNERS })
    }

    /// Where it listens: the port that was asked for, or the one that the system chose for port 0.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `stop` is true. Nobody is waited for then: a connection on which nothing is asked would hold up the end.
    pub(crate) async fn run(self, what: &'static str, mut stop: Receiver<bool>) {
        tokio::select! {
            never = self.answer(what) => match never {},
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    async fn answer(self, what: &'static str) -> Infallible {
        let connections = Connections::new(ROOM);
        loop {
            let (stream, seat) = connections.accept(&self.listener).await;
            let (paths, manners) = (Arc::clone(&self.paths), self.manners);
            tokio::spawn(async move {
                // No body is read: a request that has one ends its connection.
                let answer = |request: Request<_>| std::future::ready(respond(&paths, &request));
                if let Err(error) = seat.speak(stream, manners, std::future::pending(), answer).await {
                    debug!(what, %error, "a connection broke");
                }
            });
        }
    }
}

fn respond<B>(paths: &[(String, Answer)], request: &Request<B>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let (code, text) = match paths.iter().find(|(known, _)| known == path) {
        None => (StatusCode::NOT_FOUND, "nothing is under this path\n".to_owned()),
        Some(_) if ![Method::GET, Method::HEAD].contains(request.method()) => {
            (StatusCode::METHOD_NOT_ALLOWED, "ask with GET\n".to_owned())
        }
        Some((_, answer)) => {
            let (well, text) = answer();
            (if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text)
        }
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if code == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

/// A line for each thing that is not well, or `ok` with a line for each thing that part of the work suffers from.
pub(crate) fn verdict(troubles: &[String], degraded: &[String]) -> (bool, String) {
    let lines = if troubles.is_empty() { [&["ok".to_owned()], degraded].concat() } else { troubles.to_vec() };
    (troubles.is_empty(), lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
        sync::watch,
    };

    use super::*;

    /// A server with one path, and what keeps it on.
    async fn started(manners: Manners) -> (SocketAddr, watch::Sender<bool>) {
        let answer: Answer = Arc::new(|| (true, "ok\n".to_owned()));
        let mut server = Server::bind(([127, 0, 0, 1], 0).into(), vec![("/healthz", answer)]).await.unwrap();
        server.manners = manners;
        let (stop, stopped) = watch::channel(false);
        let address = server.address().unwrap();
        tokio::spawn(server.run("health", stopped));
        (address, stop)
    }

    /// What is said to these bytes, until the connection ends.
    async fn said(mut stream: TcpStream, bytes: &str) -> String {
        stream.write_all(bytes.as_bytes()).await.unwrap();
        let mut said = Vec::new();
        drop(stream.read_to_end(&mut said).await);
        String::from_utf8(said).unwrap()
    }

    async fn asked(address: SocketAddr, line: &str) -> String {
        let stream = TcpStream::connect(address).await.unwrap();
        said(stream, &format!("{line} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")).await
    }

    #[tokio::test]
    async fn a_path_is_answered_and_another_method_or_path_gets_its_code() {
        let (address, _stop) = started(MANNERS).await;
        let answer = asked(address, "GET /healthz?verbose").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\nok\n"), "{answer}");
        assert!(answer.contains("content-type: text/plain; charset=utf-8\r\n"), "{answer}");
        let answer = asked(address, "HEAD /healthz").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n"), "{answer}");
        assert!(asked(address, "POST /healthz").await.starts_with("HTTP/1.1 405"));
        assert!(asked(address, "GET /elsewhere").await.starts_with("HTTP/1.1 404"));
    }

    #[tokio::test]
    async fn a_probe_is_answered_while_more_connections_are_idle_than_there_may_be() {
        let (address, _stop) = started(MANNERS).await;
        let mut idle = Vec::new();
        for _ in 0..2 * ROOM.all {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        assert!(asked(address, "GET /healthz").await.starts_with("HTTP/1.1 200"));
        let gone = said(idle.remove(0), "").await;
        assert_eq!(gone, "", "the one that was idle longest had to go");
        assert!(said(idle.pop().unwrap(), "GET /healthz HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.0 200"));
    }

    #[tokio::test]
    async fn a_header_that_never_ends_is_cut_and_one_that_is_too_large_is_refused() {
        let (address, _stop) = started(Manners { header: Duration::from_millis(20), ..MANNERS }).await;
        let stream = TcpStream::connect(address).await.unwrap();
        assert_eq!(said(stream, "GET /healthz HTTP/1.1\r\nhost: h\r\nx: ").await, "");
        let large = "x".repeat(2 * MANNERS.header_bytes);
        let (address, _stop) = started(MANNERS).await;
        let stream = TcpStream::connect(address).await.unwrap();
        let answer = said(stream, &format!("GET /healthz HTTP/1.1\r\nx: {large}")).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    }

    #[tokio::test]
    async fn a_body_is_not_waited_for() {
        let (address, _stop) = started(MANNERS).await;
        let stream = TcpStream::connect(address).await.unwrap();
        let answer = said(stream, "GET /healthz HTTP/1.1\r\nhost: h\r\ncontent-length: 1000000\r\n\r\nx").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}
