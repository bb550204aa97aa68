//! What is refused before it is stored.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "the helpers of tests may do what tests may")]

use crate::support::{POLICY, ed25519, p384, resource};
use insta::assert_snapshot;
use operator_guest::{Module, native, testing};
use serde_json::{Value, json};
use signed_policy::SignedPolicyModule;

fn judge(request: &Value) -> testing::Judgement {
    testing::admit::<SignedPolicyModule>(&request.to_string()).unwrap()
}

fn causes(object: &Value) -> String {
    told(&json!({"phase": "validate", "object": object}))
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

fn with(field: &str, value: Value) -> Value {
    let mut object = resource(POLICY);
    object["spec"][field] = value;
    object
}

fn signed(signer: &str, signature: &str) -> Value {
    with("signatures", json!([{"signer": signer, "signature": signature}]))
}

#[test]
fn a_signed_policy_is_accepted_as_it_is() {
    let judgement = judge(&json!({"object": resource(POLICY)}));
    assert!(judgement.allowed() && judgement.object.is_none() && judgement.warnings.is_empty());
    assert_eq!(causes(&with("signatures", json!([ed25519(POLICY), p384(POLICY)]))), "");
}

#[test]
fn an_address_that_is_none_is_refused_and_not_repeated() {
    assert_snapshot!(causes(&with("casAddress", json!("http://cas"))), @"FieldValueInvalid spec.casAddress: must start with https://: write the URL of CAS, such as https://cas.default:8081");
    let refused = causes(&with("casAddress", json!("https://admin:hunter2@cas:8081")));
    assert!(refused.contains("user name") && !refused.contains("hunter2"), "{refused}");
}

#[test]
fn an_address_without_a_port_is_accepted_with_a_warning() {
    let judgement = judge(&json!({"object": with("casAddress", json!("https://cas.example.com"))}));
    assert!(judgement.allowed());
    assert_snapshot!(judgement.warnings.join("\n"), @"spec.casAddress names no port, so 443 is taken; CAS listens on 8081 unless told otherwise");
}

#[test]
fn a_policy_without_a_name_is_refused() {
    assert_snapshot!(causes(&with("policy", json!("version: \"0.3\"\n"))), @"FieldValueInvalid spec.policy: has no name at its top level: write the policy to the letter as it was signed");
    assert!(causes(&with("policy", json!("name: a//b\n"))).contains("has a name that CAS does not take"));
}

#[test]
fn a_predecessor_that_is_no_hash_is_refused() {
    assert_snapshot!(causes(&with("policy", json!("name: a\npredecessor: 00ff\n"))), @"FieldValueInvalid spec.policy: its predecessor is no hash: write the 64 hexadecimal digits that CAS tells, or ~, and sign it again");
    assert_eq!(causes(&with("policy", json!("name: a\npredecessor: ~\n"))), "");
}

#[test]
fn a_name_that_older_versions_of_cas_do_not_take_is_accepted_with_a_warning() {
    let judgement = judge(&json!({"object": with("policy", json!(format!("name: {}\n", "a".repeat(129))))}));
    assert!(judgement.allowed());
    assert!(judgement.warnings.join("").contains("from version 5.9"));
}

#[test]
fn a_policy_that_nobody_signed_is_refused() {
    assert_snapshot!(causes(&with("signatures", json!([]))), @"FieldValueRequired spec.signatures: needs at least one: sign the policy with scone session sign");
}

#[test]
fn a_signature_of_the_wrong_shape_is_refused() {
    let (ed25519, p384) = (ed25519(POLICY), p384(POLICY));
    let (short, long) = (ed25519["signer"].as_str().unwrap(), p384["signer"].as_str().unwrap());
    let unknown = "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa";
    assert_snapshot!(causes(&signed(short, "xyz")), @"FieldValueInvalid spec.signatures[0].signature: must be hexadecimal digits, as the CLI prints them, without spaces or line breaks");
    assert_snapshot!(causes(&signed(short, &"00".repeat(96))), @"FieldValueInvalid spec.signatures[0].signature: must be 128 hexadecimal digits: a signature with Ed25519 has 64 bytes");
    assert_snapshot!(causes(&signed(long, &"00".repeat(64))), @"FieldValueInvalid spec.signatures[0].signature: is no signature with P-384: that has 96 bytes, or is a sequence of two numbers in DER");
    assert_snapshot!(causes(&signed(unknown, &"00".repeat(65))), @"FieldValueInvalid spec.signatures[0].signature: is neither a signature with Ed25519 (64 bytes) nor with P-384 (96 bytes, or DER)");
    for length in [64, 96] {
        assert_eq!(causes(&signed(unknown, &"00".repeat(length))), "", "{length}");
    }
}

#[test]
fn a_signer_that_is_no_key_is_refused() {
    assert_snapshot!(causes(&signed("me", &"00".repeat(64))), @"FieldValueInvalid spec.signatures[0].signer: has a wrong checksum: a character was lost or changed on its way; copy it again");
    assert_snapshot!(causes(&signed("no key", &"00".repeat(64))), @"FieldValueInvalid spec.signatures[0].signer: is no public key: write the one that the CLI prints (Base58Check), or a SubjectPublicKeyInfo in PEM or base64");
}

#[test]
fn a_signer_that_signs_twice_is_refused() {
    assert_snapshot!(causes(&with("signatures", json!([ed25519(POLICY), ed25519(POLICY)]))), @"FieldValueDuplicate spec.signatures[1].signer: has signed already; one signature each is enough");
}

#[test]
fn a_signature_that_does_not_fit_is_refused_when_it_is_said_what_was_signed() {
    let mut object = with("signatures", json!([ed25519("name: other\n")]));
    assert_eq!(causes(&object), "", "nobody said it");
    object["metadata"]["annotations"]["cas.scone.cloud/signed-message"] = json!("policy");
    assert_snapshot!(causes(&object), @"FieldValueInvalid spec.signatures[0].signature: does not fit spec.policy, which the annotation cas.scone.cloud/signed-message says is what was signed: sign it again, or take the annotation away if another message is signed");
}

#[test]
fn annotations_with_unknown_values_are_refused() {
    let mut object = resource(POLICY);
    object["metadata"]["annotations"] =
        json!({"cas.scone.cloud/signed-message": "hash", "cas.scone.cloud/trust": "always"});
    assert_snapshot!(causes(&object), @"
    FieldValueNotSupported metadata.annotations[cas.scone.cloud/trust]: is none of system, secret:<name>/<key>, sha256:<hex>, first-use
    FieldValueNotSupported metadata.annotations[cas.scone.cloud/signed-message]: is none of: policy; leave it out where another message is signed, and CAS alone verifies
    ");
}

#[test]
fn a_policy_that_changes_without_its_signatures_is_refused() {
    let old = resource(POLICY);
    let update = |new: &Value| told(&json!({"phase": "validate", "object": new, "oldObject": old}));
    assert_snapshot!(update(&with("policy", json!("name: team\n"))), @"FieldValueForbidden spec.signatures: must change with spec.policy: a signature of the policy before does not fit; sign it again and apply both");
    assert_eq!(update(&resource("name: team\n")), "", "signed again");
    assert_eq!(update(&with("casAddress", json!("https://other:8081"))), "", "the same for another CAS");
    assert_eq!(update(&with("signatures", json!([ed25519(POLICY), p384(POLICY)]))), "", "one more signer");
}

#[test]
fn a_first_use_needs_a_name_that_leaves_room_for_the_config_map() {
    let mut object = resource(POLICY);
    object["metadata"]["name"] = json!("a".repeat(240));
    assert_eq!(causes(&object), "");
    object["metadata"]["annotations"]["cas.scone.cloud/trust"] = json!("first-use");
    assert!(causes(&object).contains("metadata.name: is too long for the ConfigMap"));
}

#[test]
fn no_refusal_repeats_the_policy() {
    for object in [with("signatures", json!([])), with("policy", json!("s3cret: name\n"))] {
        assert!(!judge(&json!({"object": object})).denied.unwrap().message.contains("s3cret"));
    }
}

#[test]
fn settings_are_judged_by_name_and_form() {
    let judge = |settings: &str| native::validate_settings::<SignedPolicyModule>(settings.as_bytes().to_vec());
    assert!(judge(r#"{"namespace": "x", "registry": "y", "version": "z", "uploadPath": "/v1/x"}"#).is_ok());
    assert_eq!(judge(r#"{"uplodPath": "/v1/x"}"#).unwrap_err()[0].field, "uplodPath");
    assert_eq!(judge(r#"{"uploadPath": "v1?x"}"#).unwrap_err()[0].field, "uploadPath");
}

#[test]
fn the_manifest_asks_for_what_is_used_and_no_more() {
    let mut manifest = serde_json::to_value(SignedPolicyModule::manifest()).unwrap();
    manifest["kinds"][0]["crd"] = "the CRD".into();
    assert_snapshot!(serde_json::to_string_pretty(&manifest).unwrap());
}
