//! Requests over TLS as fast as they are answered, on connections that stay open: the same for a webhook and for an API server.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{Error, measure::micros};

/// Whom to believe, and who one is, in PEM.
pub(crate) struct Keys {
    pub(crate) authorities: Vec<u8>,
    /// Certificate and key of the client, where the server asks for them.
    pub(crate) client: Option<(Vec<u8>, Vec<u8>)>,
}

/// One request, and what a good answer looks like.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) request: Arc<[u8]>,
    /// The status line begins with it.
    pub(crate) status: &'static str,
    /// The body holds it.
    pub(crate) says: &'static str,
}

/// One connection.
struct Line {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

/// Open connections to one server.
pub(crate) struct Load(Vec<Line>);

impl Keys {
    fn config(&self) -> Result<ClientConfig, Error> {
        let unreadable = |error| Error::Unexpected(format!("a key or certificate is unreadable: {error}"));
        let certificates =
            |pem: &[u8]| CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(unreadable);
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.authorities)? {
            roots.add(certificate)?;
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let Some((certificate, key)) = &self.client else { return Ok(config.with_no_client_auth()) };
        let key = PrivateKeyDer::from_pem_slice(key).map_err(unreadable)?;
        Ok(config.with_client_auth_cert(certificates(certificate)?, key)?)
    }
}

impl Load {
    /// Opens so many connections.
    pub(crate) async fn open(address: SocketAddr, keys: &Keys, count: usize) -> Result<Self, Error> {
        let connector = TlsConnector::from(Arc::new(keys.config()?));
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
    pub(crate) async fn run(&mut self, asked: &Asked, time: Duration) -> Result<Vec<f64>, Error> {
        let end = Instant::now() + time;
        let tasks: Vec<_> = self.0.drain(..).map(|line| tokio::spawn(line.run(asked.clone(), end))).collect();
        let mut all = Vec::new();
        for task in tasks {
            let (line, took) = task.await.map_err(|_| Error::Panicked)??;
            self.0.push(line);
            all.extend(took);
        }
        Ok(all)
    }

    /// Sends a request once, and gives the head and the body of its answer, whatever it is.
    pub(crate) async fn once(&mut self, request: &[u8]) -> Result<(String, String), Error> {
        let line = self.0.first_mut().ok_or_else(|| Error::Unexpected("no connection is open".to_owned()))?;
        line.answer(request).await
    }
}

impl Line {
    async fn run(mut self, asked: Asked, end: Instant) -> Result<(Self, Vec<f64>), Error> {
        let mut took = Vec::new();
        while Instant::now() < end {
            let start = Instant::now();
            let (head, body) = self.answer(&asked.request).await?;
            took.push(micros(start.elapsed()));
            if !head.starts_with(asked.status) || !body.contains(asked.says) {
                return Err(Error::Unexpected(format!("the server answers {head}\n\n{body}")));
            }
        }
        Ok((self, took))
    }

    async fn answer(&mut self, request: &[u8]) -> Result<(String, String), Error> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        self.buffer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.buffer).await?;
            if let Some((head, body)) = complete(&self.buffer) {
                return Ok((String::from_utf8_lossy(head).into_owned(), String::from_utf8_lossy(body).into_owned()));
            }
            if read == 0 {
                return Err(Error::Unexpected("the server closes a connection".to_owned()));
            }
        }
    }
}

/// Head and body of an answer, once all of it is there. Of a body in chunks the sizes stay in it: nobody here reads it.
fn complete(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let (head, body) = (bytes.get(..end)?, bytes.get(end + 4..)?);
    let fields = std::str::from_utf8(head).ok()?.lines().filter_map(|line| line.split_once(':'));
    let field =
        |name: &str| fields.clone().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim());
    let is_complete = match field("content-length").and_then(|length| length.parse::<usize>().ok()) {
        Some(length) => body.len() >= length,
        None => field("transfer-encoding") == Some("chunked") && body.ends_with(b"0\r\n\r\n"),
    };
    is_complete.then_some((head, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_complete_when_its_body_is_as_long_as_its_head_says() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody";
        assert_eq!(complete(text), Some((&text[..34], &b"body"[..])));
        assert_eq!(complete(&text[..text.len() - 1]), None);
        assert_eq!(complete(&text[..20]), None);
    }

    #[test]
    fn an_answer_in_chunks_is_complete_with_its_last_one() {
        let text = b"HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n";
        assert!(complete(text).is_some());
        assert_eq!(complete(&text[..text.len() - 5]), None);
    }
}
