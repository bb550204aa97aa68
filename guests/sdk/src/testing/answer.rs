//! What a module answered, to look at and to print.

use std::fmt;

use kube::Resource;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{Error, files};
use crate::{
    Action, Condition, ConditionStatus, Deed, Event, EventType, Failure, HeaderValue, HttpRequest, ObjectRef, Partial,
    Query, Question, Readiness, Sample, Strategy, Trust, wire,
};

/// The outcome of one reconcile. Prints as YAML, with whatever is usual left out; made for snapshot tests.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What should exist, or why there is no answer.
    pub outcome: Result<wire::Desired, Failure>,
    /// What the module logged.
    pub logs: Vec<String>,
}

impl Answer {
    /// What should exist; fails when the module gave no answer.
    pub fn desired(&self) -> Result<&wire::Desired, Error> {
        self.outcome.as_ref().map_err(|failure| Error::Failed(failure.clone()))
    }

    /// Why there is no answer.
    pub fn failure(&self) -> Option<&Failure> {
        self.outcome.as_ref().err()
    }

    /// The child of kind `K` with this name.
    pub fn child<K: Resource<DynamicType = ()> + DeserializeOwned>(&self, name: &str) -> Result<K, Error> {
        let wanted = ObjectRef::named::<K>(name);
        let same = |child: &&wire::Child| {
            let found = &child.identity;
            found.kind == wanted.kind && found.api_version == wanted.api_version && found.name == name
        };
        let found = self.desired()?.children.iter().find(same).ok_or_else(|| Error::Missing(wanted.to_string()))?;
        files::json(&found.document)
    }

    /// The status.
    pub fn status<S: DeserializeOwned>(&self) -> Result<S, Error> {
        files::json(self.desired()?.status.as_deref().ok_or_else(|| Error::Missing("status".to_owned()))?)
    }

    /// The condition of this type.
    pub fn condition(&self, type_: &str) -> Result<&Condition, Error> {
        let found = self.desired()?.conditions.iter().find(|condition| condition.type_ == type_);
        found.ok_or_else(|| Error::Missing(format!("condition {type_}")))
    }
}

/// The printed order.
#[derive(Default, Serialize)]
struct Printed {
    #[serde(skip_serializing_if = "Value::is_null")]
    failure: Value,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    children: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    partials: Vec<Value>,
    #[serde(skip_serializing_if = "Value::is_null")]
    status: Value,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    conditions: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    samples: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    queries: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actions: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requeue: Option<u32>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    finalized: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    logs: Vec<String>,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let printed = match &self.outcome {
            Err(failure) => Printed { failure: failure_text(failure), logs: self.logs.clone(), ..Printed::default() },
            Ok(desired) => Printed {
                failure: Value::Null,
                children: desired.children.iter().map(child).collect(),
                partials: desired.partials.iter().map(partial).collect(),
                status: desired.status.as_deref().map_or(Value::Null, tree),
                conditions: desired.conditions.iter().map(condition).collect(),
                events: desired.events.iter().map(event).collect(),
                samples: desired.samples.iter().map(sample).collect(),
                queries: desired.queries.iter().map(query).collect(),
                actions: desired.actions.iter().map(action).collect(),
                requeue: desired.requeue,
                finalized: desired.finalized,
                logs: self.logs.clone(),
            },
        };
        f.write_str(&serde_saphyr::to_string(&printed).map_err(|_| fmt::Error)?)
    }
}

/// A document for people: broken ones are shown as text.
pub(super) fn tree(document: &[u8]) -> Value {
    files::json(document).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(document).into_owned()))
}

fn failure_text(failure: &Failure) -> Value {
    let listed = |causes: &[crate::Cause]| -> Vec<String> {
        causes.iter().map(|cause| format!("{}: {} ({})", cause.field, cause.message, cause.reason)).collect()
    };
    match failure {
        Failure::InvalidObject(causes) => json!({ "invalidObject": listed(causes) }),
        Failure::InvalidSettings(causes) => json!({ "invalidSettings": listed(causes) }),
        Failure::Retry(text) => json!({ "retry": text }),
        Failure::Unsupported(text) => json!({ "unsupported": text }),
    }
}

fn child(child: &wire::Child) -> Value {
    let mut how = Vec::new();
    if child.stage > 0 {
        how.push(format!("stage {}", child.stage));
    }
    match child.strategy {
        Strategy::Apply => {}
        Strategy::RecreateOnImmutable => how.push("recreate on immutable".to_owned()),
        Strategy::CreateOnce => how.push("create once".to_owned()),
        Strategy::OnDelete => how.push("on delete".to_owned()),
    }
    match child.readiness {
        Readiness::Status => {}
        Readiness::Exists => how.push("ready when it exists".to_owned()),
        Readiness::Condition => how.push("ready by condition".to_owned()),
    }
    let title =
        if how.is_empty() { child.identity.to_string() } else { format!("{} ({})", child.identity, how.join(", ")) };
    json!({ title: tree(&child.document) })
}

fn partial(partial: &Partial) -> Value {
    json!({ partial.identity.to_string(): tree(&partial.document) })
}

fn condition(condition: &Condition) -> String {
    let status = match condition.status {
        ConditionStatus::True => "True",
        ConditionStatus::False => "False",
        ConditionStatus::Unknown => "Unknown",
    };
    format!("{}={status} {}: {}", condition.type_, condition.reason, condition.message)
}

fn event(event: &Event) -> String {
    let type_ = match event.type_ {
        EventType::Normal => "Normal",
        EventType::Warning => "Warning",
    };
    let regarding = event.regarding.as_ref().map(|object| format!(" [{object}]")).unwrap_or_default();
    format!("{type_} {} ({}){regarding}: {}", event.reason, event.action, event.message)
}

fn sample(sample: &Sample) -> String {
    let labels: Vec<_> = sample.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{}{{{}}} {}", sample.name, labels.join(","), sample.value)
}

fn query(query: &Query) -> Value {
    let pace = format!("every {} s, within {} s", query.interval, query.timeout);
    match &query.question {
        Question::Objects(objects) => json!({
            "id": query.id, "objects": format!("{} of {}", objects.kind, objects.api_version),
            "namespace": objects.namespace, "name": objects.name, "fields": objects.fields,
            "labels": objects.labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>(),
        }),
        Question::PodLog(log) => json!({
            "id": query.id, "podLog": format!("{}/{}/{}", log.namespace, log.pod, log.container),
            "contains": log.contains, "limit": log.limit, "pace": pace,
        }),
        Question::Command(command) => json!({
            "id": query.id, "command": command.command, "pace": pace,
            "in": format!("{}/{}/{}", command.namespace, command.pod, command.container),
        }),
        Question::Http(request) => json!({ "id": query.id, "http": http(request), "pace": pace }),
    }
}

fn action(action: &Action) -> Value {
    let pace = format!("within {} s", action.timeout);
    match &action.deed {
        Deed::Delete(deletion) => {
            json!({ "id": action.id, "delete": deletion.identity.to_string(), "uid": deletion.uid, "pace": pace })
        }
        Deed::Http(request) => json!({ "id": action.id, "http": http(request), "pace": pace }),
    }
}

fn http(request: &HttpRequest) -> Value {
    let headers = request.headers.iter().map(|(name, value)| match value {
        HeaderValue::Plain(value) => format!("{name}: {value}"),
        HeaderValue::Secret(key) => format!("{name}: from Secret {} key {}", key.name, key.key),
    });
    let trust = match &request.trust {
        Trust::System => "system".to_owned(),
        Trust::Ca(key) => format!("CA from Secret {} key {}", key.name, key.key),
        Trust::Pinned(digest) => format!("pinned {digest}"),
    };
    json!({
        "request": format!("{} {}", request.method, request.url),
        "headers": headers.collect::<Vec<_>>(),
        "body": String::from_utf8_lossy(&request.body),
        "trust": trust,
    })
}
