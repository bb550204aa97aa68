//! Ring api: what the operator does when it does not see everything, or not in time. A proxy between operator and API server makes
//! that happen.
#![cfg(test)]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use cluster::Fate;
use cluster::stage::{Operator, PATIENCE, Stage, soon, until};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use test_support::canary;

#[tokio::test]
async fn a_kind_that_may_not_be_seen_stops_its_own_module_only() {
    let stage = Stage::with(&["las", "good"]).await;
    stage.create_node("node-1", &json!({"intel.feature.node.kubernetes.io/sgx": "true"})).await;
    stage.grant("scone-operator", &[]).await;
    stage.forbids("list", "nodes");
    let operator = stage.operator_with(&stage.kubeconfig_of_user("scone-operator"), &[]).await;
    stage.apply("las.yaml").await;
    let condition =
        soon("a condition", || stage.condition("base.scone.cloud/v1beta1", "las", None, "las", "Ready")).await;
    assert_eq!((condition["status"].as_str(), condition["reason"].as_str()), (Some("False"), Some("KindRefused")));
    let text = condition["message"].as_str().unwrap();
    assert!(text.contains("nodes is forbidden") && text.contains("cannot list resource"), "{text}");
    until(
        "a ready replica that says what it cannot see",
        async || operator.readiness().await.unwrap().1,
        |readiness| readiness.starts_with("ok\n") && readiness.contains("nodes is forbidden"),
    )
    .await;

    let refused = || refusals(&stage, "nodes");
    let before = refused().len();
    for number in 0..EDITS {
        stage.greet("hello", &format!("user {number}")).await;
        let wanted = format!("Hello, user {number}!");
        soon("the edit's effect", || stage.sentence("hello", &wanted)).await;
    }
    // Were edits held up until the refused kind is tried again, there would be as many tries.
    let tries = refused().len() - before;
    assert!(tries < EDITS / 5, "{tries} tries while {EDITS} edits had their effects");
    backs_off(&operator, refused).await;
    soon("a line about a missing right, as rights are checked at start", || async {
        let missing =
            |line: &Value| line["message"].as_str().is_some_and(|text| text.starts_with("a right is missing"));
        operator.log().iter().any(missing).then_some(())
    })
    .await;

    stage.grant("scone-operator", &["nodes"]).await;
    soon("what the module makes once it sees", || stage.get("apps/v1", "daemonsets", Some("scone-system"), "las"))
        .await;
    let forbidden = |readiness: &String| readiness.contains("forbidden");
    until("no refusal", async || operator.readiness().await.unwrap().1, |readiness| !forbidden(readiness)).await;
    operator.stop().await;
}

/// How many edits of what can be seen are made while something else cannot.
const EDITS: usize = 50;

/// When the operator was forbidden to list a resource, in the order of its tries.
fn refusals(stage: &Stage, resource: &str) -> Vec<Timestamp> {
    let mut events = stage.ring().requests();
    events.retain(|event| event["verb"] == "list" && event["objectRef"]["resource"] == resource);
    events.retain(|event| event["responseStatus"]["code"] == 403);
    let mut times: Vec<Timestamp> =
        events.iter().map(|event| event["requestReceivedTimestamp"].as_str().unwrap().parse().unwrap()).collect();
    times.sort();
    times
}

/// Each wait that the log announces is twice the one before, and no try comes before its wait is over.
async fn backs_off(operator: &Operator, tries: impl Fn() -> Vec<Timestamp>) {
    let tries = PATIENCE.until_now("five tries", tries, |tries| tries.len() >= 5).await;
    let gaps: Vec<i64> = tries.windows(2).map(|pair| pair[1].as_millisecond() - pair[0].as_millisecond()).collect();
    let log = operator.log();
    let refused = log.iter().filter(|line| line["message"] == "a kind cannot be watched" && line["kind"] == "Node");
    let waits: Vec<i64> = refused.map(|line| line["wait_s"].as_i64().unwrap()).collect();
    let doubled: Vec<i64> = (0..waits.len()).map(|number| (1 << number.min(5)).min(30)).collect();
    assert_eq!(waits, doubled, "in seconds");
    // Timestamps are cut to microseconds, and the wait begins a moment after the server has answered.
    assert!(gaps.iter().zip(&waits).all(|(gap, wait)| *gap >= wait * 1000), "{gaps:?} ms between tries, {waits:?} s");
}

#[tokio::test]
async fn nothing_is_written_before_every_cache_is_complete() {
    let stage = Stage::with(&["good"]).await;
    stage.greet("hello", "you").await;
    let operator = stage.operator(&[]).await;
    soon("the child", || stage.sentence("hello", "Hello, you!")).await;
    soon("a settled operator", || stage.quiet(Duration::from_secs(2))).await;
    operator.stop().await;
    let before = stage.writes().len();

    let late = |method: &str, path: &str| {
        let list = method == "GET" && path.starts_with("/api/v1/configmaps") && !path.contains("watch=");
        if list { Fate::Delay(Duration::from_secs(6)) } else { Fate::Pass }
    };
    let (_proxy, kubeconfig) = stage.proxy(late).await;
    let operator = stage.spawn(&kubeconfig, &[]);
    let (_, missing) = soon("a replica that waits for one cache", || async {
        operator
            .readiness()
            .await
            .filter(|(code, text)| *code == 503 && text.lines().count() == 1 && text.contains("ConfigMap"))
    })
    .await;
    assert_eq!(missing, "v1 ConfigMap: its first list is not complete\n");
    assert_eq!(stage.writes().len(), before, "while it waits");
    soon("a ready replica", || async { operator.readiness().await.filter(|(code, _)| *code == 200) }).await;
    operator.has_looked(&["good"]).await;
    soon("a settled operator", || stage.quiet(Duration::from_secs(2))).await;
    assert_eq!(stage.writes().len(), before, "and afterwards");
    operator.stop().await;
}

/// How a proxy treats one kind's watches and lists.
#[derive(Clone)]
struct Gate {
    /// What becomes of watches.
    watches: Arc<Mutex<Fate>>,
    lists: Arc<AtomicUsize>,
    /// Watches that did not go through.
    stopped: Arc<AtomicUsize>,
}

impl Gate {
    fn new() -> Self {
        Self { watches: Arc::new(Mutex::new(Fate::Pass)), lists: Arc::default(), stopped: Arc::default() }
    }

    fn decide(&self, method: &str, path: &str) -> Fate {
        if method != "GET" || !path.starts_with("/api/v1/configmaps") {
            return Fate::Pass;
        }
        if !path.contains("watch=") {
            // A list comes in pages.
            self.lists.fetch_add(usize::from(!path.contains("continue=")), Ordering::SeqCst);
            return Fate::Pass;
        }
        let fate = self.watches.lock().unwrap().clone();
        self.stopped.fetch_add(usize::from(fate != Fate::Pass), Ordering::SeqCst);
        fate
    }

    fn set(&self, fate: Fate) {
        *self.watches.lock().unwrap() = fate;
    }

    /// Waits for one more than there were.
    async fn more(count: &AtomicUsize, before: usize) {
        soon("another request", || std::future::ready((count.load(Ordering::SeqCst) > before).then_some(()))).await;
    }
}

#[tokio::test]
async fn a_child_that_went_while_nobody_watched_comes_back_however_the_server_tells_that_it_has_forgotten() {
    let stage = Stage::with(&["good"]).await;
    let gate = Gate::new();
    let keeper = gate.clone();
    let (proxy, kubeconfig) = stage.proxy(move |method, path| keeper.decide(method, path)).await;
    let operator = stage.operator_with(&kubeconfig, &[]).await;
    stage.greet("hello", "you").await;
    for forgotten in [Fate::Expire, Fate::Refuse(410)] {
        soon("the child", || stage.sentence("hello", "Hello, you!")).await;
        let stopped = gate.stopped.load(Ordering::SeqCst);
        gate.set(Fate::Refuse(503));
        proxy.cut();
        Gate::more(&gate.stopped, stopped).await;
        stage.delete("v1", "configmaps", Some("default"), "hello").await;
        let (stopped, lists) = (gate.stopped.load(Ordering::SeqCst), gate.lists.load(Ordering::SeqCst));
        gate.set(forgotten.clone());
        Gate::more(&gate.stopped, stopped).await;
        Gate::more(&gate.lists, lists).await;
        gate.set(Fate::Pass);
        soon("the child again", || stage.sentence("hello", "Hello, you!")).await;
        let listed = gate.lists.load(Ordering::SeqCst) - lists;
        assert_eq!(listed, 1, "{forgotten:?}: the first list after it shows that the child is gone");
    }
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_objects_are_listed_again_in_less_than_twice_their_memory() {
    let stage = Stage::with(&["good"]).await;
    let gate = Gate::new();
    let keeper = gate.clone();
    let (proxy, kubeconfig) = stage.proxy(move |method, path| keeper.decide(method, path)).await;
    stage.fill("default", 0..10_000).await;
    let operator = stage.operator_with(&kubeconfig, &[]).await;
    // Half of them come by a list, and half by a watch.
    stage.fill("default", 10_000..20_000).await;
    soon("all objects", || async { operator.cached().await.filter(|count| *count >= 20_000).map(drop) }).await;
    let (rest, lists) = (operator.memory(), gate.lists.load(Ordering::SeqCst));
    operator.forget_peak();
    let listed = || {
        let listed = |line: &&Value| line["message"] == "listed" && line["kind"] == "ConfigMap";
        operator.log().iter().filter(listed).count()
    };
    let before = listed();
    gate.set(Fate::Expire);
    proxy.cut();
    Gate::more(&gate.lists, lists).await;
    gate.set(Fate::Pass);
    soon("another complete list", || std::future::ready((listed() > before).then_some(()))).await;
    let peak = operator.peak();
    let mib = |bytes: u64| bytes / 1024 / 1024;
    println!("at rest {} MiB, peak {} MiB", mib(rest), mib(peak));
    assert!(peak < rest * 22 / 10, "at rest {} MiB, peak {} MiB", mib(rest), mib(peak));
    assert_eq!(operator.cached().await.map(|count| count >= 20_000), Some(true));
    operator.stop().await;
}

#[tokio::test]
async fn a_silent_api_server_costs_the_lease_and_nothing_else() {
    let stage = Stage::with(&["good"]).await;
    let (proxy, kubeconfig) = stage.proxy(|_, _| Fate::Pass).await;
    let arguments = ["--leader-elect", "--identity", "one", "--watch-seconds", "10"];
    let mut operator = stage.operator_with(&kubeconfig, &arguments).await;
    soon("the lease", || stage.holder("one")).await;
    let leads = |wanted: bool| {
        let log = operator.log();
        let told = log.into_iter().rfind(|line| line["message"] == "the lease").unwrap();
        (told["leads"] == wanted).then(|| told["timestamp"].as_str().unwrap().parse::<Timestamp>().unwrap())
    };
    proxy.silence(true);
    let stopped = soon("a leader that stops writing", || std::future::ready(leads(false))).await;
    let end = stage.lease_end().await;
    assert!(stopped < end, "it stops at {stopped}, and from {end} on others may take the lease");
    stage.greet("hello", "you").await;
    soon("the end of the lease", || std::future::ready((Timestamp::now() > end).then_some(()))).await;
    proxy.silence(false);
    soon("the lease again", || std::future::ready(leads(true))).await;
    // Every connection from before is dead, and nobody says so.
    soon("the child", || stage.sentence("hello", "Hello, you!")).await;
    stage.greet("hello", "all").await;
    soon("the edit's effect", || stage.sentence("hello", "Hello, all!")).await;
    stage.delete("v1", "configmaps", Some("default"), "hello").await;
    soon("the child again", || stage.sentence("hello", "Hello, all!")).await;
    assert!(operator.runs(), "without a restart");
    operator.stop().await;
}

#[tokio::test]
async fn an_object_that_its_module_cannot_read_hurts_nobody_else_and_is_not_shown() {
    let stage = Stage::with(&["good"]).await;
    stage.forget_schema("greetings.example.com").await;
    for number in 0..99 {
        stage.greet(&format!("hello-{number}"), "you").await;
    }
    let poison = json!({"apiVersion": "example.com/v1", "kind": "Greeting", "metadata": {"name": "poison", "namespace": "default"},
        "spec": {"name": [canary::MARK]}});
    stage.apply_value(&poison, "example.com/v1", "greetings").await;
    let operator = stage.operator(&[]).await;
    for number in 0..99 {
        let name = format!("hello-{number}");
        soon("a child", || stage.sentence(&name, "Hello, you!")).await;
    }
    let condition =
        soon("a condition", || stage.condition("example.com/v1", "greetings", Some("default"), "poison", "Ready"))
            .await;
    assert_eq!(condition["status"], "False");
    assert!(condition["message"].as_str().unwrap().contains("spec.name"), "{condition}");
    let about = |log: &[String]| {
        log.iter().filter(|line| line.contains("poison") && line.contains("nothing was applied")).count()
    };
    let log = || -> Vec<String> { operator.log().iter().map(ToString::to_string).collect() };
    soon("a line in the log", || std::future::ready((about(&log()) > 0).then_some(()))).await;
    soon("a settled operator", || stage.quiet(Duration::from_secs(2))).await;
    let log = log();
    assert_eq!(about(&log), 1);
    assert!(!log.iter().any(|line| canary::is_told(line)), "nothing of an object is logged");
    operator.stop().await;
}

#[tokio::test]
async fn an_operator_that_is_killed_at_any_write_loses_nothing_and_doubles_nothing() {
    let stage = Stage::with(&["as_told"]).await;
    let namespace = "default";
    let wish = |names: &[&str], value: &str| {
        let map = |name: &&str| {
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": {"k": value}})
                .to_string()
        };
        json!({"apiVersion": "example.com/v1", "kind": "Wish", "metadata": {"name": "w", "namespace": namespace},
            "spec": {"maps": names.iter().map(map).collect::<Vec<_>>()}})
    };
    for (number, mute) in (1..=9).flat_map(|number| [(number, false), (number, true)]) {
        let settled = stage.operator(&[]).await;
        stage.apply_value(&wish(&["a", "b", "c"], "old"), "example.com/v1", "wishes").await;
        soon("the first state", || stage.maps(&[("a", "old"), ("b", "old"), ("c", "old")])).await;
        soon("a settled operator", || stage.quiet(Duration::from_millis(500))).await;
        settled.stop().await;

        let (seen, reached) = (Arc::new(Mutex::new(0)), Arc::new(AtomicBool::new(false)));
        let flag = Arc::clone(&reached);
        let decide = move |method: &str, path: &str| {
            if method == "GET" || path.contains("selfsubjectaccessreviews") {
                return Fate::Pass;
            }
            let mut seen = seen.lock().unwrap();
            *seen += 1;
            if *seen < number {
                return Fate::Pass;
            }
            flag.store(true, Ordering::SeqCst);
            if *seen == number && mute { Fate::Mute } else { Fate::Swallow }
        };
        stage.apply_value(&wish(&["b", "d"], "new"), "example.com/v1", "wishes").await;
        let (proxy, kubeconfig) = stage.proxy(decide).await;
        let mut killed = stage.operator_with(&kubeconfig, &[]).await;
        let quiet = Instant::now();
        let all_done = soon("the write at which it is killed", || async {
            let done =
                stage.maps(&[("b", "new"), ("d", "new")]).await.is_some() && quiet.elapsed() > Duration::from_secs(3);
            (done || reached.load(Ordering::SeqCst)).then_some(done)
        })
        .await;
        killed.kill();
        drop(proxy);
        let again = stage.operator(&[]).await;
        soon("the second state", || stage.maps(&[("b", "new"), ("d", "new")])).await;
        stage.delete("example.com/v1", "wishes", Some(namespace), "w").await;
        soon("the end of everything", || stage.maps(&[])).await;
        soon("the end of the wish", || async {
            stage.get("example.com/v1", "wishes", Some(namespace), "w").await.is_none().then_some(())
        })
        .await;
        again.stop().await;
        if all_done && !reached.load(Ordering::SeqCst) {
            assert!(number > 6, "record, update, create, two prunes, shrink, status: only {number} writes");
            break;
        }
    }
}
