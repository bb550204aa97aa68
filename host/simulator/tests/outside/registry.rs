//! Registries that ask for credentials.

use operator_core::contract::extension::REGISTRY_CREDENTIALS;

use super::{
    server::{Server, message},
    *,
};

const DIGEST: (&str, &str) = ("docker-content-digest", "sha256:1");

/// A registry that gives tokens for `user:password`, or to everybody.
async fn registry(for_all: bool) -> Server {
    Server::secure(move |request| {
        let host = request.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
        let has = |header: &str| request.contains(&format!("\r\nauthorization: {header}\r\n"));
        if request.starts_with("GET /token?service=registry&scope=repository:a/b:pull ") {
            return if for_all || has("Basic dXNlcjpwYXNzd29yZA==") {
                message(200, &[], r#"{"token": "t0ken"}"#)
            } else {
                message(401, &[], "")
            };
        }
        if has("Bearer t0ken") {
            return message(200, &[DIGEST], "");
        }
        let challenge =
            format!(r#"Bearer realm="https://{host}/token",service="registry",scope="repository:a/b:pull""#);
        message(401, &[("www-authenticate", &challenge)], "")
    })
    .await
}

fn ask(server: &Server, secrets: &str) -> Query {
    let request = request("HEAD", &format!("{}/v2/a/b/manifests/1", server.url), ca());
    with_extensions(request, vec![(REGISTRY_CREDENTIALS.to_owned(), secrets.into())])
}

fn stage(server: &Server) -> Stage {
    let stage = Stage::reaching(&[server]);
    stage.secret("authority", "Opaque", "ca.crt", &server.authority);
    stage
}

fn pull_secret(server: &Server) -> String {
    let host = server.url.split("://").nth(1).unwrap();
    json!({"auths": {"elsewhere.example.org": {"auth": "eDp5"}, host: {"username": "user", "password": "password"}}})
        .to_string()
}

#[tokio::test]
async fn a_registry_that_wants_a_token_gets_one_for_the_credentials_of_a_pull_secret() {
    let server = registry(false).await;
    let mut stage = stage(&server);
    stage.secret("pull", "kubernetes.io/dockerconfigjson", ".dockerconfigjson", &pull_secret(&server));
    let found = stage.found(&ask(&server, "absent\npull")).await;
    assert_eq!(response(&found).headers, [(DIGEST.0.to_owned(), DIGEST.1.to_owned())]);
    assert!(server.requests().iter().all(|request| !request.contains("eDp5")), "only its own credentials");
}

#[tokio::test]
async fn a_public_image_needs_no_pull_secret() {
    let server = registry(true).await;
    assert_eq!(response(&stage(&server).found(&ask(&server, "")).await).status, 200);
}

#[tokio::test]
async fn without_credentials_that_fit_it_is_said_what_is_missing() {
    let server = registry(false).await;
    let found = stage(&server).found(&ask(&server, "")).await;
    assert!(
        failed(&found).ends_with("it gives no token (status 401); no pull secret lists this registry"),
        "{found:?}"
    );

    let mut stage = stage(&server);
    stage.secret("pull", "Opaque", "other", "{}");
    let found = stage.found(&ask(&server, "pull")).await;
    assert_eq!(failed(&found), "Secret team/pull holds no .dockerconfigjson");
}

#[tokio::test]
async fn a_query_that_offers_no_credentials_gets_the_refusal_itself() {
    let server = registry(true).await;
    let mut stage = stage(&server);
    let found = stage.asked(request("HEAD", &format!("{}/v2/a/b/manifests/1", server.url), ca())).await;
    assert_eq!(response(&found).status, 401);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_registry_with_basic_authentication_gets_the_credentials_themselves() {
    let server = Server::secure(|request| {
        if request.contains("\r\nauthorization: Basic dXNlcjpwYXNzd29yZA==\r\n") {
            message(200, &[DIGEST], "")
        } else {
            message(401, &[("www-authenticate", "Basic realm=\"registry\"")], "")
        }
    })
    .await;
    let mut stage = stage(&server);
    stage.secret("pull", "kubernetes.io/dockerconfigjson", ".dockerconfigjson", &pull_secret(&server));
    assert_eq!(response(&stage.found(&ask(&server, "pull")).await).status, 200);
}

/// A registry that has its tokens come from another server.
async fn registry_with_realm(realm: &str) -> Server {
    let challenge = format!(r#"Bearer realm="{realm}/token",service="registry""#);
    Server::secure(move |_| message(401, &[("www-authenticate", &challenge)], "")).await
}

#[tokio::test]
async fn no_credentials_are_sent_to_a_token_server_that_is_not_on_the_registrys_domain() {
    let other = Server::secure(|_| message(200, &[], r#"{"token": "t0ken"}"#)).await;
    let realm = other.url.replace("127.0.0.1", "vault.other.svc");
    let server = registry_with_realm(&realm).await;
    let reach = |token_realms| Reach {
        detours: [
            (server.authority_of_url().to_owned(), server.address()),
            (realm.trim_start_matches("https://").to_owned(), other.address()),
        ]
        .into(),
        token_realms,
        ..Reach::default()
    };
    let mut stage = Stage::with(reach(Vec::new()));
    stage.secret("authority", "Opaque", "ca.crt", &server.authority);
    stage.secret("pull", "kubernetes.io/dockerconfigjson", ".dockerconfigjson", &pull_secret(&server));
    let found = stage.found(&ask(&server, "pull")).await;
    let way_out =
        "it is not on the registry's domain; if it is right, start the operator with --token-realm vault.other.svc";
    assert!(failed(&found).ends_with(way_out), "{found:?}");
    assert_eq!(other.requests().len(), 0);

    let mut stage = Stage::with(reach(vec!["vault.other.svc".to_owned()]));
    stage.secret("authority", "Opaque", "ca.crt", &server.authority);
    let found = stage.found(&ask(&server, "")).await;
    assert!(
        found.outcome.is_err_and(|why| why.to_string().contains("https://vault.other.svc")),
        "it is asked, and not believed"
    );
}
