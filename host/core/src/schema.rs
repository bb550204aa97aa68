//! What a structural schema (the `OpenAPI` v3 of a CRD) says about an object: violations, unknown fields, defaults, pruning.
//!
//! The keywords that structural schemas use are covered, but two: `pattern` and CEL rules are left to the API server, since
//! their engines would have to be the server's own to agree with it.

use serde_json::{Map, Value};

/// One field that the schema refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path, such as `spec.hostPort`.
    pub path: String,
    /// Why, as in the causes of a Kubernetes `Status`.
    pub reason: &'static str,
    /// What is wrong and what is allowed.
    pub message: String,
}

/// One field that the schema does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// Path of the field.
    pub path: String,
    /// The known field that it is probably meant to be.
    pub nearest: Option<String>,
}

/// The schema of one version of a CRD; none when the CRD has no such version.
pub fn of_crd<'a>(crd: &'a Value, version: &str) -> Option<&'a Value> {
    let versions = crd.pointer("/spec/versions")?.as_array()?;
    let found = versions.iter().find(|v| v.get("name").and_then(Value::as_str) == Some(version))?;
    found.pointer("/schema/openAPIV3Schema")
}

/// Everything in which the value contradicts the schema, in the order of the value's fields.
pub fn violations(schema: &Value, value: &Value) -> Vec<Violation> {
    let mut out = Vec::new();
    check(schema, value, "", &mut out);
    out
}

fn check(schema: &Value, value: &Value, path: &str, out: &mut Vec<Violation>) {
    let mut refuse = |reason, message| out.push(Violation { path: path.to_owned(), reason, message });
    if value.is_null() && schema.get("nullable") == Some(&Value::Bool(true)) {
        return;
    }
    if !type_fits(schema, value) {
        let wanted = if flag(schema, "x-kubernetes-int-or-string") {
            "integer or string"
        } else {
            schema.get("type").and_then(Value::as_str).unwrap_or("another type")
        };
        refuse("FieldValueTypeInvalid", format!("must be of type {wanted}, not {}", type_of(value)));
        return;
    }
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array).filter(|allowed| !allowed.contains(value)) {
        let allowed: Vec<String> = allowed.iter().map(plain).collect();
        refuse(
            "FieldValueNotSupported",
            format!("{} is not supported; write one of {}", plain(value), allowed.join(", ")),
        );
    }
    for (reason, message) in bounds(schema, value) {
        refuse(reason, message);
    }
    match value {
        Value::Object(map) => check_object(schema, map, path, out),
        Value::Array(elements) => {
            if let Some(items) = schema.get("items") {
                elements
                    .iter()
                    .enumerate()
                    .for_each(|(i, element)| check(items, element, &format!("{path}[{i}]"), out));
            }
        }
        _ => {}
    }
}

fn check_object(schema: &Value, map: &Map<String, Value>, path: &str, out: &mut Vec<Violation>) {
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    for key in required.filter(|key| !map.contains_key(*key)) {
        let path = join(path, key);
        out.push(Violation { path, reason: "FieldValueRequired", message: "is required; add it".into() });
    }
    for (key, value) in map {
        if let Some(schema) = schema_of(schema, key) {
            check(schema, value, &join(path, key), out);
        }
    }
}

/// The limits on numbers, texts and lists that a value breaks.
fn bounds(schema: &Value, value: &Value) -> Vec<(&'static str, String)> {
    let mut broken = Vec::new();
    let limit = |key: &str| schema.get(key).and_then(Value::as_f64);
    let exclusive = |key: &str| flag(schema, key);
    if let Some(number) = value.as_f64() {
        if let Some(min) =
            limit("minimum").filter(|min| number < *min || exclusive("exclusiveMinimum") && number <= *min)
        {
            broken.push(("FieldValueInvalid", format!("{number} is too small; write at least {min}")));
        }
        if let Some(max) =
            limit("maximum").filter(|max| number > *max || exclusive("exclusiveMaximum") && number >= *max)
        {
            broken.push(("FieldValueInvalid", format!("{number} is too large; write at most {max}")));
        }
    }
    let length = match value {
        Value::String(text) => Some((text.chars().count(), "minLength", "maxLength", "characters")),
        Value::Array(elements) => Some((elements.len(), "minItems", "maxItems", "elements")),
        Value::Object(map) => Some((map.len(), "minProperties", "maxProperties", "fields")),
        _ => None,
    };
    if let Some((length, least, most, what)) = length {
        #[expect(clippy::cast_precision_loss, reason = "no value has 2^52 elements")]
        let length = length as f64;
        if let Some(min) = limit(least).filter(|min| length < *min) {
            broken.push(("FieldValueInvalid", format!("has {length} {what}; at least {min} are needed")));
        }
        if let Some(max) = limit(most).filter(|max| length > *max) {
            broken.push(("FieldValueTooLong", format!("has {length} {what}; at most {max} are allowed")));
        }
    }
    broken
}

fn type_fits(schema: &Value, value: &Value) -> bool {
    if flag(schema, "x-kubernetes-int-or-string") {
        return value.is_string() || value.as_i64().is_some() || value.as_f64().is_some();
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|f| f.fract() == 0.0),
        Some("number") => value.is_number(),
        _ => true,
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The fields that the schema does not know, each with the nearest one that it does.
pub fn unknown_fields(schema: &Value, value: &Value) -> Vec<Unknown> {
    let mut out = Vec::new();
    walk_unknown(schema, value, "", &mut out);
    out
}

fn walk_unknown(schema: &Value, value: &Value, path: &str, out: &mut Vec<Unknown>) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                let path = join(path, key);
                match schema_of(schema, key) {
                    Some(known) => walk_unknown(known, inner, &path, out),
                    None if is_open(schema) || is_server_field(&path) => {}
                    None => out.push(Unknown { path, nearest: nearest(key, known_fields(schema)) }),
                }
            }
        }
        Value::Array(elements) => {
            if let Some(items) = schema.get("items") {
                let paths = (0..).map(|i| format!("{path}[{i}]"));
                elements.iter().zip(paths).for_each(|(element, path)| walk_unknown(items, element, &path, out));
            }
        }
        _ => {}
    }
}

/// The candidate that a misspelt name was probably meant to be.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let scored = candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&name.to_lowercase(), &candidate.to_lowercase()), candidate));
    scored.min().filter(|(distance, _)| *distance <= 2.max(name.len() / 3)).map(|(_, candidate)| candidate.to_owned())
}

fn known_fields(schema: &Value) -> impl Iterator<Item = &str> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten().map(|(key, _)| key.as_str())
}

/// Writes the schema's defaults into an object, as the API server does before it stores it. A null where none is allowed
/// counts as absent.
pub fn apply_defaults(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, value| !value.is_null() || schema_of(schema, key).is_none_or(|s| flag(s, "nullable")));
            let properties = schema.get("properties").and_then(Value::as_object);
            for (key, schema) in properties.into_iter().flatten() {
                if let (false, Some(default)) = (map.contains_key(key), schema.get("default")) {
                    map.insert(key.clone(), default.clone());
                }
            }
            for (key, inner) in map {
                if let Some(schema) = schema_of(schema, key) {
                    apply_defaults(schema, inner);
                }
            }
        }
        Value::Array(elements) => {
            if let Some(items) = schema.get("items") {
                for element in elements {
                    apply_defaults(items, element);
                }
            }
        }
        _ => {}
    }
}

/// Drops the fields that the schema does not know, as the API server does before it stores an object.
pub fn prune(schema: &Value, value: &mut Value) {
    prune_at(schema, value, true);
}

fn prune_at(schema: &Value, value: &mut Value, root: bool) {
    match value {
        Value::Object(map) => {
            let kept = |key: &str| schema_of(schema, key).is_some() || is_open(schema) || root && is_server_field(key);
            map.retain(|key, _| kept(key));
            for (key, inner) in map {
                if let Some(schema) = schema_of(schema, key).filter(|_| !root || !is_server_field(key)) {
                    prune_at(schema, inner, false);
                }
            }
        }
        Value::Array(elements) => {
            if let Some(items) = schema.get("items") {
                for element in elements {
                    prune_at(items, element, false);
                }
            }
        }
        _ => {}
    }
}

fn schema_of<'a>(schema: &'a Value, key: &str) -> Option<&'a Value> {
    let known = schema.get("properties").and_then(|properties| properties.get(key));
    known.or_else(|| schema.get("additionalProperties").filter(|extra| extra.is_object()))
}

fn is_open(schema: &Value) -> bool {
    flag(schema, "x-kubernetes-preserve-unknown-fields")
        || schema.get("additionalProperties") == Some(&Value::Bool(true))
        || schema.get("type").and_then(Value::as_str).is_some_and(|t| t != "object")
}

/// The fields that every object has, whatever its schema says.
fn is_server_field(path: &str) -> bool {
    matches!(path, "apiVersion" | "kind" | "metadata") || path.starts_with("metadata.")
}

fn flag(schema: &Value, key: &str) -> bool {
    schema.get(key) == Some(&Value::Bool(true))
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({"type": "object", "properties": {
            "spec": {"type": "object", "required": ["image"], "properties": {
                "image": {"type": "string", "minLength": 1},
                "port": {"type": "integer", "minimum": 1, "maximum": 65535, "default": 18766},
                "pull": {"type": "string", "enum": ["Always", "Never"]},
                "size": {"x-kubernetes-int-or-string": true},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "secrets": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            }},
        }})
    }

    fn messages(spec: Value) -> Vec<String> {
        violations(&schema(), &json!({ "spec": spec })).iter().map(|v| format!("{}: {}", v.path, v.message)).collect()
    }

    #[test]
    fn each_keyword_refuses_with_path_and_remedy() {
        assert_eq!(messages(json!({})), ["spec.image: is required; add it"]);
        assert_eq!(messages(json!({"image": "x", "port": 0})), ["spec.port: 0 is too small; write at least 1"]);
        assert_eq!(messages(json!({"image": "x", "port": "1"})), ["spec.port: must be of type integer, not string"]);
        assert_eq!(
            messages(json!({"image": "x", "pull": "Often"})),
            ["spec.pull: Often is not supported; write one of Always, Never"]
        );
        assert_eq!(messages(json!({"image": ""})), ["spec.image: has 0 characters; at least 1 are needed"]);
        assert_eq!(
            messages(json!({"image": "x", "labels": {"a": 1}})),
            ["spec.labels.a: must be of type string, not integer"]
        );
        assert_eq!(
            messages(json!({"image": "x", "size": true})),
            ["spec.size: must be of type integer or string, not boolean"]
        );
        assert!(messages(json!({"image": "x", "size": "1Gi"})).is_empty());
    }

    #[test]
    fn a_misspelt_field_is_told_with_the_nearest_known_one() {
        let object =
            json!({"spec": {"prot": 1, "labels": {"any": "x"}, "free": {"any": 1}, "secrets": [{"nmae": "a"}]}});
        let found: Vec<_> = unknown_fields(&schema(), &object).into_iter().map(|u| (u.path, u.nearest)).collect();
        assert_eq!(
            found,
            [("spec.prot".into(), Some("port".into())), ("spec.secrets[0].nmae".into(), Some("name".to_owned()))]
        );
    }

    #[test]
    fn a_name_that_resembles_nothing_gets_no_suggestion() {
        assert_eq!(nearest("completelyDifferent", ["port", "image"]), None);
    }

    #[test]
    fn defaults_are_written_and_unknown_fields_dropped() {
        let mut object =
            json!({"metadata": {"name": "a"}, "spec": {"image": "x", "nope": 1, "secrets": [{"nope": 1}]}});
        apply_defaults(&schema(), &mut object);
        prune(&schema(), &mut object);
        assert_eq!(object, json!({"metadata": {"name": "a"}, "spec": {"image": "x", "port": 18766, "secrets": [{}]}}));
    }

    #[test]
    fn a_dropped_field_may_have_dots_in_its_name() {
        let mut object = json!({"spec": {"a.b/c": 1, "labels": {"a.b/c": "x"}}});
        prune(&schema(), &mut object);
        assert_eq!(object, json!({"spec": {"labels": {"a.b/c": "x"}}}));
    }

    #[test]
    fn a_null_is_absent_unless_the_schema_allows_it() {
        let mut object = json!({"spec": {"image": "x", "port": null, "pull": null}});
        apply_defaults(&schema(), &mut object);
        assert_eq!(object, json!({"spec": {"image": "x", "port": 18766}}));
        let nullable = json!({"type": "object", "properties": {"a": {"type": "string", "nullable": true}}});
        let mut object = json!({"a": null});
        apply_defaults(&nullable, &mut object);
        assert_eq!((object.clone(), violations(&nullable, &object)), (json!({"a": null}), vec![]));
    }

    #[test]
    fn the_servers_own_fields_are_known_to_every_schema() {
        let mut object = json!({"apiVersion": "v1", "kind": "K", "metadata": {"labels": {"a": "b"}}, "other": 1});
        assert_eq!(unknown_fields(&schema(), &object).len(), 1);
        prune(&schema(), &mut object);
        assert_eq!(object, json!({"apiVersion": "v1", "kind": "K", "metadata": {"labels": {"a": "b"}}}));
    }
}
