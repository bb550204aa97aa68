//! Ring api: what the operator writes, how often, and how it gets along with others who write.
#![cfg(test)]

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use cluster::Fate;
use cluster::stage::{PATIENCE, Stage, soon, until};
use serde_json::{Value, json};

const WISHES: &str = "example.com/v1";
const PROBES: &str = "fixtures.example.com/v1";
/// How often a rival writes.
const RIVALRY: usize = 100;

fn wish(name: &str, spec: Value) -> Value {
    json!({"apiVersion": WISHES, "kind": "Wish", "metadata": {"name": name, "namespace": "default"}, "spec": spec})
}

fn map(name: &str, value: &str) -> String {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": {"k": value}}).to_string()
}

#[tokio::test]
async fn a_thousand_parents_at_rest_cost_no_write_and_neither_does_a_restart() {
    let stage = Stage::with(&["good"]).await;
    let operator = stage.operator(&[]).await;
    let names: Vec<String> = (0..1_000).map(|number| format!("hello-{number}")).collect();
    stage.greet_all(&names).await;
    soon("all children", || async {
        let list = stage.list("v1", "configmaps").await?;
        let owned = list["items"].as_array()?.iter().filter(|map| map["metadata"]["ownerReferences"].is_array());
        (owned.count() == 1_000).then_some(())
    })
    .await;
    soon("a settled operator", || stage.quiet(Duration::from_secs(5))).await;
    operator.stop().await;
    let before = stage.writes().len();

    let again = stage.operator(&[]).await;
    // Nothing that it does is a write, so that it is at rest only when it looks at nothing any more.
    let reconciles = soon("an operator that has looked at everything", || async {
        let before = again.sum("scone_operator_reconciles_total").await;
        stage.quiet(Duration::from_secs(5)).await?;
        let looks = again.sum("scone_operator_reconciles_total").await;
        (looks >= 1_000 && looks == before).then_some(looks)
    })
    .await;
    soon("ten quiet seconds", || stage.quiet(Duration::from_secs(10))).await;
    let written: Vec<Value> = stage.writes().split_off(before);
    assert!(written.is_empty(), "a restart wrote {:#?}", written.first());
    assert_eq!(again.sum("scone_operator_reconciles_total").await, reconciles, "before the next resync");
    again.stop().await;
}

#[tokio::test]
async fn what_was_written_before_a_refusal_is_not_written_again() {
    let stage = Stage::with(&["as_told"]).await;
    let refused = AtomicBool::new(false);
    let (_proxy, kubeconfig) = stage
        .proxy(move |method, path| {
            if path.contains("/configmaps?") && path.contains("watch=") {
                // Until then nobody sees what was written.
                return Fate::Delay(Duration::from_millis(2_500));
            }
            let first = method == "PATCH" && path.contains("/configmaps/b") && !refused.swap(true, Ordering::SeqCst);
            if first { Fate::Refuse(500) } else { Fate::Pass }
        })
        .await;
    let operator = stage.operator_with(&kubeconfig, &[]).await;
    stage.apply_value(&wish("w", json!({"maps": [map("a", "v"), map("b", "v")]})), WISHES, "wishes").await;
    soon("both children", || stage.maps(&[("a", "v"), ("b", "v")])).await;
    soon("a settled operator", || stage.quiet(Duration::from_secs(2))).await;
    let of = |name: &str| stage.writes().iter().filter(|event| event["objectRef"]["name"] == name).count();
    assert_eq!((of("a"), of("b")), (1, 1), "the refused one did not reach the server");
    operator.stop().await;
}

#[tokio::test]
async fn a_child_that_another_parent_has_is_made_as_soon_as_it_is_free() {
    let stage = Stage::with(&["as_told"]).await;
    let operator = stage.operator(&[]).await;
    stage.apply_value(&wish("first", json!({"maps": [map("m", "of the first")]})), WISHES, "wishes").await;
    soon("the first one's child", || stage.maps(&[("m", "of the first")])).await;
    stage.apply_value(&wish("second", json!({"maps": [map("m", "of the second")]})), WISHES, "wishes").await;
    // The status of this kind takes no condition without a field that only the module knows.
    soon("a refusal", || async { operator.log().iter().any(|line| line["reason"] == "OwnedByOther").then_some(()) })
        .await;
    // By then it has given up trying: only a change brings it back.
    soon("a settled operator", || stage.quiet(Duration::from_secs(3))).await;
    stage.apply_value(&wish("first", json!({"maps": []})), WISHES, "wishes").await;
    soon("the second one's child", || stage.maps(&[("m", "of the second")])).await;
    operator.stop().await;
}

#[tokio::test]
async fn two_who_write_one_field_are_both_named_and_others_are_not_slowed() {
    let stage = Stage::with(&["as_told"]).await;
    let operator = stage.operator(&[]).await;
    stage.apply_value(&wish("w", json!({"maps": [map("fought", "ours")]})), WISHES, "wishes").await;
    soon("the child", || stage.maps(&[("fought", "ours")])).await;
    // Another value each time: the same one again would be no change, and nothing to answer.
    let rival = |number: usize| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "fought", "namespace": "default"},
            "data": {"k": format!("theirs {number}")}})
    };
    let turn = AtomicUsize::new(0);
    let condition = soon("a condition", || async {
        stage.apply_as("rival", &rival(turn.fetch_add(1, Ordering::SeqCst)), "v1", "configmaps").await;
        let condition = stage.condition(WISHES, "wishes", Some("default"), "w", "Stalled").await?;
        (condition["reason"] == "Contended").then_some(condition)
    })
    .await;
    let text = condition["message"].as_str().unwrap();
    assert!(
        text.contains("operator.scone.cloud-as-told") && text.contains("rival") && text.contains("data.k"),
        "{text}"
    );
    let fought = || stage.writes().iter().filter(|event| event["objectRef"]["name"] == "fought").count();
    let (before, begun) = (fought(), Instant::now());
    for number in 0..RIVALRY {
        stage.apply_as("rival", &rival(1_000 + number), "v1", "configmaps").await;
        // Each of the rival's writes has been looked at before the next, so that each could have been answered.
        let calm = format!("calm-{number}");
        stage.apply_value(&wish("other", json!({"maps": [map(&calm, "v")]})), WISHES, "wishes").await;
        soon("the other's child", || stage.get("v1", "configmaps", Some("default"), &calm)).await;
    }
    let answered = fought() - before;
    let minutes = usize::try_from(begun.elapsed().as_secs()).unwrap() / 60;
    assert!(
        answered <= 1 + minutes,
        "once a minute: {answered} answers to {RIVALRY} writes of a rival, each with an edit of another parent"
    );
    operator.stop().await;
}

#[tokio::test]
async fn what_another_program_made_is_taken_over_when_asked_with_all_its_fields_and_without_a_new_object() {
    let stage = Stage::with(&["as_told"]).await;
    let daemon_set = |extra: Value| {
        let mut object = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "d", "namespace": "default"},
            "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}},
                "spec": {"nodeSelector": {"none": "true"}, "containers": [{"name": "c", "image": "example.com/i"}]}}}});
        if let Some(map) = object["spec"].as_object_mut() {
            map.extend(extra.as_object().unwrap().clone());
        }
        object
    };
    let made = daemon_set(json!({"minReadySeconds": 7}));
    let path = "/apis/apps/v1/namespaces/default/daemonsets?fieldManager=manager";
    let first = stage.send("POST", path, "application/json", &made).await.unwrap();
    let operator = stage.operator(&[]).await;
    // A status without the module's own field could not be stored.
    stage.apply_value(&wish("w", json!({})), WISHES, "wishes").await;
    soon("a status", || stage.reported(WISHES, "wishes", Some("default"), "w")).await;
    stage.apply_value(&wish("w", json!({"daemon_sets": [daemon_set(json!({})).to_string()]})), WISHES, "wishes").await;
    let condition = soon("a refusal", || async {
        let condition = stage.condition(WISHES, "wishes", Some("default"), "w", "Stalled").await?;
        (condition["status"] == "True").then_some(condition)
    })
    .await;
    assert_eq!(condition["reason"], "AlreadyExists", "{condition}");
    let way_out = "annotate Wish default/w with operator.scone.cloud/adopt=DaemonSet/d";
    assert!(condition["message"].as_str().unwrap().contains(way_out), "{condition}");
    soon("a settled operator", || stage.quiet(Duration::from_secs(2))).await;
    let left = stage.get("apps/v1", "daemonsets", Some("default"), "d").await.unwrap();
    assert_eq!((&left["spec"], &left["metadata"]["ownerReferences"]), (&first["spec"], &Value::Null));
    let touched = stage.writes().into_iter().filter(|event| event["objectRef"]["resource"] == "daemonsets");
    assert_eq!(touched.collect::<Vec<_>>(), Vec::<Value>::new(), "it stays as it is");

    let asked = json!({"metadata": {"annotations": {"operator.scone.cloud/adopt": "DaemonSet/d"}}});
    let parent = "/apis/example.com/v1/namespaces/default/wishes/w";
    stage.send("PATCH", parent, "application/merge-patch+json", &asked).await.unwrap();
    let adopted = soon("the takeover", || async {
        let object = stage.get("apps/v1", "daemonsets", Some("default"), "d").await?;
        object["metadata"]["ownerReferences"].is_array().then_some(object)
    })
    .await;
    assert_eq!(adopted["metadata"]["uid"], first["metadata"]["uid"]);
    assert_eq!(adopted["spec"]["minReadySeconds"].as_i64().unwrap_or(0), 0, "what nobody wants any more is gone");
    assert_eq!(adopted["spec"]["template"], first["spec"]["template"], "no pod has to start again");
    operator.stop().await;
}

#[tokio::test]
async fn a_strategy_is_applied_where_it_can_be_and_otherwise_refused_with_the_field_after_three_tries() {
    let stage = Stage::with(&["as_told"]).await;
    let daemon_set = |strategy: &str| {
        json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "d", "namespace": "default"},
            "spec": {"selector": {"matchLabels": {"a": "b"}}, "updateStrategy": {"type": strategy},
                "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "example.com/i"}]}}}})
        .to_string()
    };
    let operator = stage.operator(&[]).await;
    for strategy in ["RollingUpdate", "OnDelete", "RollingUpdate"] {
        stage.apply_value(&wish("d", json!({"daemon_sets": [daemon_set(strategy)]})), WISHES, "wishes").await;
        soon(strategy, || async {
            let object = stage.get("apps/v1", "daemonsets", Some("default"), "d").await?;
            (object["spec"]["updateStrategy"]["type"] == strategy).then_some(())
        })
        .await;
    }
    let deployment = |strategy: Value| {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "p", "namespace": "default"},
            "spec": {"selector": {"matchLabels": {"p": "q"}}, "strategy": strategy, "replicas": 0,
                "template": {"metadata": {"labels": {"p": "q"}}, "spec": {"containers": [{"name": "c", "image": "example.com/i"}]}}}})
        .to_string()
    };
    let strategies = [json!({"type": "RollingUpdate"}), json!({"type": "Recreate"})];
    let [rolling, recreate] = strategies.map(|strategy| wish("p", json!({"deployments": [deployment(strategy)]})));
    stage.apply_value(&rolling, WISHES, "wishes").await;
    soon("the Deployment", || stage.get("apps/v1", "deployments", Some("default"), "p")).await;
    stage.apply_value(&recreate, WISHES, "wishes").await;
    // What the API server has filled in for the first strategy belongs to nobody, and is in the way of the second.
    let condition = soon("a refusal", || async {
        let condition = stage.condition(WISHES, "wishes", Some("default"), "p", "Stalled").await?;
        (condition["status"] == "True").then_some(condition)
    })
    .await;
    assert_eq!(condition["reason"], "ApplyRefused", "{condition}");
    assert!(condition["message"].as_str().unwrap().contains("spec.strategy.rollingUpdate"), "{condition}");
    let tries = || {
        let refused = |event: &&Value| event["objectRef"]["name"] == "p" && event["responseStatus"]["code"] == 422;
        stage.writes().iter().filter(refused).count()
    };
    // The reason may be a passing one.
    PATIENCE.until_now("three tries", tries, |tries| *tries >= 3).await;
    for number in 0..40 {
        let name = format!("beside-{number}");
        stage.apply_value(&wish("q", json!({"maps": [map(&name, "v")]})), WISHES, "wishes").await;
        soon("another parent's child", || stage.get("v1", "configmaps", Some("default"), &name)).await;
    }
    assert_eq!(tries(), 3, "what was refused is not tried again before somebody changes it");
    let after = stage.condition(WISHES, "wishes", Some("default"), "p", "Stalled").await.unwrap();
    assert_eq!(after, condition, "nor is it called a fight between writers");
    let left = stage.get("apps/v1", "deployments", Some("default"), "p").await.unwrap();
    assert_eq!(left["spec"]["strategy"]["type"], "RollingUpdate", "nothing half-applied");
    stage.apply_value(&rolling, WISHES, "wishes").await;
    soon("the end of the trouble", || async {
        let condition = stage.condition(WISHES, "wishes", Some("default"), "p", "Ready").await?;
        (condition["status"] == "True").then_some(())
    })
    .await;
    operator.stop().await;
}

#[tokio::test]
async fn a_label_on_somebody_elses_object_leaves_everything_else_of_it_alone() {
    let stage = Stage::with(&["as_told"]).await;
    let foreign = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "theirs", "namespace": "default", "labels": {"own": "yes"}},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}},
            "spec": {"nodeSelector": {"none": "true"}, "containers": [{"name": "c", "image": "example.com/i"}]}}}});
    stage.apply_as("them", &foreign, "apps/v1", "daemonsets").await;
    let theirs = || async { stage.get("apps/v1", "daemonsets", Some("default"), "theirs").await };
    let before = theirs().await.unwrap();
    let claims = |object: &Value| {
        let entries = object["metadata"]["managedFields"].as_array().unwrap().clone();
        entries.into_iter().find(|entry| entry["manager"] == "them").unwrap()["fieldsV1"].clone()
    };
    let operator = stage.operator(&[]).await;
    stage.apply_value(&wish("w", json!({"foreign": {"theirs": {"example.com/seen": "true"}}})), WISHES, "wishes").await;
    let labelled = soon("the label", || async {
        theirs().await.filter(|o| o["metadata"]["labels"]["example.com/seen"] == "true")
    })
    .await;
    assert_eq!((&labelled["spec"], claims(&labelled)), (&before["spec"], claims(&before)));
    stage.apply_value(&wish("w", json!({"foreign": {}})), WISHES, "wishes").await;
    let after = soon("its withdrawal", || async {
        theirs().await.filter(|o| o["metadata"]["labels"]["example.com/seen"].is_null())
    })
    .await;
    assert_eq!((&after["spec"], &after["metadata"]["labels"]), (&before["spec"], &json!({"own": "yes"})));
    operator.stop().await;
}

#[tokio::test]
async fn after_a_signal_the_next_replica_takes_the_lease_at_its_next_look_and_never_writes_beside_the_first() {
    let stage = Stage::with(&["good"]).await;
    let [first, second] = ["replica-1", "replica-2"].map(|user| stage.kubeconfig_of_admin(user));
    let one = stage.operator_with(&first, &["--leader-elect", "--identity", "one"]).await;
    soon("the lease of one", || stage.holder("one")).await;
    let two = stage.operator_with(&second, &["--leader-elect", "--identity", "two"]).await;
    let names: Vec<String> = (0..100).map(|number| format!("hello-{number}")).collect();
    stage.greet_all(&names).await;
    // In the middle of its work.
    one.terminate();
    soon("the lease of two", || stage.holder("two")).await;
    for name in &names {
        soon("a child", || stage.sentence(name, "Hello, you!")).await;
    }
    one.stop().await;
    stage.greet("hello-0", "all").await;
    soon("the second replica's write", || stage.sentence("hello-0", "Hello, all!")).await;
    two.stop().await;
    assert_eq!(stage.changes_of_writer("replica-2").await, 1, "first one, then two, never both");
    stage.was_handed_over_at_once("replica-1", "replica-2");
}

#[tokio::test]
async fn after_a_kill_the_next_replica_writes_when_the_lease_has_run_out_and_never_beside_the_first() {
    let stage = Stage::with(&["good"]).await;
    let [first, second] = ["replica-1", "replica-2"].map(|user| stage.kubeconfig_of_admin(user));
    let mut one = stage.operator_with(&first, &["--leader-elect", "--identity", "one"]).await;
    soon("the lease of one", || stage.holder("one")).await;
    let two = stage.operator_with(&second, &["--leader-elect", "--identity", "two"]).await;
    stage.greet("hello", "you").await;
    soon("the child", || stage.sentence("hello", "Hello, you!")).await;
    one.kill();
    let end = stage.lease_end().await;
    stage.greet("hello", "all").await;
    soon("the second replica's write", || stage.sentence("hello", "Hello, all!")).await;
    two.stop().await;
    assert_eq!(stage.changes_of_writer("replica-2").await, 1, "first one, then two, never both");
    let handover = stage.handover("replica-1", "replica-2");
    let taken = handover.last().unwrap().at;
    assert!(taken > end, "taken at {taken}, and it runs out at {end}");
    let late = handover.iter().filter(|asked| asked.is_look_of("replica-2") && asked.at > end).count();
    // The last look that finds it held may be sent a moment after its end, as nobody compares clocks.
    assert!(late <= 3, "{late} looks at a lease that had run out: {handover:#?}");
}

#[tokio::test]
async fn a_parent_on_which_its_module_traps_is_tried_three_times_and_hurts_nobody() {
    let stage = Stage::with(&["trap", "good"]).await;
    // With a status that can be written, only its module is what stalls a parent.
    stage.add_status("probes.fixtures.example.com").await;
    let operator = stage.operator(&[]).await;
    let probe = |name: &str, message: &str| {
        json!({"apiVersion": PROBES, "kind": "Probe", "metadata": {"name": name, "namespace": "default"},
            "spec": {"message": message}})
    };
    let tries = async || {
        let text = operator.metrics().await;
        let line = text.lines().find(|line| line.contains("module_calls_total") && line.contains("ModuleTrapped"));
        line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse::<u32>().unwrap())
    };
    stage.apply_value(&probe("p", "one"), PROBES, "probes").await;
    until("three tries", tries, |tries| *tries >= 3).await;
    // Long enough for several more tries, were there any: each edit of the neighbour is seen to have its effect.
    let neighbour_works = async |turn: &str| {
        for number in 0..40 {
            stage.greet("hello", &format!("{turn} {number}")).await;
            let wanted = format!("Hello, {turn} {number}!");
            soon("the neighbour's child", || stage.sentence("hello", &wanted)).await;
        }
    };
    neighbour_works("one").await;
    assert_eq!(tries().await, 3);
    stage.apply_value(&probe("p", "two"), PROBES, "probes").await;
    until("a try of the edit", tries, |tries| *tries > 3).await;
    neighbour_works("two").await;
    let after = tries().await;
    assert!(after <= 5, "one for the edit, and one for the status that tells of it, not {}", after - 3);
    // What stalls is known of one parent, not of its module.
    stage.apply_value(&probe("q", "one"), PROBES, "probes").await;
    until("three tries of another", tries, |tries| *tries >= after + 3).await;
    operator.stop().await;
}

#[tokio::test]
async fn a_parent_with_the_longest_name_has_children_events_and_metrics() {
    let stage = Stage::with(&["as_told", "trap"]).await;
    let long = "n".repeat(253);
    let operator = stage.operator(&["--leader-elect", "--identity", &long]).await;
    soon("the lease", || stage.holder(&long)).await;
    stage.apply_value(&wish(&long, json!({"maps": [map("child", "v")]})), WISHES, "wishes").await;
    soon("the child", || stage.maps(&[("child", "v")])).await;
    let probe = json!({"apiVersion": "fixtures.example.com/v1", "kind": "Probe", "metadata": {"name": long, "namespace": "default"}, "spec": {}});
    stage.apply_value(&probe, "fixtures.example.com/v1", "probes").await;
    soon("the event", || async {
        let events = stage.list("events.k8s.io/v1", "events").await?;
        let about = |event: &&Value| event["regarding"]["name"] == long && event["reason"] == "ModuleTrapped";
        events["items"].as_array()?.iter().find(about).map(drop)
    })
    .await;
    operator.has_looked(&["as-told", "trap"]).await;
    stage.delete(WISHES, "wishes", Some("default"), &long).await;
    soon("the end of its child", || stage.maps(&[])).await;
    operator.stop().await;
}

#[tokio::test]
async fn the_conditions_of_two_writers_live_side_by_side() {
    let stage = Stage::with(&["good"]).await;
    let operator = stage.operator(&[]).await;
    stage.greet("hello", "you").await;
    soon("our condition", || stage.condition("example.com/v1", "greetings", Some("default"), "hello", "Ready")).await;
    for number in 0..100 {
        let status = json!({"apiVersion": "example.com/v1", "kind": "Greeting", "metadata": {"name": "hello", "namespace": "default"},
            "status": {"conditions": [{"type": "Rival", "status": "True", "reason": "Counts", "message": number.to_string(),
                "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
        let path = "/apis/example.com/v1/namespaces/default/greetings/hello/status?fieldManager=rival&force=true";
        stage.send("PATCH", path, "application/apply-patch+yaml", &status).await.unwrap();
        stage.greet("hello", &format!("user {number}")).await;
    }
    soon("the last edit", || stage.sentence("hello", "Hello, user 99!")).await;
    let both = || async {
        let rival = stage.condition("example.com/v1", "greetings", Some("default"), "hello", "Rival").await?;
        let ours = stage.condition("example.com/v1", "greetings", Some("default"), "hello", "Ready").await?;
        (rival["message"] == "99" && ours["status"] == "True").then_some(())
    };
    soon("both conditions", both).await;
    operator.stop().await;
}
