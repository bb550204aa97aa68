//! What comes between a request and the store: the server's own metadata, defaults and pruning, webhooks, validation.

use operator_core::{ObjectRef, schema};
use serde_json::Value;

use super::Writer;
use crate::cluster::{
    Refused, defaults,
    refused::{invalid, no_namespace},
    serve::lock,
    store::edit_metadata,
    validate,
};

/// What the server keeps to itself: whoever sends it, it stays as it is.
const SERVER_METADATA: [&str; 8] = [
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

impl Writer<'_> {
    /// Main resource and status are written apart. The metadata can be written with either, but for custom resources.
    pub(super) fn keep_other_resource(&self, object: &mut Value, old: Option<&Value>) {
        if !self.target.kind.has_status {
            return;
        }
        let kept = |key: &str| old.and_then(|old| old.get(key)).cloned();
        if !self.target.status {
            put(object, "status", kept("status"));
            return;
        }
        let (status, metadata) = (object.get("status").cloned(), object.get("metadata").cloned());
        *object = old.cloned().unwrap_or_default();
        put(object, "status", status);
        put(object, "metadata", metadata);
        let fixed = match self.target.kind.kind.as_str() {
            "Deployment" => "labels",
            "Pod" => "ownerReferences",
            _ => return,
        };
        let before = old.and_then(|old| old.get("metadata")?.get(fixed)).cloned();
        edit_metadata(object, |metadata| {
            metadata.remove(fixed);
            metadata.extend(before.map(|before| (fixed.to_owned(), before)));
        });
    }

    /// What a request changes of an object, after claims were noted: through the status of a custom resource its metadata cannot be
    /// written, although whoever tries counts as an owner.
    pub(super) fn reached(&self, mut object: Value, old: Option<&Value>) -> Value {
        if self.target.status && self.target.kind.schema.is_some() {
            put(&mut object, "metadata", old.and_then(|old| old.get("metadata")).cloned());
        }
        object
    }

    /// A document as the server reads it: with defaults, without what says nothing or is not known.
    pub(super) fn decoded(&self, identity: &ObjectRef, mut object: Value) -> Value {
        match self.target.kind.schema.as_ref() {
            None => {
                defaults::apply(&identity.kind, &mut object, self.of());
                self.of().complete(&mut object);
            }
            Some(schema) => {
                schema::apply_defaults(schema, &mut object);
                schema::prune(schema, &mut object);
                defaults::metadata(&mut object);
            }
        }
        object
    }

    /// What comes between reading and storing: webhooks, what controllers inside the server give, validation.
    pub(super) fn admitted(
        &self,
        identity: &ObjectRef,
        mut object: Value,
        old: Option<&Value>,
    ) -> Result<Value, Refused> {
        let namespace_there = identity.namespace.as_ref().is_none_or(|namespace| {
            namespace == "default" || lock(self.store).get(&ObjectRef::cluster("v1", "Namespace", namespace)).is_some()
        });
        if !namespace_there {
            return Err(no_namespace(identity.namespace.as_deref().unwrap_or_default()));
        }
        let schema = self.target.kind.schema.as_ref();
        if let (None, None) = (schema, old) {
            defaults::on_creation(&identity.kind, &mut object);
        }
        match (identity.kind.as_str(), schema) {
            ("DaemonSet", None) => defaults::count_templates(&mut object, old),
            ("Pod", None) => defaults::keep_pod(&mut object, old),
            _ => {}
        }
        if let (Some(admission), Some(schema), false) = (self.admission, schema, self.target.status) {
            // What is missing, a webhook may still add; what is wrong, it need not see.
            let wrong = validate::causes(identity, Some(schema), &object, old);
            let wrong: Vec<_> = wrong.into_iter().filter(|(_, reason, _)| reason != "FieldValueRequired").collect();
            if !wrong.is_empty() {
                return Err(invalid(identity, wrong));
            }
            object = admission.admit(identity, Some(&object), old)?.object.unwrap_or(object);
            schema::apply_defaults(schema, &mut object);
            schema::prune(schema, &mut object);
        }
        let mut causes = Vec::new();
        match (identity.kind.as_str(), schema, old) {
            ("Service", None, _) => {
                let others = lock(self.store).others(identity);
                causes = validate::addresses::give(&mut object, old, &others);
            }
            ("PersistentVolumeClaim", None, Some(old)) => {
                let classes = lock(self.store).objects("storage.k8s.io/v1", "StorageClass");
                validate::growth::refusal(identity, &object, old, &classes).map_or(Ok(()), Err)?;
            }
            _ => {}
        }
        causes.extend(validate::causes(identity, schema, &object, old));
        if causes.is_empty() {
            self.of().settle(&mut object);
            Ok(object)
        } else {
            Err(invalid(identity, causes))
        }
    }
}

/// Why a configuration has not the type that the schema says.
pub(super) fn untyped(schema: &Value, config: &Value) -> Option<String> {
    if let Some(unknown) = schema::unknown_fields(schema, config).first() {
        return Some(format!(".{}: field not declared in schema", unknown.path));
    }
    let (path, _, message) = mistyped(schema, config).into_iter().next()?;
    Some(format!(".{path}: {message}"))
}

/// The fields that have another type than the schema says.
pub(super) fn mistyped(schema: &Value, object: &Value) -> Vec<validate::Cause> {
    let mistyped =
        schema::violations(schema, object).into_iter().filter(|found| found.reason == "FieldValueTypeInvalid");
    mistyped.map(|found| (found.path, found.reason.to_owned(), found.message)).collect()
}

/// Sets a field, or removes it.
fn put(object: &mut Value, key: &str, value: Option<Value>) {
    if let Some(map) = object.as_object_mut() {
        map.remove(key);
        map.extend(value.map(|value| (key.to_owned(), value)));
    }
}

/// Sets what names the object, and keeps what only the server sets.
pub(super) fn keep_server_metadata(identity: &ObjectRef, object: &mut Value, old: Option<&Value>) {
    if let Some(map) = object.as_object_mut() {
        map.insert("apiVersion".into(), identity.api_version.clone().into());
        map.insert("kind".into(), identity.kind.clone().into());
    }
    edit_metadata(object, |metadata| {
        metadata.remove("managedFields");
        for key in SERVER_METADATA {
            metadata.remove(key);
            let kept = old.and_then(|old| old.get("metadata")).and_then(|metadata| metadata.get(key));
            metadata.extend(kept.map(|kept| (key.to_owned(), kept.clone())));
        }
        metadata.insert("name".into(), identity.name.clone().into());
        metadata
            .extend(identity.namespace.as_ref().map(|namespace| ("namespace".to_owned(), namespace.clone().into())));
    });
}
