//! What is done outside leaves a record, and answers have a quota.

use operator_core::HeaderValue;

use super::{
    canary::Log,
    server::{Server, message},
    *,
};

/// The records so far, without the time.
fn records(log: &Log) -> Vec<String> {
    let text = log.text();
    let lines = text.lines().filter_map(|line| line.split_once(" trail: "));
    lines.map(|(_, record)| record.to_owned()).collect()
}

#[tokio::test]
async fn each_question_and_action_is_on_record_with_who_asked_what_was_named_and_how_it_ended() {
    let server = Server::secure(|_| message(201, &[], "secret of the server")).await;
    let (log, _heard) = Log::heard();
    let mut stage = Stage::reaching(&[&server]);
    stage.secret("authority", "Opaque", "ca.crt", &server.authority);
    stage.secret("token", "Opaque", "value", "hidden");
    let header =
        ("authorization".to_owned(), HeaderValue::Secret(SecretKey { name: "token".into(), key: "value".into() }));
    let url = format!("{}/sessions?token=hidden", server.url);
    let put = action(HttpRequest { headers: vec![header], ..request("PUT", &url, ca()) });
    stage.beyond.act(stage.asker(), &put);
    stage.woken().await;
    stage.asked(request("GET", &server.url, ca())).await;
    let records = records(&log);
    let [put, get] = records.as_slice() else { panic!("{records:?}") };
    let wanted = format!(
        "outside module=\"told\" parent=Thing team/t what=\"http\" on=\"PUT {}/sessions\" secrets=\"team/token value, team/authority ca.crt\" outcome=\"201\"",
        server.url
    );
    assert_eq!(*put, wanted);
    assert!(get.contains("GET ") && get.contains("outcome=\"201\""), "{get}");
    assert!(!records.concat().contains("hidden") && !records.concat().contains("secret of"), "{records:?}");
}

#[tokio::test]
async fn answers_for_one_parent_that_are_too_much_together_are_a_failure_of_the_last() {
    let body = "x".repeat(1024 * 1024);
    let server = Server::plain(move |_| message(200, &[], &body)).await;
    let mut stage = Stage::reaching(&[&server]);
    // Questions count too, so that there is no room for a fourth.
    for n in 0..3 {
        let get = Query { id: format!("q{n}"), ..query(request("GET", &server.url, Trust::System)) };
        assert_eq!(response(&stage.found(&get).await).body.len(), 1024 * 1024);
    }
    let found = stage.asked(request("GET", &server.url, Trust::System)).await;
    assert!(failed(&found).contains("more than 4194304 bytes together"), "{:?}", found.outcome);
    stage.beyond.keep(&stage.parent, &[], &[]);
    assert_eq!(response(&stage.asked(request("GET", &server.url, Trust::System)).await).status, 200);
}
