//! What a `Deployment` says of itself.

use operator_controller::Clock;
use serde_json::{Map, Value, json};

use super::{Rollout, available, replicas, sum};
use crate::actors::{condition, counts, number, pods, report as put_status, text, told};

/// Reports how the rollout stands.
pub(super) fn report(rollout: &Rollout<'_>) -> bool {
    let count = |value: i64| usize::try_from(value).unwrap_or(0);
    let of = |field: &'static str| move |set: &Value| number(set, &format!("/status/{field}")).unwrap_or(0);
    let here = sum(rollout.all(), available);
    let updated = rollout.newest.as_ref().map_or(0, of("replicas"));
    let fields = [
        ("replicas", count(sum(rollout.all(), of("replicas")))),
        ("updatedReplicas", count(updated)),
        ("readyReplicas", count(sum(rollout.all(), of("readyReplicas")))),
        ("availableReplicas", count(here)),
        ("unavailableReplicas", count(sum(rollout.all(), replicas) - here)),
    ];
    let mut status = Map::new();
    let generation = rollout.deployment.pointer("/metadata/generation").cloned().unwrap_or_default();
    status.insert("observedGeneration".into(), generation);
    counts(&mut status, &fields);
    let now = rollout.cluster.time();
    let progress = progressing(rollout, &Value::Object(status.clone()), &now);
    status.insert("conditions".into(), json!([is_available(rollout, here, &now), progress]));
    put_status(rollout.cluster, rollout.deployment, Value::Object(status))
}

fn is_available(rollout: &Rollout<'_>, here: i64, now: &str) -> Value {
    let missing = if rollout.recreates() { 0 } else { rollout.missing };
    let (holds, reason, message) = if here >= rollout.wanted - missing {
        (true, "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        (false, "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    let mut condition = told(rollout.deployment, "Available", holds, reason, message, now);
    let since = condition.get("lastTransitionTime").cloned().unwrap_or_default();
    if let Some(map) = condition.as_object_mut() {
        map.insert("lastUpdateTime".into(), since);
    }
    condition
}

/// Whether the rollout gets on. Without any progress for longer than its deadline it does not, until something moves.
fn progressing(rollout: &Rollout<'_>, status: &Value, now: &str) -> Value {
    let name = &rollout.name;
    let before = condition(rollout.deployment, "Progressing");
    let reason_before = before.map_or("", |before| text(before, "/reason"));
    let of = |status: &Value, field: &str| number(status, &format!("/{field}")).unwrap_or(0);
    let old_status = rollout.deployment.get("status").cloned().unwrap_or_default();
    let old_pods = |status: &Value| of(status, "replicas") - of(status, "updatedReplicas");
    let grew = |field: &str| of(status, field) > of(&old_status, field);
    let moved = ["updatedReplicas", "readyReplicas", "availableReplicas"].into_iter().any(grew)
        || old_pods(status) < old_pods(&old_status);
    let complete = ["replicas", "updatedReplicas", "availableReplicas"]
        .into_iter()
        .all(|field| of(status, field) == rollout.wanted);
    let about_this = before.is_some_and(|before| text(before, "/message").contains(&format!("{name:?}")));
    let deadline = number(rollout.deployment, "/spec/progressDeadlineSeconds").unwrap_or(600);
    let late = before
        .and_then(|before| pods::seconds(text(before, "/lastUpdateTime")))
        .is_some_and(|since| since + deadline <= rollout.cluster.now());
    let (holds, reason, message) = if complete {
        (true, "NewReplicaSetAvailable", format!("ReplicaSet {name:?} has successfully progressed."))
    } else if !about_this {
        (true, "NewReplicaSetCreated", format!("Created new replica set {name:?}"))
    } else if moved {
        (true, "ReplicaSetUpdated", format!("ReplicaSet {name:?} is progressing."))
    } else if late && reason_before != "NewReplicaSetAvailable" {
        (false, "ProgressDeadlineExceeded", format!("ReplicaSet {name:?} has timed out progressing."))
    } else {
        return before.cloned().unwrap_or_default();
    };
    let mut condition = told(rollout.deployment, "Progressing", holds, reason, &message, now);
    let news = before.filter(|before| text(before, "/reason") == reason && !moved && about_this);
    let latest = news.map_or(now, |before| text(before, "/lastUpdateTime"));
    if let Some(map) = condition.as_object_mut() {
        map.insert("lastUpdateTime".into(), latest.into());
    }
    condition
}
