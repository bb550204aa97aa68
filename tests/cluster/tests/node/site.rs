//! A cluster with a node, and what people do with it: they install a chart and type `kubectl`.

use std::{
    path::PathBuf,
    process::{Command, Output},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use cluster::{Identity, NodeRing, ending, tools};
use kube::Client;
use serde_json::{Value, json};
use test_support::{Load, Patience, artefact, module_file, saw};

/// How long anything may take.
const PATIENCE: Patience = Patience { limit: Duration::from_mins(5), every: Duration::from_millis(100) };
/// How long each task of a load rests between two requests. Without it, a pod that started beside it took over two minutes to become ready.
const PAUSE: Duration = Duration::from_millis(100);
/// The operator's namespace.
pub(crate) const NAMESPACE: &str = "scone-system";
/// The tag of the images in the manifests.
const STAND_INS: &str = "6.0.6";
const BASE: &str = "/apis/base.scone.cloud/v1beta1";
/// The resource of LAS.
pub(crate) const LAS: &str = "/apis/base.scone.cloud/v1beta1/las";

/// Asks again and again until there is an answer.
pub(crate) async fn soon<T, F: Future<Output = Option<T>>>(what: &str, ask: impl FnMut() -> F) -> T {
    PATIENCE.soon(what, ask).await
}

/// A file of this repository.
fn file(path: &str) -> PathBuf {
    test_support::checkout().join(path)
}

/// A ring with the operator's image and the stand-ins for SCONE's.
///
/// When it goes, it looks back: a request of an account in the operator's namespace that was forbidden, or a panic or a marked secret in the
/// log of an operator that is still there, fails the test.
pub(crate) struct Site {
    ring: NodeRing,
    admin: Client,
    /// How many requests were looked back at already.
    seen: AtomicUsize,
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.nothing_was_forbidden();
        let words = ["logs", "--tail=-1", "--namespace", NAMESPACE, "--selector", "control-plane=controller-manager"];
        // Pods that begin or end have no log to show: that of the others is shown all the same.
        let output = self.ring.outside(&tools::KUBECTL).unwrap().args(words).output().unwrap();
        let log = String::from_utf8_lossy(&output.stdout);
        let told: Vec<&str> = ending::panics(&log).into_iter().chain(ending::secrets(&log)).collect();
        assert!(told.is_empty(), "an operator wrote:\n  {}", told.join("\n  "));
    }
}

impl Site {
    pub(crate) async fn start() -> Self {
        cluster::end_with_parent();
        let ring = NodeRing::start(&mut |what| eprintln!("{what} ...")).await.unwrap();
        ring.import_tar(&artefact("SCONE_OPERATOR_IMAGE")).unwrap();
        ring.import_stand_ins(STAND_INS, &cas()).unwrap();
        let admin = ring.client(&Identity::admin("tester")).await.unwrap();
        Self { ring, admin, seen: AtomicUsize::new(0) }
    }

    /// Fails when a request was forbidden since this was asked last.
    fn nothing_was_forbidden(&self) {
        let requests = self.ring.requests();
        let from = self.seen.swap(requests.len(), Ordering::Relaxed);
        let forbidden = ending::forbidden(requests.get(from..).unwrap_or_default(), &[]);
        assert!(forbidden.is_empty(), "on the test's way:\n  {}", forbidden.join("\n  "));
    }

    /// `helm uninstall`, and the end of the operator. Helm takes its rights while its last pod still drains, so what is forbidden to that one
    /// is no fault.
    pub(crate) async fn uninstall(&self) {
        self.nothing_was_forbidden();
        self.helm(&["uninstall", "scone-operator", "--namespace", NAMESPACE, "--wait", "--timeout", "600s"]);
        // Helm does not wait for pods that drain.
        soon("the end of the operator", || async { self.operators().await.is_empty().then_some(()) }).await;
        self.seen.store(self.ring.requests().len(), Ordering::Relaxed);
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
        let mut modctl = Command::new(artefact("SCONE_OPERATOR_MODCTL"));
        let roles = succeed(modctl.arg("rbac").arg(module_file(module)).args(["-o", "json"]));
        let roles: Value = serde_json::from_str(&roles).unwrap();
        format!("rbac.extraRules={}", roles["cluster"])
    }

    /// What a module asks for, as a value for the chart: `modctl grants MODULE -o json`.
    pub(crate) fn grants(module: &str) -> String {
        let mut modctl = Command::new(artefact("SCONE_OPERATOR_MODCTL"));
        let grants = succeed(modctl.arg("grants").arg(module_file(module)).args(["-o", "json"]));
        format!("grants={}", grants.trim())
    }

    /// `modctl configmap MODULE | kubectl apply --server-side -f -`.
    pub(crate) fn apply_module(&self, module: &str, name: &str) {
        let mut modctl = Command::new(artefact("SCONE_OPERATOR_MODCTL"));
        modctl.arg("configmap").arg(module_file(module)).args(["--name", name, "--namespace", NAMESPACE]);
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
        let package = operator_package::Package::read(test_support::module(module)).unwrap();
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
        let found: Option<Value> = self.admin.request(http::Request::get(path).body(Vec::new()).unwrap()).await.ok();
        let items = found.as_ref().and_then(|found| found["items"].as_array());
        saw((path.to_owned(), items.map_or_else(|| format!("{found:?}"), |items| format!("{} items", items.len()))));
        found
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
    let program = artefact("SCONE_OPERATOR_MODCTL").with_file_name("stand-in-cas");
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

/// The port of a LAS that is created in a dry run: the webhooks give it.
async fn created(admin: &Client) -> Result<Value, kube::Error> {
    let las = json!({"apiVersion": "base.scone.cloud/v1beta1", "kind": "LAS", "metadata": {"name": "load"}});
    let request = http::Request::post(format!("{LAS}?dryRun=All")).header("content-type", "application/json");
    let made = admin.request::<Value>(request.body(las.to_string().into_bytes()).unwrap()).await?;
    Ok(made["spec"]["hostPort"].clone())
}

/// Creates LAS resources in dry runs from several tasks until it is ended: each asks the webhooks twice. Begins once the API server has heard
/// of the webhooks: until then it stores what nobody gave defaults to.
pub(crate) async fn load(site: &Site, tasks: usize) -> Load {
    let admin = site.admin.clone();
    Load::start(PATIENCE, tasks, PAUSE, move || {
        let admin = admin.clone();
        async move {
            match created(&admin).await {
                Ok(port) if port == 18766 => None,
                Ok(port) => Some(format!("no default: {port}")),
                Err(error) => Some(error.to_string()),
            }
        }
    })
    .await
}
