//! Server-side apply: who owns which field, what conflicts, what goes when nobody wants it any more.
//!
//! Lists are merged by the keys that Kubernetes' own types declare for the fields that operators write, and lists of custom
//! resources by what their schema says; every other list is replaced as a whole.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    path::{Part, Path, at, key_of, part_of, part_text, remove_at, text},
    types::{Merge, Type},
};

/// One manager's claim: whether by apply, and on which subresource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    manager: String,
    operation: &'static str,
    status: bool,
}

/// Who owns which fields of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ownership(BTreeMap<Claim, BTreeSet<Path>>);

/// A field that somebody else owns with another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    pub(crate) manager: String,
    pub(crate) field: String,
}

/// The leaves of a configuration, without what only names the object or is the server's.
fn leaves(config: &Value, of: Type<'_>, status: bool) -> BTreeSet<Path> {
    let mut out = BTreeSet::new();
    for (key, value) in config.as_object().into_iter().flatten() {
        let relevant = match key.as_str() {
            "apiVersion" | "kind" => false,
            "status" => status,
            _ => !status,
        };
        if relevant {
            walk(value, of.field(key), &mut vec![Part::Field(key.clone())], &mut out);
        }
    }
    out.retain(|path| match path.as_slice() {
        [Part::Field(metadata)] => metadata != "metadata",
        [Part::Field(metadata), Part::Field(field), ..] if metadata == "metadata" => {
            !SERVER_FIELDS.contains(&field.as_str())
        }
        _ => true,
    });
    out
}

/// Metadata that nobody owns.
const SERVER_FIELDS: [&str; 7] =
    ["name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"];

fn walk(value: &Value, of: Type<'_>, at: &mut Path, out: &mut BTreeSet<Path>) {
    match value {
        Value::Object(map) if !map.is_empty() && matches!(of.map(), Merge::Granular) => {
            for (key, inner) in map {
                at.push(Part::Field(key.clone()));
                walk(inner, of.field(key), at, out);
                at.pop();
            }
        }
        Value::Array(elements) if !elements.is_empty() => match of.list() {
            Merge::Associative(keys) => {
                for element in elements {
                    let Some(key) = key_of(element, &keys) else { continue };
                    at.push(Part::Key(key));
                    walk(element, of.element(), at, out);
                    at.pop();
                }
            }
            Merge::Set => {
                for element in elements {
                    at.push(Part::Element(element.to_string()));
                    out.insert(at.clone());
                    at.pop();
                }
            }
            Merge::Atomic | Merge::Granular => {
                out.insert(at.clone());
            }
        },
        _ => {
            out.insert(at.clone());
        }
    }
}

/// Who applies, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Applier<'a> {
    pub(crate) manager: &'a str,
    /// Whether the status is applied, not the rest.
    pub(crate) status: bool,
    /// Whether others lose what they own with other values.
    pub(crate) force: bool,
}

impl Ownership {
    /// Applies a configuration: the object afterwards, or the fields that others own with other values.
    pub(crate) fn apply(
        &mut self,
        object: &Value,
        config: &Value,
        of: Type<'_>,
        by: Applier<'_>,
    ) -> Result<Value, Vec<Conflict>> {
        let Applier { manager, status, force } = by;
        let claim = Claim { manager: manager.to_owned(), operation: "Apply", status };
        let wanted = leaves(config, of, status);
        let conflicts = self.conflicts(&claim, &wanted, object, config);
        if !conflicts.is_empty() && !force {
            return Err(conflicts);
        }
        for (other, paths) in &mut self.0 {
            let lost = |path: &Path| wanted.contains(path) && at(object, path) != at(config, path);
            if *other != claim {
                paths.retain(|path| !lost(path));
            }
        }
        let before = self.0.insert(claim, wanted.clone()).unwrap_or_default();
        self.0.retain(|_, paths| !paths.is_empty());
        let mut merged = merge(object, &relevant(config, status), of);
        for path in before.difference(&wanted) {
            let kept = self.0.values().flatten().any(|other| other.starts_with(path));
            if !kept {
                self.remove(&mut merged, path);
            }
        }
        Ok(merged)
    }

    fn conflicts(&self, claim: &Claim, wanted: &BTreeSet<Path>, object: &Value, config: &Value) -> Vec<Conflict> {
        let others = self.0.iter().filter(|(other, _)| *other != claim);
        others
            .flat_map(|(other, paths)| paths.intersection(wanted).map(move |path| (other, path)))
            .filter(|(_, path)| at(object, path) != at(config, path))
            .map(|(other, path)| Conflict { manager: other.manager.clone(), field: text(path) })
            .collect()
    }

    /// Notes that a manager wrote an object as a whole or by a patch: it owns what it changed.
    pub(crate) fn update(&mut self, before: &Value, after: &Value, of: Type<'_>, manager: &str, status: bool) {
        let (had, has) = (leaves(before, of, status), leaves(after, of, status));
        let changed: BTreeSet<Path> =
            has.iter().filter(|path| !had.contains(*path) || at(before, path) != at(after, path)).cloned().collect();
        let claim = Claim { manager: manager.to_owned(), operation: "Update", status };
        for (other, paths) in &mut self.0 {
            if *other != claim {
                paths.retain(|path| !changed.contains(path) && (other.status != status || has.contains(path)));
            }
        }
        let owned = self.0.entry(claim).or_default();
        owned.extend(changed);
        owned.retain(|path| has.contains(path));
        self.0.retain(|_, paths| !paths.is_empty());
    }

    /// Forgets fields that are gone: whoever owned them owns nothing now.
    pub(crate) fn forget_missing(&mut self, object: &Value) {
        for paths in self.0.values_mut() {
            paths.retain(|path| at(object, path).is_some());
        }
        self.0.retain(|_, paths| !paths.is_empty());
    }

    /// Removes a field that nobody owns any more, and the list element around it when nobody owns anything in it.
    fn remove(&self, object: &mut Value, path: &[Part]) {
        let owned = |prefix: &[Part]| self.0.values().flatten().any(|path| path.starts_with(prefix));
        let element = (1..=path.len())
            .find(|end| matches!(path.get(end - 1), Some(Part::Key(_))) && path.get(..*end).is_some_and(|p| !owned(p)));
        let path = element.and_then(|end| path.get(..end)).unwrap_or(path);
        remove_at(object, path);
        let mut parent = path;
        while let Some((_, rest)) = parent.split_last() {
            parent = rest;
            let empty = at(object, parent).is_some_and(|value| match value {
                Value::Object(map) => map.is_empty(),
                Value::Array(elements) => elements.is_empty(),
                _ => false,
            });
            if !empty || parent.len() < 2 || owned(parent) {
                break;
            }
            remove_at(object, parent);
        }
    }

    /// The reverse of [`Ownership::managed_fields`], for whoever writes claims itself.
    pub(crate) fn read(claims: &Value) -> Self {
        let mut owned: BTreeMap<Claim, BTreeSet<Path>> = BTreeMap::new();
        for entry in claims.as_array().into_iter().flatten() {
            let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
            let operation = if text("operation") == "Apply" { "Apply" } else { "Update" };
            let claim =
                Claim { manager: text("manager").to_owned(), operation, status: text("subresource") == "status" };
            let fields = entry.get("fieldsV1").cloned().unwrap_or_default();
            collect(&fields, &mut Vec::new(), owned.entry(claim).or_default());
        }
        Self(owned)
    }

    /// `metadata.managedFields`.
    pub(crate) fn managed_fields(&self, object: &Value) -> Vec<Value> {
        let api_version = object.get("apiVersion").cloned().unwrap_or_default();
        self.0
            .iter()
            .map(|(claim, paths)| {
                let mut fields = json!({});
                for path in paths {
                    insert(&mut fields, path);
                }
                let mut entry = json!({
                    "manager": claim.manager, "operation": claim.operation, "apiVersion": api_version,
                    "fieldsType": "FieldsV1", "fieldsV1": fields,
                });
                if let (Some(map), true) = (entry.as_object_mut(), claim.status) {
                    map.insert("subresource".into(), "status".into());
                }
                entry
            })
            .collect()
    }
}

fn collect(fields: &Value, at: &mut Path, into: &mut BTreeSet<Path>) {
    let children = fields.as_object().into_iter().flatten();
    let children: Vec<_> = children.filter_map(|(key, value)| Some((part_of(key)?, value))).collect();
    if children.is_empty() && !at.is_empty() {
        into.insert(at.clone());
    }
    for (part, value) in children {
        at.push(part);
        collect(value, at, into);
        at.pop();
    }
}

fn insert(fields: &mut Value, path: &[Part]) {
    let Some((first, rest)) = path.split_first() else { return };
    if let Some(map) = fields.as_object_mut() {
        insert(map.entry(part_text(first)).or_insert_with(|| json!({})), rest);
    }
}

/// The part of a configuration that a request to this resource may change.
fn relevant(config: &Value, status: bool) -> Value {
    let mut map = config.as_object().cloned().unwrap_or_default();
    if status {
        map.retain(|key, _| key == "status");
    } else {
        map.remove("status");
    }
    Value::Object(map)
}

fn merge(object: &Value, config: &Value, of: Type<'_>) -> Value {
    match (object, config) {
        (Value::Object(there), Value::Object(wanted)) if matches!(of.map(), Merge::Granular) => {
            let mut merged = there.clone();
            for (key, value) in wanted {
                let value = there.get(key).map_or_else(|| value.clone(), |there| merge(there, value, of.field(key)));
                merged.insert(key.clone(), value);
            }
            Value::Object(merged)
        }
        (Value::Array(there), Value::Array(wanted)) => match of.list() {
            Merge::Associative(keys) => merge_by_key(there, wanted, &keys, of.element()),
            Merge::Set => {
                let mut merged = there.clone();
                merged.extend(wanted.iter().filter(|element| !there.contains(element)).cloned());
                Value::Array(merged)
            }
            Merge::Atomic | Merge::Granular => config.clone(),
        },
        _ => config.clone(),
    }
}

fn merge_by_key(there: &[Value], wanted: &[Value], keys: &[&str], of: Type<'_>) -> Value {
    let mut merged = there.to_vec();
    for element in wanted {
        let key = key_of(element, keys);
        match merged.iter_mut().find(|other| key.is_some() && key_of(other, keys) == key) {
            Some(other) => *other = merge(other, element, of),
            None => merged.push(element.clone()),
        }
    }
    Value::Array(merged)
}
