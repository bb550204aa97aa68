//! How lists and maps of a type are merged: as the API server declares it for built-in kinds (`merge-table.json`, made from its
//! `/openapi/v3` by the test program `differential` with `UPDATE=1`), by the schema for custom ones.

mod table;

use serde_json::{Map, Value};

use table::{Shape, fields_of, root_of};

/// What is known of the type of a value: how its lists and maps are merged depends on it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Type<'a> {
    /// An object of a built-in kind, or something in it.
    BuiltIn(&'a Shape),
    /// A custom resource.
    Custom(&'a Value),
    /// Something in a custom resource.
    Schema(&'a Value),
}

/// One field by which elements of a list are told apart, and what it is where an element does not say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) default: Option<Value>,
}

/// How a value is merged.
#[derive(Clone, Debug)]
pub(crate) enum Form {
    /// As a whole: scalars, atomic lists, atomic maps.
    Leaf,
    /// Field by field.
    Object,
    /// A list whose elements are known by keys.
    Keyed(Vec<Key>),
    /// A list whose elements are known by themselves.
    Set,
}

impl<'a> Type<'a> {
    /// The type of a custom resource with this schema, or else of a built-in kind.
    pub(crate) fn of(api_version: &str, kind: &str, schema: Option<&'a Value>) -> Self {
        schema.map_or_else(|| Self::BuiltIn(root_of(api_version, kind)), Self::Custom)
    }

    pub(crate) fn field(self, name: &str) -> Self {
        match self {
            Self::BuiltIn(Shape::Struct(of)) => {
                Self::BuiltIn(fields_of(of).and_then(|fields| fields.get(name)).map_or(&Shape::Leaf, |f| &f.shape))
            }
            Self::BuiltIn(Shape::Map(of)) => Self::BuiltIn(of),
            Self::BuiltIn(Shape::Any) => Self::BuiltIn(&Shape::Any),
            Self::BuiltIn(_) => Self::BuiltIn(&Shape::Leaf),
            Self::Custom(_) if name == "metadata" => Self::BuiltIn(table::metadata()),
            Self::Custom(schema) | Self::Schema(schema) => Self::Schema(known(schema, name).unwrap_or(&Value::Null)),
        }
    }

    /// Whether a field with this name is part of the type, not an entry that somebody put into a map.
    pub(crate) fn declares(self, name: &str) -> bool {
        match self {
            Self::BuiltIn(shape) => matches!(shape, Shape::Struct(_)),
            Self::Custom(_) if matches!(name, "apiVersion" | "kind" | "metadata") => true,
            Self::Custom(schema) | Self::Schema(schema) => {
                schema.get("properties").is_some_and(|p| p.get(name).is_some())
            }
        }
    }

    pub(crate) fn element(self) -> Self {
        match self {
            Self::BuiltIn(Shape::Keyed(_, of)) => Self::BuiltIn(of),
            Self::BuiltIn(_) => Self::BuiltIn(&Shape::Leaf),
            Self::Custom(schema) | Self::Schema(schema) => Self::Schema(schema.get("items").unwrap_or(&Value::Null)),
        }
    }

    /// How a value of this type is merged. One that is not of this type is merged as a whole.
    pub(crate) fn form(self, value: &Value) -> Form {
        let form = match self {
            Self::BuiltIn(Shape::Leaf) => Form::Leaf,
            Self::BuiltIn(Shape::Struct(_) | Shape::Map(_)) | Self::Custom(_) => Form::Object,
            Self::BuiltIn(Shape::Any) => of_anything(value),
            Self::BuiltIn(Shape::Set) => Form::Set,
            Self::BuiltIn(Shape::Keyed(keys, _)) => Form::Keyed(keys.clone()),
            Self::Schema(schema) => of_schema(schema, value),
        };
        let fits = match form {
            Form::Leaf => true,
            Form::Object => value.is_object() || value.is_null(),
            Form::Keyed(_) | Form::Set => value.is_array() || value.is_null(),
        };
        if fits { form } else { Form::Leaf }
    }

    /// Adds what values of built-in types always have: structures, and numbers and texts that are written also when empty.
    pub(crate) fn complete(self, value: &mut Value) {
        match (self, value) {
            (Self::BuiltIn(Shape::Struct(of)), Value::Object(map)) => {
                let fields = fields_of(of).into_iter().flatten();
                for (name, zero) in fields.filter_map(|(name, field)| Some((name, field.zero.as_ref()?))) {
                    map.entry(name.clone()).or_insert_with(|| zero.clone());
                }
                map.iter_mut().for_each(|(name, value)| self.field(name).complete(value));
            }
            (Self::BuiltIn(Shape::Map(_)), Value::Object(map)) => {
                map.iter_mut().for_each(|(name, value)| self.field(name).complete(value));
            }
            (Self::BuiltIn(Shape::Keyed(..)), Value::Array(elements)) => {
                for element in elements.iter_mut() {
                    self.element().complete(element);
                }
            }
            _ => {}
        }
    }

    /// Whether a list in this field is written also when it is empty.
    pub(crate) fn keeps_empty(self, name: &str) -> bool {
        let Self::BuiltIn(Shape::Struct(of)) = self else { return false };
        fields_of(of).and_then(|fields| fields.get(name)).is_some_and(|field| field.zero == Some(Value::Null))
    }

    /// Gives a value the form in which it is stored: of a list that is always there, nothing is left when it is empty.
    pub(crate) fn settle(self, value: &mut Value) {
        if let (Self::BuiltIn(Shape::Struct(_)), Value::Object(map)) = (self, value) {
            for (name, inner) in map {
                if inner.as_array().is_some_and(Vec::is_empty) && self.keeps_empty(name) {
                    *inner = Value::Null;
                }
                self.field(name).settle(inner);
            }
        }
    }

    /// An object of this type in which nobody has said anything.
    pub(crate) fn empty(self) -> Value {
        let mut empty = Value::Object(Map::new());
        self.complete(&mut empty);
        empty
    }
}

/// What a schema says of a field: by its name, or of all.
fn known<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    let named = schema.get("properties").and_then(|properties| properties.get(name));
    named.or_else(|| schema.get("additionalProperties"))
}

fn of_anything(value: &Value) -> Form {
    if value.is_object() { Form::Object } else { Form::Leaf }
}

fn of_schema(schema: &Value, value: &Value) -> Form {
    let text = |key: &str| schema.get(key).and_then(Value::as_str);
    let flag = |key: &str| schema.get(key) == Some(&Value::Bool(true));
    match (text("type"), text("x-kubernetes-list-type")) {
        (Some("object"), _) if text("x-kubernetes-map-type") == Some("atomic") => Form::Leaf,
        (Some("object"), _) => Form::Object,
        (Some("array"), Some("map")) => {
            let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
            let default = |name: &str| schema.pointer(&format!("/items/properties/{name}/default")).cloned();
            let key = |name: &str| Key { name: name.to_owned(), default: default(name) };
            Form::Keyed(keys.into_iter().flatten().filter_map(Value::as_str).map(key).collect())
        }
        (Some("array"), Some("set")) => Form::Set,
        (None, _) if flag("x-kubernetes-preserve-unknown-fields") => of_anything(value),
        _ => Form::Leaf,
    }
}
