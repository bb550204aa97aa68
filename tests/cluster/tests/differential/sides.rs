//! The two sides that answer the same requests: the API server, and the simulator.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use cluster::{ApiRing, Identity};
use http_body_util::BodyExt;
use operator_simulator::FakeCluster;
use serde_json::{Value, json};

/// One request, as it goes over the wire.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) content: &'static str,
    pub(crate) body: Value,
}

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) body: Value,
}

impl Request {
    pub(crate) fn new(method: &'static str, path: String, content: &'static str, body: Value) -> Self {
        Self { method, path, content, body }
    }

    fn http<B: From<Vec<u8>>>(&self) -> http::Request<B> {
        let bytes = if self.body.is_null() { Vec::new() } else { self.body.to_string().into_bytes() };
        let request = http::Request::builder().method(self.method).uri(&self.path).header("content-type", self.content);
        request.header("user-agent", "tester").body(B::from(bytes)).unwrap()
    }
}

/// Who answers.
pub(crate) trait Side {
    fn send(&self, request: &Request) -> Answer;
}

/// What whoever sends requests remembers of the answers.
#[derive(Debug, Default)]
pub(crate) struct Memory(BTreeMap<String, Vec<String>>);

impl Memory {
    /// Notes which versions an answer shows.
    pub(crate) fn note(&mut self, answer: &Answer) {
        let text = |pointer: &str| answer.body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        if let (Some(name), Some(version)) = (text("/metadata/name"), text("/metadata/resourceVersion")) {
            let versions = self.0.entry(name).or_default();
            if versions.last() != Some(&version) {
                versions.push(version);
            }
        }
    }

    pub(crate) fn current(&self, name: &str) -> Option<String> {
        self.0.get(name)?.last().cloned()
    }

    /// A version that an object had, or one that none has any more.
    pub(crate) fn stale(&self, name: &str) -> String {
        let versions = self.0.get(name).map(Vec::as_slice).unwrap_or_default();
        versions.iter().rev().nth(1).cloned().unwrap_or_else(|| "1".to_owned())
    }
}

impl Side for FakeCluster {
    fn send(&self, request: &Request) -> Answer {
        let response = self.handle(&request.http());
        Answer { code: response.status().as_u16(), body: serde_json::from_slice(response.body()).unwrap() }
    }
}

/// The API server that all tests of this program share. It goes with the process.
pub(crate) struct Server {
    runtime: tokio::runtime::Runtime,
    client: kube::Client,
    _ring: ApiRing,
}

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (ring, client) = runtime.block_on(async {
        cluster::end_with_parent();
        // Controllers would write between the requests of a script.
        let ring = ApiRing::start_without_controllers(&mut |what| eprintln!("{what} ...")).await.unwrap();
        let client = ring.client(&Identity::admin("tester")).await.unwrap();
        (ring, client)
    });
    let server = Server { runtime, client, _ring: ring };
    server.install();
    server
});

impl Server {
    pub(crate) fn shared() -> &'static Self {
        &SERVER
    }

    /// Installs the CRDs and waits until their kinds are served.
    fn install(&self) {
        for crd in crds() {
            let answer = self.send(&Request::new("POST", CRDS.to_owned(), "application/json", crd.clone()));
            assert_eq!(answer.code, 201, "{}", answer.body);
        }
        for crd in crds() {
            let path = format!(
                "/apis/{}/{}/{}",
                crd["spec"]["group"].as_str().unwrap(),
                crd["spec"]["versions"][0]["name"].as_str().unwrap(),
                crd["spec"]["names"]["plural"].as_str().unwrap()
            );
            let served = || async { self.answer(&get(&path)).await.code };
            self.runtime.block_on(LONG.until(&path, served, |code| *code == 200));
        }
    }

    async fn answer(&self, request: &Request) -> Answer {
        let response = self.client.send(request.http()).await.unwrap();
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes);
        Answer { code, body: body.unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned().into()) }
    }
}

const LONG: test_support::Patience =
    test_support::Patience { limit: std::time::Duration::from_mins(1), every: std::time::Duration::from_millis(50) };

impl Side for Server {
    fn send(&self, request: &Request) -> Answer {
        self.runtime.block_on(self.answer(request))
    }
}

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// What is under a path.
pub(crate) fn get(path: &str) -> Request {
    Request::new("GET", path.to_owned(), "application/json", Value::Null)
}

/// Our CRDs.
fn crds() -> Vec<Value> {
    let folder = test_support::checkout().join("deploy/crds");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    files.iter().map(|path| serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()).collect()
}

/// A simulated cluster with our CRDs.
pub(crate) fn simulator() -> FakeCluster {
    static KINDS: LazyLock<Vec<Value>> = LazyLock::new(crds);
    let cluster = FakeCluster::new();
    for crd in KINDS.iter() {
        let answer = cluster.send(&Request::new("POST", CRDS.to_owned(), "application/json", crd.clone()));
        assert_eq!(answer.code, 201, "{}", answer.body);
    }
    cluster
}

/// A name that no script had before, so that a script that is tried again starts from nothing.
pub(crate) fn fresh() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("r{}", COUNT.fetch_add(1, Ordering::SeqCst))
}

/// Makes what a script needs: its namespace, and the account that pods run as.
pub(crate) fn prepare(side: &dyn Side, run: &str) {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": run}});
    let answer = side.send(&Request::new("POST", "/api/v1/namespaces".to_owned(), "application/json", namespace));
    assert_eq!(answer.code, 201, "{}", answer.body);
    for name in ["default", "some"] {
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
        let path = format!("/api/v1/namespaces/{run}/serviceaccounts");
        let answer = side.send(&Request::new("POST", path, "application/json", account));
        assert_eq!(answer.code, 201, "{}", answer.body);
    }
}
