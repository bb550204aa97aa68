//! What a native twin answers, as the host's records: so that it can be compared with what the sandbox answers.

use operator_core as core;
use operator_guest::{self as guest, wire};

/// An answer to `reconcile`.
pub(super) fn desired(desired: wire::Desired) -> core::Desired {
    core::Desired {
        children: desired.children.into_iter().map(child).collect(),
        partials: desired.partials.into_iter().map(partial).collect(),
        status: desired.status.map(core::Document::new),
        conditions: desired.conditions.into_iter().map(condition).collect(),
        events: desired.events.into_iter().map(event).collect(),
        samples: desired.samples.into_iter().map(sample).collect(),
        queries: desired.queries.into_iter().map(query).collect(),
        actions: desired.actions.into_iter().map(action).collect(),
        requeue: desired.requeue,
        finalized: desired.finalized,
    }
}

/// An answer to `admit`.
pub(super) fn verdict(verdict: wire::Verdict) -> core::Verdict {
    let denial = |denial: wire::Denial| core::Denial {
        code: denial.code,
        reason: denial.reason,
        message: denial.message,
        causes: denial.causes.into_iter().map(cause).collect(),
    };
    core::Verdict {
        denied: verdict.denied.map(denial),
        object: verdict.object.map(core::Document::new),
        before: verdict.before.map(core::Document::new),
        warnings: verdict.warnings,
        audit: verdict.audit,
    }
}

fn object_ref(guest::ObjectRef { api_version, kind, namespace, name }: guest::ObjectRef) -> core::ObjectRef {
    core::ObjectRef { api_version, kind, namespace, name }
}

fn cause(guest::Cause { field, reason, message }: guest::Cause) -> core::Cause {
    core::Cause { field, reason, message }
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
    let (identity, document) = (object_ref(child.identity), core::Document::new(child.document));
    core::Child { identity, document, strategy, stage: child.stage, readiness }
}

fn partial(partial: guest::Partial) -> core::Partial {
    core::Partial { identity: object_ref(partial.identity), document: core::Document::new(partial.document) }
}

fn condition(guest::Condition { type_, status, reason, message }: guest::Condition) -> core::Condition {
    let status = match status {
        guest::ConditionStatus::True => core::ConditionStatus::True,
        guest::ConditionStatus::False => core::ConditionStatus::False,
        guest::ConditionStatus::Unknown => core::ConditionStatus::Unknown,
    };
    core::Condition { type_, status, reason, message }
}

fn event(guest::Event { type_, reason, action, message, regarding }: guest::Event) -> core::Event {
    let type_ = match type_ {
        guest::EventType::Normal => core::EventType::Normal,
        guest::EventType::Warning => core::EventType::Warning,
    };
    core::Event { type_, reason, action, message, regarding: regarding.map(object_ref) }
}

fn sample(guest::Sample { name, labels, value }: guest::Sample) -> core::Sample {
    core::Sample { name, labels, value }
}

fn action(action: guest::Action) -> core::Action {
    let deed = match action.deed {
        guest::Deed::Delete(guest::Deletion { identity, uid }) => {
            core::Deed::Delete { identity: object_ref(identity), uid }
        }
        guest::Deed::Http(request) => core::Deed::Http(http(request)),
    };
    core::Action { id: action.id, deed, timeout: action.timeout }
}

fn query(query: guest::Query) -> core::Query {
    let guest::Query { id, question, interval, timeout, extensions } = query;
    core::Query { id, question: asked(question), interval, timeout, extensions }
}

fn asked(question: guest::Question) -> core::Question {
    match question {
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
    }
}

fn http(request: guest::HttpRequest) -> core::HttpRequest {
    let key = |guest::SecretKey { name, key }: guest::SecretKey| core::SecretKey { name, key };
    let header = |value: guest::HeaderValue| match value {
        guest::HeaderValue::Plain(text) => core::HeaderValue::Plain(text),
        guest::HeaderValue::Secret(secret) => core::HeaderValue::Secret(key(secret)),
    };
    let trust = match request.trust {
        guest::Trust::System => core::Trust::System,
        guest::Trust::Ca(secret) => core::Trust::Ca(key(secret)),
        guest::Trust::Pinned(digest) => core::Trust::Pinned(digest),
    };
    let headers = request.headers.into_iter().map(|(name, value)| (name, header(value))).collect();
    core::HttpRequest { method: request.method, url: request.url, headers, body: request.body, trust }
}
