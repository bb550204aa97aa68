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
    let mut stage = Stage::reaching(&[&server]);
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
    let mut stage = Stage::reaching(&[&server]);
    stage.secret("authority", "Opaque", "ca.crt", &server.authority);
    assert_eq!(response(&stage.asked(request("GET", &server.url, ca())).await).status, 200);
}

#[tokio::test]
async fn nothing_is_sent_to_a_server_that_is_not_believed_but_its_certificate_is_told() {
    let server = Server::secure(|_| message(200, &[], "")).await;
    let other = Server::secure(|_| message(200, &[], "")).await;
    for trust in [Trust::System, Trust::Pinned(other.digest.clone()), ca()] {
        let mut stage = Stage::reaching(&[&server, &other]);
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

    let mut stage = Stage::reaching(&[&secure, &plain]);
    let found = stage.asked(ask(&secure.url, Trust::Pinned(secure.digest.clone()))).await;
    assert_eq!(found.outcome, Err(QueryFailure::NotFound("Secret team/login".into())));

    let mut stage = Stage::reaching(&[&secure, &plain]);
    stage.secret("login", "Opaque", "token", "s3cret\n");
    assert_eq!(response(&stage.asked(ask(&secure.url, Trust::Pinned(secure.digest.clone()))).await).status, 200);
    assert!(secure.requests()[0].contains("authorization: s3cret\r\n"));

    let mut stage = Stage::reaching(&[&secure, &plain]);
    stage.secret("login", "Opaque", "token", "s3cret");
    let found = stage.asked(ask(&plain.url, Trust::System)).await;
    assert!(failed(&found).ends_with("a secret is not sent without TLS; write https://"), "{found:?}");
    assert_eq!(plain.requests().len(), 0);
}

#[tokio::test]
async fn a_secret_is_used_only_where_one_grant_covers_its_name_its_labels_and_the_host() {
    let server = Server::secure(|_| message(200, &[], "")).await;
    let denied = |found: Found| match found.outcome {
        Err(QueryFailure::Denied(why)) => why,
        other => panic!("{other:?}"),
    };
    let refused = [
        (vec![], "Secret authority for requests to 127.0.0.1 is not granted"),
        (vec![secret_rule("authority", &[], "*.svc"), secret_rule("other", &[], "*")], "is not granted"),
        (
            vec![secret_rule("auth*", &[("for", "cas")], "*")],
            "Secret authority lacks the labels of the grant (for=cas)",
        ),
    ];
    for (rules, expected) in refused {
        let mut stage = Stage::reaching(&[&server]);
        stage.secret("authority", "Opaque", "ca.crt", &server.authority);
        stage.secrets = rules;
        let why = denied(stage.asked(request("GET", &server.url, ca())).await);
        assert!(why.contains(expected), "{why}");
    }
    assert_eq!(server.connections(), 0);
    let mut stage = Stage::reaching(&[&server]);
    stage.secret("authority", "Opaque", "ca.crt", &server.authority);
    stage.secrets = vec![secret_rule("auth*", &[], "127.0.0.1")];
    assert_eq!(response(&stage.asked(request("GET", &server.url, ca())).await).status, 200);
}

#[tokio::test]
async fn a_changed_answer_brings_the_parent_back_and_an_equal_one_does_not() {
    let times = AtomicU32::new(0);
    let server = Server::plain(move |_| {
        let time = times.fetch_add(1, Ordering::SeqCst);
        message(200, &[("date", &time.to_string())], if time < 2 { "old" } else { "new" })
    })
    .await;
    let mut stage = Stage::reaching(&[&server]);
    let query = Query { interval: 1, ..query(request("GET", &server.url, Trust::System)) };
    assert_eq!(response(&stage.found(&query).await).body, b"old");
    stage.woken().await;
    assert_eq!(response(&stage.beyond.find(stage.asker(), &query)).body, b"new");
    assert_eq!(server.requests().len(), 3, "the second answer woke nobody");
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_after_the_time_of_the_query() {
    let server = Server::plain(|_| HANGS.to_owned()).await;
    let mut stage = Stage::reaching(&[&server]);
    let found = stage.found(&Query { timeout: 1, ..query(request("GET", &server.url, Trust::System)) }).await;
    assert_eq!(found.outcome, Err(QueryFailure::TimedOut));
}

#[tokio::test]
async fn a_server_that_answers_nonsense_or_nothing_is_unreachable() {
    for answer in ["", "nonsense\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort"] {
        let server = Server::plain(move |_| answer.to_owned()).await;
        let found = Stage::reaching(&[&server]).asked(request("GET", &server.url, Trust::System)).await;
        assert!(unreachable(&found).starts_with("the connection broke"), "{answer:?}: {found:?}");
    }
    let nobody = Reach { detours: [("gone:1".to_owned(), ([127, 0, 0, 1], 1).into())].into(), ..Reach::default() };
    let found = Stage::with(nobody).asked(request("GET", "http://gone:1", Trust::System)).await;
    assert!(unreachable(&found).starts_with("http://gone:1: "), "{found:?}");
}

#[tokio::test]
async fn an_endless_answer_is_cut() {
    let server = Server::plain(|_| message(200, &[], &"x".repeat(1024 * 1024 + 1))).await;
    let found = Stage::reaching(&[&server]).asked(request("GET", &server.url, Trust::System)).await;
    assert_eq!(response(&found).body.len(), 1024 * 1024);
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let server = Server::plain(|_| message(302, &[("location", "/elsewhere")], "")).await;
    let found = Stage::reaching(&[&server]).asked(request("GET", &server.url, Trust::System)).await;
    assert_eq!(response(&found).headers, [("location".into(), "/elsewhere".into())]);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn the_operators_own_machine_its_link_and_its_clouds_credentials_are_never_asked() {
    let server = Server::plain(|_| message(200, &[], "")).await;
    let port = server.address().port();
    let urls = [
        ("http://169.254.169.254/latest/meta-data".to_owned(), "is a link-local address"),
        ("http://[::ffff:169.254.169.254]/".to_owned(), "is a link-local address"),
        ("http://[fe80::1]/".to_owned(), "is a link-local address"),
        ("http://100.100.100.200/".to_owned(), "is where a cloud serves"),
        (server.url.clone(), "is an address of the operator's own machine"),
        (format!("http://localhost:{port}/"), "is an address of the operator's own machine"),
        (format!("http://0.0.0.0:{port}/"), "is an address of the operator's own machine"),
        (format!("http://[::ffff:127.0.0.1]:{port}/"), "is an address of the operator's own machine"),
    ];
    for (url, why) in urls {
        let found = Stage::with(Reach::default()).asked(request("GET", &url, Trust::System)).await;
        assert!(unreachable(&found).contains(why), "{url}: {found:?}");
    }
    assert_eq!(server.requests().len(), 0);
}

#[tokio::test]
async fn the_api_server_is_never_asked_by_whatever_name() {
    // Nobody listens there: a request that were sent would be told as refused.
    let reach = Reach { api_server: Some(("203.0.113.1".into(), 6443)), ..Reach::default() };
    let found = Stage::with(reach).asked(request("GET", "http://[::ffff:203.0.113.1]:6443/api", Trust::System)).await;
    assert!(unreachable(&found).contains("is the API server, where no server is asked"), "{found:?}");
}

#[tokio::test]
async fn a_url_that_climbs_out_of_its_path_is_never_sent() {
    let server = Server::plain(|_| message(200, &[], "")).await;
    for path in ["/v1/sessions/../keys", "/v1/sessions/%2e%2e/keys", "/v1/sessions/..%2fkeys"] {
        let url = format!("{}{path}", server.url);
        let found = Stage::reaching(&[&server]).asked(request("GET", &url, Trust::System)).await;
        assert!(failed(&found).contains("write no . or .."), "{path}: {found:?}");
    }
    assert_eq!(server.requests().len(), 0);
}

#[tokio::test]
async fn another_question_under_the_same_id_is_asked_anew() {
    let server = Server::plain(|request| message(200, &[], request.split(' ').nth(1).unwrap())).await;
    let mut stage = Stage::reaching(&[&server]);
    for path in ["/a", "/b"] {
        let found = stage.asked(request("GET", &format!("{}{path}", server.url), Trust::System)).await;
        assert_eq!(response(&found).body, path.as_bytes());
    }
}

#[tokio::test]
async fn what_a_parent_asked_is_forgotten_with_it() {
    let server = Server::plain(|_| message(200, &[], "")).await;
    let mut stage = Stage::reaching(&[&server]);
    let query = query(request("GET", &server.url, Trust::System));
    stage.found(&query).await;
    stage.beyond.forget(&stage.parent);
    assert!(stage.found(&query).await.outcome.is_ok());
    assert_eq!(server.requests().len(), 2);
}
