//! Scripts that play a server, and programs in pods.

use super::*;

#[test]
fn an_answer_reaches_the_module_as_it_is_written() {
    holds(
        r#"answer GET https://server.example:8081/v1/thing 200 {"name":"it is"}
        settle
        expect Thing t status.server contains "it is""#,
    );
    holds(
        "answer GET https://server.example:8081/* 200 @body.json\nsettle\nexpect Thing t status.server is \"200 from a file\"",
    );
}

#[test]
fn what_was_said_last_holds() {
    holds(
        "answer GET https://server.example:8081/* 200 one
        answer GET https://server.example:8081/* 500 two
        settle
        expect Thing t status.server is \"500 two\"",
    );
}

#[test]
fn a_server_that_nobody_plays_is_unreachable_and_the_step_is_told() {
    let script = "answer GET https://other.example/ 200\nsettle\nexpect Thing t status.server is x";
    let why = run(script).unwrap_err();
    let fix = "nobody answers; write `answer GET https://server.example:8081/v1/thing 200` in the script";
    assert!(why.contains(fix), "{why}");
}

#[test]
fn a_script_that_plays_no_server_has_none() {
    holds("settle\nexpect Thing t status.server is \"unreachable: there are no servers in a simulation\"");
}

#[test]
fn a_server_that_fails_says_how() {
    holds(
        "no-answer GET https://server.example:8081/* timed-out
        settle
        expect Thing t status.server is \"timed out\"
        no-answer GET https://server.example:8081/* unreachable no route to host
        settle
        expect Thing t status.server is \"unreachable: no route to host\"",
    );
}

#[test]
fn a_script_plays_a_server_that_takes_what_is_sent() {
    let script = r#"answer GET https://server.example:8081/v1/thing 404
        answer PUT https://server.example:8081/v1/thing 201
        answer GET https://server.example:8081/v1/thing 200 {"held": true} after PUT https://server.example:8081/v1/thing
        settle
        expect sent PUT https://server.example:8081/v1/thing
        expect sent PUT https://server.example:8081/* body contains "name":"mine"
        expect Thing t status.server contains held
        settle
        expect no sent PUT https://server.example:8081/*
        expect writes 0"#;
    let told = run(script).unwrap();
    assert!(
        told.contains("  Thing default/t\n    send      PUT https://server.example:8081/v1/thing: 201\n"),
        "{told}"
    );
    assert_eq!(told.matches("send ").count(), 1, "{told}");
}

#[test]
fn a_server_that_refuses_has_taken_nothing() {
    holds(
        "answer GET https://server.example:8081/v1/thing 404
        answer PUT https://server.example:8081/v1/thing 403
        answer GET https://server.example:8081/v1/thing 200 after PUT https://server.example:8081/v1/thing
        settle
        expect Thing t status.server contains 404",
    );
}

#[test]
fn a_request_that_lacks_its_secret_is_not_sent() {
    holds(
        "delete Secret token
        answer GET https://server.example:8081/v1/thing 404
        answer PUT https://server.example:8081/v1/thing 201
        settle
        expect no sent PUT https://server.example:8081/*",
    );
}

#[test]
fn what_was_not_sent_is_told_with_what_was() {
    let script = "answer GET https://server.example:8081/* 200\nsettle\nexpect sent PUT https://server.example:8081/*";
    let expected = "f:6: not as expected: no PUT https://server.example:8081/* was sent since the last settle began: \
                    GET https://server.example:8081/v1/thing";
    assert_eq!(run(script).unwrap_err(), expected);
}

#[test]
fn a_body_that_is_another_is_told() {
    let script = "answer GET https://server.example:8081/* 404\nanswer PUT https://server.example:8081/* 201\nsettle\n\
                  expect sent PUT https://server.example:8081/* body contains yours";
    let expected = "f:7: not as expected: no body of 2 PUT https://server.example:8081/* contains yours";
    assert_eq!(run(script).unwrap_err(), expected);
}

const CERTIFICATE: &str = "3f9a1c77d0b24e58c6e1f0a29b7d4385126f0e9d8c7b6a5941302f1e0d9c8b7a";

fn trusting(trust: Trust, script: &str) -> Result<String, String> {
    let script = format!(
        "module told\napply thing.yaml\nanswer GET https://server.example:8081/* 200 hello\n{script}\nsettle\nshow status Thing t"
    );
    run_with(trust, &script)
}

#[test]
fn a_certificate_that_no_root_vouches_for_is_only_trusted_when_it_is_pinned() {
    let shown = format!("certificate https://server.example:8081/* {CERTIFICATE}");
    let told = trusting(Trust::System, &shown).unwrap();
    assert!(told.contains(&format!("no public root vouches for the certificate {CERTIFICATE}")), "{told}");
    assert!(trusting(Trust::Pinned(CERTIFICATE.into()), &shown).unwrap().contains("200 hello"));
    let other = trusting(Trust::Pinned("0".repeat(64)), &shown).unwrap();
    assert!(other.contains(&format!("the certificate is {CERTIFICATE}, not 000")), "{other}");
    assert!(trusting(Trust::System, &format!("{shown} public")).unwrap().contains("200 hello"));
}

#[test]
fn a_program_says_what_the_script_says_once_its_container_runs() {
    holds(
        "node n
        command tools tool 0 \"{pod} on {node} is fine\"
        apply pod.yaml
        reconcile
        expect Thing t status.program is \"container main of pod p does not run\"
        settle
        expect Thing t status.program is \"0 p on n is fine\"
        command tools \"tool check\" 7 broken
        settle
        expect Thing t status.program is \"7 broken\"
        command tools \"tool other\" 0 unheard
        settle
        expect Thing t status.program is \"7 broken\"",
    );
}

#[test]
fn a_program_that_the_script_does_not_know_is_told_with_the_step() {
    let why = run("node n\napply pod.yaml\nsettle\nexpect Thing t status.program is x").unwrap_err();
    assert!(why.contains("write `command IMAGE tool 0`"), "{why}");
}

#[test]
fn mistakes_in_a_script_name_file_line_and_fix() {
    let cases = [
        ("answer GTE https://x/ 200", "there is no method \"GTE\"; did you mean GET?"),
        (
            "answer GET here 200",
            "\"here\" is no URL; write http://… or https://…, with * at its end for all that begin so",
        ),
        ("answer GET https://x/ ok", "\"ok\" is no HTTP status; write a number such as 200"),
        ("answer GET https://x/ 200 @nothing.json", "nothing.json cannot be read"),
        ("answer GET https://x/ 200 after PTU https://x/", "there is no method \"PTU\"; did you mean PUT?"),
        ("answer GET https://x/", "answer takes other arguments; see tests/scenarios/README.md"),
        (
            "no-answer GET https://x/ timeout",
            "write: no-answer METHOD URL timed-out | unreachable WHY | failed WHY; did you mean timed-out?",
        ),
        ("certificate https://x/ abc", "\"abc\" is no SHA-256; write 64 lower-case hex digits"),
        ("command tools tool zero", "\"zero\" is no exit code; write a number such as 0"),
        (
            "expect sent PUT here",
            "\"here\" is no URL; write http://… or https://…, with * at its end for all that begin so",
        ),
    ];
    for (step, message) in cases {
        assert_eq!(run(step).unwrap_err(), format!("f:4: {message}"), "{step}");
    }
}
