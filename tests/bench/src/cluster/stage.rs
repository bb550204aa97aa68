//! A cluster with CRDs, a folder of modules, and the means to ask and change it.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use ::cluster::{ApiRing, Identity};
use kube::Client;
use operator_package::Package;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Error, subject};

/// Who prepares things.
pub(crate) const TESTER: &str = "tester";
/// Who the operator is to the API server.
pub(crate) const OPERATOR: &str = "scone-operator";
/// The operator's own namespace.
pub(crate) const HOME: &str = "scone-system";
/// The content type of server-side apply.
pub(crate) const APPLY: &str = "application/apply-patch+yaml";

/// How long anything may take that is waited for.
const LONGEST: Duration = Duration::from_mins(5);

/// A cluster of its own.
pub(crate) struct Stage {
    pub(crate) ring: ApiRing,
    /// For the one who prepares things.
    pub(crate) client: Client,
    folder: TempDir,
    compiled: PathBuf,
}

impl Stage {
    /// With these modules and their CRDs. `compiled` is the folder of compiled modules, which outlives the cluster.
    pub(crate) async fn with(modules: &[&str], compiled: &Path) -> Result<Self, Error> {
        let ring = ApiRing::start(&mut |what| tell(&format!("{what} ..."))).await?;
        let client = ring.client(&Identity::admin(TESTER)).await?;
        let stage = Self { ring, client, folder: TempDir::new()?, compiled: compiled.to_owned() };
        std::fs::create_dir(stage.modules())?;
        for name in modules {
            let bytes = subject::file(name)?;
            for kind in Package::read(bytes.clone())?.manifest.kinds {
                let name = kind.crd.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
                stage
                    .apply(&format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}"), &kind.crd)
                    .await?;
                let list = format!("/apis/{}/{}", kind.api_version, kind.plural);
                until("a kind", Duration::from_millis(50), async || Ok(stage.get(&list).await.is_ok().then_some(())))
                    .await?;
            }
            std::fs::write(stage.module(name), &bytes)?;
        }
        stage.namespace(HOME).await?;
        Ok(stage)
    }

    /// The folder of modules.
    pub(crate) fn modules(&self) -> PathBuf {
        self.folder.path().join("modules")
    }

    /// Where a module lies.
    pub(crate) fn module(&self, name: &str) -> PathBuf {
        self.modules().join(format!("{}.wasm", name.replace('_', "-")))
    }

    /// The folder of compiled modules.
    pub(crate) fn compiled(&self) -> &Path {
        &self.compiled
    }

    pub(crate) async fn namespace(&self, name: &str) -> Result<(), Error> {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.apply(&format!("/api/v1/namespaces/{name}"), &namespace).await
    }

    pub(crate) async fn apply(&self, path: &str, object: &Value) -> Result<(), Error> {
        let path = format!("{path}?fieldManager={TESTER}&force=true");
        send(&self.client, "PATCH", &path, APPLY, object.to_string().into_bytes()).await.map(drop)
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<(), Error> {
        send(&self.client, "DELETE", path, "application/json", Vec::new()).await.map(drop)
    }

    pub(crate) async fn get(&self, path: &str) -> Result<String, Error> {
        send(&self.client, "GET", path, "application/json", Vec::new()).await
    }
}

/// One request; gives the text of a good answer.
pub(crate) async fn send(
    client: &Client,
    method: &str,
    path: &str,
    content: &str,
    body: Vec<u8>,
) -> Result<String, Error> {
    let request = http::Request::builder().method(method).uri(path).header("content-type", content);
    Ok(client.request_text(request.body(body)?).await?)
}

/// Asks again and again until there is an answer.
pub(crate) async fn until<T>(
    what: &'static str,
    every: Duration,
    mut ask: impl AsyncFnMut() -> Result<Option<T>, Error>,
) -> Result<T, Error> {
    let started = Instant::now();
    let mut poll = tokio::time::interval(every);
    while started.elapsed() < LONGEST {
        poll.tick().await;
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
    }
    Err(Error::Late(what))
}

/// Where a program is, or why there is none.
pub(crate) fn program() -> Result<PathBuf, Error> {
    let path = std::env::var_os("SCONE_OPERATOR_PROGRAM").map(PathBuf::from);
    path.filter(|path| Path::is_file(path)).ok_or(Error::NoProgram)
}

/// Says what takes a while.
#[expect(clippy::print_stderr, reason = "figures are on standard output")]
pub(crate) fn tell(what: &str) {
    eprintln!("{what}");
}
