//! Constructors for the small records that modules write by the dozen.

use std::{collections::BTreeMap, fmt};

use kube::Resource;
use serde::Serialize;

use crate::{Cause, Condition, ConditionStatus, Event, EventType, ObjectRef, Partial, Sample};

impl ObjectRef {
    /// A reference to this object.
    pub fn of<K: Resource<DynamicType = ()>>(object: &K) -> Self {
        let meta = object.meta();
        Self { namespace: meta.namespace.clone(), ..Self::named::<K>(meta.name.as_deref().unwrap_or_default()) }
    }

    /// A reference to a cluster-scoped object of kind `K`; see [`ObjectRef::in_namespace`].
    pub fn named<K: Resource<DynamicType = ()>>(name: &str) -> Self {
        Self {
            api_version: K::api_version(&()).into_owned(),
            kind: K::kind(&()).into_owned(),
            namespace: None,
            name: name.to_owned(),
        }
    }

    /// The same object in a namespace.
    #[must_use]
    pub fn in_namespace(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }
}

/// `Kind namespace/name`, or `Kind name` for cluster-scoped objects.
impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

impl Condition {
    /// The condition holds. `reason` is one CamelCase word, `message` a sentence.
    pub fn true_(type_: &str, reason: &str, message: impl Into<String>) -> Self {
        Self::new(type_, ConditionStatus::True, reason, message)
    }

    /// The condition does not hold.
    pub fn false_(type_: &str, reason: &str, message: impl Into<String>) -> Self {
        Self::new(type_, ConditionStatus::False, reason, message)
    }

    /// It could not be told.
    pub fn unknown(type_: &str, reason: &str, message: impl Into<String>) -> Self {
        Self::new(type_, ConditionStatus::Unknown, reason, message)
    }

    /// A condition with a status that was computed.
    pub fn new(type_: &str, status: ConditionStatus, reason: &str, message: impl Into<String>) -> Self {
        Self { type_: type_.to_owned(), status, reason: reason.to_owned(), message: message.into() }
    }
}

impl From<bool> for ConditionStatus {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

impl Event {
    /// Something went as planned. `reason` and `action` are one CamelCase word each.
    pub fn normal(reason: &str, action: &str, message: impl Into<String>) -> Self {
        Self::new(EventType::Normal, reason, action, message)
    }

    /// Something needs a look.
    pub fn warning(reason: &str, action: &str, message: impl Into<String>) -> Self {
        Self::new(EventType::Warning, reason, action, message)
    }

    fn new(type_: EventType, reason: &str, action: &str, message: impl Into<String>) -> Self {
        Self { type_, reason: reason.to_owned(), action: action.to_owned(), message: message.into(), regarding: None }
    }

    /// About this object instead of the parent.
    #[must_use]
    pub fn regarding(mut self, object: ObjectRef) -> Self {
        self.regarding = Some(object);
        self
    }
}

impl Sample {
    /// A sample of a gauge without labels.
    pub fn gauge(name: &str, value: f64) -> Self {
        Self { name: name.to_owned(), labels: Vec::new(), value }
    }

    /// With one more label.
    #[must_use]
    pub fn label(mut self, name: &str, value: impl Into<String>) -> Self {
        self.labels.push((name.to_owned(), value.into()));
        self
    }
}

/// The reasons are those that Kubernetes itself uses in the causes of a `Status`
/// (`k8s.io/apimachinery/pkg/util/validation/field`).
impl Cause {
    /// The field is missing.
    pub fn required(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(field, "FieldValueRequired", message)
    }

    /// The value is out of its range or malformed.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(field, "FieldValueInvalid", message)
    }

    /// The value has the wrong type.
    pub fn type_invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(field, "FieldValueTypeInvalid", message)
    }

    /// The value is none of those that are supported.
    pub fn not_supported(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(field, "FieldValueNotSupported", message)
    }

    /// The field must not be set like this, here or now.
    pub fn forbidden(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(field, "FieldValueForbidden", message)
    }

    /// The value occurs twice.
    pub fn duplicate(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(field, "FieldValueDuplicate", message)
    }

    /// A cause with a reason of the module's own: one CamelCase word.
    pub fn new(field: impl Into<String>, reason: &str, message: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.to_owned(), message: message.into() }
    }
}

/// Just the wanted metadata, as an apply configuration.
#[derive(Serialize)]
struct PartialDocument {
    metadata: PartialMetadata,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum PartialMetadata {
    Labels(BTreeMap<String, String>),
    Annotations(BTreeMap<String, String>),
}

impl Partial {
    /// Labels wanted on an object.
    pub fn labels(
        identity: ObjectRef,
        labels: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>,
    ) -> Self {
        Self::new(identity, PartialMetadata::Labels(owned(labels)))
    }

    /// Annotations wanted on an object.
    pub fn annotations(
        identity: ObjectRef,
        annotations: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>,
    ) -> Self {
        Self::new(identity, PartialMetadata::Annotations(owned(annotations)))
    }

    /// Other fields wanted on an object, such as `{"spec": {...}}`. They stay as they are once they are no longer named.
    pub fn fields(identity: ObjectRef, fields: &impl Serialize) -> Self {
        Self { identity, document: serde_json::to_vec(fields).unwrap_or_default() }
    }

    fn new(identity: ObjectRef, metadata: PartialMetadata) -> Self {
        // Maps of strings can always be written.
        Self { identity, document: serde_json::to_vec(&PartialDocument { metadata }).unwrap_or_default() }
    }
}

fn owned(pairs: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect()
}
