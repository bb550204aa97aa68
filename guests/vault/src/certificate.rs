//! The certificate of the injector: a Secret that somebody else makes, of which the module reads the CA only.

use k8s_openapi::{
    ByteString,
    api::{admissionregistration::v1::MutatingWebhookConfiguration, core::v1::Secret},
};
use operator_guest::{ObjectQuery, ObjectRef, Query, Snapshot};
use scone_api::{observe::or_default, problem::Problem, vault::Vault};
use serde::Deserialize;
use serde_json::Value;

use crate::{injector, objects::Site};

/// The id of the query.
pub(crate) const QUERY: &str = "injector-certificate";
/// All that is read of the Secret: never the private key beside it.
pub(crate) const FIELDS: [&str; 1] = [r"data.ca\.crt"];
/// The most characters of a CA in base64. Every API server keeps it, and reads it for every pod.
const LONGEST: usize = 64 * 1024;
/// What a private key says of itself.
const PRIVATE: &[u8] = b"PRIVATE KEY";
/// Where a webhook configuration has its CA.
const BUNDLE: &str = "/webhooks/0/clientConfig/caBundle";

/// What is known of the certificate.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Certificate {
    /// Not known, or not asked for.
    Unknown,
    /// The Secret or its `ca.crt` is not there.
    Missing,
    /// Its `ca.crt` cannot be used: why. Never the value itself, since anything may have been written there.
    Unusable(&'static str),
    /// The CA.
    Known(ByteString),
}

/// The Secret, as far as it is read.
#[derive(Deserialize)]
pub(crate) struct Found {
    #[serde(default, deserialize_with = "or_default")]
    data: Data,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Data {
    #[serde(rename = "ca.crt", deserialize_with = "or_default")]
    authority: String,
}

/// The name of the Secret.
pub(crate) fn secret(site: &Site<'_>) -> String {
    format!("{}-agent-injector-certs", site.name)
}

/// Asks for that one Secret.
pub(crate) fn query(site: &Site<'_>) -> Query {
    ObjectQuery::of::<Secret>().in_namespace(site.namespace).named(&secret(site)).fields(FIELDS).ask(QUERY)
}

/// The CA of a webhook configuration.
pub(crate) fn bundle(webhooks: &Value) -> Option<&str> {
    webhooks.pointer(BUNDLE).and_then(Value::as_str).filter(|bundle| !bundle.is_empty())
}

/// Without the error, which may name what it has read.
fn decoded(base64: String) -> Option<ByteString> {
    serde_json::from_value(Value::String(base64)).ok()
}

impl Certificate {
    /// From the Secrets that were found; none while that is not known.
    pub(crate) fn of(found: Option<Vec<Found>>) -> Self {
        let Some(found) = found else { return Self::Unknown };
        let authority = found.into_iter().next().map(|secret| secret.data.authority).unwrap_or_default();
        if authority.is_empty() {
            return Self::Missing;
        }
        if authority.len() > LONGEST {
            return Self::Unusable("longer than 64 KiB");
        }
        match decoded(authority) {
            None => Self::Unusable("not base64"),
            // Everybody may read webhook configurations.
            Some(authority) if authority.0.windows(PRIVATE.len()).any(|part| part == PRIVATE) => {
                Self::Unusable("a private key")
            }
            Some(authority) => Self::Known(authority),
        }
    }

    /// The CA that the webhook gets. While the certificate is not known, a webhook that works keeps what it has.
    pub(crate) fn authority(&self, snapshot: &Snapshot<Vault>, site: &Site<'_>) -> Option<ByteString> {
        match self {
            Self::Known(authority) => Some(authority.clone()),
            Self::Missing | Self::Unusable(_) => None,
            Self::Unknown => {
                let identity = ObjectRef::named::<MutatingWebhookConfiguration>(&injector::webhook_name(site));
                let there = snapshot.observed().iter().find(|child| child.identity == identity)?;
                let there: Value = serde_json::from_slice(&there.document).ok()?;
                decoded(bundle(&there)?.to_owned())
            }
        }
    }

    /// What is wrong with it, and the way out.
    pub(crate) fn problem(&self, site: &Site<'_>) -> Option<Problem> {
        let (reason, what) = match self {
            Self::Unknown | Self::Known(_) => return None,
            Self::Missing => ("CertificateMissing", "is missing, or has no ca.crt".to_owned()),
            Self::Unusable(why) => ("CertificateUnusable", format!("has a ca.crt that is {why}")),
        };
        let message = format!(
            "Secret {} in namespace {} {what}; it must hold tls.crt and tls.key for the DNS name {}, and ca.crt, which \
             signed them: make it with a Certificate of cert-manager or with openssl, as the README of module vault shows",
            secret(site),
            site.namespace,
            injector::dns_name(site)
        );
        Some(Problem::new(reason, message))
    }
}
