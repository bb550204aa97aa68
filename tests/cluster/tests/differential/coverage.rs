//! Which requests have to be sent to which kind.

use super::{
    kinds::Kind,
    known::{Count, counts},
};

const VERBS: [&str; 31] = [
    "apply",
    "apply by force",
    "apply by force of a stale version",
    "apply by force, dry run",
    "apply, dry run",
    "create",
    "create with generateName",
    "create with generateName, dry run",
    "create, dry run",
    "delete Background",
    "delete Foreground",
    "delete Orphan",
    "delete another",
    "delete as usual",
    "delete as usual, dry run",
    "get",
    "json patch",
    "json patch of a stale version",
    "json patch, dry run",
    "list",
    "list by field",
    "list by label",
    "merge patch",
    "merge patch of a stale version",
    "merge patch, dry run",
    "strategic patch",
    "strategic patch of a stale version",
    "strategic patch, dry run",
    "update",
    "update of a stale version",
    "update, dry run",
];

const OF_STATUS: [&str; 9] = [
    "status: apply",
    "status: apply by force",
    "status: apply by force, dry run",
    "status: get",
    "status: json patch",
    "status: merge patch",
    "status: strategic patch",
    "status: update",
    "status: update of a stale version",
];

/// What has to be sent to a kind.
fn wanted(kind: &Kind) -> impl Iterator<Item = &'static str> {
    VERBS.into_iter().chain(OF_STATUS.into_iter().filter(|_| kind.has_status))
}

/// Whether a request of this sort should be answered well at least once.
fn can_succeed(label: &str, kind: &Kind) -> bool {
    // An update of a pod would have to say all that the server gave it.
    let of_pod = kind.kind == "Pod" && label.starts_with("update");
    let strategic = label.contains("strategic") && kind.is_custom();
    !label.contains("stale") && !label.contains("another") && !strategic && !of_pod
}

/// What was not sent, or never answered well.
pub(crate) fn missing(kinds: &[Kind]) -> Vec<String> {
    let counts = counts();
    let mut out = Vec::new();
    for kind in kinds {
        for label in wanted(kind) {
            let Count { sent, accepted } = counts.get(&(label.to_owned(), kind.name())).copied().unwrap_or_default();
            if sent == 0 || accepted == 0 && can_succeed(label, kind) {
                out.push(format!("{label} of {}: sent {sent} times, accepted {accepted}", kind.name()));
            }
        }
    }
    out
}
