//! Sets of fields: which ones a value has, which ones differ between two values, and a value without some of them.
//!
//! The rules are those of server-side apply: a field is one of a set when it is a leaf, an entry of a map, an element of a
//! list, or empty; a structure that just holds other fields is not.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{
    path::{Part, Path, key_of},
    types::{Form, Type},
};

pub(crate) type Set = BTreeSet<Path>;

/// All fields of a value.
pub(crate) fn of(value: &Value, of: Type<'_>) -> Set {
    let mut out = Set::new();
    collect(value, of, &mut Path::new(), &mut out);
    out
}

fn collect(value: &Value, of: Type<'_>, at: &mut Path, out: &mut Set) {
    if matches!(of.form(value), Form::Leaf) {
        out.insert(at.clone());
        return;
    }
    for (part, inner, of_inner, named) in children(value, of) {
        at.push(part);
        collect(inner, of_inner, at, out);
        if !named || is_empty_object(inner) {
            out.insert(at.clone());
        }
        at.pop();
    }
}

fn is_empty_object(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(Map::is_empty)
}

/// What is directly in a value that is not merged as a whole: step, value, type, and whether the type declares this step.
fn children<'v, 't>(value: &'v Value, of: Type<'t>) -> Vec<(Part, &'v Value, Type<'t>, bool)> {
    match (value, of.form(value)) {
        (Value::Object(map), Form::Object) => map
            .iter()
            .map(|(name, inner)| (Part::Field(name.clone()), inner, of.field(name), of.declares(name)))
            .collect(),
        (Value::Array(elements), form @ (Form::Keyed(_) | Form::Set)) => elements
            .iter()
            .filter_map(|element| Some((part_of_element(element, &form)?, element, of.element(), false)))
            .collect(),
        _ => Vec::new(),
    }
}

/// The step to an element of a list.
pub(crate) fn part_of_element(element: &Value, form: &Form) -> Option<Part> {
    match form {
        Form::Keyed(keys) => key_of(element, keys).map(Part::Key),
        Form::Set => Some(Part::Element(element.to_string())),
        Form::Leaf | Form::Object => None,
    }
}

/// In which fields two values differ.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) added: Set,
    pub(crate) modified: Set,
    pub(crate) removed: Set,
}

impl Changes {
    pub(crate) fn between(old: &Value, new: &Value, of: Type<'_>) -> Self {
        let mut changes = Self::default();
        changes.compare(Some(old), Some(new), of, &mut Path::new());
        changes
    }

    /// Leaves out what a request may not change.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Path) -> bool) {
        for set in [&mut self.added, &mut self.modified, &mut self.removed] {
            set.retain(&keep);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    fn compare(&mut self, old: Option<&Value>, new: Option<&Value>, of: Type<'_>, at: &mut Path) {
        let whole = |value: Option<&Value>| value.is_some_and(|value| matches!(of.form(value), Form::Leaf));
        let before = old.map(|value| children(value, of)).unwrap_or_default();
        let after = new.map(|value| children(value, of)).unwrap_or_default();
        match (old, new) {
            (None, Some(_)) => drop(self.added.insert(at.clone())),
            (Some(_), None) => drop(self.removed.insert(at.clone())),
            (Some(old_value), Some(new_value)) if whole(old) || whole(new) || before.is_empty() && after.is_empty() => {
                if old_value != new_value {
                    self.modified.insert(at.clone());
                }
                return;
            }
            _ => {}
        }
        if whole(old) || whole(new) {
            return;
        }
        for (part, value, of, _) in &before {
            let other = after.iter().find(|(other, ..)| other == part).map(|(_, value, ..)| *value);
            at.push(part.clone());
            self.compare(Some(value), other, *of, at);
            at.pop();
        }
        for (part, value, of, _) in after.iter().filter(|(part, ..)| !before.iter().any(|(other, ..)| other == part)) {
            at.push(part.clone());
            self.compare(None, Some(value), *of, at);
            at.pop();
        }
    }
}

/// A set with the structures around its fields.
pub(crate) fn with_structures(set: &Set, of: Type<'_>) -> Set {
    let mut out = set.clone();
    for path in set {
        let mut of = of;
        for (index, part) in path.iter().enumerate() {
            match part {
                Part::Field(name) => {
                    let around = path.get(..=index).filter(|_| of.declares(name) && index + 1 < path.len());
                    out.extend(around.map(<[Part]>::to_vec));
                    of = of.field(name);
                }
                Part::Key(_) | Part::Element(_) => of = of.element(),
            }
        }
    }
    out
}

/// Whether a set has something in this place.
fn has_within(set: &Set, at: &Path) -> bool {
    set.range(at.clone()..).next().is_some_and(|path| path.starts_with(at))
}

/// A value without these fields. What is left of a structure or a list that loses all it held is a null.
pub(crate) fn without(value: &Value, of: Type<'_>, fields: &Set) -> Value {
    drop_fields(value, of, fields, &mut Path::new())
}

fn drop_fields(value: &Value, of: Type<'_>, fields: &Set, at: &mut Path) -> Value {
    let form = of.form(value);
    let mut kept = |part: Part, inner: &Value, of: Type<'_>| {
        at.push(part);
        let kept = if fields.contains(at) {
            None
        } else if has_within(fields, at) {
            Some(drop_fields(inner, of, fields, at))
        } else {
            Some(inner.clone())
        };
        at.pop();
        kept
    };
    match (value, &form) {
        (Value::Object(map), Form::Object) => {
            let left = map.iter().filter_map(|(name, inner)| {
                Some((name.clone(), kept(Part::Field(name.clone()), inner, of.field(name))?))
            });
            let left: Map<String, Value> = left.collect();
            if left.is_empty() && !map.is_empty() { Value::Null } else { Value::Object(left) }
        }
        (Value::Array(elements), Form::Keyed(_) | Form::Set) => {
            let left = elements.iter().filter_map(|element| match part_of_element(element, &form) {
                Some(part) => kept(part, element, of.element()),
                None => Some(element.clone()),
            });
            let left: Vec<Value> = left.collect();
            if left.is_empty() && !elements.is_empty() { Value::Null } else { Value::Array(left) }
        }
        _ => value.clone(),
    }
}
