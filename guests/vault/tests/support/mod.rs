//! The settled cluster that tests change one line of, how they look at an answer, and every situation that is told apart.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "each test file uses some of it; helpers of tests may do what tests may"
)]

use kube::Resource;
use operator_guest::testing::{self, Answer};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use vault::VaultModule;

pub(crate) const SETTLED: &str = include_str!("../one-node.yaml");
pub(crate) const VAULT_RUNS: &str =
    r#"{name: vault, ready: true, restartCount: 0, state: {running: {startedAt: "2023-11-14T22:00:12Z"}}}"#;
pub(crate) const INJECTOR_RUNS: &str =
    r#"{name: sidecar-injector, ready: true, restartCount: 0, state: {running: {startedAt: "2023-11-14T22:00:12Z"}}}"#;
pub(crate) const INIT_ENDED: &str =
    "{name: vault-init, ready: true, restartCount: 0, state: {terminated: {exitCode: 0, reason: Completed}}}";
const COUNTS: &str = "status: {observedGeneration: 2, replicas: 1, readyReplicas: 1, updatedReplicas: 1";
const LONG_AGO: &str = "2023-11-14T22:00:00Z";

pub(crate) fn answer(yaml: &str) -> Answer {
    testing::reconcile::<VaultModule>(yaml).unwrap()
}

/// The settled cluster with `from` replaced everywhere; it must be there.
pub(crate) fn with(from: &str, to: &str) -> String {
    replaced(SETTLED, from, to)
}

pub(crate) fn replaced(yaml: &str, from: &str, to: &str) -> String {
    assert!(yaml.contains(from), "{from}");
    yaml.replace(from, to)
}

/// The settled cluster with another spec of the server.
pub(crate) fn server(line: &str) -> String {
    let image = "      image: {repository: registry.scontain.com/scone.cloud/vault, tag: 5.8.0}\n";
    with(image, &format!("{image}      {line}\n"))
}

pub(crate) fn status(answer: &Answer) -> Value {
    answer.status().unwrap()
}

/// State, reason and message.
pub(crate) fn verdict(answer: &Answer) -> String {
    let healthy = answer.condition("IsHealthy").unwrap();
    format!("{} {}: {}", status(answer)["state"].as_str().unwrap(), healthy.reason, healthy.message)
}

/// Status, reason and message of one condition.
pub(crate) fn condition(answer: &Answer, type_: &str) -> String {
    let found = answer.condition(type_).unwrap();
    format!("{:?} {}: {}", found.status, found.reason, found.message).replace("ConditionStatus::", "")
}

pub(crate) fn child<K: Resource<DynamicType = ()> + DeserializeOwned + Serialize>(
    answer: &Answer,
    name: &str,
) -> Value {
    serde_json::to_value(answer.child::<K>(name).unwrap()).unwrap()
}

/// Kind and name of each child.
pub(crate) fn children(answer: &Answer) -> Vec<String> {
    answer.desired().unwrap().children.iter().map(|child| child.identity.to_string()).collect()
}

/// As if this condition had been written then.
pub(crate) fn since(yaml: &str, type_: &str, status: &str, time: &str) -> String {
    let conditions =
        json!([{"type": type_, "status": status, "reason": "R", "message": "m", "lastTransitionTime": time}]);
    stored(yaml, &json!({"state": "PENDING", "initStatement": "", "conditions": conditions}))
}

/// As if this status were stored already.
pub(crate) fn stored(yaml: &str, status: &Value) -> String {
    replaced(yaml, "children:\n", &format!("  status: {status}\nchildren:\n"))
}

fn not_ready(yaml: &str) -> String {
    let young = VAULT_RUNS.replace("ready: true", "ready: false").replace("22:00:12", "23:12:40");
    let pod = replaced(yaml, VAULT_RUNS, &young);
    let ready =
        "conditions: [{type: PodScheduled, status: \"True\"}, {type: Ready, status: \"True\"}]\n        initContainer";
    let pod =
        replaced(&pod, ready, &ready.replace("{type: Ready, status: \"True\"}", "{type: Ready, status: \"False\"}"));
    replaced(&pod, COUNTS, &COUNTS.replace("readyReplicas: 1", "readyReplicas: 0"))
}

fn waiting(container: &str, reason: &str) -> String {
    format!("{{name: {container}, restartCount: 1, state: {{waiting: {{reason: {reason}, message: 'why'}}}}}}")
}

fn unscheduled(message: &str) -> String {
    let there =
        "conditions: [{type: PodScheduled, status: \"True\"}, {type: Ready, status: \"True\"}]\n        initContainer";
    let gone = format!(
        "conditions: [{{type: PodScheduled, status: \"False\", reason: Unschedulable, message: '{message}'}}]\n        initContainer"
    );
    with(there, &gone)
}

/// The settled cluster without the pod of Vault.
pub(crate) fn without_pod() -> String {
    let (head, rest) = SETTLED.split_once("  pods:\n").unwrap();
    format!("{head}  pods: {{objects: []}}\n  injectors:\n{}", rest.split_once("  injectors:\n").unwrap().1)
}

/// The settled cluster before anything is there and known.
pub(crate) fn fresh() -> String {
    SETTLED.split("children:").next().unwrap().to_owned()
}

/// The injector's counts in the settled cluster, without a ready pod.
pub(crate) fn injector_starts() -> String {
    with(
        "status: {observedGeneration: 1, replicas: 1, readyReplicas: 1",
        "status: {observedGeneration: 1, replicas: 1, readyReplicas: 0",
    )
}

/// The settled cluster with this instead of the content of the certificate's Secret, and nothing yet of what rests on it.
pub(crate) fn certificate(data: &str) -> String {
    let (head, rest) = SETTLED.split_once("- apiVersion: admissionregistration.k8s.io/v1\n").unwrap();
    let young = format!("{head}answers:\n{}", rest.split_once("answers:\n").unwrap().1);
    replaced(&young, "data: {ca.crt: Q0E=}", data)
}

fn no_statement() -> String {
    let line = SETTLED.lines().find(|line| line.contains("init statement")).unwrap();
    with(line, "    lines: [\"the statement is not written yet\"]")
}

/// Everything that the module tells apart.
pub(crate) fn situations() -> Vec<(&'static str, String)> {
    let image = "image: {repository: registry.scontain.com/scone.cloud/vault, tag: 5.8.0}";
    let newer = with(image, &image.replace("5.8.0", "5.8.1"));
    vec![
        ("settled", SETTLED.to_owned()),
        ("fresh", fresh()),
        ("rolling out", newer.clone()),
        ("stuck", since(&newer, "statefulset.vault/EqualSpecs", "False", LONG_AGO)),
        (
            "leaving",
            with(
                "metadata: {name: vault, namespace: default, generation: 2",
                "metadata: {deletionTimestamp: \"2023-11-14T23:12:00Z\", name: vault, namespace: default, generation: 2",
            ),
        ),
        ("going", format!("finalizing: true\n{SETTLED}")),
        ("starting", not_ready(SETTLED)),
        ("unknown", SETTLED.split("answers:").next().unwrap().to_owned()),
        ("late", replaced(&not_ready(SETTLED), "23:12:40", "22:00:12")),
        ("no pod", since(&without_pod(), "AllPodsPresent", "False", LONG_AGO)),
        ("image", with(VAULT_RUNS, &waiting("vault", "ErrImagePull"))),
        ("init image", with(INIT_ENDED, &waiting("vault-init", "ImagePullBackOff"))),
        (
            "init crashes",
            with(
                INIT_ENDED,
                "{name: vault-init, ready: false, restartCount: 4, lastState: {terminated: {exitCode: 3, reason: Error}}, state: {running: {startedAt: '2023-11-14T23:12:00Z'}}}",
            ),
        ),
        ("crashes", with(VAULT_RUNS, &waiting("vault", "CrashLoopBackOff"))),
        ("cannot start", with(VAULT_RUNS, &waiting("vault", "CreateContainerConfigError"))),
        ("hook", with(VAULT_RUNS, &waiting("vault", "PostStartHookError"))),
        ("no device", unscheduled("0/1 nodes are available: 1 Insufficient sgx.intel.com/enclave.")),
        ("no volume", unscheduled("pod has unbound immediate PersistentVolumeClaims")),
        (
            "silent node",
            with("conditions: [{type: Ready, status: \"True\"}]}}", "conditions: [{type: Ready, status: Unknown}]}}"),
        ),
        (
            "pods denied",
            replaced(SETTLED, "  pods:\n    objects:\n", "  pods:\n    denied: add it\n  other:\n    objects:\n"),
        ),
        ("injector image", with(INJECTOR_RUNS, &waiting("sidecar-injector", "ErrImagePull"))),
        ("injector crashes", with(INJECTOR_RUNS, &waiting("sidecar-injector", "CrashLoopBackOff"))),
        ("injector starts", injector_starts()),
        ("no CA", with("caBundle: Q0E=, ", "")),
        ("not allowed", with("injector: own-namespace", "injector: off")),
        ("no certificate", certificate("")),
        ("bad certificate", certificate("data: {ca.crt: '-----BEGIN'}")),
        ("certificate late", since(&certificate(""), "InjectorWorks", "False", LONG_AGO)),
        ("certificate unknown", replaced(&with("caBundle: Q0E=, ", ""), "  injector-certificate:\n", "  other:\n")),
        ("injector late", since(&injector_starts(), "InjectorWorks", "False", LONG_AGO)),
        ("no injector", with("injector: {enabled: true}", "injector: {enabled: false}")),
        (
            "log denied",
            replaced(
                SETTLED,
                "  log-vault-0-vault:\n    lines: [",
                "  log-vault-0-vault:\n    denied: add it\n  other:\n    lines: [",
            ),
        ),
        ("no statement", no_statement()),
    ]
}

pub(crate) fn situation(name: &str) -> String {
    situations().into_iter().find(|(found, _)| *found == name).unwrap().1
}
