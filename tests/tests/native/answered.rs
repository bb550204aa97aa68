//! What a module that is built into this program answers, as the host has it: the same conversion that the engine makes.

use operator_core as core;
use operator_core::{Document, Refusal};
use operator_guest::{self as guest, wire};

use crate::told::identity_by_host as identity;

/// What should exist.
pub(crate) fn desired(desired: wire::Desired) -> core::Desired {
    core::Desired {
        children: desired.children.into_iter().map(child).collect(),
        partials: desired.partials.into_iter().map(partial).collect(),
        status: desired.status.map(Document::new),
        conditions: desired.conditions.into_iter().map(condition).collect(),
        events: desired.events.into_iter().map(event).collect(),
        samples: desired.samples.into_iter().map(sample).collect(),
        queries: desired.queries.into_iter().map(query).collect(),
        actions: desired.actions.into_iter().map(action).collect(),
        requeue: desired.requeue,
        finalized: desired.finalized,
    }
}

/// What is said to a request.
pub(crate) fn verdict(verdict: wire::Verdict) -> core::Verdict {
    let denied = verdict.denied.map(|denial| core::Denial {
        code: denial.code,
        reason: denial.reason,
        message: denial.message,
        causes: causes(denial.causes),
    });
    core::Verdict {
        denied,
        object: verdict.object.map(Document::new),
        before: verdict.before.map(Document::new),
        warnings: verdict.warnings,
        audit: verdict.audit,
    }
}

/// Why there is no answer.
pub(crate) fn refusal(failure: guest::Failure) -> Refusal {
    match failure {
        guest::Failure::InvalidObject(found) => Refusal::InvalidObject(causes(found)),
        guest::Failure::InvalidSettings(found) => Refusal::InvalidSettings(causes(found)),
        guest::Failure::Retry(text) => Refusal::Retry(text),
        guest::Failure::Unsupported(text) => Refusal::Unsupported(text),
    }
}

/// What is wrong, field by field.
pub(crate) fn causes(causes: Vec<guest::Cause>) -> Vec<core::Cause> {
    let one = |guest::Cause { field, reason, message }| core::Cause { field, reason, message };
    causes.into_iter().map(one).collect()
}

fn child(child: wire::Child) -> core::Child {
    let strategy = match child.strategy {
        guest::Strategy::Apply => core::Strategy::Apply,
        guest::Strategy::RecreateOnImmutable => core::Strategy::RecreateOnImmutable,
        guest::Strategy::CreateOnce => core::Strategy::CreateOnce,
        guest::Strategy::OnDelete => core::Strategy::OnDelete,
    };
    let readiness = match child.readiness {
        guest::Readiness::Exists => core::Readiness::Exists,
        guest::Readiness::Status => core::Readiness::Status,
        guest::Readiness::Condition => core::Readiness::Condition,
    };
    let document = Document::new(child.document);
    core::Child { identity: identity(child.identity), document, strategy, stage: child.stage, readiness }
}

fn partial(partial: guest::Partial) -> core::Partial {
    core::Partial { identity: identity(partial.identity), document: Document::new(partial.document) }
}

fn condition(condition: guest::Condition) -> core::Condition {
    let status = match condition.status {
        guest::ConditionStatus::True => core::ConditionStatus::True,
        guest::ConditionStatus::False => core::ConditionStatus::False,
        guest::ConditionStatus::Unknown => core::ConditionStatus::Unknown,
    };
    core::Condition { type_: condition.type_, status, reason: condition.reason, message: condition.message }
}

fn event(event: guest::Event) -> core::Event {
    let type_ = match event.type_ {
        guest::EventType::Normal => core::EventType::Normal,
        guest::EventType::Warning => core::EventType::Warning,
    };
    let regarding = event.regarding.map(identity);
    core::Event { type_, reason: event.reason, action: event.action, message: event.message, regarding }
}

fn sample(sample: guest::Sample) -> core::Sample {
    core::Sample { name: sample.name, labels: sample.labels, value: sample.value }
}

fn query(query: guest::Query) -> core::Query {
    let question = match query.question {
        guest::Question::Objects(guest::ObjectQuery { api_version, kind, namespace, name, labels, fields }) => {
            core::Question::Objects(core::ObjectQuery { api_version, kind, namespace, name, labels, fields })
        }
        guest::Question::PodLog(guest::PodLogQuery { namespace, pod, container, contains, limit }) => {
            core::Question::PodLog(core::PodLogQuery { namespace, pod, container, contains, limit })
        }
        guest::Question::Command(guest::CommandQuery { namespace, pod, container, command }) => {
            core::Question::Command(core::CommandQuery { namespace, pod, container, command })
        }
        guest::Question::Http(request) => core::Question::Http(http(request)),
    };
    let (interval, timeout) = (query.interval, query.timeout);
    core::Query { id: query.id, question, interval, timeout, extensions: query.extensions }
}

fn action(action: guest::Action) -> core::Action {
    let deed = match action.deed {
        guest::Deed::Delete(deletion) => {
            core::Deed::Delete { identity: identity(deletion.identity), uid: deletion.uid }
        }
        guest::Deed::Http(request) => core::Deed::Http(http(request)),
    };
    core::Action { id: action.id, deed, timeout: action.timeout }
}

fn http(request: guest::HttpRequest) -> core::HttpRequest {
    let header = |value| match value {
        guest::HeaderValue::Plain(text) => core::HeaderValue::Plain(text),
        guest::HeaderValue::Secret(of) => core::HeaderValue::Secret(key(of)),
    };
    let trust = match request.trust {
        guest::Trust::System => core::Trust::System,
        guest::Trust::Ca(of) => core::Trust::Ca(key(of)),
        guest::Trust::Pinned(digest) => core::Trust::Pinned(digest),
    };
    core::HttpRequest {
        method: request.method,
        url: request.url,
        headers: request.headers.into_iter().map(|(name, value)| (name, header(value))).collect(),
        body: request.body,
        trust,
    }
}

fn key(guest::SecretKey { name, key }: guest::SecretKey) -> core::SecretKey {
    core::SecretKey { name, key }
}
