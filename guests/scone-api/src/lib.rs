//! The SCONE kinds as Rust types, and what their modules share: reading pods, finding problems, judging specs.
//!
//! The CRDs under `deploy/crds` are made from these types; modules carry them as text, since the schema machinery is most of
//! a small module otherwise.

pub mod las;
#[expect(missing_docs, reason = "fields of the Kubernetes API, under its names")]
pub mod observe;
#[expect(missing_docs, reason = "fields of the Kubernetes API, under its names")]
pub mod pod;
pub mod problem;
pub mod report;
pub mod rules;
mod settings;
pub mod sgxplugin;
mod state;
pub mod syntax;

#[cfg(not(target_arch = "wasm32"))]
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
#[cfg(not(target_arch = "wasm32"))]
use kube::CustomResourceExt;

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

/// The CRDs of all SCONE kinds, by the name of their file under `deploy/crds`, made from the types.
#[cfg(not(target_arch = "wasm32"))]
pub fn crds() -> [(&'static str, CustomResourceDefinition); 2] {
    [
        ("base.scone.cloud_las.yaml", with_open_status(las::LAS::crd())),
        ("base.scone.cloud_sgxplugins.yaml", with_open_status(sgxplugin::SGXPlugin::crd())),
    ]
}

/// The published CRDs require fields in the status. A host whose module fails before its first answer knows none of them and
/// could not even write the condition that says so; modules write them all the same.
#[cfg(not(target_arch = "wasm32"))]
fn with_open_status(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let schema = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut());
        let status = schema.and_then(|schema| schema.properties.as_mut()?.get_mut("status"));
        if let Some(status) = status {
            status.required = None;
        }
    }
    crd
}
