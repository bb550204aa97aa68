//! Questions and actions: what the module wants to know or have done outside.

use std::fmt;

use kube::Resource;
use operator_contract::extension::{REGISTRY_CREDENTIALS, SERVER_CERTIFICATE};

use crate::{
    Action, Answer, CommandQuery, Deed, Deletion, HeaderValue, HttpRequest, ObjectQuery, ObjectRef, PodLogQuery, Query,
    QueryFailure, Question, SecretKey, Trust,
};

/// How often and how long, in seconds, unless the module says otherwise.
const INTERVAL: u32 = 60;
const TIMEOUT: u32 = 10;

impl ObjectQuery {
    /// All objects of kind `K`. The manifest must ask for it with [`crate::ManifestBuilder::reads`].
    pub fn of<K: Resource<DynamicType = ()>>() -> Self {
        Self {
            api_version: K::api_version(&()).into_owned(),
            kind: K::kind(&()).into_owned(),
            namespace: None,
            name: None,
            labels: Vec::new(),
            fields: Vec::new(),
        }
    }

    /// Only in this namespace.
    #[must_use]
    pub fn in_namespace(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// Only this one.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Only with this label too.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Only these fields, as dotted paths: less to send, less to read, and changes elsewhere call nobody. A key with a dot in it is
    /// written with a backslash before the dot: `data.ca\.crt`.
    #[must_use]
    pub fn fields<F: Into<String>>(mut self, fields: impl IntoIterator<Item = F>) -> Self {
        self.fields.extend(fields.into_iter().map(Into::into));
        self
    }

    /// The query; `id` names its outcome in later snapshots.
    pub fn ask(self, id: &str) -> Query {
        Query::new(id, Question::Objects(self))
    }
}

impl PodLogQuery {
    /// The last 100 lines that contain `contains`, literally.
    pub fn of(namespace: &str, pod: &str, container: &str, contains: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            container: container.to_owned(),
            contains: contains.to_owned(),
            limit: 100,
        }
    }

    /// At most so many lines.
    #[must_use]
    pub fn limit(mut self, lines: u32) -> Self {
        self.limit = lines;
        self
    }

    /// The query; `id` names its outcome in later snapshots.
    pub fn ask(self, id: &str) -> Query {
        Query::new(id, Question::PodLog(self))
    }
}

impl CommandQuery {
    /// A program and its arguments, run in a container without a shell.
    pub fn of<A: Into<String>>(
        namespace: &str,
        pod: &str,
        container: &str,
        command: impl IntoIterator<Item = A>,
    ) -> Self {
        Self {
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            container: container.to_owned(),
            command: command.into_iter().map(Into::into).collect(),
        }
    }

    /// The query; `id` names its outcome in later snapshots.
    pub fn ask(self, id: &str) -> Query {
        Query::new(id, Question::Command(self))
    }
}

impl HttpRequest {
    /// A `GET`, believing the host's public roots.
    pub fn get(url: &str) -> Self {
        Self::new("GET", url, Vec::new())
    }

    /// A `PUT` of `body`.
    pub fn put(url: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::new("PUT", url, body.into())
    }

    /// A request with any method.
    pub fn new(method: &str, url: &str, body: Vec<u8>) -> Self {
        Self { method: method.to_owned(), url: url.to_owned(), headers: Vec::new(), body, trust: Trust::System }
    }

    /// With a header; never a secret.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), HeaderValue::Plain(value.to_owned())));
        self
    }

    /// With a header whose value the host takes from a Secret of the parent's namespace.
    #[must_use]
    pub fn secret_header(mut self, name: &str, secret: &str, key: &str) -> Self {
        let key = SecretKey { name: secret.to_owned(), key: key.to_owned() };
        self.headers.push((name.to_owned(), HeaderValue::Secret(key)));
        self
    }

    /// Which server to believe.
    #[must_use]
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    /// As a query; only `GET` and `HEAD`. `id` names its outcome in later snapshots.
    pub fn ask(self, id: &str) -> Query {
        Query::new(id, Question::Http(self))
    }

    /// As an action, for methods that change something. `id` names its outcome in later snapshots.
    pub fn act(self, id: &str) -> Action {
        Action::new(id, Deed::Http(self))
    }
}

impl Query {
    fn new(id: &str, question: Question) -> Self {
        Self { id: id.to_owned(), question, interval: INTERVAL, timeout: TIMEOUT, extensions: Vec::new() }
    }

    /// Ask again after so many seconds (60 unless set). Objects are always current.
    #[must_use]
    pub fn every(mut self, seconds: u32) -> Self {
        self.interval = seconds;
        self
    }

    /// Give up a try after so many seconds (10 unless set).
    #[must_use]
    pub fn within(mut self, seconds: u32) -> Self {
        self.timeout = seconds;
        self
    }

    /// Has the host answer a registry that asks for credentials with those of these pull secrets, of the parent's namespace. Without any
    /// it asks for a token as nobody in particular, which public images need.
    #[must_use]
    pub fn registry_credentials<'a>(mut self, secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let names: Vec<&str> = secrets.into_iter().collect();
        self.extensions.push((REGISTRY_CREDENTIALS.to_owned(), names.join("\n").into_bytes()));
        self
    }
}

impl Answer {
    /// SHA-256 of the certificate that the server of an HTTPS query or action showed, trusted or not: 64 hexadecimal digits.
    pub fn server_certificate(&self) -> Option<&str> {
        let (_, digest) = self.extensions.iter().find(|(name, _)| name == SERVER_CERTIFICATE)?;
        std::str::from_utf8(digest).ok().filter(|digest| digest.len() == 64)
    }
}

impl Action {
    /// Delete exactly the object with this UID.
    pub fn delete(id: &str, identity: ObjectRef, uid: &str) -> Self {
        Self::new(id, Deed::Delete(Deletion { identity, uid: uid.to_owned() }))
    }

    fn new(id: &str, deed: Deed) -> Self {
        Self { id: id.to_owned(), deed, timeout: TIMEOUT, extensions: Vec::new() }
    }

    /// Give up a try after so many seconds (10 unless set).
    #[must_use]
    pub fn within(mut self, seconds: u32) -> Self {
        self.timeout = seconds;
        self
    }
}

/// For conditions and events: what went wrong, without whose query it was.
impl fmt::Display for QueryFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pending => f.write_str("not asked yet"),
            Self::Denied(grant) => write!(f, "not granted: {grant}"),
            Self::NotFound(what) => write!(f, "{what} not found"),
            Self::TimedOut => f.write_str("timed out"),
            Self::Unreachable(why) => write!(f, "unreachable: {why}"),
            Self::Failed(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for QueryFailure {}
