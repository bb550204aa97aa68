//! What an administrator of the operator sets.

use scone_api::SconeSettings;
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;

/// Where the pods are that injectors may see. The author of a Vault is nobody's administrator: without a word of one
/// there is no webhook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum InjectorScope {
    /// Nowhere: there are no injectors.
    #[default]
    Off,
    /// In the namespace of their Vault.
    OwnNamespace,
    /// In all namespaces but `kube-system`.
    AllNamespaces,
}

/// A bare `off` is false for many a reader of YAML, Helm among them.
fn scope<'de, D: Deserializer<'de>>(deserializer: D) -> Result<InjectorScope, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Bool(false) => Ok(InjectorScope::Off),
        word => InjectorScope::deserialize(word).map_err(D::Error::custom),
    }
}

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
    /// Where the pods are that injectors may see.
    #[serde(deserialize_with = "scope")]
    pub(crate) injector: InjectorScope,
    /// Whether Vaults may ask the API server whose token it is that they are shown.
    pub(crate) auth_delegator: bool,
}

impl Default for VaultSettings {
    fn default() -> Self {
        let SconeSettings { namespace, registry, version } = SconeSettings::default();
        // The last releases under the Mozilla Public License.
        let [injector_image, agent_image] = ["hashicorp/vault-k8s:1.2.1", "hashicorp/vault:1.14.0"].map(str::to_owned);
        let injector = InjectorScope::default();
        Self { namespace, registry, version, injector_image, agent_image, injector, auth_delegator: false }
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
