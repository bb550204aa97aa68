//! Requests over TLS as fast as they are answered, on connections that stay open.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{Error, measure::micros};

/// One connection.
struct Line {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

/// Open connections to one server.
pub(crate) struct Load(Vec<Line>);

impl Load {
    /// Opens so many connections, believing the authorities in this PEM text.
    pub(crate) async fn open(address: SocketAddr, authorities: &[u8], count: usize) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authorities) {
            roots.add(
                certificate.map_err(|error| Error::Unexpected(format!("the authority is unreadable: {error}")))?,
            )?;
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(config));
        let mut lines = Vec::new();
        for _ in 0..count {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let stream = connector.connect(ServerName::from(address.ip()), stream).await?;
            lines.push(Line { stream, buffer: Vec::new() });
        }
        Ok(Self(lines))
    }

    /// Sends this request on all connections again and again for so long; how long each answer took, in microseconds.
    pub(crate) async fn run(&mut self, request: &Arc<[u8]>, time: Duration) -> Result<Vec<f64>, Error> {
        let end = Instant::now() + time;
        let tasks: Vec<_> = self.0.drain(..).map(|line| tokio::spawn(line.run(Arc::clone(request), end))).collect();
        let mut all = Vec::new();
        for task in tasks {
            let (line, took) = task.await.map_err(|_| Error::Panicked)??;
            self.0.push(line);
            all.extend(took);
        }
        Ok(all)
    }
}

impl Line {
    async fn run(mut self, request: Arc<[u8]>, end: Instant) -> Result<(Self, Vec<f64>), Error> {
        let mut took = Vec::new();
        while Instant::now() < end {
            let start = Instant::now();
            self.ask(&request).await?;
            took.push(micros(start.elapsed()));
        }
        Ok((self, took))
    }

    /// One request and its answer, which has to allow it.
    async fn ask(&mut self, request: &[u8]) -> Result<(), Error> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        self.buffer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.buffer).await?;
            let text = String::from_utf8_lossy(&self.buffer);
            if let Some((head, body)) = text.split_once("\r\n\r\n")
                && body.len() >= length(head)
            {
                let well = head.starts_with("HTTP/1.1 200") && body.contains("\"allowed\":true");
                return if well { Ok(()) } else { Err(Error::Unexpected(format!("the webhook answers {text}"))) };
            }
            if read == 0 {
                return Err(Error::Unexpected("the webhook closes a connection".to_owned()));
            }
        }
    }
}

/// How long the body is, as the head says.
fn length(head: &str) -> usize {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    let found = lines.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    found.and_then(|(_, value)| value.trim().parse().ok()).unwrap_or_default()
}
