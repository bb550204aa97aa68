//! Objects from a watch as the bytes that the server sent, but for what no module decides by and is often most of an object: field claims,
//! of which only those that this operator makes for what it does not own are ever read, and what `kubectl apply` keeps in an annotation,
//! which is the object once more. Of the rest only the metadata that the watch needs is read, so an object that
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
    annotations: Option<Annotations<'a>>,
    #[serde(borrow)]
    managed_fields: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Annotations<'a> {
    #[serde(borrow, rename = "kubectl.kubernetes.io/last-applied-configuration")]
    last_applied: Option<&'a RawValue>,
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
        let Metadata { name, namespace, resource_version, labels, annotations, managed_fields } = head.metadata;
        let applied = annotations.and_then(|annotations| annotations.last_applied);
        let (claims, managers) = managed_fields.and_then(read_claims).unzip();
        let cut = without(raw.get(), [applied.map(|applied| (applied, "\"\"".to_owned())), claims]);
        let metadata =
            ObjectMeta { name: Some(name), namespace, resource_version, labels: Some(labels), ..ObjectMeta::default() };
        let managers = managers.unwrap_or_default();
        Ok(Self { metadata, typed, managers, text: cut.map_or_else(|| raw.into(), Into::into) })
    }
}

/// An object's claims with the text of those that are read, and whose these are; none of claims that make no sense.
fn read_claims(claims: &RawValue) -> Option<((&RawValue, String), Vec<String>)> {
    let entries: Vec<&RawValue> = serde_json::from_str(claims.get()).ok()?;
    let (mut kept, mut managers) = (Vec::new(), Vec::new());
    for entry in entries {
        let claim: Claim<'_> = serde_json::from_str(entry.get()).ok()?;
        if plan::is_partial_manager(&claim.manager) {
            kept.push(entry.get());
            managers.push(claim.manager.into_owned());
        }
    }
    managers.dedup();
    Some(((claims, format!("[{}]", kept.join(","))), managers))
}

/// The text of an object with other text in place of some of its values, which are slices of it; none when there is nothing to do.
fn without(object: &str, values: [Option<(&RawValue, String)>; 2]) -> Option<String> {
    let mut values: Vec<_> = values.into_iter().flatten().collect();
    values.sort_unstable_by_key(|(value, _)| value.get().as_ptr());
    let (mut text, mut rest) = (String::with_capacity(object.len()), object);
    for (value, with) in &values {
        let at = value.get().as_ptr().addr().checked_sub(rest.as_ptr().addr())?;
        text.push_str(rest.get(..at)?);
        text.push_str(with);
        rest = rest.get(at + value.get().len()..)?;
    }
    text.push_str(rest);
    (!values.is_empty()).then_some(text)
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
    fn what_kubectl_keeps_in_its_annotation_is_cut_wherever_it_stands() {
        let applied = r#""annotations":{"a":"b", "kubectl.kubernetes.io/last-applied-configuration": "{\"a\":1}\n"}"#;
        let left = r#""annotations":{"a":"b", "kubectl.kubernetes.io/last-applied-configuration": ""}"#;
        let claims = r#""managedFields":[{"manager":"kubectl"}]"#;
        let object = |first: &str, second: &str| {
            format!(r#"{{"apiVersion":"v1","metadata":{{{first},"name":"c",{second}}},"data":{{"k":"v"}}}}"#)
        };
        let none = r#""managedFields":[]"#;
        assert_eq!(seen(&object(applied, claims)).document.bytes(), object(left, none).as_bytes());
        assert_eq!(seen(&object(claims, applied)).document.bytes(), object(none, left).as_bytes());
        let null = r#""annotations":null"#;
        assert_eq!(seen(&object(null, claims)).document.bytes(), object(null, none).as_bytes());
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
