//! What an administrator of the operator sets once for all modules.

use serde::Deserialize;

/// What an administrator of the operator sets for all SCONE kinds.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SconeSettings {
    /// Where pods go unless the resource says otherwise.
    pub namespace: String,
    /// Where images come from.
    pub registry: String,
    /// The tag of images that name none; without it they stay without.
    pub version: String,
}

impl Default for SconeSettings {
    fn default() -> Self {
        Self {
            namespace: "scone-system".to_owned(),
            registry: "registry.scontain.com/scone.cloud".to_owned(),
            version: String::new(),
        }
    }
}

impl SconeSettings {
    /// Fills in an image: `name` from the registry when there is none, and the version when it has neither tag nor digest.
    pub fn fill_image(&self, image: &mut Option<String>, name: &str) {
        let image = image.get_or_insert_default();
        if image.is_empty() {
            *image = format!("{}/{name}", self.registry.trim_end_matches('/'));
        }
        let tagged = image.contains('@') || image.rsplit('/').next().is_some_and(|last| last.contains(':'));
        if !tagged && !self.version.is_empty() {
            *image = format!("{image}:{}", self.version);
        }
    }
}
