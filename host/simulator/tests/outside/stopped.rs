//! What is under way outside when this replica may not write any more, or when nobody wants it any longer.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{
    server::{HANGS, Server, message},
    *,
};

/// A server that hangs until it is told to answer.
async fn hanging() -> (Server, Arc<AtomicBool>) {
    let answers = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&answers);
    let answer = move |_: &str| if told.load(Ordering::SeqCst) { message(200, &[], "well") } else { HANGS.to_owned() };
    let server = Server::plain(answer).await;
    (server, answers)
}

/// Waits until the server has got so many requests.
async fn requests(server: &Server, count: usize) {
    while server.requests().len() < count {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_is_under_way_when_the_lease_is_lost_is_cancelled_and_begun_anew_by_whoever_leads() {
    let (server, answers) = hanging().await;
    let mut stage = Stage::reaching(&[&server]);
    let (get, put) =
        (query(request("GET", &server.url, Trust::System)), action(request("PUT", &server.url, Trust::System)));
    stage.beyond.find(stage.asker(), &get);
    stage.beyond.act(stage.asker(), &put);
    requests(&server, 2).await;
    stage.leading.send_replace(false);
    server.no_connection().await;
    answers.store(true, Ordering::SeqCst);
    stage.leading.send_replace(true);
    assert_eq!(stage.beyond.act(stage.asker(), &put), Found::pending());
    stage.woken().await;
    assert_eq!(response(&stage.found(&get).await).body, b"well");
    assert_eq!(response(&stage.beyond.outcome(&stage.parent, &put)).status, 200);
    assert_eq!(server.requests().len(), 4);
}

#[tokio::test]
async fn nothing_is_under_way_after_the_end_and_nothing_begins() {
    let (server, _) = hanging().await;
    let stage = Stage::reaching(&[&server]);
    stage.beyond.find(stage.asker(), &query(request("GET", &server.url, Trust::System)));
    requests(&server, 1).await;
    stage.beyond.end().await;
    server.no_connection().await;
    stage.beyond.act(stage.asker(), &action(request("PUT", &server.url, Trust::System)));
    stage.beyond.end().await;
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_question_that_is_no_longer_asked_is_dropped_at_once() {
    let (server, _) = hanging().await;
    let stage = Stage::reaching(&[&server]);
    let get = query(request("GET", &server.url, Trust::System));
    stage.beyond.find(stage.asker(), &get);
    requests(&server, 1).await;
    stage.beyond.keep(&stage.parent, std::slice::from_ref(&get), &[]);
    assert_eq!(server.connections(), 1, "it is still asked");
    stage.beyond.keep(&stage.parent, &[], &[]);
    server.no_connection().await;
}

#[tokio::test]
async fn an_action_that_is_no_longer_asked_for_before_its_turn_is_never_begun() {
    let (server, answers) = hanging().await;
    let mut stage = Stage::reaching(&[&server]);
    let get = query(request("GET", &server.url, Trust::System));
    let all: Vec<Query> = (0..16).map(|n| Query { id: format!("q{n}"), timeout: 60, ..get.clone() }).collect();
    for query in &all {
        stage.beyond.find(stage.asker(), query);
    }
    requests(&server, 16).await;
    let put = action(request("PUT", &server.url, Trust::System));
    stage.beyond.act(stage.asker(), &put);
    stage.beyond.keep(&stage.parent, &all, &[]);
    answers.store(true, Ordering::SeqCst);
    stage.beyond.keep(&stage.parent, &[], &[]);
    // Whoever waits for a turn gets it in order.
    assert_eq!(response(&stage.found(&get).await).body, b"well");
    assert!(server.requests().iter().all(|request| request.starts_with("GET")), "{:?}", server.requests());
}

#[tokio::test]
async fn what_is_under_way_for_a_module_that_may_do_something_else_now_is_given_up() {
    let (server, _) = hanging().await;
    let stage = Stage::reaching(&[&server]);
    stage.beyond.find(stage.asker(), &query(request("GET", &server.url, Trust::System)));
    stage.beyond.act(stage.asker(), &action(request("PUT", &server.url, Trust::System)));
    requests(&server, 2).await;
    stage.beyond.revoke("another");
    assert_eq!(server.connections(), 2);
    stage.beyond.revoke(stage.asker().module);
    server.no_connection().await;
}

#[tokio::test]
async fn a_body_that_is_more_than_the_quota_of_its_parent_is_not_sent() {
    let server = Server::plain(|_| message(200, &[], "")).await;
    let stage = Stage::reaching(&[&server]);
    let large = HttpRequest { body: vec![b'x'; 5 * 1024 * 1024], ..request("PUT", &server.url, Trust::System) };
    assert!(failed(&stage.beyond.act(stage.asker(), &action(large))).contains("more than 4194304 bytes together"));
    let fits = HttpRequest { body: vec![b'x'; 1024 * 1024], ..request("PUT", &server.url, Trust::System) };
    assert_eq!(stage.beyond.act(stage.asker(), &action(fits)), Found::pending());
}

#[tokio::test]
async fn a_server_that_stays_silent_is_left_alone_and_says_why() {
    let mut stage = Stage::with(Reach::default());
    // Nobody listens there, and nothing is asked on this machine without a detour: either way nothing answers.
    for n in 0..5 {
        let get = Query { id: format!("q{n}"), ..query(request("GET", "http://127.0.0.1:9", Trust::System)) };
        unreachable(&stage.found(&get).await);
    }
    let get = query(request("GET", "http://127.0.0.1:9", Trust::System));
    let found = stage.found(&get).await;
    assert!(unreachable(&found).ends_with("it is asked again within minutes"), "{found:?}");
}
