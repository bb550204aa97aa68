//! Server-side apply: who owns which field, what conflicts, what goes when nobody wants it any more.
//!
//! Lists are merged by the keys that Kubernetes' own types declare for the fields that operators write; every other list is
//! replaced as a whole.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

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

type Path = Vec<Part>;

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

/// How a list is merged.
enum ListType {
    Associative(&'static [&'static str]),
    Set,
    Atomic,
}

fn list_type(field: &str) -> ListType {
    match field {
        "containers" | "initContainers" | "env" | "volumes" | "imagePullSecrets" | "secrets" => {
            ListType::Associative(&["name"])
        }
        "ports" => ListType::Associative(&["containerPort", "port", "protocol"]),
        "volumeMounts" => ListType::Associative(&["mountPath"]),
        "conditions" => ListType::Associative(&["type"]),
        "ownerReferences" => ListType::Associative(&["uid"]),
        "topologySpreadConstraints" => ListType::Associative(&["topologyKey"]),
        "finalizers" => ListType::Set,
        _ => ListType::Atomic,
    }
}

fn key_of(element: &Value, keys: &[&str]) -> Option<String> {
    let map: Map<String, Value> =
        keys.iter().filter_map(|key| Some(((*key).to_owned(), element.get(*key)?.clone()))).collect();
    (!map.is_empty()).then(|| Value::Object(map).to_string())
}

/// The leaves of a configuration, without what only names the object.
fn leaves(config: &Value, status: bool) -> BTreeSet<Path> {
    let mut out = BTreeSet::new();
    for (key, value) in config.as_object().into_iter().flatten() {
        let relevant = match key.as_str() {
            "apiVersion" | "kind" => false,
            "status" => status,
            _ => !status,
        };
        if relevant {
            walk(value, key, &mut vec![Part::Field(key.clone())], &mut out);
        }
    }
    for named in ["name", "namespace"] {
        out.remove(&vec![Part::Field("metadata".into()), Part::Field(named.into())]);
    }
    out
}

fn walk(value: &Value, field: &str, at: &mut Path, out: &mut BTreeSet<Path>) {
    match (value, list_type(field)) {
        (Value::Object(map), _) if !map.is_empty() => {
            for (key, inner) in map {
                at.push(Part::Field(key.clone()));
                walk(inner, key, at, out);
                at.pop();
            }
        }
        (Value::Array(elements), ListType::Associative(keys)) if !elements.is_empty() => {
            for element in elements {
                let Some(key) = key_of(element, keys) else { continue };
                at.push(Part::Key(key));
                walk(element, "", at, out);
                at.pop();
            }
        }
        (Value::Array(elements), ListType::Set) => {
            for element in elements {
                at.push(Part::Element(element.to_string()));
                out.insert(at.clone());
                at.pop();
            }
        }
        _ => {
            out.insert(at.clone());
        }
    }
}

impl Ownership {
    /// Applies a configuration: the object afterwards, or the fields that others own with other values.
    pub(crate) fn apply(
        &mut self,
        object: &Value,
        config: &Value,
        manager: &str,
        status: bool,
        force: bool,
    ) -> Result<Value, Vec<Conflict>> {
        let claim = Claim { manager: manager.to_owned(), operation: "Apply", status };
        let wanted = leaves(config, status);
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
        let mut merged = merge(object, &relevant(config, status), "");
        for path in before.difference(&wanted) {
            let kept = self.0.values().any(|paths| paths.contains(path));
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
    pub(crate) fn update(&mut self, before: &Value, after: &Value, manager: &str, status: bool) {
        let (had, has) = (leaves(before, status), leaves(after, status));
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

    /// `metadata.managedFields`.
    pub(crate) fn managed_fields(&self, object: &Value) -> Vec<Value> {
        let api_version = object.get("apiVersion").cloned().unwrap_or_default();
        self.0
            .iter()
            .map(|(claim, paths)| {
                let mut fields = json!({});
                paths.iter().for_each(|path| insert(&mut fields, path));
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

fn insert(fields: &mut Value, path: &[Part]) {
    let Some((first, rest)) = path.split_first() else { return };
    if let Some(map) = fields.as_object_mut() {
        insert(map.entry(part_text(first)).or_insert_with(|| json!({})), rest);
    }
}

fn part_text(part: &Part) -> String {
    match part {
        Part::Field(name) => format!("f:{name}"),
        Part::Key(key) => format!("k:{key}"),
        Part::Element(value) => format!("v:{value}"),
    }
}

fn text(path: &[Part]) -> String {
    path.iter()
        .map(|part| match part {
            Part::Field(name) => format!(".{name}"),
            Part::Key(key) => format!("[{key}]"),
            Part::Element(value) => format!("[={value}]"),
        })
        .collect()
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

fn merge(object: &Value, config: &Value, field: &str) -> Value {
    match (object, config, list_type(field)) {
        (Value::Object(there), Value::Object(wanted), _) => {
            let mut merged = there.clone();
            for (key, value) in wanted {
                let value = there.get(key).map_or_else(|| value.clone(), |there| merge(there, value, key));
                merged.insert(key.clone(), value);
            }
            Value::Object(merged)
        }
        (Value::Array(there), Value::Array(wanted), ListType::Associative(keys)) => {
            let mut merged = there.clone();
            for element in wanted {
                let key = key_of(element, keys);
                match merged.iter_mut().find(|other| key.is_some() && key_of(other, keys) == key) {
                    Some(other) => *other = merge(other, element, ""),
                    None => merged.push(element.clone()),
                }
            }
            Value::Array(merged)
        }
        (Value::Array(there), Value::Array(wanted), ListType::Set) => {
            let mut merged = there.clone();
            merged.extend(wanted.iter().filter(|element| !there.contains(element)).cloned());
            Value::Array(merged)
        }
        _ => config.clone(),
    }
}

fn at<'a>(value: &'a Value, path: &[Part]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, part| match part {
        Part::Field(name) => value.get(name),
        Part::Key(key) => value.as_array()?.iter().find(|element| matches_key(element, key)),
        Part::Element(text) => value.as_array()?.iter().find(|element| element.to_string() == *text),
    })
}

fn remove_at(value: &mut Value, path: &[Part]) {
    let Some((first, rest)) = path.split_first() else { return };
    match (value, first) {
        (Value::Object(map), Part::Field(name)) if rest.is_empty() => {
            map.remove(name);
        }
        (Value::Object(map), Part::Field(name)) => {
            if let Some(inner) = map.get_mut(name) {
                remove_at(inner, rest);
            }
        }
        (Value::Array(elements), Part::Key(key)) if rest.is_empty() => elements.retain(|e| !matches_key(e, key)),
        (Value::Array(elements), Part::Key(key)) => {
            if let Some(element) = elements.iter_mut().find(|element| matches_key(element, key)) {
                remove_at(element, rest);
            }
        }
        (Value::Array(elements), Part::Element(text)) => elements.retain(|element| element.to_string() != *text),
        _ => {}
    }
}

fn matches_key(element: &Value, key: &str) -> bool {
    let key: Value = serde_json::from_str(key).unwrap_or_default();
    key.as_object().is_some_and(|key| key.iter().all(|(name, value)| element.get(name) == Some(value)))
}
