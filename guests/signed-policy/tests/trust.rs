//! Whom a policy is told to believe, and what keeps it from being sent at all.

use crate::support::{
    CERTIFICATE, Fault, OTHER_CERTIFICATE, POLICY, ed25519, host, p384,
    ways::{
        first_use, invalid_annotation, invalid_spec, no_secret, pinned_wrongly, unknown_signer, untrusted, verified,
        vouched, with,
    },
};
use operator_guest::QueryFailure;
use serde_json::json;

#[test]
fn a_certificate_that_nobody_vouches_for_is_told_with_how_to_pin_it() {
    let mut host = untrusted();
    assert_eq!(host.verdict(), "UNTRUSTED CertificateNotTrusted");
    let annotation = format!("cas.scone.cloud/trust=sha256:{CERTIFICATE}");
    let command = format!("kubectl -n default annotate --overwrite signedpolicy team {annotation}");
    assert!(host.message().contains(&command), "{}", host.message());
    host.annotate("cas.scone.cloud/trust", &format!("sha256:{CERTIFICATE}"));
    host.settle();
    assert_eq!(host.condition("CASTrusted")["reason"], "Pinned");
    assert_eq!(host.verdict(), "REGISTERED Registered");
}

#[test]
fn another_certificate_than_the_pinned_one_gets_nothing() {
    let host = pinned_wrongly();
    assert_eq!((host.verdict().as_str(), host.sent.len()), ("UNTRUSTED CertificateChanged", 0));
    assert!(host.message().contains(CERTIFICATE) && host.message().contains(OTHER_CERTIFICATE));
}

#[test]
fn a_certificate_from_a_secret_vouches_for_cas() {
    let mut host = vouched();
    assert_eq!(host.condition("CASTrusted")["reason"], "SecretCertificate");
    host.cas.vouched = false;
    host.settle();
    assert_eq!(host.verdict(), "UNTRUSTED CertificateNotTrusted");
}

#[test]
fn a_secret_that_is_missing_is_named() {
    let host = no_secret();
    assert_eq!(host.verdict(), "UNTRUSTED TrustSecretUnusable");
    assert!(host.message().contains("key ca.crt of Secret cas-ca in namespace default"), "{}", host.message());
}

#[test]
fn the_first_certificate_is_kept_and_believed_from_then_on() {
    let mut host = first_use();
    assert_eq!((host.verdict().as_str(), host.sent.len()), ("REGISTERED Registered", 1));
    assert_eq!(host.children["signedpolicy-team-cas"]["data"]["sha256"], CERTIFICATE);
    assert_eq!(host.condition("CASTrusted")["reason"], "FirstUse");
    host.cas.certificate = OTHER_CERTIFICATE;
    host.settle();
    assert_eq!(host.verdict(), "UNTRUSTED CertificateChanged");
    assert!(host.message().contains("kubectl -n default delete configmap signedpolicy-team-cas"), "{}", host.message());
}

#[test]
fn deleting_what_was_kept_asks_again() {
    let mut host = first_use();
    host.cas.certificate = OTHER_CERTIFICATE;
    host.children.clear();
    host.settle();
    assert_eq!(host.verdict(), "REGISTERED Registered");
    assert_eq!(host.children["signedpolicy-team-cas"]["data"]["sha256"], OTHER_CERTIFICATE);
}

#[test]
fn what_was_kept_and_broken_by_hand_is_told() {
    let mut host = first_use();
    host.children.get_mut("signedpolicy-team-cas").unwrap()["data"]["sha256"] = json!("x");
    host.step();
    assert_eq!(host.verdict(), "INVALID AnnotationInvalid");
    assert!(host.children.contains_key("signedpolicy-team-cas"), "what is broken is left for whoever broke it");
}

#[test]
fn a_first_use_of_a_cas_that_is_silent_is_unreachable() {
    let host = with(|host| {
        host.cas.fault = Fault::Silent(QueryFailure::TimedOut);
        host.annotate("cas.scone.cloud/trust", "first-use");
    });
    assert_eq!(host.verdict(), "UNREACHABLE TimedOut");
    assert!(host.children.is_empty());
}

#[test]
fn what_is_malformed_is_told_and_nobody_is_asked() {
    for (host, verdict) in
        [(invalid_spec(), "INVALID SpecInvalid"), (invalid_annotation(), "INVALID AnnotationInvalid")]
    {
        assert_eq!(host.verdict(), verdict);
        assert!(host.asked.is_empty() && host.sent.is_empty());
    }
}

#[test]
fn signatures_of_both_kinds_are_verified_when_it_is_said_what_was_signed() {
    let host = verified(json!([ed25519(POLICY), p384(POLICY)]));
    assert_eq!(host.condition("SignaturesVerified")["reason"], "Verified");
    assert_eq!(host.verdict(), "REGISTERED Registered");
}

#[test]
fn a_signature_that_does_not_fit_keeps_the_policy_from_being_sent() {
    for wrong in [ed25519("name: other\n"), p384("name: other\n")] {
        let host = verified(json!([wrong]));
        assert_eq!((host.verdict().as_str(), host.sent.len()), ("INVALID SignatureInvalid", 0));
    }
}

#[test]
fn a_key_of_an_unknown_kind_is_left_to_cas() {
    let host = unknown_signer();
    assert_eq!(host.condition("SignaturesVerified")["reason"], "SignerUnknown");
    assert_eq!(host.verdict(), "REGISTERED Registered");
}

#[test]
fn without_a_word_on_what_was_signed_only_cas_verifies() {
    let mut host = host(POLICY);
    host.edit("signatures", json!([ed25519("name: other\n")]));
    host.settle();
    assert_eq!(host.condition("SignaturesVerified")["reason"], "MessageUnknown");
    assert_eq!(host.sent.len(), 1);
}

#[test]
fn a_mistake_makes_no_room_for_another_certificate() {
    let mut host = first_use();
    host.cas.certificate = OTHER_CERTIFICATE;
    let signatures = host.parent["spec"]["signatures"].clone();
    host.edit("signatures", json!([]));
    host.settle();
    host.annotate("cas.scone.cloud/trust", "first");
    host.settle();
    host.annotate("cas.scone.cloud/trust", "first-use");
    host.edit("signatures", signatures);
    host.settle();
    assert_eq!(host.verdict(), "UNTRUSTED CertificateChanged");
}
