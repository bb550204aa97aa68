//! Server-side apply: who owns which field, what conflicts, what goes when nobody wants it any more.
//!
//! Lists and maps are merged as `types` says: by the API server's own declarations, or by the schema of a custom resource.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    fields::{self, Changes, Set, with_structures, without},
    merge::merge,
    path::{Part, Path, at, part_of, part_text, text},
    types::Type,
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
pub(crate) struct Ownership(BTreeMap<Claim, Set>);

/// A field that somebody else owns with another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    /// Who, as a server says it: an update is told from an apply.
    pub(crate) manager: String,
    pub(crate) field: String,
}

/// Who writes, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writing<'a> {
    pub(crate) manager: &'a str,
    /// Whether the status is written, not the rest.
    pub(crate) status: bool,
    pub(crate) reach: Reach,
}

/// Which fields a request may change.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reach {
    All,
    /// The status is a resource of its own.
    AllButStatus,
    /// The status, and the metadata but for one part.
    AllButSpec(Option<&'static str>),
}

impl Writing<'_> {
    /// Whether this request may change a field.
    fn reaches(self, path: &Path) -> bool {
        let is = |index: usize, field: &str| matches!(path.get(index), Some(Part::Field(name)) if name == field);
        match self.reach {
            Reach::All => true,
            Reach::AllButStatus => !is(0, "status"),
            Reach::AllButSpec(but) => !(is(0, "spec") || is(0, "metadata") && but.is_some_and(|but| is(1, but))),
        }
    }

    fn claim(self, operation: &'static str) -> Claim {
        Claim { manager: self.manager.to_owned(), operation, status: self.status }
    }
}

/// What names an object or is the server's: nobody owns it.
const SERVER_FIELDS: [&str; 7] =
    ["name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"];

fn can_be_owned(path: &Path) -> bool {
    match path.as_slice() {
        [Part::Field(field)] => !matches!(field.as_str(), "apiVersion" | "kind" | "metadata"),
        [Part::Field(metadata), Part::Field(field)] if metadata == "metadata" => {
            !SERVER_FIELDS.contains(&field.as_str())
        }
        _ => true,
    }
}

/// Labels and annotations: the cluster's own controllers set some, and keep no claims here.
fn is_note(path: &Path) -> bool {
    let is =
        |part: Option<&Part>, names: &[&str]| matches!(part, Some(Part::Field(name)) if names.contains(&name.as_str()));
    path.len() == 3 && is(path.first(), &["metadata"]) && is(path.get(1), &["labels", "annotations"])
}

impl Ownership {
    /// Applies a configuration: the object afterwards, or the fields that others own with other values.
    pub(crate) fn apply(
        &mut self,
        object: &Value,
        config: &Value,
        of: Type<'_>,
        by: Writing<'_>,
        force: bool,
    ) -> Result<Value, Vec<Conflict>> {
        let claim = by.claim("Apply");
        let mut wanted = fields::of(config, of);
        wanted.retain(|path| by.reaches(path));
        let mut owned = self.clone();
        if owned.0.is_empty() {
            // Made by the cluster's own controllers, which keep no claims here.
            let before = Writing { manager: "before-first-apply", status: false, reach: Reach::All };
            owned.update(&of.empty(), object, of, before);
        }
        let last = owned.0.insert(claim.clone(), wanted).unwrap_or_default();
        let merged = owned.prune(&merge(object, config, of), of, &last);
        let mut changes = Changes::between(object, &merged, of);
        changes.retain(|path| by.reaches(path));
        let conflicts = owned.conflicts(&claim, &changes, api_version_of(&merged));
        if !conflicts.is_empty() && !force {
            return Err(conflicts);
        }
        owned.yield_to(&claim, &changes);
        owned.tidy(&claim);
        *self = owned;
        Ok(merged)
    }

    /// What others own and the changes touch.
    fn conflicts(&self, claim: &Claim, changes: &Changes, api_version: &str) -> Vec<Conflict> {
        let others = self.0.iter().filter(|(other, _)| *other != claim);
        let touched = |path: &&Path| changes.modified.contains(*path) || changes.added.contains(*path);
        let named = |claim: &Claim| {
            let by_status = if claim.status { " with subresource \"status\"" } else { "" };
            let by_update = if claim.operation == "Update" { format!(" using {api_version}") } else { String::new() };
            format!("{:?}{by_status}{by_update}", claim.manager)
        };
        others
            .flat_map(|(other, paths)| paths.iter().filter(touched).map(move |path| (other, path)))
            .map(|(other, path)| Conflict { manager: named(other), field: text(path) })
            .collect()
    }

    /// Others lose what changed.
    fn yield_to(&mut self, claim: &Claim, changes: &Changes) {
        for (_, paths) in self.0.iter_mut().filter(|(other, _)| *other != claim) {
            paths.retain(|path| {
                ![&changes.modified, &changes.added, &changes.removed].iter().any(|set| set.contains(path))
            });
        }
    }

    fn tidy(&mut self, claim: &Claim) {
        if let Some(paths) = self.0.get_mut(claim) {
            paths.retain(can_be_owned);
        }
        self.0.retain(|_, paths| !paths.is_empty());
    }

    /// Removes what a manager no longer applies, unless somebody owns it, or something in it.
    fn prune(&self, merged: &Value, of: Type<'_>, last: &Set) -> Value {
        if last.is_empty() {
            return merged.clone();
        }
        let last = with_structures(last, of);
        let all = with_structures(&fields::of(merged, of), of);
        let pruned = without(merged, of, &last);
        let mut kept = with_structures(&fields::of(&pruned, of), of);
        for owned in self.0.values() {
            kept.extend(with_structures(owned, of));
        }
        kept.extend(with_structures(
            &all.iter().filter(|path| is_note(path) && !last.contains(*path)).cloned().collect(),
            of,
        ));
        // An owned field comes back with what is around it, and then all in it that is not the applier's.
        let pruned = without(merged, of, &all.difference(&kept).cloned().collect());
        let left = with_structures(&fields::of(&pruned, of), of);
        let gone = all.difference(&left).filter(|path| last.contains(*path)).cloned().collect();
        without(merged, of, &gone)
    }

    /// Notes that a manager wrote an object as a whole or by a patch: it owns what it changed.
    pub(crate) fn update(&mut self, before: &Value, after: &Value, of: Type<'_>, by: Writing<'_>) {
        let mut changes = Changes::between(before, after, of);
        changes.retain(|path| by.reaches(path));
        if changes.is_empty() {
            return;
        }
        let claim = by.claim("Update");
        self.yield_to(&claim, &changes);
        let owned = self.0.entry(claim.clone()).or_default();
        owned.retain(|path| !changes.removed.contains(path));
        owned.extend(changes.added.into_iter().chain(changes.modified));
        self.tidy(&claim);
    }

    /// Forgets fields that are gone: whoever owned them owns nothing now.
    pub(crate) fn forget_missing(&mut self, object: &Value) {
        for paths in self.0.values_mut() {
            paths.retain(|path| at(object, path).is_some());
        }
        self.0.retain(|_, paths| !paths.is_empty());
    }

    /// The reverse of [`Ownership::managed_fields`], for whoever writes claims itself.
    pub(crate) fn read(claims: &Value) -> Self {
        let mut owned: BTreeMap<Claim, Set> = BTreeMap::new();
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
        let api_version = api_version_of(object);
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

fn api_version_of(object: &Value) -> &str {
    object.get("apiVersion").and_then(Value::as_str).unwrap_or_default()
}

fn collect(fields: &Value, at: &mut Path, into: &mut Set) {
    let children = fields.as_object().into_iter().flatten();
    let (parts, marks): (Vec<_>, Vec<_>) =
        children.map(|(key, value)| (part_of(key), value)).partition(|(part, _)| part.is_some());
    if (parts.is_empty() || !marks.is_empty()) && !at.is_empty() {
        into.insert(at.clone());
    }
    for (part, value) in parts {
        at.extend(part);
        collect(value, at, into);
        at.pop();
    }
}

/// Paths come in order: what is around a field before the field itself.
fn insert(fields: &mut Value, path: &[Part]) {
    let Some(map) = fields.as_object_mut() else { return };
    let Some((first, rest)) = path.split_first() else { return };
    let is_owned_itself =
        map.get(&part_text(first)).is_some_and(|inner| inner.as_object().is_some_and(serde_json::Map::is_empty));
    let inner = map.entry(part_text(first)).or_insert_with(|| json!({}));
    if let (true, false, Some(inner)) = (is_owned_itself, rest.is_empty(), inner.as_object_mut()) {
        inner.insert(".".into(), json!({}));
    }
    insert(inner, rest);
}
