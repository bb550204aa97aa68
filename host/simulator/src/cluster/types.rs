//! How lists and maps of a type are merged: by Kubernetes' own declarations for built-in kinds, by the schema for custom ones.

use serde_json::Value;

/// What is known of the type of a value: how its lists and maps are merged depends on it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Type<'a> {
    /// An object of a built-in kind, or something in it, by the field that holds it.
    BuiltIn(&'a str),
    /// A custom resource.
    Custom(&'a Value),
    /// Something in a custom resource.
    Schema(&'a Value),
}

/// How a list or map is merged.
pub(crate) enum Merge<'a> {
    Associative(Vec<&'a str>),
    Set,
    Atomic,
    /// Maps only: field by field.
    Granular,
}

impl<'a> Type<'a> {
    /// The type of a custom resource with this schema, or else of a built-in kind.
    pub(crate) fn of(schema: Option<&'a Value>) -> Self {
        schema.map_or(Self::BuiltIn(""), Self::Custom)
    }

    pub(crate) fn field(self, name: &'a str) -> Self {
        match self {
            Self::BuiltIn(_) => Self::BuiltIn(name),
            Self::Custom(_) if name == "metadata" => Self::BuiltIn(name),
            Self::Custom(schema) | Self::Schema(schema) => {
                let known = schema.get("properties").and_then(|properties| properties.get(name));
                Self::Schema(known.or_else(|| schema.get("additionalProperties")).unwrap_or(&Value::Null))
            }
        }
    }

    pub(crate) fn element(self) -> Self {
        match self {
            Self::BuiltIn(_) => Self::BuiltIn(""),
            Self::Custom(schema) | Self::Schema(schema) => Self::Schema(schema.get("items").unwrap_or(&Value::Null)),
        }
    }

    pub(crate) fn list(self) -> Merge<'a> {
        match self {
            Self::BuiltIn(field) => built_in_list(field),
            Self::Custom(schema) | Self::Schema(schema) => {
                match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
                    Some("map") => {
                        let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
                        Merge::Associative(keys.into_iter().flatten().filter_map(Value::as_str).collect())
                    }
                    Some("set") => Merge::Set,
                    _ => Merge::Atomic,
                }
            }
        }
    }

    pub(crate) fn map(self) -> Merge<'a> {
        let atomic = match self {
            Self::BuiltIn(field) => ATOMIC_MAPS.contains(&field),
            Self::Custom(_) => false,
            Self::Schema(schema) => schema.get("x-kubernetes-map-type").and_then(Value::as_str) == Some("atomic"),
        };
        if atomic { Merge::Atomic } else { Merge::Granular }
    }
}

/// Maps that Kubernetes' own types declare atomic.
const ATOMIC_MAPS: [&str; 9] = [
    "selector",
    "nodeSelector",
    "labelSelector",
    "podSelector",
    "namespaceSelector",
    "secretKeyRef",
    "configMapKeyRef",
    "fieldRef",
    "resourceFieldRef",
];

fn built_in_list(field: &str) -> Merge<'static> {
    match field {
        "containers" | "initContainers" | "env" | "volumes" | "imagePullSecrets" | "secrets" | "webhooks" => {
            Merge::Associative(vec!["name"])
        }
        "ports" => Merge::Associative(vec!["containerPort", "port", "protocol"]),
        "volumeMounts" => Merge::Associative(vec!["mountPath"]),
        "volumeDevices" => Merge::Associative(vec!["devicePath"]),
        "hostAliases" => Merge::Associative(vec!["ip"]),
        "conditions" => Merge::Associative(vec!["type"]),
        "ownerReferences" => Merge::Associative(vec!["uid"]),
        "topologySpreadConstraints" => Merge::Associative(vec!["topologyKey"]),
        "finalizers" => Merge::Set,
        _ => Merge::Atomic,
    }
}
