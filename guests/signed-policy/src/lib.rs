//! The `SignedPolicy` module: policies that their owners have signed, registered in CAS.
//!
//! How it decides is in `README.md` beside this crate; how a policy gets to CAS, in `scone_api::upload`.

mod admission;
mod settings;
mod signature;
mod signer;

use kube::ResourceExt;
use operator_guest::{
    Cause, Desired, Failure, Manifest, Module, NamespaceRule, ObjectQuery, Query, Request, Settings, Snapshot, Verdict,
    module_with_crd,
};
use scone_api::{
    policy_text::{self, Head},
    signed_policy::{PolicyState, SignedPolicy, SignedPolicySpec},
    upload::{self, Sibling, Upload},
};
use serde::{Deserialize, Serialize};

use crate::settings::PolicySettings;

/// The kind, as messages call it.
const KIND: &str = "SignedPolicy";
/// The query for the other policies.
const OTHERS: &str = "policies";
/// What is read of them: nothing of their text.
const OTHER_FIELDS: [&str; 3] = ["spec.casAddress", "status.session", "status.state"];

/// The module.
pub struct SignedPolicyModule;

impl Module for SignedPolicyModule {
    type Parent = SignedPolicy;

    fn manifest() -> Manifest {
        let module =
            module_with_crd::<SignedPolicy>("signed-policy", env!("CARGO_PKG_VERSION"), scone_api::SIGNED_POLICY_CRD);
        upload::grants(module)
            .description("Registers signed policies in CAS, each after the one that is its namespace")
            .reads::<SignedPolicy>(NamespaceRule::Parent, OTHER_FIELDS)
            .webhook_validate("vsignedpolicy.kb.io", "/validate-cas-scone-cloud-v1beta1-signedpolicy")
            .admission_without_status()
            .build()
    }

    fn reconcile(snapshot: &Snapshot<SignedPolicy>) -> Result<Desired, Failure> {
        let policy = &snapshot.parent;
        let settings: PolicySettings = snapshot.settings.get()?;
        let head = Head::of(&policy.spec.policy);
        let causes = admission::causes(policy, &head);
        let verification = signature::verification(policy);
        let Head { name: session, predecessor } = head;
        let invalid = upload::invalid(&causes).or_else(|| verification.problem());
        let asks_others = invalid.is_none() && waits_for_others(policy, session.as_deref());
        let upload = Upload {
            kind: KIND,
            address: &policy.spec.cas_address,
            path: &settings.upload_path,
            body: &|| body(&policy.spec),
            sibling: session.as_deref().and_then(|session| sibling(snapshot, session)),
            session,
            text: Some(&policy.spec.policy),
            predecessor,
            invalid,
        };
        let desired = upload::reconcile(snapshot, &upload)?.condition(verification.condition());
        Ok(desired.queries(asks_others.then(|| others(policy))))
    }

    fn validate(request: &Request<SignedPolicy>) -> Verdict {
        admission::judge(request)
    }

    fn validate_settings(settings: &Settings) -> Result<(), Vec<Cause>> {
        settings.decode::<PolicySettings>()?.check()
    }
}

/// What the CLI prints and CAS takes.
#[derive(Serialize)]
struct Body<'a> {
    session: &'a str,
    signatures: &'a [scone_api::signed_policy::PolicySignature],
}

fn body(spec: &SignedPolicySpec) -> Vec<u8> {
    // Strings and lists can always be written.
    serde_json::to_vec(&Body { session: &spec.policy, signatures: &spec.signatures }).unwrap_or_default()
}

/// Whether the other policies matter: its namespace may be one of them, and it is not registered yet.
fn waits_for_others(policy: &SignedPolicy, session: Option<&str>) -> bool {
    let registered = policy.status.as_ref().is_some_and(|status| status.state == PolicyState::Registered);
    !registered && session.and_then(policy_text::namespace).is_some()
}

fn others(policy: &SignedPolicy) -> Query {
    let namespace = policy.namespace().unwrap_or_default();
    ObjectQuery::of::<SignedPolicy>().in_namespace(&namespace).fields(OTHER_FIELDS).ask(OTHERS)
}

/// Another policy, of which the session's name is known once it has been looked at.
#[derive(Deserialize)]
struct Other {
    metadata: OtherMeta,
    #[serde(default)]
    spec: OtherSpec,
    status: Option<OtherStatus>,
}

#[derive(Deserialize)]
struct OtherMeta {
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct OtherSpec {
    cas_address: String,
}

#[derive(Deserialize)]
struct OtherStatus {
    #[serde(default)]
    session: String,
    #[serde(default)]
    state: String,
}

/// The resource that registers the namespace of this session in the same CAS. One that is done counts before one that is not.
fn sibling(snapshot: &Snapshot<SignedPolicy>, session: &str) -> Option<Sibling> {
    let namespace = policy_text::namespace(session)?;
    // Without the others, CAS itself tells whether the namespace is there.
    let others: Vec<Other> = snapshot.objects(OTHERS)?.ok()?;
    let same_cas = |other: &&Other| {
        other.spec.cas_address.trim_end_matches('/') == snapshot.parent.spec.cas_address.trim_end_matches('/')
    };
    let found = others.iter().filter(same_cas).filter_map(|other| {
        let status = other.status.as_ref().filter(|status| status.session == namespace)?;
        Some(Sibling { name: other.metadata.name.clone(), registered: status.state == "REGISTERED" })
    });
    found.min_by_key(|sibling| (!sibling.registered, sibling.name.clone()))
}

#[cfg(not(feature = "library"))]
operator_guest::export!(SignedPolicyModule);
