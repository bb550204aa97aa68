//! JSON merge patches (RFC 7386), JSON patches (RFC 6902), and Kubernetes' own strategic merge patches.

mod strategic;

use serde_json::{Value, json};

pub(crate) use strategic::merge as strategic;

/// RFC 7386.
pub(crate) fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    let Some(map) = object.as_object_mut() else { return };
    for (key, value) in patch {
        if value.is_null() {
            map.remove(key);
        } else {
            merge(map.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// RFC 6902. The error names the first operation that does not apply.
pub(crate) fn json(object: &mut Value, patch: &Value) -> Result<(), String> {
    let operations = patch.as_array().ok_or("a JSON patch is a list of operations")?;
    for (index, operation) in operations.iter().enumerate() {
        step(object, operation).map_err(|why| format!("operation {index} of the JSON patch: {why}"))?;
    }
    Ok(())
}

fn step(object: &mut Value, operation: &Value) -> Result<(), String> {
    let text = |key: &str| operation.get(key).and_then(Value::as_str);
    let path = text("path").ok_or("it has no path")?;
    let value = || operation.get("value").cloned().ok_or("it has no value".to_owned());
    let source = || {
        let from = text("from").ok_or("it has no from")?;
        object.pointer(from).cloned().map(|value| (from.to_owned(), value)).ok_or(format!("there is no {from}"))
    };
    match text("op").unwrap_or_default() {
        "add" => add(object, path, value()?),
        "remove" => remove(object, path),
        "replace" => {
            let value = value()?;
            *object.pointer_mut(path).ok_or(format!("there is no {path}"))? = value;
            Ok(())
        }
        "test" if object.pointer(path) == Some(&value()?) => Ok(()),
        "test" => Err(format!("{path} has another value")),
        "copy" => {
            let (_, value) = source()?;
            add(object, path, value)
        }
        "move" => {
            let (from, value) = source()?;
            remove(object, &from)?;
            add(object, path, value)
        }
        other => Err(format!("there is no operation {other:?}")),
    }
}

/// The container of a path, and the last token unescaped.
fn target<'a>(object: &'a mut Value, path: &str) -> Result<(&'a mut Value, String), String> {
    let (parent, last) = path.rsplit_once('/').ok_or(format!("{path:?} is no path"))?;
    let parent = object.pointer_mut(parent).ok_or(format!("there is no {parent:?} to put it into"))?;
    Ok((parent, last.replace("~1", "/").replace("~0", "~")))
}

fn add(object: &mut Value, path: &str, value: Value) -> Result<(), String> {
    if path.is_empty() {
        *object = value;
        return Ok(());
    }
    match target(object, path)? {
        (Value::Object(map), key) => {
            map.insert(key, value);
        }
        (Value::Array(elements), key) if key == "-" => elements.push(value),
        (Value::Array(elements), key) => match key.parse::<usize>() {
            Ok(index) if index <= elements.len() => elements.insert(index, value),
            _ => return Err(format!("{key} is no place in a list of {}", elements.len())),
        },
        _ => return Err(format!("{path} is inside something that holds nothing")),
    }
    Ok(())
}

fn remove(object: &mut Value, path: &str) -> Result<(), String> {
    let gone = match target(object, path)? {
        (Value::Object(map), key) => map.remove(&key).is_some(),
        (Value::Array(elements), key) => {
            let index = key.parse().ok().filter(|index: &usize| *index < elements.len());
            index.map(|index| elements.remove(index)).is_some()
        }
        _ => false,
    };
    if gone { Ok(()) } else { Err(format!("there is no {path}")) }
}
