//! Ring api: webhooks, as a real API server calls them.
#![cfg(test)]

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use cluster::stage::{Operator, PATIENCE, Stage, balancer::Balancer, certificates, soon, until};
use serde_json::{Value, json};
use test_support::{Load, module};

const GREETINGS: &str = "/apis/example.com/v1/namespaces/default/greetings";
const PROBES: &str = "/apis/fixtures.example.com/v1/namespaces/default/probes";
/// A note, in the version in which none is stored.
const NOTE: &str = "/apis/example.com/v2/namespaces/default/notes/n";
const LAS: &str = "/apis/base.scone.cloud/v1beta1/las";
const ADMISSION: &str = "admissionregistration.k8s.io/v1";

/// An operator behind a balancer.
async fn serving(stage: &Stage, balancer: &Balancer, more: &[&str]) -> Operator {
    let url = balancer.url();
    // Of a flag that is given twice the last one counts.
    let mut arguments =
        vec!["--webhook-url", &url, "--webhook-bind-address", "127.0.0.1:0", "--webhook-drain-seconds", "1"];
    arguments.extend(more);
    let operator = stage.operator(&arguments).await;
    balancer.add(&operator.address("webhooks").unwrap());
    operator
}

/// An operator whose webhooks the API server knows and reaches.
async fn reached(stage: &Stage, balancer: &Balancer, more: &[&str]) -> Operator {
    let operator = serving(stage, balancer, more).await;
    soon("a probe that arrives", || reachable(&operator, 1)).await;
    operator
}

async fn reachable(operator: &Operator, value: u8) -> Option<()> {
    let value = format!(" {value}");
    let is = |line: &str| line.starts_with("scone_operator_webhook_reachable{") && line.ends_with(&value);
    operator.metrics().await.lines().any(is).then_some(())
}

fn greeting(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Greeting", "metadata": {"name": name, "namespace": "default"}, "spec": spec})
}

fn probe(message: &str) -> Value {
    json!({"apiVersion": "fixtures.example.com/v1", "kind": "Probe", "metadata": {"name": "p", "namespace": "default"},
        "spec": {"message": message}})
}

fn las(spec: &Value) -> Value {
    json!({"apiVersion": "base.scone.cloud/v1beta1", "kind": "LAS", "metadata": {"name": "las"}, "spec": spec})
}

/// Creates an object in a dry run.
async fn tried(stage: &Stage, path: &str, object: &Value) -> Result<Value, kube::Error> {
    stage.send("POST", &format!("{path}?dryRun=All"), "application/json", object).await
}

/// What the API server says to an object that is refused.
async fn refusal(stage: &Stage, path: &str, object: &Value) -> kube::core::Status {
    match tried(stage, path, object).await {
        Err(kube::Error::Api(status)) => *status,
        other => panic!("it was not refused: {other:?}"),
    }
}

/// The names of the webhooks in a configuration of the operator in `scone-system`.
async fn webhooks(stage: &Stage, which: &str) -> Option<Vec<String>> {
    let name = format!("scone-{which}-webhook-configuration-scone-system");
    let found = stage.get(ADMISSION, &format!("{which}webhookconfigurations"), None, &name).await?;
    let names = found["webhooks"].as_array().into_iter().flatten().map(|w| w["name"].as_str().unwrap().to_owned());
    Some(names.collect())
}

/// Waits until both configurations hold exactly these webhooks, beside the one for probes. They are written one after the other.
async fn registered(stage: &Stage, mutating: &[&str], validating: &[&str]) {
    let named = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
    let wanted = (named(mutating), named(&[validating, &["probe.operator.scone.cloud"]].concat()));
    let there = async || (webhooks(stage, "mutating").await, webhooks(stage, "validating").await);
    until("the webhooks of what serves", there, |there| *there == wanted).await;
}

/// What load consists of.
#[derive(Clone, Copy)]
enum Asks {
    /// Greetings are created in dry runs, and need their default.
    Defaults,
    /// A note is read in the version in which it is not stored.
    Conversions,
}

impl Asks {
    /// Asks once, and gives what is wrong with the answer.
    async fn once(self, stage: &Stage) -> Option<String> {
        let (answer, pointer, wanted) = match self {
            Self::Defaults => {
                let asked = tried(stage, GREETINGS, &greeting("load", &json!({"name": "you"}))).await;
                (asked, "/spec/salutation", json!("Hello"))
            }
            Self::Conversions => (stage.read(NOTE).await, "/spec/lines", json!(["one", "two"])),
        };
        match answer {
            Ok(made) if made.pointer(pointer) == Some(&wanted) => None,
            Ok(made) => Some(format!("no {pointer}: {made}")),
            Err(error) => Some(error.to_string()),
        }
    }
}

/// Load that begins once the API server has heard of the webhook: it hears of each configuration, and of each CRD, at its own time.
async fn load(stage: &Arc<Stage>, tasks: usize, asks: Asks) -> Load {
    let stage = Arc::clone(stage);
    Load::start(PATIENCE, tasks, Duration::from_millis(10), move || {
        let stage = Arc::clone(&stage);
        async move { asks.once(&stage).await }
    })
    .await
}

/// Waits until the API server has heard of the webhook that gives greetings their defaults: from then on each of them has to have them.
async fn greetings_get_defaults(stage: &Stage) {
    until("greetings with defaults", async || Asks::Defaults.once(stage).await, Option::is_none).await;
}

/// How often admission requests on a path ended so.
async fn answered(operator: &Operator, path: &str, outcome: &str) -> u64 {
    operator.sum(&format!("scone_operator_webhook_requests_total{{path=\"{path}\",outcome=\"{outcome}\"}}")).await
}

#[tokio::test]
async fn a_user_is_shown_why_a_las_is_refused_and_gets_its_defaults() {
    let stage = Stage::start().await;
    let balancer = Balancer::start().await;
    let operator = reached(&stage, &balancer, &[]).await;

    // What no schema says: one quantity is larger than another.
    let greedy = json!({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}});
    let status = refusal(&stage, LAS, &las(&greedy)).await;
    assert_eq!(status.code, 422);
    assert!(status.message.contains("admission webhook \"vlas.kb.io\" denied the request"), "{}", status.message);
    assert!(status.message.contains("spec.resources.requests[cpu]"), "{}", status.message);
    assert_eq!(status.details.unwrap().causes[0].field, "spec.resources.requests[cpu]");

    // The API server hears of the configuration that has defaults at another time than of the one that refuses.
    let made = async || tried(&stage, LAS, &las(&json!({"dcapKey": "0".repeat(32)}))).await.unwrap()["spec"].clone();
    let filled = |spec: &Value| (&spec["hostPort"], &spec["imagePullPolicy"]) == (&json!(18766), &json!("Always"));
    until("its defaults", made, filled).await;
    operator.stop().await;
}

#[tokio::test]
async fn fields_that_a_module_does_not_know_survive_its_defaults() {
    let stage = Stage::with(&["good"]).await;
    let crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/greetings.example.com";
    let keep = json!([{"op": "add", "value": true,
        "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/x-kubernetes-preserve-unknown-fields"}]);
    stage.send("PATCH", crd, "application/json-patch+json", &keep).await.unwrap();
    let spec = json!({"name": "you", "newer": {"deeper": [{"deepest": 1}, null]}});
    let made = async || tried(&stage, GREETINGS, &greeting("g", &spec)).await.unwrap()["spec"].clone();
    until("a schema that keeps all fields", made, |made| *made == spec).await;
    let balancer = Balancer::start().await;
    let operator = reached(&stage, &balancer, &[]).await;
    greetings_get_defaults(&stage).await;

    let mut complete = spec.clone();
    complete["salutation"] = "Hello".into();
    for _ in 0..20 {
        assert_eq!(made().await, complete);
    }
    operator.stop().await;
}

#[tokio::test]
async fn what_cannot_be_stored_is_refused_in_the_modules_name_and_never_a_failure_of_the_server() {
    let stage = Stage::with(&["bad_patch"]).await;
    let balancer = Balancer::start().await;
    let operator = reached(&stage, &balancer, &[]).await;
    let noted = async || tried(&stage, PROBES, &probe("annotate")).await.unwrap()["metadata"]["annotations"].clone();
    let is_noted = |annotations: &Value| annotations["example.com/noted"] == "yes";
    until("a parent of a field that was missing", noted, is_noted).await;

    for (message, reason) in [
        ("rename", "ModuleAnswerInvalid"),
        ("schema", "ModuleAnswerInvalid"),
        ("array", "ModuleAnswerInvalid"),
        ("validate", "ModuleAnswerInvalid"),
        ("trap", "ModuleTrapped"),
    ] {
        let status = refusal(&stage, PROBES, &probe(message)).await;
        assert_eq!((status.code, status.reason.as_str()), (403, reason), "{message}: {}", status.message);
        assert!(status.message.contains("module bad-patch 1.0.0"), "{message}: {}", status.message);
    }

    stage.send("POST", PROBES, "application/json", &probe("")).await.unwrap();
    let deleted = stage.send("DELETE", &format!("{PROBES}/p"), "application/json", &json!({})).await;
    let Err(kube::Error::Api(status)) = deleted else { panic!("a patch for a deletion: {deleted:?}") };
    assert_eq!((status.code, status.reason.as_str()), (403, "ModuleAnswerInvalid"));
    operator.stop().await;
}

#[tokio::test]
async fn a_module_that_is_called_again_after_another_webhook_changes_nothing_more() {
    let stage = Stage::with(&["good"]).await;
    let balancer = Balancer::start().await;
    let operator = reached(&stage, &balancer, &[]).await;
    // Another operator in the same cluster: its configuration comes after ours by name.
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "second"}});
    stage.apply_value(&namespace, "v1", "namespaces").await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("meddler.wasm"), module("meddler")).unwrap();
    let (path, others) = (folder.path().display().to_string(), Balancer::start().await);
    let meddler = reached(&stage, &others, &["--namespace", "second", "--modules", &path]).await;

    let greeted = async || tried(&stage, GREETINGS, &greeting("g", &json!({"name": "you"}))).await.unwrap();
    greetings_get_defaults(&stage).await;
    until("a webhook that meddles", greeted, |made| made["metadata"]["labels"]["example.com/meddled"] == "yes").await;
    let path = "/mutate-example-com-v1-greeting";
    let before = (answered(&operator, path, "patched").await, answered(&operator, path, "allowed").await);
    for _ in 0..20 {
        let made = greeted().await;
        assert_eq!(made["spec"], json!({"name": "you", "salutation": "Hello"}));
        assert_eq!(made["metadata"]["labels"], json!({"example.com/meddled": "yes"}));
    }
    let after = (answered(&operator, path, "patched").await, answered(&operator, path, "allowed").await);
    assert_eq!(
        (after.0 - before.0, after.1 - before.1),
        (20, 20),
        "each is patched once, and looked at again without a patch"
    );
    meddler.stop().await;
    operator.stop().await;
}

#[tokio::test]
async fn a_way_that_is_blocked_is_told_after_six_probes_with_the_port_and_the_fix() {
    let stage = Stage::with(&["good"]).await;
    let balancer = Balancer::start().await;
    let operator = serving(&stage, &balancer, &[]).await;
    let address = operator.address("webhooks").unwrap();
    balancer.remove(&address);
    let event = soon("the event", || async {
        let events = stage.list("events.k8s.io/v1", "events").await?;
        let events = events["items"].as_array().cloned().unwrap_or_default();
        events.into_iter().find(|event| event["reason"] == "WebhookUnreachable")
    })
    .await;
    reachable(&operator, 0).await.unwrap();
    // Each probe is a second after the one before, and the API server waits for its answer for five: that is less than a minute.
    let writes = stage.writes();
    let told = writes.iter().position(|write| write["objectRef"]["resource"] == "events").unwrap();
    let probes =
        writes[..told].iter().filter(|write| write["requestURI"].as_str().unwrap().contains("dryRun=All")).count();
    assert_eq!(probes, 6, "fewer may be an accident");
    let (note, port) = (event["note"].as_str().unwrap(), address.rsplit(':').next().unwrap());
    assert!(note.contains(&format!("port {port}")) && note.contains("firewall"), "{note}");

    balancer.add(&address);
    soon("a probe that arrives", || reachable(&operator, 1)).await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authorities_and_certificates_rotate_under_load_and_no_request_fails() {
    let stage = Arc::new(Stage::with(&["good", "converter"]).await);
    let balancer = Balancer::start().await;
    // An authority of 12 s, certificates of 6 s, used 1 s after they are trusted, the old authority trusted 3 s longer.
    let operator = reached(&stage, &balancer, &["--webhook-certificate-seconds", "12,6,1,3"]).await;
    let note = json!({"apiVersion": "example.com/v1", "kind": "Note", "metadata": {"name": "n", "namespace": "default"}, "spec": {"text": "one\ntwo"}});
    stage.apply_value(&note, "example.com/v1", "notes").await;
    let (defaults, conversions) = (load(&stage, 3, Asks::Defaults).await, load(&stage, 1, Asks::Conversions).await);
    let (mut authorities, mut certificates) = (BTreeSet::new(), BTreeSet::new());
    while authorities.len() < 3 {
        let (authority, certificate) = soon("the Secret", || async {
            let secret = stage.get("v1", "secrets", Some("scone-system"), "webhook-server-cert").await?;
            Some((secret["data"]["authority.crt"].to_string(), secret["data"]["tls.crt"].to_string()))
        })
        .await;
        authorities.insert(authority);
        certificates.insert(certificate);
        defaults.goes_on(10).await;
    }
    defaults.goes_on(50).await;
    let (sent, converted) = (defaults.end().await, conversions.end().await);
    assert!(sent > 100 && certificates.len() >= 3, "{sent} requests, {} certificates", certificates.len());
    assert!(converted > 30, "{converted} conversions");
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_ends_under_load_loses_no_request() {
    let stage = Arc::new(Stage::with(&["good"]).await);
    let balancer = Balancer::start().await;
    let one =
        reached(&stage, &balancer, &["--leader-elect", "--identity", "one", "--webhook-drain-seconds", "10"]).await;
    let two = serving(&stage, &balancer, &["--leader-elect", "--identity", "two"]).await;
    let load = load(&stage, 4, Asks::Defaults).await;
    load.goes_on(100).await;
    let address = one.address("webhooks").unwrap();
    one.terminate();
    // As the endpoints of a service do: it gets no new connections some time after it is no longer ready.
    soon("no longer ready", || async { one.readiness().await.is_none_or(|(code, _)| code != 200).then_some(()) }).await;
    load.goes_on(50).await;
    balancer.remove(&address);
    let ((), ()) = tokio::join!(one.stop(), load.goes_on(100));
    soon("the lease of two", || stage.holder("two")).await;
    load.goes_on(100).await;
    let sent = load.end().await;
    assert!(sent > 300, "{sent}");
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_update_and_ten_swaps_of_the_module_under_load_lose_no_request() {
    let stage = Arc::new(Stage::with(&["good"]).await);
    let balancer = Balancer::start().await;
    let mut old =
        reached(&stage, &balancer, &["--leader-elect", "--identity", "replica-0", "--webhook-drain-seconds", "10"])
            .await;
    let load = load(&stage, 4, Asks::Defaults).await;
    stage.greet("swapped", "you").await;
    for (number, version) in ["good_v2", "good"].into_iter().cycle().take(10).enumerate() {
        let sent = load.sent();
        stage.module("good", &module(version));
        let labelled = async || {
            let map = stage.get("v1", "configmaps", Some("default"), "swapped").await.unwrap_or_default();
            map["metadata"]["labels"]["example.com/greeted"] == "yes"
        };
        until("what this version makes", labelled, |labelled| *labelled == (version == "good_v2")).await;
        assert!(load.sent() > sent, "requests came while the module was swapped");
        // Surge by one, as a Deployment without unavailable replicas does, in the middle of the swaps.
        if number == 4 {
            let new = serving(&stage, &balancer, &["--leader-elect", "--identity", "replica-1"]).await;
            let (leaving, before) = (old.address("webhooks").unwrap(), std::mem::replace(&mut old, new));
            before.terminate();
            soon("no longer ready", || async {
                before.readiness().await.is_none_or(|(code, _)| code != 200).then_some(())
            })
            .await;
            balancer.remove(&leaving);
            before.stop().await;
        }
    }
    load.goes_on(50).await;
    load.end().await;
    old.stop().await;
}

#[tokio::test]
async fn what_is_registered_follows_the_modules_and_goes_when_it_is_taken_back() {
    let stage = Stage::with(&["good"]).await;
    let balancer = Balancer::start().await;
    let operator = reached(&stage, &balancer, &[]).await;
    registered(&stage, &["mgreeting.example.com"], &["vgreeting.example.com"]).await;
    stage.module("good", &module("meddler"));
    registered(&stage, &["meddling.example.com"], &[]).await;
    let url = balancer.url();
    let conversion = json!({"spec": {"conversion": {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"],
        "clientConfig": {"url": format!("{url}/convert")}}}}});
    let crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/greetings.example.com";
    stage.send("PATCH", crd, "application/merge-patch+json", &conversion).await.unwrap();
    // While the operator runs, as hooks of an installer do.
    stage.run(&["uninstall-webhooks", "--namespace", "scone-system", "--webhook-url", &url]).await;
    nothing_is_left(&stage).await;
    let crd = stage.get("apiextensions.k8s.io/v1", "customresourcedefinitions", None, "greetings.example.com").await;
    assert_eq!(crd.unwrap()["spec"]["conversion"], json!({"strategy": "None"}));

    let heeded = || {
        let heeds =
            |line: &&Value| line["message"].as_str().is_some_and(|text| text.starts_with("webhooks were taken back"));
        operator.log().iter().filter(heeds).count()
    };
    // It may have looked before, as it does once a minute.
    let before = heeded();
    stage.module("good", &module("good"));
    soon("an operator that heeds it", || std::future::ready((heeded() > before).then_some(()))).await;
    soon("a settled operator", || stage.quiet(Duration::from_secs(2))).await;
    nothing_is_left(&stage).await;
    operator.stop().await;
    soon("an API server without webhooks", || async {
        tried(&stage, GREETINGS, &greeting("g", &json!({"name": "you"}))).await.ok()
    })
    .await;

    let again = reached(&stage, &balancer, &[]).await;
    registered(&stage, &["mgreeting.example.com"], &["vgreeting.example.com"]).await;
    again.stop().await;
}

async fn nothing_is_left(stage: &Stage) {
    assert!(webhooks(stage, "mutating").await.is_none() && webhooks(stage, "validating").await.is_none());
    assert!(stage.get("v1", "secrets", Some("scone-system"), "webhook-server-cert").await.is_none());
}

#[tokio::test]
async fn an_operator_that_starts_again_writes_nothing() {
    let stage = Stage::with(&["good"]).await;
    let balancer = Balancer::start().await;
    let operator = reached(&stage, &balancer, &[]).await;
    operator.stop().await;
    // A probe is a dry run: it writes nothing.
    let stored = || {
        let writes = stage.writes().into_iter();
        let stored = |event: &Value| !event["requestURI"].as_str().unwrap_or_default().contains("dryRun=All");
        writes.filter(stored).collect::<Vec<_>>()
    };
    let before = stored().len();
    assert!(before >= 3, "the Secret and two configurations: {before}");
    let again = reached(&stage, &balancer, &[]).await;
    soon("a settled operator", || stage.quiet(Duration::from_secs(2))).await;
    again.stop().await;
    assert_eq!(stored().split_off(before), Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mounted_certificate_of_another_authority_is_served_once_it_is_trusted() {
    let stage = Arc::new(Stage::with(&["good"]).await);
    let balancer = Balancer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let first = certificates::mount(folder.path(), "..1");
    let path = folder.path().display().to_string();
    let operator = reached(&stage, &balancer, &["--webhook-cert-dir", &path]).await;
    let load = load(&stage, 4, Asks::Defaults).await;
    let second = certificates::mount(folder.path(), "..2");
    assert_ne!(first, second);
    soon("the second certificate", || async {
        let lines = operator.log();
        (lines.iter().filter(|line| line["message"] == "serves another webhook certificate").count() == 2).then_some(())
    })
    .await;
    load.goes_on(50).await;
    load.end().await;
    let name = "scone-validating-webhook-configuration-scone-system";
    let config = stage.get(ADMISSION, "validatingwebhookconfigurations", None, name).await.unwrap();
    let bundle = STANDARD.decode(config["webhooks"][0]["clientConfig"]["caBundle"].as_str().unwrap()).unwrap();
    let bundle = String::from_utf8(bundle).unwrap();
    assert!(bundle.contains(first.trim()) && bundle.contains(second.trim()), "both are trusted for a while");
    assert!(stage.get("v1", "secrets", Some("scone-system"), "webhook-server-cert").await.is_none(), "none is made");
    operator.stop().await;
}
