//! Encrypted policies, and the host in memory.
#![allow(dead_code, unused_imports, reason = "each test file uses some of it")]

#[path = "../../../scone-api/tests/support/policy_host.rs"]
pub(crate) mod policy_host;

use encrypted_policy::EncryptedPolicyModule;
use serde_json::{Value, json};

pub(crate) use policy_host::{CERTIFICATE, Fault, OTHER_CERTIFICATE, check_fixture, promised};

pub(crate) type Host = policy_host::Host<EncryptedPolicyModule>;

pub(crate) const CIPHERTEXT: &str = "czNjcmV0IGNpcGhlcnRleHQ=";
pub(crate) const OTHER_CIPHERTEXT: &str = "YW5vdGhlciBjaXBoZXJ0ZXh0";
pub(crate) const KEY: &str = "0a0b0c0d0a0b0c0d0a0b0c0d0a0b0c0d0a0b0c0d0a0b0c0d0a0b0c0d0a0b0c0d";

/// A resource with this ciphertext.
pub(crate) fn resource(policy: &str) -> Value {
    json!({
        "apiVersion": "cas.scone.cloud/v1beta1", "kind": "EncryptedPolicy",
        "metadata": {"name": "team", "namespace": "default", "uid": "5f6c", "generation": 1, "annotations": {}},
        "spec": {"casAddress": "https://cas.default:8081", "policy": policy, "encryptionKey": KEY},
    })
}

/// A host with it, and an empty CAS.
pub(crate) fn host() -> Host {
    Host::new(resource(CIPHERTEXT))
}

/// The same, and the name of the session is told.
pub(crate) fn named(session: &str) -> Host {
    let mut host = host();
    host.annotate("cas.scone.cloud/session", session);
    host
}
