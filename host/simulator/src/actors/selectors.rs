//! Who is meant: labels, selectors, taints.

use serde_json::{Map, Value};

use super::{list, text};

/// One label of an object.
pub(super) fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.pointer("/metadata/labels")?.get(key)?.as_str()
}

/// Whether a `LabelSelector` means an object. None means nothing, an empty one everything.
pub(super) fn selects(selector: Option<&Value>, object: &Value) -> bool {
    let Some(selector) = selector else { return false };
    let labels = selector.get("matchLabels").and_then(Value::as_object);
    has_all(labels, object)
        && list(selector, "/matchExpressions").all(|term| fits(term, label(object, text(term, "/key"))))
}

/// Whether an object has all these labels.
pub(super) fn has_all(labels: Option<&Map<String, Value>>, object: &Value) -> bool {
    labels.into_iter().flatten().all(|(key, value)| label(object, key) == value.as_str())
}

/// Whether a value fits an expression: `In`, `NotIn`, `Exists`, `DoesNotExist`, `Gt`, `Lt`.
pub(super) fn fits(expression: &Value, value: Option<&str>) -> bool {
    let among = || value.is_some_and(|value| list(expression, "/values").any(|other| other.as_str() == Some(value)));
    let numbers = || {
        let bound: i64 = list(expression, "/values").next()?.as_str()?.parse().ok()?;
        Some((value?.parse::<i64>().ok()?, bound))
    };
    match text(expression, "/operator") {
        "In" => among(),
        "NotIn" => !among(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => numbers().is_some_and(|(value, bound)| value > bound),
        "Lt" => numbers().is_some_and(|(value, bound)| value < bound),
        _ => false,
    }
}

/// Whether a toleration is for a taint.
pub(super) fn tolerates(toleration: &Value, taint: &Value) -> bool {
    let same = |key: &str| toleration.get(key) == taint.get(key);
    let effect = toleration.get("effect").is_none() || same("effect");
    let exists = text(toleration, "/operator") == "Exists";
    let key = (exists && toleration.get("key").is_none()) || same("key");
    effect && key && (exists || same("value"))
}
