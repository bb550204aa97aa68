//! Queries, actions and events.

use operator_core::{Action, Deed, Event, EventType, Finding, ObjectQuery, PodLogQuery, Query, Question};
use serde_json::json;

use super::*;

fn nodes(id: &str) -> Query {
    let query = ObjectQuery {
        api_version: "v1".into(),
        kind: "Node".into(),
        namespace: None,
        name: None,
        labels: Vec::new(),
        fields: vec!["metadata.labels".into()],
    };
    Query { id: id.into(), question: Question::Objects(query), interval: 60, timeout: 5, extensions: Vec::new() }
}

#[test]
fn what_a_module_asks_is_answered_within_the_same_reconcile() {
    let stage = Stage::new(|snapshot| {
        let names: Vec<String> = match snapshot.answers.first().map(|answer| &answer.outcome) {
            Some(Ok(Finding::Objects(found))) => found.iter().map(|object| object.identity.name.clone()).collect(),
            _ => Vec::new(),
        };
        let status = json!({ "nodes": names });
        Desired { queries: vec![nodes("nodes")], status: Some(Document::from_value(&status)), ..Desired::default() }
    });
    stage.once();
    assert_eq!(stage.object(&stage.parent).unwrap()["status"]["nodes"], json!(["n"]));
}

#[test]
fn questions_that_never_settle_are_the_modules_fault() {
    let stage = Stage::new(|snapshot| {
        let next = snapshot.answers.first().map_or("0".to_owned(), |answer| format!("{}0", answer.id));
        Desired { queries: vec![nodes(&next)], ..Desired::default() }
    });
    assert!(is_stalled(&stage.once(), "ModuleAnswerInvalid"));
}

#[test]
fn more_questions_than_a_module_needs_are_its_fault() {
    let asking = |number: usize| {
        let queries: Vec<Query> = (0..number).map(|at| nodes(&at.to_string())).collect();
        Stage::new(move |_| Desired { queries: Vec::clone(&queries), ..Desired::default() })
    };
    assert!(!is_stalled(&asking(1_000).once(), "ModuleAnswerInvalid"));
    assert!(is_stalled(&asking(1_001).once(), "ModuleAnswerInvalid"));
}

#[test]
fn an_answer_with_an_ungranted_question_is_refused() {
    let stage = Stage::new(|_| {
        let log = PodLogQuery {
            namespace: "a".into(),
            pod: "p".into(),
            container: "c".into(),
            contains: String::new(),
            limit: 1,
        };
        let query = Query {
            id: "log".into(),
            question: Question::PodLog(log),
            interval: 60,
            timeout: 5,
            extensions: Vec::new(),
        };
        Desired { queries: vec![query], ..children(vec![map("m", "v")]) }
    });
    assert!(is_stalled(&stage.once(), "Ungranted"));
    assert!(stage.object(&map_ref("m")).is_none());
}

#[test]
fn a_pod_is_asked_only_when_it_carries_the_labels_of_the_grant() {
    let stage = Stage::new(|snapshot| {
        let ask = |pod: &str| {
            let (contains, limit) = (String::new(), 1);
            let log = PodLogQuery { namespace: "a".into(), pod: pod.into(), container: "main".into(), contains, limit };
            Query { id: pod.into(), question: Question::PodLog(log), interval: 60, timeout: 5, extensions: Vec::new() }
        };
        let told = snapshot.answers.iter().map(|answer| match &answer.outcome {
            Ok(_) => format!("{}: lines", answer.id),
            Err(failure) => format!("{}: {failure}", answer.id),
        });
        let status = json!({ "told": told.collect::<Vec<_>>() });
        let queries = ["absent", "foreign", "ours"].map(ask).into();
        Desired { queries, status: Some(Document::from_value(&status)), ..Desired::default() }
    });
    for (name, label) in [("foreign", "theirs"), ("ours", "ours")] {
        stage.world.add(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "a", "labels": {"app": label}},
            "spec": {"containers": [{"name": "main", "image": "i"}]}}));
    }
    stage.once();
    let denied =
        "foreign: not granted: Pod a/foreign lacks the labels of the grant (app=ours); ask about pods that carry them";
    assert_eq!(
        stage.object(&stage.parent).unwrap()["status"]["told"],
        json!(["absent: Pod a/absent not found", denied, "ours: lines"])
    );
}

#[test]
fn an_action_deletes_the_very_object_that_was_seen() {
    let stage = Stage::new(|_| Desired::default());
    let pod = ObjectRef::namespaced("v1", "Pod", "a", "p");
    stage.world.add(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "a"}}));
    let uid = stage.object(&pod).unwrap()["metadata"]["uid"].as_str().unwrap().to_owned();
    let act = |uid: String| {
        let identity = pod.clone();
        stage.answers(move |_| {
            let deed = Deed::Delete { identity: identity.clone(), uid: uid.clone() };
            Desired { actions: vec![Action { id: "kill".into(), deed, timeout: 5 }], ..Desired::default() }
        });
        stage.once();
    };
    act("another".into());
    assert!(stage.object(&pod).is_some());
    act(uid);
    assert!(stage.object(&pod).is_none());
}

fn event(message: &str) -> Event {
    Event {
        type_: EventType::Warning,
        reason: "Tested".into(),
        action: "Test".into(),
        message: message.into(),
        regarding: None,
    }
}

fn notes(stage: &Stage) -> Vec<String> {
    let events = stage.cluster().identities().into_iter().filter(|identity| identity.kind == "Event");
    events.map(|identity| stage.object(&identity).unwrap()["note"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_event_is_published_once_while_it_is_true_and_again_when_it_comes_back() {
    let stage = Stage::new(|_| Desired { events: vec![event("broken")], ..Desired::default() });
    for _ in 0..3 {
        stage.once();
        stage.cluster().advance(10);
    }
    assert_eq!(notes(&stage), ["broken"]);
    stage.answers(|_| Desired::default());
    stage.once();
    stage.answers(|_| Desired { events: vec![event("broken")], ..Desired::default() });
    stage.once();
    assert_eq!(notes(&stage), ["broken", "broken"]);
}

#[test]
fn an_event_about_something_else_names_it() {
    let about = Event { regarding: Some(ObjectRef::cluster("v1", "Node", "n")), ..event("tired") };
    let stage = Stage::new(move |_| Desired { events: vec![about.clone()], ..Desired::default() });
    stage.once();
    let found = stage.cluster().identities().into_iter().find(|identity| identity.kind == "Event").unwrap();
    assert_eq!(stage.object(&found).unwrap()["regarding"]["kind"], "Node");
}
