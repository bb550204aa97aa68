//! The SCONE kinds as Rust types, and what their modules share: reading pods, finding problems, judging specs.
//!
//! The CRDs under `deploy/crds` are made from these types; modules carry them as text, since the schema machinery is most of
//! a small module otherwise.

pub mod auto_update;
pub mod cas;
pub mod encrypted_policy;
pub mod imagepullsecret;
pub mod las;
pub mod missing;
#[expect(missing_docs, reason = "fields of the Kubernetes API, under its names")]
pub mod observe;
pub mod owned;
#[expect(missing_docs, reason = "fields of the Kubernetes API, under its names")]
pub mod pod;
pub mod policy;
pub mod policy_text;
pub mod problem;
pub mod quantity;
pub mod report;
pub mod rules;
mod schema;
pub mod selection;
mod settings;
pub mod sgxplugin;
pub mod signed_policy;
mod state;
pub mod syntax;
pub mod template;
pub mod upload;
pub mod vault;

#[cfg(not(target_arch = "wasm32"))]
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool, ValidationRule,
};
#[cfg(not(target_arch = "wasm32"))]
use kube::CustomResourceExt;
#[cfg(not(target_arch = "wasm32"))]
use serde_json::{Map, Value};

pub use settings::SconeSettings;
pub use state::State;

/// The device plug-in's resource that lets a container open the SGX device.
pub const ENCLAVE: &str = "sgx.intel.com/enclave";
/// The node label that says that a node offers SGX.
pub const SGX_CAPABLE: &str = "sgx.intel.com/capable";

/// The CRD of CAS as JSON.
pub const CAS_CRD: &str = include_str!("../crds/cas.json");
/// The CRD of `ImagePullSecret` as JSON.
pub const IMAGEPULLSECRET_CRD: &str = include_str!("../crds/imagepullsecret.json");
/// The CRD of LAS as JSON.
pub const LAS_CRD: &str = include_str!("../crds/las.json");
/// The CRD of `SGXPlugin` as JSON.
pub const SGXPLUGIN_CRD: &str = include_str!("../crds/sgxplugin.json");
/// The CRD of Vault as JSON.
pub const VAULT_CRD: &str = include_str!("../crds/vault.json");

/// The CRD of `SignedPolicy` as JSON.
pub const SIGNED_POLICY_CRD: &str = include_str!("../crds/signedpolicy.json");
/// The CRD of `EncryptedPolicy` as JSON.
pub const ENCRYPTED_POLICY_CRD: &str = include_str!("../crds/encryptedpolicy.json");

/// The CRDs of all SCONE kinds, by the name of their file under `deploy/crds`, made from the types.
#[cfg(not(target_arch = "wasm32"))]
pub fn crds() -> Vec<(&'static str, CustomResourceDefinition)> {
    vec![
        ("base.scone.cloud_las.yaml", published(las::LAS::crd(), LABEL)),
        ("base.scone.cloud_sgxplugins.yaml", published(sgxplugin::SGXPlugin::crd(), LABEL)),
        ("cas.scone.cloud_encryptedpolicies.yaml", open_status(encrypted_policy::EncryptedPolicy::crd())),
        ("cas.scone.cloud_signedpolicies.yaml", open_status(signed_policy::SignedPolicy::crd())),
        ("images.banzaicloud.io_imagepullsecrets.yaml", open_status(imagepullsecret::ImagePullSecret::crd())),
        ("services.scone.cloud_cas.yaml", published(cas::CAS::crd(), cas::NAME_RULE)),
        ("services.scone.cloud_vaults.yaml", named(open_status(vault::Vault::crd()), vault::NAME_RULE)),
    ]
}

/// What names of most kinds must keep to.
#[cfg(not(target_arch = "wasm32"))]
const LABEL: (&str, &str) =
    ("self.metadata.name.size() <= 63", "must have at most 63 characters: it becomes a label of the pods");

/// What the derived schema cannot say, and the rule for names.
#[cfg(not(target_arch = "wasm32"))]
fn published(crd: CustomResourceDefinition, name: (&str, &str)) -> CustomResourceDefinition {
    let mut crd = named(open_status(crd), name);
    for schema in schemas(&mut crd) {
        // No published spec field is required, and so the spec itself is not.
        schema.required = None;
        let mut parts = schema.properties.iter_mut().flatten();
        if let Some((_, spec)) = parts.find(|(name, _)| *name == "spec") {
            spec.default = Some(JSON(Value::Object(Map::new())));
        }
    }
    crd
}

/// With a rule for names.
#[cfg(not(target_arch = "wasm32"))]
fn named(mut crd: CustomResourceDefinition, (rule, message): (&str, &str)) -> CustomResourceDefinition {
    for schema in schemas(&mut crd) {
        schema.x_kubernetes_validations = Some(vec![ValidationRule {
            rule: rule.to_owned(),
            message: Some(message.to_owned()),
            ..ValidationRule::default()
        }]);
    }
    crd
}

#[cfg(not(target_arch = "wasm32"))]
fn schemas(crd: &mut CustomResourceDefinition) -> impl Iterator<Item = &mut JSONSchemaProps> {
    let schemas = crd.spec.versions.iter_mut().filter_map(|version| version.schema.as_mut());
    schemas.filter_map(|schema| schema.open_api_v3_schema.as_mut())
}

/// A status that a host may write too, and quantities as they are published.
#[cfg(not(target_arch = "wasm32"))]
fn open_status(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for schema in schemas(&mut crd) {
        // The published CRDs require fields in the status. A host whose module fails before its first answer knows none of
        // them and could not even write the condition that says so; modules write them all the same.
        let mut parts = schema.properties.iter_mut().flatten();
        if let Some((_, status)) = parts.find(|(name, _)| *name == "status") {
            status.required = None;
        }
        quantities(schema);
        let mut parts = schema.properties.iter_mut().flatten();
        if let Some((_, spec)) = parts.find(|(name, _)| *name == "spec") {
            bounded(spec);
        }
    }
    crd
}

/// Every list is bounded that users write, so that what a module is called with is. Lists that name their own bound keep it.
#[cfg(not(target_arch = "wasm32"))]
fn bounded(schema: &mut JSONSchemaProps) {
    if schema.type_.as_deref() == Some("array") {
        schema.max_items.get_or_insert(schema::MOST_ITEMS);
    }
    each_part(schema, bounded);
}

/// The published pattern of every quantity.
#[cfg(not(target_arch = "wasm32"))]
fn quantities(schema: &mut JSONSchemaProps) {
    if schema.x_kubernetes_int_or_string == Some(true)
        && schema.description.as_ref().is_some_and(|text| text.starts_with("Quantity"))
    {
        schema.pattern = Some(schema::QUANTITY.to_owned());
    }
    each_part(schema, quantities);
}

/// Changes what a schema directly consists of.
#[cfg(not(target_arch = "wasm32"))]
fn each_part(schema: &mut JSONSchemaProps, change: impl Fn(&mut JSONSchemaProps)) {
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        change(values);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        change(items);
    }
    for (_, field) in schema.properties.iter_mut().flatten() {
        change(field);
    }
}
