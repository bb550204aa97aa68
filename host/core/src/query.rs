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
}

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
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// An HTTP header's value, or where the host finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderValue {
    /// The value itself; never a secret.
    Plain(String),
    /// A key of a Secret.
    Secret(SecretKey),
}

/// One key of one Secret in the parent's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretKey {
    /// Name of the Secret.
    pub name: String,
    /// Key in its data.
    pub key: String,
}

/// Which server certificates an HTTPS request accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
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
