//! Objects reduced to declared fields, so that neither cache nor module holds more than a manifest asks for.

use serde_json::{Map, Value};

use crate::{Document, DocumentError};

/// The object with only these dotted paths, besides its identity. A path goes through lists element by element:
/// `spec.containers.name`. No fields at all means the whole object.
pub fn project(document: &Document, fields: &[String]) -> Result<Document, DocumentError> {
    if fields.is_empty() {
        return Ok(document.clone());
    }
    let object = document.to_value()?;
    let mut out = Value::Object(Map::new());
    let identity = ["apiVersion", "kind", "metadata.name", "metadata.namespace", "metadata.uid"];
    for path in identity.into_iter().chain(fields.iter().map(String::as_str)) {
        copy(&object, &mut out, &path.split('.').collect::<Vec<_>>());
    }
    Ok(Document::from_value(&out))
}

fn copy(from: &Value, into: &mut Value, path: &[&str]) {
    let Some((key, rest)) = path.split_first() else {
        *into = from.clone();
        return;
    };
    match from {
        Value::Object(map) => {
            if !into.is_object() {
                *into = Value::Object(Map::new());
            }
            if let (Value::Object(target), Some(inner)) = (into, map.get(*key)) {
                copy(inner, target.entry(*key).or_insert(Value::Null), rest);
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
