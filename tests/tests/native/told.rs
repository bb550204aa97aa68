//! What a module is told: the host's records, and those of a module that is built into this program.

use operator_core as core;
use operator_core::{Document, contract};
use operator_guest::{self as guest, wire};

/// A snapshot of the host, for the module natively.
pub(crate) fn snapshot(told: &core::Snapshot) -> wire::Snapshot {
    wire::Snapshot {
        parent: bytes(&told.parent),
        children: told.children.iter().map(observed).collect(),
        answers: told.answers.iter().map(answer).collect(),
        settings: bytes(&told.settings),
        finalizing: told.finalizing,
        api_versions: told.api_versions.to_vec(),
        now: told.now,
        extensions: Vec::new(),
    }
}

/// A request of the host, for the module natively.
pub(crate) fn request(asked: &core::Request) -> wire::Request {
    wire::Request {
        phase: match asked.phase {
            contract::Phase::Mutate => guest::Phase::Mutate,
            contract::Phase::Validate => guest::Phase::Validate,
        },
        operation: match asked.operation {
            contract::Operation::Create => guest::Operation::Create,
            contract::Operation::Update => guest::Operation::Update,
            contract::Operation::Delete => guest::Operation::Delete,
            contract::Operation::Connect => guest::Operation::Connect,
        },
        identity: identity(&asked.identity),
        subresource: asked.subresource.clone(),
        object: asked.object.as_ref().map(bytes),
        old_object: asked.old_object.as_ref().map(bytes),
        user: guest::User { name: asked.user.name.clone(), groups: asked.user.groups.clone() },
        dry_run: asked.dry_run,
        settings: bytes(&asked.settings),
        extensions: Vec::new(),
    }
}

pub(crate) fn bytes(document: &Document) -> Vec<u8> {
    document.bytes().to_vec()
}

fn identity(object: &core::ObjectRef) -> guest::ObjectRef {
    let core::ObjectRef { api_version, kind, namespace, name } = object.clone();
    guest::ObjectRef { api_version, kind, namespace, name }
}

fn observed(object: &core::Observed) -> guest::Observed {
    guest::Observed { identity: identity(&object.identity), document: bytes(&object.document) }
}

fn answer(answer: &core::Answer) -> guest::Answer {
    let outcome = match answer.outcome.clone() {
        Ok(core::Finding::Objects(found)) => Ok(guest::Finding::Objects(found.iter().map(observed).collect())),
        Ok(core::Finding::Lines(lines)) => Ok(guest::Finding::Lines(lines)),
        Ok(core::Finding::Deleted(existed)) => Ok(guest::Finding::Deleted(existed)),
        Ok(core::Finding::Command(core::CommandResult { code, stdout, stderr })) => {
            Ok(guest::Finding::Command(guest::CommandResult { code, stdout, stderr }))
        }
        Ok(core::Finding::Http(core::HttpResponse { status, headers, body })) => {
            Ok(guest::Finding::Http(guest::HttpResponse { status, headers, body }))
        }
        Err(core::QueryFailure::Pending) => Err(guest::QueryFailure::Pending),
        Err(core::QueryFailure::TimedOut) => Err(guest::QueryFailure::TimedOut),
        Err(core::QueryFailure::Denied(text)) => Err(guest::QueryFailure::Denied(text)),
        Err(core::QueryFailure::NotFound(text)) => Err(guest::QueryFailure::NotFound(text)),
        Err(core::QueryFailure::Unreachable(text)) => Err(guest::QueryFailure::Unreachable(text)),
        Err(core::QueryFailure::Failed(text)) => Err(guest::QueryFailure::Failed(text)),
    };
    guest::Answer { id: answer.id.clone(), outcome, asked_at: answer.asked_at, extensions: answer.extensions.clone() }
}

/// A snapshot file as the SDK reads it, for the host.
pub(crate) fn to_host(told: wire::Snapshot) -> core::Snapshot {
    core::Snapshot {
        parent: Document::new(told.parent),
        children: told.children.into_iter().map(observed_by_host).collect(),
        answers: told.answers.into_iter().map(answer_by_host).collect(),
        settings: Document::new(told.settings),
        finalizing: told.finalizing,
        api_versions: told.api_versions.into(),
        now: told.now,
    }
}

/// A request file as the SDK reads it, for the host.
pub(crate) fn request_to_host(asked: wire::Request) -> core::Request {
    core::Request {
        phase: match asked.phase {
            guest::Phase::Mutate => contract::Phase::Mutate,
            guest::Phase::Validate => contract::Phase::Validate,
        },
        operation: match asked.operation {
            guest::Operation::Create => contract::Operation::Create,
            guest::Operation::Update => contract::Operation::Update,
            guest::Operation::Delete => contract::Operation::Delete,
            guest::Operation::Connect => contract::Operation::Connect,
        },
        identity: identity_by_host(asked.identity),
        subresource: asked.subresource,
        object: asked.object.map(Document::new),
        old_object: asked.old_object.map(Document::new),
        user: core::User { name: asked.user.name, groups: asked.user.groups },
        dry_run: asked.dry_run,
        settings: Document::new(asked.settings),
    }
}

pub(crate) fn identity_by_host(object: guest::ObjectRef) -> core::ObjectRef {
    let guest::ObjectRef { api_version, kind, namespace, name } = object;
    core::ObjectRef { api_version, kind, namespace, name }
}

fn observed_by_host(object: guest::Observed) -> core::Observed {
    core::Observed { identity: identity_by_host(object.identity), document: Document::new(object.document) }
}

fn answer_by_host(answer: guest::Answer) -> core::Answer {
    let outcome = match answer.outcome {
        Ok(guest::Finding::Objects(found)) => {
            Ok(core::Finding::Objects(found.into_iter().map(observed_by_host).collect()))
        }
        Ok(guest::Finding::Lines(lines)) => Ok(core::Finding::Lines(lines)),
        Ok(guest::Finding::Deleted(existed)) => Ok(core::Finding::Deleted(existed)),
        Ok(guest::Finding::Command(guest::CommandResult { code, stdout, stderr })) => {
            Ok(core::Finding::Command(core::CommandResult { code, stdout, stderr }))
        }
        Ok(guest::Finding::Http(guest::HttpResponse { status, headers, body })) => {
            Ok(core::Finding::Http(core::HttpResponse { status, headers, body }))
        }
        Err(guest::QueryFailure::Pending) => Err(core::QueryFailure::Pending),
        Err(guest::QueryFailure::TimedOut) => Err(core::QueryFailure::TimedOut),
        Err(guest::QueryFailure::Denied(text)) => Err(core::QueryFailure::Denied(text)),
        Err(guest::QueryFailure::NotFound(text)) => Err(core::QueryFailure::NotFound(text)),
        Err(guest::QueryFailure::Unreachable(text)) => Err(core::QueryFailure::Unreachable(text)),
        Err(guest::QueryFailure::Failed(text)) => Err(core::QueryFailure::Failed(text)),
    };
    core::Answer { id: answer.id, outcome, asked_at: answer.asked_at, extensions: answer.extensions }
}
