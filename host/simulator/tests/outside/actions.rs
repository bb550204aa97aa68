//! Actions on servers.

use std::sync::atomic::{AtomicU32, Ordering};

use super::{
    server::{Server, message},
    *,
};

#[tokio::test]
async fn an_action_is_done_once_however_often_it_is_asked_for_and_its_outcome_is_told() {
    let server = Server::plain(|_| message(201, &[], "made")).await;
    let mut stage = Stage::reaching(&[&server]);
    let body = b"policy".to_vec();
    let put = action(HttpRequest { body, ..request("PUT", &format!("{}/sessions", server.url), Trust::System) });
    for _ in 0..3 {
        assert_eq!(stage.beyond.act(stage.asker(), &put), Found::pending());
    }
    stage.woken().await;
    assert_eq!(response(&stage.beyond.outcome(&stage.parent, &put)).status, 201);
    assert_eq!(response(&stage.beyond.act(stage.asker(), &put)).status, 201);
    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    assert!(requests[0].starts_with("PUT /sessions HTTP/1.1\r\n") && requests[0].ends_with("\r\n\r\npolicy"));
}

#[tokio::test]
async fn an_action_that_fails_is_tried_again_when_its_time_has_come() {
    let times = AtomicU32::new(0);
    let server = Server::plain(move |_| match times.fetch_add(1, Ordering::SeqCst) {
        0 => String::new(),
        _ => message(200, &[], ""),
    })
    .await;
    let mut stage = Stage::reaching(&[&server]);
    let put = action(request("PUT", &server.url, Trust::System));
    stage.beyond.act(stage.asker(), &put);
    stage.woken().await;
    unreachable(&stage.beyond.act(stage.asker(), &put));
    assert_eq!(server.requests().len(), 1, "not at once");
    stage.woken().await;
    stage.beyond.act(stage.asker(), &put);
    stage.woken().await;
    assert_eq!(response(&stage.beyond.outcome(&stage.parent, &put)).status, 200);
}

#[tokio::test]
async fn another_deed_under_the_same_id_is_done_at_once() {
    let server = Server::plain(|request| message(200, &[], request.rsplit("\r\n\r\n").next().unwrap())).await;
    let mut stage = Stage::reaching(&[&server]);
    for body in ["one", "two"] {
        let put = action(HttpRequest { body: body.into(), ..request("PUT", &server.url, Trust::System) });
        assert_eq!(stage.beyond.act(stage.asker(), &put), Found::pending());
        stage.woken().await;
        assert_eq!(response(&stage.beyond.outcome(&stage.parent, &put)).body, body.as_bytes());
    }
}
