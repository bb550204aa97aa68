//! The templates that a set had: a pod below the partition is made again as it was.

use serde_json::{Value, json};

use super::Set;
use crate::actors::{number, pods, reference, text};

/// Notes the template of now as the latest revision, and forgets the oldest that nobody needs.
pub(super) fn record(set: &Set<'_>) -> bool {
    let revisions = pods::owned(set.cluster, "apps/v1", "ControllerRevision", set.object);
    let name = |revision: &Value| text(revision, "/metadata/name").to_owned();
    let latest = revisions.iter().filter_map(|revision| number(revision, "/revision")).max().unwrap_or(0);
    let known = revisions.iter().find(|revision| name(revision) == set.update);
    match known {
        None => {
            let labels = set.object.pointer("/spec/selector/matchLabels").cloned().unwrap_or_default();
            let template = set.object.pointer("/spec/template").cloned().unwrap_or_default();
            set.cluster.put(json!({
                "apiVersion": "apps/v1", "kind": "ControllerRevision",
                "metadata": {
                    "name": set.update, "namespace": text(set.object, "/metadata/namespace"), "labels": labels,
                    "ownerReferences": pods::owner_reference(set.object),
                },
                "revision": latest + 1, "data": {"spec": {"template": template}},
            }));
            return true;
        }
        // A template that comes back is the latest again.
        Some(known) if number(known, "/revision") != Some(latest) => {
            return set.cluster.edit(&reference(known), |known| {
                if let Some(map) = known.as_object_mut() {
                    map.insert("revision".into(), (latest + 1).into());
                }
            });
        }
        Some(_) => {}
    }
    let used = |name: &str| set.pods.values().any(|pod| super::revision_of(pod) == name);
    let mut spare: Vec<&Value> = revisions
        .iter()
        .filter(|revision| ![&set.update, &set.current].contains(&&name(revision)) && !used(&name(revision)))
        .collect();
    spare.sort_by_key(|revision| number(revision, "/revision"));
    let limit = number(set.object, "/spec/revisionHistoryLimit").and_then(|limit| usize::try_from(limit).ok());
    let excess = spare.len().saturating_sub(limit.unwrap_or(10));
    spare.iter().take(excess).filter(|revision| set.cluster.remove(&reference(revision))).count() > 0
}

/// The set with the template of one of its revisions.
pub(super) fn with_template(set: &Set<'_>, revision: &str) -> Option<Value> {
    let revisions = pods::owned(set.cluster, "apps/v1", "ControllerRevision", set.object);
    let found = revisions.iter().find(|known| text(known, "/metadata/name") == revision)?;
    let mut old = set.object.clone();
    *old.pointer_mut("/spec/template")? = found.pointer("/data/spec/template")?.clone();
    Some(old)
}
