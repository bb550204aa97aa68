//! What a Vault is made of, each object beside what there is of it.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::PodTemplateSpec};
use kube::{Resource, core::ObjectMeta};
use operator_guest::{Child, Failure, ObjectRef, Snapshot, Strategy};
use scone_api::{
    observe::Meta,
    owned::{Owned, Standing},
    template::{Template, contradiction},
    vault::{Vault, VaultSpec},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    certificate, injector, server,
    settings::{InjectorScope, VaultSettings},
};

/// One Vault: where it is, and what it should be. The spec has its defaults already.
pub(crate) struct Site<'a> {
    pub(crate) name: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) spec: &'a VaultSpec,
    pub(crate) settings: &'a VaultSettings,
}

impl Site<'_> {
    /// The labels by which the pod is found; immutable in a `StatefulSet`.
    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        self.labels_of("vault", "server")
    }

    pub(crate) fn labels_of(&self, name: &str, component: &str) -> BTreeMap<String, String> {
        [("app.kubernetes.io/name", name), ("app.kubernetes.io/instance", self.name), ("component", component)]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    }

    /// Whether an injector is wanted.
    pub(crate) fn wants_injector(&self) -> bool {
        self.spec.injector.enabled == Some(true)
    }

    /// Whether there is an injector: it is wanted, and an administrator lets it be.
    pub(crate) fn injects(&self) -> bool {
        self.wants_injector() && self.settings.injector != InjectorScope::Off
    }

    /// Under which address pods reach it.
    pub(crate) fn address(&self) -> String {
        let scheme = if server::is_dev(self.spec) { "http" } else { "https" };
        format!("{scheme}://{}.{}.svc:8200", self.name, self.namespace)
    }

    /// Metadata in the namespace of the Vault.
    pub(crate) fn metadata(&self, name: String, labels: BTreeMap<String, String>) -> ObjectMeta {
        let namespace = Some(self.namespace.to_owned());
        ObjectMeta { name: Some(name), namespace, labels: Some(labels), ..ObjectMeta::default() }
    }

    /// Metadata of something that the cluster has, whose name says which Vault it is for.
    pub(crate) fn cluster_metadata(&self, name: &str, labels: BTreeMap<String, String>) -> ObjectMeta {
        let name = Some(format!("{name}.{}", self.namespace));
        ObjectMeta { name, labels: Some(labels), ..ObjectMeta::default() }
    }
}

/// When an object works.
pub(crate) enum Works {
    /// By being there, which means this.
    Passive(&'static str),
    /// When its pods do.
    Pods(Box<PodTemplateSpec>),
    /// When the API server knows whom to believe.
    Certified,
}

/// A field that is compared: what messages call it, and its JSON pointer.
pub(crate) type Field = (&'static str, &'static str);

/// One object that is made.
pub(crate) struct Part {
    child: Child,
    identity: ObjectRef,
    what: &'static str,
    wanted: Value,
    fields: &'static [Field],
    works: Works,
}

impl Part {
    /// Everything that this Vault is made of. The authority is the CA of the injector, once there is one.
    pub(crate) fn all(site: &Site<'_>, authority: Option<ByteString>) -> Vec<Self> {
        let mut parts = server::parts(site);
        if site.injects() {
            parts.extend(injector::parts(site, authority));
        }
        parts
    }

    pub(crate) fn of<K>(object: &K, what: &'static str, fields: &'static [Field], works: Works) -> Self
    where
        K: Resource<DynamicType = ()> + Serialize,
    {
        // Types of Kubernetes can always be written; if not, it is better to wait than to call anything equal to it.
        let wanted = serde_json::to_value(object).unwrap_or_default();
        Self { child: Child::of(object), identity: ObjectRef::of(object), what, wanted, fields, works }
    }

    /// May be deleted and made again when it cannot be changed.
    pub(crate) fn recreated(self) -> Self {
        Self { child: self.child.strategy(Strategy::RecreateOnImmutable), ..self }
    }

    /// Compares this instead of the object itself.
    pub(crate) fn compared_as(self, change: impl FnOnce(&mut Value)) -> Self {
        let mut wanted = self.wanted;
        change(&mut wanted);
        Self { wanted, ..self }
    }

    /// What the host is told to make.
    pub(crate) fn into_child(self) -> Child {
        self.child
    }

    /// How what there is stands to that.
    pub(crate) fn owned(&self, snapshot: &Snapshot<Vault>) -> Result<Owned, Failure> {
        let found = snapshot.observed().iter().find(|child| child.identity == self.identity);
        let read = |document: &[u8]| {
            serde_json::from_slice::<Value>(document)
                .map_err(|error| Failure::Retry(format!("{} cannot be read: {error}", self.identity)))
        };
        let there = found.map(|found| read(&found.document)).transpose()?;
        let meta = there.as_ref().and_then(|there| Meta::deserialize(there.get("metadata")?).ok());
        let difference = there.as_ref().and_then(|there| self.difference(there));
        let standing = Standing::of(meta.as_ref(), difference);
        let prefix = format!("{}.{}", self.what.to_ascii_lowercase(), self.identity.name);
        Ok(match &self.works {
            Works::Passive(message) => Owned::passive(prefix, self.what, standing, message),
            Works::Pods(_) => {
                let (works, message) = pods(there.as_ref());
                Owned::running(prefix, self.what, standing, works, message)
            }
            Works::Certified => {
                let (works, message) = certified(&self.wanted, there.as_ref());
                Owned::running(prefix, self.what, standing, works, message)
            }
        })
    }

    /// The first field in which an object contradicts the wanted one.
    fn difference(&self, there: &Value) -> Option<&'static str> {
        if let Works::Pods(wanted) = &self.works {
            let template = there.pointer("/spec/template").and_then(|template| Template::deserialize(template).ok());
            if let Some(field) = template.unwrap_or_default().difference(wanted) {
                return Some(field);
            }
        }
        let other_length = |pointer: &str| length(self.wanted.pointer(pointer)) != length(there.pointer(pointer));
        contradiction(&self.wanted, there, self.fields)
            .or_else(|| self.fields.iter().find(|(_, pointer)| other_length(pointer)).map(|(name, _)| *name))
    }
}

/// How many entries a list has. What is no list has one when it is there: what is not wanted any more must go.
fn length(value: Option<&Value>) -> usize {
    match value {
        None | Some(Value::Null) => 0,
        Some(Value::Array(list)) => list.len(),
        Some(_) => 1,
    }
}

fn number(object: &Value, pointer: &str) -> Option<i64> {
    object.pointer(pointer).and_then(Value::as_i64)
}

/// Whether the one pod of a `StatefulSet` or Deployment works, once its controller has seen the latest change.
fn pods(there: Option<&Value>) -> (Option<bool>, String) {
    let Some(there) = there else { return (None, "it does not exist yet".to_owned()) };
    let seen = number(there, "/status/observedGeneration");
    if seen.is_none() || seen < number(there, "/metadata/generation") {
        return (None, "its controller has not seen the latest change yet".to_owned());
    }
    let [ready, updated] =
        ["/status/readyReplicas", "/status/updatedReplicas"].map(|pointer| number(there, pointer).unwrap_or_default());
    let now = ready.min(updated);
    (Some(now >= 1), format!("{now} of 1 pods are ready and up to date"))
}

fn certified(wanted: &Value, there: Option<&Value>) -> (Option<bool>, String) {
    let Some(there) = there else { return (None, "it does not exist yet".to_owned()) };
    let known = certificate::bundle(there).is_some_and(|bundle| certificate::bundle(wanted) == Some(bundle));
    let message = if known {
        "the API server knows the injector's CA"
    } else {
        "the API server does not know the injector's CA yet"
    };
    (Some(known), message.to_owned())
}
