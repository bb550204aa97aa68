//! Policies, signed with keys that are made for tests, and the host in memory.
#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    reason = "each test file uses some of it; helpers of tests may do what tests may"
)]

#[path = "../../../scone-api/tests/support/policy_host.rs"]
pub(crate) mod policy_host;
pub(crate) mod ways;

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::Signer as _;
use serde_json::{Value, json};
use signed_policy::SignedPolicyModule;

pub(crate) use policy_host::{CERTIFICATE, Fault, OTHER_CERTIFICATE, check_fixture, promised};

pub(crate) type Host = policy_host::Host<SignedPolicyModule>;

pub(crate) const CAS: &str = "https://cas.default:8081";
pub(crate) const POLICY: &str = "name: team\nversion: \"0.3\"\nsecrets:\n- {name: key, kind: ascii, value: s3cret}\n";

const ED25519_INFO: &str = "302a300506032b6570032100";
const P384_INFO: &str = "3076301006072a8648ce3d020106052b81040022036200";

fn info(prefix: &str, key: &[u8]) -> String {
    STANDARD.encode([hex::decode(prefix).unwrap(), key.to_vec()].concat())
}

/// A signature of this text with Ed25519.
pub(crate) fn ed25519(text: &str) -> Value {
    let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
    let signer = info(ED25519_INFO, key.verifying_key().as_bytes());
    json!({"signer": signer, "signature": hex::encode(key.sign(text.as_bytes()).to_bytes())})
}

/// A signature of this text with P-384, its two numbers one behind the other.
pub(crate) fn p384(text: &str) -> Value {
    let key = p384::ecdsa::SigningKey::from_slice(&[7; 48]).unwrap();
    let signature: p384::ecdsa::Signature = p384::ecdsa::signature::Signer::sign(&key, text.as_bytes());
    let point = key.verifying_key().to_sec1_point(false);
    json!({"signer": info(P384_INFO, point.as_bytes()), "signature": hex::encode(signature.to_bytes())})
}

/// A resource with this policy, signed.
pub(crate) fn resource(policy: &str) -> Value {
    json!({
        "apiVersion": "cas.scone.cloud/v1beta1", "kind": "SignedPolicy",
        "metadata": {"name": "team", "namespace": "default", "uid": "5f6c", "generation": 1, "annotations": {}},
        "spec": {"casAddress": CAS, "policy": policy, "signatures": [ed25519(policy)]},
    })
}

/// A host with this policy, and an empty CAS.
pub(crate) fn host(policy: &str) -> Host {
    Host::new(resource(policy))
}

/// Another resource in the same namespace, as the query for it finds it.
pub(crate) fn other(name: &str, session: &str, state: &str) -> Value {
    json!({
        "apiVersion": "cas.scone.cloud/v1beta1", "kind": "SignedPolicy", "metadata": {"name": name, "namespace": "default"},
        "spec": {"casAddress": CAS}, "status": {"session": session, "state": state},
    })
}

/// Changes policy and signatures together.
pub(crate) fn sign_again(host: &mut Host, policy: &str) {
    host.edit("policy", json!(policy));
    host.edit("signatures", json!([ed25519(policy)]));
}
