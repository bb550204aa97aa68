//! JSON in, typed values out; on failure the field path, so that whoever wrote the object finds the place.

use serde::de::DeserializeOwned;

use crate::{Cause, Failure};

/// Reads a document. The ordinary path is plain `serde_json`; only a document that fails is read again to learn where.
pub(crate) fn decode<T: DeserializeOwned>(document: &[u8]) -> Result<T, Cause> {
    serde_json::from_slice(document).map_err(|error| locate::<T>(document, &error))
}

#[cold]
fn locate<T: DeserializeOwned>(document: &[u8], error: &serde_json::Error) -> Cause {
    let mut reader = serde_json::Deserializer::from_slice(document);
    match serde_path_to_error::deserialize::<_, T>(&mut reader) {
        Err(located) => {
            let path = located.path().to_string();
            let field = if path == "." { String::new() } else { path };
            named(field, without_position(&located.into_inner().to_string()))
        }
        // What fails only as a whole, such as bytes after the end.
        Ok(_) => Cause::invalid("", error.to_string()),
    }
}

/// The reason that Kubernetes uses for what serde says; a missing field is itself the place.
fn named(field: String, message: String) -> Cause {
    if let Some(missing) = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        let field = if field.is_empty() { missing.to_owned() } else { format!("{field}.{missing}") };
        return Cause::required(field, "is missing");
    }
    let reason = if message.starts_with("unknown field") {
        "FieldValueForbidden"
    } else if message.starts_with("unknown variant") {
        "FieldValueNotSupported"
    } else if message.starts_with("invalid type") {
        "FieldValueTypeInvalid"
    } else {
        "FieldValueInvalid"
    };
    Cause::new(field, reason, message)
}

/// A position in re-serialized JSON says nothing to whoever wrote YAML.
fn without_position(message: &str) -> String {
    message.split(" at line ").next().unwrap_or(message).to_owned()
}

/// Reads a document that somebody else wrote and that may be better later.
pub(crate) fn decode_observed<T: DeserializeOwned>(what: &str, document: &[u8]) -> Result<T, Failure> {
    decode(document)
        .map_err(|cause| Failure::Retry(format!("{what} cannot be read: {}: {}", cause.field, cause.message)))
}
