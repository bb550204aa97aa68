//! A cluster with a node, and what people do with it: they install a chart and type `kubectl`.

use std::{
    path::PathBuf,
    process::{Command, Output},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use cluster::{Identity, NodeRing, tools};
use kube::Client;
use serde_json::{Value, json};

/// How long anything may take.
const SOON: Duration = Duration::from_mins(5);
/// The operator's namespace.
pub(crate) const NAMESPACE: &str = "scone-system";
/// The tag of the images in the manifests.
const STAND_INS: &str = "6.0.6";
const BASE: &str = "/apis/base.scone.cloud/v1beta1";
/// The resource of LAS.
pub(crate) const LAS: &str = "/apis/base.scone.cloud/v1beta1/las";

/// Asks again and again until there is an answer.
pub(crate) async fn soon<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let started = Instant::now();
    let mut poll = tokio::time::interval(Duration::from_millis(100));
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
    path.unwrap_or_else(|| panic!("{name} names nothing that exists; run the tests with `cargo xtask test node`"))
}

/// A file of this repository.
fn file(path: &str) -> PathBuf {
    test_support::checkout().join(path)
}

/// A built module, or a fixture.
fn package(name: &str) -> PathBuf {
    let folders = ["SCONE_OPERATOR_MODULES", "SCONE_OPERATOR_FIXTURES"].map(variable);
    let found = folders.iter().map(|folder| folder.join(format!("{name}.wasm"))).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("there is no module {name}"))
}

/// A ring with the operator's image and the stand-ins for SCONE's.
pub(crate) struct Site {
    ring: NodeRing,
    admin: Client,
}

impl Site {
    pub(crate) async fn start() -> Self {
        let ring = NodeRing::start(&mut |what| eprintln!("{what} ...")).await.unwrap();
        ring.import_tar(&variable("SCONE_OPERATOR_IMAGE")).unwrap();
        ring.import_stand_ins(STAND_INS, &cas()).unwrap();
        let admin = ring.client(&Identity::admin("tester")).await.unwrap();
        Self { ring, admin }
    }

    /// The line of the README that installs the operator, in the checkout, as it stands there, with more words behind it.
    pub(crate) fn install(&self, more: &[&str]) -> Duration {
        let started = Instant::now();
        let readme = std::fs::read_to_string(file("README.md")).unwrap();
        let line =
            readme.lines().find_map(|line| line.strip_prefix("helm ").filter(|rest| rest.starts_with("install")));
        let words: Vec<&str> = line.expect("the README installs the operator").split_whitespace().collect();
        assert!(words.windows(2).any(|pair| pair == ["--namespace", NAMESPACE]), "{words:?}");
        let mut helm = self.ring.outside(&tools::HELM).unwrap();
        succeed(helm.current_dir(file("")).args(words).args(["--timeout", "600s"]).args(more));
        started.elapsed()
    }

    pub(crate) fn helm(&self, words: &[&str]) -> String {
        succeed(self.ring.outside(&tools::HELM).unwrap().args(words))
    }

    pub(crate) fn kubectl(&self, words: &[&str]) -> String {
        succeed(self.ring.outside(&tools::KUBECTL).unwrap().args(words))
    }

    /// `kubectl apply -f` with one of the manifests that the scenarios use.
    pub(crate) fn apply(&self, manifest: &str) {
        let path = file("tests/scenarios/manifests").join(manifest).display().to_string();
        self.kubectl(&["apply", "--server-side", "-f", &path]);
    }

    /// What a module needs, as a value for the chart: `modctl rbac MODULE -o json`.
    pub(crate) fn rules(module: &str) -> String {
        let mut modctl = Command::new(variable("SCONE_OPERATOR_MODCTL"));
        let roles = succeed(modctl.arg("rbac").arg(package(module)).args(["-o", "json"]));
        let roles: Value = serde_json::from_str(&roles).unwrap();
        format!("rbac.extraRules={}", roles["cluster"])
    }

    /// `modctl configmap MODULE | kubectl apply --server-side -f -`.
    pub(crate) fn apply_module(&self, module: &str, name: &str) {
        let mut modctl = Command::new(variable("SCONE_OPERATOR_MODCTL"));
        modctl.arg("configmap").arg(package(module)).args(["--name", name, "--namespace", NAMESPACE]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("configmap.yaml");
        std::fs::write(&path, succeed(&mut modctl)).unwrap();
        self.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", path.to_str().unwrap()]);
    }

    /// `kubectl apply --server-side -f -` with one object.
    pub(crate) fn apply_value(&self, object: &Value) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("object.json");
        std::fs::write(&path, object.to_string()).unwrap();
        self.kubectl(&["apply", "--server-side", "-f", path.to_str().unwrap()]);
    }

    /// A volume of this machine for a claim.
    pub(crate) fn volume_for(&self, claim: &str) {
        self.apply_value(&json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": claim},
            "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "",
                "hostPath": {"path": format!("/tmp/{claim}"), "type": "DirectoryOrCreate"},
                "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": "default", "name": claim}}}));
    }

    /// The manifests of a file that the scenarios use.
    pub(crate) fn manifests(name: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(file("tests/scenarios/manifests").join(name)).unwrap();
        text.split("\n---\n").map(|document| serde_saphyr::from_str(document).unwrap()).collect()
    }

    /// A resource in the namespace `default` whose status shows this.
    pub(crate) async fn showing(&self, path: &str, field: &str, value: &str) -> Value {
        let (api, rest) = path.split_once(' ').unwrap();
        let (plural, name) = rest.split_once('/').unwrap();
        let path = format!("/apis/{api}/namespaces/default/{plural}/{name}");
        soon(&format!("{plural} {name} with {field} {value}"), || async {
            self.get(&path).await.filter(|found| found["status"][field] == value)
        })
        .await
    }

    /// Applies the CRDs of a module.
    pub(crate) fn apply_crds(&self, module: &str) {
        let package = operator_package::Package::read(std::fs::read(package(module)).unwrap()).unwrap();
        for kind in package.manifest.kinds {
            self.apply_value(&kind.crd);
            self.kubectl(&[
                "wait",
                "--for=condition=Established",
                "--timeout=300s",
                &format!("crd/{}", kind.crd["metadata"]["name"].as_str().unwrap()),
            ]);
        }
    }

    /// What the API server has at a path.
    pub(crate) async fn get(&self, path: &str) -> Option<Value> {
        self.admin.request(http::Request::get(path).body(Vec::new()).unwrap()).await.ok()
    }

    /// The items of a list.
    pub(crate) async fn items(&self, path: &str) -> Vec<Value> {
        self.get(path).await.map(|list| list["items"].as_array().unwrap().clone()).unwrap_or_default()
    }

    /// A change of one object, as an administrator.
    pub(crate) async fn merge(&self, path: &str, change: &Value) -> Result<Value, kube::Error> {
        let request = http::Request::patch(path).header("content-type", "application/merge-patch+json");
        self.admin.request(request.body(change.to_string().into_bytes()).unwrap()).await
    }

    /// The operator's pods.
    pub(crate) async fn operators(&self) -> Vec<Value> {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=control-plane%3Dcontroller-manager");
        self.items(&path).await
    }

    /// A SCONE resource, once it is healthy.
    pub(crate) async fn healthy(&self, plural: &str, name: &str) -> Option<Value> {
        self.get(&format!("{BASE}/{plural}/{name}")).await.filter(|object| object["status"]["state"] == "HEALTHY")
    }

    /// The node's labels.
    pub(crate) async fn labels(&self) -> Value {
        self.get("/api/v1/nodes/node").await.map(|node| node["metadata"]["labels"].clone()).unwrap_or_default()
    }

    /// Waits for the SGX plug-in and LAS with pods that run.
    pub(crate) async fn with_services(&self) {
        self.kubectl(&["label", "node", "node", "intel.feature.node.kubernetes.io/sgx=true"]);
        self.apply("sgxplugin.yaml");
        self.apply("las.yaml");
        soon("a healthy LAS", || self.healthy("las", "las")).await;
    }
}

/// The stand-in for CAS and the libraries of this machine that it needs, by their paths in an image. It lies beside the operator.
fn cas() -> Vec<(String, Vec<u8>)> {
    // Beside the other tools; what ships is in a folder of its own.
    let program = variable("SCONE_OPERATOR_MODCTL").with_file_name("stand-in-cas");
    let told = succeed(Command::new("ldd").arg(&program));
    let words = told.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    let libraries = words.map(|path| (path.trim_start_matches('/').to_owned(), std::fs::read(path).unwrap()));
    [("bin/stand-in-cas".to_owned(), std::fs::read(&program).unwrap())].into_iter().chain(libraries).collect()
}

/// Runs a program that has to end well, and gives what it wrote.
fn succeed(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {status}\n{out}\n{err}");
    out.into_owned()
}

/// Creates LAS resources in dry runs from several tasks until it is stopped: each asks the webhooks twice.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    failed: Arc<Mutex<Vec<String>>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

/// The port of a LAS that is created in a dry run: the webhooks give it.
async fn created(admin: &Client) -> Result<Value, kube::Error> {
    let las = json!({"apiVersion": "base.scone.cloud/v1beta1", "kind": "LAS", "metadata": {"name": "load"}});
    let request = http::Request::post(format!("{LAS}?dryRun=All")).header("content-type", "application/json");
    let made = admin.request::<Value>(request.body(las.to_string().into_bytes()).unwrap()).await?;
    Ok(made["spec"]["hostPort"].clone())
}

impl Load {
    /// Begins once the API server has heard of the webhooks: until then it stores what nobody gave defaults to.
    pub(crate) async fn start(site: &Site, tasks: usize) -> Self {
        soon("defaults", || async { (created(&site.admin).await.ok()? == 18766).then_some(()) }).await;
        let (stop, sent, failed) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default(), Arc::default());
        let run = |_| {
            let (admin, stop, sent) = (site.admin.clone(), Arc::clone(&stop), Arc::clone(&sent));
            let failed: Arc<Mutex<Vec<String>>> = Arc::clone(&failed);
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    match created(&admin).await {
                        Ok(port) if port == 18766 => {}
                        Ok(port) => failed.lock().unwrap().push(format!("no default: {port}")),
                        Err(error) => failed.lock().unwrap().push(error.to_string()),
                    }
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let tasks = (0..tasks).map(run).collect();
        Self { stop, sent, failed, tasks }
    }

    /// Waits for so many more requests.
    pub(crate) async fn goes_on(&self, more: usize) {
        let wanted = self.sent.load(Ordering::Relaxed) + more;
        let enough = || std::future::ready((self.sent.load(Ordering::Relaxed) >= wanted).then_some(()));
        soon("more requests", enough).await;
    }

    /// Ends the load, and gives how many requests there were; none may have failed.
    pub(crate) async fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        let failed = self.failed.lock().unwrap();
        let sent = self.sent.load(Ordering::Relaxed);
        assert!(failed.is_empty(), "{} of {sent} failed, such as {}", failed.len(), failed[0]);
        sent
    }
}
