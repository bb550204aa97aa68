//! How a policy gets to CAS: one rule each, over as many calls as it takes.

use std::collections::BTreeSet;

use crate::support::{
    Fault, Host, POLICY, check_fixture, ed25519, host, other, promised, resource, sign_again,
    ways::{
        IN_NAMESPACE, all, follows_its_namespace, garbage, name_taken, outdated, predecessor_missing, refused,
        registered, reverted, silent, update, updated_elsewhere, vanished, waits_for_a_resource, waits_for_a_session,
        with,
    },
};
use operator_guest::QueryFailure;
use serde_json::json;

#[test]
fn a_policy_is_sent_once_and_then_nothing_is_written_any_more() {
    let mut host = registered();
    assert_eq!(host.sent.len(), 1);
    assert_eq!(host.sent[0].0, "PUT https://cas.default:8081/v1/signed_sessions");
    let body: serde_json::Value = serde_json::from_str(&host.sent[0].1).unwrap();
    assert_eq!(body, json!({"session": POLICY, "signatures": [ed25519(POLICY)]}), "as the CLI prints it, unaltered");
    assert_eq!(host.hash(), host.cas.sessions["team"].1);
    let writes = host.writes;
    for _ in 0..5 {
        host.poll();
        host.step();
    }
    assert_eq!((host.writes, host.sent.len()), (writes, 1));
}

#[test]
fn nothing_is_sent_before_cas_has_been_asked() {
    let mut host = host(POLICY);
    assert!(host.step().actions.is_empty());
    assert_eq!(host.verdict(), "PENDING Asking");
    assert_eq!(host.step().actions.len(), 1);
    assert_eq!(host.verdict(), "PENDING Uploading");
}

#[test]
fn a_policy_that_cas_holds_already_is_not_sent() {
    let host = with(|host| drop(host.cas.hold(POLICY)));
    assert_eq!((host.verdict().as_str(), host.sent.len()), ("REGISTERED Registered", 0));
    assert_eq!(host.hash(), host.cas.sessions["team"].1);
}

#[test]
fn a_restart_of_the_operator_neither_writes_nor_sends() {
    let mut host = registered();
    let writes = host.writes;
    host.forget();
    host.settle();
    assert_eq!((host.writes, host.sent.len()), (writes, 1));
}

#[test]
fn an_update_names_its_predecessor_and_replaces_it() {
    let mut host = registered();
    let first = host.hash().to_owned();
    let policy = update(&mut host);
    host.settle();
    assert_eq!((host.verdict().as_str(), host.sent.len()), ("REGISTERED Registered", 2));
    assert_eq!(host.cas.sessions["team"].0, policy);
    assert_eq!(host.parent["status"]["predecessor"], json!(first));
    assert_ne!(host.hash(), first);
}

#[test]
fn a_cas_that_hides_sessions_is_sent_the_policy_once_also_over_restarts() {
    let mut host = with(|host| host.cas.fault = Fault::Hides);
    assert_eq!((host.verdict().as_str(), host.sent.len()), ("REGISTERED Registered", 1));
    host.forget();
    host.settle();
    assert_eq!(host.sent.len(), 1);
}

#[test]
fn a_cas_that_writes_policies_otherwise_still_holds_them() {
    let host = with(|host| host.cas.rewrites = true);
    assert_eq!((host.verdict().as_str(), host.sent.len()), ("REGISTERED Registered", 1));
}

#[test]
fn a_cas_that_tells_no_hashes_is_judged_by_the_text() {
    let mut host = with(|host| host.cas.tells = false);
    assert_eq!((host.verdict().as_str(), host.hash()), ("REGISTERED Registered", ""));
    host.cas.rewrites = true;
    host.settle();
    assert_eq!((host.verdict().as_str(), host.sent.len()), ("REGISTERED Registered", 1));
}

#[test]
fn an_upload_whose_answer_is_lost_is_found_by_asking() {
    let mut host = with(|host| host.cas.fault = Fault::CutOff);
    assert_eq!(host.verdict(), "UNREACHABLE TimedOut");
    host.cas.fault = Fault::None;
    let sent = host.sent.len();
    host.settle();
    assert_eq!((host.verdict().as_str(), host.sent.len()), ("REGISTERED Registered", sent));
}

#[test]
fn the_path_of_the_upload_is_a_setting() {
    let host = with(|host| host.settings = json!({"uploadPath": "/v2/policies", "namespace": "x", "version": "6.0.6"}));
    assert_eq!(host.sent[0].0, "PUT https://cas.default:8081/v2/policies");
}

#[test]
fn a_policy_waits_for_the_resource_that_registers_its_namespace() {
    let mut host = waits_for_a_resource();
    assert_eq!(host.verdict(), "WAITING NamespaceWaits");
    assert!(host.message().contains("kubectl describe spol parent"), "{}", host.message());
    assert!(host.sent.is_empty());
    host.others[0]["status"]["state"] = json!("REGISTERED");
    host.step();
    assert_eq!(host.sent.len(), 1, "at once, without asking CAS for the namespace");
}

#[test]
fn a_resource_for_another_cas_registers_no_namespace_here() {
    let mut host = host(IN_NAMESPACE);
    host.others = vec![other("parent", "team", "REGISTERED")];
    host.others[0]["spec"]["casAddress"] = json!("https://elsewhere:8081");
    host.settle();
    assert_eq!(host.verdict(), "WAITING NamespaceMissing");
}

#[test]
fn a_policy_waits_for_its_namespace_in_cas() {
    let mut host = waits_for_a_session();
    assert_eq!(host.verdict(), "WAITING NamespaceMissing");
    assert!(host.sent.is_empty());
    host.cas.hold("name: team\n");
    host.settle();
    assert_eq!((host.verdict().as_str(), host.sent.len()), ("REGISTERED Registered", 1));
    assert!(host.asked.keys().all(|id| id.starts_with("session-")), "only the session is asked for then");
}

#[test]
fn a_policy_whose_namespace_is_there_does_not_wait() {
    let host = follows_its_namespace();
    assert_eq!((host.verdict().as_str(), host.sent.len()), ("REGISTERED Registered", 1));
    assert!(host.verdicts.iter().all(|(state, _)| state != "WAITING"), "{:?}", host.verdicts);
}

#[test]
fn a_name_that_is_taken_is_told_with_the_hash_to_replace() {
    let host = name_taken();
    assert_eq!((host.verdict().as_str(), host.sent.len()), ("CONFLICT NameTaken", 0));
    assert!(host.message().contains(&format!("predecessor: {}", host.cas.sessions["team"].1)), "{}", host.message());
}

#[test]
fn a_predecessor_that_is_not_the_current_version_is_told_and_nothing_is_sent() {
    let host = outdated();
    assert_eq!((host.verdict().as_str(), host.sent.len()), ("CONFLICT PredecessorOutdated", 1));
    assert!(host.message().contains(&host.cas.sessions["team"].1));
}

#[test]
fn a_predecessor_that_cas_never_had_is_told() {
    assert_eq!(predecessor_missing().verdict(), "CONFLICT PredecessorMissing");
}

#[test]
fn an_update_by_somebody_else_is_not_undone() {
    let host = updated_elsewhere();
    assert_eq!((host.verdict().as_str(), host.sent.len()), ("CONFLICT UpdatedElsewhere", 1));
}

#[test]
fn a_session_that_vanished_is_told_and_registered_again() {
    let host = vanished();
    assert_eq!((host.verdict().as_str(), host.sent.len()), ("REGISTERED Registered", 2));
    assert!(host.events.iter().any(|(reason, _)| reason == "SessionVanished"), "{:?}", host.events);
}

#[test]
fn a_session_that_is_back_at_its_predecessor_is_told_and_updated_again() {
    let host = reverted();
    assert_eq!((host.verdict().as_str(), host.sent.len()), ("REGISTERED Registered", 3));
    assert!(host.events.iter().any(|(reason, _)| reason == "SessionReverted"), "{:?}", host.events);
}

#[test]
fn each_refusal_has_its_reason() {
    for (status, verdict) in [
        (400, "REFUSED PolicyRefused"),
        (422, "REFUSED PolicyRefused"),
        (401, "REFUSED NotAllowed"),
        (403, "REFUSED NotAllowed"),
        (404, "REFUSED NotTaken"),
        (501, "REFUSED NotTaken"),
        (409, "CONFLICT VersionRefused"),
        (412, "CONFLICT VersionRefused"),
        (429, "UNREACHABLE CASFailing"),
        (503, "UNREACHABLE CASFailing"),
        (302, "UNREACHABLE AnswerUnreadable"),
    ] {
        assert_eq!(refused(status).verdict(), verdict, "{status}");
    }
}

#[test]
fn a_refused_policy_is_not_sent_with_every_call_and_writes_nothing_more() {
    let mut host = refused(403);
    let (sent, writes) = (host.sent.len(), host.writes);
    host.step();
    host.step();
    host.step();
    host.step();
    assert_eq!(host.sent.len(), sent, "whatever else brings it back sends nothing before its time");
    assert_eq!(host.writes, writes, "the same said again is no change");
}

#[test]
fn a_refused_policy_is_taken_once_cas_allows_it() {
    let mut host = refused(403);
    host.cas.fault = Fault::None;
    host.now += 599;
    host.settle();
    assert_eq!(host.verdict(), "REFUSED NotAllowed");
    host.now += 1;
    host.settle();
    assert_eq!(host.verdict(), "REGISTERED Registered");
    assert!(host.parent["status"].get("failedUpload").is_none());
}

#[test]
fn a_policy_that_was_changed_after_a_refusal_is_a_new_one() {
    let mut host = refused(400);
    host.cas.fault = Fault::None;
    sign_again(&mut host, "name: team\nversion: \"0.4\"\n");
    host.settle();
    assert_eq!(host.verdict(), "REGISTERED Registered");
}

#[test]
fn each_silence_has_its_reason() {
    for (failure, verdict) in [
        (QueryFailure::TimedOut, "UNREACHABLE TimedOut"),
        (QueryFailure::Unreachable("connection refused".to_owned()), "UNREACHABLE Unreachable"),
        (QueryFailure::Failed("reset".to_owned()), "UNREACHABLE Unreachable"),
        (QueryFailure::Denied("grants.http".to_owned()), "UNREACHABLE NotGranted"),
    ] {
        assert_eq!(silent(failure).verdict(), verdict);
    }
}

#[test]
fn a_cas_that_is_back_gets_the_policy() {
    let mut host = silent(QueryFailure::TimedOut);
    assert!(host.sent.is_empty());
    host.cas.fault = Fault::None;
    host.settle();
    assert_eq!((host.verdict().as_str(), host.sent.len()), ("REGISTERED Registered", 1));
}

#[test]
fn a_registered_policy_outlives_a_silence_without_being_sent_again() {
    let mut host = registered();
    host.cas.fault = Fault::Status(500);
    host.settle();
    assert_eq!(host.verdict(), "UNREACHABLE CASFailing");
    host.cas.fault = Fault::None;
    host.settle();
    assert_eq!((host.verdict().as_str(), host.sent.len()), ("REGISTERED Registered", 1));
}

#[test]
fn an_answer_that_is_no_session_of_that_name_is_told() {
    for body in [&[0xff, 0xfe][..], b"", b"<html>", b"{\"session\": 7}", b"{\"ses", b"name: other\n"] {
        assert_eq!(garbage(body).verdict(), "UNREACHABLE AnswerUnreadable", "{body:?}");
    }
    assert_eq!(with(|host| host.cas.fault = Fault::Status(301)).verdict(), "UNREACHABLE AnswerUnreadable");
}

#[test]
fn deleting_the_resource_is_told_beforehand_to_keep_the_session() {
    assert_eq!(registered().condition("DeletionKeepsSession")["reason"], "NoDeletionInCAS");
}

#[test]
fn a_change_of_state_is_an_event_and_nothing_else_is() {
    let mut host = registered();
    let told: Vec<_> = host.events.iter().map(|(reason, _)| reason.as_str()).collect();
    assert_eq!(told, ["Asking", "Registered"]);
    host.poll();
    host.step();
    assert_eq!(host.events.len(), 2);
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
fn the_text_of_a_policy_is_never_said_nor_what_cas_says_of_it() {
    for host in all() {
        assert!(!host.said.contains("s3cret") && !host.said.contains("ascii"), "{}", host.said);
    }
    let mut host = with(|host| host.cas.fault = Fault::Status(500));
    host.settle();
    assert!(!host.said.contains("s3cret"), "{}", host.said);
}

#[test]
fn a_resource_that_never_had_a_status_and_one_with_a_foreign_one_are_both_handled() {
    let mut parent = resource(POLICY);
    parent["status"] = json!({"state": "Created", "hash": "00"});
    let mut host = Host::new(parent);
    host.settle();
    assert_eq!(host.verdict(), "REGISTERED Registered");
}

#[test]
fn the_snapshot_files_are_at_rest() {
    check_fixture(&std::env::var("CARGO_MANIFEST_DIR").unwrap(), "settled.yaml", &registered());
    let services = (0..24).map(|at| {
        format!(
            "- name: service-{at}\n  mrenclaves: [{}]\n  command: /app/server --port {}\n",
            "0a".repeat(32),
            8000 + at
        )
    });
    let large = with(|host| sign_again(host, &format!("{POLICY}services:\n{}", services.collect::<String>())));
    check_fixture(&std::env::var("CARGO_MANIFEST_DIR").unwrap(), "bench-4k.yaml", &large);
}
