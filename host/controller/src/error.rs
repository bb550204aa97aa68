//! Why a reconcile could not be carried through. Always worth another try, with back-off.

use operator_core::ObjectRef;

/// What is refused so often in a row is no passing trouble.
const PASSING: u32 = 3;

/// Why a reconcile could not be carried through.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server answered with an error.
    #[error("{verb} {identity} was refused with {code} {reason}: {message}")]
    Refused {
        /// What was tried.
        verb: &'static str,
        /// On which object.
        identity: ObjectRef,
        /// HTTP status code.
        code: u16,
        /// Kubernetes' reason, such as `Conflict`.
        reason: String,
        /// The server's text.
        message: String,
    },
    /// The API server did not answer, or with something that is no answer.
    #[error("{verb} {identity} did not get through; check the connection to the API server")]
    Unreachable {
        /// What was tried.
        verb: &'static str,
        /// On which object.
        identity: ObjectRef,
        /// What went wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The API server does not serve a kind.
    #[error("the API server does not serve {api_version} {kind}; install its CustomResourceDefinition")]
    NotServed {
        /// Group and version.
        api_version: String,
        /// Kind.
        kind: String,
    },
    /// A name that no object can have, and that would lead to another path.
    #[error("{identity} has no namespace and name that an API path can hold; nothing is sent")]
    Unaddressable {
        /// Which object.
        identity: ObjectRef,
    },
    /// The first list of a kind is not complete.
    #[error("the cache of {api_version} {kind} is not complete yet; nothing is reconciled before it is")]
    NotSynced {
        /// Group and version.
        api_version: String,
        /// Kind.
        kind: String,
    },
    /// It took too long as a whole.
    #[error("the reconcile of {identity} took longer than {} s and was given up; check the API server's latency", .limit.as_secs())]
    TooSlow {
        /// Which parent.
        identity: ObjectRef,
        /// The limit.
        limit: std::time::Duration,
    },
    /// The parent cannot be read.
    #[error("{identity} cannot be read: it is no Kubernetes object in JSON")]
    Unreadable {
        /// Which object.
        identity: ObjectRef,
        /// Where and why.
        #[source]
        source: operator_core::DocumentError,
    },
}

impl Error {
    /// The reason as one word of a closed set: metric label, log field.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "ApiRefused",
            Self::Unreachable { .. } => "ApiUnreachable",
            Self::NotServed { .. } => "KindNotServed",
            Self::Unaddressable { .. } => "DocumentMismatch",
            Self::NotSynced { .. } => "CacheNotSynced",
            Self::TooSlow { .. } => "ReconcileTooSlow",
            Self::Unreadable { .. } => "ObjectUnreadable",
        }
    }

    /// Whether the server said that the request itself is wrong, so that the same request fails again.
    pub fn is_invalid(&self) -> bool {
        matches!(self, Self::Refused { code: 400 | 422, .. })
    }

    /// What somebody has to do before the same request can get through, when it is for somebody to do: the server forbids it, or misses
    /// what it needs. Trying again finds out. What may be a passing trouble is told when it has lasted for a few `tries`.
    pub(crate) fn remedy(&self, tries: u32) -> Option<String> {
        let Self::Refused { code, message, .. } = self else { return None };
        let lasts = tries >= PASSING;
        let remedy = match code {
            403 => "grant the right, or lift the quota or policy that forbids it",
            404 => "create what is missing",
            _ if !lasts => return None,
            _ if webhook(message).is_some() => {
                let webhook = webhook(message).unwrap_or_default();
                return Some(format!("ask whoever runs the webhook {webhook}, which the API server calls for it"));
            }
            409 => "somebody else changes the object all the time; its metadata.managedFields tell who",
            413 => "the object is too large for the API server; ask for less in this resource",
            429 => "the API server takes no more requests at the moment; ask the cluster's administrator",
            _ => "the API server itself fails; ask the cluster's administrator to look into its log",
        };
        Some(remedy.to_owned())
    }

    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { code: 404, .. })
    }

    /// Whether the object that was meant does not exist any more: none of its name does, or another one, which an apply with its uid
    /// hears as a conflict.
    pub(crate) fn is_gone(&self) -> bool {
        let other = |message: &str| ["uid mismatch", "UID in precondition"].iter().any(|text| message.contains(text));
        matches!(self, Self::Refused { code: 409, message, .. } if other(message)) || self.is_not_found()
    }
}

/// The webhook that an error is about, in the words of the API server: `failed calling webhook "NAME"`, `admission webhook "NAME" denied`.
fn webhook(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("webhook \"")?;
    rest.split_once('"').map(|(name, _)| name)
}
