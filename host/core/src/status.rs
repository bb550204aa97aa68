//! The parent's status: what the module says, and what the host adds.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Condition, ConditionStatus, Document, DocumentError, Failure, FailureKind, Plan, Refusal, Rejection, diff,
};

/// How the last reconcile of a parent went, in the words of kstatus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Everything stands.
    Done,
    /// Something is on its way; one line for each thing.
    Waiting(Vec<String>),
    /// Nothing will change until somebody acts: a reason of a closed set, and a text with the fix.
    Stalled {
        /// The reason.
        reason: &'static str,
        /// What to do.
        message: String,
    },
}

impl Progress {
    /// The progress once a plan is carried out.
    pub fn of_plan(plan: &Plan) -> Self {
        let waiting = plan.waiting_after();
        if waiting.is_empty() { Self::Done } else { Self::Waiting(waiting) }
    }

    /// The progress after a failed call.
    pub fn of_failure(failure: &Failure) -> Self {
        if matches!(failure.kind, FailureKind::Refused(Refusal::Retry(_)) | FailureKind::Busy { .. }) {
            return Self::Waiting(vec![failure.to_string()]);
        }
        Self::Stalled { reason: failure.kind.reason(), message: failure.to_string() }
    }

    /// The progress after a refused answer.
    pub fn of_rejection(module: &str, rejection: &Rejection) -> Self {
        let message = format!("the answer of module {module} was refused: {rejection}");
        Self::Stalled { reason: rejection.reason(), message }
    }
}

/// The host's own conditions with the module's. The module may say `Ready` itself; the host lets it be true only when
/// everything stands.
pub fn conditions(module: &[Condition], progress: &Progress) -> Vec<Condition> {
    let mut all: Vec<Condition> = module.iter().filter(|c| c.type_ != "Ready").cloned().collect();
    let said = module.iter().find(|c| c.type_ == "Ready");
    let (ready, reconciling, stalled) = match progress {
        Progress::Done => (
            said.cloned().unwrap_or_else(|| condition("Ready", true, "Current", "everything is as it should be")),
            condition("Reconciling", false, "Current", ""),
            condition("Stalled", false, "Current", ""),
        ),
        Progress::Waiting(lines) => (
            said.filter(|c| c.status != ConditionStatus::True)
                .cloned()
                .unwrap_or_else(|| condition("Ready", false, "InProgress", &joined(lines))),
            condition("Reconciling", true, "InProgress", &joined(lines)),
            condition("Stalled", false, "InProgress", ""),
        ),
        Progress::Stalled { reason, message } => (
            condition("Ready", false, reason, message),
            condition("Reconciling", false, reason, ""),
            condition("Stalled", true, reason, message),
        ),
    };
    all.extend([ready, reconciling, stalled]);
    all
}

/// At most ten lines, so that a large parent does not blow up its own status.
fn joined(lines: &[String]) -> String {
    let mut text = lines.iter().take(10).map(String::as_str).collect::<Vec<_>>().join("; ");
    if lines.len() > 10 {
        text.push_str(&format!("; and {} more", lines.len() - 10));
    }
    text
}

fn condition(type_: &str, holds: bool, reason: &str, message: &str) -> Condition {
    let status = if holds { ConditionStatus::True } else { ConditionStatus::False };
    Condition { type_: type_.into(), status, reason: reason.into(), message: message.into() }
}

/// What is told about a parent, and the parent as it was: it need not be told again to a parent that shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    parent: Document,
    said: blake3::Hash,
}

impl Told {
    /// `module` is the status of the answer, `conditions` are its own.
    pub fn new(parent: &Document, module: Option<&Document>, conditions: &[Condition], progress: &Progress) -> Self {
        let mut hasher = blake3::Hasher::new();
        let mut part = |bytes: &[u8]| {
            hasher.update(&bytes.len().to_le_bytes()).update(bytes);
        };
        part(&[module.is_some().into()]);
        part(module.map(Document::bytes).unwrap_or_default());
        let texts = match progress {
            Progress::Done => Vec::new(),
            Progress::Waiting(lines) => lines.iter().map(String::as_str).collect(),
            Progress::Stalled { reason, message } => vec![*reason, message],
        };
        part(&[matches!(progress, Progress::Done).into(), matches!(progress, Progress::Waiting(_)).into()]);
        part(&texts.len().to_le_bytes());
        for text in texts {
            part(text.as_bytes());
        }
        for Condition { type_, status, reason, message } in conditions {
            for text in [type_, status.as_str(), reason, message] {
                part(text.as_bytes());
            }
        }
        Self { parent: parent.clone(), said: hasher.finalize() }
    }
}

/// Of a parent, what its next status rests on.
#[derive(Deserialize)]
struct Shown {
    #[serde(default)]
    metadata: ShownMetadata,
    #[serde(default)]
    status: Value,
}

#[derive(Default, Deserialize)]
struct ShownMetadata {
    #[serde(default)]
    generation: Value,
}

/// The status to apply, or none when the parent shows it already. `module` is the status of the answer; without one, what
/// the parent shows stays. `now` is in RFC 3339; a condition that keeps its status keeps its transition time.
///
/// # Errors
/// When the parent is no object in JSON.
pub fn next(
    parent: &Document,
    module: Option<&Document>,
    conditions: &[Condition],
    now: &str,
) -> Result<Option<Value>, DocumentError> {
    let Shown { metadata: ShownMetadata { generation }, status: there } =
        serde_json::from_slice(parent.bytes()).map_err(|source| DocumentError::Json { source })?;
    let mut status = match module.and_then(|document| document.to_value().ok()) {
        Some(Value::Object(map)) => map,
        _ => there.as_object().cloned().unwrap_or_default(),
    };
    let before = there.get("conditions").and_then(Value::as_array).into_iter().flatten();
    let before = before.filter_map(|condition| Some((condition.get("type")?.as_str()?, condition))).collect();
    let written = conditions.iter().map(|condition| entry(&before, condition, &generation, now)).collect();
    status.insert("conditions".into(), Value::Array(written));
    if !generation.is_null() {
        status.insert("observedGeneration".into(), generation);
    }
    let status = Value::Object(status);
    let same = same_but_conditions(&status, &there) && diff::changes(&status, &there).is_empty();
    Ok((!same).then_some(status))
}

/// `before` are the conditions that are there, by type.
fn entry(before: &BTreeMap<&str, &Value>, condition: &Condition, generation: &Value, now: &str) -> Value {
    let status = condition.status.as_str();
    let since = before
        .get(&*condition.type_)
        .filter(|c| c.get("status").and_then(Value::as_str) == Some(status))
        .and_then(|c| c.get("lastTransitionTime").cloned())
        .unwrap_or_else(|| now.into());
    let mut entry = json!({
        "type": condition.type_, "status": status, "reason": condition.reason, "message": condition.message,
        "lastTransitionTime": since,
    });
    if let (Some(map), false) = (entry.as_object_mut(), generation.is_null()) {
        map.insert("observedGeneration".into(), generation.clone());
    }
    entry
}

/// All of the status but the conditions is the module's, so a field that it no longer gives must go.
fn same_but_conditions(new: &Value, there: &Value) -> bool {
    let keys =
        |status: &Value| status.as_object().map_or(0, |map| map.keys().filter(|key| *key != "conditions").count());
    let same = |(key, value): (&String, &Value)| key == "conditions" || there.get(key) == Some(value);
    keys(new) == keys(there) && new.as_object().is_none_or(|map| map.iter().all(same))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parent(status: Value) -> Document {
        Document::from_value(&json!({"metadata": {"generation": 3}, "status": status}))
    }

    #[test]
    fn a_status_that_stands_already_is_not_written_again() {
        let conditions = conditions(&[], &Progress::Done);
        let module = Document::new(&br#"{"state":"HEALTHY"}"#[..]);
        let first = next(&parent(json!({})), Some(&module), &conditions, "2026-01-01T00:00:00Z").unwrap().unwrap();
        assert_eq!(next(&parent(first), Some(&module), &conditions, "2026-01-02T00:00:00Z").unwrap(), None);
    }

    #[test]
    fn a_field_that_the_module_no_longer_gives_goes() {
        let conditions = conditions(&[], &Progress::Done);
        let with = Document::new(&br#"{"nodes":{"a":1,"b":2}}"#[..]);
        let without = Document::new(&br#"{"nodes":{"a":1}}"#[..]);
        let first = next(&parent(json!({})), Some(&with), &conditions, "t").unwrap().unwrap();
        let second = next(&parent(first), Some(&without), &conditions, "t").unwrap().unwrap();
        assert_eq!(second["nodes"], json!({"a": 1}));
    }

    #[test]
    fn a_condition_keeps_its_time_until_its_status_changes() {
        let done = conditions(&[], &Progress::Done);
        let first = next(&parent(json!({})), None, &done, "2026-01-01T00:00:00Z").unwrap().unwrap();
        let waiting = conditions(&[], &Progress::Waiting(vec!["DaemonSet a/b: 1 of 2 ready".into()]));
        let second = next(&parent(first), None, &waiting, "2026-01-02T00:00:00Z").unwrap().unwrap();
        let times: Vec<&str> = second["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c["lastTransitionTime"].as_str().unwrap())
            .collect();
        // Ready and Reconciling turned, Stalled stayed false.
        assert_eq!(times, ["2026-01-02T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"]);
    }

    #[test]
    fn a_module_cannot_be_ready_while_its_children_are_not() {
        let said = [condition("Ready", true, "Healthy", "all is well")];
        let all = conditions(&said, &Progress::Waiting(vec!["x".into()]));
        assert_eq!(all.iter().find(|c| c.type_ == "Ready").unwrap().status, ConditionStatus::False);
    }

    #[test]
    fn what_is_told_is_the_same_only_while_every_word_and_the_parent_are() {
        let condition = |type_: &str, reason: &str| condition(type_, true, reason, "m");
        let parent = parent(json!({}));
        let told = |conditions: &[Condition]| Told::new(&parent, None, conditions, &Progress::Done);
        assert_eq!(told(&[condition("A", "BC")]), told(&[condition("A", "BC")]));
        assert_ne!(told(&[condition("A", "BC")]), told(&[condition("AB", "C")]));
        let empty = Document::new(&b""[..]);
        assert_ne!(told(&[]), Told::new(&parent, Some(&empty), &[], &Progress::Done));
        assert_ne!(told(&[]), Told::new(&empty, None, &[], &Progress::Done));
        let waits = |line: &str| Told::new(&parent, None, &[], &Progress::Waiting(vec![line.to_owned()]));
        assert_ne!(waits("a"), waits("b"));
        assert_ne!(Told::new(&parent, None, &[], &Progress::Waiting(Vec::new())), told(&[]));
    }
}
