//! Questions to servers.

use std::sync::atomic::{AtomicU32, Ordering};

use operator_core::HeaderValue;

use super::{
    server::{HANGS, Server, message},
    *,
};

#[tokio::test]
async fn a_server_whose_certificate_is_pinned_is_asked() {
    let headers = [("content-type", "text/plain"), ("date", "now"), ("etag", "\"1\""), ("x-request-id", "7")];
    let server = Server::secure(move |_| message(418, &headers, "tea")).await;
    let mut stage = Stage::new();
    let found =
        stage.asked(request("GET", &format!("{}/pot?x=1", server.url), Trust::Pinned(server.digest.clone()))).await;
    let answer = response(&found);
    assert_eq!((answer.status, answer.body.as_slice()), (418, &b"tea"[..]));
    assert_eq!(answer.headers, [("content-type".into(), "text/plain".into()), ("etag".into(), "\"1\"".into())]);
    assert_eq!(found.certificate, Some(server.digest.clone()));
    assert_eq!(found.at, Some(1_700_000_000));
    assert!(server.requests()[0].starts_with("GET /pot?x=1 HTTP/1.1\r\n"), "{:?}", server.requests());
}

#[tokio::test]
async fn a_server_is_believed_whose_authority_a_secret_names() {
    let server = Server::secure(|_| message(200, &[], "")).await;
    let mut stage = Stage::new();
    stage.secret("authority", "Opaque", "ca.crt", &server.authority);
    assert_eq!(response(&stage.asked(request("GET", &server.url, ca())).await).status, 200);
}

#[tokio::test]
async fn nothing_is_sent_to_a_server_that_is_not_believed_but_its_certificate_is_told() {
    let server = Server::secure(|_| message(200, &[], "")).await;
    let other = Server::secure(|_| message(200, &[], "")).await;
    for trust in [Trust::System, Trust::Pinned(other.digest.clone()), ca()] {
        let mut stage = Stage::new();
        stage.secret("authority", "Opaque", "ca.crt", &other.authority);
        let found = stage.asked(request("GET", &server.url, trust.clone())).await;
        assert!(unreachable(&found).contains(&server.digest), "{trust:?}: {found:?}");
        assert_eq!(found.certificate, Some(server.digest.clone()), "{trust:?}");
    }
    assert_eq!(server.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn a_header_may_come_from_a_secret_and_is_sent_by_tls_only() {
    let (secure, plain) =
        (Server::secure(|_| message(200, &[], "")).await, Server::plain(|_| message(200, &[], "")).await);
    let secret = HeaderValue::Secret(SecretKey { name: "login".into(), key: "token".into() });
    let ask = |url: &str, trust| HttpRequest {
        headers: vec![("authorization".into(), secret.clone())],
        ..request("GET", url, trust)
    };

    let mut stage = Stage::new();
    let found = stage.asked(ask(&secure.url, Trust::Pinned(secure.digest.clone()))).await;
    assert_eq!(found.outcome, Err(QueryFailure::NotFound("Secret team/login".into())));

    let mut stage = Stage::new();
    stage.secret("login", "Opaque", "token", "s3cret\n");
    assert_eq!(response(&stage.asked(ask(&secure.url, Trust::Pinned(secure.digest.clone()))).await).status, 200);
    assert!(secure.requests()[0].contains("authorization: s3cret\r\n"));

    let mut stage = Stage::new();
    stage.secret("login", "Opaque", "token", "s3cret");
    let found = stage.asked(ask(&plain.url, Trust::System)).await;
    assert!(failed(&found).ends_with("a secret is not sent without TLS; write https://"), "{found:?}");
    assert_eq!(plain.requests().len(), 0);
}

#[tokio::test]
async fn a_changed_answer_brings_the_parent_back_and_an_equal_one_does_not() {
    let times = AtomicU32::new(0);
    let server = Server::plain(move |_| {
        let time = times.fetch_add(1, Ordering::SeqCst);
        message(200, &[("date", &time.to_string())], if time < 2 { "old" } else { "new" })
    })
    .await;
    let mut stage = Stage::new();
    let query = Query { interval: 1, ..query(request("GET", &server.url, Trust::System)) };
    assert_eq!(response(&stage.found(&query).await).body, b"old");
    stage.woken().await;
    assert_eq!(response(&stage.beyond.find(stage.asker(), &query)).body, b"new");
    assert_eq!(server.requests().len(), 3, "the second answer woke nobody");
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_after_the_time_of_the_query() {
    let server = Server::plain(|_| HANGS.to_owned()).await;
    let mut stage = Stage::new();
    let found = stage.found(&Query { timeout: 1, ..query(request("GET", &server.url, Trust::System)) }).await;
    assert_eq!(found.outcome, Err(QueryFailure::TimedOut));
}

#[tokio::test]
async fn a_server_that_answers_nonsense_or_nothing_is_unreachable() {
    for answer in ["", "nonsense\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort"] {
        let server = Server::plain(move |_| answer.to_owned()).await;
        let found = Stage::new().asked(request("GET", &server.url, Trust::System)).await;
        assert!(unreachable(&found).starts_with("the connection broke"), "{answer:?}: {found:?}");
    }
    let found = Stage::new().asked(request("GET", "http://127.0.0.1:1", Trust::System)).await;
    assert!(unreachable(&found).starts_with("http://127.0.0.1:1: "), "{found:?}");
}

#[tokio::test]
async fn an_endless_answer_is_cut() {
    let server = Server::plain(|_| message(200, &[], &"x".repeat(1024 * 1024 + 1))).await;
    let found = Stage::new().asked(request("GET", &server.url, Trust::System)).await;
    assert_eq!(response(&found).body.len(), 1024 * 1024);
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let server = Server::plain(|_| message(302, &[("location", "/elsewhere")], "")).await;
    let found = Stage::new().asked(request("GET", &server.url, Trust::System)).await;
    assert_eq!(response(&found).headers, [("location".into(), "/elsewhere".into())]);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn addresses_where_clouds_serve_a_machines_own_credentials_are_never_asked() {
    for url in ["http://169.254.169.254/latest/meta-data", "http://[::ffff:169.254.169.254]/", "http://[fe80::1]/"] {
        let found = Stage::new().asked(request("GET", url, Trust::System)).await;
        assert!(unreachable(&found).contains("is a link-local address"), "{url}: {found:?}");
    }
}

#[tokio::test]
async fn another_question_under_the_same_id_is_asked_anew() {
    let server = Server::plain(|request| message(200, &[], request.split(' ').nth(1).unwrap())).await;
    let mut stage = Stage::new();
    for path in ["/a", "/b"] {
        let found = stage.asked(request("GET", &format!("{}{path}", server.url), Trust::System)).await;
        assert_eq!(response(&found).body, path.as_bytes());
    }
}

#[tokio::test]
async fn what_a_parent_asked_is_forgotten_with_it() {
    let server = Server::plain(|_| message(200, &[], "")).await;
    let mut stage = Stage::new();
    let query = query(request("GET", &server.url, Trust::System));
    stage.found(&query).await;
    stage.beyond.forget(&stage.parent);
    assert!(stage.found(&query).await.outcome.is_ok());
    assert_eq!(server.requests().len(), 2);
}
