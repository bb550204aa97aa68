//! What the API server says about who wrote what and when: counted and timed where it arrives.

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::stage::Stage;

/// One request that changed something, or was refused. Times are microseconds since 1970.
pub(crate) struct Write {
    pub(crate) user: String,
    pub(crate) verb: String,
    pub(crate) namespace: String,
    pub(crate) resource: String,
    pub(crate) name: String,
    pub(crate) received: i64,
    pub(crate) answered: i64,
}

/// All of a namespace so far.
pub(crate) fn writes(stage: &Stage, namespace: &str) -> Vec<Write> {
    let all = stage.ring.audit();
    all.iter().filter_map(read).filter(|write| write.namespace == namespace).collect()
}

/// All about objects of one name so far, in any namespace.
pub(crate) fn named(stage: &Stage, resource: &str, name: &str) -> Vec<Write> {
    let all = stage.ring.audit();
    all.iter().filter_map(read).filter(|write| write.resource == resource && write.name == name).collect()
}

/// Those of one user.
pub(crate) fn of<'a>(writes: &'a [Write], user: &'a str) -> impl Iterator<Item = &'a Write> + Clone {
    writes.iter().filter(move |write| write.user == user)
}

fn read(event: &Value) -> Option<Write> {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let time = |pointer: &str| Some(text(pointer)?.parse::<Timestamp>().ok()?.as_microsecond());
    Some(Write {
        user: text("/user/username")?,
        verb: text("/verb")?,
        namespace: text("/objectRef/namespace").unwrap_or_default(),
        resource: text("/objectRef/resource").unwrap_or_default(),
        name: text("/objectRef/name").unwrap_or_default(),
        received: time("/requestReceivedTimestamp")?,
        answered: time("/stageTimestamp")?,
    })
}
