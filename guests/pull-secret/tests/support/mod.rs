//! The settled cluster that tests change one line of, how they look at an answer, and every situation that is told apart.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "each test file uses some of it; helpers of tests may do what tests may"
)]

use k8s_openapi::ByteString;
use operator_guest::testing::{self, Answer};
use pull_secret::PullSecretModule;
use serde_json::{Value, json};

pub(crate) const SETTLED: &str = include_str!("../settled.yaml");
/// The content of all Secrets of the settled cluster.
pub(crate) const DATA: &str = "eyJhdXRocyI6eyJyZWdpc3RyeS5zY29udGFpbi5jb20iOnsiYXV0aCI6ImNtOWliM1E2YUhWdWRHVnlNZz09IiwicGFzc3dvcmQiOiJodW50ZXIyIiwidXNlcm5hbWUiOiJyb2JvdCJ9fX0=";

pub(crate) fn answer(yaml: &str) -> Answer {
    testing::reconcile::<PullSecretModule>(yaml).unwrap()
}

/// The settled cluster with `from` replaced everywhere; it must be there.
pub(crate) fn with(from: &str, to: &str) -> String {
    replaced(SETTLED, from, to)
}

pub(crate) fn replaced(yaml: &str, from: &str, to: &str) -> String {
    assert!(yaml.contains(from), "{from}");
    yaml.replace(from, to)
}

pub(crate) fn status(answer: &Answer) -> Value {
    answer.status().unwrap()
}

/// Status, reason and message.
pub(crate) fn verdict(answer: &Answer) -> String {
    let ready = answer.condition("Ready").unwrap();
    format!("{} {}: {}", status(answer)["status"].as_str().unwrap_or("none"), ready.reason, ready.message)
}

/// Status, reason and message of one condition.
pub(crate) fn condition(answer: &Answer, type_: &str) -> String {
    let found = answer.condition(type_).unwrap();
    format!("{:?} {}: {}", found.status, found.reason, found.message).replace("ConditionStatus::", "")
}

/// Namespace and name of each child, with its strategy where that is to leave it alone.
pub(crate) fn children(answer: &Answer) -> Vec<String> {
    let children = &answer.desired().unwrap().children;
    let line = |child: &operator_guest::wire::Child| {
        let keep = if child.strategy == operator_guest::Strategy::CreateOnce { " kept" } else { "" };
        format!("{}/{}{keep}", child.identity.namespace.as_deref().unwrap_or_default(), child.identity.name)
    };
    children.iter().map(line).collect()
}

/// The child in a namespace.
pub(crate) fn child(answer: &Answer, namespace: &str) -> Value {
    let children = &answer.desired().unwrap().children;
    let found = children.iter().find(|child| child.identity.namespace.as_deref() == Some(namespace)).unwrap();
    serde_json::from_slice(&found.document).unwrap()
}

/// A Docker configuration as it stands in a Secret.
pub(crate) fn config(config: &Value) -> String {
    encoded(config.to_string().as_bytes())
}

pub(crate) fn encoded(bytes: &[u8]) -> String {
    serde_json::to_value(ByteString(bytes.to_vec())).unwrap().as_str().unwrap().to_owned()
}

/// The source's content replaced, and that of no copy.
pub(crate) fn source(data: &str) -> String {
    source_with(&format!("type: kubernetes.io/dockerconfigjson\n      data: {{.dockerconfigjson: {data}}}"))
}

/// The source's type and content replaced.
pub(crate) fn source_with(text: &str) -> String {
    with(&format!("type: kubernetes.io/dockerconfigjson\n      data: {{.dockerconfigjson: {DATA}}}"), text)
}

/// A namespace that fits and has no Secret yet.
pub(crate) fn another_namespace() -> String {
    with(
        "metadata: {name: dev, annotations: {sconeapps/inject-pull-secret: \"false\"}}",
        "metadata: {name: dev, annotations: {sconeapps/inject-pull-secret: \"true\"}}",
    )
}

/// The condition has been false since then.
pub(crate) fn since(yaml: &str, type_: &str, time: &str) -> String {
    let there = format!("{{type: {type_}, status: \"True\"");
    let line = yaml.lines().find(|line| line.contains(&there)).unwrap().to_owned();
    let changed = line.replace("\"True\"", "\"False\"").replace("2023-11-14T22:00:00Z", time);
    yaml.replace(&line, &changed)
}

/// The settled cluster before anything was said about it.
fn first() -> String {
    let (head, rest) = SETTLED.split_once("  status:\n").unwrap();
    format!("{head}children:\n{}", rest.split_once("children:\n").unwrap().1)
}

const LONG_AGO: &str = "2023-11-14T23:00:00Z";

/// Everything that the module tells apart.
pub(crate) fn situations() -> Vec<(&'static str, String)> {
    let expired = config(&json!({"auths": {"r": {"password": encoded(br#"{"expiration":1600000000}"#)}}}));
    let foreign = "metadata: {name: sconeapps, namespace: dev, labels: {}}}";
    let foreign = format!("  named:\n    objects:\n    - {{apiVersion: v1, kind: Secret, {foreign}");
    let unmatched = with("name: job-1, namespace: batch", "name: job-1, namespace: dev-2");
    vec![
        ("settled", SETTLED.to_owned()),
        ("unknown", SETTLED.split("answers:").next().unwrap().to_owned()),
        ("first", first()),
        ("fresh", many(3, "x")),
        ("none", many(0, "x")),
        ("new namespace", another_namespace()),
        ("stuck", since(&another_namespace(), "SecretsDistributed", LONG_AGO)),
        ("withdrawing", unmatched.clone()),
        ("not withdrawn", since(&unmatched, "SecretsWithdrawn", LONG_AGO)),
        ("foreign", replaced(&another_namespace(), "  named:\n    objects:\n", &format!("{foreign}\n"))),
        (
            "missing source",
            replaced(
                SETTLED,
                "  credential-0:\n    objects:\n",
                "  credential-0: {objects: []}\n  other:\n    objects:\n",
            ),
        ),
        ("wrong type", source_with(&format!("type: Opaque\n      data: {{.dockerconfigjson: {DATA}}}"))),
        ("no key", source_with(&format!("type: kubernetes.io/dockerconfigjson\n      data: {{config.json: {DATA}}}"))),
        ("broken", source(&encoded(br#"{"auths": "hunter2"}"#))),
        ("no base64", source("'hunter2 !'")),
        ("no credentials", source(&encoded(br#"{"auths": {}, "credHelpers": {"hunter2": "x"}}"#))),
        ("expired", source(&expired)),
        (
            "own copy",
            with(
                "metadata: {name: sconeapps, namespace: scone-system}\n",
                "metadata: {name: sconeapps, namespace: scone-system, ownerReferences: [{uid: 5f6c}]}\n",
            ),
        ),
        (
            "source denied",
            replaced(
                SETTLED,
                "  credential-0:\n    objects:\n",
                "  credential-0:\n    denied: add it\n  other:\n    objects:\n",
            ),
        ),
        (
            "source unreadable",
            replaced(
                SETTLED,
                "  credential-0:\n    objects:\n",
                "  credential-0:\n    failed: 'expected hunter2'\n  other:\n    objects:\n",
            ),
        ),
        ("too large", source(&config(&json!({"auths": {"r": {"auth": "x".repeat(720 * 1024)}}})))),
        (
            "namespaces denied",
            replaced(
                SETTLED,
                "  namespaces:\n    objects:\n",
                "  namespaces:\n    denied: add it\n  other:\n    objects:\n",
            ),
        ),
        (
            "pods denied",
            replaced(
                SETTLED,
                "  pods-by-annotation-0:\n    objects:\n",
                "  pods-by-annotation-0:\n    denied: add it\n  other:\n    objects:\n",
            ),
        ),
        (
            "secrets unreadable",
            replaced(
                SETTLED,
                "  named:\n    objects:\n",
                "  named:\n    failed: 'expected hunter2'\n  other:\n    objects:\n",
            ),
        ),
        ("too many", many(3_100, "x")),
    ]
}

pub(crate) fn situation(name: &str) -> String {
    situations().into_iter().find(|(found, _)| *found == name).unwrap().1
}

/// So many namespaces that fit by their name, none of which has the Secret yet.
pub(crate) fn many(count: usize, password: &str) -> String {
    let namespaces: Vec<_> = (0..count)
        .map(|at| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": format!("team-{at:04}"), "labels": {"team": "a"}}}))
        .collect();
    let source = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "scone-system"},
        "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": config(&json!({"auths": {"r": {"password": password}}}))}});
    json!({
        "now": 1_700_003_580, "settings": {},
        "parent": {"apiVersion": "images.banzaicloud.io/v1alpha1", "kind": "ImagePullSecret", "metadata": {"name": "s", "uid": "5f6c"},
            "spec": {"registry": {"credentials": [{"name": "s"}]}, "target": {"namespaces": {"labels": [{"matchLabels": {"team": "a"}}]}}}},
        "answers": {"credential-0": {"objects": [source]}, "named": {"objects": []}, "namespaces": {"objects": namespaces}},
    })
    .to_string()
}
