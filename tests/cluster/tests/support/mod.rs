//! A cluster with CRDs and modules, an operator to start, and what tests ask of them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests fail as tests do; clippy knows test functions only"
)]

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use cluster::{ApiRing, Identity};
use kube::Client;
use serde_json::{Value, json};

/// How long anything may take.
const SOON: Duration = Duration::from_secs(60);

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

fn variable(name: &str) -> PathBuf {
    let path = std::env::var_os(name).map(PathBuf::from).filter(|path| path.exists());
    path.unwrap_or_else(|| panic!("{name} names nothing that exists; run the tests with `cargo xtask test api`"))
}

/// The bytes of a built module.
pub(crate) fn package(name: &str) -> Vec<u8> {
    std::fs::read(variable("SCONE_OPERATOR_MODULES").join(format!("{name}.wasm"))).unwrap()
}

/// A cluster of its own, with CRDs, a namespace and a folder of modules.
pub(crate) struct Stage {
    ring: ApiRing,
    admin: Client,
    modules: tempfile::TempDir,
}

/// The user as whom the operator works.
const OPERATOR: &str = "scone-operator";

impl Stage {
    pub(crate) async fn start() -> Self {
        let ring = ApiRing::start(&mut |what| eprintln!("{what} ...")).await.unwrap();
        let admin = ring.client(&Identity::admin("tester")).await.unwrap();
        let stage = Self { ring, admin, modules: tempfile::tempdir().unwrap() };
        let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/crds");
        let files = std::fs::read_dir(crds).unwrap().map(|entry| entry.unwrap().path());
        for file in files.filter(|file| file.extension().is_some_and(|extension| extension == "yaml")) {
            let text = std::fs::read_to_string(file).unwrap();
            stage.apply_text(&text, "apiextensions.k8s.io/v1", "customresourcedefinitions").await;
        }
        for plural in ["las", "sgxplugins"] {
            soon("the kinds", || async { stage.list("base.scone.cloud/v1beta1", plural).await.map(drop) }).await;
        }
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "scone-system"}});
        stage.apply_value(&namespace, "v1", "namespaces").await;
        for name in ["las", "sgxplugin"] {
            stage.module(name, &package(name));
        }
        stage
    }

    /// Puts a module where the operator looks for it, as a complete file.
    pub(crate) fn module(&self, name: &str, bytes: &[u8]) {
        let unfinished = self.modules.path().join(format!(".{name}"));
        std::fs::write(&unfinished, bytes).unwrap();
        std::fs::rename(unfinished, self.modules.path().join(format!("{name}.wasm"))).unwrap();
    }

    /// Starts an operator and waits until it is ready.
    pub(crate) async fn operator(&self, arguments: &[&str]) -> Operator {
        let kubeconfig = self.ring.kubeconfig(&Identity::admin(OPERATOR)).unwrap();
        let mut child = Command::new(variable("SCONE_OPERATOR_PROGRAM"))
            .args([
                "run",
                "--namespace",
                "scone-system",
                "--metrics-bind-address",
                "127.0.0.1:0",
                "--health-probe-bind-address",
                "127.0.0.1:0",
                "--modules",
            ])
            .arg(self.modules.path())
            .arg("--cache")
            .arg(self.ring.path().join("compiled"))
            .args(arguments)
            .env("KUBECONFIG", kubeconfig)
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
        let operator = Operator { child, log };
        soon("a ready operator", || async {
            operator.answer("health", "/readyz").await.filter(|(code, _)| *code == 200)
        })
        .await;
        operator
    }

    pub(crate) async fn create_node(&self, name: &str, labels: &Value) {
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}});
        self.apply_value(&node, "v1", "nodes").await;
    }

    /// Applies one of the manifests that the scenarios use.
    pub(crate) async fn apply(&self, file: &str) {
        let text =
            std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/manifests").join(file))
                .unwrap();
        let plural = if file.starts_with("sgx") { "sgxplugins" } else { "las" };
        self.apply_text(&text, "base.scone.cloud/v1beta1", plural).await;
    }

    async fn apply_text(&self, text: &str, api_version: &str, plural: &str) {
        let value: Value = serde_saphyr::from_str(text).unwrap();
        self.apply_value(&value, api_version, plural).await;
    }

    async fn apply_value(&self, value: &Value, api_version: &str, plural: &str) {
        let path =
            path(api_version, plural, value["metadata"]["namespace"].as_str(), value["metadata"]["name"].as_str());
        let request = http::Request::patch(format!("{path}?fieldManager=tester&force=true"));
        let request =
            request.header("content-type", "application/apply-patch+yaml").body(value.to_string().into_bytes());
        self.admin.request::<Value>(request.unwrap()).await.unwrap();
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

    async fn list(&self, api_version: &str, plural: &str) -> Option<Value> {
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
        let audit = self.ring.audit();
        let of_operator =
            |event: &Value| event["user"]["username"] == OPERATOR && event["objectRef"]["resource"] != "leases";
        audit.into_iter().filter(of_operator).collect()
    }

    /// Whether the operator has written nothing for so long.
    pub(crate) async fn quiet(&self, time: Duration) -> Option<()> {
        let before = self.writes().len();
        tokio::time::sleep(time).await;
        (self.writes().len() == before).then_some(())
    }
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
    fn address(&self, what: &str) -> Option<String> {
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

    /// Sends SIGTERM and waits for an orderly end.
    pub(crate) async fn stop(mut self) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
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
