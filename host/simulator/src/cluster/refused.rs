//! Errors as the server words them: a Kubernetes `Status`.

use operator_core::ObjectRef;
use serde_json::{Value, json};

use super::{Refused, apply::Conflict, request::Target, validate::Cause};

pub(crate) fn refused(code: u16, reason: &str, message: String) -> Refused {
    Refused { code, reason: reason.to_owned(), message, causes: Vec::new(), about: None }
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
    Refused { causes, about: Some((identity.kind.clone(), identity.name.clone())), ..refused(422, "Invalid", message) }
}

/// The refusal of an update that does not say which version it means.
pub(crate) fn unversioned(target: &Target, identity: &ObjectRef) -> Refused {
    let field = "metadata.resourceVersion";
    let cause = (field.to_owned(), "FieldValueInvalid".to_owned(), "must be specified for an update".to_owned());
    let refused = invalid(identity, vec![cause]);
    Refused { about: Some((target.kind.plural.clone(), identity.name.clone())), ..refused }
}

/// There is one of this name already.
pub(crate) fn exists(target: &Target, identity: &ObjectRef) -> Refused {
    let about = Some((target.kind.plural.clone(), identity.name.clone()));
    Refused { about, ..refused(409, "AlreadyExists", format!("{identity} already exists")) }
}

/// The object is another one than the request means.
pub(crate) fn another(identity: &ObjectRef, field: &str) -> Refused {
    let about = Some((identity.kind.clone(), identity.name.clone()));
    Refused { about, ..refused(409, "Conflict", format!("{identity} has another {field} than the precondition")) }
}

/// There is no such namespace.
pub(crate) fn no_namespace(name: &str) -> Refused {
    let about = Some(("namespaces".to_owned(), name.to_owned()));
    Refused { about, ..refused(404, "NotFound", format!("namespaces {name:?} not found")) }
}

/// The refusal of an apply, worded as the server does: whoever reads it looks for who has the field.
pub(crate) fn conflict(conflicts: &[Conflict]) -> Refused {
    let causes: Vec<Cause> = conflicts
        .iter()
        .map(|c| (c.field.clone(), "FieldManagerConflict".to_owned(), format!("conflict with {}", c.manager)))
        .collect();
    let message = match causes.as_slice() {
        [(field, _, message)] => format!("Apply failed with 1 conflict: {message}: {field}"),
        many => {
            let listed =
                many.iter().map(|(field, _, message)| format!("\n- {message}: {field}")).collect::<Vec<_>>().concat();
            format!("Apply failed with {} conflicts:{listed}", many.len())
        }
    };
    Refused { causes, ..refused(409, "Conflict", message) }
}

/// The refusal as a document; `target` is what was asked for, when that is a resource at all.
pub(crate) fn status_of(refused: &Refused, target: Option<&Target>) -> Value {
    let mut details = json!({});
    let named = matches!(refused.reason.as_str(), "NotFound" | "AlreadyExists" | "Conflict" | "Invalid" | "Forbidden");
    let of_fields = refused.causes.iter().any(|(_, reason, _)| reason == "FieldManagerConflict");
    // A patch that does not apply is about no object in particular.
    let of_patch = refused.reason == "Invalid" && refused.about.is_none();
    if let Some(target) = target.filter(|_| named && !of_fields && !of_patch) {
        let asked = (target.kind.plural.clone(), target.name.clone().unwrap_or_default());
        let (kind, name) = refused.about.clone().unwrap_or(asked);
        let group = target.kind.group().filter(|_| kind != "namespaces");
        details = json!({"kind": kind, "name": name});
        add(&mut details, "group", group.map(Value::from));
    }
    let causes = refused.causes.iter();
    let causes: Vec<Value> =
        causes.map(|(field, reason, message)| json!({"field": field, "reason": reason, "message": message})).collect();
    add(&mut details, "causes", Some(Value::Array(causes)).filter(|_| !refused.causes.is_empty()));
    let mut status = json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "code": refused.code,
        "message": refused.message,
    });
    add(&mut status, "reason", Some(refused.reason.clone().into()).filter(|_| !refused.reason.is_empty()));
    let says_something = of_patch || details.as_object().is_some_and(|details| !details.is_empty());
    add(&mut status, "details", Some(details).filter(|_| says_something));
    status
}

fn add(object: &mut Value, key: &str, value: Option<Value>) {
    if let Some(map) = object.as_object_mut() {
        map.extend(value.map(|value| (key.to_owned(), value)));
    }
}
