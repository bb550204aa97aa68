//! Errors as the server words them: a Kubernetes `Status`.

use operator_core::ObjectRef;
use serde_json::{Value, json};

use super::{Refused, apply::Conflict, validate::Cause};

pub(crate) fn refused(code: u16, reason: &str, message: String) -> Refused {
    Refused { code, reason: reason.to_owned(), message, causes: Vec::new() }
}

pub(crate) fn not_found(identity: &ObjectRef) -> Refused {
    refused(404, "NotFound", format!("{identity} not found"))
}

/// Somebody else wrote in between.
pub(crate) fn modified(identity: &ObjectRef) -> Refused {
    refused(409, "Conflict", format!("{identity} has been modified; read it again"))
}

/// The refusal of an object that is no valid one.
pub(crate) fn invalid(identity: &ObjectRef, causes: Vec<Cause>) -> Refused {
    let listed: Vec<String> = causes.iter().map(|(field, _, message)| format!("{field}: {message}")).collect();
    let message = format!("{} {:?} is invalid: {}", identity.kind, identity.name, listed.join("; "));
    Refused { code: 422, reason: "Invalid".into(), message, causes }
}

pub(crate) fn conflict(conflicts: &[Conflict]) -> Refused {
    let cause =
        |c: &Conflict| (c.field.clone(), "FieldManagerConflict".to_owned(), format!("conflict with {:?}", c.manager));
    let listed: Vec<String> = conflicts.iter().map(|c| format!("conflict with {:?}: {}", c.manager, c.field)).collect();
    let message = format!("Apply failed with {} conflicts: {}", conflicts.len(), listed.join("; "));
    Refused { code: 409, reason: "Conflict".into(), message, causes: conflicts.iter().map(cause).collect() }
}

pub(crate) fn status_of(refused: &Refused) -> Value {
    let causes: Vec<Value> = refused
        .causes
        .iter()
        .map(|(field, reason, message)| json!({"field": field, "reason": reason, "message": message}))
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "code": refused.code,
        "reason": refused.reason, "message": refused.message, "details": {"causes": causes},
    })
}
