//! A server that answers what a test tells it to, with or without TLS.

use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

type Reply = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// A server for `127.0.0.1`.
pub(crate) struct Server {
    /// Begin of its URLs.
    pub(crate) url: String,
    /// Whom to believe, in PEM.
    pub(crate) authority: String,
    /// SHA-256 of its certificate.
    pub(crate) digest: String,
    requests: Arc<Mutex<Vec<String>>>,
    /// Held by this, by whoever accepts connections, and by each of them.
    open: Arc<()>,
}

impl Server {
    /// Answers with TLS. A reply is a whole HTTP message.
    pub(crate) async fn secure(reply: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        Self::start(true, Arc::new(reply)).await
    }

    /// Answers without TLS.
    pub(crate) async fn plain(reply: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        Self::start(false, Arc::new(reply)).await
    }

    /// The requests so far, whole.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// How many connections are open.
    pub(crate) fn connections(&self) -> usize {
        Arc::strong_count(&self.open) - 2
    }

    /// Waits until no connection is open.
    pub(crate) async fn no_connection(&self) {
        while self.connections() > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    /// Host and port, as its URLs have them.
    pub(crate) fn authority_of_url(&self) -> &str {
        self.url.split("://").nth(1).unwrap()
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.authority_of_url().parse().unwrap()
    }

    async fn start(secure: bool, reply: Reply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (authority, digest, config) = identity();
        let (scheme, address) = (if secure { "https" } else { "http" }, listener.local_addr().unwrap());
        let requests = Arc::default();
        let open = Arc::new(());
        let (url, of_server) = (format!("{scheme}://{address}"), Arc::clone(&open));
        let server = Self { url, authority, digest, requests: Arc::clone(&requests), open: of_server };
        tokio::spawn(async move {
            let acceptor = TlsAcceptor::from(Arc::new(config));
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, reply, requests) = (acceptor.clone(), Arc::clone(&reply), Arc::clone(&requests));
                let open = Arc::clone(&open);
                tokio::spawn(async move {
                    if !secure {
                        speak(stream, &reply, &requests).await;
                    } else if let Ok(stream) = acceptor.accept(stream).await {
                        speak(stream, &reply, &requests).await;
                    }
                    drop(open);
                });
            }
        });
        server
    }
}

fn identity() -> (String, String, ServerConfig) {
    let authority = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&authority).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &Issuer::new(params, authority)).unwrap();
    let der = leaf.der().clone();
    let digest = hex::encode(Sha256::digest(&der));
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    (ca, digest, config.with_no_client_auth().with_single_cert(vec![der], key).unwrap())
}

async fn speak(mut stream: impl AsyncRead + AsyncWrite + Unpin, reply: &Reply, requests: &Mutex<Vec<String>>) {
    let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
    while !is_whole(&String::from_utf8_lossy(&request)) {
        match stream.read(&mut buffer).await {
            Ok(read) if read > 0 => request.extend_from_slice(&buffer[..read]),
            _ => return,
        }
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    requests.lock().unwrap().push(request.clone());
    let answer = reply(&request);
    if answer == HANGS {
        // Until the other side gives up.
        while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
        return;
    }
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

fn is_whole(request: &str) -> bool {
    let Some((head, body)) = request.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    body.len() >= length.unwrap_or_default()
}

/// The reply of a server that never answers.
pub(crate) const HANGS: &str = "hangs";

/// An HTTP message.
pub(crate) fn message(status: u16, headers: &[(&str, &str)], body: &str) -> String {
    let headers: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    format!("HTTP/1.1 {status} Told\r\n{}content-length: {length}\r\n\r\n{body}", headers.concat())
}
