//! What is refused before it is stored.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "the helpers of tests may do what tests may")]

use crate::support::{CIPHERTEXT, OTHER_CIPHERTEXT, resource};
use encrypted_policy::EncryptedPolicyModule;
use insta::assert_snapshot;
use operator_guest::{Module, native, testing};
use serde_json::{Value, json};

fn judge(request: &Value) -> testing::Judgement {
    testing::admit::<EncryptedPolicyModule>(&request.to_string()).unwrap()
}

fn told(request: &Value) -> String {
    let denied = judge(request).denied;
    let causes = denied.map(|denied| denied.causes).unwrap_or_default();
    causes
        .iter()
        .map(|cause| format!("{} {}: {}", cause.reason, cause.field, cause.message))
        .collect::<Vec<_>>()
        .join("\n")
}

fn causes(field: &str, value: &str) -> String {
    told(&json!({"phase": "validate", "object": with(field, value)}))
}

fn with(field: &str, value: &str) -> Value {
    let mut object = resource(CIPHERTEXT);
    object["spec"][field] = json!(value);
    object
}

#[test]
fn an_encrypted_policy_is_accepted_as_it_is() {
    let judgement = judge(&json!({"object": resource(CIPHERTEXT)}));
    assert!(judgement.allowed() && judgement.object.is_none() && judgement.warnings.is_empty());
}

#[test]
fn an_address_that_is_none_is_refused() {
    assert!(causes("casAddress", "cas:8081").contains("spec.casAddress: must start with https://"));
}

#[test]
fn what_is_no_base64_is_refused_and_not_repeated() {
    assert_snapshot!(causes("policy", "s3cret!"), @"FieldValueInvalid spec.policy: must be base64 without spaces or line breaks: write encrypted_session as scone session encrypt prints it");
    for bad in ["", "czNj cmV0", "czNjcmV0\n", "czN"] {
        assert!(causes("policy", bad).contains("spec.policy"), "{bad:?}");
    }
}

#[test]
fn a_key_that_is_no_hex_is_refused() {
    assert_snapshot!(causes("encryptionKey", "xyz"), @"FieldValueInvalid spec.encryptionKey: must be hexadecimal digits: write encryption_key as scone session encrypt prints it");
    for bad in ["", "abc"] {
        assert!(causes("encryptionKey", bad).contains("spec.encryptionKey"), "{bad:?}");
    }
}

#[test]
fn a_key_of_an_unusual_length_is_accepted_with_a_warning() {
    let judgement = judge(&json!({"object": with("encryptionKey", "0a0b")}));
    assert!(judgement.allowed() && judgement.warnings[0].contains("64 hexadecimal digits"));
}

#[test]
fn a_name_of_a_session_that_is_none_is_refused() {
    let mut object = resource(CIPHERTEXT);
    object["metadata"]["annotations"]["cas.scone.cloud/session"] = json!("a b");
    assert!(told(&json!({"object": object})).contains("metadata.annotations[cas.scone.cloud/session]: is no name"));
}

#[test]
fn a_key_that_changes_without_the_policy_is_refused() {
    let other = "0f".repeat(32);
    let update = |new: &Value| told(&json!({"phase": "validate", "object": new, "oldObject": resource(CIPHERTEXT)}));
    assert_snapshot!(update(&with("encryptionKey", &other)), @"FieldValueForbidden spec.encryptionKey: must not change alone: spec.policy is encrypted for the key before; encrypt it again and apply both");
    let mut again = with("encryptionKey", &other);
    again["spec"]["policy"] = json!(OTHER_CIPHERTEXT);
    assert_eq!(update(&again), "", "encrypted again");
    assert_eq!(update(&with("policy", OTHER_CIPHERTEXT)), "", "a new version for the same CAS");
}

#[test]
fn settings_are_judged_by_name() {
    let judge = |settings: &str| native::validate_settings::<EncryptedPolicyModule>(settings.as_bytes().to_vec());
    assert!(judge(r#"{"namespace": "x", "registry": "y", "version": "z"}"#).is_ok());
    assert_eq!(judge(r#"{"uploadPath": "/v1/x"}"#).unwrap_err()[0].field, "uploadPath");
}

#[test]
fn the_manifest_asks_for_what_is_used_and_no_more() {
    let mut manifest = serde_json::to_value(EncryptedPolicyModule::manifest()).unwrap();
    manifest["kinds"][0]["crd"] = "the CRD".into();
    assert_snapshot!(serde_json::to_string_pretty(&manifest).unwrap());
}
