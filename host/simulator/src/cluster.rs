//! An in-memory API server: the part of its behaviour that reconciling depends on.
//!
//! It speaks HTTP as the real one does, so that the controller's own client and code run on it unchanged. It has no clock and
//! no randomness: time is a number that a script advances, and names of its own making are counted.

mod apply;
mod defaults;
mod fields;
mod garbage;
mod kinds;
mod merge;
mod patches;
mod path;
pub(crate) mod quantity;
mod refused;
mod request;
mod serve;
mod store;
mod types;
mod validate;
mod write;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use kube::client::Body;
use operator_controller::{Cache, Clock};
use operator_core::{Document, ObjectRef, Observed};
use serde_json::Value;

pub(crate) use defaults::CLAIM_IN_USE;
pub use serve::Write;
use store::Store;

/// Judges writes of custom resources before they are stored, as webhooks do.
pub trait Admission: Send + Sync {
    /// The object with defaults and warnings for whoever asked, or the refusal.
    ///
    /// `old` is the stored object on an update; `object` is none on a deletion.
    fn admit(&self, identity: &ObjectRef, object: Option<&Value>, old: Option<&Value>) -> Result<Admitted, Refused>;
}

/// What admission lets through.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Admitted {
    /// The object with defaults; none when nothing changes.
    pub object: Option<Value>,
    /// Shown to whoever asked.
    pub warnings: Vec<String>,
}

/// Why a write is refused, as an API server says it.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// HTTP status code.
    pub code: u16,
    /// Kubernetes' reason, such as `Invalid`.
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// Field, reason and message of each cause.
    pub causes: Vec<(String, String, String)>,
    /// What it is about where that is not what was asked for: resource and name.
    pub about: Option<(String, String)>,
}

/// An in-memory cluster. Clones share it.
#[derive(Clone, Default)]
pub struct FakeCluster {
    store: Arc<Mutex<Store>>,
    admission: Arc<Mutex<Option<Arc<dyn Admission>>>>,
}

impl FakeCluster {
    /// An empty cluster with the built-in kinds, at the beginning of 2026.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets this judge writes of custom resources from now on.
    pub fn set_admission(&self, admission: Arc<dyn Admission>) {
        *self.admission.lock().unwrap_or_else(PoisonError::into_inner) = Some(admission);
    }

    /// Answers one request of the Kubernetes API.
    pub fn handle(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let admission = self.admission.lock().unwrap_or_else(PoisonError::into_inner).clone();
        serve::serve(&self.store, admission.as_deref(), request)
    }

    /// A client of this cluster. Must be called within a tokio runtime.
    pub fn client(&self) -> kube::Client {
        let cluster = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let cluster = cluster.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await?.to_bytes();
                let response = cluster.handle(&Request::from_parts(head, body));
                Ok::<_, kube::Error>(response.map(Full::new))
            }
        });
        kube::Client::new(service, "default")
    }

    /// Stores an object as a cluster's own controllers do: no admission, no ownership, status included.
    pub(crate) fn put(&self, object: Value) {
        self.lock().put(object);
    }

    /// Changes a stored object in place, as a cluster's own controllers do; tells whether that changed anything.
    pub(crate) fn edit(&self, identity: &ObjectRef, change: impl FnOnce(&mut Value)) -> bool {
        self.lock().edit(identity, change)
    }

    /// Deletes an object as its owner would: finalizers are respected.
    pub(crate) fn remove(&self, identity: &ObjectRef) -> bool {
        self.lock().delete(identity)
    }

    /// Deletes a pod that has ended.
    pub(crate) fn remove_now(&self, identity: &ObjectRef) -> bool {
        self.lock().delete_now(identity)
    }

    /// Deletes what lost its last owner; tells what went.
    pub(crate) fn collect_garbage(&self) -> Vec<ObjectRef> {
        self.lock().collect_garbage()
    }

    /// All objects of a kind as trees, in canonical order.
    pub(crate) fn all(&self, api_version: &str, kind: &str) -> Vec<Value> {
        self.lock().list(api_version, kind).map(|(_, stored)| stored.visible()).collect()
    }

    /// One object as a tree.
    pub fn object(&self, identity: &ObjectRef) -> Option<Value> {
        self.lock().get(identity).map(store::Stored::visible)
    }

    /// Every object there is, in canonical order.
    pub fn identities(&self) -> Vec<ObjectRef> {
        self.lock().identities().cloned().collect()
    }

    /// The kind with this name, whatever its group: its API version, and whether it is namespaced.
    pub fn kind(&self, kind: &str) -> Option<(String, bool)> {
        self.lock().kinds.by_name(kind).map(|k| (k.api_version.clone(), k.namespaced))
    }

    /// The names of all kinds.
    pub fn kind_names(&self) -> Vec<String> {
        self.lock().kinds.names().map(str::to_owned).collect()
    }

    /// The structural schema of a custom resource; none for built-in kinds.
    pub fn schema(&self, api_version: &str, kind: &str) -> Option<Value> {
        self.lock().kinds.get(api_version, kind)?.schema.clone()
    }

    /// A number that was not given before, for a name.
    pub(crate) fn counted(&self) -> String {
        self.lock().counted()
    }

    /// The time as Kubernetes writes it.
    pub(crate) fn time(&self) -> String {
        self.lock().time()
    }

    /// Advances the time.
    pub fn advance(&self, seconds: i64) {
        self.lock().now += seconds;
    }

    /// Lets every write fail after so many more, as if the server went away; none ends the outage.
    pub fn fail_writes_after(&self, writes: Option<usize>) {
        self.lock().outage = writes;
    }

    /// All writes since the beginning, in order: what an audit log shows.
    pub fn writes(&self) -> Vec<Write> {
        self.lock().writes.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache for FakeCluster {
    fn get(&self, identity: &ObjectRef) -> Option<Document> {
        self.object(identity).as_ref().map(Document::from_value)
    }

    fn list(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
        labels: &[(String, String)],
    ) -> Vec<Observed> {
        let store = self.lock();
        let matching = store.list(api_version, kind).filter(|(identity, stored)| {
            namespace.is_none_or(|namespace| identity.namespace.as_deref() == Some(namespace))
                && stored.has_labels(labels)
        });
        matching
            .map(|(identity, stored)| Observed {
                identity: identity.clone(),
                document: Document::from_value(&stored.visible()),
            })
            .collect()
    }

    fn held_by(&self, api_version: &str, kind: &str, manager: &str) -> Vec<Observed> {
        let mut held = self.list(api_version, kind, None, &[]);
        held.retain(|observed| {
            let object = self.object(&observed.identity).unwrap_or_default();
            let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten();
            entries.into_iter().any(|entry| entry.get("manager").and_then(Value::as_str) == Some(manager))
        });
        held
    }

    fn synced(&self, _: &str, _: &str) -> bool {
        true
    }

    fn resource(&self, api_version: &str, kind: &str) -> Option<(String, bool)> {
        self.lock().kinds.get(api_version, kind).map(|k| (k.plural.clone(), k.namespaced))
    }

    fn api_versions(&self) -> Arc<[String]> {
        self.lock().kinds.api_versions().into()
    }
}

impl Clock for FakeCluster {
    fn now(&self) -> i64 {
        self.lock().now
    }
}
