//! What an administrator of the operator sets.

use serde::Deserialize;

/// What an administrator of the operator sets for this module.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct PullSecretSettings {
    /// Where credentials come from unless the resource says otherwise.
    pub(crate) namespace: String,
    /// The namespaces from which credentials may come; all of them when there is none.
    pub(crate) source_namespaces: Vec<String>,
    /// Given to all modules; not used here.
    registry: String,
    /// Given to all modules; not used here.
    version: String,
}

impl Default for PullSecretSettings {
    fn default() -> Self {
        Self {
            namespace: "scone-system".to_owned(),
            source_namespaces: Vec::new(),
            registry: String::new(),
            version: String::new(),
        }
    }
}

impl PullSecretSettings {
    /// Whether credentials may come from this namespace.
    pub(crate) fn allows(&self, namespace: &str) -> bool {
        self.source_namespaces.is_empty() || self.source_namespaces.iter().any(|allowed| allowed == namespace)
    }
}
