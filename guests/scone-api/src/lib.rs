//! The SCONE kinds as Rust types, and what their modules share: reading pods, finding problems, judging specs.
//!
//! The CRDs under `deploy/crds` are made from these types; modules carry them as text, since the schema machinery is most of
//! a small module otherwise.

pub mod auto_update;
pub mod encrypted_policy;
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

#[cfg(not(target_arch = "wasm32"))]
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrBool, ValidationRule,
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

/// The CRD of LAS as JSON.
pub const LAS_CRD: &str = include_str!("../crds/las.json");
/// The CRD of `SGXPlugin` as JSON.
pub const SGXPLUGIN_CRD: &str = include_str!("../crds/sgxplugin.json");

/// The CRD of `SignedPolicy` as JSON.
pub const SIGNED_POLICY_CRD: &str = include_str!("../crds/signedpolicy.json");
/// The CRD of `EncryptedPolicy` as JSON.
pub const ENCRYPTED_POLICY_CRD: &str = include_str!("../crds/encryptedpolicy.json");

/// The CRDs of all SCONE kinds, by the name of their file under `deploy/crds`, made from the types.
#[cfg(not(target_arch = "wasm32"))]
pub fn crds() -> [(&'static str, CustomResourceDefinition); 4] {
    [
        ("base.scone.cloud_las.yaml", workload(las::LAS::crd())),
        ("base.scone.cloud_sgxplugins.yaml", workload(sgxplugin::SGXPlugin::crd())),
        ("cas.scone.cloud_encryptedpolicies.yaml", published(encrypted_policy::EncryptedPolicy::crd())),
        ("cas.scone.cloud_signedpolicies.yaml", published(signed_policy::SignedPolicy::crd())),
    ]
}

/// The schemas of all versions.
#[cfg(not(target_arch = "wasm32"))]
fn schemas(crd: &mut CustomResourceDefinition) -> impl Iterator<Item = &mut JSONSchemaProps> {
    let schemas = crd.spec.versions.iter_mut().filter_map(|version| version.schema.as_mut());
    schemas.filter_map(|schema| schema.open_api_v3_schema.as_mut())
}

/// What the derived schema of a kind with pods cannot say.
#[cfg(not(target_arch = "wasm32"))]
fn workload(crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let mut crd = published(crd);
    for schema in schemas(&mut crd) {
        // No published spec field is required, and so the spec itself is not.
        schema.required = None;
        let mut parts = schema.properties.iter_mut().flatten();
        if let Some((_, spec)) = parts.find(|(name, _)| *name == "spec") {
            spec.default = Some(JSON(Value::Object(Map::new())));
        }
        quantities(schema);
        schema.x_kubernetes_validations = Some(vec![ValidationRule {
            rule: "self.metadata.name.size() <= 63".to_owned(),
            message: Some("must have at most 63 characters: it becomes a label of the pods".to_owned()),
            ..ValidationRule::default()
        }]);
    }
    crd
}

/// What the derived schema of any kind cannot say.
#[cfg(not(target_arch = "wasm32"))]
fn published(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for schema in schemas(&mut crd) {
        // The published CRDs require fields in the status. A host whose module fails before its first answer knows none of
        // them and could not even write the condition that says so; modules write them all the same.
        let mut parts = schema.properties.iter_mut().flatten();
        if let Some((_, status)) = parts.find(|(name, _)| *name == "status") {
            status.required = None;
        }
    }
    crd
}

/// The published pattern of every quantity.
#[cfg(not(target_arch = "wasm32"))]
fn quantities(schema: &mut JSONSchemaProps) {
    if schema.x_kubernetes_int_or_string == Some(true)
        && schema.description.as_ref().is_some_and(|text| text.starts_with("Quantity"))
    {
        schema.pattern = Some(schema::QUANTITY.to_owned());
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        quantities(values);
    }
    for (_, field) in schema.properties.iter_mut().flatten() {
        quantities(field);
    }
}
