//! JSON in, typed values out; on failure the field path, so that whoever wrote the object finds the place.

mod without_status;

use serde::{Deserializer, de::DeserializeOwned};

use self::without_status::WithoutStatus;
use crate::{Cause, Failure};

/// Reads a document. The ordinary path is plain `serde_json`; only a document that fails is read again to learn where.
pub(crate) fn decode<T: DeserializeOwned>(document: &[u8]) -> Result<T, Cause> {
    // Checked at once, which is quicker than each string by itself.
    let read = std::str::from_utf8(document).map_or_else(|_| serde_json::from_slice(document), serde_json::from_str);
    read.map_err(|error| locate::<T, _>(&mut serde_json::Deserializer::from_slice(document), &error))
}

/// Reads an object of the kind that a module serves as if it had no status.
fn decode_without_status<T: DeserializeOwned>(document: &[u8]) -> Result<T, Cause> {
    let mut reader = serde_json::Deserializer::from_slice(document);
    let object = T::deserialize(WithoutStatus(&mut reader)).and_then(|object| reader.end().map(|()| object));
    object.map_err(|error| locate::<T, _>(WithoutStatus(&mut serde_json::Deserializer::from_slice(document)), &error))
}

/// Reads an object of the kind that a module serves. Its status is what was written before: by another version, or by the host alone
/// while there was no answer. One that cannot be read is none, since the next answer replaces it; it must not stand in its way.
pub(crate) fn decode_parent<T: DeserializeOwned>(document: &[u8]) -> Result<T, Cause> {
    decode(document).or_else(|cause| {
        let is_about_status = cause.field == "status" || cause.field.starts_with("status.");
        if is_about_status { decode_without_status(document) } else { Err(cause) }
    })
}

#[cold]
fn locate<'de, T, D>(reader: D, error: &serde_json::Error) -> Cause
where
    T: DeserializeOwned,
    D: Deserializer<'de, Error = serde_json::Error>,
{
    match serde_path_to_error::deserialize::<_, T>(reader) {
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

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Thing {
        spec: u8,
        status: Option<Status>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Status {
        state: String,
    }

    fn parent(text: &str) -> Result<Thing, String> {
        decode_parent(text.as_bytes()).map_err(|cause| cause.field)
    }

    #[test]
    fn a_status_that_cannot_be_read_is_none() {
        for status in [r#"{"conditions":[]}"#, r#"{"state":7}"#, "[]"] {
            assert_eq!(parent(&format!(r#"{{"spec":1,"status":{status}}}"#)), Ok(Thing { spec: 1, status: None }));
        }
        let status = Some(Status { state: "x".to_owned() });
        assert_eq!(parent(r#"{"spec":1,"status":{"state":"x"}}"#), Ok(Thing { spec: 1, status }));
    }

    #[test]
    fn a_status_that_is_passed_over_is_none_and_can_be_anything() {
        let read =
            |text: &str| decode_without_status::<Thing>(text.as_bytes()).map_err(|cause| (cause.field, cause.message));
        let thing = Ok(Thing { spec: 1, status: None });
        assert_eq!(read(r#"{"status":{"state":[7,{"status":1}]},"spec":1}"#), thing);
        assert_eq!(read(r#"{"spec":1,"other":{"status":{}},"status":"}","st\u0061tus":[]}"#), thing);
        assert_eq!(read(r#"{"spec":"x","status":{"state":7}}"#).unwrap_err().0, "spec");
        assert_eq!(read(r#"{"status":{}}"#).unwrap_err().0, "spec");
        assert!(read("[]").unwrap_err().1.starts_with("invalid type: sequence"));
        assert!(read(r#"{"spec":1} x"#).unwrap_err().1.starts_with("trailing characters"));
    }

    #[test]
    fn what_else_cannot_be_read_is_told_whatever_the_status_is() {
        assert_eq!(parent(r#"{"spec":"x","status":{}}"#), Err("spec".to_owned()));
        assert_eq!(parent(r#"{"status":{},"spec":"x"}"#), Err("spec".to_owned()));
        assert_eq!(parent("no object"), Err(String::new()));
    }
}
