//! Letting the world come to rest: reconcile all parents, let the actors act, until nothing changes any more.

use std::collections::BTreeSet;

use operator_controller::Outcome;
use operator_core::{EventType, ObjectRef, status::Progress};
use serde_json::{Value, json};

use super::steps::{Run, Stop};
use crate::outside::Sent;

/// Rounds after which a world that still moves does not settle.
const ROUNDS: usize = 60;

/// Reconciles and acts until a round changes nothing.
pub(super) fn settle(run: &mut Run<'_>, limit: Option<&str>) -> Result<(), Stop> {
    let limit = match limit {
        Some(text) => text.parse().map_err(|_| format!("{text:?} is no number of rounds"))?,
        None => ROUNDS,
    };
    run.mark = run.world.cluster.writes().len();
    run.sent = run.world.sent().len();
    let mut seen = BTreeSet::new();
    for round in 1..=limit {
        let reconciled = reconcile_all(run)?;
        let acted = run.world.actors.step(&run.world.cluster);
        if !reconciled && !acted {
            let writes = run.world.cluster.writes().len() - run.mark;
            run.lines.push(format!("settled after {} rounds, {writes} writes", round - 1));
            return Ok(());
        }
        if !seen.insert(fingerprint(run)) {
            let moving = run.lines.last().cloned().unwrap_or_default();
            return Err(Stop::Unexpected(format!(
                "it oscillates: after {round} rounds it is where it was before; last: {moving}"
            )));
        }
    }
    Err(Stop::Unexpected(format!("it does not settle within {limit} rounds")))
}

/// One round without the actors.
pub(super) fn once(run: &mut Run<'_>) -> Result<(), Stop> {
    reconcile_all(run).map(drop)
}

fn reconcile_all(run: &mut Run<'_>) -> Result<bool, Stop> {
    let names: Vec<String> = run.world.serving().map(|(name, _)| name.to_owned()).collect();
    let mut changed = false;
    for name in names {
        for parent in run.world.parents(&name) {
            let sent = run.world.sent().len();
            let Some(outcome) = run.world.reconcile(&name, &parent) else { continue };
            let outcome = outcome.map_err(|error| Stop::Impossible(format!("{parent}: {error}")))?;
            if outcome.reported {
                let status =
                    run.world.cluster.object(&parent).and_then(|mut parent| Some(parent.get_mut("status")?.take()));
                run.statuses.extend(status.map(|status| {
                    json!({"kind": parent.kind, "namespace": parent.namespace, "name": parent.name, "status": status})
                }));
            }
            changed |= outcome.reported || outcome.acted || !outcome.written.is_empty();
            tell(run, &parent, outcome, sent);
        }
    }
    Ok(changed)
}

/// Prints what one reconcile changed, and why.
fn tell(run: &mut Run<'_>, parent: &ObjectRef, outcome: Outcome, sent: usize) {
    let writes: Vec<_> = outcome.written.iter().filter(|w| w.identity != *parent || w.verb == "release").collect();
    let actions: Vec<_> = run.world.sent().into_iter().skip(sent).filter(|sent| sent.action).collect();
    if !writes.is_empty() || !outcome.events.is_empty() || !actions.is_empty() {
        run.lines.push(format!("{parent}"));
    }
    let plan = outcome.plan.as_ref();
    for written in &writes {
        run.lines.push(format!("  {:<9} {}", written.verb, written.identity));
        let steps = plan.into_iter().flat_map(|plan| plan.steps.iter().map(|s| (&s.identity, &s.changes)));
        let partials = plan.into_iter().flat_map(|plan| plan.partials.iter().map(|s| (&s.identity, &s.changes)));
        let changes = steps.chain(partials).filter(|(identity, _)| **identity == written.identity);
        run.lines.extend(changes.flat_map(|(_, changes)| changes).map(|change| format!("            {change}")));
    }
    for Sent { method, url, outcome, .. } in actions {
        let answer = outcome.map_or_else(|failure| failure.to_string(), |status| status.to_string());
        run.lines.push(format!("  send      {method} {url}: {answer}"));
    }
    for event in &outcome.events {
        let type_ = if event.type_ == EventType::Normal { "event" } else { "warning" };
        let line = format!("{type_:<9} {}: {}", event.reason, event.message);
        run.lines.push(format!("  {line}"));
        run.events.push(format!("{parent} {line}"));
    }
    if let (Progress::Stalled { reason, message }, true) = (&outcome.progress, outcome.reported) {
        run.lines.push(format!("{parent} is stalled, {reason}: {message}"));
    }
    if outcome.exists && plan.is_some() {
        run.samples.insert(parent.clone(), outcome.samples);
    } else if !outcome.exists {
        run.samples.remove(parent);
    }
}

/// The state of the world without versions and times.
fn fingerprint(run: &Run<'_>) -> String {
    let objects = run.world.cluster.identities().into_iter().filter(|identity| identity.kind != "Event");
    let mut hasher = blake3::Hasher::new();
    for identity in objects {
        let mut object = run.world.cluster.object(&identity).unwrap_or_default();
        strip(&mut object);
        hasher.update(object.to_string().as_bytes());
    }
    // What was done outside may change what is found there.
    hasher.update(&run.world.deeds().to_le_bytes());
    hasher.finalize().to_hex().to_string()
}

fn strip(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for key in ["resourceVersion", "managedFields", "generation", "uid", "creationTimestamp"] {
            metadata.remove(key);
        }
    }
}
