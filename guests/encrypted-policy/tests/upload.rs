//! How an encrypted policy gets to CAS: what differs from a signed one. The rest is tested there, on the same code.

use std::collections::BTreeSet;

use crate::support::{
    CERTIFICATE, CIPHERTEXT, Fault, Host, KEY, OTHER_CERTIFICATE, OTHER_CIPHERTEXT, check_fixture, host, named,
    promised,
};
use operator_guest::QueryFailure;
use serde_json::json;

fn settled(mut host: Host) -> Host {
    host.settle();
    host
}

fn with(prepare: impl FnOnce(&mut Host)) -> Host {
    let mut host = host();
    prepare(&mut host);
    settled(host)
}

fn registered() -> Host {
    settled(host())
}

#[test]
fn a_policy_is_sent_once_to_the_published_endpoint_unaltered() {
    let mut host = registered();
    assert_eq!((host.verdict().as_str(), host.sent.len()), ("REGISTERED Registered", 1));
    assert_eq!(host.sent[0].0, "PUT https://cas.default:8081/v1/encrypted_sessions");
    let body: serde_json::Value = serde_json::from_str(&host.sent[0].1).unwrap();
    assert_eq!(body, json!({"encrypted_session": CIPHERTEXT, "encryption_key": KEY}));
    let writes = host.writes;
    host.forget();
    host.settle();
    assert_eq!((host.writes, host.sent.len()), (writes, 1), "also over a restart");
}

#[test]
fn without_a_name_cas_is_asked_for_its_version_before_anything_is_sent() {
    let mut host = host();
    host.step();
    assert!(host.asked.keys().any(|id| id.starts_with("session-")) && host.sent.is_empty());
    assert_eq!(host.condition("NamespaceReady")["reason"], "NameUnknown");
    host.settle();
    assert_eq!(host.parent["status"].get("session"), None);
}

#[test]
fn an_update_is_sent_for_cas_to_judge() {
    let mut host = registered();
    host.edit("policy", json!(OTHER_CIPHERTEXT));
    host.settle();
    assert_eq!((host.verdict().as_str(), host.sent.len()), ("REGISTERED Registered", 2));
}

/// A text that changes within a generation is none that a cluster has: it shows what is not read.
#[test]
fn what_cas_has_taken_is_known_by_its_generation_and_not_read_again() {
    let mut host = registered();
    host.parent["spec"]["policy"] = json!("no base64 any more");
    host.settle();
    assert_eq!((host.verdict().as_str(), host.sent.len()), ("REGISTERED Registered", 1));
    host.edit("policy", json!("no base64 at all"));
    host.settle();
    assert_eq!((host.verdict().as_str(), host.sent.len()), ("INVALID SpecInvalid", 1));
}

fn in_named_session() -> Host {
    let mut host = named("team");
    host.cas.decrypts.insert(CIPHERTEXT.to_owned(), "name: team\n".to_owned());
    settled(host)
}

#[test]
fn with_the_name_cas_is_asked_for_the_session_itself() {
    let host = in_named_session();
    assert_eq!(host.verdict(), "REGISTERED Registered");
    assert_eq!(host.parent["status"]["session"], "team");
}

fn vanished() -> Host {
    let mut host = in_named_session();
    host.cas.sessions.clear();
    host.poll();
    host.step();
    host
}

#[test]
fn a_named_session_that_vanished_is_told() {
    assert_eq!(vanished().verdict(), "PENDING SessionVanished");
}

fn updated_elsewhere() -> Host {
    let mut host = in_named_session();
    host.cas.hold("name: team\nnewer: true\n");
    settled(host)
}

#[test]
fn a_named_session_that_somebody_else_updated_is_told() {
    let host = updated_elsewhere();
    assert_eq!((host.verdict().as_str(), host.sent.len()), ("CONFLICT UpdatedElsewhere", 1));
}

fn namespace_missing() -> Host {
    settled(named("team/app"))
}

#[test]
fn a_named_session_waits_for_its_namespace_in_cas() {
    let host = namespace_missing();
    assert_eq!((host.verdict().as_str(), host.sent.len()), ("WAITING NamespaceMissing", 0));
}

fn namespace_there() -> Host {
    let mut host = named("team/app");
    host.cas.hold("name: team\n");
    host.step();
    host.step();
    host.step();
    host
}

#[test]
fn a_named_session_follows_its_namespace() {
    assert_eq!(namespace_there().sent.len(), 1);
}

fn refused(status: u16) -> Host {
    with(|host| host.cas.fault = Fault::Upload(status))
}

#[test]
fn each_refusal_has_its_reason() {
    for (status, verdict) in [
        (400, "REFUSED PolicyRefused"),
        (403, "REFUSED NotAllowed"),
        (404, "REFUSED NotTaken"),
        (409, "CONFLICT VersionRefused"),
        (500, "UNREACHABLE CASFailing"),
        (302, "UNREACHABLE AnswerUnreadable"),
    ] {
        assert_eq!(refused(status).verdict(), verdict, "{status}");
    }
}

fn silent(failure: QueryFailure) -> Host {
    with(|host| host.cas.fault = Fault::Silent(failure))
}

fn trusting(annotation: &str, prepare: impl FnOnce(&mut Host)) -> Host {
    with(|host| {
        host.annotate("cas.scone.cloud/trust", annotation);
        prepare(host);
    })
}

#[test]
fn what_is_kept_of_a_first_use_is_named_after_the_kind() {
    let host = trusting("first-use", |host| host.cas.is_public = false);
    assert_eq!(host.children["encryptedpolicy-team-cas"]["data"]["sha256"], CERTIFICATE);
    assert_eq!(host.verdict(), "REGISTERED Registered");
}

fn invalid() -> [Host; 2] {
    [with(|host| host.edit("encryptionKey", json!("xyz"))), settled(named("a b"))]
}

#[test]
fn what_is_malformed_is_told_and_nobody_is_asked() {
    for (host, verdict) in invalid().into_iter().zip(["INVALID SpecInvalid", "INVALID AnnotationInvalid"]) {
        assert_eq!(host.verdict(), verdict);
        assert!(host.asked.is_empty() && host.sent.is_empty());
    }
}

/// Every way that a policy can go.
fn all() -> Vec<Host> {
    let missing = QueryFailure::NotFound("Secret default/cas-ca".to_owned());
    let mut all = vec![
        registered(),
        in_named_session(),
        vanished(),
        updated_elsewhere(),
        namespace_missing(),
        namespace_there(),
        silent(QueryFailure::TimedOut),
        silent(QueryFailure::Unreachable("connection refused".to_owned())),
        silent(QueryFailure::Denied("grants.http".to_owned())),
        with(|host| host.cas.is_public = false),
        trusting(&format!("sha256:{CERTIFICATE}"), |_| {}),
        trusting(&format!("sha256:{OTHER_CERTIFICATE}"), |_| {}),
        trusting("secret:cas-ca/ca.crt", |_| {}),
        trusting("secret:cas-ca/ca.crt", |host| host.cas.fault = Fault::Silent(missing)),
        trusting("first-use", |_| {}),
    ];
    all.extend([302, 400, 403, 404, 409, 500].map(refused));
    all.extend(invalid());
    all
}

#[test]
fn every_state_condition_and_reason_of_the_readme_is_reached_and_no_other() {
    let promised = promised(&std::env::var("CARGO_MANIFEST_DIR").unwrap());
    let all = all();
    let verdicts: BTreeSet<_> = all.iter().flat_map(|host| host.verdicts.clone()).collect();
    assert_eq!(verdicts, promised.verdicts);
    assert_eq!(all.iter().flat_map(|host| host.conditions.clone()).collect::<BTreeSet<_>>(), promised.conditions);
    assert_eq!(verdicts.into_iter().map(|(state, _)| state).collect::<BTreeSet<_>>(), promised.states);
}

#[test]
fn neither_ciphertext_nor_key_is_ever_said() {
    for host in all() {
        assert!(!host.said.contains(CIPHERTEXT) && !host.said.contains(KEY), "{}", host.said);
    }
}

#[test]
fn the_snapshot_files_are_at_rest() {
    check_fixture(&std::env::var("CARGO_MANIFEST_DIR").unwrap(), "settled.yaml", &registered());
    let large = with(|host| host.edit("policy", json!("czNjcmV0".repeat(512))));
    check_fixture(&std::env::var("CARGO_MANIFEST_DIR").unwrap(), "bench-4k.yaml", &large);
}
