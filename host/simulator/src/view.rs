//! Looking at a world the way people look at a cluster.

mod columns;

use operator_core::{ObjectRef, Readiness, readiness};
use serde_json::Value;

use crate::World;

/// Parents with what they own, and how each stands.
pub fn tree(world: &World) -> Vec<String> {
    let names: Vec<String> = world.serving().map(|(name, _)| name.to_owned()).collect();
    let mut lines = Vec::new();
    for parent in names.iter().flat_map(|name| world.parents(name)) {
        branch(world, &parent, "", "", &mut lines);
    }
    lines
}

fn branch(world: &World, identity: &ObjectRef, first: &str, rest: &str, lines: &mut Vec<String>) {
    let Some(object) = world.cluster.object(identity) else { return };
    let name = format!("{first}{identity}");
    lines.push(format!("{name:<52} {}", standing(&object)));
    let uid = object.pointer("/metadata/uid").cloned().unwrap_or_default();
    let owned: Vec<ObjectRef> = world
        .cluster
        .identities()
        .into_iter()
        .filter(|other| {
            // What a controller keeps for itself.
            if other.kind == "ControllerRevision" {
                return false;
            }
            let object = world.cluster.object(other).unwrap_or_default();
            let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array).cloned();
            owners.into_iter().flatten().any(|owner| owner.get("uid") == Some(&uid))
        })
        .collect();
    for (index, child) in owned.iter().enumerate() {
        let last = index + 1 == owned.len();
        let (joint, line) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        branch(world, child, &format!("{rest}{joint}"), &format!("{rest}{line}"), lines);
    }
}

/// How an object stands, in a few words: its own state if it says one, or else kstatus' rules.
fn standing(object: &Value) -> String {
    if let Some(state) = object.pointer("/status/state").and_then(Value::as_str) {
        return state.to_owned();
    }
    let node = object.pointer("/spec/nodeName").and_then(Value::as_str);
    let standing = match readiness::standing(Readiness::Status, Some(object)) {
        readiness::Standing::Current => "ready".to_owned(),
        readiness::Standing::InProgress(what) | readiness::Standing::Failed(what) => what,
        readiness::Standing::Terminating => "being deleted".to_owned(),
        readiness::Standing::NotFound => "not found".to_owned(),
    };
    node.map(|node| format!("{standing} on {node}")).unwrap_or(standing)
}

/// What `kubectl get KIND` shows: the columns that the CRD declares, or those of a built-in kind.
pub fn table(world: &World, kind: &str) -> Result<Vec<String>, String> {
    let (api_version, _) = world.cluster.kind(kind).ok_or_else(|| format!("there is no kind {kind}"))?;
    let columns = columns::of(world, &api_version, kind);
    let head = columns.iter().map(|(name, _)| name.clone());
    let mut rows = vec![["NAME".to_owned()].into_iter().chain(head).collect()];
    for object in world.cluster.all(&api_version, kind) {
        let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
        rows.push([name].into_iter().chain(columns.iter().map(|(_, cell)| cell(&object))).collect());
    }
    Ok(aligned(&rows))
}

fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect::<Vec<_>>();
        cells.join("   ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// An object as JSON, without who owns its fields.
pub fn object(world: &World, kind: &str, name: &str) -> Result<Vec<String>, String> {
    let found = found(world, kind, name)?;
    Ok(pretty(&found))
}

/// The status of an object, conditions as lines.
pub fn status(world: &World, kind: &str, name: &str) -> Result<Vec<String>, String> {
    let found = found(world, kind, name)?;
    let mut status = found.get("status").cloned().unwrap_or_default();
    let conditions = status.as_object_mut().and_then(|status| status.remove("conditions"));
    let mut lines = pretty(&status);
    let conditions = conditions.as_ref().and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let text = |condition: &Value, key: &str| condition.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let width = conditions.iter().map(|condition| text(condition, "type").len()).max().unwrap_or(0);
    for condition in conditions {
        let text = |key: &str| text(condition, key);
        let line = format!("{:<width$} {:<7} {}: {}", text("type"), text("status"), text("reason"), text("message"));
        lines.push(line.trim_end_matches([' ', ':']).to_owned());
    }
    Ok(lines)
}

/// The labels of an object.
pub fn labels(world: &World, kind: &str, name: &str) -> Result<Vec<String>, String> {
    let found = found(world, kind, name)?;
    let labels = found.pointer("/metadata/labels").and_then(Value::as_object).cloned().unwrap_or_default();
    Ok(labels.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect())
}

fn found(world: &World, kind: &str, name: &str) -> Result<Value, String> {
    let identity = world.named(kind, name)?;
    let mut object = world.cluster.object(&identity).ok_or_else(|| format!("there is no {identity}"))?;
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    Ok(object)
}

fn pretty(value: &Value) -> Vec<String> {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}
