//! What is wrong with a manifest, told so that its author finds the place: file, line, field, nearest name.

use operator_core::schema::{self, nearest};
use serde_json::Value;

use crate::manifest::{self, Manifest};

/// One thing that is wrong with a file. Its text begins with file and line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct Misfit {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The field, as a path; empty for the whole document.
    pub path: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl Misfit {
    /// Something that is wrong with one field of a document.
    pub fn at(file: &str, document: &Manifest, path: &str, message: &str) -> Self {
        let message = if path.is_empty() { message.to_owned() } else { format!("{path}: {message}") };
        Self { file: file.to_owned(), line: document.line_of(path), path: path.to_owned(), message }
    }
}

/// Reads all documents of a file.
///
/// # Errors
/// The first thing that is no YAML.
pub fn read(file: &str, text: &str) -> Result<Vec<Manifest>, Misfit> {
    manifest::read(text).map_err(|error| Misfit {
        file: file.to_owned(),
        line: error.line,
        path: String::new(),
        message: format!("not YAML, column {}: {}", error.column, error.message),
    })
}

/// Everything in which a document is no object of its kind: fields that the schema does not know, values that it refuses.
pub fn misfits(file: &str, document: &Manifest, schema: &Value) -> Vec<Misfit> {
    let unknown = schema::unknown_fields(schema, &document.value).into_iter().map(|unknown| {
        let hint = unknown.nearest.map_or("remove it".to_owned(), |nearest| format!("did you mean {nearest}?"));
        Misfit::at(file, document, &unknown.path, &format!("unknown field; {hint}"))
    });
    let refused = schema::violations(schema, &document.value);
    unknown.chain(refused.into_iter().map(|v| Misfit::at(file, document, &v.path, &v.message))).collect()
}

/// The misfit of a document whose kind nobody serves.
pub fn unknown_kind(file: &str, document: &Manifest, known: &[String]) -> Misfit {
    let text = |key: &str| document.value.get(key).and_then(Value::as_str).unwrap_or_default();
    let (kind, api_version) = (text("kind"), text("apiVersion"));
    if kind.is_empty() || api_version.is_empty() {
        return Misfit::at(file, document, "", "apiVersion and kind are required; a Kubernetes object has both");
    }
    let hint = nearest(kind, known.iter().map(String::as_str)).filter(|nearest| nearest != kind).map_or_else(
        || "install its CustomResourceDefinition first, or correct apiVersion".to_owned(),
        |nearest| format!("did you mean {nearest}?"),
    );
    Misfit::at(file, document, "kind", &format!("{api_version} {kind} is not served; {hint}"))
}

/// Why an API server refused a document: each cause of its answer, a `Status`, with its place in the file.
pub fn refusal(file: &str, document: &Manifest, answer: &Value) -> Vec<Misfit> {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let causes = answer.pointer("/details/causes").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if causes.is_empty() {
        return vec![Misfit::at(file, document, "", &text(answer, "message"))];
    }
    causes.iter().map(|cause| Misfit::at(file, document, &text(cause, "field"), &text(cause, "message"))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_misfit_names_file_line_field_and_the_nearest_name() {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "hostPort": {"type": "integer", "maximum": 65535}}}}});
        let documents = read("las.yaml", "kind: LAS\nspec:\n  hostport: 1\n  hostPort: 70000\n").unwrap();
        let found: Vec<String> = misfits("las.yaml", &documents[0], &schema).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "las.yaml:3: spec.hostport: unknown field; did you mean hostPort?",
                "las.yaml:4: spec.hostPort: 70000 is too large; write at most 65535",
            ]
        );
    }

    #[test]
    fn an_unknown_kind_is_told_with_the_nearest_known_one() {
        let documents = read("f.yaml", "apiVersion: v1\nkind: Pdo\n").unwrap();
        let misfit = unknown_kind("f.yaml", &documents[0], &["Pod".into(), "Node".into()]);
        assert_eq!(misfit.to_string(), "f.yaml:2: kind: v1 Pdo is not served; did you mean Pod?");
    }
}
