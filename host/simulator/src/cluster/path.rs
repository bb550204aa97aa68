//! Paths into objects, as `FieldsV1` of server-side apply writes them.

use serde_json::{Map, Value};

use super::types::Key;

/// One step of a path, as `FieldsV1` writes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// `f:name`
    Field(String),
    /// `k:{"name":"x"}`: an element of an associative list.
    Key(String),
    /// `v:"x"`: an element of a set.
    Element(String),
}

pub(crate) type Path = Vec<Part>;

/// The key by which an element of a list is known.
pub(crate) fn key_of(element: &Value, keys: &[Key]) -> Option<String> {
    let value = |key: &Key| element.get(&key.name).or(key.default.as_ref()).cloned();
    let map: Map<String, Value> = keys.iter().filter_map(|key| Some((key.name.clone(), value(key)?))).collect();
    (!map.is_empty()).then(|| Value::Object(map).to_string())
}

/// A step in the notation of `FieldsV1`.
pub(crate) fn part_text(part: &Part) -> String {
    match part {
        Part::Field(name) => format!("f:{name}"),
        Part::Key(key) => format!("k:{key}"),
        Part::Element(value) => format!("v:{value}"),
    }
}

/// The step that a text in the notation of `FieldsV1` means; none for `.`, the place itself.
pub(crate) fn part_of(text: &str) -> Option<Part> {
    let (kind, rest) = text.split_once(':')?;
    match kind {
        "f" => Some(Part::Field(rest.to_owned())),
        "k" => Some(Part::Key(rest.to_owned())),
        "v" => Some(Part::Element(rest.to_owned())),
        _ => None,
    }
}

/// A path as conflicts show it.
pub(crate) fn text(path: &[Part]) -> String {
    path.iter()
        .map(|part| match part {
            Part::Field(name) => format!(".{name}"),
            Part::Key(key) => {
                let key: Map<String, Value> = serde_json::from_str(key).unwrap_or_default();
                let pairs: Vec<String> = key.iter().map(|(name, value)| format!("{name}={value}")).collect();
                format!("[{}]", pairs.join(","))
            }
            Part::Element(value) => format!("[={value}]"),
        })
        .collect()
}

/// What is there.
pub(crate) fn at<'a>(value: &'a Value, path: &[Part]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, part| match part {
        Part::Field(name) => value.get(name),
        Part::Key(key) => value.as_array()?.iter().find(|element| matches_key(element, key)),
        Part::Element(text) => value.as_array()?.iter().find(|element| element.to_string() == *text),
    })
}

fn matches_key(element: &Value, key: &str) -> bool {
    let key: Value = serde_json::from_str(key).unwrap_or_default();
    let same = |name: &str, value: &Value| match element.get(name) {
        None => name == "protocol" && value == "TCP",
        there => there == Some(value),
    };
    key.as_object().is_some_and(|key| key.iter().all(|(name, value)| same(name, value)))
}
