//! What the API server is asked to write down, and what it wrote.

use std::{fs, path::Path};

use serde_json::{Value, json};

/// The group of whoever has all requests written down.
pub(crate) const AUDITED: &str = "scone-operator-tests:audited";
/// Where charts put the operator.
const ACCOUNTS: &str = "system:serviceaccounts:scone-system";
const WRITES: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];

/// Every request that is to change something, and all of those who are tested, one JSON line each. What tests read would be most of it.
pub(crate) fn policy() -> String {
    let audited = json!({"level": "Metadata", "userGroups": [AUDITED, ACCOUNTS]});
    let writes = json!({"level": "Metadata", "verbs": WRITES});
    json!({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
        "rules": [audited, writes, {"level": "None"}]})
    .to_string()
}

/// The events about requests that were to change something.
pub(crate) fn writes(folder: &Path) -> Vec<Value> {
    let mut events = read(folder);
    events.retain(|event| WRITES.iter().any(|verb| event.get("verb").is_some_and(|known| known == verb)));
    events
}

/// The events about all requests of those who are tested.
pub(crate) fn of_audited(folder: &Path) -> Vec<Value> {
    let audited = |group: &Value| *group == AUDITED || *group == ACCOUNTS;
    let groups = |event: &Value| event.pointer("/user/groups").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut events = read(folder);
    events.retain(|event| groups(event).iter().any(audited));
    events
}

fn read(folder: &Path) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("audit.log")).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(verb: &str, group: &str) -> String {
        json!({"verb": verb, "user": {"username": "u", "groups": [group]}}).to_string()
    }

    #[test]
    fn writes_are_those_of_everybody_and_reads_those_of_who_is_tested() {
        let folder = tempfile::tempdir().unwrap();
        let lines = [request("patch", "system:masters"), request("list", AUDITED), request("patch", ACCOUNTS)];
        fs::write(folder.path().join("audit.log"), lines.join("\n")).unwrap();
        assert_eq!((writes(folder.path()).len(), of_audited(folder.path()).len()), (2, 2));
    }
}
