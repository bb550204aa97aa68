//! From the request that edits a parent to the requests that write because of it.

use std::{
    ops::Range,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::StreamExt;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, GroupVersionKind, WatchEvent, WatchParams},
};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::{
    audit,
    audit::Write,
    contenders::operator::Operator,
    settled::NAMESPACE,
    stage::{OPERATOR, Stage, TESTER, send, tell},
    trios,
};
use crate::{
    Error,
    measure::{Figure, Scale, median},
};

/// How long one event may take.
const LONGEST: Duration = Duration::from_secs(30);

/// What became of one edit, in milliseconds from the arrival of its request at the API server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Edited {
    /// To its event, as a watch without an operator gets it.
    pub(crate) event: f64,
    /// To the arrival of the first request that writes because of it.
    pub(crate) write: f64,
    /// To the arrival of the first one that writes a child.
    pub(crate) child: f64,
}

/// One event of a watch, and when it came, in microseconds since 1970.
struct Seen {
    at: i64,
    name: String,
    generation: i64,
    /// The generation that the status is about.
    reported: i64,
}

/// Edits of a settled operator's parents, compared to how long their events take.
pub(crate) async fn run(
    stage: &Stage,
    operator: &Operator,
    scale: Scale,
    report: &mut impl FnMut(Figure),
) -> Result<(), Error> {
    tell("edits ...");
    operator.rest(Duration::from_secs(1)).await?;
    let (mut rounds, edits) = (Vec::new(), scale.of(41, 3));
    for round in 0..scale.rounds() {
        let edited = self::edits(stage, NAMESPACE, OPERATOR, round * edits..(round + 1) * edits).await?;
        rounds.push((median(edited.iter().map(|edit| edit.write)), median(edited.iter().map(|edit| edit.event))));
    }
    report(Figure::of("edit-to-write", "ms", &rounds));
    Ok(())
}

/// Edits these parents, one after the other, each when the operator has reported about the one before.
pub(crate) async fn edits(
    stage: &Stage,
    namespace: &str,
    user: &str,
    numbers: Range<usize>,
) -> Result<Vec<Edited>, Error> {
    let mut seen = watch(stage, namespace).await?;
    let mut events = Vec::new();
    for number in numbers {
        let name = trios::name(number);
        let edit = json!({"spec": {"text": format!("edit {number}")}}).to_string().into_bytes();
        let path = format!("{}/{name}", trios::path(namespace));
        let edited = send(&stage.client, "PATCH", &path, "application/merge-patch+json", edit).await?;
        let edited: Value = serde_json::from_str(&edited)?;
        let generation = edited.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default();
        let of_edit = |event: &Seen| event.name == name && event.generation == generation;
        events.push((name.clone(), next(&mut seen, of_edit).await?.at));
        next(&mut seen, |event| of_edit(event) && event.reported == generation).await?;
    }
    let writes = audit::writes(stage, namespace);
    let found: Option<Vec<_>> = events.iter().map(|(name, event)| edited(&writes, user, name, *event)).collect();
    found.ok_or_else(|| Error::Unexpected(format!("the audit log lacks an edit, or what {user} wrote because of it")))
}

/// The parents' events, taken down by a task that does nothing else.
async fn watch(stage: &Stage, namespace: &str) -> Result<UnboundedReceiver<Seen>, Error> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("example.com", "v1", "Trio"));
    let api: Api<DynamicObject> = Api::namespaced_with(stage.client.clone(), namespace, &resource);
    let list: Value = serde_json::from_str(&stage.get(&format!("{}?limit=1", trios::path(namespace))).await?)?;
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

/// What became of the latest edit of a parent, whose event came at that time.
fn edited(writes: &[Write], user: &str, name: &str, event: i64) -> Option<Edited> {
    let edits = audit::of(writes, TESTER).filter(|write| write.name == name && write.verb == "patch");
    let edit = edits.filter(|write| write.resource == "trios").map(|write| write.received).max()?;
    let first = |only_children: bool| {
        let written = audit::of(writes, user).filter(|write| write.name == name && write.received > edit);
        let written = written.filter(|write| !only_children || write.resource != "trios");
        written.map(|write| millis(write.received - edit)).min_by(f64::total_cmp)
    };
    Some(Edited { event: millis(event - edit), write: first(false)?, child: first(true)? })
}

fn millis(micros: i64) -> f64 {
    // Differences of a few seconds at most.
    f64::from(i32::try_from(micros).unwrap_or(i32::MAX)) / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(user: &str, verb: &str, resource: &str, received: i64) -> Write {
        let [user, verb, resource] = [user, verb, resource].map(str::to_owned);
        Write { user, verb, namespace: "n".into(), resource, name: "trio".into(), received, answered: received + 500 }
    }

    #[test]
    fn an_edit_is_timed_from_its_own_request_to_those_of_the_operator() {
        let writes = [
            write(TESTER, "create", "trios", 1_000),
            write("operator", "patch", "configmaps", 2_000),
            write(TESTER, "patch", "trios", 10_000),
            write("somebody", "update", "configmaps", 11_000),
            write("operator", "patch", "trios", 13_000),
            write("operator", "patch", "secrets", 15_000),
        ];
        let wanted = Edited { event: 1.5, write: 3.0, child: 5.0 };
        assert_eq!(edited(&writes, "operator", "trio", 11_500), Some(wanted));
        assert_eq!(edited(&writes, "nobody", "trio", 11_500), None, "an edit without a consequence is no figure");
    }
}
