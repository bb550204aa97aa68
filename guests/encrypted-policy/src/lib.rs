//! The `EncryptedPolicy` module: policies that only CAS can read, registered in CAS.
//!
//! How it decides is in `README.md` beside this crate; how a policy gets to CAS, in `scone_api::upload`.

mod admission;

use kube::ResourceExt;
use operator_guest::{
    Cause, Desired, Failure, Manifest, Module, Request, Settings, Snapshot, Verdict, module_with_crd,
};
use scone_api::{
    SconeSettings,
    encrypted_policy::{EncryptedPolicy, EncryptedPolicySpec},
    upload::{self, ENCRYPTED_SESSIONS, Upload},
};
use serde::Serialize;

/// The kind, as messages call it.
const KIND: &str = "EncryptedPolicy";
/// The annotation that tells the name of the session, which is encrypted too.
const SESSION: &str = "cas.scone.cloud/session";

/// The module.
pub struct EncryptedPolicyModule;

impl Module for EncryptedPolicyModule {
    type Parent = EncryptedPolicy;

    fn manifest() -> Manifest {
        let module = module_with_crd::<EncryptedPolicy>(
            "encrypted-policy",
            env!("CARGO_PKG_VERSION"),
            scone_api::ENCRYPTED_POLICY_CRD,
        );
        upload::grants(module)
            .description("Registers encrypted policies in CAS, which alone can read them")
            .webhook_validate("vencryptedpolicy.kb.io", "/validate-cas-scone-cloud-v1beta1-encryptedpolicy")
            .admission_without_status()
            .build()
    }

    fn reconcile(snapshot: &Snapshot<EncryptedPolicy>) -> Result<Desired, Failure> {
        let policy = &snapshot.parent;
        let upload = Upload {
            kind: KIND,
            address: &policy.spec.cas_address,
            path: ENCRYPTED_SESSIONS,
            body: &|| body(&policy.spec),
            session: policy.annotations().get(SESSION).cloned(),
            text: None,
            predecessor: None,
            sibling: None,
            invalid: upload::invalid(&admission::causes(policy)),
        };
        upload::reconcile(snapshot, &upload)
    }

    fn validate(request: &Request<EncryptedPolicy>) -> Verdict {
        admission::judge(request)
    }

    fn validate_settings(settings: &Settings) -> Result<(), Vec<Cause>> {
        // Those of all SCONE kinds are accepted; none of them matters here.
        settings.decode::<SconeSettings>().map(drop)
    }
}

/// What the CLI prints and CAS takes.
#[derive(Serialize)]
struct Body<'a> {
    encrypted_session: &'a str,
    encryption_key: &'a str,
}

fn body(spec: &EncryptedPolicySpec) -> Vec<u8> {
    // Strings can always be written.
    serde_json::to_vec(&Body { encrypted_session: &spec.policy, encryption_key: &spec.encryption_key })
        .unwrap_or_default()
}

#[cfg(not(feature = "library"))]
operator_guest::export!(EncryptedPolicyModule);
