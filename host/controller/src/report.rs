//! Tells how it went: status, conditions and events.

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use operator_core::{
    Condition, Document, Event, EventType, ObjectRef, plan,
    status::{self, Progress, Told},
};
use serde_json::{Value, json};
use tracing::warn;

use crate::{
    Cache, Context, Error,
    api::Api,
    contention::{Deed, fingerprint},
    observe::Observation,
};

/// What became of a status.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reported {
    /// The version that the parent has since it was written; none when it was not.
    pub(crate) version: Option<u64>,
    /// Seconds after which it has to be written, when it is held back.
    pub(crate) wait: Option<u32>,
}

/// Writes the parent's status when it differs from what the parent shows.
pub(crate) async fn report(
    ctx: &Context,
    module: &str,
    observation: &Observation,
    answer: Option<&Document>,
    conditions: &[Condition],
    progress: &Progress,
) -> Result<Reported, Error> {
    let identity = observation.parent.object_ref();
    let told = Told::new(&observation.document, answer, conditions, progress);
    if ctx.memories.recall(&identity, |memory| memory.told.as_deref() == Some(&told)) {
        return Ok(Reported::default());
    }
    let conditions = status::conditions(conditions, progress);
    let now = ctx.clock.now();
    let unreadable = |source| Error::Unreadable { identity: identity.clone(), source };
    let next = status::next(&observation.document, answer, &conditions, &time(now)).map_err(unreadable)?;
    let Some(next) = next else {
        ctx.memories.change(&identity, |memory| memory.told = Some(Arc::new(told)));
        return Ok(Reported::default());
    };
    let said = said(answer, &conditions);
    if let Some(wait) = ctx.contention.hold(&identity, Deed::Report(&said), now).map(|held| held.wait) {
        warn!(object = %identity, wait, "its status goes back and forth, or does not stay as written; does its CRD know all fields?");
        return Ok(Reported { version: None, wait: Some(wait) });
    }
    let mut metadata = json!({"name": identity.name});
    if let (Some(map), Some(namespace)) = (metadata.as_object_mut(), &identity.namespace) {
        map.insert("namespace".into(), namespace.clone().into());
    }
    let document =
        json!({"apiVersion": identity.api_version, "kind": identity.kind, "metadata": metadata, "status": next});
    let api = Api::new(&ctx.client, &*ctx.cache);
    let manager = plan::status_manager(module);
    match api.apply(&identity, Some("status"), &manager, &Document::from_value(&document)).await {
        // The parent went while its last status was computed, or its kind has no status: then there is nowhere to tell it.
        Err(error) if error.is_not_found() => {
            ctx.memories.change(&identity, |memory| memory.told = Some(Arc::new(told)));
            Ok(Reported::default())
        }
        other => other.map(|version| Reported { version: Some(version), wait: None }),
    }
}

/// Whether the parent's status told already, before this reconcile, that it stalls for this reason.
pub(crate) fn shows(observation: &Observation, reason: &str, message: &str) -> bool {
    let parent = observation.document.to_value().unwrap_or_default();
    let conditions = parent.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let text = |condition: &Value, key: &str| condition.get(key).and_then(Value::as_str).map(str::to_owned);
    conditions.into_iter().any(|condition| {
        text(condition, "type").as_deref() == Some("Stalled")
            && text(condition, "reason").as_deref() == Some(reason)
            && text(condition, "message").as_deref() == Some(message)
    })
}

/// What a status says, without the times at which it said so.
fn said(answer: Option<&Document>, conditions: &[Condition]) -> Document {
    let mut bytes = answer.map(|answer| answer.bytes().to_vec()).unwrap_or_default();
    for condition in conditions {
        let parts = [condition.type_.as_str(), condition.status.as_str(), &condition.reason, &condition.message];
        bytes.extend(parts.into_iter().flat_map(str::bytes));
    }
    Document::new(bytes)
}

/// Seconds since 1970 as Kubernetes writes time.
fn time(seconds: i64) -> String {
    Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

/// Publishes one event of a module about its parent, or about what the event names.
pub(crate) async fn publish(
    ctx: &Context,
    module: &str,
    parent: &ObjectRef,
    uid: &str,
    event: &Event,
) -> Result<(), Error> {
    let regarding = event.regarding.as_ref().unwrap_or(parent);
    let uid = Some(uid).filter(|_| regarding == parent);
    let (document, identity) = document(regarding, uid, module, event, ctx.clock.now());
    Api::new(&ctx.client, &*ctx.cache).create(&identity, &plan::manager(module), &document).await.map(drop)
}

/// Publishes one event of the host itself.
pub(crate) async fn announce(
    client: &kube::Client,
    cache: &dyn Cache,
    regarding: &ObjectRef,
    event: &Event,
    now: i64,
) -> Result<(), Error> {
    let (document, identity) = document(regarding, None, "host", event, now);
    Api::new(client, cache).create(&identity, &plan::manager("host"), &document).await.map(drop)
}

/// One event. Its name is a hash of what it says and when, so that a retry makes no second one, and short enough for any object.
fn document(
    regarding: &ObjectRef,
    uid: Option<&str>,
    instance: &str,
    event: &Event,
    now: i64,
) -> (Document, ObjectRef) {
    let namespace = regarding.namespace.clone().unwrap_or_else(|| "default".into());
    let seed = format!("{}/{regarding}/{}/{}/{now}", uid.unwrap_or_default(), event.reason, event.message);
    let stem: String = regarding.name.chars().take(200).collect();
    let name = format!("{}.{:016x}", stem.trim_end_matches(['.', '-']), fingerprint(seed.as_bytes()));
    let mut reference = json!({"apiVersion": regarding.api_version, "kind": regarding.kind, "name": regarding.name});
    if let Some(map) = reference.as_object_mut() {
        map.extend(regarding.namespace.clone().map(|namespace| ("namespace".to_owned(), namespace.into())));
        map.extend(uid.map(|uid| ("uid".to_owned(), uid.into())));
    }
    let document: Value = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event",
        "metadata": {"name": name, "namespace": namespace},
        "type": if event.type_ == EventType::Normal { "Normal" } else { "Warning" },
        "reason": cut(&event.reason, 128), "action": cut(&event.action, 128), "note": cut(&event.message, 1024),
        "regarding": reference,
        "reportingController": "operator.scone.cloud", "reportingInstance": cut(instance, 128),
        "eventTime": format!("{}.000000Z", time(now).trim_end_matches('Z')),
    });
    (Document::from_value(&document), ObjectRef::namespaced("events.k8s.io/v1", "Event", &namespace, &name))
}

/// At most so many bytes, cut between characters.
fn cut(text: &str, limit: usize) -> String {
    let end = (0..=limit.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default().to_owned()
}
