//! Snapshots that nobody wrote: a few places of one that somebody wrote are changed at random.

use operator_core::{Answer, Document, Finding, HttpResponse, QueryFailure, Snapshot};
use proptest::{prelude::*, sample::Index};
use serde_json::{Value, json};

/// One change.
#[derive(Clone, Debug)]
pub(crate) enum Edit {
    /// A value of the parent's spec.
    Spec(Index, Change),
    /// A value of any object: the parent, a child, one that a query found.
    Object(Index, Index, Change),
    /// What came of a query or an action.
    Answer(Index, Came),
}

/// What becomes of one value.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Dropped,
    Becomes(Value),
    /// The same text, number or list, and more of it.
    Longer(usize),
}

/// What came of one query instead.
#[derive(Clone, Debug)]
pub(crate) enum Came {
    Nothing,
    Failure(QueryFailure),
    Status(u16),
    /// An answer to something else.
    Other(Finding),
    /// Only so much of a body, or so many objects or lines.
    Cut(usize),
}

/// Any change.
pub(crate) fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        4 => (any::<Index>(), change()).prop_map(|(at, change)| Edit::Spec(at, change)),
        2 => (any::<Index>(), any::<Index>(), change()).prop_map(|(object, at, change)| Edit::Object(object, at, change)),
        2 => (any::<Index>(), came()).prop_map(|(answer, came)| Edit::Answer(answer, came)),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let odd = [
        json!(null),
        json!(true),
        json!(-1),
        json!(1.5e300),
        json!(u64::MAX),
        json!(""),
        json!("true"),
        json!("A_b/:@\u{e9}\u{2028}\n"),
        json!("10Gi"),
        json!([]),
        json!([{}]),
        json!({}),
        json!({"a": [1, null]}),
    ];
    prop_oneof![
        2 => Just(Change::Dropped),
        5 => prop::sample::select(odd.to_vec()).prop_map(Change::Becomes),
        1 => (1_usize..3_000).prop_map(Change::Longer),
    ]
}

fn came() -> impl Strategy<Value = Came> {
    let text = || "because".to_owned();
    let failures = [
        QueryFailure::Pending,
        QueryFailure::TimedOut,
        QueryFailure::Denied(text()),
        QueryFailure::NotFound(text()),
        QueryFailure::Unreachable(text()),
        QueryFailure::Failed(text()),
    ];
    let others = [Finding::Objects(Vec::new()), Finding::Lines(vec![text()]), Finding::Deleted(true)];
    prop_oneof![
        1 => Just(Came::Nothing),
        3 => prop::sample::select(failures.to_vec()).prop_map(Came::Failure),
        2 => prop::sample::select(vec![200, 201, 302, 400, 401, 403, 404, 409, 429, 500, 503]).prop_map(Came::Status),
        1 => prop::sample::select(others.to_vec()).prop_map(Came::Other),
        2 => (0_usize..3).prop_map(Came::Cut),
    ]
}

/// The snapshot with all the changes.
pub(crate) fn edited(snapshot: &Snapshot, edits: &[Edit]) -> Snapshot {
    edits.iter().fold(snapshot.clone(), one)
}

fn one(snapshot: Snapshot, edit: &Edit) -> Snapshot {
    match edit {
        Edit::Spec(at, change) => {
            let parent = changed(&snapshot.parent, "/spec", *at, change);
            Snapshot { parent, ..snapshot }
        }
        Edit::Object(object, at, change) => {
            let (mut children, mut answers) = (snapshot.children.to_vec(), snapshot.answers.to_vec());
            let found = answers.iter_mut().filter_map(|answer| match &mut answer.outcome {
                Ok(Finding::Objects(found)) => Some(found),
                _ => None,
            });
            let mut objects: Vec<_> = children.iter_mut().chain(found.flatten()).map(|one| &mut one.document).collect();
            if !objects.is_empty() {
                let at_object = object.index(objects.len());
                *objects[at_object] = changed(objects[at_object], "", *at, change);
            }
            Snapshot { children: children.into(), answers: answers.into(), ..snapshot }
        }
        Edit::Answer(at, came) => {
            let mut answers = snapshot.answers.to_vec();
            if !answers.is_empty() {
                let at = at.index(answers.len());
                answered(&mut answers, at, came);
            }
            Snapshot { answers: answers.into(), ..snapshot }
        }
    }
}

fn answered(answers: &mut Vec<Answer>, at: usize, came: &Came) {
    let outcome = &mut answers[at].outcome;
    match (came, outcome) {
        (Came::Nothing, _) => drop(answers.remove(at)),
        (Came::Failure(failure), outcome) => *outcome = Err(failure.clone()),
        (Came::Status(status), Ok(Finding::Http(response))) => response.status = *status,
        (Came::Status(status), outcome) => {
            let response = HttpResponse { status: *status, headers: Vec::new(), body: b"{}".to_vec() };
            *outcome = Ok(Finding::Http(response));
        }
        (Came::Other(finding), outcome) => *outcome = Ok(finding.clone()),
        (Came::Cut(length), Ok(Finding::Objects(found))) => found.truncate(*length),
        (Came::Cut(length), Ok(Finding::Lines(lines))) => lines.truncate(*length),
        (Came::Cut(length), Ok(Finding::Http(response))) => response.body.truncate(response.body.len() * length / 3),
        (Came::Cut(_), _) => {}
    }
}

/// The document with one of the values below `root` changed.
fn changed(document: &Document, root: &str, at: Index, change: &Change) -> Document {
    let mut object = document.to_value().unwrap();
    let mut places = Vec::new();
    if let Some(value) = object.pointer(root) {
        collect(value, root, &mut places);
    }
    if !places.is_empty() {
        apply(&mut object, &places[at.index(places.len())], change);
    }
    Document::from_value(&object)
}

/// The object without each of the values below `root` in turn, with its pointer.
pub(crate) fn without_each(object: &Value, root: &str) -> Vec<(String, Value)> {
    let mut places = Vec::new();
    if let Some(value) = object.pointer(root) {
        collect(value, root, &mut places);
    }
    let without = |pointer: String| {
        let mut less = object.clone();
        apply(&mut less, &pointer, &Change::Dropped);
        (pointer, less)
    };
    places.into_iter().map(without).collect()
}

/// The pointers of all values below one. API version, kind and metadata make an object what it is; without them the host tells no module.
fn collect(value: &Value, pointer: &str, places: &mut Vec<String>) {
    let mut inner = |key: &str, value: &Value| {
        let pointer = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
        let identity = ["/apiVersion", "/kind", "/metadata", "/metadata/name", "/metadata/namespace", "/metadata/uid"];
        if !identity.contains(&pointer.as_str()) {
            places.push(pointer.clone());
        }
        collect(value, &pointer, places);
    };
    match value {
        Value::Object(members) => members.iter().for_each(|(key, value)| inner(key, value)),
        Value::Array(elements) => elements.iter().enumerate().for_each(|(at, value)| inner(&at.to_string(), value)),
        _ => {}
    }
}

fn apply(object: &mut Value, pointer: &str, change: &Change) {
    if matches!(change, Change::Dropped) {
        let (holder, key) = pointer.rsplit_once('/').unwrap();
        match object.pointer_mut(holder) {
            Some(Value::Object(members)) => drop(members.remove(&key.replace("~1", "/").replace("~0", "~"))),
            Some(Value::Array(elements)) => drop(elements.remove(key.parse().unwrap())),
            _ => {}
        }
        return;
    }
    let Some(value) = object.pointer_mut(pointer) else { return };
    match (change, &mut *value) {
        (Change::Becomes(other), value) => *value = other.clone(),
        (Change::Longer(by), Value::String(text)) => text.push_str(&"x".repeat(*by)),
        (Change::Longer(by), Value::Array(elements)) if !elements.is_empty() => {
            let last = elements[elements.len() - 1].clone();
            elements.extend(vec![last; (*by).min(20)]);
        }
        (Change::Longer(by), value) => *value = json!(by),
        (Change::Dropped, _) => {}
    }
}
