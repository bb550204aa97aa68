//! The credentials: read where they are, judged, and merged. Nothing of what they hold is ever told.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use operator_guest::{ObjectQuery, Query, QueryFailure, Snapshot};
use scone_api::{
    imagepullsecret::{ImagePullSecret, SecretReference},
    observe::{or_default, unix_seconds},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::expiry::{self, VALID_UNTIL};

/// The type of Secrets that kubelet pulls images with, and their key.
pub(crate) const TYPE: &str = "kubernetes.io/dockerconfigjson";
pub(crate) const KEY: &str = ".dockerconfigjson";

/// The most that one Secret may hold, as the API server counts, less some room for names.
const LARGEST: usize = 700 * 1024;

/// The fields of Secrets that the manifest asks to be granted.
pub(crate) const FIELDS: [&str; 6] = [
    "data",
    "metadata.annotations",
    "metadata.deletionTimestamp",
    "metadata.labels",
    "metadata.ownerReferences",
    "type",
];
/// Of these, those of sources.
const OF_SOURCE: [&str; 4] = ["data", "metadata.annotations", "metadata.ownerReferences", "type"];

/// All sources together.
#[derive(Default)]
pub(crate) struct Sources {
    /// How each of them is, in a word.
    pub(crate) words: BTreeMap<String, String>,
    /// What is wrong with some of them, and the fix.
    pub(crate) problems: Vec<String>,
    /// Whether some are not known yet.
    pub(crate) pending: bool,
    /// All of them in one; none unless all are fine.
    pub(crate) merged: Option<Merged>,
}

/// What is distributed.
pub(crate) struct Merged {
    /// The configuration, as it stands in `data`.
    pub(crate) data: String,
    /// Until when it is valid, in Unix seconds, if that is told.
    pub(crate) until: Option<i64>,
}

/// One source.
enum Source {
    Pending,
    Fine { auths: BTreeMap<String, Value>, until: Option<i64> },
    Bad { word: &'static str, problem: String },
}

#[derive(Deserialize)]
struct SourceSecret {
    metadata: SourceMeta,
    #[serde(rename = "type", default, deserialize_with = "or_default")]
    type_: String,
    #[serde(default, deserialize_with = "or_default")]
    data: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SourceMeta {
    #[serde(default, deserialize_with = "or_default")]
    annotations: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_default")]
    owner_references: Vec<Owner>,
}

#[derive(Deserialize)]
struct Owner {
    #[serde(default)]
    uid: String,
}

/// The part of a Docker configuration that kubelet reads.
#[derive(Default, Deserialize, Serialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Value>,
}

/// The namespace of a source whose defaults are filled in.
pub(crate) fn namespace(reference: &SecretReference) -> &str {
    reference.namespace.as_deref().unwrap_or_default()
}

fn id(at: usize) -> String {
    format!("credential-{at}")
}

/// One query for each source.
pub(crate) fn queries(parent: &ImagePullSecret) -> Vec<Query> {
    let credentials = parent.spec.registry.credentials.iter().enumerate();
    let query = |(at, source): (usize, &SecretReference)| {
        ObjectQuery::of::<Secret>().in_namespace(namespace(source)).named(&source.name).fields(OF_SOURCE).ask(&id(at))
    };
    credentials.map(query).collect()
}

/// Reads and merges all sources.
pub(crate) fn read(snapshot: &Snapshot<ImagePullSecret>, parent: &ImagePullSecret, now: i64) -> Sources {
    let mut sources = Sources::default();
    let mut merged = DockerConfig::default();
    let mut earliest: Option<i64> = None;
    for (at, reference) in parent.spec.registry.credentials.iter().enumerate() {
        let name = format!("{}/{}", namespace(reference), reference.name);
        let word = match one(snapshot.objects(&id(at)), &name, &parent.uid().unwrap_or_default(), now) {
            Source::Pending => {
                sources.pending = true;
                "Unknown"
            }
            Source::Bad { word, problem } => {
                sources.problems.push(problem);
                word
            }
            Source::Fine { auths, until } => {
                merged.auths.extend(auths);
                earliest = earliest.into_iter().chain(until).min();
                "Available"
            }
        };
        sources.words.insert(name, word.to_owned());
    }
    if sources.problems.is_empty() && !sources.pending {
        match write(&merged) {
            Ok(data) => sources.merged = Some(Merged { data, until: earliest }),
            Err(problem) => sources.problems.push(problem),
        }
    }
    sources
}

fn write(merged: &DockerConfig) -> Result<String, String> {
    // Maps of JSON with text keys can always be written.
    let bytes = serde_json::to_vec(merged).unwrap_or_default();
    if bytes.len() <= LARGEST {
        return Ok(expiry::encode(bytes));
    }
    Err(format!(
        "all credentials together have {} KiB, and a Secret takes {}; name fewer in spec.registry.credentials",
        bytes.len() / 1024,
        LARGEST / 1024
    ))
}

fn one(answer: Option<Result<Vec<SourceSecret>, QueryFailure>>, name: &str, own: &str, now: i64) -> Source {
    let bad = |word, problem: String| Source::Bad { word, problem: format!("Secret {name} {problem}") };
    let secret = match answer {
        None => return Source::Pending,
        // The text of any other failure may quote the Secret.
        Some(Err(failure @ (QueryFailure::Denied(_) | QueryFailure::NotFound(_)))) => {
            return bad("Unreadable", format!("cannot be read ({failure}); let the operator read it"));
        }
        Some(Err(_)) => return bad("Unreadable", "cannot be read; see the log of the operator".to_owned()),
        Some(Ok(found)) => found.into_iter().next(),
    };
    let Some(secret) = secret else {
        let fix = format!("does not exist; make it: kubectl create secret docker-registry --help, type {TYPE}");
        return bad("Missing", fix);
    };
    if !own.is_empty() && secret.metadata.owner_references.iter().any(|owner| owner.uid == own) {
        let fix = "is a copy that this ImagePullSecret has made; name its source in spec.registry.credentials";
        return bad("OwnCopy", fix.to_owned());
    }
    if secret.type_ != TYPE {
        return bad("WrongType", format!("has type {:?}; make it again with type {TYPE}", secret.type_));
    }
    let auths = match auths(&secret) {
        Ok(auths) => auths,
        Err(problem) => return bad("Broken", problem),
    };
    let until = until(&secret, &auths);
    if until.is_some_and(|until| until <= now) {
        return bad("Expired", "has expired credentials; renew them".to_owned());
    }
    Source::Fine { auths, until }
}

/// The credentials by registry. Never with the parser's own words: they quote what they stumble over.
fn auths(secret: &SourceSecret) -> Result<BTreeMap<String, Value>, String> {
    let fix = "make it again: kubectl create secret docker-registry --help";
    let value = secret.data.get(KEY).ok_or_else(|| format!("has no key {KEY}; {fix}"))?;
    let bytes = expiry::decoded(value).ok_or_else(|| format!("has a {KEY} that is no base64; {fix}"))?;
    let config: DockerConfig = serde_json::from_slice(&bytes).map_err(|error| {
        format!("has a {KEY} that is no Docker configuration (line {}, column {}); {fix}", error.line(), error.column())
    })?;
    if config.auths.is_empty() || !config.auths.values().all(Value::is_object) {
        return Err(format!("has a {KEY} without credentials in auths; {fix}"));
    }
    Ok(config.auths)
}

fn until(secret: &SourceSecret, auths: &BTreeMap<String, Value>) -> Option<i64> {
    let told = secret.metadata.annotations.get(VALID_UNTIL).and_then(|time| unix_seconds(time));
    auths.values().filter_map(expiry::of_entry).chain(told).min()
}
