//! What depends on what: owners, and what becomes of dependents when an owner goes.

use std::collections::BTreeMap;

use operator_core::ObjectRef;
use serde_json::Value;

use super::store::{Store, Stored, edit_metadata, is_deleted};

/// What is to become of the dependents of an object that is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Propagation {
    /// Whatever the object's finalizers say already.
    Unsaid,
    /// They go after it.
    Background,
    /// They go before it.
    Foreground,
    /// They stay, without an owner.
    Orphan,
}

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

impl Propagation {
    pub(crate) fn of(options: &Value) -> Self {
        match options.get("propagationPolicy").and_then(Value::as_str) {
            Some("Foreground") => Self::Foreground,
            Some("Orphan") => Self::Orphan,
            Some(_) => Self::Background,
            None => Self::Unsaid,
        }
    }

    /// Notes it in an object, as a finalizer that whoever collects garbage takes away.
    pub(crate) fn mark(self, object: &mut Value) {
        let wanted = match self {
            Self::Unsaid => return,
            Self::Background => None,
            Self::Foreground => Some(FOREGROUND),
            Self::Orphan => Some(ORPHAN),
        };
        edit_metadata(object, |metadata| {
            let there = metadata.remove("finalizers");
            let mut finalizers = there.and_then(|there| there.as_array().cloned()).unwrap_or_default();
            finalizers.retain(|finalizer| finalizer != FOREGROUND && finalizer != ORPHAN);
            finalizers.extend(wanted.map(Value::from));
            if !finalizers.is_empty() {
                metadata.insert("finalizers".into(), finalizers.into());
            }
        });
    }
}

fn has_finalizer(object: &Value, finalizer: &str) -> bool {
    let finalizers = object.pointer("/metadata/finalizers").and_then(Value::as_array);
    finalizers.is_some_and(|finalizers| finalizers.iter().any(|there| there == finalizer))
}

fn owners(object: &Value) -> impl Iterator<Item = &str> {
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array).into_iter().flatten();
    owners.filter_map(|owner| owner.get("uid")?.as_str())
}

impl Store {
    /// Objects of which every owner is gone are deleted, and so is what is in a namespace that is gone; what their deletion
    /// orphans goes with the next call. An owner in another namespace is none, as in a real cluster.
    pub(crate) fn collect_garbage(&mut self) -> Vec<ObjectRef> {
        let alive: BTreeMap<&str, &ObjectRef> = self
            .objects
            .iter()
            .filter_map(|(identity, stored)| Some((stored.object.pointer("/metadata/uid")?.as_str()?, identity)))
            .collect();
        let orphaned = |identity: &ObjectRef, stored: &Stored| {
            let owners = stored.object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
            let lives = |owner: &Value| {
                let found = owner.get("uid").and_then(Value::as_str).and_then(|uid| alive.get(uid));
                found.is_some_and(|found| found.namespace.is_none() || found.namespace == identity.namespace)
            };
            owners.is_some_and(|owners| !owners.is_empty() && !owners.iter().any(lives))
        };
        let homeless = |identity: &ObjectRef| {
            let namespace = identity.namespace.as_deref().filter(|namespace| *namespace != "default");
            namespace.is_some_and(|name| !self.objects.contains_key(&ObjectRef::cluster("v1", "Namespace", name)))
        };
        let garbage: Vec<ObjectRef> = self
            .objects
            .iter()
            .filter(|(identity, stored)| {
                !is_deleted(&stored.object) && (orphaned(identity, stored) || homeless(identity))
            })
            .map(|(identity, _)| identity.clone())
            .collect();
        let mut gone: Vec<ObjectRef> = garbage.into_iter().filter(|identity| self.delete(identity)).collect();
        gone.extend(self.release());
        gone
    }

    /// Ends what waits for its dependents: these are deleted first, or lose their owner.
    fn release(&mut self) -> Vec<ObjectRef> {
        let waits = |finalizer: &'static str| {
            let found = self
                .objects
                .iter()
                .filter(move |(_, stored)| is_deleted(&stored.object) && has_finalizer(&stored.object, finalizer));
            let owner = |(identity, stored): (&ObjectRef, &Stored)| {
                let uid = stored.object.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
                (identity.clone(), uid.to_owned())
            };
            found.map(owner).collect::<Vec<_>>()
        };
        let (foreground, orphan) = (waits(FOREGROUND), waits(ORPHAN));
        let mut gone = Vec::new();
        for (identity, uid) in foreground {
            let dependents = self.dependents(&uid);
            let first: Vec<ObjectRef> = dependents
                .iter()
                .filter(|dependent| self.get(dependent).is_some_and(|stored| !is_deleted(&stored.object)))
                .cloned()
                .collect();
            if dependents.is_empty() {
                self.edit(&identity, |object| Propagation::Background.mark(object));
                gone.push(identity);
            }
            gone.extend(first.into_iter().filter(|dependent| self.end(dependent, Propagation::Foreground, false)));
        }
        for (identity, uid) in orphan {
            for dependent in self.dependents(&uid) {
                self.edit(&dependent, |object| disown(object, &uid));
            }
            self.edit(&identity, |object| Propagation::Background.mark(object));
            gone.push(identity);
        }
        gone
    }

    fn dependents(&self, uid: &str) -> Vec<ObjectRef> {
        let owned = self.objects.iter().filter(|(_, stored)| owners(&stored.object).any(|owner| owner == uid));
        owned.map(|(identity, _)| identity.clone()).collect()
    }
}

fn disown(object: &mut Value, uid: &str) {
    edit_metadata(object, |metadata| {
        let Some(Value::Array(owners)) = metadata.get_mut("ownerReferences") else { return };
        owners.retain(|owner| owner.get("uid").and_then(Value::as_str) != Some(uid));
        if owners.is_empty() {
            metadata.remove("ownerReferences");
        }
    });
}
