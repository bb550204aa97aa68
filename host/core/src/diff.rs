//! What differs between the fields that a module wants and the object that exists.

use std::fmt;

use serde_json::Value;

/// One field that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Path from the object's root, such as `spec.template.spec.containers[name=las].image`.
    pub path: String,
    /// What there is; none when the field is absent.
    pub before: Option<Value>,
    /// What is wanted; none when the field goes.
    pub after: Option<Value>,
}

/// `path: before → after`, values cut to one line; never for Secrets, see [`changes`].
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |value: &Option<Value>| match value {
            None => "–".to_owned(),
            Some(value) => {
                let text = match value {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                if text.chars().count() > 48 { text.chars().take(47).chain(['…']).collect() } else { text }
            }
        };
        write!(f, "{}: {} → {}", self.path, short(&self.before), short(&self.after))
    }
}

/// The fields of `desired` that `observed` lacks or contradicts, in canonical order. Fields that only `observed` has are
/// none of the module's business. Elements of lists are matched by their `name`, `type`, `key` or `uid` where they have one,
/// as server-side apply does; quantities are compared by value, since the server writes `1000m` as `1`.
pub fn changes(desired: &Value, observed: &Value) -> Vec<Change> {
    // Nearly always nothing differs, and then no path is needed.
    if holds(desired, Some(observed)) {
        return Vec::new();
    }
    let mut out = Vec::new();
    compare(desired, Some(observed), &mut String::new(), &mut out);
    let secret = desired.get("kind").and_then(Value::as_str) == Some("Secret");
    if secret {
        for change in out.iter_mut().filter(|c| c.path.starts_with("data") || c.path.starts_with("stringData")) {
            let masked = |value: &Option<Value>| value.as_ref().map(|_| Value::from("<masked>"));
            (change.before, change.after) = (masked(&change.before), masked(&change.after));
        }
    }
    out
}

/// Whether nothing differs: what [`compare`] finds nothing in.
fn holds(desired: &Value, observed: Option<&Value>) -> bool {
    match (desired, observed) {
        (Value::Object(wanted), Some(Value::Object(there))) => {
            wanted.iter().all(|(key, value)| holds(value, there.get(key)))
        }
        (Value::Object(wanted), None) if wanted.is_empty() => true,
        (Value::Array(wanted), None) if wanted.is_empty() => true,
        (Value::Array(wanted), Some(Value::Array(there))) => {
            let keyed = is_keyed(wanted);
            (keyed || wanted.len() == there.len())
                && wanted.iter().enumerate().all(|(index, element)| holds(element, matching(element, index, there)))
        }
        (wanted, there) => there.is_some_and(|there| equal(wanted, there)),
    }
}

fn compare(desired: &Value, observed: Option<&Value>, path: &mut String, out: &mut Vec<Change>) {
    match (desired, observed) {
        (Value::Object(wanted), Some(Value::Object(there))) => {
            for (key, value) in wanted {
                let length = path.len();
                push_key(path, key);
                compare(value, there.get(key), path, out);
                path.truncate(length);
            }
        }
        // Empty objects and lists that the server drops are no difference.
        (Value::Object(wanted), None) if wanted.is_empty() => {}
        (Value::Array(wanted), None) if wanted.is_empty() => {}
        (Value::Array(wanted), Some(Value::Array(there))) => compare_lists(wanted, there, path, out),
        (wanted, there) => {
            if !there.is_some_and(|there| equal(wanted, there)) {
                out.push(Change { path: path.clone(), before: there.cloned(), after: Some(wanted.clone()) });
            }
        }
    }
}

fn compare_lists(wanted: &[Value], there: &[Value], path: &mut String, out: &mut Vec<Change>) {
    if !is_keyed(wanted) && wanted.len() != there.len() {
        let list = |values: &[Value]| Some(Value::Array(values.to_vec()));
        out.push(Change { path: path.clone(), before: list(there), after: list(wanted) });
        return;
    }
    for (index, element) in wanted.iter().enumerate() {
        let length = path.len();
        match list_key(element) {
            Some((key, Value::String(value))) => path.push_str(&format!("[{key}={value}]")),
            Some((key, value)) => path.push_str(&format!("[{key}={value}]")),
            None => path.push_str(&format!("[{index}]")),
        }
        compare(element, matching(element, index, there), path, out);
        path.truncate(length);
    }
}

fn is_keyed(wanted: &[Value]) -> bool {
    !wanted.is_empty() && wanted.iter().all(|element| list_key(element).is_some())
}

/// The element of a list that a wanted one is compared to.
fn matching<'a>(element: &Value, index: usize, there: &'a [Value]) -> Option<&'a Value> {
    match list_key(element) {
        // Most often it is in the same place.
        Some(key) => {
            let alike = |other: &&Value| list_key(other) == Some(key);
            there.get(index).filter(alike).or_else(|| there.iter().find(alike))
        }
        None => there.get(index),
    }
}

/// The key by which server-side apply identifies an element of the lists that operators write.
pub(crate) fn list_key(element: &Value) -> Option<(&'static str, &Value)> {
    ["name", "containerPort", "port", "type", "key", "uid"].into_iter().find_map(|key| {
        let value = element.get(key).filter(|value| value.is_string() || value.is_number())?;
        Some((key, value))
    })
}

fn push_key(path: &mut String, key: &str) {
    if key.contains(['.', '/']) {
        path.push_str(&format!("[\"{key}\"]"));
    } else {
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(key);
    }
}

fn equal(a: &Value, b: &Value) -> bool {
    a == b
        || match (scalar(a), scalar(b)) {
            (Some(a), Some(b)) => a == b || matches!((quantity(&a), quantity(&b)), (Some(a), Some(b)) if a == b),
            _ => false,
        }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A quantity in thousandths, as Kubernetes reads it (`resource.Quantity`); none when the text is none, or too large.
pub fn quantity(text: &str) -> Option<i128> {
    let split = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '-' | '+')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(split);
    let factor: i128 = match suffix {
        "m" => 1,
        "" => 1_000,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "T" => 1_000_000_000_000_000,
        "Ki" => 1_000 << 10,
        "Mi" => 1_000 << 20,
        "Gi" => 1_000 << 30,
        "Ti" => 1_000 << 40,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.len() > 9 || number.is_empty() {
        return None;
    }
    let scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    digits.checked_mul(factor)?.checked_div(scale)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn paths(desired: Value, observed: Value) -> Vec<String> {
        changes(&desired, &observed).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn fields_that_only_the_server_has_are_no_change() {
        assert!(paths(json!({"spec": {"a": 1}}), json!({"spec": {"a": 1, "b": 2}, "status": {}})).is_empty());
    }

    #[test]
    fn elements_of_lists_are_matched_by_name_whatever_their_order() {
        let desired = json!({"containers": [{"name": "a", "image": "x:2"}]});
        let observed = json!({"containers": [{"name": "sidecar", "image": "s"}, {"name": "a", "image": "x:1"}]});
        assert_eq!(paths(desired, observed), ["containers[name=a].image: x:1 → x:2"]);
    }

    #[test]
    fn elements_with_the_same_key_are_compared_in_their_order() {
        let ports = json!({"ports": [{"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]});
        assert!(paths(ports.clone(), ports).is_empty());
    }

    #[test]
    fn a_shorter_list_of_scalars_is_a_change() {
        assert_eq!(paths(json!({"args": ["a"]}), json!({"args": ["a", "b"]})), [r#"args: ["a","b"] → ["a"]"#]);
    }

    #[test]
    fn quantities_are_compared_by_value() {
        let limits = |cpu: Value, memory: &str| json!({"limits": {"cpu": cpu, "memory": memory}});
        assert!(paths(limits(json!("1000m"), "1Gi"), limits(json!("1"), "1024Mi")).is_empty());
        assert!(paths(limits(json!(1), "1G"), limits(json!("1"), "1G")).is_empty());
        assert_eq!(paths(limits(json!("1"), "1Gi"), limits(json!("1"), "1G")), ["limits.memory: 1G → 1Gi"]);
    }

    #[test]
    fn empty_objects_that_the_server_drops_are_no_change() {
        assert!(paths(json!({"spec": {"tolerations": [], "securityContext": {}}}), json!({"spec": {}})).is_empty());
    }

    #[test]
    fn keys_with_dots_stay_readable_in_paths() {
        let labels = |value: &str| json!({"metadata": {"labels": {"example.org/ok": value}}});
        assert_eq!(paths(labels("true"), labels("false")), [r#"metadata.labels["example.org/ok"]: false → true"#]);
    }

    #[test]
    fn values_of_secrets_never_appear() {
        let secret = |value: &str| json!({"kind": "Secret", "data": {"key": value}});
        assert_eq!(paths(secret("bmV3"), secret("b2xk")), ["data.key: <masked> → <masked>"]);
    }
}
