//! How tests look at CRDs.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "each test file uses some of it; helpers of tests may do what tests may"
)]

use std::{fs, path::PathBuf};

use serde_json::Value;

pub(crate) fn path(file: &str) -> PathBuf {
    PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap()).join(file)
}

/// Compares a file with what it should hold, or writes it.
pub(crate) fn check(file: &str, expected: &str) {
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path(file), expected).unwrap();
    }
    let found = fs::read_to_string(path(file)).unwrap_or_default();
    assert!(found == expected, "{file} is not that of the types; run UPDATE=1 cargo test -p scone-api");
}

pub(crate) fn crd(kind: &str) -> Value {
    let found = scone_api::crds().into_iter().find(|(_, crd)| crd.spec.names.kind == kind).unwrap();
    serde_json::to_value(found.1).unwrap()
}

pub(crate) fn schema(kind: &str, part: &str) -> Value {
    crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][part].clone()
}

/// One line for each field: its type and constraints.
pub(crate) fn table(schema: &Value) -> Vec<String> {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let line = |(name, field): (&String, &Value)| {
        let mut line = format!("{name} {}", field["type"].as_str().unwrap_or("?"));
        if let Some(items) = field.get("items") {
            line += &format!(" of {}", items["type"].as_str().unwrap());
        }
        if let Some(values) = field.get("additionalProperties") {
            line += &format!(" of {}", values["type"].as_str().unwrap());
        }
        if let Some(minimum) = field["minimum"].as_f64() {
            line += &format!(" >= {minimum}");
        }
        if let Some(maximum) = field["maximum"].as_f64() {
            line += &format!(" <= {maximum}");
        }
        if let Some(default) = field.get("default") {
            line += &format!(" default {default}");
        }
        if let Some(values) = field["enum"].as_array() {
            let values: Vec<_> = values.iter().map(|value| value.as_str().unwrap_or("null")).collect();
            line += &format!(" one of {}", values.join("|"));
        }
        if let Some(keys) = field.get("x-kubernetes-list-map-keys") {
            line += &format!(" by {}", keys[0].as_str().unwrap());
        }
        if required.contains(&name.as_str()) {
            line += " required";
        }
        line
    };
    schema["properties"].as_object().unwrap().iter().map(line).collect()
}

pub(crate) fn assert_table(schema: &Value, expected: &[&str]) {
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    let mut found = table(schema);
    found.sort_unstable();
    assert_eq!(found, expected);
}

pub(crate) fn columns(kind: &str) -> Vec<String> {
    let columns = crd(kind)["spec"]["versions"][0]["additionalPrinterColumns"].clone();
    let text = |column: &Value, key: &str| column[key].as_str().unwrap().to_owned();
    let wide = |column: &Value| if column["priority"].as_i64().unwrap_or(0) > 0 { " wide" } else { "" };
    let line = |c: &Value| format!("{} {} {}{}", text(c, "name"), text(c, "type"), text(c, "jsonPath"), wide(c));
    columns.as_array().unwrap().iter().map(line).collect()
}
