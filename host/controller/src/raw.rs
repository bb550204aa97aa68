//! Objects from a watch as the bytes that the server sent, but for field claims, which are often half of an object. Only those that this
//! operator makes for what it does not own are ever read. Of the rest only the metadata that the watch needs is read, so an object that
//! no module could understand still arrives, and hurts nobody but its own parent.

use std::{borrow::Cow, collections::BTreeMap};

use kube::{
    Resource,
    core::{ApiResource, ObjectMeta},
};
use operator_core::{Document, ObjectRef, plan};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::value::RawValue;

use crate::store::Seen;

/// One object as the server sent it. Printed without its content, which may be secret.
#[derive(Clone)]
pub(crate) struct Raw {
    metadata: ObjectMeta,
    /// Whether it says its kind itself: items of lists of built-in kinds do not.
    typed: bool,
    /// Those of this operator's field managers on it that hold fields of what it does not own.
    managers: Vec<String>,
    text: Box<str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    #[serde(borrow)]
    api_version: Option<Cow<'a, str>>,
    #[serde(borrow)]
    metadata: Metadata<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    name: String,
    namespace: Option<String>,
    resource_version: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    labels: BTreeMap<String, String>,
    #[serde(borrow)]
    managed_fields: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Claim<'a> {
    #[serde(borrow, default)]
    manager: Cow<'a, str>,
}

/// Labels that are `null` are none.
fn or_default<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        // The server itself needs these fields: without them this is no object of any kind.
        let head: Head<'_> = serde_json::from_str(raw.get()).map_err(D::Error::custom)?;
        let typed = head.api_version.is_some();
        let Metadata { name, namespace, resource_version, labels, managed_fields } = head.metadata;
        let cut = managed_fields.and_then(|claims| without_unread(raw.get(), claims));
        let metadata =
            ObjectMeta { name: Some(name), namespace, resource_version, labels: Some(labels), ..ObjectMeta::default() };
        let (text, managers) = cut.map_or_else(|| (raw.into(), Vec::new()), |(text, managers)| (text.into(), managers));
        Ok(Self { metadata, typed, managers, text })
    }
}

/// The object with only the claims that are read, and whose they are. Claims that make no sense stay as they are.
fn without_unread(object: &str, claims: &RawValue) -> Option<(String, Vec<String>)> {
    let entries: Vec<&RawValue> = serde_json::from_str(claims.get()).ok()?;
    let (mut kept, mut managers) = (Vec::new(), Vec::new());
    for entry in entries {
        let claim: Claim<'_> = serde_json::from_str(entry.get()).ok()?;
        if plan::is_partial_manager(&claim.manager) {
            kept.push(entry.get());
            managers.push(claim.manager.into_owned());
        }
    }
    // Both are slices of one text.
    let at = claims.get().as_ptr().addr().checked_sub(object.as_ptr().addr())?;
    let (before, after) = (object.get(..at)?, object.get(at + claims.get().len()..)?);
    managers.dedup();
    Some((format!("{before}[{}]{after}", kept.join(",")), managers))
}

impl std::fmt::Debug for Raw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Raw({} bytes)", self.text.len())
    }
}

impl Raw {
    /// The object as the store keeps it.
    pub(crate) fn seen(self, api_version: &str, kind: &str) -> Seen {
        let Self { metadata, typed, managers, text } = self;
        let identity = ObjectRef {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: metadata.namespace,
            name: metadata.name.unwrap_or_default(),
        };
        let text = if typed { text.into_string() } else { with_type(&text, api_version, kind) };
        let (labels, document) = (metadata.labels.unwrap_or_default(), Document::new(text.into_bytes()));
        Seen { identity, labels, managers, document }
    }
}

/// An object that has members, as every Kubernetes object has, with its kind in front of them, in the order in which watches have
/// it: an object that has not changed is the same bytes then, whether it was listed or watched.
fn with_type(text: &str, api_version: &str, kind: &str) -> String {
    let members = text.trim_start().trim_start_matches('{');
    format!("{{\"kind\":{kind:?},\"apiVersion\":{api_version:?},{members}")
}

impl Resource for Raw {
    type DynamicType = ApiResource;
    type Scope = kube::core::DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&resource.kind)
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&resource.group)
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&resource.version)
    }

    fn api_version(resource: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&resource.api_version)
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&resource.plural)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen(text: &str) -> Seen {
        serde_json::from_str::<Raw>(text).unwrap().seen("v1", "ConfigMap")
    }

    #[test]
    fn bytes_stay_as_the_server_sent_them() {
        let text = r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"c","namespace":"a","labels":{"k":"v"}},"data":{"z":"1", "a":"2"}}"#;
        let seen = seen(text);
        assert_eq!(seen.document.bytes(), text.as_bytes());
        assert_eq!((seen.identity.to_string().as_str(), seen.labels["k"].as_str()), ("ConfigMap a/c", "v"));
    }

    #[test]
    fn an_item_of_a_list_gets_its_kind() {
        let seen = seen(r#"{"metadata":{"name":"c","labels":null},"data":{}}"#);
        let expected =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "labels": null}, "data": {}});
        assert_eq!(seen.document.to_value().unwrap(), expected);
    }

    #[test]
    fn an_object_is_the_same_bytes_whether_it_was_listed_or_watched() {
        let listed = seen(r#"{"metadata":{"name":"c"},"data":{"k":"v"}}"#);
        let watched = seen(r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"c"},"data":{"k":"v"}}"#);
        assert_eq!(listed, watched);
    }

    #[test]
    fn of_field_claims_only_those_for_others_objects_are_kept() {
        let claim = |manager: &str| format!(r#"{{"manager":"{manager}","fieldsV1":{{"f:data":{{}}}}}}"#);
        let ours = claim("operator.scone.cloud-a-on-behalf-0123");
        let object = |claims: &[&str]| {
            format!(
                r#"{{"apiVersion":"v1","metadata":{{"managedFields": [{}],"name":"c"}},"data":{{"k": "v"}}}}"#,
                claims.join(",")
            )
        };
        let seen = seen(&object(&[&claim("kubelet"), &ours, &claim("operator.scone.cloud-a"), &claim("helm")]));
        assert_eq!(std::str::from_utf8(seen.document.bytes()).unwrap(), object(&[&ours]));
        assert_eq!(seen.managers, ["operator.scone.cloud-a-on-behalf-0123"]);
    }

    #[test]
    fn an_object_whose_fields_make_no_sense_arrives_all_the_same() {
        let seen = seen(r#"{"apiVersion":"v1","metadata":{"name":"c","managedFields":7},"spec":[1,{"x":null}]}"#);
        assert_eq!(seen.identity.name, "c");
    }
}
