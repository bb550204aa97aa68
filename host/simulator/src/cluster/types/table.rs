//! The committed table, read once.
//!
//! A field's text is its shape: nothing for what is merged as a whole, `set`, `{}` and the shape of
//! the entries for a map, `[keys]` and the shape of the elements for a list, or the name of a type. A `!` behind it says that
//! the structure is always there, `?` that the list is, as a null when it is empty, `=` before a value that this is the value where
//! nobody gives one.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::Deserialize;
use serde_json::{Value, json};

use super::Key;

/// What kind of thing a field holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Leaf,
    Any,
    Set,
    Map(Box<Shape>),
    Struct(String),
    Keyed(Vec<Key>, Box<Shape>),
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) shape: Shape,
    /// What it is where nobody says anything. A null says that it is written also when it is an empty list.
    pub(super) zero: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
struct Text {
    kinds: BTreeMap<String, String>,
    types: BTreeMap<String, BTreeMap<String, String>>,
}

#[derive(Debug)]
struct Table {
    kinds: BTreeMap<String, Shape>,
    types: BTreeMap<String, BTreeMap<String, Field>>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    // A test reads it too, so that it is never wrong here.
    let text: Text = serde_json::from_str(include_str!("../merge-table.json")).unwrap_or_default();
    let fields =
        |fields: BTreeMap<String, String>| fields.into_iter().map(|(name, text)| (name, field(&text))).collect();
    let mut types: BTreeMap<String, BTreeMap<String, Field>> =
        text.types.into_iter().map(|(name, of)| (name, fields(of))).collect();
    for (of, name) in WRITTEN_EMPTY {
        let field = Field { shape: Shape::Leaf, zero: Some(Value::Null) };
        types.entry(of.to_owned()).or_default().insert(name.to_owned(), field);
    }
    Table { kinds: text.kinds.into_iter().map(|(kind, of)| (kind, Shape::Struct(of))).collect(), types }
});

/// Lists that are written also when they are empty, although the server's description does not tell.
const WRITTEN_EMPTY: [(&str, &str); 2] = [("v1.ClusterRole", "rules"), ("v1.Role", "rules")];

static METADATA: LazyLock<Shape> = LazyLock::new(|| Shape::Struct("v1.ObjectMeta".to_owned()));

/// The metadata of every object.
pub(super) fn metadata() -> &'static Shape {
    &METADATA
}

/// The shape of a kind.
pub(super) fn root_of(api_version: &str, kind: &str) -> &'static Shape {
    TABLE.kinds.get(&format!("{api_version} {kind}")).unwrap_or(&Shape::Any)
}

/// The fields of a type that need a word.
pub(super) fn fields_of(of: &str) -> Option<&'static BTreeMap<String, Field>> {
    TABLE.types.get(of)
}

fn field(text: &str) -> Field {
    if let Some(value) = text.strip_prefix('=') {
        return Field { shape: Shape::Leaf, zero: serde_json::from_str(value).ok() };
    }
    match (text.strip_suffix('!'), text.strip_suffix('?')) {
        (Some(text), _) => Field { shape: shape(text), zero: Some(json!({})) },
        (_, Some(text)) => Field { shape: shape(text), zero: Some(Value::Null) },
        _ => Field { shape: shape(text), zero: None },
    }
}

fn shape(text: &str) -> Shape {
    match text {
        "" | "atomic" => Shape::Leaf,
        "set" => Shape::Set,
        _ => {
            if let Some(rest) = text.strip_prefix("{}") {
                Shape::Map(Box::new(shape(rest)))
            } else if let Some((keys, rest)) = text.strip_prefix('[').and_then(|text| text.split_once(']')) {
                Shape::Keyed(keys.split(',').map(key).collect(), Box::new(shape(rest)))
            } else {
                Shape::Struct(text.to_owned())
            }
        }
    }
}

fn key(text: &str) -> Key {
    let (name, default) = text.split_once('=').map_or((text, None), |(name, default)| (name, Some(default.into())));
    Key { name: name.to_owned(), default }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_that_the_table_names_is_read() {
        assert!(TABLE.kinds.len() > 20 && TABLE.types.len() > 50, "{} kinds", TABLE.kinds.len());
        let spec = fields_of("v1.ContainerPort");
        assert!(spec.is_some(), "containers have ports");
        let ports = fields_of("v1.Container").and_then(|fields| fields.get("ports")).map(|field| field.shape.clone());
        let key = |name: &str, default: Option<&str>| Key { name: name.to_owned(), default: default.map(Value::from) };
        let keys = vec![key("containerPort", None), key("protocol", Some("TCP"))];
        assert_eq!(ports, Some(Shape::Keyed(keys, Box::new(Shape::Struct("v1.ContainerPort".to_owned())))));
    }
}
