//! A stand-in that runs.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    Error, Mode, routes,
    store::{Store, Who},
    tls::{self, Identity},
};

/// How to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0 is any free one.
    pub listen: String,
    /// The names and addresses in the certificate.
    pub names: Vec<String>,
    /// Whether the policy that marks a provisioned CAS is there.
    pub provisioned: bool,
    /// How to behave at first.
    pub mode: Mode,
}

impl Default for Options {
    fn default() -> Self {
        let names = ["localhost", "127.0.0.1"].map(str::to_owned).to_vec();
        Self { listen: "127.0.0.1:0".to_owned(), names, provisioned: true, mode: Mode::Normal }
    }
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Store,
    mode: Mutex<Mode>,
    counts: Mutex<BTreeMap<String, u64>>,
    own: Identity,
    other: Identity,
}

impl Shared {
    fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn mode(&self) -> Mode {
        Self::locked(&self.mode).clone()
    }

    pub(crate) fn set_mode(&self, mode: Mode) {
        *Self::locked(&self.mode) = mode;
    }

    pub(crate) fn identity(&self) -> &Identity {
        if self.mode() == Mode::WrongCertificate { &self.other } else { &self.own }
    }

    /// Where policies are encrypted for: a number that stays as long as the certificate.
    pub(crate) fn encryption_key(&self) -> &str {
        &self.own.sha256
    }

    /// The published marker, readable by anybody. A store that has it already keeps it.
    pub(crate) fn provision(&self) {
        let _ = self.store.upload("name: provisioned\naccess_policy: {read: [ANY]}\n", Who::Anonymous);
    }

    pub(crate) fn count(&self, request: String) {
        *Self::locked(&self.counts).entry(request).or_default() += 1;
    }

    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        Self::locked(&self.counts).clone()
    }
}

/// A running stand-in. It ends when it is dropped.
#[derive(Debug)]
pub struct StandIn {
    shared: Arc<Shared>,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl StandIn {
    /// One on a free port of this machine, provisioned.
    pub async fn start() -> Result<Self, Error> {
        Self::with(Options::default()).await
    }

    /// One as told.
    pub async fn with(options: Options) -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            store: Store::default(),
            mode: Mutex::new(options.mode),
            counts: Mutex::default(),
            own: Identity::new(&options.names)?,
            other: Identity::new(&options.names)?,
        });
        if options.provisioned {
            shared.provision();
        }
        let broken = |source| Error::Listen { address: options.listen.clone(), source };
        let listener = TcpListener::bind(&options.listen).await.map_err(broken)?;
        let address = listener.local_addr().map_err(broken)?;
        let acceptor = TlsAcceptor::from(tls::config(Arc::clone(&shared))?);
        let task = tokio::spawn(accept(listener, acceptor, Arc::clone(&shared)));
        Ok(Self { shared, address, task })
    }

    /// Adds the policy that marks a provisioned CAS.
    pub fn provision(&self) {
        self.shared.provision();
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Its certificate, in PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.shared.own.pem
    }

    /// The SHA-256 of its certificate, in lower-case hex.
    pub fn certificate_sha256(&self) -> &str {
        &self.shared.own.sha256
    }

    /// The SHA-256 of the certificate that it shows in [`Mode::WrongCertificate`].
    pub fn wrong_certificate_sha256(&self) -> &str {
        &self.shared.other.sha256
    }

    /// The key that policies are to be encrypted with, see [`crate::encrypt`].
    pub fn encryption_key(&self) -> &str {
        self.shared.encryption_key()
    }

    /// Behaves like this from the next request on, or connection.
    pub fn set_mode(&self, mode: Mode) {
        self.shared.set_mode(mode);
    }

    /// How many requests there were, by method and path.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.shared.counts()
    }

    /// How many versions of sessions it holds, the marker included.
    pub fn versions(&self) -> usize {
        self.shared.store.len()
    }

    /// Forgets all versions but the first so many, as a database from an old snapshot does.
    pub fn roll_back(&self, keep: usize) {
        self.shared.store.roll_back(keep);
    }

    /// Ends when the stand-in does.
    pub async fn ended(&mut self) {
        // How it ended is nobody's concern.
        let _ = (&mut self.task).await;
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    // Connections end with the task that accepts them.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // A client that has gone already is no reason to end.
                if let Ok((stream, _)) = accepted {
                    connections.spawn(connection(stream, acceptor.clone(), Arc::clone(&shared)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    // A client that does not believe the certificate leaves here.
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let who = shown.map_or(Who::Anonymous, |der| Who::Certificate(hex::encode(Sha256::digest(der))));
    let service = service_fn(|request| {
        let (shared, who) = (Arc::clone(&shared), who.clone());
        async move { Ok::<_, Infallible>(routes::answer(&shared, &who, request).await) }
    });
    // Clients leave when they like.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
