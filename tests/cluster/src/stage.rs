//! A cluster with CRDs and modules, an operator to start, and what tests ask of them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::missing_panics_doc,
    reason = "helpers of tests fail as tests do"
)]

mod lease;
mod operator;
mod told;

pub mod balancer;
pub mod certificates;
pub mod kubelet;

use std::{
    fmt::Debug,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use kube::Client;
use operator_package::Package;
use serde_json::{Value, json};
use test_support::{Patience, artefact, canary, module, saw};

use crate::{ApiRing, Fate, Identity, Proxy, ending};

pub use operator::Operator;
use operator::{Log, Start};

/// How long anything may take.
pub const PATIENCE: Patience = Patience { limit: Duration::from_mins(1), every: Duration::from_millis(50) };

/// Asks again and again until there is an answer.
pub async fn soon<T, F: Future<Output = Option<T>>>(what: &str, ask: impl FnMut() -> F) -> T {
    PATIENCE.soon(what, ask).await
}

/// Asks again and again until the answer is as it should be; who waits in vain is shown the last one.
pub async fn until<T: Debug, F: Future<Output = T>>(
    what: &str,
    ask: impl FnMut() -> F,
    holds: impl Fn(&T) -> bool,
) -> T {
    PATIENCE.until(what, ask, holds).await
}

/// A cluster of its own, with CRDs, a namespace and a folder of modules.
///
/// When it goes, it looks back at all operators that worked in it: a request that was forbidden and not announced, a panic, or a line that
/// tells a marked secret fails the test.
pub struct Stage {
    place: Place,
    admin: Client,
    /// The operator's own namespace.
    namespace: String,
    modules: tempfile::TempDir,
    logs: Mutex<Vec<Log>>,
    forbidden: Mutex<Vec<ending::Announced>>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let complaints = self.complaints();
        assert!(complaints.is_empty(), "the test came to its end, but on the way:\n  {}", complaints.join("\n  "));
    }
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

/// What does not count as writing: who holds the lease renews it, and a question about rights creates what is not stored.
const APART: [&str; 2] = ["leases", "selfsubjectaccessreviews"];

/// The user as whom the operator works.
const OPERATOR: &str = "scone-operator";

impl Stage {
    /// With the modules that are shipped.
    pub async fn start() -> Self {
        Self::with(&["las", "sgxplugin"]).await
    }

    /// With these modules, their CRDs, and the namespace `scone-system`.
    pub async fn with(modules: &[&str]) -> Self {
        crate::end_with_parent();
        let ring = ApiRing::start(&mut |what| eprintln!("{what} ...")).await.unwrap();
        let admin = ring.client(&Identity::admin("tester")).await.unwrap();
        let stage = Self::at(Place::Own(Box::new(ring)), admin, "scone-system");
        stage.furnish(modules).await;
        stage
    }

    /// In the cluster that `SCONE_OPERATOR_KUBECONFIG` names, or else in one of its own, known by nothing but its kubeconfig. The
    /// operator's namespace is `namespace`.
    pub async fn existing(modules: &[&str], namespace: &str) -> Self {
        crate::end_with_parent();
        let (place, path) = if let Some(path) = std::env::var_os(EXISTING).map(PathBuf::from) {
            (Place::Existing(path.clone()), path)
        } else {
            let ring = ApiRing::start(&mut |what| eprintln!("{what} ...")).await.unwrap();
            let path = ring.kubeconfig(&Identity::admin("somebody")).unwrap();
            (Place::Own(Box::new(ring)), path)
        };
        let stage = Self::at(place, crate::client(&path).await.unwrap(), namespace);
        for kind in modules.iter().flat_map(|name| Package::read(module(name)).unwrap().manifest.kinds) {
            let there = stage.list(&kind.api_version, &kind.plural).await;
            assert!(there.is_none(), "{} is in this cluster already: the test would take it away", kind.plural);
        }
        stage.furnish(modules).await;
        stage
    }

    fn at(place: Place, admin: Client, namespace: &str) -> Self {
        let (namespace, modules) = (namespace.to_owned(), tempfile::tempdir().unwrap());
        Self { place, admin, namespace, modules, logs: Mutex::default(), forbidden: Mutex::default() }
    }

    async fn furnish(&self, modules: &[&str]) {
        for name in modules {
            self.install(name).await;
            self.module(&name.replace('_', "-"), &module(name));
        }
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}});
        self.apply_value(&namespace, "v1", "namespaces").await;
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "marked", "namespace": self.namespace},
            "stringData": {"password": canary::MARK}});
        self.apply_value(&secret, "v1", "secrets").await;
    }

    /// Says that operators will be forbidden to do this to a resource, and have to be: `list`, `nodes`.
    pub fn forbids(&self, verb: &str, resource: &str) {
        let mut forbidden = self.forbidden.lock().unwrap();
        forbidden.push((verb.to_owned(), resource.to_owned()));
    }

    /// What is wrong with what operators did here.
    fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        // A cluster that was there before does not show its audit log.
        if let Place::Own(ring) = &self.place {
            let announced = self.forbidden.lock().unwrap_or_else(PoisonError::into_inner);
            complaints.extend(ending::forbidden(&ring.requests(), &announced));
        }
        let logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        complaints.extend(logs.iter().flat_map(Log::complaints));
        complaints
    }

    fn kubeconfig(&self) -> PathBuf {
        match &self.place {
            Place::Own(ring) => ring.kubeconfig(&Identity::admin(OPERATOR).audited()).unwrap(),
            Place::Existing(path) => path.clone(),
        }
    }

    /// Installs the CRDs of a module.
    pub async fn install(&self, name: &str) {
        for kind in Package::read(module(name)).unwrap().manifest.kinds {
            self.apply_value(&kind.crd, "apiextensions.k8s.io/v1", "customresourcedefinitions").await;
            soon("the kind", || async { self.list(&kind.api_version, &kind.plural).await.map(drop) }).await;
        }
    }

    /// Puts a module where the operator looks for it, as a complete file.
    pub fn module(&self, name: &str, bytes: &[u8]) {
        let unfinished = self.modules.path().join(format!(".{name}"));
        std::fs::write(&unfinished, bytes).unwrap();
        std::fs::rename(unfinished, self.modules.path().join(format!("{name}.wasm"))).unwrap();
    }

    /// Takes a module away.
    pub fn remove(&self, name: &str) {
        std::fs::remove_file(self.modules.path().join(format!("{name}.wasm"))).unwrap();
    }

    /// What an administrator sets for a module, before the operator starts.
    pub fn settings(&self, name: &str, settings: &Value) {
        std::fs::write(self.modules.path().join(format!("{name}.json")), settings.to_string()).unwrap();
    }

    /// Starts an operator and waits until it is ready.
    pub async fn operator(&self, arguments: &[&str]) -> Operator {
        self.operator_with(&self.kubeconfig(), arguments).await
    }

    /// Starts an operator with this kubeconfig and waits until it is ready.
    pub async fn operator_with(&self, kubeconfig: &Path, arguments: &[&str]) -> Operator {
        let operator = self.spawn(kubeconfig, arguments);
        soon("a ready operator", || async { operator.readiness().await.filter(|(code, _)| *code == 200) }).await;
        operator
    }

    /// Starts an operator one of whose background tasks panics a second after its begin.
    pub fn spawn_rigged(&self, kubeconfig: &Path, arguments: &[&str], task: &str) -> Operator {
        self.spawn_as(kubeconfig, arguments, Some(task))
    }

    /// Starts an operator.
    pub fn spawn(&self, kubeconfig: &Path, arguments: &[&str]) -> Operator {
        self.spawn_as(kubeconfig, arguments, None)
    }

    fn spawn_as(&self, kubeconfig: &Path, arguments: &[&str], panics: Option<&str>) -> Operator {
        let modules = self.modules.path();
        let start = Start { admin: &self.admin, namespace: &self.namespace, modules, kubeconfig, arguments, panics };
        let operator = start.start();
        self.logs.lock().unwrap().push(operator.hears());
        operator
    }

    /// Runs another command of the program to its end, which has to be a good one.
    pub async fn run(&self, arguments: &[&str]) {
        let mut child = Command::new(artefact("SCONE_OPERATOR_PROGRAM"))
            .args(arguments)
            .env("KUBECONFIG", self.kubeconfig())
            .spawn()
            .unwrap();
        let status = soon("the end of the command", || std::future::ready(child.try_wait().unwrap())).await;
        assert!(status.success(), "{arguments:?}: {status}");
    }

    /// A proxy in front of the API server, and the kubeconfig to reach the server through it as the operator.
    pub async fn proxy(&self, decide: impl Fn(&str, &str) -> Fate + Send + Sync + 'static) -> (Proxy, PathBuf) {
        self.proxy_as(OPERATOR, decide).await
    }

    /// The same as another user.
    pub async fn proxy_as(
        &self,
        user: &str,
        decide: impl Fn(&str, &str) -> Fate + Send + Sync + 'static,
    ) -> (Proxy, PathBuf) {
        let client = self.ring().client(&Identity::admin(user).audited()).await.unwrap();
        let proxy = Proxy::start(client, Arc::new(decide)).await.unwrap();
        let path = self.ring().path().join(format!("proxy-of-{user}.kubeconfig"));
        std::fs::write(&path, proxy.kubeconfig().to_string()).unwrap();
        (proxy, path)
    }

    /// The ring itself.
    pub fn ring(&self) -> &ApiRing {
        match &self.place {
            Place::Own(ring) => ring,
            Place::Existing(path) => {
                panic!("{}: a cluster that was there before is not ours to look into", path.display())
            }
        }
    }

    /// Makes a node, which is an API object and nothing else here.
    pub async fn create_node(&self, name: &str, labels: &Value) {
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}});
        self.apply_value(&node, "v1", "nodes").await;
    }

    /// Applies one of the manifests that the scenarios use.
    pub async fn apply(&self, file: &str) {
        let text =
            std::fs::read_to_string(test_support::checkout().join("tests/scenarios/manifests").join(file)).unwrap();
        let plural = if file.starts_with("sgx") { "sgxplugins" } else { "las" };
        self.apply_text(&text, "base.scone.cloud/v1beta1", plural).await;
    }

    /// The objects of one of the manifests that the scenarios use. No test asks a registry on the internet, and every credential is marked.
    pub fn manifest(file: &str) -> Vec<Value> {
        let path = test_support::checkout().join("tests/scenarios/manifests").join(file);
        let text = std::fs::read_to_string(path).unwrap();
        let mut objects: Vec<Value> =
            text.split("\n---\n").map(|document| serde_saphyr::from_str(document).unwrap()).collect();
        for object in &mut objects {
            if let Some(watched) = object.pointer_mut("/spec/autoUpdate") {
                *watched = false.into();
            }
            if object["kind"] == "Secret" {
                object["data"] =
                    json!({".dockerconfigjson": STANDARD.encode(canary::credentials("registry.scontain.com"))});
            }
        }
        objects
    }

    /// Applies all objects of such a manifest.
    pub async fn apply_all(&self, file: &str) {
        for object in Self::manifest(file) {
            self.apply_one(&object).await;
        }
    }

    /// Applies an object of a kind that modules serve, or a Secret.
    pub async fn apply_one(&self, object: &Value) {
        let (api_version, plural) = plural(object);
        self.apply_value(object, api_version, plural).await;
    }

    /// A client of an administrator who is not the operator.
    pub async fn client(&self) -> Client {
        self.ring().client(&Identity::admin("tester")).await.unwrap()
    }

    async fn apply_text(&self, text: &str, api_version: &str, plural: &str) {
        let mut value: Value = serde_saphyr::from_str(text).unwrap();
        // No test asks a registry on the internet.
        value["spec"]["autoUpdate"] = false.into();
        self.apply_value(&value, api_version, plural).await;
    }

    /// Server-side apply of an object, as an administrator.
    pub async fn apply_value(&self, value: &Value, api_version: &str, plural: &str) {
        self.apply_as("tester", value, api_version, plural).await;
    }

    /// Server-side apply under a field manager.
    pub async fn apply_as(&self, manager: &str, value: &Value, api_version: &str, plural: &str) {
        let path =
            path(api_version, plural, value["metadata"]["namespace"].as_str(), value["metadata"]["name"].as_str());
        let path = format!("{path}?fieldManager={manager}&force=true");
        self.send("PATCH", &path, "application/apply-patch+yaml", value).await.unwrap();
    }

    /// Any request, as an administrator.
    pub async fn send(&self, method: &str, path: &str, content: &str, body: &Value) -> Result<Value, kube::Error> {
        let request = http::Request::builder().method(method).uri(path).header("content-type", content);
        self.admin.request(request.body(body.to_string().into_bytes()).unwrap()).await
    }

    /// What is under a path, or why it is not shown.
    pub async fn read(&self, path: &str) -> Result<Value, kube::Error> {
        self.admin.request(http::Request::get(path).body(Vec::new()).unwrap()).await
    }

    /// An object, if it is there.
    pub async fn get(&self, api_version: &str, plural: &str, namespace: Option<&str>, name: &str) -> Option<Value> {
        let found = self.read(&path(api_version, plural, namespace, Some(name))).await.ok();
        saw((plural.to_owned(), name.to_owned(), found.clone()));
        found
    }

    /// All objects of a kind.
    pub async fn list(&self, api_version: &str, plural: &str) -> Option<Value> {
        let list = self.read(&path(api_version, plural, None, None)).await.ok();
        let items = list.as_ref().and_then(|list| list["items"].as_array());
        let names =
            items.map(|items| items.iter().take(20).map(|item| item["metadata"]["name"].clone()).collect::<Vec<_>>());
        saw((plural.to_owned(), items.map(Vec::len), names));
        list
    }

    /// Deletes an object that is there.
    pub async fn delete(&self, api_version: &str, plural: &str, namespace: Option<&str>, name: &str) {
        let request = http::Request::delete(path(api_version, plural, namespace, Some(name))).body(Vec::new()).unwrap();
        self.admin.request::<Value>(request).await.unwrap();
    }

    /// What the operator wrote, leases apart; requests that were refused count too.
    pub fn writes(&self) -> Vec<Value> {
        let audit = self.ring().audit();
        let apart = |event: &Value| APART.iter().any(|kind| event["objectRef"]["resource"] == *kind);
        audit.into_iter().filter(|event| event["user"]["username"] == OPERATOR && !apart(event)).collect()
    }

    /// Whether the operator has written nothing for so long.
    pub async fn quiet(&self, time: Duration) -> Option<()> {
        let before = self.writes().len();
        tokio::time::sleep(time).await;
        (self.writes().len() == before).then_some(())
    }
}

/// The API version and the plural of an object of a kind that modules serve, or of a Secret.
pub fn plural(object: &Value) -> (&str, &'static str) {
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
