//! The records of `scone:operator@1`, and what they are in `operator_core`.

use operator_core::{self as core, Cause, Document, Refusal};

use super::generated::{
    exports::scone::operator::{admission, reconciliation},
    scone::operator::{logger, queries, types},
};
use crate::logger::Level;

// What modules get: borrowed from the host's values.

pub(super) fn object_ref(object: &core::ObjectRef) -> types::ObjectRefParam<'_> {
    types::ObjectRefParam {
        api_version: &object.api_version,
        kind: &object.kind,
        namespace: object.namespace.as_deref(),
        name: &object.name,
    }
}

pub(super) fn observed(object: &core::Observed) -> types::Observed<'_> {
    types::Observed { identity: object_ref(&object.identity), document: object.document.bytes() }
}

/// The lists inside one answer, which the generated types can only borrow.
#[derive(Default)]
pub(super) struct Lists<'a> {
    objects: Vec<types::Observed<'a>>,
    lines: Vec<&'a str>,
    headers: Vec<(&'a str, &'a str)>,
    extensions: Vec<(&'a str, &'a [u8])>,
}

impl<'a> Lists<'a> {
    pub(super) fn of(answer: &'a core::Answer) -> Self {
        let extensions = answer.extensions.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        let mut lists = Self { extensions, ..Self::default() };
        match &answer.outcome {
            Ok(core::Finding::Objects(objects)) => lists.objects = objects.iter().map(observed).collect(),
            Ok(core::Finding::Lines(lines)) => lists.lines = lines.iter().map(String::as_str).collect(),
            Ok(core::Finding::Http(response)) => {
                lists.headers = response.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            }
            Ok(core::Finding::Command(_) | core::Finding::Deleted(_)) | Err(_) => {}
        }
        lists
    }
}

pub(super) fn answer<'a>(answer: &'a core::Answer, lists: &'a Lists<'a>) -> queries::Answer<'a> {
    let outcome = match &answer.outcome {
        Ok(finding) => Ok(match finding {
            core::Finding::Objects(_) => queries::Finding::Objects(&lists.objects),
            core::Finding::Lines(_) => queries::Finding::Lines(&lists.lines),
            core::Finding::Command(result) => queries::Finding::Command(queries::CommandResult {
                code: result.code,
                stdout: &result.stdout,
                stderr: &result.stderr,
            }),
            core::Finding::Http(response) => queries::Finding::Http(queries::HttpResponse {
                status: response.status,
                headers: &lists.headers,
                body: &response.body,
            }),
            core::Finding::Deleted(there_was_something) => queries::Finding::Deleted(*there_was_something),
        }),
        Err(failure) => Err(match failure {
            core::QueryFailure::Pending => queries::QueryFailure::Pending,
            core::QueryFailure::Denied(text) => queries::QueryFailure::Denied(text),
            core::QueryFailure::NotFound(text) => queries::QueryFailure::NotFound(text),
            core::QueryFailure::TimedOut => queries::QueryFailure::TimedOut,
            core::QueryFailure::Unreachable(text) => queries::QueryFailure::Unreachable(text),
            core::QueryFailure::Failed(text) => queries::QueryFailure::Failed(text),
        }),
    };
    queries::Answer { id: &answer.id, outcome, asked_at: answer.asked_at, extensions: &lists.extensions }
}

pub(super) fn phase(phase: operator_contract::Phase) -> admission::Phase {
    match phase {
        operator_contract::Phase::Mutate => admission::Phase::Mutate,
        operator_contract::Phase::Validate => admission::Phase::Validate,
    }
}

pub(super) fn operation(operation: operator_contract::Operation) -> admission::Operation {
    match operation {
        operator_contract::Operation::Create => admission::Operation::Create,
        operator_contract::Operation::Update => admission::Operation::Update,
        operator_contract::Operation::Delete => admission::Operation::Delete,
        operator_contract::Operation::Connect => admission::Operation::Connect,
    }
}

// What modules answer: moved, never copied.

pub(super) fn all<T: Into<U>, U>(values: Vec<T>) -> Vec<U> {
    values.into_iter().map(Into::into).collect()
}

impl From<logger::Level> for Level {
    fn from(level: logger::Level) -> Self {
        match level {
            logger::Level::Debug => Self::Debug,
            logger::Level::Info => Self::Info,
            logger::Level::Warn => Self::Warn,
            logger::Level::Error => Self::Error,
        }
    }
}

impl From<types::ObjectRefResult> for core::ObjectRef {
    fn from(object: types::ObjectRefResult) -> Self {
        Self { api_version: object.api_version, kind: object.kind, namespace: object.namespace, name: object.name }
    }
}

impl From<types::Cause> for Cause {
    fn from(cause: types::Cause) -> Self {
        Self { field: cause.field, reason: cause.reason, message: cause.message }
    }
}

impl From<types::Failure> for Refusal {
    fn from(failure: types::Failure) -> Self {
        match failure {
            types::Failure::InvalidObject(causes) => Self::InvalidObject(all(causes)),
            types::Failure::InvalidSettings(causes) => Self::InvalidSettings(all(causes)),
            types::Failure::Retry(text) => Self::Retry(text),
            types::Failure::Unsupported(text) => Self::Unsupported(text),
        }
    }
}

impl From<types::Condition> for core::Condition {
    fn from(condition: types::Condition) -> Self {
        let status = match condition.status {
            types::ConditionStatus::True => core::ConditionStatus::True,
            types::ConditionStatus::False => core::ConditionStatus::False,
            types::ConditionStatus::Unknown => core::ConditionStatus::Unknown,
        };
        Self { type_: condition.type_, status, reason: condition.reason, message: condition.message }
    }
}

impl From<types::Event> for core::Event {
    fn from(event: types::Event) -> Self {
        let type_ = match event.type_ {
            types::EventType::Normal => core::EventType::Normal,
            types::EventType::Warning => core::EventType::Warning,
        };
        Self {
            type_,
            reason: event.reason,
            action: event.action,
            message: event.message,
            regarding: event.regarding.map(Into::into),
        }
    }
}

impl From<types::Sample> for core::Sample {
    fn from(sample: types::Sample) -> Self {
        Self { name: sample.name, labels: sample.labels, value: sample.value }
    }
}

impl From<queries::SecretKey> for core::SecretKey {
    fn from(key: queries::SecretKey) -> Self {
        Self { name: key.name, key: key.key }
    }
}

impl From<queries::HttpRequest> for core::HttpRequest {
    fn from(request: queries::HttpRequest) -> Self {
        let header = |value| match value {
            queries::HeaderValue::Plain(text) => core::HeaderValue::Plain(text),
            queries::HeaderValue::Secret(key) => core::HeaderValue::Secret(key.into()),
        };
        let trust = match request.trust {
            queries::Trust::System => core::Trust::System,
            queries::Trust::Ca(key) => core::Trust::Ca(key.into()),
            queries::Trust::Pinned(digest) => core::Trust::Pinned(digest),
        };
        Self {
            method: request.method,
            url: request.url,
            headers: request.headers.into_iter().map(|(name, value)| (name, header(value))).collect(),
            body: request.body,
            trust,
        }
    }
}

impl From<queries::Query> for core::Query {
    fn from(query: queries::Query) -> Self {
        let question = match query.question {
            queries::Question::Objects(q) => core::Question::Objects(core::ObjectQuery {
                api_version: q.api_version,
                kind: q.kind,
                namespace: q.namespace,
                name: q.name,
                labels: q.labels,
                fields: q.fields,
            }),
            queries::Question::PodLog(q) => core::Question::PodLog(core::PodLogQuery {
                namespace: q.namespace,
                pod: q.pod,
                container: q.container,
                contains: q.contains,
                limit: q.limit,
            }),
            queries::Question::Command(q) => core::Question::Command(core::CommandQuery {
                namespace: q.namespace,
                pod: q.pod,
                container: q.container,
                command: q.command,
            }),
            queries::Question::Http(request) => core::Question::Http(request.into()),
        };
        let (interval, timeout) = (query.interval, query.timeout);
        Self { id: query.id, question, interval, timeout, extensions: query.extensions }
    }
}

impl From<reconciliation::Child> for core::Child {
    fn from(child: reconciliation::Child) -> Self {
        let strategy = match child.strategy {
            reconciliation::Strategy::Apply => core::Strategy::Apply,
            reconciliation::Strategy::RecreateOnImmutable => core::Strategy::RecreateOnImmutable,
            reconciliation::Strategy::CreateOnce => core::Strategy::CreateOnce,
            reconciliation::Strategy::OnDelete => core::Strategy::OnDelete,
        };
        let readiness = match child.readiness {
            reconciliation::Readiness::Exists => core::Readiness::Exists,
            reconciliation::Readiness::Status => core::Readiness::Status,
            reconciliation::Readiness::Condition => core::Readiness::Condition,
        };
        let document = Document::new(child.document);
        Self { identity: child.identity.into(), document, strategy, stage: child.stage, readiness }
    }
}

impl From<reconciliation::Partial> for core::Partial {
    fn from(partial: reconciliation::Partial) -> Self {
        Self { identity: partial.identity.into(), document: Document::new(partial.document) }
    }
}

impl From<reconciliation::Action> for core::Action {
    fn from(action: reconciliation::Action) -> Self {
        let deed = match action.deed {
            reconciliation::Deed::Delete(deletion) => {
                core::Deed::Delete { identity: deletion.identity.into(), uid: deletion.uid }
            }
            reconciliation::Deed::Http(request) => core::Deed::Http(request.into()),
        };
        Self { id: action.id, deed, timeout: action.timeout }
    }
}

impl From<reconciliation::Desired> for core::Desired {
    fn from(desired: reconciliation::Desired) -> Self {
        Self {
            children: all(desired.children),
            partials: all(desired.partials),
            status: desired.status.map(Document::new),
            conditions: all(desired.conditions),
            events: all(desired.events),
            samples: all(desired.samples),
            queries: all(desired.queries),
            actions: all(desired.actions),
            requeue: desired.requeue,
            finalized: desired.finalized,
        }
    }
}

impl From<admission::Verdict> for core::Verdict {
    fn from(verdict: admission::Verdict) -> Self {
        let denied = verdict.denied.map(|denial| core::Denial {
            code: denial.code,
            reason: denial.reason,
            message: denial.message,
            causes: all(denial.causes),
        });
        Self {
            denied,
            object: verdict.object.map(Document::new),
            before: verdict.before.map(Document::new),
            warnings: verdict.warnings,
            audit: verdict.audit,
        }
    }
}
