//! What modules ask, and what they get told. The fields mean what `wit/v1/types.wit` says.

use crate::Observed;

/// One question.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Names the outcome in later snapshots.
    pub id: String,
    /// What to find out.
    pub question: Question,
    /// How often, in seconds.
    pub interval: u32,
    /// How long one try may take, in seconds.
    pub timeout: u32,
    /// Additions, such as [`contract::extension::REGISTRY_CREDENTIALS`](crate::contract::extension::REGISTRY_CREDENTIALS).
    pub extensions: Vec<Extension>,
}

/// An addition to the contract: its name and its bytes.
pub type Extension = (String, Vec<u8>);

/// What to find out.
#[derive(Clone, Debug, PartialEq)]
pub enum Question {
    /// Objects from the host's caches.
    Objects(ObjectQuery),
    /// Log lines of a container.
    PodLog(PodLogQuery),
    /// The outcome of a command in a pod.
    Command(CommandQuery),
    /// The answer of a server.
    Http(HttpRequest),
}

/// Which Kubernetes objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectQuery {
    /// Group and version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Only in this namespace.
    pub namespace: Option<String>,
    /// Only this one.
    pub name: Option<String>,
    /// Only with all these labels.
    pub labels: Vec<(String, String)>,
    /// Only these dotted paths; whole objects when empty.
    pub fields: Vec<String>,
}

/// Lines from the log of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodLogQuery {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Name of the container.
    pub container: String,
    /// Literal text that a line must contain.
    pub contains: String,
    /// At most so many lines.
    pub limit: u32,
}

/// A command in a container, without a shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandQuery {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Name of the container.
    pub container: String,
    /// Program and arguments.
    pub command: Vec<String>,
}

/// An HTTP or HTTPS request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpRequest {
    /// Method.
    pub method: String,
    /// Absolute URL.
    pub url: String,
    /// Headers.
    pub headers: Vec<(String, HeaderValue)>,
    /// Body.
    pub body: Vec<u8>,
    /// Which server to believe.
    pub trust: Trust,
}

/// Where a request goes, as its URL says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Whether by TLS.
    pub secure: bool,
    /// Name or address; an IPv6 address without its brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path and query, beginning with a slash.
    pub path: String,
}

impl HttpRequest {
    /// The keys of Secrets that it names.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretKey> {
        let headers = self.headers.iter().filter_map(|(_, value)| match value {
            HeaderValue::Secret(key) => Some(key),
            HeaderValue::Plain(_) => None,
        });
        let authority = match &self.trust {
            Trust::Ca(key) => Some(key),
            Trust::System | Trust::Pinned(_) => None,
        };
        headers.chain(authority)
    }

    /// Where it goes. What is granted and what is connected to are read from the URL by this one function, so that they cannot
    /// differ.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the URL.
    pub fn server(&self) -> Result<Server, &'static str> {
        let (scheme, rest) = self.url.split_once("://").ok_or("write an absolute URL: https://host:port/path")?;
        let (secure, usual) = match scheme {
            "https" => (true, 443),
            "http" => (false, 80),
            _ => return Err("write https:// or http://"),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (host, port) = split_port(authority).ok_or("write a port between 1 and 65535 after the colon")?;
        let bracketed = authority.starts_with('[');
        let fits = |c: char| if bracketed { c.is_ascii_hexdigit() || ":.".contains(c) } else { is_of_a_name(c) };
        if host.is_empty() || !host.chars().all(fits) || bracketed != host.contains(':') {
            return Err("write a host name or an address, and no user name");
        }
        let path = path.split('#').next().unwrap_or_default();
        if path.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return Err("write spaces and other special characters of the path as %XX");
        }
        if has_dot_segment(path) {
            return Err("write no . or .. between the slashes of the path, also not as %XX: they lead to another one");
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Server { secure, host: host.to_ascii_lowercase(), port: port.unwrap_or(usual), path })
    }
}

/// Whether a reader of the URL may go up or stay: dots between slashes, also when they or the slashes are escaped, since servers and
/// proxies differ in what they resolve before they decode. A backslash is a slash to some.
fn has_dot_segment(path: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default().to_ascii_lowercase();
    // Twice, for those who decode twice.
    let decoded = ["%25", "%2e", "%2f", "%5c"].into_iter().zip(["%", ".", "/", "/"]);
    let decoded = decoded.fold(path, |path, (escaped, plain)| path.replace(escaped, plain));
    decoded.split(['/', '\\']).any(|part| part == "." || part == ".." || part.starts_with("..;"))
}

fn is_of_a_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._".contains(c)
}

/// Host and port, if there is one; none when what follows the colon is no port.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, rest) = match authority.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((address, rest)) => (address, rest),
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    if rest.is_empty() {
        return Some((host, None));
    }
    let port = rest.strip_prefix(':')?.parse().ok().filter(|port| *port != 0)?;
    Some((host, Some(port)))
}

/// An HTTP header's value, or where the host finds it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HeaderValue {
    /// The value itself; never a secret.
    Plain(String),
    /// A key of a Secret.
    Secret(SecretKey),
}

/// One key of one Secret in the parent's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SecretKey {
    /// Name of the Secret.
    pub name: String,
    /// Key in its data.
    pub key: String,
}

/// Which server certificates an HTTPS request accepts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Trust {
    /// Public roots.
    System,
    /// One CA from a Secret.
    Ca(SecretKey),
    /// Exactly the certificate with this SHA-256.
    Pinned(String),
}

/// The latest outcome of one query or action.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The id of the query or action.
    pub id: String,
    /// What was found out, or why not.
    pub outcome: Result<Finding, QueryFailure>,
    /// When, in Unix seconds; none for objects.
    pub asked_at: Option<i64>,
    /// Additions, such as [`contract::extension::SERVER_CERTIFICATE`](crate::contract::extension::SERVER_CERTIFICATE).
    pub extensions: Vec<Extension>,
}

/// What was found out.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    /// Objects, ordered by namespace and name.
    Objects(Vec<Observed>),
    /// Log lines.
    Lines(Vec<String>),
    /// What a command did.
    Command(CommandResult),
    /// What a server answered.
    Http(HttpResponse),
    /// Whether there was something to delete.
    Deleted(bool),
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandResult {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    /// Status code.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

/// Why there is no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryFailure {
    /// Not asked yet.
    #[error("not asked yet")]
    Pending,
    /// Not covered by the grant.
    #[error("not granted: {0}")]
    Denied(String),
    /// The thing asked about does not exist.
    #[error("{0} not found")]
    NotFound(String),
    /// Took too long.
    #[error("timed out")]
    TimedOut,
    /// Not reached or not trusted.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> Result<(bool, String, u16, String), &'static str> {
        let (method, url) = ("GET".to_owned(), url.to_owned());
        let request = HttpRequest { method, url, headers: vec![], body: vec![], trust: Trust::System };
        request.server().map(|server| (server.secure, server.host, server.port, server.path))
    }

    #[test]
    fn a_url_names_its_server_with_the_usual_port_unless_it_says_another() {
        assert_eq!(
            server("https://cas.team.svc:8081/v1?x=1#y").unwrap(),
            (true, "cas.team.svc".into(), 8081, "/v1?x=1".into())
        );
        assert_eq!(server("https://CAS").unwrap(), (true, "cas".into(), 443, "/".into()));
        assert_eq!(server("http://10.0.0.1?x").unwrap(), (false, "10.0.0.1".into(), 80, "/?x".into()));
        assert_eq!(server("https://[::1]:8443/a").unwrap(), (true, "::1".into(), 8443, "/a".into()));
        assert_eq!(server("https://[::1]").unwrap(), (true, "::1".into(), 443, "/".into()));
        assert_eq!(server("https://cas/v1.2/a..b/.c/d?x=../e").unwrap().3, "/v1.2/a..b/.c/d?x=../e");
    }

    #[test]
    fn a_url_that_two_readers_could_understand_differently_is_refused() {
        for url in [
            "cas",
            "ftp://cas",
            "https://",
            "https://user@cas",
            "https://good\\@evil",
            "https://cas:",
            "https://cas:0",
            "https://cas:99999",
            "https://a:1:2",
            "https://[::1",
            "https://[cas]",
            "https://cas/a b",
            "https://c\tas",
            "https://cas/v1/sessions/../keys",
            "https://cas/v1/./keys",
            "https://cas/..",
            "https://cas/a/%2e%2E/b",
            "https://cas/a/.%2e/b",
            "https://cas/a/..%2fb",
            "https://cas/a%2f..%2fb",
            "https://cas/a\\..\\b",
            "https://cas/a/%252e%252e/b",
            "https://cas/..;x/b",
        ] {
            assert!(server(url).is_err(), "{url}");
        }
    }
}
