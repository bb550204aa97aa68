//! Requests to container registries: a registry that asks for credentials is answered with those of a pull secret, by the
//! [Docker token scheme](https://distribution.github.io/distribution/spec/auth/token/) or by basic authentication.

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderName, HeaderValue, header};
use operator_core::{
    Extension, Finding, HttpRequest, HttpResponse, QueryFailure, Server, contract::extension::REGISTRY_CREDENTIALS,
};
use serde::Deserialize;

use super::{http::Servers, secrets::Secrets};
use crate::Found;

/// Registries whose tokens come from a host on another domain than theirs.
const REALMS: [(&str, &str); 1] = [("registry.gitlab.com", "gitlab.com")];
/// What registries list under other names than their servers have.
const ALIASES: [(&str, &str); 2] = [("registry-1.docker.io", "index.docker.io"), ("registry-1.docker.io", "docker.io")];

/// Sends a request; answers the challenge of a registry when the query asks for it.
pub(super) async fn with_credentials(
    servers: &Servers,
    secrets: Secrets<'_>,
    request: &HttpRequest,
    extensions: &[Extension],
) -> Found {
    let first = servers.send(secrets, request, &[]).await;
    let Some((_, names)) = extensions.iter().find(|(name, _)| name == REGISTRY_CREDENTIALS) else { return first };
    let Some(challenge) = challenge(&first) else { return first };
    let names = String::from_utf8_lossy(names);
    match authorization(servers, secrets, request, &names, &challenge).await {
        Ok(Some(authorization)) => servers.send(secrets, request, &[(header::AUTHORIZATION, authorization)]).await,
        // Nothing to answer with: the refusal is the outcome.
        Ok(None) => first,
        Err(failure) => Found { outcome: Err(failure), ..first },
    }
}

/// What a server wants to know.
#[derive(Debug, PartialEq)]
enum Challenge {
    Basic,
    Bearer { realm: String, parameters: Vec<(String, String)> },
}

fn challenge(found: &Found) -> Option<Challenge> {
    let Ok(Finding::Http(HttpResponse { status: 401, headers, .. })) = &found.outcome else { return None };
    let mut told = headers.iter().filter(|(name, _)| name == header::WWW_AUTHENTICATE.as_str());
    told.find_map(|(_, text)| parse(text))
}

fn parse(text: &str) -> Option<Challenge> {
    let (scheme, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let (mut realm, mut parameters) = (None, Vec::new());
    let mut rest = rest.trim_start();
    // A comma may stand between quotes: scope="repository:a:pull,push".
    while let Some((name, after)) = rest.split_once('=') {
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_at(after.find(',').unwrap_or(after.len())),
        };
        match name.trim() {
            "realm" => realm = Some(value.to_owned()),
            name @ ("service" | "scope") => parameters.push((name.to_owned(), value.to_owned())),
            _ => {}
        }
        rest = after.trim_start_matches([',', ' ']);
    }
    realm.map(|realm| Challenge::Bearer { realm, parameters })
}

/// The header that answers a challenge; none when there are no credentials for it.
async fn authorization(
    servers: &Servers,
    secrets: Secrets<'_>,
    request: &HttpRequest,
    names: &str,
    challenge: &Challenge,
) -> Result<Option<HeaderValue>, QueryFailure> {
    let server = request.server().map_err(|why| QueryFailure::Failed(why.to_owned()))?;
    if !server.secure {
        return Err(QueryFailure::Failed(format!("{}: no credentials are sent without TLS", request.url)));
    }
    let basic = credentials(secrets, &server, names).await?;
    match challenge {
        Challenge::Basic => Ok(basic),
        Challenge::Bearer { realm, parameters } => {
            let token = token(servers, secrets, request, realm, parameters, basic).await?;
            Ok(Some(sensitive(&format!("Bearer {token}"))?))
        }
    }
}

async fn token(
    servers: &Servers,
    secrets: Secrets<'_>,
    request: &HttpRequest,
    realm: &str,
    parameters: &[(String, String)],
    basic: Option<HeaderValue>,
) -> Result<String, QueryFailure> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(alias = "access_token")]
        token: Option<String>,
    }
    let refused = |why: String| QueryFailure::Failed(format!("{realm}, which {} names: {why}", request.url));
    let mut url = realm.to_owned();
    for (name, value) in parameters {
        let escaped: String = value.bytes().map(escape).collect();
        url = format!("{url}{}{name}={escaped}", if url.contains('?') { '&' } else { '?' });
    }
    let ask = HttpRequest { method: "GET".to_owned(), url, headers: Vec::new(), body: Vec::new(), ..request.clone() };
    let (Ok(registry), Ok(of_realm)) = (request.server(), ask.server()) else {
        return Err(refused("it is no URL".to_owned()));
    };
    if !of_realm.secure {
        return Err(refused("no credentials are sent without TLS".to_owned()));
    }
    if !may_vouch(&registry.host, &of_realm.host) && !servers.token_realms().contains(&of_realm.host) {
        let why = format!(
            "no credentials are sent there, since it is not on the registry's domain; if it is right, start the operator with \
             --token-realm {}",
            of_realm.host
        );
        return Err(refused(why));
    }
    let authorization: Vec<(HeaderName, HeaderValue)> =
        basic.into_iter().map(|basic| (header::AUTHORIZATION, basic)).collect();
    let answer = match servers.send(secrets, &ask, &authorization).await.outcome? {
        Finding::Http(answer) => answer,
        other => return Err(refused(format!("unexpected {other:?}"))),
    };
    if answer.status != 200 {
        let hint =
            if authorization.is_empty() { "no pull secret lists this registry" } else { "check the pull secret" };
        return Err(refused(format!("it gives no token (status {}); {hint}", answer.status)));
    }
    let answer: Option<Answer> = serde_json::from_slice(&answer.body).ok();
    answer.and_then(|answer| answer.token).ok_or_else(|| refused("it answers without a token".to_owned()))
}

/// Whether a host may be shown a registry's credentials: the registry itself, a host below it or beside it on the same domain, or the one
/// that is known for it. What the registry names beyond that may be anybody's, such as a server inside the cluster.
fn may_vouch(registry: &str, realm: &str) -> bool {
    let below = |domain: &str| realm == domain || realm.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    below(registry) || domain(registry).is_some_and(below) || REALMS.contains(&(registry, realm))
}

/// The domain that a registry shares with its neighbours: its name without the first label, as far as that is one that people register.
/// A guess, in the place of a list of public suffixes, which is large and ages: `co.uk` and its like have a short label before a country's
/// two letters, and the hosts of registries below which everybody may have a name are listed.
fn domain(host: &str) -> Option<&str> {
    let (_, domain) = host.split_once('.')?;
    let (second, top) = domain.rsplit_once('.')?;
    let is_address = host.parse::<std::net::IpAddr>().is_ok() || host.contains(':');
    let is_suffix = !second.contains('.') && second.len() <= 3 && top.len() == 2;
    // Below these, everybody may have a name.
    let is_shared =
        ["github.io", "azurecr.io", "amazonaws.com", "pkg.dev"].iter().any(|shared| domain.ends_with(shared));
    (!is_address && !is_suffix && !is_shared).then_some(domain)
}

fn escape(byte: u8) -> String {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' | b'/' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    }
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: std::collections::BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

/// What the first of these Secrets has for this server, for basic authentication.
async fn credentials(secrets: Secrets<'_>, server: &Server, names: &str) -> Result<Option<HeaderValue>, QueryFailure> {
    for name in names.lines().map(str::trim).filter(|name| !name.is_empty()) {
        let secret = match secrets.secret(name, &server.host).await {
            Ok(secret) => secret,
            // The kubelet goes on with the next one too.
            Err(QueryFailure::NotFound(_)) => continue,
            Err(other) => return Err(other),
        };
        let wrong =
            || QueryFailure::Failed(format!("Secret {}/{name} holds no .dockerconfigjson", secrets.namespace()));
        let config = secret.data.unwrap_or_default().remove(".dockerconfigjson").ok_or_else(wrong)?;
        let config: DockerConfig = serde_json::from_slice(&config.0).map_err(|_| wrong())?;
        if let Some(basic) = config.auths.iter().filter(|(key, _)| is_for(key, server)).find_map(|(_, e)| e.basic()) {
            return sensitive(&format!("Basic {basic}")).map(Some);
        }
    }
    Ok(None)
}

impl Entry {
    fn basic(&self) -> Option<String> {
        if let Some(auth) = self.auth.as_ref().filter(|auth| !auth.is_empty()) {
            return Some(auth.clone());
        }
        let (username, password) = (self.username.as_ref()?, self.password.as_ref()?);
        Some(BASE64_STANDARD.encode(format!("{username}:{password}")))
    }
}

/// Whether an entry of a pull secret is about a server. Entries may be URLs, and may have a path.
fn is_for(key: &str, server: &Server) -> bool {
    let key = key.split_once("://").map_or(key, |(_, rest)| rest);
    let key = key.split('/').next().unwrap_or_default();
    let (host, port) = key.rsplit_once(':').map_or((key, None), |(host, port)| (host, port.parse().ok()));
    let same = |name: &str| host.eq_ignore_ascii_case(name);
    let named = same(&server.host) || ALIASES.iter().any(|(real, alias)| *real == server.host && same(alias));
    named && port.unwrap_or(443) == server.port
}

fn sensitive(text: &str) -> Result<HeaderValue, QueryFailure> {
    let value = HeaderValue::from_str(text);
    let mut value = value.map_err(|_| QueryFailure::Failed("credentials that fit in no header".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_read_with_commas_between_quotes() {
        let text = r#"Bearer realm="https://auth.example.org/token",service="registry.example.org",scope="repository:a/b:pull,push""#;
        let parameters = [("service", "registry.example.org"), ("scope", "repository:a/b:pull,push")];
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        assert_eq!(parse(text), Some(Challenge::Bearer { realm: "https://auth.example.org/token".into(), parameters }));
        assert_eq!(parse("Basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(parse("Negotiate"), None);
        assert_eq!(parse("Bearer service=x"), None, "without a realm there is nobody to ask");
    }

    #[test]
    fn tokens_come_from_the_registry_its_domain_or_the_host_that_is_known_for_it() {
        for (registry, realm) in [
            ("ghcr.io", "ghcr.io"),
            ("registry.example.org", "auth.registry.example.org"),
            ("registry-1.docker.io", "auth.docker.io"),
            ("registry.scontain.com", "gitlab.scontain.com"),
            ("registry.gitlab.com", "gitlab.com"),
            ("mine.azurecr.io", "mine.azurecr.io"),
            ("10.0.0.1", "10.0.0.1"),
        ] {
            assert!(may_vouch(registry, realm), "{registry}: {realm}");
        }
        for (registry, realm) in [
            ("registry.example.org", "evil.org"),
            ("registry.example.org", "evilexample.org"),
            ("registry.example.org", "registry.example.org.evil.org"),
            ("ghcr.io", "evil.io"),
            ("example.co.uk", "evil.co.uk"),
            ("mine.azurecr.io", "theirs.azurecr.io"),
            ("me.github.io", "you.github.io"),
            ("10.0.0.1", "9.0.0.1"),
            ("registry", "kubernetes.default.svc"),
            ("registry.team.svc", "vault.other.svc"),
        ] {
            assert!(!may_vouch(registry, realm), "{registry}: {realm}");
        }
    }

    #[test]
    fn an_entry_of_a_pull_secret_is_for_its_own_server_only() {
        let server = |host: &str, port| Server { secure: true, host: host.into(), port, path: "/".into() };
        assert!(is_for("registry.example.org", &server("registry.example.org", 443)));
        assert!(is_for("https://registry.example.org/v1/", &server("registry.example.org", 443)));
        assert!(is_for("localhost:5000", &server("localhost", 5000)));
        assert!(is_for("https://index.docker.io/v1/", &server("registry-1.docker.io", 443)));
        assert!(!is_for("localhost:5000", &server("localhost", 443)));
        assert!(!is_for("registry.example.org", &server("registry.example.org.evil", 443)));
        assert!(!is_for("example.org", &server("registry.example.org", 443)));
    }

    #[test]
    fn credentials_are_taken_from_either_form_of_an_entry() {
        let entry = |json: &str| serde_json::from_str::<Entry>(json).unwrap().basic();
        assert_eq!(entry(r#"{"auth": "dTpw"}"#), Some("dTpw".into()));
        assert_eq!(entry(r#"{"username": "u", "password": "p"}"#), Some("dTpw".into()));
        assert_eq!(entry(r#"{"username": "u"}"#), None);
    }
}
