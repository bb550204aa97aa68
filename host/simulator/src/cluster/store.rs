//! What is stored, and the rules of storing: versions, generations, finalizers, owners.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use operator_core::ObjectRef;
use serde_json::{Map, Value};

use super::{
    Write,
    apply::Ownership,
    garbage::Propagation,
    kinds::{Kind, Kinds},
};

/// 2026-01-01T00:00:00Z.
const BEGINNING: i64 = 1_767_225_600;

/// All objects of a cluster.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) kinds: Kinds,
    pub(crate) now: i64,
    pub(crate) writes: Vec<Write>,
    /// After so many more writes every further one fails.
    pub(crate) outage: Option<usize>,
    pub(super) objects: BTreeMap<ObjectRef, Stored>,
    version: u64,
    uids: u64,
}

/// One object and who owns which of its fields.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stored {
    pub(crate) object: Value,
    pub(crate) ownership: Ownership,
}

/// What becomes of an object that is deleted.
#[derive(Clone, Debug)]
pub(crate) enum Ended {
    /// It is gone; so it was.
    Gone(Stored),
    /// It waits for its finalizers, or for its node.
    Marked(Stored),
}

impl Default for Store {
    fn default() -> Self {
        Self {
            kinds: Kinds::default(),
            now: BEGINNING,
            writes: Vec::new(),
            outage: None,
            objects: BTreeMap::new(),
            version: 0,
            uids: 0,
        }
    }
}

impl Stored {
    /// The object as a client sees it, with `managedFields`.
    pub(crate) fn visible(&self) -> Value {
        let mut object = self.object.clone();
        let fields = self.ownership.managed_fields(&self.object);
        if let (Some(metadata), false) = (object.get_mut("metadata").and_then(Value::as_object_mut), fields.is_empty())
        {
            metadata.insert("managedFields".into(), Value::Array(fields));
        }
        object
    }

    /// Whether the object has all these labels.
    pub(crate) fn has_labels(&self, labels: &[(String, String)]) -> bool {
        labels.iter().all(|(key, value)| self.label(key) == Some(value.as_str()))
    }

    /// One label.
    pub(crate) fn label(&self, key: &str) -> Option<&str> {
        self.object.get("metadata")?.get("labels")?.get(key)?.as_str()
    }
}

impl Store {
    pub(crate) fn get(&self, identity: &ObjectRef) -> Option<&Stored> {
        self.objects.get(identity)
    }

    pub(crate) fn identities(&self) -> impl Iterator<Item = &ObjectRef> {
        self.objects.keys()
    }

    pub(crate) fn list(&self, api_version: &str, kind: &str) -> impl Iterator<Item = (&ObjectRef, &Stored)> {
        self.objects.iter().filter(move |(identity, _)| identity.api_version == api_version && identity.kind == kind)
    }

    /// All other objects of the same kind.
    pub(crate) fn others(&self, identity: &ObjectRef) -> Vec<Value> {
        let all = self.list(&identity.api_version, &identity.kind);
        all.filter(|(other, _)| *other != identity).map(|(_, stored)| stored.object.clone()).collect()
    }

    /// All objects of a kind.
    pub(crate) fn objects(&self, api_version: &str, kind: &str) -> Vec<Value> {
        self.list(api_version, kind).map(|(_, stored)| stored.object.clone()).collect()
    }

    /// The version of the latest write.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// A suffix for a generated name.
    pub(crate) fn counted(&mut self) -> String {
        self.uids += 1;
        format!("{:05}", self.uids)
    }

    /// The time as Kubernetes writes it.
    pub(crate) fn time(&self) -> String {
        Timestamp::from_second(self.now).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
    }

    /// An object with what the server gives: UID, time, generation. The version is given when it is stored.
    pub(crate) fn shaped(&self, identity: &ObjectRef, mut stored: Stored) -> Stored {
        let before = self.objects.get(identity);
        let counted = self.kinds.get(&identity.api_version, &identity.kind).is_some_and(Kind::has_generations);
        let generation = match before {
            None => 1,
            Some(before) => generation(&before.object) + i64::from(differs(&before.object, &stored.object)),
        };
        let born = before.map_or_else(
            || (format!("00000000-0000-0000-0000-{:012}", self.uids + 1).into(), self.time().into()),
            |before| (metadata(&before.object, "uid"), metadata(&before.object, "creationTimestamp")),
        );
        edit_metadata(&mut stored.object, |metadata| {
            if counted {
                metadata.insert("generation".into(), generation.into());
            }
            metadata.insert("uid".into(), born.0);
            metadata.insert("creationTimestamp".into(), born.1);
        });
        stored
    }

    /// Stores an object with what the server gives. What did not change gets no new version. An object that is being deleted and
    /// has no finalizer left goes.
    pub(crate) fn save(&mut self, identity: &ObjectRef, stored: Stored) -> Stored {
        let before = self.objects.get(identity);
        if before.is_some_and(|before| before.object == stored.object && before.ownership == stored.ownership) {
            return stored;
        }
        let is_new = before.is_none();
        let mut stored = self.shaped(identity, stored);
        self.version += 1;
        self.uids += u64::from(is_new);
        let version = self.version.to_string();
        edit_metadata(&mut stored.object, |metadata| {
            metadata.insert("resourceVersion".into(), version.into());
        });
        if is_deleted(&stored.object) && !has_finalizers(&stored.object) && !self.lingers(identity, &stored.object) {
            self.forget(identity);
        } else {
            if identity.kind == "CustomResourceDefinition" {
                self.kinds.define(&stored.object);
            }
            self.objects.insert(identity.clone(), stored.clone());
        }
        stored
    }

    /// Removes an object for good. With a CRD goes its kind, and with a kind go its objects.
    fn forget(&mut self, identity: &ObjectRef) {
        let Some(stored) = self.objects.remove(identity) else { return };
        if identity.kind == "CustomResourceDefinition" {
            self.kinds.undefine(&stored.object);
            let kinds = &self.kinds;
            self.objects.retain(|identity, _| kinds.get(&identity.api_version, &identity.kind).is_some());
        }
    }

    /// Deletes an object, or marks it when something must happen first; tells whether it was there.
    pub(crate) fn delete(&mut self, identity: &ObjectRef) -> bool {
        self.end(identity, Propagation::Unsaid, false)
    }

    /// Deletes an object without waiting for the node that it runs on.
    pub(crate) fn delete_now(&mut self, identity: &ObjectRef) -> bool {
        self.end(identity, Propagation::Unsaid, true)
    }

    /// Whether a pod that is deleted stays, because its node is silent and nobody knows whether it still runs there.
    fn lingers(&self, identity: &ObjectRef, object: &Value) -> bool {
        let node = object.pointer("/spec/nodeName").and_then(Value::as_str).filter(|_| identity.kind == "Pod");
        let node = node.and_then(|node| self.objects.get(&ObjectRef::cluster("v1", "Node", node)));
        let conditions = node.and_then(|node| node.object.pointer("/status/conditions")).and_then(Value::as_array);
        let text = |condition: &Value, key: &str| condition.get(key).and_then(Value::as_str).map(str::to_owned);
        conditions
            .into_iter()
            .flatten()
            .any(|c| text(c, "type").as_deref() == Some("Ready") && text(c, "status").as_deref() != Some("True"))
    }

    /// Deletes an object and what depends on it as asked for; tells whether it was there.
    pub(crate) fn end(&mut self, identity: &ObjectRef, propagation: Propagation, now: bool) -> bool {
        match self.ended(identity, propagation, now) {
            None => return false,
            Some(Ended::Gone(_)) => {
                self.version += 1;
                self.forget(identity);
            }
            Some(Ended::Marked(stored)) => drop(self.save(identity, stored)),
        }
        true
    }

    /// What becomes of an object that is deleted.
    pub(crate) fn ended(&self, identity: &ObjectRef, propagation: Propagation, now: bool) -> Option<Ended> {
        let mut stored = self.objects.get(identity)?.clone();
        propagation.mark(&mut stored.object);
        let goes = !has_finalizers(&stored.object) && (now || !self.lingers(identity, &stored.object));
        // Pods end by themselves, so that also one that goes at once is marked first.
        if !is_deleted(&stored.object) && (!goes || identity.kind == "Pod") {
            let time = self.time();
            edit_metadata(&mut stored.object, |metadata| {
                metadata.insert("deletionTimestamp".into(), time.into());
                metadata.insert("deletionGracePeriodSeconds".into(), 0.into());
            });
        }
        if goes {
            return Some(Ended::Gone(self.shaped(identity, stored)));
        }
        Some(Ended::Marked(stored))
    }

    pub(crate) fn put(&mut self, object: Value) {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let identity = ObjectRef {
            api_version: text("/apiVersion"),
            kind: text("/kind"),
            namespace: Some(text("/metadata/namespace")).filter(|namespace| !namespace.is_empty()),
            name: text("/metadata/name"),
        };
        let mut ownership = self.objects.get(&identity).map(|stored| stored.ownership.clone()).unwrap_or_default();
        ownership.forget_missing(&object);
        self.save(&identity, Stored { object, ownership });
    }

    pub(crate) fn edit(&mut self, identity: &ObjectRef, change: impl FnOnce(&mut Value)) -> bool {
        let Some(mut stored) = self.objects.get(identity).cloned() else { return false };
        let version = self.version;
        change(&mut stored.object);
        stored.ownership.forget_missing(&stored.object);
        self.save(identity, stored);
        self.version != version
    }
}

fn metadata(object: &Value, key: &str) -> Value {
    object.get("metadata").and_then(|metadata| metadata.get(key)).cloned().unwrap_or_default()
}

/// Changes the metadata of an object; every stored object has some.
pub(crate) fn edit_metadata(object: &mut Value, edit: impl FnOnce(&mut Map<String, Value>)) {
    if let Some(map) = object.as_object_mut() {
        let metadata = map.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
        if let Some(metadata) = metadata.as_object_mut() {
            edit(metadata);
        }
    }
}

fn has_finalizers(object: &Value) -> bool {
    object.pointer("/metadata/finalizers").and_then(Value::as_array).is_some_and(|finalizers| !finalizers.is_empty())
}

pub(super) fn is_deleted(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some()
}

fn generation(object: &Value) -> i64 {
    object.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(1)
}

/// Whether anything but metadata and status differs: what makes a new generation. So does the mark of deletion.
///
/// Annotations of a Deployment count as well.
fn differs(a: &Value, b: &Value) -> bool {
    let relevant = |object: &Value| {
        let mut object = object.as_object().cloned().unwrap_or_default();
        object.remove("status");
        let metadata = object.remove("metadata").unwrap_or_default();
        let noted = object.get("kind").and_then(Value::as_str) == Some("Deployment");
        let annotations = metadata.get("annotations").filter(|_| noted).cloned();
        (object, metadata.get("deletionTimestamp").cloned(), annotations)
    };
    relevant(a) != relevant(b)
}
