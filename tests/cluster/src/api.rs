//! The ring without nodes: etcd, API server, controller manager.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use kube::Client;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    Error, Identity, audit,
    keys::Authority,
    kubeconfig,
    process::{Process, Sweeper},
    tools,
};

/// How long the ring may take to become ready.
const READY: Duration = Duration::from_mins(4);

/// Ports are free when they are chosen, and may be taken when they are used: the programs take only numbers.
const TRIES: usize = 4;

/// A running API server with what belongs to it. Everything goes when this is dropped.
pub struct ApiRing {
    // In this order: processes end before their files go.
    processes: Vec<Process>,
    _sweeper: Sweeper,
    folder: TempDir,
    authority: Authority,
    port: u16,
}

impl ApiRing {
    /// Starts everything and waits until the API server is ready. `tell` hears what takes a while.
    ///
    /// # Errors
    /// When a program is missing and cannot be built, or does not become ready.
    pub async fn start(tell: &mut dyn FnMut(&str)) -> Result<Self, Error> {
        let mut ring = Self::start_without_controllers(tell).await?;
        ring.run(&tools::KUBE_CONTROLLER_MANAGER, ring.controller_arguments(), tell)?;
        Ok(ring)
    }

    /// The same without the controller manager: nothing changes but by requests.
    ///
    /// # Errors
    /// When a program is missing and cannot be built, or does not become ready.
    pub async fn start_without_controllers(tell: &mut dyn FnMut(&str)) -> Result<Self, Error> {
        for _ in 1..TRIES {
            match Self::try_start(tell).await {
                Err(error) if error.is_about_a_taken_port() => tell("another program took the port; once more"),
                started => return started,
            }
        }
        Self::try_start(tell).await
    }

    async fn try_start(tell: &mut dyn FnMut(&str)) -> Result<Self, Error> {
        let folder = TempDir::with_prefix("scone-operator-api-")
            .map_err(|source| Error::Io { what: "no temporary folder".to_owned(), source })?;
        let [etcd, api] = ports()?;
        let (sweeper, authority) = (Sweeper::start(folder.path())?, Authority::new("scone-operator-tests")?);
        let mut ring = Self { processes: Vec::new(), _sweeper: sweeper, folder, authority, port: api };
        ring.write_keys()?;
        ring.run(&tools::ETCD, etcd_arguments(ring.path(), etcd), tell)?;
        ring.run(&tools::KUBE_APISERVER, ring.api_arguments(etcd), tell)?;
        ring.wait().await?;
        Ok(ring)
    }

    /// A client of this identity.
    ///
    /// # Errors
    /// When keys or a client cannot be made.
    pub async fn client(&self, identity: &Identity) -> Result<Client, Error> {
        kubeconfig::client(self.kubeconfig_value(identity)?).await
    }

    /// A kubeconfig file of this identity, in the ring's own folder.
    ///
    /// # Errors
    /// When keys cannot be made or the file cannot be written.
    pub fn kubeconfig(&self, identity: &Identity) -> Result<PathBuf, Error> {
        let path = self.path().join(identity.file());
        write(&path, &self.kubeconfig_value(identity)?.to_string())?;
        Ok(path)
    }

    /// The audit log so far: one event for each request that was to change something.
    pub fn audit(&self) -> Vec<Value> {
        audit::writes(self.path())
    }

    /// All requests so far of whoever is [`Identity::audited`], those that only read among them.
    pub fn requests(&self) -> Vec<Value> {
        audit::of_audited(self.path())
    }

    /// The folder with logs and keys.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    fn run(&mut self, tool: &tools::Tool, arguments: Vec<String>, tell: &mut dyn FnMut(&str)) -> Result<(), Error> {
        let program = tool.ensure(tell)?;
        let process = Process::start(tool.name, &program, &arguments, self.folder.path())?;
        self.processes.push(process);
        Ok(())
    }

    fn write_keys(&self) -> Result<(), Error> {
        let server = self.authority.server(&["127.0.0.1", "localhost", "10.96.0.1", "kubernetes.default.svc"])?;
        let accounts = self.authority.client("service-accounts", &[])?;
        for (name, text) in [
            ("ca.crt", &self.authority.certificate),
            ("ca.key", &self.authority.key),
            ("server.crt", &server.certificate),
            ("server.key", &server.key),
            ("accounts.crt", &accounts.certificate),
            ("accounts.key", &accounts.key),
            ("audit.json", &audit::policy()),
        ] {
            write(&self.path().join(name), text)?;
        }
        self.kubeconfig(&Identity::admin("system:kube-controller-manager")).map(drop)
    }

    fn kubeconfig_value(&self, identity: &Identity) -> Result<Value, Error> {
        kubeconfig::value(&self.authority, &format!("https://127.0.0.1:{}", self.port), identity)
    }

    fn api_arguments(&self, etcd: u16) -> Vec<String> {
        let file = |name: &str| self.path().join(name).display().to_string();
        vec![
            format!("--etcd-servers=http://127.0.0.1:{etcd}"),
            "--bind-address=127.0.0.1".to_owned(),
            "--advertise-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", self.port),
            format!("--tls-cert-file={}", file("server.crt")),
            format!("--tls-private-key-file={}", file("server.key")),
            format!("--client-ca-file={}", file("ca.crt")),
            format!("--service-account-key-file={}", file("accounts.crt")),
            format!("--service-account-signing-key-file={}", file("accounts.key")),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            "--authorization-mode=RBAC".to_owned(),
            "--allow-privileged=true".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            format!("--audit-policy-file={}", file("audit.json")),
            format!("--audit-log-path={}", file("audit.log")),
        ]
    }

    fn controller_arguments(&self) -> Vec<String> {
        let file = |name: &str| self.path().join(name).display().to_string();
        vec![
            format!("--kubeconfig={}", file("system-kube-controller-manager.kubeconfig")),
            format!("--service-account-private-key-file={}", file("accounts.key")),
            format!("--root-ca-file={}", file("ca.crt")),
            "--leader-elect=false".to_owned(),
            "--secure-port=0".to_owned(),
        ]
    }

    async fn wait(&mut self) -> Result<(), Error> {
        let client = self.client(&Identity::admin("ring")).await?;
        let started = Instant::now();
        let mut poll = tokio::time::interval(Duration::from_millis(100));
        while started.elapsed() < READY {
            poll.tick().await;
            self.processes.iter_mut().try_for_each(Process::check)?;
            if kubeconfig::get(&client, "/readyz").await.is_some_and(|text| text == "ok") {
                return Ok(());
            }
        }
        let log = self.processes.iter().map(Process::end_of_log).collect::<Vec<_>>().join("\n");
        Err(Error::NotReady { what: "the API server", seconds: READY.as_secs(), log })
    }
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(|source| Error::io(path, source))
}

fn etcd_arguments(folder: &Path, port: u16) -> Vec<String> {
    vec![
        format!("--data-dir={}", folder.join("etcd").display()),
        format!("--listen-client-urls=http://127.0.0.1:{port}"),
        format!("--advertise-client-urls=http://127.0.0.1:{port}"),
        "--listen-peer-urls=http://127.0.0.1:0".to_owned(),
        // A test's data need not survive the machine.
        "--unsafe-no-fsync=true".to_owned(),
    ]
}

/// Free ports, all held until all are known, so that they differ.
fn ports() -> Result<[u16; 2], Error> {
    let none = |source| Error::Io { what: "there is no free port".to_owned(), source };
    let listen = || TcpListener::bind(("127.0.0.1", 0)).map_err(none);
    let listeners = [listen()?, listen()?];
    let mut ports = [0; 2];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr().map_err(none)?.port();
    }
    Ok(ports)
}
