//! A cluster with CRDs and modules, an operator to start, and what tests ask of them.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests fail as tests do, and no test program needs all of them"
)]

mod told;

pub(crate) mod balancer;
pub(crate) mod certificates;
pub(crate) mod kubelet;

use std::{
    fmt::Debug,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use cluster::{ApiRing, Fate, Identity, Proxy};
use kube::Client;
use operator_package::Package;
use serde_json::{Value, json};

/// How long anything may take.
const SOON: Duration = Duration::from_mins(1);

/// Asks again and again until there is an answer.
pub(crate) async fn soon<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let started = Instant::now();
    let mut poll = tokio::time::interval(Duration::from_millis(50));
    while started.elapsed() < SOON {
        poll.tick().await;
        if let Some(answer) = ask().await {
            return answer;
        }
    }
    panic!("{what} did not come within {} s", SOON.as_secs());
}

/// Asks again and again until the answer is as it should be; who waits in vain is shown the last one.
pub(crate) async fn until<T: Debug, F: Future<Output = T>>(
    what: &str,
    mut ask: impl FnMut() -> F,
    holds: impl Fn(&T) -> bool,
) -> T {
    let started = Instant::now();
    let mut poll = tokio::time::interval(Duration::from_millis(50));
    loop {
        poll.tick().await;
        let answer = ask().await;
        if holds(&answer) {
            return answer;
        }
        assert!(started.elapsed() < SOON, "{what} did not come within {} s; the last was {answer:?}", SOON.as_secs());
    }
}

fn variable(name: &str) -> PathBuf {
    let path = std::env::var_os(name).map(PathBuf::from).filter(|path| path.exists());
    path.unwrap_or_else(|| panic!("{name} names nothing that exists; run the tests with `cargo xtask test api`"))
}

/// The bytes of a built module, or of a fixture.
pub(crate) fn package(name: &str) -> Vec<u8> {
    let file = format!("{name}.wasm");
    let folders = ["SCONE_OPERATOR_MODULES", "SCONE_OPERATOR_FIXTURES"].map(variable);
    let path = folders.iter().map(|folder| folder.join(&file)).find(|path| path.exists());
    std::fs::read(path.unwrap_or_else(|| panic!("there is no module {name}"))).unwrap()
}

/// A cluster of its own, with CRDs, a namespace and a folder of modules.
pub(crate) struct Stage {
    place: Place,
    admin: Client,
    /// The operator's own namespace.
    namespace: String,
    modules: tempfile::TempDir,
}

/// Where the cluster comes from.
enum Place {
    /// Made for this test, and gone with it.
    Own(Box<ApiRing>),
    /// It was there before: its kubeconfig.
    Existing(PathBuf),
}

/// Names the kubeconfig of a cluster that tests may use.
const EXISTING: &str = "SCONE_OPERATOR_KUBECONFIG";

/// The user as whom the operator works.
const OPERATOR: &str = "scone-operator";

impl Stage {
    /// With the modules that are shipped.
    pub(crate) async fn start() -> Self {
        Self::with(&["las", "sgxplugin"]).await
    }

    /// With these modules, their CRDs, and the namespace `scone-system`.
    pub(crate) async fn with(modules: &[&str]) -> Self {
        let ring = ApiRing::start(&mut |what| eprintln!("{what} ...")).await.unwrap();
        let admin = ring.client(&Identity::admin("tester")).await.unwrap();
        let stage = Self::at(Place::Own(Box::new(ring)), admin, "scone-system");
        stage.furnish(modules).await;
        stage
    }

    /// In the cluster that `SCONE_OPERATOR_KUBECONFIG` names, or else in one of its own, known by nothing but its kubeconfig. The
    /// operator's namespace is `namespace`.
    pub(crate) async fn existing(modules: &[&str], namespace: &str) -> Self {
        let (place, path) = if let Some(path) = std::env::var_os(EXISTING).map(PathBuf::from) {
            (Place::Existing(path.clone()), path)
        } else {
            let ring = ApiRing::start(&mut |what| eprintln!("{what} ...")).await.unwrap();
            let path = ring.kubeconfig(&Identity::admin("somebody")).unwrap();
            (Place::Own(Box::new(ring)), path)
        };
        let stage = Self::at(place, cluster::client(&path).await.unwrap(), namespace);
        stage.furnish(modules).await;
        stage
    }

    fn at(place: Place, admin: Client, namespace: &str) -> Self {
        Self { place, admin, namespace: namespace.to_owned(), modules: tempfile::tempdir().unwrap() }
    }

    async fn furnish(&self, modules: &[&str]) {
        for name in modules {
            self.install(name).await;
            self.module(&name.replace('_', "-"), &package(name));
        }
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}});
        self.apply_value(&namespace, "v1", "namespaces").await;
    }

    fn kubeconfig(&self) -> PathBuf {
        match &self.place {
            Place::Own(ring) => ring.kubeconfig(&Identity::admin(OPERATOR)).unwrap(),
            Place::Existing(path) => path.clone(),
        }
    }

    /// Installs the CRDs of a module.
    pub(crate) async fn install(&self, name: &str) {
        for kind in Package::read(package(name)).unwrap().manifest.kinds {
            self.apply_value(&kind.crd, "apiextensions.k8s.io/v1", "customresourcedefinitions").await;
            soon("the kind", || async { self.list(&kind.api_version, &kind.plural).await.map(drop) }).await;
        }
    }

    /// Puts a module where the operator looks for it, as a complete file.
    pub(crate) fn module(&self, name: &str, bytes: &[u8]) {
        let unfinished = self.modules.path().join(format!(".{name}"));
        std::fs::write(&unfinished, bytes).unwrap();
        std::fs::rename(unfinished, self.modules.path().join(format!("{name}.wasm"))).unwrap();
    }

    /// What an administrator sets for a module, before the operator starts.
    pub(crate) fn settings(&self, name: &str, settings: &Value) {
        std::fs::write(self.modules.path().join(format!("{name}.json")), settings.to_string()).unwrap();
    }

    /// Starts an operator and waits until it is ready.
    pub(crate) async fn operator(&self, arguments: &[&str]) -> Operator {
        self.operator_with(&self.kubeconfig(), arguments).await
    }

    /// Starts an operator with this kubeconfig and waits until it is ready.
    pub(crate) async fn operator_with(&self, kubeconfig: &Path, arguments: &[&str]) -> Operator {
        let operator = self.spawn(kubeconfig, arguments);
        soon("a ready operator", || async { operator.readiness().await.filter(|(code, _)| *code == 200) }).await;
        operator
    }

    /// Starts an operator one of whose background tasks panics a second after its begin.
    pub(crate) fn spawn_rigged(&self, kubeconfig: &Path, arguments: &[&str], task: &str) -> Operator {
        self.spawn_in(kubeconfig, arguments, &[("SCONE_OPERATOR_PANIC", task)])
    }

    /// Starts an operator.
    pub(crate) fn spawn(&self, kubeconfig: &Path, arguments: &[&str]) -> Operator {
        self.spawn_in(kubeconfig, arguments, &[])
    }

    fn spawn_in(&self, kubeconfig: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Operator {
        // The API server reaches no service here: webhooks are for tests that say where they are.
        let webhooks = if arguments.contains(&"--webhook-url") { "on" } else { "off" };
        // Compiled once for all clusters of all tests.
        let compiled = variable("SCONE_OPERATOR_MODULES").with_file_name("compiled-for-tests");
        let mut child = Command::new(variable("SCONE_OPERATOR_PROGRAM"))
            .args(["run", "--namespace", &self.namespace])
            .args(["--metrics-bind-address", "127.0.0.1:0", "--health-probe-bind-address", "127.0.0.1:0"])
            .arg("--modules")
            .arg(self.modules.path())
            .arg("--cache")
            .arg(compiled)
            .args(["--webhooks", webhooks])
            .args(arguments)
            .env("KUBECONFIG", kubeconfig)
            .envs(environment.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(Vec::<Value>::new()));
        let (lines, heard) = (BufReader::new(child.stderr.take().unwrap()).lines(), Arc::clone(&log));
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                heard.lock().unwrap().push(serde_json::from_str(&line).unwrap_or(Value::String(line)));
            }
        });
        Operator { child, log }
    }

    /// Runs another command of the program to its end, which has to be a good one.
    pub(crate) async fn run(&self, arguments: &[&str]) {
        let mut child = Command::new(variable("SCONE_OPERATOR_PROGRAM"))
            .args(arguments)
            .env("KUBECONFIG", self.kubeconfig())
            .spawn()
            .unwrap();
        let status = soon("the end of the command", || std::future::ready(child.try_wait().unwrap())).await;
        assert!(status.success(), "{arguments:?}: {status}");
    }

    /// A proxy in front of the API server, and the kubeconfig to reach the server through it as the operator.
    pub(crate) async fn proxy(&self, decide: impl Fn(&str, &str) -> Fate + Send + Sync + 'static) -> (Proxy, PathBuf) {
        let client = self.ring().client(&Identity::admin(OPERATOR)).await.unwrap();
        let proxy = Proxy::start(client, Arc::new(decide)).await.unwrap();
        let path = self.ring().path().join("proxy.kubeconfig");
        std::fs::write(&path, proxy.kubeconfig().to_string()).unwrap();
        (proxy, path)
    }

    /// The ring itself.
    pub(crate) fn ring(&self) -> &ApiRing {
        match &self.place {
            Place::Own(ring) => ring,
            Place::Existing(path) => {
                panic!("{}: a cluster that was there before is not ours to look into", path.display())
            }
        }
    }

    pub(crate) async fn create_node(&self, name: &str, labels: &Value) {
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}});
        self.apply_value(&node, "v1", "nodes").await;
    }

    /// Applies one of the manifests that the scenarios use.
    pub(crate) async fn apply(&self, file: &str) {
        let text =
            std::fs::read_to_string(test_support::checkout().join("tests/scenarios/manifests").join(file)).unwrap();
        let plural = if file.starts_with("sgx") { "sgxplugins" } else { "las" };
        self.apply_text(&text, "base.scone.cloud/v1beta1", plural).await;
    }

    /// The objects of one of the manifests that the scenarios use. No test asks a registry on the internet.
    pub(crate) fn manifest(file: &str) -> Vec<Value> {
        let path = test_support::checkout().join("tests/scenarios/manifests").join(file);
        let text = std::fs::read_to_string(path).unwrap();
        let mut objects: Vec<Value> =
            text.split("\n---\n").map(|document| serde_saphyr::from_str(document).unwrap()).collect();
        for object in &mut objects {
            if let Some(watched) = object.pointer_mut("/spec/autoUpdate") {
                *watched = false.into();
            }
        }
        objects
    }

    /// Applies all objects of such a manifest.
    pub(crate) async fn apply_all(&self, file: &str) {
        for object in Self::manifest(file) {
            self.apply_one(&object).await;
        }
    }

    /// Applies an object of a kind that modules serve, or a Secret.
    pub(crate) async fn apply_one(&self, object: &Value) {
        let (api_version, plural) = plural(object);
        self.apply_value(object, api_version, plural).await;
    }

    /// A client of an administrator who is not the operator.
    pub(crate) async fn client(&self) -> Client {
        self.ring().client(&Identity::admin("tester")).await.unwrap()
    }

    async fn apply_text(&self, text: &str, api_version: &str, plural: &str) {
        let mut value: Value = serde_saphyr::from_str(text).unwrap();
        // No test asks a registry on the internet.
        value["spec"]["autoUpdate"] = false.into();
        self.apply_value(&value, api_version, plural).await;
    }

    pub(crate) async fn apply_value(&self, value: &Value, api_version: &str, plural: &str) {
        self.apply_as("tester", value, api_version, plural).await;
    }

    /// Server-side apply under a field manager.
    pub(crate) async fn apply_as(&self, manager: &str, value: &Value, api_version: &str, plural: &str) {
        let path =
            path(api_version, plural, value["metadata"]["namespace"].as_str(), value["metadata"]["name"].as_str());
        let path = format!("{path}?fieldManager={manager}&force=true");
        self.send("PATCH", &path, "application/apply-patch+yaml", value).await.unwrap();
    }

    /// Any request, as an administrator.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        content: &str,
        body: &Value,
    ) -> Result<Value, kube::Error> {
        let request = http::Request::builder().method(method).uri(path).header("content-type", content);
        self.admin.request(request.body(body.to_string().into_bytes()).unwrap()).await
    }

    /// What is under a path, or why it is not shown.
    pub(crate) async fn read(&self, path: &str) -> Result<Value, kube::Error> {
        self.admin.request(http::Request::get(path).body(Vec::new()).unwrap()).await
    }

    pub(crate) async fn get(
        &self,
        api_version: &str,
        plural: &str,
        namespace: Option<&str>,
        name: &str,
    ) -> Option<Value> {
        let request = http::Request::get(path(api_version, plural, namespace, Some(name))).body(Vec::new()).unwrap();
        self.admin.request(request).await.ok()
    }

    /// All objects of a kind.
    pub(crate) async fn list(&self, api_version: &str, plural: &str) -> Option<Value> {
        let request = http::Request::get(path(api_version, plural, None, None)).body(Vec::new()).unwrap();
        self.admin.request(request).await.ok()
    }

    pub(crate) async fn delete(&self, api_version: &str, plural: &str, namespace: Option<&str>, name: &str) {
        let request = http::Request::delete(path(api_version, plural, namespace, Some(name))).body(Vec::new()).unwrap();
        self.admin.request::<Value>(request).await.unwrap();
    }

    /// Whether this replica holds the lease.
    pub(crate) async fn holder(&self, identity: &str) -> Option<()> {
        let lease = self.get("coordination.k8s.io/v1", "leases", Some("scone-system"), "61d57791.scone.cloud").await?;
        (lease["spec"]["holderIdentity"] == identity).then_some(())
    }

    /// What the operator wrote, leases apart; requests that were refused count too.
    pub(crate) fn writes(&self) -> Vec<Value> {
        let audit = self.ring().audit();
        // A question about rights is a request that creates something, and stores nothing.
        let apart = |event: &Value| {
            ["leases", "selfsubjectaccessreviews"].iter().any(|kind| event["objectRef"]["resource"] == *kind)
        };
        audit.into_iter().filter(|event| event["user"]["username"] == OPERATOR && !apart(event)).collect()
    }

    /// Whether the operator has written nothing for so long.
    pub(crate) async fn quiet(&self, time: Duration) -> Option<()> {
        let before = self.writes().len();
        tokio::time::sleep(time).await;
        (self.writes().len() == before).then_some(())
    }
}

/// The API version and the plural of an object of a kind that modules serve, or of a Secret.
pub(crate) fn plural(object: &Value) -> (&str, &'static str) {
    let plural = match object["kind"].as_str().unwrap() {
        "SGXPlugin" => "sgxplugins",
        "LAS" => "las",
        "CAS" => "cas",
        "Vault" => "vaults",
        "SignedPolicy" => "signedpolicies",
        "EncryptedPolicy" => "encryptedpolicies",
        "ImagePullSecret" => "imagepullsecrets",
        "Secret" => "secrets",
        other => panic!("the plural of {other} is not known here"),
    };
    (object["apiVersion"].as_str().unwrap(), plural)
}

fn path(api_version: &str, plural: &str, namespace: Option<&str>, name: Option<&str>) -> String {
    let root = if api_version.contains('/') { "apis" } else { "api" };
    let namespace = namespace.map(|namespace| format!("/namespaces/{namespace}")).unwrap_or_default();
    let name = name.map(|name| format!("/{name}")).unwrap_or_default();
    format!("/{root}/{api_version}{namespace}/{plural}{name}")
}

/// A running operator. It is killed when this is dropped.
pub(crate) struct Operator {
    child: Child,
    log: Arc<Mutex<Vec<Value>>>,
}

impl Operator {
    /// Where it serves something, as its log says.
    pub(crate) fn address(&self, what: &str) -> Option<String> {
        let log = self.log.lock().unwrap();
        log.iter().find(|line| line["what"] == what && line["message"] == "serves")?["address"]
            .as_str()
            .map(str::to_owned)
    }

    /// What it answers on a path: the code and the text.
    async fn answer(&self, what: &str, path: &str) -> Option<(u16, String)> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(self.address(what)?).await.ok()?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.ok()?;
        let code = text.split(' ').nth(1)?.parse().ok()?;
        Some((code, text.split_once("\r\n\r\n")?.1.to_owned()))
    }

    pub(crate) async fn metrics(&self) -> String {
        self.answer("metrics", "/metrics").await.map(|(_, text)| text).unwrap_or_default()
    }

    /// What it answers on `/readyz`.
    pub(crate) async fn readiness(&self) -> Option<(u16, String)> {
        self.answer("health", "/readyz").await
    }

    /// What it answers on `/livez`.
    pub(crate) async fn liveness(&self) -> Option<(u16, String)> {
        self.answer("health", "/livez").await
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Its log so far, one JSON object a line.
    pub(crate) fn log(&self) -> Vec<Value> {
        self.log.lock().unwrap().clone()
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Its resident memory in bytes.
    pub(crate) fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most memory that it had since [`Operator::forget_peak`], in bytes.
    pub(crate) fn peak(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// Lets the peak of memory start anew.
    pub(crate) fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
    }

    fn status(&self, field: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// Sends SIGTERM and waits for an orderly end.
    pub(crate) async fn stop(mut self) {
        self.terminate();
        let status = soon("the operator's end", || std::future::ready(self.child.try_wait().unwrap())).await;
        assert!(status.success(), "{status}: {:#?}", self.log.lock().unwrap());
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            for line in self.log.lock().unwrap().iter() {
                eprintln!("{line}");
            }
        }
    }
}
