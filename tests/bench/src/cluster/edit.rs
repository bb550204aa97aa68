//! From a user's edit to the operator's first write because of it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::StreamExt;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, GroupVersionKind, WatchEvent, WatchParams},
};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::{
    audit,
    operator::Operator,
    settled::NAMESPACE,
    stage::{OPERATOR, Stage, TESTER, send, tell},
    trios,
};
use crate::{Error, measure::Figure};

const EDITS: usize = 101;
/// How long one event may take.
const LONGEST: Duration = Duration::from_secs(30);

/// One event of a watch, and when it came, in microseconds since 1970.
struct Seen {
    at: i64,
    name: String,
    generation: i64,
    /// The generation that the status is about.
    reported: i64,
}

/// Edits one parent after the other. The value is the time from the event, as a watch without an operator gets it, to the first write's
/// arrival at the API server; the yardstick how long the event itself took.
pub(crate) async fn run(stage: &Stage, operator: &Operator, report: &mut impl FnMut(Figure)) -> Result<(), Error> {
    tell("edits ...");
    operator.rest(Duration::from_secs(1)).await?;
    let mut seen = watch(stage).await?;
    let mut events = Vec::new();
    for number in 0..EDITS {
        let name = trios::name(number);
        let edit = json!({"spec": {"text": format!("edit {number}")}}).to_string().into_bytes();
        let path = format!("{}/{name}", trios::path(NAMESPACE));
        let edited = send(&stage.client, "PATCH", &path, "application/merge-patch+json", edit).await?;
        let edited: Value = serde_json::from_str(&edited)?;
        let generation = edited.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default();
        let of_edit = |event: &Seen| event.name == name && event.generation == generation;
        events.push((name.clone(), next(&mut seen, of_edit).await?.at));
        next(&mut seen, |event| of_edit(event) && event.reported == generation).await?;
    }
    report(Figure::of("edit-to-write", "ms", &rounds(stage, &events)?));
    Ok(())
}

/// The parents' events, taken down by a task that does nothing else.
async fn watch(stage: &Stage) -> Result<UnboundedReceiver<Seen>, Error> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("example.com", "v1", "Trio"));
    let api: Api<DynamicObject> = Api::namespaced_with(stage.client.clone(), NAMESPACE, &resource);
    let list: Value = serde_json::from_str(&stage.get(&format!("{}?limit=1", trios::path(NAMESPACE))).await?)?;
    let version = list.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default();
    let mut events = api.watch(&WatchParams::default(), version).await?.boxed();
    let (tell, told) = unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(event)) = events.next().await {
            let WatchEvent::Modified(object) = event else { continue };
            let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
            let seen = Seen {
                at: i64::try_from(at).unwrap_or_default(),
                name: object.metadata.name.unwrap_or_default(),
                generation: object.metadata.generation.unwrap_or_default(),
                reported: object.data.pointer("/status/observedGeneration").and_then(Value::as_i64).unwrap_or_default(),
            };
            if tell.send(seen).is_err() {
                return;
            }
        }
    });
    Ok(told)
}

async fn next(seen: &mut UnboundedReceiver<Seen>, wanted: impl Fn(&Seen) -> bool) -> Result<Seen, Error> {
    let found = async {
        while let Some(event) = seen.recv().await {
            if wanted(&event) {
                return Some(event);
            }
        }
        None
    };
    tokio::time::timeout(LONGEST, found).await.ok().flatten().ok_or(Error::Late("an event of a watch"))
}

/// For each edit, in milliseconds: from the event to the first write, and from the edit to the event.
fn rounds(stage: &Stage, events: &[(String, i64)]) -> Result<Vec<(f64, f64)>, Error> {
    let writes = audit::writes(stage, NAMESPACE);
    let round = |(name, seen): &(String, i64)| {
        let mut edits = audit::of(&writes, TESTER).filter(|write| write.name == *name && write.verb == "patch");
        let edit = edits.find(|write| write.resource == "trios")?.received;
        let first = audit::of(&writes, OPERATOR).filter(|write| write.name == *name && write.received > edit);
        let first = first.map(|write| write.received).min()?;
        Some((millis(first - seen), millis(seen - edit)))
    };
    let rounds: Option<Vec<_>> = events.iter().map(round).collect();
    rounds.ok_or_else(|| Error::Unexpected("the audit log lacks an edit, or the write because of it".to_owned()))
}

fn millis(micros: i64) -> f64 {
    // Differences of a few seconds at most.
    f64::from(i32::try_from(micros).unwrap_or(i32::MAX)) / 1e3
}
