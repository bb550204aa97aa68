//! What a mutating verdict changes in the request's object.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{Request, Verdict, diff::list_key};

/// Why a verdict's object cannot be used. The module is to blame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// A document of request or verdict is no JSON object.
    #[error("{0} is no JSON object; answer with the whole object")]
    NoObject(&'static str),
    /// The verdict changes what identifies the object, or its status.
    #[error("the verdict changes {0}; defaults belong into spec, labels and annotations")]
    Identity(&'static str),
    /// The verdict brings an object in the validating phase or for a deletion.
    #[error("the verdict changes an object that may not be changed now; answer with no object")]
    NotMutable,
}

/// The request's object with the verdict's changes, or none when it changes nothing.
///
/// The changes are the difference between what the module read and what it answered, replayed on the object as it was sent:
/// fields that are newer than the module survive (a typed decode drops them), and fields that it removed on purpose go.
pub fn mutated(request: &Request, verdict: &Verdict) -> Result<Option<Value>, PatchError> {
    let Some(after) = &verdict.object else { return Ok(None) };
    let (Some(object), operator_contract::Phase::Mutate) = (&request.object, request.phase) else {
        return Err(PatchError::NotMutable);
    };
    let original = object.to_value().map_err(|_| PatchError::NoObject("the request's object"))?;
    let after = after.to_value().map_err(|_| PatchError::NoObject("the verdict's object"))?;
    let before = match &verdict.before {
        Some(before) => before.to_value().map_err(|_| PatchError::NoObject("the verdict's before"))?,
        None => original.clone(),
    };
    for (pointer, name) in IDENTITY {
        if before.pointer(pointer) != after.pointer(pointer) {
            return Err(PatchError::Identity(name));
        }
    }
    let result = replay(&original, &before, &after);
    Ok((result != original).then_some(result))
}

const IDENTITY: [(&str, &str); 7] = [
    ("/apiVersion", "apiVersion"),
    ("/kind", "kind"),
    ("/metadata/name", "metadata.name"),
    ("/metadata/namespace", "metadata.namespace"),
    ("/metadata/uid", "metadata.uid"),
    ("/metadata/resourceVersion", "metadata.resourceVersion"),
    ("/status", "status"),
];

fn replay(original: &Value, before: &Value, after: &Value) -> Value {
    if before == after {
        return original.clone();
    }
    match (original, before, after) {
        (Value::Object(original), Value::Object(before), Value::Object(after)) => {
            let mut result = original.clone();
            for key in before.keys().filter(|key| !after.contains_key(*key)) {
                result.remove(key);
            }
            for (key, wanted) in after {
                let value = match (original.get(key), before.get(key)) {
                    (Some(original), Some(before)) => replay(original, before, wanted),
                    // The module filled in what it read as absent; equal to what was there means nothing changed.
                    (None, Some(before)) if before == wanted => continue,
                    _ => wanted.clone(),
                };
                result.insert(key.clone(), value);
            }
            Value::Object(result)
        }
        (Value::Array(original), Value::Array(before), Value::Array(after)) => {
            Value::Array(elements(original, before, after))
        }
        _ => after.clone(),
    }
}

/// Elements are matched by the key that server-side apply knows them by; by their places only where they have none, since a module that puts
/// one in front, or exchanges two, would give each the newer fields of another.
fn elements(original: &[Value], before: &[Value], after: &[Value]) -> Vec<Value> {
    if let (Some(original), Some(before), Some(_)) = (keyed(original), keyed(before), keyed(after)) {
        let element = |wanted: &Value| {
            let found = key_of(wanted).and_then(|key| Some((original.get(&key)?, before.get(&key)?)));
            found.map_or_else(|| wanted.clone(), |(original, before)| replay(original, before, wanted))
        };
        return after.iter().map(element).collect();
    }
    if original.len() == before.len() && before.len() == after.len() {
        let elements = original.iter().zip(before).zip(after);
        return elements.map(|((original, before), after)| replay(original, before, after)).collect();
    }
    after.to_vec()
}

/// The elements by their keys, when each has one of its own. Users decide how many there are.
fn keyed(list: &[Value]) -> Option<BTreeMap<(&'static str, String), &Value>> {
    let keyed: BTreeMap<_, _> = list.iter().map(|element| Some((key_of(element)?, element))).collect::<Option<_>>()?;
    (keyed.len() == list.len()).then_some(keyed)
}

/// The name of an element's key, and its value as JSON, which can be put in order.
fn key_of(element: &Value) -> Option<(&'static str, String)> {
    list_key(element).map(|(name, value)| (name, value.to_string()))
}

/// The JSON Patch (RFC 6902) that leads from one object to another; parents of added fields are created as needed.
pub fn json_patch(original: &Value, wanted: &Value) -> Vec<Value> {
    let mut operations = Vec::new();
    difference(original, wanted, &mut String::new(), &mut operations);
    operations
}

fn difference(original: &Value, wanted: &Value, path: &mut String, out: &mut Vec<Value>) {
    match (original, wanted) {
        (Value::Object(there), Value::Object(want)) => {
            for key in there.keys().filter(|key| !want.contains_key(*key)) {
                out.push(serde_json::json!({"op": "remove", "path": format!("{path}/{}", escaped(key))}));
            }
            for (key, value) in want {
                let length = path.len();
                path.push('/');
                path.push_str(&escaped(key));
                match there.get(key) {
                    Some(before) => difference(before, value, path, out),
                    None => out.push(serde_json::json!({"op": "add", "path": path, "value": value})),
                }
                path.truncate(length);
            }
        }
        (before, after) if before == after => {}
        (_, after) => out.push(serde_json::json!({"op": "replace", "path": path, "value": after})),
    }
}

/// A key as a JSON Pointer token (RFC 6901).
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use operator_contract::{Operation, Phase};
    use serde_json::json;

    use super::*;
    use crate::{Document, ObjectRef, User};

    fn admit(object: &Value, before: &Value, after: &Value) -> Result<Option<Value>, PatchError> {
        let request = Request {
            phase: Phase::Mutate,
            operation: Operation::Create,
            identity: ObjectRef::cluster("example.org/v1", "Thing", "a"),
            subresource: None,
            object: Some(Document::from_value(object)),
            old_object: None,
            user: User::default(),
            dry_run: false,
            settings: Document::new(&b"{}"[..]),
        };
        let document = |value: &Value| Some(Document::from_value(value));
        mutated(&request, &Verdict { object: document(after), before: document(before), ..Verdict::default() })
    }

    #[test]
    fn fields_that_the_module_does_not_know_survive_at_every_depth() {
        let sent = json!({"new": 1, "spec": {"new": 2, "list": [{"name": "a", "new": 3}]}});
        let read = json!({"spec": {"list": [{"name": "a"}]}});
        let defaulted = json!({"spec": {"list": [{"name": "a", "port": 1}], "size": 5}});
        let expected = json!({"new": 1, "spec": {"new": 2, "list": [{"name": "a", "new": 3, "port": 1}], "size": 5}});
        assert_eq!(admit(&sent, &read, &defaulted), Ok(Some(expected)));
    }

    #[test]
    fn a_field_that_the_module_removed_on_purpose_goes() {
        let sent = json!({"spec": {"old": 1, "new": 2}});
        assert_eq!(
            admit(&sent, &json!({"spec": {"old": 1}}), &json!({"spec": {}})),
            Ok(Some(json!({"spec": {"new": 2}})))
        );
    }

    #[test]
    fn an_element_added_to_a_list_keeps_the_others_whole() {
        let sent = json!({"env": [{"name": "a", "new": 1}]});
        let read = json!({"env": [{"name": "a"}]});
        let defaulted = json!({"env": [{"name": "a"}, {"name": "b"}]});
        assert_eq!(admit(&sent, &read, &defaulted), Ok(Some(json!({"env": [{"name": "a", "new": 1}, {"name": "b"}]}))));
    }

    #[test]
    fn elements_that_change_places_or_are_replaced_keep_what_is_theirs() {
        let sent = json!({"env": [{"name": "a", "new": 1}, {"name": "b", "new": 2}]});
        let read = json!({"env": [{"name": "a"}, {"name": "b"}]});
        let exchanged = json!({"env": [{"name": "b"}, {"name": "a"}]});
        let expected = json!({"env": [{"name": "b", "new": 2}, {"name": "a", "new": 1}]});
        assert_eq!(admit(&sent, &read, &exchanged), Ok(Some(expected)));
        let replaced = json!({"env": [{"name": "b"}, {"name": "c"}]});
        let expected = json!({"env": [{"name": "b", "new": 2}, {"name": "c"}]});
        assert_eq!(admit(&sent, &read, &replaced), Ok(Some(expected)));
    }

    #[test]
    fn elements_without_a_key_of_their_own_are_matched_by_their_places() {
        let sent = json!({"ports": [{"port": 53, "new": 1}, {"port": 53, "new": 2}], "args": ["a", "b"]});
        let read = json!({"ports": [{"port": 53}, {"port": 53}], "args": ["a", "b"]});
        let changed = json!({"ports": [{"port": 53}, {"port": 53, "protocol": "UDP"}], "args": ["a", "c"]});
        let expected =
            json!({"ports": [{"port": 53, "new": 1}, {"port": 53, "new": 2, "protocol": "UDP"}], "args": ["a", "c"]});
        assert_eq!(admit(&sent, &read, &changed), Ok(Some(expected)));
    }

    #[test]
    fn a_verdict_may_not_rename_the_object() {
        let sent = json!({"metadata": {"name": "a"}});
        assert_eq!(
            admit(&sent, &sent, &json!({"metadata": {"name": "b"}})),
            Err(PatchError::Identity("metadata.name"))
        );
    }

    #[test]
    fn the_patch_escapes_keys_and_creates_parents() {
        let patch = json_patch(&json!({"metadata": {}}), &json!({"metadata": {"labels": {"a/b~c": "x"}}}));
        assert_eq!(patch, [json!({"op": "add", "path": "/metadata/labels", "value": {"a/b~c": "x"}})]);
        let patch = json_patch(&json!({"l": {"a/b": "x"}}), &json!({"l": {}}));
        assert_eq!(patch, [json!({"op": "remove", "path": "/l/a~1b"})]);
    }
}
