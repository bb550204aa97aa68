//! Ring api: a marked Secret wherever a user can name one, everything that can be wrong with it, and nothing of it where anybody reads:
//! statuses, events, the log, metrics, the probes.
#![cfg(test)]

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use cluster::stage::{Operator, Stage, soon, until};
use serde_json::{Value, json};
use stand_in_cas::{StandIn, encrypt};
use test_support::canary;

const MODULES: [&str; 5] = ["pull-secret", "las", "vault", "signed-policy", "encrypted-policy"];
const REGISTRY: &str = "registry.example.com";
/// Where events and what the modules serve are listed.
const READ: [(&str, &str); 8] = [
    ("events.k8s.io/v1", "events"),
    ("images.banzaicloud.io/v1alpha1", "imagepullsecrets"),
    ("base.scone.cloud/v1beta1", "las"),
    ("services.scone.cloud/v1beta1", "vaults"),
    ("cas.scone.cloud/v1beta1", "signedpolicies"),
    ("cas.scone.cloud/v1beta1", "encryptedpolicies"),
    ("v1", "configmaps"),
    ("apps/v1", "daemonsets"),
];

/// What users make in a namespace that has one of these Secrets: all that can name it.
fn parents(namespace: &str, cas: &StandIn) -> Vec<Value> {
    let metadata = |name: &str| json!({"name": name, "namespace": namespace});
    let mut made = Vec::new();
    for (name, key) in [("marked", "ca.crt"), ("misnamed", "other.crt")] {
        let mut metadata = metadata(name);
        metadata["annotations"] = json!({"cas.scone.cloud/trust": format!("secret:marked/{key}")});
        let signature = json!({"signer": "MCowBQYDK2VwAyEA6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw=", "signature": "ab".repeat(64)});
        made.push(json!({"apiVersion": "cas.scone.cloud/v1beta1", "kind": "SignedPolicy", "metadata": metadata,
            "spec": {"casAddress": cas.url(), "policy": format!("name: {name}\nversion: \"0.3\"\n"), "signatures": [signature]}}));
        made.push(json!({"apiVersion": "cas.scone.cloud/v1beta1", "kind": "EncryptedPolicy", "metadata": metadata,
            "spec": {"casAddress": cas.url(), "policy": encrypt(&format!("name: {name}\nversion: \"0.3\"\n")),
                "encryptionKey": cas.encryption_key()}}));
    }
    // Its injector's certificate is the Secret `vault-agent-injector-certs`.
    made.push(json!({"apiVersion": "services.scone.cloud/v1beta1", "kind": "Vault", "metadata": metadata("vault"),
        "spec": {"server": {"image": {"repository": format!("{REGISTRY}/vault"), "tag": "1"}, "extraEnvironmentVars": {"SCONE_CAS_ADDR": "cas", "OWNER_ID": "1"}},
            "global": {}, "injector": {"enabled": true}}}));
    made.push(json!({"apiVersion": "base.scone.cloud/v1beta1", "kind": "LAS", "metadata": {"name": namespace},
        "spec": {"autoUpdate": true, "image": format!("{REGISTRY}/las:1"), "imagePullPolicy": "Always",
            "imagePullSecrets": [{"name": "marked"}], "namespace": namespace}}));
    made.push(json!({"apiVersion": "images.banzaicloud.io/v1alpha1", "kind": "ImagePullSecret", "metadata": {"name": namespace},
        "spec": {"registry": {"credentials": [{"name": "marked", "namespace": namespace}]},
            "target": {"secret": {"name": "copied"}, "namespaces": {"names": [namespace]}}}}));
    made
}

fn secret(name: &str, namespace: &str, content: &str) -> Value {
    let content = STANDARD.encode(content);
    let keys = ["ca.crt", "tls.crt", "tls.key", ".dockerconfigjson", "authority.crt", "authority.key"];
    let data: serde_json::Map<String, Value> =
        keys.iter().map(|key| ((*key).to_owned(), content.clone().into())).collect();
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "data": data})
}

/// All that anybody may read of what the operator did.
async fn readable(stage: &Stage, operator: &Operator) -> String {
    let mut text = String::new();
    for (api_version, plural) in READ {
        for object in stage.list(api_version, plural).await.unwrap()["items"].as_array().unwrap() {
            text += &format!("{plural}: {object}\n");
        }
    }
    text += &operator.metrics().await;
    text += &format!("{:?}\n{:?}\n", operator.readiness().await, operator.liveness().await);
    operator.log().iter().for_each(|line| text += &format!("log: {line}\n"));
    text
}

/// The state of each parent, once each has one.
async fn states(stage: &Stage, parents: usize) -> Vec<Value> {
    let states = async || {
        let mut states = Vec::new();
        for (api_version, plural) in &READ[1..6] {
            let found = stage.list(api_version, plural).await.unwrap_or_default();
            let found = found["items"].as_array().cloned().unwrap_or_default();
            states.extend(found.into_iter().map(|parent| parent["status"].clone()).filter(Value::is_object));
        }
        states
    };
    until("a status of each parent", states, |states| states.len() == parents).await
}

#[tokio::test]
async fn an_operator_for_which_every_secret_is_wrong_tells_none_of_them() {
    let (stage, cas) = (Stage::with(&MODULES).await, StandIn::start().await.unwrap());
    stage.settings("vault", &json!({"injector": "own-namespace"}));
    // There is no registry at this address: it is asked, with the credentials at hand, and is not believed.
    let detours = [
        format!("localhost:{port}=127.0.0.1:{port}", port = cas.port()),
        format!("{REGISTRY}:443=127.0.0.1:{}", cas.port()),
    ];
    let mut arguments = vec!["--log", "debug"];
    arguments.extend(detours.iter().flat_map(|detour| ["--connect-to", detour]));
    let operator = stage.operator(&arguments).await;
    let mut count = 0;
    for (number, content) in canary::contents(cas.certificate_pem(), REGISTRY).iter().enumerate() {
        let namespace = format!("canary-{number}");
        stage
            .apply_value(
                &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
                "v1",
                "namespaces",
            )
            .await;
        for name in ["marked", "vault-agent-injector-certs"] {
            stage.apply_one(&secret(name, &namespace, content)).await;
        }
        for parent in parents(&namespace, &cas) {
            stage.apply_one(&parent).await;
            count += 1;
        }
    }
    let states = format!("{:?}", states(&stage, count).await);
    soon("a settled operator", || stage.quiet(Duration::from_secs(3))).await;
    let text = readable(&stage, &operator).await;
    for sign in ["CertificateUnusable", "UNTRUSTED", "\"reason\""] {
        assert!(text.contains(sign), "{sign} is not among what went wrong: {states}");
    }
    assert_eq!(canary::told(&text), None);
    operator.stop().await;
}

#[tokio::test]
async fn an_operator_whose_own_certificates_are_wrong_tells_nothing_of_them() {
    let (stage, cas) = (Stage::with(&MODULES).await, StandIn::start().await.unwrap());
    let kubeconfig = stage.kubeconfig_of_admin("scone-operator");
    let webhooks = ["--log", "debug", "--webhook-url", "https://127.0.0.1:1", "--webhook-bind-address", "127.0.0.1:0"];
    // The first are certificates and keys; the rest are wrong in ways that only readers of credentials tell apart.
    for content in canary::contents(cas.certificate_pem(), REGISTRY).iter().take(8) {
        let mut own = secret("webhook-server-cert", "scone-system", content);
        own["metadata"]["labels"] = json!({"app.kubernetes.io/managed-by": "scone-operator"});
        stage.apply_one(&own).await;
        let operator = stage.spawn(&kubeconfig, &webhooks);
        let why = async || operator.readiness().await.map(|(_, text)| text).unwrap_or_default();
        until("a replica that says what is wrong", why, |text| text.contains("webhook-server-cert")).await;
        assert_eq!(canary::told(&readable(&stage, &operator).await), None, "{content}");
        operator.stop().await;
    }
}
