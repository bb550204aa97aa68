//! What an administrator of the operator sets.

use scone_api::SconeSettings;
use serde::Deserialize;

/// What an administrator of the operator sets for this module.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct VaultSettings {
    /// Given to all modules; a Vault runs in its own namespace.
    namespace: String,
    /// Where images come from.
    registry: String,
    /// The tag of images that name none.
    version: String,
    /// The image of the injector.
    pub(crate) injector_image: String,
    /// The image of the agents that it puts into pods.
    pub(crate) agent_image: String,
    /// Whether Vaults may ask the API server whose token it is that they are shown.
    pub(crate) auth_delegator: bool,
}

impl Default for VaultSettings {
    fn default() -> Self {
        let SconeSettings { namespace, registry, version } = SconeSettings::default();
        // The last releases under the Mozilla Public License.
        let [injector_image, agent_image] = ["hashicorp/vault-k8s:1.2.1", "hashicorp/vault:1.14.0"].map(str::to_owned);
        Self { namespace, registry, version, injector_image, agent_image, auth_delegator: false }
    }
}

impl VaultSettings {
    /// The settings that all modules have.
    pub(crate) fn shared(&self) -> SconeSettings {
        SconeSettings {
            namespace: self.namespace.clone(),
            registry: self.registry.clone(),
            version: self.version.clone(),
        }
    }
}
