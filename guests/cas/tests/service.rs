//! What CAS is asked, and how its answers are believed.
#![expect(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests may do what tests may")]

use crate::support::{answer, asked, condition, settled, status, with};
use operator_guest::{HttpRequest, Question, Trust};
use serde_json::{Value, json};

fn request(tree: &Value, id: &str) -> HttpRequest {
    let answer = answer(tree);
    let query = answer.desired().unwrap().queries.iter().find(|query| query.id == id).unwrap().clone();
    let Question::Http(request) = query.question else { panic!("{id} is no request") };
    request
}

#[test]
fn the_certificate_that_was_seen_is_the_one_to_insist_on() {
    let seen = "4f1e2d3c5b6a79880716253443526170f0e1d2c3b4a5968778695a4b3c2d1e0f";
    assert!(matches!(request(&settled(), "certificate").trust, Trust::System));
    for (id, url) in [
        ("version", "https://cas.prod.svc:8081/v1/version"),
        ("provisioned", "https://cas.prod.svc:8081/v1/values/session=provisioned"),
    ] {
        let request = request(&settled(), id);
        assert_eq!((request.method.as_str(), request.url.as_str()), ("GET", url));
        assert!(matches!(request.trust, Trust::Pinned(pin) if pin == seen), "{id}");
        assert!(request.headers.is_empty() && request.body.is_empty(), "no secret is sent");
    }
}

#[test]
fn without_a_certificate_nothing_but_that_is_asked() {
    for seen in ["-", "{operator/server-certificate-sha256: x}"] {
        let answer = answer(&with(&[("answers/certificate/extensions", seen)]));
        assert!(asked(&answer).contains(&"certificate"), "{seen}");
        assert!(!asked(&answer).contains(&"version") && !asked(&answer).contains(&"provisioned"), "{seen}");
    }
}

#[test]
fn the_port_of_the_service_is_the_one_to_ask() {
    let other = with(&[("parent/spec/service", "{clientPort: 443}")]);
    assert_eq!(request(&other, "certificate").url, "https://cas.prod.svc:443/v1/version");
}

#[test]
fn the_version_is_read_from_json_or_plain_text_and_kept_otherwise() {
    let version = |body: &str| {
        let tree = with(&[("answers/version/http/body", body), ("parent/status/version", "before")]);
        status(&answer(&tree))["version"].clone()
    };
    assert_eq!(version(r#"'{"version":"6.0.7"}'"#), "6.0.7");
    assert_eq!(version(r#"'"6.0.7"'"#), "6.0.7");
    assert_eq!(version("'6.0.7\n'"), "6.0.7");
    assert_eq!(version("'<html> not found </html>'"), "before");
    assert_eq!(version("''"), "before");
}

#[test]
fn a_nonce_of_ones_own_is_used_and_another_stays_the_same() {
    let own = with(&[("parent/spec/nonce", "'00112233445566778899aabbccddeeff'")]);
    assert_eq!(status(&answer(&own))["nonce"], "00112233445566778899aabbccddeeff");
    let made = status(&answer(&settled()))["nonce"].clone();
    assert_eq!(made.as_str().unwrap().len(), 32);
    let other = with(&[("parent/metadata/uid", "another")]);
    assert_ne!(status(&answer(&other))["nonce"], made);
}

#[test]
fn a_dcap_report_is_asked_for_once_for_each_nonce_and_start_of_cas() {
    assert!(!asked(&answer(&settled())).contains(&"dcap-report"));
    assert_eq!(status(&answer(&settled()))["dcapReport"], "a report");
    for (place, value) in [
        ("parent/spec/nonce", "'00112233445566778899aabbccddeeff'"),
        ("pod:cas-0/status/containerStatuses/0/state/running/startedAt", "'2023-11-14T23:00:00Z'"),
    ] {
        let anew = with(&[(place, value)]);
        assert!(asked(&answer(&anew)).contains(&"dcap-report"), "{place}");
        assert!(condition(&answer(&anew), "DCAPReported").starts_with("Unknown"), "{place}");
        let mut told = anew.clone();
        told["answers"]["dcap-report"] = json!({"command": {"code": 0, "stdout": "new"}, "askedAt": 1_700_003_500});
        assert_eq!(status(&answer(&told))["dcapReport"], "new", "{place}");
        assert!(!asked(&answer(&crate::support::carried_out(&told))).contains(&"dcap-report"), "{place}");
    }
}

#[test]
fn the_report_of_another_nonce_is_not_shown() {
    let other = with(&[("parent/spec/nonce", "'00112233445566778899aabbccddeeff'")]);
    assert!(status(&answer(&other)).get("dcapReport").is_none());
}

#[test]
fn an_answer_of_before_the_start_of_cas_is_no_report_of_it() {
    let mut old = with(&[("parent/status/dcapReport", "-")]);
    old["answers"]["dcap-report"] = json!({"command": {"code": 0, "stdout": "old"}, "askedAt": 1_699_999_000});
    assert!(status(&answer(&old)).get("dcapReport").is_none());
}

#[test]
fn a_report_that_is_none_is_told() {
    for (told, why) in [
        (json!({"command": {"code": 0, "stdout": ""}}), "empty"),
        (json!({"command": {"code": 0, "stdout": "x".repeat(40_000)}}), "more than 32768 bytes"),
        (json!({"command": {"code": 2}}), "exit code 2"),
        (json!({"timedOut": null}), "timed out"),
    ] {
        let mut tree = with(&[("parent/status/dcapReport", "-")]);
        tree["answers"]["dcap-report"] = told;
        let found = condition(&answer(&tree), "DCAPReported");
        assert!(found.starts_with("False NoReport") && found.contains(why), "{found}");
    }
}

#[test]
fn times_of_snapshots_move_in_steps_of_an_hour() {
    let checked = |line: &str| {
        let tree = with(&[("answers/snapshot-log/lines", &format!("['{line} snapshot skipped']"))]);
        status(&answer(&tree))["snapshotCheckupTimestamp"].clone()
    };
    let before = status(&answer(&settled()))["snapshotCheckupTimestamp"].clone();
    assert_eq!(before, "2023-11-14T23:10:00Z");
    assert_eq!(checked("2023-11-14T23:50:00Z"), before);
    assert_eq!(checked("2023-11-15T00:11:00Z"), "2023-11-15T00:11:00Z");
    assert_eq!(checked("no time"), before);
}
