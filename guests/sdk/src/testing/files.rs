//! YAML files as the records that a host sends.

use std::collections::BTreeMap;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::Error;
use crate::{
    Answer, CommandResult, Document, Finding, HttpResponse, Module, ObjectRef, Observed, Operation, Parent, Phase,
    QueryFailure, User, decode::decode, wire,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SnapshotFile {
    parent: Value,
    #[serde(default)]
    children: Vec<Value>,
    #[serde(default)]
    answers: BTreeMap<String, Value>,
    settings: Option<Value>,
    #[serde(default)]
    finalizing: bool,
    #[serde(default)]
    api_versions: Vec<String>,
    now: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Outcome {
    Objects(Vec<Value>),
    Lines(Vec<String>),
    Command(Command),
    Http(Http),
    Deleted(bool),
    Pending(()),
    Denied(String),
    NotFound(String),
    TimedOut(()),
    Unreachable(String),
    Failed(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Command {
    code: i32,
    #[serde(default)]
    stdout: String,
    #[serde(default)]
    stderr: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Http {
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RequestFile {
    phase: Option<operator_contract::Phase>,
    operation: Option<operator_contract::Operation>,
    object: Option<Value>,
    old_object: Option<Value>,
    subresource: Option<String>,
    user: Option<UserFile>,
    #[serde(default)]
    dry_run: bool,
    settings: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserFile {
    name: String,
    #[serde(default)]
    groups: Vec<String>,
}

/// A request, and the phases in which to send it.
pub(super) struct Admission {
    pub(super) request: wire::Request,
    pub(super) phases: Vec<Phase>,
}

pub(super) fn snapshot<P: Parent>(yaml: &str) -> Result<wire::Snapshot, Error> {
    let file: SnapshotFile = read(yaml)?;
    let parent = observed("parent", file.parent)?;
    let expected = ObjectRef { namespace: None, name: String::new(), ..ObjectRef::named::<P>("") };
    if (&parent.identity.api_version, &parent.identity.kind) != (&expected.api_version, &expected.kind) {
        let why = format!(
            "is a {} of {}, the module serves {} of {}",
            parent.identity.kind, parent.identity.api_version, expected.kind, expected.api_version
        );
        return Err(Error::Shape { place: "parent".to_owned(), why });
    }
    let mut children = objects("children", file.children)?;
    children.sort_by_key(|child| key(&child.identity));
    let answers = file.answers.into_iter().map(|(id, value)| answer(id, value)).collect::<Result<_, _>>()?;
    Ok(wire::Snapshot {
        parent: parent.document,
        children,
        answers,
        settings: settings(file.settings),
        finalizing: file.finalizing,
        api_versions: file.api_versions,
        now: file.now,
        extensions: Vec::new(),
    })
}

pub(super) fn request<M: Module>(yaml: &str) -> Result<Admission, Error> {
    let mut file: RequestFile = read(yaml)?;
    let status = M::manifest().webhooks.iter().all(|rule| rule.status) || file.subresource.as_deref() == Some("status");
    for object in [&mut file.object, &mut file.old_object] {
        if let (false, Some(Value::Object(members))) = (status, object) {
            members.remove("status");
        }
    }
    let object = file.object.map(|object| observed("object", object)).transpose()?;
    let old_object = file.old_object.map(|object| observed("oldObject", object)).transpose()?;
    let Some(identity) = object.as_ref().or(old_object.as_ref()).map(|object| object.identity.clone()) else {
        return Err(Error::Shape {
            place: "object".to_owned(),
            why: "is missing; give object or oldObject".to_owned(),
        });
    };
    let operation = match (file.operation, &object, &old_object) {
        (Some(operation), ..) => spoken(operation),
        (None, Some(_), None) => Operation::Create,
        (None, Some(_), Some(_)) => Operation::Update,
        (None, None, _) => Operation::Delete,
    };
    let user = file.user.map_or_else(
        || User { name: "tester".to_owned(), groups: Vec::new() },
        |user| User { name: user.name, groups: user.groups },
    );
    let phases = match file.phase {
        Some(operator_contract::Phase::Mutate) => vec![Phase::Mutate],
        Some(operator_contract::Phase::Validate) => vec![Phase::Validate],
        None => vec![Phase::Mutate, Phase::Validate],
    };
    let request = wire::Request {
        phase: Phase::Validate,
        operation,
        identity,
        subresource: file.subresource,
        object: object.map(|object| object.document),
        old_object: old_object.map(|object| object.document),
        user,
        dry_run: file.dry_run,
        settings: settings(file.settings),
        extensions: Vec::new(),
    };
    Ok(Admission { request, phases })
}

fn spoken(operation: operator_contract::Operation) -> Operation {
    match operation {
        operator_contract::Operation::Create => Operation::Create,
        operator_contract::Operation::Update => Operation::Update,
        operator_contract::Operation::Delete => Operation::Delete,
        operator_contract::Operation::Connect => Operation::Connect,
    }
}

/// A document as a tree, to look at or to print.
pub(super) fn json<T: DeserializeOwned>(document: &[u8]) -> Result<T, Error> {
    decode(document).map_err(|cause| Error::Shape { place: cause.field, why: cause.message })
}

fn read<T: DeserializeOwned>(yaml: &str) -> Result<T, Error> {
    let tree: Value = serde_saphyr::from_str(yaml).map_err(|error| Error::Yaml(error.to_string()))?;
    json(&document(&tree))
}

fn answer(id: String, mut value: Value) -> Result<Answer, Error> {
    let place = format!("answers.{id}");
    let mut beside = |name: &str| value.as_object_mut().and_then(|answer| answer.remove(name));
    let (asked_at, extensions) = (beside("askedAt"), beside("extensions"));
    let extensions: BTreeMap<String, String> =
        json(&document(&extensions.unwrap_or_else(|| Value::Object(Map::new()))))?;
    let outcome: Outcome = json(&document(&value)).map_err(|error| match error {
        Error::Shape { place: inner, why } => Error::Shape { place: format!("{place}.{inner}"), why },
        other => other,
    })?;
    let outcome = match outcome {
        Outcome::Objects(found) => {
            let mut found = objects(&place, found)?;
            found.sort_by_key(|object| key(&object.identity));
            Ok(Finding::Objects(found))
        }
        Outcome::Lines(lines) => Ok(Finding::Lines(lines)),
        Outcome::Command(Command { code, stdout, stderr }) => {
            Ok(Finding::Command(CommandResult { code, stdout: stdout.into_bytes(), stderr: stderr.into_bytes() }))
        }
        Outcome::Http(Http { status, headers, body }) => {
            let headers = headers.into_iter().collect();
            Ok(Finding::Http(HttpResponse { status, headers, body: body.into_bytes() }))
        }
        Outcome::Deleted(existed) => Ok(Finding::Deleted(existed)),
        Outcome::Pending(()) => Err(QueryFailure::Pending),
        Outcome::TimedOut(()) => Err(QueryFailure::TimedOut),
        Outcome::Denied(text) => Err(QueryFailure::Denied(text)),
        Outcome::NotFound(text) => Err(QueryFailure::NotFound(text)),
        Outcome::Unreachable(text) => Err(QueryFailure::Unreachable(text)),
        Outcome::Failed(text) => Err(QueryFailure::Failed(text)),
    };
    Ok(Answer {
        id,
        outcome,
        asked_at: asked_at.and_then(|seconds| seconds.as_i64()),
        extensions: extensions.into_iter().map(|(name, text)| (name, text.into_bytes())).collect(),
    })
}

fn objects(place: &str, values: Vec<Value>) -> Result<Vec<Observed>, Error> {
    values.into_iter().enumerate().map(|(at, value)| observed(&format!("{place}[{at}]"), value)).collect()
}

fn observed(place: &str, value: Value) -> Result<Observed, Error> {
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let needed = |pointer: &str| {
        let why =
            || format!("is no Kubernetes object: {} is missing", pointer.trim_start_matches('/').replace('/', "."));
        text(pointer).ok_or_else(|| Error::Shape { place: place.to_owned(), why: why() })
    };
    let identity = ObjectRef {
        api_version: needed("/apiVersion")?,
        kind: needed("/kind")?,
        namespace: text("/metadata/namespace"),
        name: needed("/metadata/name")?,
    };
    Ok(Observed { identity, document: document(&value) })
}

/// The canonical order of a snapshot.
fn key(identity: &ObjectRef) -> (String, String, Option<String>, String) {
    (identity.api_version.clone(), identity.kind.clone(), identity.namespace.clone(), identity.name.clone())
}

fn settings(settings: Option<Value>) -> Document {
    settings.map_or_else(|| b"{}".to_vec(), |settings| document(&settings))
}

fn document(value: &Value) -> Document {
    // Writing a `Value` to memory cannot fail: its keys are strings.
    serde_json::to_vec(value).unwrap_or_default()
}
