//! What goes wrong: in the module, in its answer, in the cluster.

use http_body_util::{BodyExt, Full};
use operator_core::Refusal;
use serde_json::json;

use super::{
    settled::{tried, tried_through},
    *,
};

/// A world at rest with one child; then the module answers something else. The child must survive that.
fn upset(by: impl Fn(&Stage)) -> (Stage, operator_controller::Outcome) {
    let stage = Stage::new(|_| children(vec![map("m", "v")]));
    stage.settle();
    let child = stage.object(&map_ref("m"));
    by(&stage);
    let outcome = stage.once();
    assert_eq!(stage.object(&map_ref("m")), child);
    let mark = stage.mark();
    stage.once();
    assert_eq!(stage.writes_since(mark), Vec::<String>::new(), "the same failure again is nothing new to say");
    (stage, outcome)
}

#[test]
fn a_module_that_traps_leaves_everything_as_it_is() {
    let (stage, outcome) = upset(|stage| {
        stage.fails(FailureKind::Trap { what: "unreachable".into(), frames: vec!["told::reconcile".into()] });
    });
    assert!(is_stalled(&outcome, "ModuleTrapped"));
    assert_eq!(stage.condition("Stalled"), ("True".into(), "ModuleTrapped".into()));
    assert_eq!(stage.condition("Ready").0, "False");
}

#[test]
fn a_failure_is_told_by_an_event_too_since_some_kinds_take_no_status_without_the_modules_fields() {
    let mut manifest = manifest();
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let demanding = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "required": ["state"]});
    manifest.kinds[0].crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] =
        json!({"type": "object", "properties": {"spec": open, "status": demanding}});
    let stage = Stage::with(manifest, |_| children(vec![]));
    stage.fails(FailureKind::Deadline { limit_ms: 100 });
    let outcome = stage.once();
    assert!(is_stalled(&outcome, "ModuleTimedOut"));
    assert!(!outcome.reported);
    stage.once();
    let events: Vec<Value> =
        stage.cluster().identities().iter().filter(|i| i.kind == "Event").filter_map(|i| stage.object(i)).collect();
    let [event] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((&event["type"], &event["reason"]), (&json!("Warning"), &json!("ModuleTimedOut")));
    assert!(event["note"].as_str().unwrap().contains("told"), "{event}");
}

#[test]
fn a_module_that_comes_back_to_its_senses_is_heard_again() {
    let (stage, _) = upset(|stage| stage.fails(FailureKind::Deadline { limit_ms: 100 }));
    stage.answers(|_| children(vec![map("m", "w")]));
    stage.settle();
    assert_eq!(stage.object(&map_ref("m")).unwrap()["data"]["k"], "w");
    assert_eq!(stage.condition("Stalled").0, "False");
}

#[test]
fn an_object_that_the_module_cannot_handle_says_what_to_change() {
    let cause = Cause { field: "spec.port".into(), reason: "FieldValueInvalid".into(), message: "write 1 to 9".into() };
    let (stage, _) = upset(|stage| stage.fails(FailureKind::Refused(Refusal::InvalidObject(vec![cause.clone()]))));
    assert_eq!(stage.condition("Stalled"), ("True".into(), "InvalidObject".into()));
    assert!(stage.object(&stage.parent).unwrap()["status"].to_string().contains("spec.port: write 1 to 9"));
}

#[test]
fn an_answer_with_an_ungranted_child_is_refused_as_a_whole() {
    let secret = || child_of(ObjectRef::namespaced("v1", "Secret", "a", "s"), json!({}));
    let (stage, outcome) = upset(|stage| stage.answers(move |_| children(vec![map("m", "changed"), secret()])));
    assert!(is_stalled(&outcome, "Ungranted"));
    let message = stage.object(&stage.parent).unwrap()["status"].to_string();
    assert!(message.contains("Secret a/s is not granted; add v1 Secret to grants.children"), "{message}");
}

#[test]
fn an_answer_that_names_a_child_twice_is_refused_as_a_whole() {
    let (_, outcome) = upset(|stage| stage.answers(|_| children(vec![map("m", "x"), map("m", "y")])));
    assert!(is_stalled(&outcome, "DuplicateObject"));
}

#[test]
fn an_answer_with_an_ungranted_label_is_refused_as_a_whole() {
    let (_, outcome) = upset(|stage| {
        stage.answers(|_| Desired { partials: vec![label("zone")], ..children(vec![map("m", "changed")]) });
    });
    assert!(is_stalled(&outcome, "Ungranted"));
}

#[test]
fn a_child_that_the_server_refuses_stalls_with_the_servers_words() {
    let bad = || child_of(map_ref("bad"), json!({"metadata": {"labels": {"k": "no label!"}}}));
    let (stage, outcome) = upset(|stage| stage.answers(move |_| children(vec![map("m", "v"), bad()])));
    assert!(is_stalled(&outcome, "ApplyRefused"));
    assert!(stage.object(&stage.parent).unwrap()["status"].to_string().contains("is no label value"));
}

#[test]
fn a_child_in_a_namespace_that_does_not_exist_is_told_and_tried_again() {
    let elsewhere = || child_of(ObjectRef::namespaced("v1", "ConfigMap", "later", "m"), json!({}));
    let mut manifest = manifest();
    manifest.finalizer = true;
    let stage = Stage::with(manifest, move |_| children(vec![elsewhere()]));
    let error = stage.try_once().unwrap_err();
    assert_eq!(error.reason(), "ApiRefused");
    assert!(error.to_string().contains(r#"namespaces "later" not found"#));
    assert_eq!(stage.condition("Stalled"), ("True".into(), "ApplyRefused".into()));
    let status = stage.object(&stage.parent).unwrap()["status"].to_string();
    assert!(status.contains("not found; create what is missing"), "{status}");
    let mark = stage.mark();
    stage.try_once().unwrap_err();
    assert_eq!(stage.writes_since(mark), Vec::<String>::new(), "the same refusal again is nothing new to say");
    stage.world.add_namespace("later");
    stage.settle();
    assert!(stage.object(&ObjectRef::namespaced("v1", "ConfigMap", "later", "m")).is_some());
    assert_eq!(stage.condition("Stalled").0, "False");
}

/// The state of a cluster, without what tells only when or how often it was written.
fn state(stage: &Stage) -> Vec<Value> {
    let cleaned = |identity: &ObjectRef| {
        let mut object = stage.object(identity).unwrap();
        for key in ["resourceVersion", "uid", "generation", "ownerReferences", "managedFields"] {
            object["metadata"].as_object_mut().unwrap().remove(key);
        }
        object
    };
    stage.cluster().identities().iter().filter(|identity| identity.kind != "Event").map(cleaned).collect()
}

#[test]
fn whichever_write_fails_and_although_the_host_restarts_the_end_is_the_same() {
    let first = || Desired {
        partials: vec![label("example.org/a")],
        ..children(vec![map("one", "v"), daemon_set("d", "x:1")])
    };
    let then = || Desired {
        partials: vec![label("example.org/b")],
        ..children(vec![map("two", "v"), Child { stage: 1, ..map("three", "v") }])
    };
    let run = |outage: Option<usize>| {
        let mut stage = Stage::new(move |_| first());
        stage.settle();
        stage.answers(move |_| then());
        stage.cluster().fail_writes_after(outage);
        let failed = stage.try_once().is_err();
        stage.cluster().fail_writes_after(None);
        stage.restart();
        stage.settle();
        (failed, state(&stage))
    };
    let (_, expected) = run(None);
    let mut failures = 0;
    for writes in 0..20 {
        let (failed, end) = run(Some(writes));
        assert_eq!(end, expected, "after {writes} writes");
        failures += usize::from(failed);
    }
    assert!(failures >= 5, "only {failures} runs met the outage");
}

#[test]
fn an_outage_during_clean_up_leaves_no_orphan() {
    for writes in 0..10 {
        let mut stage =
            Stage::new(|_| Desired { partials: vec![label("example.org/a")], ..children(vec![map("m", "v")]) });
        stage.settle();
        stage.delete(&stage.parent);
        stage.cluster().fail_writes_after(Some(writes));
        let _ = stage.try_once();
        stage.cluster().fail_writes_after(None);
        stage.restart();
        stage.settle();
        assert!(stage.object(&map_ref("m")).is_none(), "after {writes} writes");
        assert!(stage.object(&stage.parent).is_none(), "after {writes} writes");
        let node = stage.object(&ObjectRef::cluster("v1", "Node", "n")).unwrap();
        assert_eq!(node["metadata"]["labels"], json!({"zone": "z"}), "after {writes} writes");
    }
}

/// A status that goes back and forth is slowed; what holds in the end has to be told in the end.
#[test]
fn a_status_that_is_held_back_is_written_when_its_time_has_come() {
    let stage = Stage::new(|_| Desired::default());
    let says = |state: &'static str| {
        stage.answers(move |_| Desired {
            status: Some(Document::from_value(&json!({"state": state}))),
            ..Desired::default()
        });
        stage.once()
    };
    let shown = || stage.object(&stage.parent).unwrap()["status"]["state"].clone();
    let held = ["waiting", "ready"].into_iter().cycle().take(20).find_map(|state| {
        let outcome = says(state);
        (shown() != state).then_some((state, outcome))
    });
    let (wanted, outcome) = held.expect("one is held back at some time");
    let wait = outcome.requeue.expect("the parent comes back");
    assert!((1..=60).contains(&wait), "{wait}");
    stage.cluster().advance(i64::from(wait));
    stage.once();
    assert_eq!(shown(), wanted);
}

/// Such a kind has nowhere to show a condition, and must not come back for that for ever.
#[test]
fn a_parent_that_stalls_and_whose_kind_has_no_status_comes_back_with_the_next_change_only() {
    let mut manifest = manifest();
    let version = manifest.kinds[0].crd["spec"]["versions"][0].as_object_mut().unwrap();
    version.remove("subresources");
    let stage = Stage::with(manifest, |_| children(vec![]));
    stage.fails(FailureKind::Deadline { limit_ms: 100 });
    let outcomes = tried(&stage, stage.cluster().clone(), 6);
    for outcome in outcomes.into_iter().map(Result::unwrap) {
        assert!(is_stalled(&outcome, "ModuleTimedOut"));
        assert_eq!(outcome.requeue, None);
    }
}

/// What becomes of so many reconciles while each write of a `ConfigMap` is refused.
fn refused(stage: &Stage, times: usize, code: u16, message: &str) -> String {
    let (cluster, message) = (stage.cluster().clone(), message.to_owned());
    let client = move || {
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let (cluster, message) = (cluster.clone(), message.clone());
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await?.to_bytes();
                if head.method == http::Method::PATCH && head.uri.path().contains("/configmaps/") {
                    let status = json!({"kind": "Status", "code": code, "reason": "Told", "message": message});
                    let answer = http::Response::builder().status(code).body(Full::new(status.to_string().into()));
                    return Ok::<_, kube::Error>(answer.unwrap());
                }
                Ok(cluster.handle(&http::Request::from_parts(head, body)).map(Full::new))
            }
        });
        kube::Client::new(service, "default")
    };
    let outcomes = tried_through(stage, client, stage.cluster().clone(), times);
    assert!(outcomes.iter().all(Result::is_err), "it is tried again each time");
    stage.object(&stage.parent).unwrap()["status"].to_string()
}

#[test]
fn what_the_server_refuses_three_times_in_a_row_is_told_with_whom_to_ask() {
    let stage = Stage::new(|_| children(vec![map("m", "v")]));
    let told =
        refused(&stage, 3, 500, r#"Internal error occurred: failed calling webhook "guard.example.org": no answer"#);
    assert!(told.contains("ApplyRefused") && told.contains("ask whoever runs the webhook guard.example.org"), "{told}");
    assert!(refused(&stage, 3, 413, "Request entity too large").contains("the object is too large for the API server"));
    assert!(refused(&stage, 3, 429, "too many requests").contains("takes no more requests"));
    assert!(
        refused(&stage, 3, 500, "etcdserver: no leader")
            .contains("ask the cluster's administrator to look into its log")
    );
    stage.settle();
    assert_eq!(stage.condition("Stalled").0, "False");
}

#[test]
fn a_passing_refusal_is_tried_again_and_not_told() {
    let stage = Stage::new(|_| children(vec![map("m", "v")]));
    let told = refused(&stage, 2, 429, "too many requests");
    assert!(!told.contains("ApplyRefused"), "{told}");
}

/// A module that asks for 0 would keep its parent busy, and one that asks for years would not mean it.
#[test]
fn a_module_is_called_again_after_a_second_at_the_soonest_and_a_day_at_the_latest() {
    let stage = Stage::new(|_| children(vec![]));
    for (asked, granted) in [(0, 1), (1, 1), (600, 600), (u32::MAX, 86_400)] {
        stage.answers(move |_| Desired { requeue: Some(asked), ..children(vec![]) });
        assert_eq!(stage.once().requeue, Some(granted), "{asked}");
    }
}

#[test]
fn a_label_that_the_server_refuses_holds_up_no_other() {
    let stage = Stage::new(|_| children(vec![]));
    stage.world.add(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "o"}}));
    let on = |name: &str, value: &str| Partial {
        identity: ObjectRef::cluster("v1", "Node", name),
        document: Document::from_value(&json!({"metadata": {"labels": {"example.org/a": value}}})),
    };
    stage.answers(move |_| Desired { partials: vec![on("n", "no label!"), on("o", "fine")], ..children(vec![]) });
    let outcome = stage.once();
    assert!(is_stalled(&outcome, "ApplyRefused"), "{outcome:?}");
    let labels = stage.object(&ObjectRef::cluster("v1", "Node", "o")).unwrap()["metadata"]["labels"].clone();
    assert_eq!(labels, json!({"example.org/a": "fine"}));
}

#[test]
fn a_label_that_somebody_keeps_taking_back_is_set_once_a_minute() {
    let stage = Stage::new(|_| Desired { partials: vec![label("example.org/a")], ..children(vec![]) });
    let node = ObjectRef::cluster("v1", "Node", "n");
    let path = stage.world.path_of(&node);
    let taken_back = json!({"metadata": {"labels": {"example.org/a": null}}});
    let mut last = None;
    let mut set = 0;
    for _ in 0..10 {
        let outcome = stage.once();
        set += outcome.written.iter().filter(|written| written.verb == "set").count();
        last = Some(outcome);
        stage.world.send(http::Method::PATCH, &path, "application/merge-patch+json", &taken_back);
    }
    assert_eq!(set, 3, "of ten times that it was taken back");
    let outcome = last.unwrap();
    assert!(is_stalled(&outcome, "Contended"), "{outcome:?}");
    assert!(format!("{:?}", outcome.progress).contains("because somebody takes it back"), "{outcome:?}");
}

#[test]
fn a_child_that_somebody_keeps_deleting_is_made_once_a_minute() {
    let stage = Stage::new(|_| children(vec![map("m", "v")]));
    let mut made = 0;
    let mut last = None;
    for _ in 0..10 {
        let outcome = stage.once();
        made += outcome.written.iter().filter(|written| written.verb == "create").count();
        last = Some(outcome);
        if stage.object(&map_ref("m")).is_some() {
            stage.delete(&map_ref("m"));
        }
        // A write is awaited for three seconds, in case the watch lags.
        stage.cluster().advance(4);
    }
    assert_eq!(made, 3, "of ten times that it was deleted");
    let outcome = last.unwrap();
    assert!(is_stalled(&outcome, "Contended"), "{outcome:?}");
    assert!(format!("{:?}", outcome.progress).contains("because somebody deletes it"), "{outcome:?}");
}

/// What a module that always fails leaves of a parent that was deleted, so many seconds after that.
fn deleted(release_after: Option<Duration>, seconds: i64) -> (Stage, operator_controller::Outcome) {
    let stage = Stage { release_after, ..Stage::new(|_| children(vec![map("m", "v")])) };
    stage.settle();
    stage.fails(FailureKind::Trap { what: "unreachable".into(), frames: vec![] });
    stage.delete(&stage.parent);
    stage.cluster().advance(seconds);
    let outcome = tried(&stage, stage.cluster().clone(), 1).pop().unwrap().unwrap();
    (stage, outcome)
}

#[test]
fn a_module_that_always_traps_holds_a_deleted_parent_only_as_long_as_the_administrator_allows() {
    let (stage, outcome) = deleted(Some(Duration::from_hours(1)), 3_599);
    assert!(stage.object(&stage.parent).is_some());
    assert_eq!(outcome.requeue, Some(1), "it comes back when its time has come");
    let (stage, outcome) = deleted(Some(Duration::from_hours(1)), 3_600);
    assert!(stage.object(&stage.parent).is_none());
    let [event] = outcome.events.as_slice() else { panic!("{:?}", outcome.events) };
    assert_eq!(event.reason, "FinalizerReleased");
    assert!(event.message.contains("what may be left (ConfigMap; other namespaces: )"), "{}", event.message);
    while stage.world.actors.step(stage.cluster()) {}
    assert!(stage.object(&map_ref("m")).is_none(), "its owner is gone");
}

#[test]
fn without_a_word_of_the_administrator_a_deleted_parent_stays_until_its_module_is_well() {
    let (stage, outcome) = deleted(None, 1_000_000);
    assert!(stage.object(&stage.parent).is_some());
    assert!(is_stalled(&outcome, "ModuleTrapped"), "{outcome:?}");
}

/// The module of a parent is refused or removed: another one stands in for it.
#[test]
fn a_parent_that_nobody_serves_says_so_and_is_let_go_by_the_same_rule() {
    let stage = Stage::new(|_| children(vec![map("m", "v")]));
    stage.settle();
    let mut world = stage.world;
    let absent = Arc::new(operator_core::Absent::removed(manifest()));
    world.serve("told", absent, Document::new(&b"{}"[..]));
    let stage = Stage { world, ..stage };
    let outcome = stage.once();
    assert!(is_stalled(&outcome, "ModuleNotServing"), "{outcome:?}");
    let status = stage.object(&stage.parent).unwrap()["status"].to_string();
    assert!(status.contains("there is no file of module told; put it back"), "{status}");
    assert!(stage.object(&map_ref("m")).is_some(), "what it made stays");
}
