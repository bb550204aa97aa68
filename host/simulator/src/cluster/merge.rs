//! How an applied configuration is merged into an object: elements of lists by their keys, in the order of whoever applies.

use std::collections::VecDeque;

use serde_json::{Map, Value};

use super::{
    fields::part_of_element,
    path::Part,
    types::{Form, Type},
};

/// An object with what a configuration says.
pub(crate) fn merge(object: &Value, config: &Value, of: Type<'_>) -> Value {
    let form = of.form(config);
    match (object, config, &form) {
        (Value::Object(there), Value::Object(wanted), Form::Object) => Value::Object(merge_maps(there, wanted, of)),
        (Value::Array(there), Value::Array(wanted), Form::Keyed(_) | Form::Set) => {
            Value::Array(merge_lists(there, wanted, &form, of.element()))
        }
        // Nothing is no way to say that something goes.
        (Value::Object(there), Value::Null, Form::Object) if !there.is_empty() => object.clone(),
        (Value::Array(there), Value::Null, Form::Keyed(_) | Form::Set) if !there.is_empty() => object.clone(),
        _ => config.clone(),
    }
}

fn merge_maps(there: &Map<String, Value>, wanted: &Map<String, Value>, of: Type<'_>) -> Map<String, Value> {
    let mut merged = there.clone();
    for (key, value) in wanted {
        let value = there.get(key).map_or_else(|| value.clone(), |there| merge(there, value, of.field(key)));
        merged.insert(key.clone(), value);
    }
    merged
}

/// Elements that both have come in the order of whoever applies; those that only the object has stay between their neighbours.
fn merge_lists(there: &[Value], wanted: &[Value], form: &Form, of: Type<'_>) -> Vec<Value> {
    let steps = |list: &[Value]| list.iter().map(|element| part_of_element(element, form)).collect::<Vec<_>>();
    let (left, right) = (steps(there), steps(wanted));
    let find = |steps: &[Option<Part>], part: &Option<Part>| steps.iter().position(|p| p.is_some() && p == part);
    let merged = |index: usize| -> Option<Value> {
        let element = wanted.get(index)?;
        let other = find(&left, right.get(index)?).and_then(|index| there.get(index));
        Some(other.map_or_else(|| element.clone(), |other| merge(other, element, of)))
    };
    let mut shared: VecDeque<&Option<Part>> = right.iter().filter(|part| find(&left, part).is_some()).collect();
    let mut next = shared.pop_front();
    let (mut out, mut done): (Vec<Value>, Vec<&Option<Part>>) = (Vec::new(), Vec::new());
    let (mut l, mut r) = (0, 0);
    while l < left.len() || r < right.len() {
        if let (Some(from), Some(to)) = (left.get(l), right.get(r)) {
            if from == to {
                done.push(from);
                out.extend(merged(r));
                (l, r, next) = (l + 1, r + 1, shared.pop_front());
                continue;
            }
            // Both have it, but it comes later.
            if find(&right, from).is_some() && next.is_some_and(|next| next != from) {
                l += 1;
                continue;
            }
        }
        if let Some(from) = left.get(l) {
            if find(&right, from).is_none() {
                out.extend(there.get(l).cloned());
                l += 1;
                continue;
            }
            if done.contains(&from) {
                l += 1;
            }
        }
        if let Some(to) = right.get(r) {
            done.push(to);
            out.extend(merged(r));
            r += 1;
            if next == Some(to) {
                next = shared.pop_front();
            }
        }
    }
    out
}
