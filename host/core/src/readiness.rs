//! When an object counts as ready: the rules of kstatus (kubernetes-sigs/cli-utils) for the kinds that operators make.

use serde_json::Value;

use crate::Readiness;

/// Where an object stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is as it should be.
    Current,
    /// It is on its way; the text says what is missing.
    InProgress(String),
    /// It will not get there by itself; the text says why.
    Failed(String),
    /// It is being deleted.
    Terminating,
    /// It does not exist.
    NotFound,
}

impl Standing {
    /// Whether later stages may follow.
    pub fn is_current(&self) -> bool {
        *self == Self::Current
    }
}

/// The standing of an object by the rule that its child asks for.
pub fn standing(rule: Readiness, object: Option<&Value>) -> Standing {
    let Some(object) = object else { return Standing::NotFound };
    if object.pointer("/metadata/deletionTimestamp").is_some() {
        return Standing::Terminating;
    }
    match rule {
        Readiness::Exists => Standing::Current,
        Readiness::Condition => by_condition(object),
        Readiness::Status => by_kind(object),
    }
}

fn by_condition(object: &Value) -> Standing {
    match condition(object, "Ready") {
        Some((true, _)) => Standing::Current,
        Some((false, message)) => Standing::InProgress(message),
        None => Standing::InProgress("it has no condition Ready yet".into()),
    }
}

fn by_kind(object: &Value) -> Standing {
    if number(object, "/status/observedGeneration")
        .is_some_and(|seen| number(object, "/metadata/generation").is_some_and(|generation| seen < generation))
    {
        return Standing::InProgress("its latest change has not been seen by its controller yet".into());
    }
    match object.get("kind").and_then(Value::as_str).unwrap_or_default() {
        "DaemonSet" => daemon_set(object),
        "Deployment" => deployment(object),
        "StatefulSet" => stateful_set(object),
        "ReplicaSet" => replicas(object),
        "Pod" => pod(object),
        "Job" => job(object),
        "PersistentVolumeClaim" => phase(object, "Bound"),
        _ => generic(object),
    }
}

fn daemon_set(object: &Value) -> Standing {
    let Some(desired) = number(object, "/status/desiredNumberScheduled") else {
        return Standing::InProgress("its controller has not reported yet".into());
    };
    at_least(
        object,
        desired,
        &[
            ("/status/currentNumberScheduled", "scheduled"),
            ("/status/updatedNumberScheduled", "updated"),
            ("/status/numberAvailable", "available"),
            ("/status/numberReady", "ready"),
        ],
    )
}

fn deployment(object: &Value) -> Standing {
    if let Some((false, message)) = condition(object, "Progressing").filter(|(holds, _)| !holds) {
        return Standing::Failed(message);
    }
    let desired = number(object, "/spec/replicas").unwrap_or(1);
    let standing = at_least(
        object,
        desired,
        &[
            ("/status/updatedReplicas", "updated"),
            ("/status/availableReplicas", "available"),
            ("/status/readyReplicas", "ready"),
        ],
    );
    let updated = number(object, "/status/updatedReplicas").unwrap_or(0);
    if standing.is_current() { at_most(object, updated) } else { standing }
}

/// A set that updates its pods is current when all of them come from its latest template, those below the partition excepted.
fn stateful_set(object: &Value) -> Standing {
    let desired = number(object, "/spec/replicas").unwrap_or(1);
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let standing = match replicas(object) {
        Standing::Current => at_most(object, desired),
        standing => standing,
    };
    let partition = number(object, "/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0);
    let rolls = text("/spec/updateStrategy/type") != "OnDelete";
    let outdated = text("/status/currentRevision") != text("/status/updateRevision");
    if standing.is_current() && rolls && outdated {
        let standing = at_least(object, (desired - partition).max(0), &[("/status/updatedReplicas", "updated")]);
        // The last pod may be there before its set says that it is the current one.
        let waits = standing.is_current() && partition == 0;
        return if waits { Standing::InProgress("the update ends".into()) } else { standing };
    }
    standing
}

fn at_most(object: &Value, desired: i64) -> Standing {
    let have = number(object, "/status/replicas").unwrap_or(0);
    let excess = have - desired;
    if excess > 0 { Standing::InProgress(format!("{excess} of {have} still to go")) } else { Standing::Current }
}

fn replicas(object: &Value) -> Standing {
    let desired = number(object, "/spec/replicas").unwrap_or(1);
    at_least(object, desired, &[("/status/readyReplicas", "ready")])
}

fn at_least(object: &Value, desired: i64, fields: &[(&str, &str)]) -> Standing {
    for (pointer, word) in fields {
        let have = number(object, pointer).unwrap_or(0);
        if have < desired {
            return Standing::InProgress(format!("{have} of {desired} {word}"));
        }
    }
    Standing::Current
}

fn pod(object: &Value) -> Standing {
    match object.pointer("/status/phase").and_then(Value::as_str) {
        Some("Succeeded") => Standing::Current,
        Some("Failed") => Standing::Failed("the pod failed".into()),
        _ => by_condition(object),
    }
}

fn job(object: &Value) -> Standing {
    match (condition(object, "Failed"), condition(object, "Complete")) {
        (Some((true, message)), _) => Standing::Failed(message),
        (_, Some((true, _))) => Standing::Current,
        _ => Standing::InProgress("the job runs".into()),
    }
}

fn phase(object: &Value, wanted: &str) -> Standing {
    match object.pointer("/status/phase").and_then(Value::as_str) {
        Some(phase) if phase == wanted => Standing::Current,
        other => Standing::InProgress(format!("its phase is {}, not {wanted}", other.unwrap_or("not set"))),
    }
}

fn generic(object: &Value) -> Standing {
    match (condition(object, "Stalled"), condition(object, "Reconciling"), condition(object, "Ready")) {
        (Some((true, message)), _, _) => Standing::Failed(message),
        (_, Some((true, message)), _) | (_, _, Some((false, message))) => Standing::InProgress(message),
        _ => Standing::Current,
    }
}

fn number(object: &Value, pointer: &str) -> Option<i64> {
    object.pointer(pointer).and_then(Value::as_i64)
}

fn condition(object: &Value, type_: &str) -> Option<(bool, String)> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    let found = conditions.iter().find(|c| c.get("type").and_then(Value::as_str) == Some(type_))?;
    let text = |key: &str| found.get(key).and_then(Value::as_str).unwrap_or_default();
    let message = if text("message").is_empty() { text("reason") } else { text("message") };
    Some((text("status") == "True", format!("{type_}: {message}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn daemon_set(generation: i64, status: Value) -> Standing {
        let object = json!({"kind": "DaemonSet", "metadata": {"generation": generation}, "status": status});
        standing(Readiness::Status, Some(&object))
    }

    #[test]
    fn a_daemon_set_is_current_when_every_pod_is_updated_and_ready() {
        let status = json!({"observedGeneration": 2, "desiredNumberScheduled": 1, "currentNumberScheduled": 1,
            "updatedNumberScheduled": 1, "numberAvailable": 1, "numberReady": 1});
        assert_eq!(daemon_set(2, status.clone()), Standing::Current);
        assert!(matches!(daemon_set(3, status), Standing::InProgress(_)));
    }

    #[test]
    fn a_daemon_set_says_how_many_pods_are_missing() {
        let status = json!({"observedGeneration": 1, "desiredNumberScheduled": 2, "currentNumberScheduled": 2,
            "updatedNumberScheduled": 2, "numberAvailable": 1, "numberReady": 1});
        assert_eq!(daemon_set(1, status), Standing::InProgress("1 of 2 available".into()));
    }

    fn stateful_set(spec: Value, status: Value) -> Standing {
        let object = json!({"kind": "StatefulSet", "metadata": {"generation": 1}, "spec": spec, "status": status});
        standing(Readiness::Status, Some(&object))
    }

    #[test]
    fn a_stateful_set_is_current_when_its_pods_are_ready_and_of_its_latest_revision() {
        let status = |updated: i64, current: &str| {
            json!({"replicas": 2, "readyReplicas": 2, "updatedReplicas": updated, "currentRevision": current,
                "updateRevision": "new"})
        };
        let spec = json!({"replicas": 2});
        assert_eq!(stateful_set(spec.clone(), status(2, "new")), Standing::Current);
        assert_eq!(stateful_set(spec, status(1, "old")), Standing::InProgress("1 of 2 updated".into()));
        let below = json!({"replicas": 2, "updateStrategy": {"rollingUpdate": {"partition": 1}}});
        assert_eq!(stateful_set(below, status(1, "old")), Standing::Current);
        let by_hand = json!({"replicas": 2, "updateStrategy": {"type": "OnDelete"}});
        assert_eq!(stateful_set(by_hand, status(0, "old")), Standing::Current);
    }

    #[test]
    fn a_set_that_shrinks_is_current_when_the_last_pod_beyond_is_gone() {
        let status = json!({"replicas": 3, "readyReplicas": 3});
        assert_eq!(stateful_set(json!({"replicas": 1}), status), Standing::InProgress("2 of 3 still to go".into()));
    }

    #[test]
    fn a_deployment_is_current_when_no_pod_of_an_older_template_is_left() {
        let standing = |replicas: i64| {
            let status =
                json!({"replicas": replicas, "updatedReplicas": 1, "availableReplicas": 1, "readyReplicas": 1});
            standing(Readiness::Status, Some(&json!({"kind": "Deployment", "spec": {"replicas": 1}, "status": status})))
        };
        assert_eq!(standing(1), Standing::Current);
        assert_eq!(standing(2), Standing::InProgress("1 of 2 still to go".into()));
    }

    #[test]
    fn an_object_that_is_being_deleted_is_never_current() {
        let object = json!({"kind": "ConfigMap", "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
        assert_eq!(standing(Readiness::Exists, Some(&object)), Standing::Terminating);
        assert_eq!(standing(Readiness::Exists, None), Standing::NotFound);
    }

    #[test]
    fn a_kind_without_rules_is_current_unless_a_condition_objects() {
        assert_eq!(standing(Readiness::Status, Some(&json!({"kind": "Service"}))), Standing::Current);
        let stalled =
            json!({"kind": "Thing", "status": {"conditions": [{"type": "Stalled", "status": "True", "reason": "No"}]}});
        assert_eq!(standing(Readiness::Status, Some(&stalled)), Standing::Failed("Stalled: No".into()));
    }
}
