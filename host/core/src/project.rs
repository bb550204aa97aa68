//! Objects reduced to declared fields, so that neither cache nor module holds more than a manifest asks for.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::{Document, DocumentError};

/// The object with only these dotted paths, besides its identity. A path goes through lists element by element:
/// `spec.containers.name`. A key that has a dot in it is written with a backslash before the dot: `data.ca\.crt`. No
/// fields at all means the whole object.
pub fn project(document: &Document, fields: &[String]) -> Result<Document, DocumentError> {
    if fields.is_empty() {
        return Ok(document.clone());
    }
    let object = document.to_value()?;
    let mut out = Value::Object(Map::new());
    let identity = ["apiVersion", "kind", "metadata.name", "metadata.namespace", "metadata.uid"];
    for path in identity.into_iter().chain(fields.iter().map(String::as_str)) {
        copy(&object, &mut out, &steps(path));
    }
    Ok(Document::from_value(&out))
}

/// The keys of a dotted path.
fn steps(path: &str) -> Vec<Cow<'_, str>> {
    let mut steps: Vec<Cow<'_, str>> = Vec::new();
    let mut joins = false;
    for part in path.split('.') {
        // The backslash belongs to the dot after it.
        let (text, escapes) = part.strip_suffix('\\').map_or((part, false), |text| (text, true));
        match steps.last_mut().filter(|_| joins) {
            Some(step) => {
                let step = step.to_mut();
                step.push('.');
                step.push_str(text);
            }
            None => steps.push(Cow::Borrowed(text)),
        }
        joins = escapes;
    }
    steps
}

fn copy(from: &Value, into: &mut Value, path: &[Cow<'_, str>]) {
    let Some((key, rest)) = path.split_first() else {
        *into = from.clone();
        return;
    };
    match from {
        Value::Object(map) => {
            if !into.is_object() {
                *into = Value::Object(Map::new());
            }
            if let (Value::Object(target), Some(inner)) = (into, map.get(&**key)) {
                copy(inner, target.entry(&**key).or_insert(Value::Null), rest);
            }
        }
        Value::Array(elements) => {
            if !into.is_array() {
                *into = Value::Array(vec![Value::Null; elements.len()]);
            }
            if let Value::Array(targets) = into {
                elements.iter().zip(targets).for_each(|(element, target)| copy(element, target, path));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_declared_fields_and_the_identity_come_along() {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "managedFields": []},
            "spec": {"nodeName": "n", "containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "j"}]}});
        let fields = ["spec.nodeName".to_owned(), "spec.containers.name".to_owned(), "status.phase".to_owned()];
        let projected = project(&Document::from_value(&pod), &fields).unwrap().to_value().unwrap();
        let expected = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
            "spec": {"nodeName": "n", "containers": [{"name": "a"}, {"name": "b"}]}});
        assert_eq!(projected, expected);
    }

    #[test]
    fn a_backslash_makes_a_dot_part_of_a_key_and_nothing_beside_it_comes_along() {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "type": "t",
            "data": {"ca.crt": "Q0E=", "ca": {"crt": "x"}, "tls.crt": "Yw==", "tls.key": "aw=="}});
        let shown = |field: &str| {
            let projected = project(&Document::from_value(&secret), &[field.to_owned()]).unwrap().to_value().unwrap();
            projected.get("data").cloned()
        };
        assert_eq!(shown(r"data.ca\.crt"), Some(json!({"ca.crt": "Q0E="})));
        assert_eq!(shown("data.ca.crt"), Some(json!({"ca": {"crt": "x"}})), "without it the dot goes deeper");
        assert_eq!(shown(r"data.c\.a\.crt"), Some(json!({})));
        assert_eq!(shown(r"data\.ca\.crt"), None);
        assert_eq!(steps(r"metadata.annotations.a\.b/c\.d.e"), ["metadata", "annotations", "a.b/c.d", "e"]);
    }

    #[test]
    fn an_object_without_the_declared_field_stays_an_empty_object() {
        let pod = json!({"spec": {"containers": [{"resources": {}}, {"resources": {"limits": {"a": "1"}}}, {}]}});
        let projected = project(&Document::from_value(&pod), &["spec.containers.resources.limits".to_owned()]);
        let containers = json!([{"resources": {}}, {"resources": {"limits": {"a": "1"}}}, {}]);
        assert_eq!(projected.unwrap().to_value().unwrap()["spec"]["containers"], containers);
    }

    #[test]
    fn no_fields_means_the_whole_object() {
        let document = Document::new(&br#"{"a": 1}"#[..]);
        assert_eq!(project(&document, &[]).unwrap(), document);
    }
}
