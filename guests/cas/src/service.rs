//! What CAS itself says: its version, whether it is provisioned, whether it can be attested, and its DCAP report.
//!
//! The certificate of CAS is its own, so no root vouches for it. Each answer tells which certificate was seen, and the next
//! question insists on that one: trust on each use. Whoever controls the network could answer in the place of CAS; all that is
//! learned is shown and nothing more, no secret is sent, and attestation, which says whether CAS is genuine, runs in its pod.

use operator_guest::{
    Answer, CommandQuery, CommandResult, HttpRequest, HttpResponse, Query, QueryFailure, Snapshot, Trust,
};
use scone_api::cas::{Attestable, CAS, CASSpec, CASStatus, Provisioned};
use sha2::{Digest, Sha256};

use crate::{
    cli, spec,
    workload::{self, Site},
};

/// Query ids.
pub(crate) const CERTIFICATE: &str = "certificate";
pub(crate) const VERSION: &str = "version";
pub(crate) const PROVISIONED: &str = "provisioned";
pub(crate) const ATTEST: &str = "attest";
pub(crate) const REPORT: &str = "dcap-report";

/// What the host adds to the answer of every HTTPS question.
const SEEN: &str = "operator/server-certificate-sha256";
/// The path of the policy that marks a provisioned CAS (published), readable by anyone.
const MARKER: &str = "/v1/values/session=provisioned";
/// A report of more bytes is none: the status of a resource is no place for it.
const REPORT_LIMIT: usize = 32 * 1024;
/// The condition that remembers which start of CAS the report in the status is of.
pub(crate) const REPORTED: &str = "DCAPReported";

/// What CAS has said.
pub(crate) struct Said {
    pub(crate) version: String,
    pub(crate) provisioned: Provisioned,
    pub(crate) attestable: Attestable,
    /// Whether attestation was tried since CAS is ready.
    pub(crate) is_attestation_known: bool,
    /// How attestation failed.
    pub(crate) failure: Option<String>,
    pub(crate) nonce: String,
    pub(crate) report: Option<String>,
    /// The start of CAS that the report is of.
    pub(crate) reported: Option<String>,
    /// Why there is no report.
    pub(crate) unreported: Option<String>,
}

/// Whom to ask: the pod that is ready, by the start of its container.
pub(crate) struct Asked<'a> {
    pub(crate) snapshot: &'a Snapshot<CAS>,
    pub(crate) spec: &'a CASSpec,
    /// When CAS started, if it is ready.
    pub(crate) started: Option<&'a str>,
}

impl Asked<'_> {
    /// What CAS has said so far. While it is not ready it is asked nothing, and what it said stays.
    pub(crate) fn said(&self) -> Said {
        let earlier = self.earlier();
        let attested = self.command(ATTEST);
        let (attestable, failure) = match &attested {
            None => (earlier.map_or(Attestable::Failure, |status| kept(status.attestable)), None),
            Some(Ok(result)) if result.code == 0 => (Attestable::Yes, None),
            Some(Ok(result)) => (Attestable::Failure, Some(format!("it ended with exit code {}", result.code))),
            Some(Err(failure)) => (Attestable::Failure, Some(failure.to_string())),
        };
        let marker = self.http(PROVISIONED);
        let provisioned = match &marker {
            None => earlier.map_or(Provisioned::Unknown, |status| status.provisioned),
            Some(Ok(response)) if response.status == 200 => Provisioned::Yes,
            // Published: No means that it can be attested and is not provisioned.
            Some(Ok(response)) if response.status == 404 && attestable == Attestable::Yes => Provisioned::No,
            Some(_) => Provisioned::Unknown,
        };
        let nonce = self.nonce();
        let (report, reported, unreported) = self.report(&nonce);
        Said {
            version: self.version(),
            provisioned,
            attestable,
            is_attestation_known: attested.is_some(),
            failure,
            nonce,
            report,
            reported,
            unreported,
        }
    }

    /// What to ask it next.
    pub(crate) fn questions(&self, site: &Site<'_>) -> Vec<Query> {
        if self.started.is_none() {
            return Vec::new();
        }
        let base = format!("https://{}:{}", site.host(), spec::client_port(self.spec));
        let version = HttpRequest::get(&format!("{base}/v1/version"));
        let mut questions = vec![version.clone().ask(CERTIFICATE), run(site, cli::ATTEST).ask(ATTEST).within(60)];
        if let Some(seen) = self.snapshot.answer(CERTIFICATE).and_then(certificate) {
            let pinned = |request: HttpRequest| request.trust(Trust::Pinned(seen.clone()));
            questions.push(pinned(version).ask(VERSION));
            questions.push(pinned(HttpRequest::get(&format!("{base}{MARKER}"))).ask(PROVISIONED));
        }
        let nonce = self.nonce();
        if self.kept_report(&nonce).is_none() {
            questions.push(run(site, cli::report(&nonce)).ask(REPORT).within(60));
        }
        questions
    }

    fn earlier(&self) -> Option<&CASStatus> {
        self.snapshot.parent.status.as_ref()
    }

    fn http(&self, id: &str) -> Option<Result<&HttpResponse, QueryFailure>> {
        self.started.and_then(|_| self.snapshot.http(id))
    }

    fn command(&self, id: &str) -> Option<Result<&CommandResult, QueryFailure>> {
        self.started.and_then(|_| self.snapshot.command(id))
    }

    fn version(&self) -> String {
        let told = match self.http(VERSION) {
            Some(Ok(response)) if response.status == 200 => version(&response.body),
            _ => None,
        };
        let earlier = || self.earlier().and_then(|status| status.version.clone());
        told.or_else(earlier).unwrap_or_else(|| "unknown".to_owned())
    }

    /// The nonce of the spec, or one that nobody can know before the resource exists and that stays the same: the hash of its UID.
    fn nonce(&self) -> String {
        let metadata = &self.snapshot.parent.metadata;
        self.spec.nonce.clone().unwrap_or_else(|| {
            let digest = Sha256::digest(metadata.uid.as_deref().unwrap_or_default());
            digest.first_chunk::<16>().map(hex::encode).unwrap_or_default()
        })
    }

    /// The report that the status has already, if it is of this start of CAS and this nonce. Each report is signed anew and reads
    /// differently, so it is asked for only once.
    fn kept_report(&self, nonce: &str) -> Option<String> {
        let (earlier, started) = (self.earlier()?, self.started?);
        let is_of_this_start = earlier.conditions.iter().any(|condition| {
            condition.type_ == REPORTED && condition.status == "True" && condition.message.ends_with(started)
        });
        let same_nonce = earlier.nonce.as_deref() == Some(nonce);
        earlier.dcap_report.clone().filter(|_| is_of_this_start && same_nonce)
    }

    /// The report, the start of CAS that it is of, and why there is none.
    fn report(&self, nonce: &str) -> (Option<String>, Option<String>, Option<String>) {
        let started = self.started.map(str::to_owned);
        if let Some(kept) = self.kept_report(nonce) {
            return (Some(kept), started, None);
        }
        let Some(answer) = self.command(REPORT).filter(|_| self.asked_since_start()) else {
            // Until CAS is ready again the owner may still want to look at the last one, if it is of his nonce.
            let earlier = self.earlier().filter(|status| status.nonce.as_deref() == Some(nonce));
            return (earlier.and_then(|status| status.dcap_report.clone()), None, None);
        };
        match answer {
            Ok(result) if result.code == 0 && result.stdout.len() <= REPORT_LIMIT => {
                let text = String::from_utf8_lossy(&result.stdout).trim().to_owned();
                if text.is_empty() {
                    (None, None, Some("it was empty".to_owned()))
                } else {
                    (Some(text), started, None)
                }
            }
            Ok(result) if result.code == 0 => (None, None, Some(format!("it has more than {REPORT_LIMIT} bytes"))),
            Ok(result) => (None, None, Some(format!("the command ended with exit code {}", result.code))),
            Err(failure) => (None, None, Some(failure.to_string())),
        }
    }

    /// Whether the answer about the report is not of an earlier start of CAS.
    fn asked_since_start(&self) -> bool {
        let asked = self.snapshot.answer(REPORT).and_then(|answer| answer.asked_at);
        let started = self.started.and_then(scone_api::observe::unix_seconds);
        asked.zip(started).is_none_or(|(asked, started)| asked >= started)
    }
}

fn run<A: Into<String>>(site: &Site<'_>, command: impl IntoIterator<Item = A>) -> CommandQuery {
    CommandQuery::of(site.namespace, &site.pod(), workload::CAS, command)
}

/// What 5.8 wrote, in the words of today.
fn kept(attestable: Attestable) -> Attestable {
    if attestable == Attestable::Yes { Attestable::Yes } else { Attestable::Failure }
}

/// The certificate that was seen with an answer, trusted or not: its SHA-256 in hex.
fn certificate(answer: &Answer) -> Option<String> {
    let (_, seen) = answer.extensions.iter().find(|(name, _)| name == SEEN)?;
    let is_hash = seen.len() == 64 && seen.iter().all(u8::is_ascii_hexdigit);
    String::from_utf8(seen.clone()).ok().filter(|_| is_hash)
}

/// The version in what CAS answers: a JSON object that holds it, a JSON string, or the plain text.
fn version(body: &[u8]) -> Option<String> {
    let text = match serde_json::from_slice::<serde_json::Value>(body) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(value) => value.get("version")?.as_str()?.to_owned(),
        Err(_) => String::from_utf8(body.to_vec()).ok()?,
    };
    let text = text.trim();
    let is_version = !text.is_empty() && text.len() <= 64 && text.chars().all(|c| c.is_ascii_graphic());
    is_version.then(|| text.to_owned())
}
