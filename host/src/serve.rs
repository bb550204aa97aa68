//! Health and metrics over HTTP.

use std::{io, net::SocketAddr, sync::Arc};

use axum::{Router, http::StatusCode, routing::get};
use tokio::{net::TcpListener, sync::watch::Receiver};
use tracing::warn;

/// Answers one path: whether all is well, and the text.
pub(crate) type Answer = Arc<dyn Fn() -> (bool, String) + Send + Sync>;

/// Paths and their answers, bound to an address.
pub(crate) struct Server {
    listener: TcpListener,
    router: Router,
}

impl Server {
    /// Binds the address, so that a port in use is told at start.
    pub(crate) async fn bind(address: SocketAddr, paths: Vec<(&str, Answer)>) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let router = paths.into_iter().fold(Router::new(), |router, (path, answer)| {
            router.route(
                path,
                get(move || async move {
                    let (well, text) = answer();
                    (if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text)
                }),
            )
        });
        Ok(Self { listener, router })
    }

    /// Where it listens: the port that was asked for, or the one that the system chose for port 0.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `stop` is true. Nobody is waited for then: a connection on which nothing is asked would hold up the end.
    pub(crate) async fn run(self, what: &'static str, mut stop: Receiver<bool>) {
        tokio::select! {
            ended = axum::serve(self.listener, self.router) => warn!(what, error = ?ended.err(), "no longer served"),
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }
}

/// A line for each thing that is not well, or `ok` with a line for each thing that part of the work suffers from.
pub(crate) fn verdict(troubles: &[String], degraded: &[String]) -> (bool, String) {
    let lines = if troubles.is_empty() { [&["ok".to_owned()], degraded].concat() } else { troubles.to_vec() };
    (troubles.is_empty(), lines.join("\n") + "\n")
}
