//! What is stored, and the rules of storing: versions, generations, finalizers, owners.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;
use operator_core::ObjectRef;
use serde_json::{Map, Value};

use super::{Write, apply::Ownership, kinds::Kinds};

/// 2026-01-01T00:00:00Z.
const BEGINNING: i64 = 1_767_225_600;

/// All objects of a cluster.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) kinds: Kinds,
    pub(crate) now: i64,
    pub(crate) writes: Vec<Write>,
    objects: BTreeMap<ObjectRef, Stored>,
    version: u64,
    uids: u64,
}

/// One object and who owns which of its fields.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stored {
    pub(crate) object: Value,
    pub(crate) ownership: Ownership,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            kinds: Kinds::default(),
            now: BEGINNING,
            writes: Vec::new(),
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
        let there = self.object.get("metadata").and_then(|metadata| metadata.get("labels"));
        labels.iter().all(|(key, value)| {
            there.and_then(|labels| labels.get(key)).and_then(Value::as_str) == Some(value.as_str())
        })
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

    /// The time as Kubernetes writes it.
    pub(crate) fn time(&self) -> String {
        Timestamp::from_second(self.now).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
    }

    /// Stores an object and gives it what the server gives: UID, versions, generation. What did not change gets no new
    /// version. An object that is being deleted and has no finalizer left goes.
    pub(crate) fn save(&mut self, identity: &ObjectRef, mut stored: Stored) -> Stored {
        let before = self.objects.get(identity);
        let unchanged =
            before.is_some_and(|before| before.object == stored.object && before.ownership == stored.ownership);
        if unchanged {
            return stored;
        }
        let generation = match before {
            None => 1,
            Some(before) => generation(&before.object) + i64::from(differs(&before.object, &stored.object)),
        };
        self.version += 1;
        let (version, time) = (self.version.to_string(), self.time());
        if before.is_none() {
            self.uids += 1;
        }
        let uid = format!("00000000-0000-0000-0000-{:012}", self.uids);
        let fresh = before.is_none();
        edit_metadata(&mut stored.object, |metadata| {
            metadata.insert("resourceVersion".into(), version.into());
            metadata.insert("generation".into(), generation.into());
            if fresh {
                metadata.insert("uid".into(), uid.into());
                metadata.insert("creationTimestamp".into(), time.into());
            }
        });
        if is_deleted(&stored.object) && !has_finalizers(&stored.object) {
            self.objects.remove(identity);
        } else {
            if identity.kind == "CustomResourceDefinition" {
                self.kinds.define(&stored.object);
            }
            self.objects.insert(identity.clone(), stored.clone());
        }
        stored
    }

    /// Deletes an object, or marks it when it has finalizers; tells whether it was there.
    pub(crate) fn delete(&mut self, identity: &ObjectRef) -> bool {
        let Some(mut stored) = self.objects.get(identity).cloned() else { return false };
        if !has_finalizers(&stored.object) {
            self.version += 1;
            self.objects.remove(identity);
        } else if !is_deleted(&stored.object) {
            let time = self.time();
            edit_metadata(&mut stored.object, |metadata| {
                metadata.insert("deletionTimestamp".into(), time.into());
                metadata.insert("deletionGracePeriodSeconds".into(), 0.into());
            });
            self.save(identity, stored);
        }
        true
    }

    pub(crate) fn put(&mut self, object: Value) {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let identity = ObjectRef {
            api_version: text("/apiVersion"),
            kind: text("/kind"),
            namespace: Some(text("/metadata/namespace")).filter(|namespace| !namespace.is_empty()),
            name: text("/metadata/name"),
        };
        self.save(&identity, Stored { object, ownership: Ownership::default() });
    }

    pub(crate) fn edit(&mut self, identity: &ObjectRef, change: impl FnOnce(&mut Value)) -> bool {
        let Some(mut stored) = self.objects.get(identity).cloned() else { return false };
        let version = self.version;
        change(&mut stored.object);
        self.save(identity, stored);
        self.version != version
    }

    /// Objects of which every owner is gone are deleted; what their deletion orphans goes with the next call.
    pub(crate) fn collect_garbage(&mut self) -> Vec<ObjectRef> {
        let uids: BTreeSet<String> = self
            .objects
            .values()
            .filter_map(|stored| stored.object.pointer("/metadata/uid")?.as_str().map(str::to_owned))
            .collect();
        let orphan = |stored: &Stored| {
            let owners = stored.object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
            owners.is_some_and(|owners| {
                let lives =
                    |owner: &Value| owner.get("uid").and_then(Value::as_str).is_some_and(|uid| uids.contains(uid));
                !owners.is_empty() && !owners.iter().any(lives)
            })
        };
        let orphans: Vec<ObjectRef> =
            self.objects.iter().filter(|(_, stored)| orphan(stored)).map(|(identity, _)| identity.clone()).collect();
        orphans.into_iter().filter(|identity| self.delete(identity)).collect()
    }
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

fn is_deleted(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some()
}

fn generation(object: &Value) -> i64 {
    object.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(1)
}

/// Whether anything but metadata and status differs: what makes a new generation. So does the mark of deletion.
fn differs(a: &Value, b: &Value) -> bool {
    let relevant = |object: &Value| {
        let mut object = object.as_object().cloned().unwrap_or_default();
        object.remove("status");
        let deleted = object.remove("metadata").and_then(|m| m.get("deletionTimestamp").cloned());
        (object, deleted)
    };
    relevant(a) != relevant(b)
}
