//! Strategic merge patches: like JSON merge patches, but elements of lists are merged by their key.
//!
//! Of their directives there is `$patch`; those that kubectl computes from what it applied last are not read.

use serde_json::{Map, Value};

use crate::cluster::types::{Form, Type};

/// Merges a patch into an object of a built-in type.
pub(crate) fn merge(object: &mut Value, patch: &Value, of: Type<'_>) {
    match (object, patch) {
        (Value::Object(map), Value::Object(patch)) => merge_maps(map, patch, of),
        (Value::Array(there), Value::Array(wanted)) => match of.form(patch) {
            Form::Keyed(keys) => {
                let key = keys.first().map(|key| key.name.clone()).unwrap_or_default();
                merge_lists(there, wanted, of.element(), |element| element.get(&key).cloned());
            }
            Form::Set => merge_lists(there, wanted, of.element(), |element| Some(element.clone())),
            Form::Leaf | Form::Object => there.clone_from(wanted),
        },
        (object, patch) => *object = without_nulls(patch),
    }
}

fn directive(patch: &Map<String, Value>) -> Option<&str> {
    patch.get("$patch").and_then(Value::as_str)
}

fn merge_maps(map: &mut Map<String, Value>, patch: &Map<String, Value>, of: Type<'_>) {
    if let Some(directive) = directive(patch) {
        map.clear();
        if directive == "delete" {
            return;
        }
    }
    for (key, value) in patch.iter().filter(|(key, _)| !key.starts_with('$')) {
        if value.is_null() {
            map.remove(key);
        } else if let Some(there) = map.get_mut(key) {
            merge(there, value, of.field(key));
        } else {
            map.insert(key.clone(), without_nulls(value));
        }
    }
}

/// Elements that the patch names come in its order, the others where they were.
fn merge_lists(there: &mut Vec<Value>, wanted: &[Value], of: Type<'_>, key: impl Fn(&Value) -> Option<Value>) {
    let place = |list: &[Value], element: &Value| {
        key(element).and_then(|wanted| list.iter().position(|other| key(other).as_ref() == Some(&wanted)))
    };
    let (mut named, mut others): (Vec<Value>, Vec<Value>) = (Vec::new(), Vec::new());
    for element in there.iter().filter(|element| place(wanted, element).is_none()) {
        others.push(element.clone());
    }
    for element in wanted {
        if element.as_object().and_then(directive) == Some("delete") {
            continue;
        }
        let mut merged = place(there, element).and_then(|index| there.get(index)).cloned();
        match &mut merged {
            Some(merged) => merge(merged, element, of),
            None => merged = Some(without_nulls(element)),
        }
        named.extend(merged);
    }
    let mut out = Vec::new();
    let (mut others, mut named) = (others.into_iter().peekable(), named.into_iter().peekable());
    loop {
        let first = match (others.peek(), named.peek()) {
            (None, None) => break,
            (Some(other), Some(name)) => match (place(there, other), place(there, name)) {
                (Some(other), Some(name)) => other < name,
                _ => false,
            },
            (other, _) => other.is_some(),
        };
        out.extend(if first { others.next() } else { named.next() });
    }
    *there = out;
}

/// What is new says nothing by its nulls.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(key, value)| !value.is_null() && !key.starts_with('$'));
            Value::Object(kept.map(|(key, value)| (key.clone(), without_nulls(value))).collect())
        }
        other => other.clone(),
    }
}
