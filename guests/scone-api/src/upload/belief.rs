//! Which server to believe. The published kinds do not say; an annotation does.

use std::{collections::BTreeMap, hash::Hasher};

use fnv::FnvHasher;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::ObjectMeta;
use operator_guest::{Cause, Child, Failure, HttpRequest, Parent, Query, SecretKey, Snapshot, Strategy, Trust};
use serde::Deserialize;

use super::{Place, VERSION, address, reply, reply::Failed};
use crate::{observe::or_default, policy::PolicyState, problem::Problem, syntax::is_dns_name};

/// The annotation.
pub const TRUST: &str = "cas.scone.cloud/trust";
/// Its value for believing whatever server is met first.
pub const FIRST_USE: &str = "first-use";
/// The key in the `ConfigMap` that holds what was met.
const PIN: &str = "sha256";

/// What the annotation says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Belief {
    /// Certificates of public authorities.
    System,
    /// A certificate, or what one is signed by, from a Secret.
    Secret(SecretKey),
    /// This very certificate.
    Pinned(String),
    /// The certificate that is met first, from then on.
    FirstUse,
}

/// Reads the annotation.
pub(super) fn belief(annotations: &BTreeMap<String, String>) -> Result<Belief, Cause> {
    let field = || format!("metadata.annotations[{TRUST}]");
    let Some(text) = annotations.get(TRUST).map(|text| text.trim()) else { return Ok(Belief::System) };
    if let Some(hex) = text.strip_prefix("sha256:") {
        let hex = hex.replace(':', "").to_lowercase();
        if is_pin(&hex) {
            return Ok(Belief::Pinned(hex));
        }
        let message = "must be sha256: and the 64 hexadecimal digits of the SHA-256 of the certificate in DER";
        return Err(Cause::invalid(field(), message));
    }
    if let Some(place) = text.strip_prefix("secret:") {
        return match place.split_once('/') {
            Some((name, key)) if is_dns_name(name) && is_key(key) => {
                Ok(Belief::Secret(SecretKey { name: name.to_owned(), key: key.to_owned() }))
            }
            _ => Err(Cause::invalid(field(), "must be secret:<name>/<key>, such as secret:cas-ca/ca.crt")),
        };
    }
    match text {
        "system" => Ok(Belief::System),
        FIRST_USE => Ok(Belief::FirstUse),
        _ => Err(Cause::not_supported(field(), "is none of system, secret:<name>/<key>, sha256:<hex>, first-use")),
    }
}

fn is_pin(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn is_key(key: &str) -> bool {
    !key.is_empty()
        && key.len() <= 253
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// The server to ask.
pub(super) struct Server {
    pub(super) trust: Trust,
    /// The reason of `CASTrusted` while it answers.
    pub(super) how: &'static str,
    /// The certificate that was met first and is kept.
    pub(super) pin: Option<String>,
}

impl Server {
    /// Tells questions of one resource apart: where they go, and who may answer them.
    ///
    /// No cryptographic hash, which took a twentieth of a look at a policy: two that are alike are written by the same hand, and the
    /// operator takes another question under the same id for a new one.
    pub(super) fn mark(&self, url: &str) -> String {
        let trust = match &self.trust {
            Trust::System => ["system", "", ""],
            Trust::Ca(SecretKey { name, key }) => ["secret", name, key],
            Trust::Pinned(hex) => ["sha256", hex, ""],
        };
        let mut hash = FnvHasher::default();
        for part in std::iter::once(url).chain(trust) {
            // No text has such a byte, so it tells where one ends.
            hash.write(part.as_bytes());
            hash.write_u8(0xff);
        }
        hex::encode(hash.finish().to_be_bytes())
    }
}

/// Whom to believe, or what is missing for that.
pub(super) enum Found {
    Server(Server),
    /// The server has not been met yet.
    Looking {
        query: Box<Query>,
        pin: Option<String>,
        failed: Option<Failed>,
    },
    /// Nobody can be asked like this.
    Unusable {
        problem: Problem,
        pin: Option<String>,
    },
}

impl Found {
    /// The certificate that was met first. It is kept whatever else is wrong: otherwise a mistake would make room for another.
    pub(super) fn pin(&self) -> Option<&str> {
        match self {
            Self::Server(server) => server.pin.as_deref(),
            Self::Looking { pin, .. } | Self::Unusable { pin, .. } => pin.as_deref(),
        }
    }

    /// Why nobody can be asked.
    pub(super) fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Unusable { problem, .. } => Some(problem),
            Self::Server(_) | Self::Looking { .. } => None,
        }
    }
}

/// Whom to believe.
pub(super) fn find<P: Parent>(snapshot: &Snapshot<P>, place: &Place<'_>) -> Result<Found, Failure> {
    let server = |trust, how| Found::Server(Server { trust, how, pin: None });
    Ok(match belief(place.annotations) {
        Err(cause) => {
            let problem = Problem::new("AnnotationInvalid", format!("{} {}", cause.field, cause.message));
            Found::Unusable { problem, pin: there(snapshot, place)? }
        }
        Ok(Belief::System) => server(Trust::System, "PublicRoot"),
        Ok(Belief::Secret(key)) => server(Trust::Ca(key), "SecretCertificate"),
        Ok(Belief::Pinned(hex)) => server(Trust::Pinned(hex), "Pinned"),
        Ok(Belief::FirstUse) => first_use(snapshot, place)?,
    })
}

/// The name of the `ConfigMap` that keeps the certificate met first.
pub(super) fn pin_name(resource: &str, name: &str) -> String {
    format!("{resource}-{name}-cas")
}

#[derive(Deserialize)]
struct ObservedPin {
    #[serde(default, deserialize_with = "or_default")]
    data: BTreeMap<String, String>,
}

/// What the `ConfigMap` holds, if there is one.
fn there<P: Parent>(snapshot: &Snapshot<P>, place: &Place<'_>) -> Result<Option<String>, Failure> {
    let name = pin_name(&place.resource(), place.name);
    let there = snapshot.child_in_as::<ConfigMap, ObservedPin>(place.namespace, &name)?;
    Ok(there.map(|there| there.data.get(PIN).cloned().unwrap_or_default()))
}

fn first_use<P: Parent>(snapshot: &Snapshot<P>, place: &Place<'_>) -> Result<Found, Failure> {
    if let Some(hex) = there(snapshot, place)? {
        if is_pin(&hex) {
            return Ok(Found::Server(Server { trust: Trust::Pinned(hex.clone()), how: "FirstUse", pin: Some(hex) }));
        }
        let name = pin_name(&place.resource(), place.name);
        let message = format!(
            "ConfigMap {name} holds no SHA-256 under {PIN}; delete it, and the certificate that CAS shows then is kept"
        );
        return Ok(Found::Unusable { problem: Problem::new("AnnotationInvalid", message), pin: Some(hex) });
    }
    let url = address::url(place.cas, VERSION);
    let server = Server { trust: Trust::System, how: "PublicRoot", pin: None };
    let query = HttpRequest::get(&url).ask(&format!("first-use-{}", server.mark(&url))).every(super::UNSETTLED);
    let met = reply::certificate(snapshot, &query.id);
    let failed = if met.is_some() { None } else { reply::not_met(snapshot, &query.id, place, &server) };
    Ok(Found::Looking { query: Box::new(query), pin: met, failed })
}

/// What keeps the certificate that was met first. It belongs to whoever may delete it, and is not touched again. Not `CreateOnce`: one
/// that somebody else put there would then be left alone without a word, never be seen, and no certificate would ever be kept.
pub(super) fn kept(place: &Place<'_>, hex: &str) -> Child {
    let pin = ConfigMap {
        metadata: ObjectMeta {
            name: Some(pin_name(&place.resource(), place.name)),
            namespace: Some(place.namespace.to_owned()),
            ..ObjectMeta::default()
        },
        data: Some([(PIN.to_owned(), hex.to_owned()), ("casAddress".to_owned(), place.cas.to_owned())].into()),
        ..ConfigMap::default()
    };
    Child::of(&pin).strategy(Strategy::OnDelete)
}

/// The server showed this certificate, and it is not the one to believe.
pub(super) fn not_believed(seen: &str, why: &str, place: &Place<'_>, server: &Server) -> Failed {
    let (Place { cas, name, namespace, .. }, resource) = (place, place.resource());
    let annotate = format!("kubectl -n {namespace} annotate --overwrite {resource} {name} {TRUST}");
    let problem = match &server.trust {
        Trust::Pinned(wanted) => {
            let fix = if server.how == "FirstUse" {
                format!("kubectl -n {namespace} delete configmap {}", pin_name(&resource, name))
            } else {
                format!("{annotate}=sha256:{seen}")
            };
            let message = format!(
                "{cas} shows a certificate with SHA-256 {seen}, and {wanted} is to be believed; if CAS got a new one, say so: {fix}"
            );
            Problem::new("CertificateChanged", message)
        }
        Trust::System | Trust::Ca(_) => {
            let whom = if server.trust == Trust::System { "no public authority" } else { "nothing in the Secret" };
            let message = format!(
                "{cas} shows a certificate with SHA-256 {seen} that {whom} vouches for ({why}); compare it with the one of your \
                 CAS (openssl x509 -noout -fingerprint -sha256), then pin it: {annotate}=sha256:{seen}"
            );
            Problem::new("CertificateNotTrusted", message)
        }
    };
    Failed { state: PolicyState::Untrusted, problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Belief, Cause> {
        belief(&[(TRUST.to_owned(), text.to_owned())].into())
    }

    #[test]
    fn nothing_said_means_public_authorities() {
        assert_eq!(belief(&BTreeMap::new()), Ok(Belief::System));
        assert_eq!(read("system"), Ok(Belief::System));
    }

    #[test]
    fn a_pin_is_read_as_openssl_prints_it() {
        let plain = "0a".repeat(32);
        let colons = vec!["0A"; 32].join(":");
        assert_eq!(read(&format!("sha256:{colons}")), Ok(Belief::Pinned(plain.clone())));
        assert_eq!(read(&format!("sha256:{plain}")), Ok(Belief::Pinned(plain)));
        assert!(read("sha256:0a").is_err() && read(&format!("sha256:{}", "xy".repeat(32))).is_err());
    }

    #[test]
    fn a_secret_has_a_name_and_a_key() {
        let key = SecretKey { name: "cas-ca".to_owned(), key: "ca.crt".to_owned() };
        assert_eq!(read("secret:cas-ca/ca.crt"), Ok(Belief::Secret(key)));
        for bad in ["secret:cas-ca", "secret:/x", "secret:A/x", "secret:a/", "secret:a/b/c"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn another_word_is_refused_by_the_name_of_the_annotation() {
        assert_eq!(read("always").unwrap_err().field, "metadata.annotations[cas.scone.cloud/trust]");
        assert_eq!(read(" first-use "), Ok(Belief::FirstUse));
    }
}
