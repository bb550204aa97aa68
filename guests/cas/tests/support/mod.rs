//! The settled cluster, how tests change it, and how they look at an answer.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "each test file uses some of it; helpers of tests may do what tests may"
)]

pub(crate) mod cases;

use cas::CasModule;
use operator_guest::testing::{self, Answer};
use serde_json::{Value, json};

/// A settled cluster.
pub(crate) fn settled() -> Value {
    serde_saphyr::from_str(include_str!("../settled.yaml")).unwrap()
}

pub(crate) fn answer(tree: &Value) -> Answer {
    // JSON is YAML.
    testing::reconcile::<CasModule>(&tree.to_string()).unwrap()
}

pub(crate) fn status(answer: &Answer) -> Value {
    answer.status().unwrap()
}

/// State, reason and message.
pub(crate) fn verdict(answer: &Answer) -> String {
    let ready = answer.condition("IsHealthy").unwrap();
    format!("{} {}: {}", status(answer)["state"].as_str().unwrap(), ready.reason, ready.message)
}

/// The settled cluster with these places changed, see [`set`].
pub(crate) fn with(edits: &[(&str, &str)]) -> Value {
    let mut tree = settled();
    for (place, value) in edits {
        set(&mut tree, place, value);
    }
    tree
}

/// Changes one place: `parent/…`, `answers/…`, `now`; `child:Kind/name/…`, `pod:name/…`, `node:name/…`, `claim:volume/…`,
/// `condition:type/…`. Keys are parted by slashes, and a slash in a key is written `~1`. The value is YAML; `-` removes.
pub(crate) fn set(tree: &mut Value, place: &str, yaml: &str) {
    let (pointer, rest) = locate(tree, place);
    let pointer = format!("{pointer}{rest}");
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let key = key.replace("~1", "/");
    let holder = ensure(tree, parent);
    let value: Option<Value> = (yaml != "-").then(|| serde_saphyr::from_str(yaml).unwrap());
    match (holder, value) {
        (Value::Object(map), Some(value)) => drop(map.insert(key, value)),
        (Value::Object(map), None) => drop(map.remove(&key)),
        (Value::Array(list), Some(value)) => match key.parse::<usize>() {
            Ok(at) if at < list.len() => list[at] = value,
            _ => list.push(value),
        },
        (Value::Array(list), None) => drop(list.remove(key.parse().unwrap())),
        (other, _) => panic!("{place}: {other} holds nothing"),
    }
}

fn ensure<'a>(tree: &'a mut Value, pointer: &str) -> &'a mut Value {
    let mut at = tree;
    for key in pointer.split('/').skip(1) {
        let key = key.replace("~1", "/");
        at = match at {
            Value::Array(list) => {
                let index: usize = key.parse().unwrap();
                &mut list[index]
            }
            Value::Object(map) => map.entry(key).or_insert_with(|| json!({})),
            other => panic!("{pointer}: {other} holds nothing"),
        };
    }
    at
}

/// The pointer of an object that is named, and the rest of the place.
fn locate(tree: &Value, place: &str) -> (String, String) {
    let Some((kind, rest)) = place.split_once(':') else { return (String::new(), format!("/{place}")) };
    let (list, name, rest, wanted_kind) = if kind == "child" {
        let (kind, rest) = rest.split_once('/').unwrap();
        let (name, rest) = split(rest);
        ("/children", name, rest, Some(kind))
    } else {
        let (name, rest) = split(rest);
        let list = match kind {
            "pod" => "/answers/pods/objects",
            "node" => "/answers/nodes/objects",
            "condition" => "/parent/status/conditions",
            "claim" => return (format!("/answers/claim-{name}/objects/0"), rest),
            other => panic!("{place}: nothing is named {other}"),
        };
        (list, name, rest, None)
    };
    let found = tree.pointer(list).and_then(Value::as_array).unwrap().iter().position(|object| {
        let named = object["metadata"]["name"] == name || object["type"] == name;
        named && wanted_kind.is_none_or(|kind| object["kind"] == kind)
    });
    let at = found.unwrap_or_else(|| panic!("{place}: there is none"));
    (format!("{list}/{at}"), rest)
}

fn split(rest: &str) -> (String, String) {
    let (name, rest) = rest.split_once('/').map_or((rest, String::new()), |(name, rest)| (name, format!("/{rest}")));
    (name.replace("~1", "/"), rest)
}

/// The cluster once the answer is carried out: children as they would be stored, the status as the host would write it.
pub(crate) fn carried_out(tree: &Value) -> Value {
    let answer = answer(tree);
    let mut next = tree.clone();
    let old = tree["children"].as_array().cloned().unwrap_or_default();
    let children = answer.desired().unwrap().children.iter().map(|child| {
        let mut object: Value = serde_json::from_slice(&child.document).unwrap();
        let same =
            |old: &&Value| old["kind"] == object["kind"] && old["metadata"]["name"] == object["metadata"]["name"];
        match old.iter().find(same) {
            Some(old) => {
                object["metadata"]["uid"] = old["metadata"]["uid"].clone();
                object["metadata"]["generation"] = old["metadata"]["generation"].clone();
                if !old["status"].is_null() {
                    object["status"] = old["status"].clone();
                }
            }
            None => stored(&mut object),
        }
        object
    });
    next["children"] = children.collect();
    next["parent"]["status"] = status(&answer);
    next["parent"]["status"]["conditions"] = conditions(&answer, &tree["parent"]["status"]["conditions"]);
    next
}

/// What an API server and the controllers of Kubernetes add to a new object.
fn stored(object: &mut Value) {
    let kind = object["kind"].as_str().unwrap().to_owned();
    object["metadata"]["uid"] = format!("uid-{kind}-{}", object["metadata"]["name"].as_str().unwrap()).into();
    object["metadata"]["generation"] = 1.into();
    let replicas = object["spec"]["replicas"].clone();
    object["status"] = match kind.as_str() {
        "StatefulSet" => json!({"observedGeneration": 1, "replicas": 1, "readyReplicas": 1, "updatedReplicas": 1}),
        "Deployment" => {
            json!({"observedGeneration": 1, "replicas": replicas, "readyReplicas": replicas, "updatedReplicas": replicas, "availableReplicas": replicas})
        }
        "PodDisruptionBudget" if object["spec"].get("maxUnavailable").is_some() => {
            json!({"observedGeneration": 1, "disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1})
        }
        "PodDisruptionBudget" => {
            json!({"observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 3, "desiredHealthy": 2, "expectedPods": 3})
        }
        _ => return,
    };
}

/// The conditions as a host dates them: when their status last changed.
pub(crate) fn conditions(answer: &Answer, before: &Value) -> Value {
    let date = |type_: &str, status: &str| {
        let same = |old: &&Value| old["type"] == type_ && old["status"] == status;
        let kept = before.as_array().into_iter().flatten().find(same);
        kept.map_or_else(|| "2023-11-14T22:05:00Z".into(), |old| old["lastTransitionTime"].clone())
    };
    let told = answer.desired().unwrap().conditions.iter().map(|condition| {
        let status = format!("{:?}", condition.status).replace("ConditionStatus::", "");
        json!({
            "type": condition.type_, "status": status, "reason": condition.reason, "message": condition.message,
            "lastTransitionTime": date(&condition.type_, &status),
        })
    });
    told.collect()
}

/// Status and reason of a condition.
pub(crate) fn condition(answer: &Answer, type_: &str) -> String {
    let found = answer.condition(type_).unwrap();
    format!("{:?} {}: {}", found.status, found.reason, found.message).replace("ConditionStatus::", "")
}

/// The child of a kind and name, as JSON.
pub(crate) fn child(answer: &Answer, kind: &str, name: &str) -> Value {
    let children = &answer.desired().unwrap().children;
    let found = children.iter().find(|child| child.identity.kind == kind && child.identity.name == name);
    serde_json::from_slice(&found.unwrap_or_else(|| panic!("no {kind} {name}")).document).unwrap()
}

/// The ids of what is asked.
pub(crate) fn asked(answer: &Answer) -> Vec<&str> {
    answer.desired().unwrap().queries.iter().map(|query| query.id.as_str()).collect()
}
