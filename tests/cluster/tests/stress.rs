//! Ring api: the operator when it loses its lease, when a watch lags, when it is refused, when a module floods it or goes away.
#![cfg(test)]

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use cluster::{
    Fate,
    stage::{Operator, Stage, balancer::Balancer, soon, until},
};
use serde_json::{Value, json};
use test_support::module;

const WISHES: &str = "example.com/v1";
const PROBES: &str = "fixtures.example.com/v1";

fn wish(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": WISHES, "kind": "Wish", "metadata": {"name": name, "namespace": "default"}, "spec": spec})
}

fn map(name: &str) -> String {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": {"k": "v"}})
        .to_string()
}

fn probe(name: &str) -> Value {
    json!({"apiVersion": PROBES, "kind": "Probe", "metadata": {"name": name, "namespace": "default"}, "spec": {"message": "x"}})
}

/// Two replicas, the first of which leads, and its proxy; each has its own name in the audit log.
async fn replicas(
    stage: &Stage,
    decide: impl Fn(&str, &str) -> Fate + Send + Sync + 'static,
) -> (cluster::Proxy, [Operator; 2]) {
    let (proxy, first) = stage.proxy_as("replica-1", decide).await;
    let one = stage.operator_with(&first, &["--leader-elect", "--identity", "one"]).await;
    soon("the lease of one", || stage.holder("one")).await;
    let second = stage.kubeconfig_of_admin("replica-2");
    let two = stage.operator_with(&second, &["--leader-elect", "--identity", "two"]).await;
    (proxy, [one, two])
}

#[tokio::test]
async fn a_replica_that_loses_its_lease_in_the_middle_of_its_work_cancels_it_and_writes_nothing_more() {
    let stage = Stage::with(&["good"]).await;
    let silent = Arc::new(AtomicBool::new(false));
    let begun = Arc::new(AtomicUsize::new(0));
    let (cut, counted) = (Arc::clone(&silent), Arc::clone(&begun));
    // Its lease cannot be renewed, and what it writes takes as long as the lease.
    let decide = move |method: &str, path: &str| {
        if !cut.load(Ordering::SeqCst) {
            return Fate::Pass;
        }
        if path.contains("/leases/") {
            return Fate::Refuse(503);
        }
        if method == "PATCH" && path.contains("/configmaps/") {
            counted.fetch_add(1, Ordering::SeqCst);
            return Fate::Delay(Duration::from_secs(25));
        }
        Fate::Pass
    };
    let (_proxy, [one, two]) = replicas(&stage, decide).await;
    silent.store(true, Ordering::SeqCst);
    let names: Vec<String> = (0..40).map(|number| format!("hello-{number}")).collect();
    stage.greet_all(&names).await;
    soon("a write that hangs", || std::future::ready((begun.load(Ordering::SeqCst) > 0).then_some(()))).await;
    soon("the lease of two", || stage.holder("two")).await;
    for name in &names {
        soon("a child", || stage.sentence(name, "Hello, you!")).await;
    }
    let lost = |line: &Value| line["message"] == "the lease" && line["leads"] == false;
    assert!(one.log().iter().any(lost), "it noticed");
    one.stop().await;
    two.stop().await;
    assert!(stage.changes_of_writer("replica-2").await <= 1, "first one, then two, never both");
}

#[tokio::test]
async fn a_replica_that_is_asked_to_end_cancels_what_hangs_and_ends_before_the_next_one_writes() {
    let stage = Stage::with(&["good"]).await;
    let begun = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&begun);
    let decide = move |method: &str, path: &str| {
        let hangs = method == "PATCH" && path.contains("/configmaps/");
        if hangs && counted.fetch_add(1, Ordering::SeqCst) > 0 {
            Fate::Delay(Duration::from_secs(30))
        } else {
            Fate::Pass
        }
    };
    let (_proxy, [one, two]) = replicas(&stage, decide).await;
    stage.greet("first", "you").await;
    soon("its child", || stage.sentence("first", "Hello, you!")).await;
    stage.greet("hello", "you").await;
    soon("a write that hangs", || std::future::ready((begun.load(Ordering::SeqCst) > 1).then_some(()))).await;
    one.stop().await;
    soon("the child", || stage.sentence("hello", "Hello, you!")).await;
    two.stop().await;
    assert_eq!(stage.changes_of_writer("replica-2").await, 1, "first one, then two, never both");
}

/// A process that is stopped cannot know that its lease has run out; the first thing that it asks when it goes on is whether it may write.
#[tokio::test]
async fn a_replica_that_was_frozen_while_another_took_over_writes_nothing_when_it_goes_on() {
    let stage = Stage::with(&["good"]).await;
    let begun = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&begun);
    // Reads take a moment, so that it is frozen between two requests of one reconcile.
    let decide = move |method: &str, path: &str| {
        if method == "PATCH" && path.contains("/greetings/") {
            counted.fetch_add(1, Ordering::SeqCst);
        }
        Fate::Pass
    };
    let (_proxy, [one, two]) = replicas(&stage, decide).await;
    let names: Vec<String> = (0..200).map(|number| format!("hello-{number}")).collect();
    stage.greet_all(&names).await;
    soon("the middle of its work", || std::future::ready((begun.load(Ordering::SeqCst) > 20).then_some(()))).await;
    one.freeze();
    soon("the lease of two", || stage.holder("two")).await;
    for name in &names {
        soon("a child", || stage.sentence(name, "Hello, you!")).await;
    }
    one.thaw();
    let lost = |line: &Value| line["message"] == "the lease" && line["leads"] == false;
    soon("a replica that knows", || std::future::ready(one.log().iter().any(lost).then_some(()))).await;
    one.stop().await;
    two.stop().await;
    assert_eq!(stage.changes_of_writer("replica-2").await, 1, "first one, then two, never both");
}

/// The watch of one kind brings nothing any more: each one that begins is swallowed.
#[tokio::test]
async fn a_finalizer_stays_while_the_server_shows_what_a_lagging_watch_does_not() {
    let stage = Stage::with(&["as_told"]).await;
    let lags = Arc::new(AtomicBool::new(true));
    let told = Arc::clone(&lags);
    let decide = move |_: &str, path: &str| {
        let watches = path.contains("/configmaps?") && path.contains("watch=true");
        if watches && told.load(Ordering::SeqCst) { Fate::Swallow } else { Fate::Pass }
    };
    let (_proxy, kubeconfig) = stage.proxy(decide).await;
    let operator = stage.operator_with(&kubeconfig, &["--watch-seconds", "5"]).await;
    // In another namespace, where nobody but the operator cleans up.
    stage.apply_value(&wish("w", &json!({"maps": [map("m")]})), WISHES, "wishes").await;
    soon("the child", || stage.get("v1", "configmaps", Some("default"), "m")).await;
    stage.delete(WISHES, "wishes", Some("default"), "w").await;
    soon("a parent that says what it waits for", || async {
        let told = stage.condition(WISHES, "wishes", Some("default"), "w", "Reconciling").await?;
        told["message"].as_str()?.contains("ConfigMap default/m: is still there").then_some(())
    })
    .await;
    lags.store(false, Ordering::SeqCst);
    soon("the end of both", || async {
        let parent = stage.get(WISHES, "wishes", Some("default"), "w").await;
        let child = stage.get("v1", "configmaps", Some("default"), "m").await;
        (parent.is_none() && child.is_none()).then_some(())
    })
    .await;
    operator.stop().await;
}

/// A `DaemonSet` of somebody else that never makes a pod.
fn foreign(name: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"a": name}}, "template": {"metadata": {"labels": {"a": name}},
            "spec": {"nodeSelector": {"none": "true"}, "containers": [{"name": "c", "image": "example.com/i"}]}}}})
}

#[tokio::test]
async fn a_label_that_is_refused_holds_up_no_other_and_one_that_is_taken_back_is_set_once_a_minute() {
    let stage = Stage::with(&["as_told"]).await;
    for name in ["one", "two"] {
        stage.apply_as("them", &foreign(name), "apps/v1", "daemonsets").await;
    }
    let operator = stage.operator(&[]).await;
    let wanted = json!({"foreign": {"one": {"example.com/seen": "no label!"}, "two": {"example.com/seen": "true"}}});
    stage.apply_value(&wish("w", &wanted), WISHES, "wishes").await;
    let label = async |name: &str| {
        stage
            .get("apps/v1", "daemonsets", Some("default"), name)
            .await
            .map(|o| o["metadata"]["labels"]["example.com/seen"].clone())
    };
    soon("the other label", || async { (label("two").await? == "true").then_some(()) }).await;
    let stalled = async |reason: &'static str| {
        let told = stage.condition(WISHES, "wishes", Some("default"), "w", "Stalled").await?;
        (told["reason"] == reason).then_some(told)
    };
    soon("the refusal", async || stalled("ApplyRefused").await).await;
    let wanted = json!({"foreign": {"two": {"example.com/seen": "true"}}});
    stage.apply_value(&wish("w", &wanted), WISHES, "wishes").await;
    let path = "/apis/apps/v1/namespaces/default/daemonsets/two?fieldManager=rival";
    let taken_back = json!({"metadata": {"labels": {"example.com/seen": null}}});
    let told = soon("a parent that says so", || async {
        if label("two").await? == "true" {
            stage.send("PATCH", path, "application/merge-patch+json", &taken_back).await.unwrap();
        }
        stalled("Contended").await
    })
    .await;
    assert!(told["message"].as_str().unwrap().contains("because somebody takes it back"), "{told}");
    operator.stop().await;
}

#[tokio::test]
async fn a_child_that_somebody_keeps_deleting_is_a_fight_too() {
    let stage = Stage::with(&["as_told"]).await;
    let operator = stage.operator(&[]).await;
    stage.apply_value(&wish("w", &json!({"maps": [map("m")]})), WISHES, "wishes").await;
    let told = soon("a parent that says so", || async {
        if stage.get("v1", "configmaps", Some("default"), "m").await.is_some() {
            stage.delete("v1", "configmaps", Some("default"), "m").await;
        }
        let told = stage.condition(WISHES, "wishes", Some("default"), "w", "Stalled").await?;
        (told["reason"] == "Contended").then_some(told)
    })
    .await;
    assert!(told["message"].as_str().unwrap().contains("because somebody deletes it"), "{told}");
    operator.stop().await;
}

#[tokio::test]
async fn of_two_modules_with_one_kind_the_second_is_refused_until_the_first_is_gone() {
    let stage = Stage::with(&["reconciler_only"]).await;
    let operator = stage.operator(&[]).await;
    stage.module("trap", &module("trap"));
    let why = "module trap wants to serve Probe.fixtures.example.com, which module reconciler-only serves; remove one of the two files";
    let says =
        async |text: &'static str| operator.readiness().await.filter(|(_, lines)| lines.contains(text)).map(drop);
    soon("the refusal", || says(why)).await;
    stage.remove("reconciler-only");
    let serves = |line: &Value| line["message"] == "serves" && line["module"] == "trap";
    soon("the second module", || std::future::ready(operator.log().iter().any(serves).then_some(()))).await;
    stage.apply_value(&probe("p"), PROBES, "probes").await;
    soon("what it does", || async {
        let told = stage.list("events.k8s.io/v1", "events").await?.to_string();
        told.contains("ModuleTrapped").then_some(())
    })
    .await;
    operator.stop().await;
}

#[tokio::test]
async fn a_module_whose_file_goes_is_missed_in_a_condition_and_serves_again_when_it_is_back() {
    let stage = Stage::with(&["good"]).await;
    let operator = stage.operator(&[]).await;
    stage.greet("hello", "you").await;
    soon("the child", || stage.sentence("hello", "Hello, you!")).await;
    stage.remove("good");
    let told = soon("a condition that says so", || async {
        let told = stage.condition("example.com/v1", "greetings", Some("default"), "hello", "Stalled").await?;
        (told["reason"] == "ModuleNotServing").then_some(told)
    })
    .await;
    assert!(told["message"].as_str().unwrap().contains("there is no file of module good"), "{told}");
    assert!(stage.sentence("hello", "Hello, you!").await.is_some(), "what it made stays");
    stage.module("good", &module("good"));
    stage.greet("hello", "all").await;
    soon("the module at work", || stage.sentence("hello", "Hello, all!")).await;
    operator.stop().await;
}

/// What a module asks for, as an administrator's file of grants that lets go of what it does not clean up after.
fn grants(name: &str, change: impl FnOnce(&mut Value)) -> String {
    let manifest = operator_package::Package::read(module(name)).unwrap().manifest;
    let kinds: Vec<Value> =
        manifest.kinds.iter().map(|kind| json!({"apiVersion": kind.api_version, "kind": kind.kind})).collect();
    let mut allowance = json!({"kinds": kinds, "grants": manifest.grants});
    change(&mut allowance);
    let allowances: BTreeMap<String, Value> = [(manifest.name, allowance)].into();
    serde_json::to_string(&allowances).unwrap()
}

#[tokio::test]
async fn a_removed_module_holds_up_no_deletion_for_longer_than_the_administrator_allows() {
    // A replica without any module is not ready.
    let stage = Stage::with(&["as_told", "good"]).await;
    let of_one = grants("as_told", |allowance| allowance["finalizers"] = json!({"releaseAfter": 3}));
    let of_other = grants("good", |_| ());
    let grants = format!("{},{}", of_one.strip_suffix('}').unwrap(), of_other.strip_prefix('{').unwrap());
    let operator = stage.operator(&["--grants", &grants]).await;
    stage.apply_value(&wish("w", &json!({"maps": [map("m")]})), WISHES, "wishes").await;
    soon("the child", || stage.get("v1", "configmaps", Some("default"), "m")).await;
    stage.remove("as-told");
    soon("a condition that says so", || async {
        let told = stage.condition(WISHES, "wishes", Some("default"), "w", "Stalled").await?;
        (told["reason"] == "ModuleNotServing").then_some(())
    })
    .await;
    operator.stop().await;
    // One that has never seen the file knows of it from the grants.
    let operator = stage.operator(&["--grants", &grants]).await;
    stage.delete(WISHES, "wishes", Some("default"), "w").await;
    soon("its end", || async { stage.get(WISHES, "wishes", Some("default"), "w").await.is_none().then_some(()) }).await;
    soon("an event that tells what may be left", || async {
        stage.list("events.k8s.io/v1", "events").await?.to_string().contains("FinalizerReleased").then_some(())
    })
    .await;
    operator.stop().await;
}

#[tokio::test]
async fn a_module_that_asks_for_more_than_it_is_granted_is_refused_with_the_rule_and_a_rollout_with_it_is_not_ready() {
    let stage = Stage::with(&["as_told"]).await;
    let less = grants("as_told", |allowance| {
        allowance["grants"]["children"].as_array_mut().unwrap().retain(|rule| rule["kind"] != "Deployment");
    });
    let operator = stage.spawn(&stage.kubeconfig_of_admin("scone-operator"), &["--grants", &less]);
    let rule = r#"grants.children: {"apiVersion":"apps/v1","kind":"Deployment","namespaces":"parent"}"#;
    soon("a replica that is not ready", || async {
        operator.readiness().await.filter(|(code, text)| *code == 503 && text.contains(rule))
    })
    .await;
    stage.apply_value(&wish("w", &json!({"maps": [map("m")]})), WISHES, "wishes").await;
    // Its status takes no condition without what only the module knows, so that an event has to tell.
    soon("an event that says why", || async {
        let events = stage.list("events.k8s.io/v1", "events").await?;
        let says = |event: &&Value| {
            event["reason"] == "ModuleNotServing" && event["note"].as_str().is_some_and(|note| note.contains(rule))
        };
        events["items"].as_array()?.iter().find(says).map(drop)
    })
    .await;
    operator.stop().await;
}

const GREETINGS: &str = "/apis/example.com/v1/namespaces/default/greetings?dryRun=All";

fn greeting(name: &str) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Greeting", "metadata": {"name": name, "namespace": "default"},
        "spec": {"name": "you"}})
}

/// An operator that the API server asks, with the webhooks of `good`.
async fn asked(stage: &Stage, balancer: &Balancer) -> Operator {
    let url = balancer.url();
    let arguments = ["--webhook-url", &url, "--webhook-bind-address", "127.0.0.1:0", "--webhook-drain-seconds", "1"];
    let operator = stage.operator(&arguments).await;
    balancer.add(&operator.address("webhooks").unwrap());
    soon("a default by the module", || async {
        let made = stage.send("POST", GREETINGS, "application/json", &greeting("try")).await.ok()?;
        (made["spec"]["salutation"] == "Hello").then_some(())
    })
    .await;
    operator
}

#[tokio::test]
async fn a_module_that_loops_over_hundreds_of_parents_holds_up_neither_admission_nor_other_modules() {
    let stage = Stage::with(&["good", "endless_loop_reconcile"]).await;
    let balancer = Balancer::start().await;
    let operator = asked(&stage, &balancer).await;
    for number in 0..300 {
        stage.apply_value(&probe(&format!("p-{number}")), PROBES, "probes").await;
    }
    let loops = |line: &Value| line["reason"] == "ModuleTimedOut";
    soon("a module that loops", || std::future::ready(operator.log().iter().any(loops).then_some(()))).await;
    for number in 0..100 {
        let made = stage.send("POST", GREETINGS, "application/json", &greeting("load")).await;
        let made = made.unwrap_or_else(|error| panic!("request {number}: {error}"));
        assert_eq!(made["spec"]["salutation"], "Hello");
    }
    stage.greet("hello", "you").await;
    soon("another module's work", || stage.sentence("hello", "Hello, you!")).await;
    let still = |line: &&Value| line["reason"] == "ModuleTimedOut";
    assert!(operator.log().iter().filter(still).count() < 900, "it was at work all the time");
    operator.stop().await;
}

#[tokio::test]
async fn the_webhooks_of_a_module_that_cannot_be_read_any_more_stay_after_a_restart_and_say_why() {
    let stage = Stage::with(&["good"]).await;
    let balancer = Balancer::start().await;
    let operator = asked(&stage, &balancer).await;
    operator.stop().await;
    stage.module("good", b"no module at all");
    let url = balancer.url();
    let arguments = ["--webhook-url", &url, "--webhook-bind-address", "127.0.0.1:0", "--webhook-drain-seconds", "1"];
    let operator = stage.spawn(&stage.kubeconfig_of_admin("scone-operator"), &arguments);
    let address = soon("its webhooks", || std::future::ready(operator.address("webhooks"))).await;
    balancer.add(&address);
    let tried = async || stage.send("POST", GREETINGS, "application/json", &greeting("try")).await;
    let says_why = |tried: &Result<Value, kube::Error>| {
        tried.as_ref().is_err_and(|error| error.to_string().contains("module good is refused: it is no WebAssembly"))
    };
    until("a refusal that says why", tried, says_why).await.unwrap_err();
    soon("a replica that is not ready", || async {
        operator.readiness().await.filter(|(code, text)| *code == 503 && text.contains("module good"))
    })
    .await;
    operator.stop().await;
}

#[tokio::test]
async fn a_deleted_certificate_comes_back_from_memory_and_nobody_sees_one_that_is_not_trusted() {
    let stage = Stage::with(&["good"]).await;
    let balancer = Balancer::start().await;
    let operator = asked(&stage, &balancer).await;
    let secret = async || stage.get("v1", "secrets", Some("scone-system"), "webhook-server-cert").await;
    let before = secret().await.unwrap();
    stage.delete("v1", "secrets", Some("scone-system"), "webhook-server-cert").await;
    let again = soon("the Secret", async || {
        let made = stage.send("POST", GREETINGS, "application/json", &greeting("load")).await;
        made.unwrap_or_else(|error| panic!("a request failed meanwhile: {error}"));
        secret().await
    })
    .await;
    assert_ne!(again["metadata"]["uid"], before["metadata"]["uid"]);
    assert!(again["data"] == before["data"], "the same authority and certificate");
    operator.stop().await;
}

#[tokio::test]
async fn one_refusal_of_a_list_is_no_refusal_of_the_kind() {
    let stage = Stage::with(&["good"]).await;
    let times = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&times);
    let decide = move |_: &str, path: &str| {
        let lists = path.contains("/configmaps?") && !path.contains("watch=true");
        if lists && counted.fetch_add(1, Ordering::SeqCst) < 2 { Fate::Refuse(403) } else { Fate::Pass }
    };
    let (_proxy, kubeconfig) = stage.proxy(decide).await;
    stage.greet("hello", "you").await;
    let operator = stage.operator_with(&kubeconfig, &[]).await;
    soon("the child", || stage.sentence("hello", "Hello, you!")).await;
    assert!(times.load(Ordering::SeqCst) > 2);
    let events = stage.list("events.k8s.io/v1", "events").await.unwrap().to_string();
    assert!(!events.contains("KindRefused"), "{events}");
    operator.stop().await;
}

/// A list that succeeds is no proof of health: a kind would be listed every second.
#[tokio::test]
async fn a_watch_that_fails_after_each_list_is_begun_more_and_more_seldom() {
    let stage = Stage::with(&["good"]).await;
    let lists = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&lists);
    let decide = move |_: &str, path: &str| {
        if !path.contains("/configmaps?") {
            return Fate::Pass;
        }
        if path.contains("watch=true") {
            return Fate::Refuse(500);
        }
        noted.lock().unwrap().push(std::time::Instant::now());
        Fate::Pass
    };
    let (_proxy, kubeconfig) = stage.proxy(decide).await;
    let operator = stage.operator_with(&kubeconfig, &[]).await;
    let troubles = || operator.log().into_iter().filter(|line| line["message"] == "a kind cannot be watched");
    let waits = until(
        "five errors",
        async || troubles().filter_map(|line| line["wait_s"].as_u64()).collect::<Vec<u64>>(),
        |waits| waits.len() >= 5,
    )
    .await;
    assert_eq!(waits[..5], [1, 2, 4, 8, 16]);
    operator.stop().await;
}

/// `tests/native` keeps the list of what modules write that a server may drop: `null`, `false`, `""`, `0`.
const ZEROS: &str = "tests/cluster/zeros.json";

/// The path of an object of one of Kubernetes' own kinds, for an apply that keeps nothing.
fn path_of(identity: &operator_core::ObjectRef) -> String {
    let kind = identity.kind.to_lowercase();
    let plural = kind.strip_suffix('y').map_or_else(|| format!("{kind}s"), |stem| format!("{stem}ies"));
    let root = if identity.api_version.contains('/') { "apis" } else { "api" };
    let place = identity.namespace.as_ref().map(|namespace| format!("/namespaces/{namespace}")).unwrap_or_default();
    let (api_version, name) = (&identity.api_version, &identity.name);
    format!("/{root}/{api_version}{place}/{plural}/{name}?fieldManager=tester&force=true&dryRun=All")
}

#[tokio::test]
async fn nothing_that_modules_write_and_the_server_drops_is_a_difference() {
    let stage = Stage::with(&[]).await;
    let text = std::fs::read_to_string(test_support::checkout().join(ZEROS)).unwrap();
    let objects: BTreeMap<String, Value> = serde_json::from_str(&text).unwrap();
    let mut differing = Vec::new();
    for (what, object) in &objects {
        let identity = operator_core::Document::from_value(object).identity().unwrap().object_ref();
        if let Some(namespace) = &identity.namespace {
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
            stage.apply_value(&namespace, "v1", "namespaces").await;
        }
        let kept = stage.send("PATCH", &path_of(&identity), "application/apply-patch+yaml", object).await;
        let kept = kept.unwrap_or_else(|error| panic!("{what}: {error}"));
        let changes = operator_core::diff::changes(object, &kept);
        differing.extend(changes.into_iter().map(|change| format!("{what}: {change}")));
    }
    assert!(differing.is_empty(), "{differing:#?}");
}
