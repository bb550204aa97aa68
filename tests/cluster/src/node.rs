//! The ring with a node: everything that a small cluster has, in namespaces of its own.

mod namespace;
mod needs;
mod settings;

use std::{
    ffi::OsStr,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use kube::Client;
use serde_json::Value;
use tempfile::TempDir;

use self::{namespace::Namespace, settings::Files};
use crate::{
    Error, Forward, Identity, Image, audit,
    keys::Authority,
    kubeconfig,
    process::Process,
    standin,
    tools::{self, Tool},
};

pub use namespace::command as inside;
pub use needs::{missing_packages, obstacle};

/// How long each step may take to become ready.
const READY: Duration = Duration::from_mins(4);

/// A running cluster with one node. Everything goes when this is dropped, and when this process dies.
pub struct NodeRing {
    // In this order: the ways in are closed, all processes end with the namespaces, their keepers are waited for.
    api: Forward,
    namespace: Namespace,
    processes: Vec<Process>,
    authority: Authority,
    files: Files,
    programs: Vec<PathBuf>,
}

impl NodeRing {
    /// Starts everything and waits until the node is ready. `tell` hears what takes a while.
    ///
    /// # Errors
    /// When this machine cannot have a node, a program is missing and cannot be built, or something does not become ready.
    pub async fn start(tell: &mut dyn FnMut(&str)) -> Result<Self, Error> {
        if let Some(why) = obstacle() {
            return Err(Error::Obstacle { why });
        }
        let programs = tools::NODE_RING.iter().map(|tool| tool.ensure(tell)).collect::<Result<Vec<_>, _>>()?;
        let authority = Authority::new("scone-operator-tests")?;
        let (folder, files) = prepare(&authority)?;
        // From here on the folder belongs to the namespaces, whose keeper removes it even when this process cannot.
        let pause = program(&programs, &tools::PAUSE)?;
        let namespace = Namespace::start(folder.keep(), &files.group, settings::ADDRESS, &pause).await?;
        let api = Forward::open(namespace.first(), SocketAddr::from((Ipv4Addr::LOCALHOST, settings::API)))?;
        let mut ring = Self { api, namespace, processes: Vec::new(), authority, files, programs };
        ring.start_store()?;
        ring.wait_for_containerd().await?;
        ring.import(&Image::new(settings::PAUSE).program("pause", &read(&pause)?).entrypoint(&["/pause"]))?;
        ring.wait_for_api().await?;
        ring.start_node()?;
        ring.wait_for_node().await?;
        Ok(ring)
    }

    /// A client of this identity; it works in this process, outside the ring.
    ///
    /// # Errors
    /// When keys or a client cannot be made.
    pub async fn client(&self, identity: &Identity) -> Result<Client, Error> {
        kubeconfig::client(kubeconfig::value(&self.authority, &self.url(), identity)?).await
    }

    /// A kubeconfig file of this identity, for programs outside the ring.
    ///
    /// # Errors
    /// When keys cannot be made or the file cannot be written.
    pub fn kubeconfig(&self, identity: &Identity) -> Result<PathBuf, Error> {
        self.write_kubeconfig("outside", &self.url(), identity)
    }

    /// A Kubernetes program with an administrator's kubeconfig, outside the ring.
    ///
    /// # Errors
    /// When it is none of those that the ring has.
    pub fn outside(&self, tool: &Tool) -> Result<Command, Error> {
        let mut command = Command::new(program(&self.programs, tool)?);
        command.env("KUBECONFIG", self.kubeconfig(&Identity::admin("ring"))?);
        Ok(command)
    }

    /// A program inside the ring: its network, mounts and processes. The ring's tools are on its path, and `KUBECONFIG` is set.
    ///
    /// # Errors
    /// When keys cannot be made or the kubeconfig cannot be written.
    pub fn inside(&self, program: impl AsRef<OsStr>) -> Result<Command, Error> {
        let mut command = namespace::command(self.namespace.first(), program);
        command.env("PATH", self.path_variable()).env("KUBECONFIG", self.kubeconfig_inside()?);
        Ok(command)
    }

    /// A kubeconfig file of an administrator, for programs inside the ring.
    ///
    /// # Errors
    /// When keys cannot be made or the file cannot be written.
    pub fn kubeconfig_inside(&self) -> Result<PathBuf, Error> {
        self.write_kubeconfig("inside", &inside_url(), &Identity::admin("ring"))
    }

    /// `PATH` with the ring's programs first.
    pub fn path_variable(&self) -> std::ffi::OsString {
        let mut folders: Vec<PathBuf> =
            self.programs.iter().filter_map(|path| path.parent()).map(Path::to_owned).collect();
        folders.dedup();
        namespace::path(&folders)
    }

    /// An address on this machine that leads to one inside: that of a pod or of a Service.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn forward(&self, inside: SocketAddr) -> Result<Forward, Error> {
        Forward::open(self.namespace.first(), inside)
    }

    /// The first process inside; `nsenter` enters what it is in.
    pub fn pid(&self) -> u32 {
        self.namespace.first()
    }

    /// The audit log so far: one event for each request that was to change something.
    pub fn audit(&self) -> Vec<Value> {
        audit::writes(self.path())
    }

    /// All requests so far of service accounts in the operator's namespace, those that only read among them.
    pub fn requests(&self) -> Vec<Value> {
        audit::of_audited(self.path())
    }

    /// The folder with logs and keys. It goes with the ring.
    pub fn path(&self) -> &Path {
        &self.files.folder
    }

    /// Makes an image known to the node: pods get it under every pull policy.
    ///
    /// # Errors
    /// When containerd does not take it.
    pub fn import(&self, image: &Image) -> Result<(), Error> {
        let path = self.path().join("import.tar");
        write(&path, &image.tar())?;
        self.import_tar(&path)
    }

    /// Makes the images of an OCI layout in a tar file known to the node. Its index names each in full, in the annotation
    /// `io.containerd.image.name`.
    ///
    /// # Errors
    /// When the file cannot be read, or containerd does not take it.
    pub fn import_tar(&self, tar: &Path) -> Result<(), Error> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let layout = self.path().join(format!("images/{:06}", COUNT.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir_all(&layout).map_err(|source| Error::io(&layout, source))?;
        // For the registry, so that policy Always works; and into containerd, so that policy Never does.
        succeed(Command::new("tar").arg("-xf").arg(tar).arg("-C").arg(&layout)).map_err(Error::Image)?;
        let words = ["--address", settings::CONTAINERD, "--namespace", "k8s.io", "images", "import"];
        succeed(self.inside("ctr")?.args(words).arg(tar)).map_err(Error::Image)
    }

    /// Makes the stand-ins for SCONE's own images known to the node: `registry.scontain.com/scone.cloud/las` and its siblings, with this
    /// tag. `cas` are the stand-in for CAS and the libraries that it needs, by their paths; without them there is none.
    ///
    /// # Errors
    /// When containerd does not take them.
    pub fn import_stand_ins(&self, tag: &str, cas: &[(String, Vec<u8>)]) -> Result<(), Error> {
        let program = read(&program(&self.programs, &tools::STANDIN)?)?;
        for image in standin::images(&program, cas, tag) {
            self.import(&image)?;
        }
        Ok(())
    }

    /// The programs that log, sorted.
    pub fn logging(&self) -> Vec<String> {
        crate::process::logging(self.path())
    }

    /// What a program has logged so far.
    pub fn log(&self, program: &str) -> String {
        fs::read_to_string(self.path().join(format!("{program}.log"))).unwrap_or_default()
    }

    fn url(&self) -> String {
        format!("https://{}", self.api.address())
    }

    fn write_kubeconfig(&self, place: &str, url: &str, identity: &Identity) -> Result<PathBuf, Error> {
        let path = self.path().join(format!("{place}-{}", identity.file()));
        write(&path, kubeconfig::value(&self.authority, url, identity)?.to_string().as_bytes())?;
        Ok(path)
    }

    fn start_store(&mut self) -> Result<(), Error> {
        let containerd = PathBuf::from("containerd");
        self.run("containerd", &containerd, self.files.containerd())?;
        self.run_tool(&tools::ETCD, self.files.etcd())?;
        self.run_tool(&tools::KUBE_APISERVER, self.files.api_server())?;
        let images = self.path().join("images").display().to_string();
        self.run_tool(&tools::REGISTRY, vec![settings::REGISTRY.to_owned(), images])
    }

    fn start_node(&mut self) -> Result<(), Error> {
        self.run_tool(&tools::KUBE_CONTROLLER_MANAGER, self.files.controller_manager())?;
        self.run_tool(&tools::KUBE_SCHEDULER, self.files.scheduler())?;
        self.run_tool(&tools::KUBELET, self.files.kubelet())?;
        self.run_tool(&tools::KUBE_PROXY, self.files.proxy())
    }

    fn run_tool(&mut self, tool: &Tool, arguments: Vec<String>) -> Result<(), Error> {
        let program = program(&self.programs, tool)?;
        self.run(tool.name, &program, arguments)
    }

    fn run(&mut self, name: &str, program: &Path, arguments: Vec<String>) -> Result<(), Error> {
        let mut words = self.namespace.enter();
        words.push(program.display().to_string());
        words.extend(arguments);
        let enter = PathBuf::from(words.remove(0));
        let process = Process::start_with_path(name, &enter, &words, self.path(), &self.path_variable())?;
        self.processes.push(process);
        Ok(())
    }

    async fn wait_for_containerd(&mut self) -> Result<(), Error> {
        let pid = self.namespace.first();
        let answers = async || {
            let mut version = namespace::command(pid, "ctr");
            version.args(["--address", settings::CONTAINERD, "--timeout", "1s", "version"]);
            version.env("PATH", namespace::path(&[])).output().is_ok_and(|output| output.status.success())
        };
        wait(&mut self.processes, "containerd", answers).await
    }

    async fn wait_for_api(&mut self) -> Result<(), Error> {
        let client = self.client(&Identity::admin("ring")).await?;
        let ready = async || kubeconfig::get(&client, "/readyz").await.is_some_and(|text| text == "ok");
        wait(&mut self.processes, "the API server", ready).await
    }

    async fn wait_for_node(&mut self) -> Result<(), Error> {
        let client = self.client(&Identity::admin("ring")).await?;
        let path = format!("/api/v1/nodes/{}", settings::NODE);
        let ready = async || is_ready(&kubeconfig::get(&client, &path).await.unwrap_or_default());
        wait(&mut self.processes, "the node", ready).await?;
        // Without it no pod is admitted.
        let account = "/api/v1/namespaces/default/serviceaccounts/default";
        wait(&mut self.processes, "the default service account", async || {
            kubeconfig::get(&client, account).await.is_some()
        })
        .await?;
        // Until its rules are in, a Service refuses connections.
        let pid = self.namespace.first();
        let rule = format!("{} . tcp . 443", settings::KUBERNETES);
        let ruled = async || {
            let mut list = namespace::command(pid, "nft");
            list.args(["list", "map", "ip", "kube-proxy", "service-ips"]).env("PATH", namespace::path(&[]));
            list.output().is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(&rule))
        };
        wait(&mut self.processes, "the Service kubernetes", ruled).await
    }
}

/// Whether a node says that it is ready, and nothing keeps pods away from it.
fn is_ready(node: &str) -> bool {
    let node: Value = serde_json::from_str(node).unwrap_or_default();
    let conditions = node.pointer("/status/conditions").and_then(Value::as_array);
    let is_true = |condition: &Value| {
        let field = |name: &str| condition.get(name).and_then(Value::as_str);
        field("type") == Some("Ready") && field("status") == Some("True")
    };
    conditions.is_some_and(|all| all.iter().any(is_true)) && node.pointer("/spec/taints").is_none()
}

async fn wait(
    processes: &mut [Process],
    what: &'static str,
    mut ready: impl AsyncFnMut() -> bool,
) -> Result<(), Error> {
    let started = Instant::now();
    let mut poll = tokio::time::interval(Duration::from_millis(100));
    while started.elapsed() < READY {
        poll.tick().await;
        processes.iter_mut().try_for_each(Process::check)?;
        if ready().await {
            return Ok(());
        }
    }
    let log = processes.iter().map(Process::end_of_log).collect::<Vec<_>>().join("\n");
    Err(Error::NotReady { what, seconds: READY.as_secs(), log })
}

/// The ring's folder, with keys and configuration. What other rings left behind that were killed with their keeper goes first.
fn prepare(authority: &Authority) -> Result<(TempDir, Files), Error> {
    let prefix = format!("scone-operator-node-{}-", std::process::id());
    let folder = TempDir::with_prefix(prefix).map_err(|source| Error::io(&std::env::temp_dir(), source))?;
    let path = folder.path().to_owned();
    let group = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let plugins = settings::plugins().unwrap_or_else(|| PathBuf::from("/opt/cni/bin"));
    let files = Files { folder: path, group, plugins };
    for (name, text) in files.configuration() {
        let path = files.path(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|source| Error::io(parent, source))?;
        }
        write(&path, text.as_bytes())?;
    }
    write_keys(authority, &files)?;
    Ok((folder, files))
}

fn write_keys(authority: &Authority, files: &Files) -> Result<(), Error> {
    let pairs = [
        ("server", authority.server(&settings::NAMES)?),
        ("accounts", authority.client("service-accounts", &[])?),
        ("kubelet-client", authority.client("kube-apiserver-kubelet-client", &["system:masters"])?),
        ("front-proxy", authority.client("front-proxy", &[])?),
    ];
    for (name, pair) in pairs {
        write(&files.path(&format!("{name}.crt")), pair.certificate.as_bytes())?;
        write(&files.path(&format!("{name}.key")), pair.key.as_bytes())?;
    }
    write(&files.path("ca.crt"), authority.certificate.as_bytes())?;
    write(&files.path("ca.key"), authority.key.as_bytes())?;
    write(&files.path("audit.json"), audit::policy().as_bytes())?;
    let node = Identity { user: format!("system:node:{}", settings::NODE), groups: vec!["system:nodes".to_owned()] };
    let users = ["system:kube-controller-manager", "system:kube-scheduler", "system:kube-proxy"].map(Identity::user);
    for identity in users.into_iter().chain([node]) {
        let value = kubeconfig::value(authority, &inside_url(), &identity)?;
        write(&files.path(&identity.file()), value.to_string().as_bytes())?;
    }
    Ok(())
}

fn inside_url() -> String {
    format!("https://{}:{}", settings::ADDRESS, settings::API)
}

fn program(programs: &[PathBuf], tool: &Tool) -> Result<PathBuf, Error> {
    let found = programs.iter().find(|path| path.file_name() == Some(OsStr::new(tool.name)));
    found.cloned().ok_or_else(|| Error::io(Path::new(tool.name), std::io::ErrorKind::NotFound.into()))
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::io(path, source))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    fs::write(path, bytes).map_err(|source| Error::io(path, source))
}

/// Runs a command to its end; when that is a bad one, the error is what it said.
fn succeed(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
}
