//! HTTPS: connections, limits, and an end without a failed request.
//!
//! API servers keep connections to a replica that is about to end. From SIGTERM on every answer says `Connection: close`, so that each
//! connection ends after an answer and never in the middle of a request; only then are the idle ones closed.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderValue, header::CONNECTION};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch::Receiver,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tracing::{debug, info};

use crate::{Arriving, Connections, Judge, Manners, Resolver, Room, Seat, budget::Peer};

/// Connections at a time: an API server needs few, since it uses them again. One address gets half, since it may be that
/// of all API servers.
const ROOM: Room = Room { all: 512, peer: 256 };
/// Largest header: the API server's are far below 1 KiB.
const HEADER_BYTES: usize = 64 * 1024;

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Timings {
    /// The TLS handshake.
    pub handshake: Duration,
    /// Waiting for the next request on a connection: longer than API servers keep idle ones (90 s), so that they are the ones who
    /// close, and no request meets a closed connection.
    pub idle: Duration,
    /// The rest of a header that has begun to come.
    pub header: Duration,
    /// Taking an answer.
    pub answer: Duration,
    /// After SIGTERM, requests are answered for so long, while endpoints and connections move to other replicas.
    pub grace: Duration,
    /// After that, requests under way may take so long.
    pub last: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            idle: Duration::from_mins(2),
            header: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            grace: Duration::from_secs(10),
            last: Duration::from_secs(5),
        }
    }
}

/// A bound address, and what answers there.
pub struct Server {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    judge: Arc<Judge>,
    timings: Timings,
}

/// What a connection needs.
#[derive(Clone)]
struct Line {
    acceptor: TlsAcceptor,
    judge: Arc<Judge>,
    timings: Timings,
    /// True from SIGTERM on.
    stopping: Receiver<bool>,
    /// True when idle connections are to be closed.
    ending: Receiver<bool>,
}

impl Server {
    /// Binds the address, so that a port in use is told at start.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(
        address: SocketAddr,
        resolver: &Arc<Resolver>,
        judge: Arc<Judge>,
        timings: Timings,
    ) -> io::Result<Self> {
        let config = resolver.config().map_err(io::Error::other)?;
        let listener = TcpListener::bind(address).await?;
        Ok(Self { listener, acceptor: TlsAcceptor::from(Arc::new(config)), judge, timings })
    }

    /// Where it listens: the port that was asked for, or the one that the system chose for port 0.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `stop` is true, then as long as the grace lasts, and ends when the last answer is sent.
    pub async fn run(self, mut stop: Receiver<bool>) {
        let (end, ending) = tokio::sync::watch::channel(false);
        let Self { listener, acceptor, judge, timings } = self;
        let line = Line { acceptor, judge, timings, stopping: stop.clone(), ending };
        let connections = Connections::new(ROOM);
        let mut open = JoinSet::new();
        let over = async {
            // Whoever asked is gone: that is a stop too.
            drop(stop.wait_for(|stop| *stop).await);
            info!(seconds = timings.grace.as_secs(), "webhooks are answered a little longer");
            tokio::time::sleep(timings.grace).await;
        };
        let mut over = std::pin::pin!(over);
        loop {
            tokio::select! {
                (stream, seat) = connections.accept(&listener) => drop(open.spawn(line.clone().serve(stream, seat))),
                Some(_) = open.join_next() => {}
                () = &mut over => break,
            }
        }
        drop(listener);
        end.send_replace(true);
        let ended = timeout(timings.last, async { while open.join_next().await.is_some() {} }).await;
        info!(in_order = ended.is_ok(), "webhooks are answered no more");
    }
}

impl Line {
    async fn serve(self, stream: TcpStream, mut seat: Seat) {
        let accepted = tokio::select! {
            accepted = timeout(self.timings.handshake, self.acceptor.accept(stream)) => accepted,
            () = seat.evicted() => return,
        };
        let why = match accepted {
            Ok(Ok(stream)) => self.speak(stream, seat).await.err().map(|error| error.to_string()),
            Ok(Err(error)) => Some(format!("no TLS handshake: {error}")),
            Err(_) => Some("the TLS handshake took too long".to_owned()),
        };
        if let Some(why) = why {
            debug!(why, "a connection broke");
        }
    }

    /// Answers requests until the other side, or our end, closes the connection.
    async fn speak(self, stream: TlsStream<TcpStream>, seat: Seat) -> io::Result<()> {
        let Self { judge, timings, stopping, mut ending, .. } = self;
        let Timings { idle, header, answer, .. } = timings;
        let manners = Manners { header, idle, answer, header_bytes: HEADER_BYTES };
        let peer = Peer(seat.peer());
        let end = async move { drop(ending.wait_for(|ending| *ending).await) };
        let answer = |mut request: http::Request<Arriving>| {
            request.extensions_mut().insert(peer);
            let (judge, stopping) = (Arc::clone(&judge), stopping.clone());
            async move {
                let mut response = judge.answer(request).await;
                if *stopping.borrow() {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                response
            }
        };
        seat.speak(stream, manners, end, answer).await
    }
}

#[cfg(test)]
mod tests;
