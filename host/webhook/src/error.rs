//! What can go wrong around webhooks. Each text ends with what to do.

/// What can go wrong around webhooks.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Two modules want the same path or name.
    #[error("{what} is wanted by the modules {}; rename it in the manifest of one", modules.join(" and "))]
    Clash {
        /// The path or the webhook's name.
        what: String,
        /// Who wants it.
        modules: [String; 2],
    },
    /// A certificate, a key, or the place where they should be.
    #[error("the webhook certificate in {place} cannot be used: {why}")]
    Certificate {
        /// A folder or a Secret.
        place: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// The API server answered with an error.
    #[error("{verb} {place} was refused with {code} {reason}: {message}")]
    Refused {
        /// What was tried.
        verb: &'static str,
        /// The path of the object.
        place: String,
        /// HTTP status code.
        code: u16,
        /// Kubernetes' reason, such as `Forbidden`.
        reason: String,
        /// The server's text.
        message: String,
    },
    /// The API server did not answer, or with something that is no answer.
    #[error("{verb} {place} did not get through: {why}; check the connection to the API server")]
    Unanswered {
        /// What was tried.
        verb: &'static str,
        /// The path of the object.
        place: String,
        /// What went wrong.
        why: String,
    },
    /// A request that the API server should have passed on did not arrive.
    #[error(
        "the API server does not reach the webhooks at {target} ({why}): requests about guarded kinds fail. Let its network reach \
         port {port} of the operator's pods (firewall rule, NetworkPolicy, security group), or serve on a port that it reaches \
         (--webhook-bind-address)"
    )]
    Unreachable {
        /// Service or URL.
        target: String,
        /// The port that has to be reached.
        port: u16,
        /// What the API server said.
        why: String,
    },
}

impl Error {
    /// The reason as one word of a closed set: event reason, log field, metric label.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Clash { .. } => "WebhookClash",
            Self::Certificate { .. } => "CertificateUnusable",
            Self::Refused { .. } => "ApiRefused",
            Self::Unanswered { .. } => "ApiUnreachable",
            Self::Unreachable { .. } => "WebhookUnreachable",
        }
    }

    /// Whether the server answered with this code.
    pub(crate) fn is(&self, wanted: u16) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == wanted)
    }
}
