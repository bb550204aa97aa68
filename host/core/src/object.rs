//! Kubernetes objects as the host sees them: an identity and one opaque document.

use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

/// Names one Kubernetes object. Ordered by API version, kind, namespace and name, which is the canonical order everywhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// Group and version as Kubernetes writes them: `v1`, `apps/v1`.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// The namespace; none for cluster-scoped objects.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

impl ObjectRef {
    /// A reference to an object in a namespace.
    pub fn namespaced(api_version: &str, kind: &str, namespace: &str, name: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), ..Self::cluster(api_version, kind, name) }
    }

    /// A reference to a cluster-scoped object.
    pub fn cluster(api_version: &str, kind: &str, name: &str) -> Self {
        Self { api_version: api_version.to_owned(), kind: kind.to_owned(), namespace: None, name: name.to_owned() }
    }

    /// Whether namespace and name can stand in an API path and lead to this object and nowhere else. Kubernetes lets most kinds have less;
    /// names of roles may hold colons.
    pub fn is_addressable(&self) -> bool {
        let plain =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:@+~$&'()*,;=!".contains(&byte));
        let name = &*self.name;
        let named = !name.is_empty() && name.len() <= 253 && name != "." && name != ".." && plain(name);
        let label = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let placed = |namespace: &String| (1..=63).contains(&namespace.len()) && namespace.bytes().all(label);
        named && self.namespace.as_ref().is_none_or(placed)
    }

    /// The API group: empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
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

/// One Kubernetes object as JSON bytes, shared and never copied. Kept as received: the host parses only what it must.
#[derive(Clone, Eq)]
pub struct Document(Bytes);

/// Most often a document is compared to itself, which needs no look at its bytes.
impl PartialEq for Document {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.bytes(), other.bytes()) || self.0 == other.0
    }
}

impl Document {
    /// Wraps bytes without looking at them.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// The document of a JSON value.
    pub fn from_value(value: &Value) -> Self {
        // Writing a `Value` to memory cannot fail: its keys are strings.
        Self(serde_json::to_vec(value).unwrap_or_default().into())
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, shared.
    pub fn to_bytes(&self) -> Bytes {
        self.0.clone()
    }

    /// The whole document as a tree. Costly: never on the hot path.
    pub fn to_value(&self) -> Result<Value, DocumentError> {
        serde_json::from_slice(&self.0).map_err(|source| DocumentError::Json { source })
    }

    /// Reads API version, kind and the few metadata that the host needs, skipping everything else.
    pub fn identity(&self) -> Result<Identity, DocumentError> {
        serde_json::from_slice(&self.0).map_err(|source| DocumentError::Json { source })
    }
}

/// Prints the size only: documents may hold secrets.
impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document({} bytes)", self.0.len())
    }
}

/// Why bytes are no Kubernetes object.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Not JSON, or JSON of another shape.
    #[error("not a Kubernetes object in JSON")]
    Json {
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
}

/// The part of an object that the host reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// Group and version.
    #[serde(default)]
    pub api_version: String,
    /// Kind.
    #[serde(default)]
    pub kind: String,
    /// The metadata the host needs.
    #[serde(default)]
    pub metadata: Metadata,
}

/// The metadata that the host reads of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// Name.
    #[serde(default)]
    pub name: String,
    /// Namespace.
    #[serde(default)]
    pub namespace: Option<String>,
    /// UID, set by the server.
    #[serde(default)]
    pub uid: String,
    /// Resource version, set by the server.
    #[serde(default)]
    pub resource_version: String,
    /// Generation of the spec, set by the server.
    #[serde(default)]
    pub generation: Option<i64>,
    /// When deletion was asked for.
    #[serde(default)]
    pub deletion_timestamp: Option<String>,
    /// Finalizers.
    #[serde(default)]
    pub finalizers: Vec<String>,
    /// Labels.
    #[serde(default)]
    pub labels: std::collections::BTreeMap<String, String>,
    /// Annotations.
    #[serde(default)]
    pub annotations: std::collections::BTreeMap<String, String>,
    /// Owners.
    #[serde(default)]
    pub owner_references: Vec<Owner>,
}

/// One entry of `metadata.ownerReferences`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// Group and version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// Whether this owner manages the object.
    #[serde(default)]
    pub controller: bool,
}

impl Identity {
    /// The reference to this object.
    pub fn object_ref(&self) -> ObjectRef {
        ObjectRef {
            api_version: self.api_version.clone(),
            kind: self.kind.clone(),
            namespace: self.metadata.namespace.clone(),
            name: self.metadata.name.clone(),
        }
    }
}
