//! What a request is about: its path and query taken apart.

use operator_core::ObjectRef;

use super::{
    kinds::{Kind, Kinds},
    store::Stored,
};

/// The target of one request.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) kind: Kind,
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) status: bool,
    query: Vec<(String, String)>,
}

impl Target {
    /// Reads path and query; none when no such resource is served.
    pub(crate) fn parse(kinds: &Kinds, uri: &http::Uri) -> Option<Self> {
        let parts: Vec<&str> = uri.path().split('/').filter(|part| !part.is_empty()).collect();
        let (api_version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ((*version).to_owned(), rest),
            ["apis", group, version, rest @ ..] => (format!("{group}/{version}"), rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some((*namespace).to_owned()), rest),
            _ => (None, rest),
        };
        let (plural, rest) = rest.split_first()?;
        let (name, status) = match rest {
            [] => (None, false),
            [name] => (Some((*name).to_owned()), false),
            [name, "status"] => (Some((*name).to_owned()), true),
            _ => return None,
        };
        let kind = kinds.by_plural(&api_version, plural)?.clone();
        let pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        let query = pairs.map(|(key, value)| (key.to_owned(), decoded(value))).collect();
        Some(Self { kind, namespace, name, status, query })
    }

    /// One parameter of the query.
    pub(crate) fn parameter(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// The object of this kind with this name.
    pub(crate) fn identity(&self, name: &str) -> ObjectRef {
        ObjectRef {
            api_version: self.kind.api_version.clone(),
            kind: self.kind.kind.clone(),
            namespace: self.namespace.clone().filter(|_| self.kind.namespaced),
            name: name.to_owned(),
        }
    }

    /// Whether a list with this query shows an object.
    pub(crate) fn selects(&self, identity: &ObjectRef, stored: &Stored) -> bool {
        let fields = self.parameter("fieldSelector").unwrap_or_default();
        let labels = self.parameter("labelSelector").unwrap_or_default();
        requirements(fields).all(|requirement| field_fits(requirement, identity))
            && requirements(labels).all(|requirement| label_fits(requirement, stored))
    }
}

/// The parts of a selector: commas within parentheses do not separate.
fn requirements(selector: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    let parts = selector.split(move |c: char| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    });
    parts.map(str::trim).filter(|part| !part.is_empty())
}

fn field_fits(requirement: &str, identity: &ObjectRef) -> bool {
    let (field, value) = requirement.split_once('=').unwrap_or((requirement, ""));
    match field {
        "metadata.name" => identity.name == value,
        "metadata.namespace" => identity.namespace.as_deref() == Some(value),
        _ => false,
    }
}

/// `a=b`, `a==b`, `a!=b`, `a in (b, c)`, `a notin (b, c)`, `a`, `!a`.
fn label_fits(requirement: &str, stored: &Stored) -> bool {
    let has = |key: &str, value: &str| stored.label(key.trim()) == Some(value.trim());
    let among = |key: &str, list: &str| list.trim_matches(['(', ')', ' ']).split(',').any(|value| has(key, value));
    if let Some((key, list)) = requirement.split_once(" notin ") {
        !among(key, list)
    } else if let Some((key, list)) = requirement.split_once(" in ") {
        among(key, list)
    } else if let Some((key, value)) = requirement.split_once("!=") {
        !has(key, value)
    } else if let Some((key, value)) = requirement.split_once('=') {
        has(key, value.trim_start_matches('='))
    } else if let Some(key) = requirement.strip_prefix('!') {
        stored.label(key).is_none()
    } else {
        stored.label(requirement).is_some()
    }
}

/// Percent-decoding; what is no escape stays.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let escape = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match (first, escape.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            (byte, _) => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
