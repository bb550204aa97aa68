//! Ring api: all kinds are installed for the first time on a real API server, with actors in the place of kubelets and a stand-in for CAS.
#![cfg(test)]

use std::time::Duration;

use cluster::stage::{Operator, PATIENCE, Stage, kubelet::Kubelets, soon, until};
use serde_json::{Value, json};
use stand_in_cas::{Options, StandIn, encrypt};
use test_support::Patience;

const CAS: (&str, &str) = ("services.scone.cloud/v1beta1", "cas");
const MODULES: [&str; 7] = ["pull-secret", "sgxplugin", "las", "cas", "vault", "signed-policy", "encrypted-policy"];
const TRUST: &str = "cas.scone.cloud/trust";
/// Each module with a parent of it.
const PARENTS: [(&str, &str); 7] = [
    ("pull-secret", "/apis/images.banzaicloud.io/v1alpha1/imagepullsecrets/scone-operator-pull"),
    ("sgxplugin", "/apis/base.scone.cloud/v1beta1/sgxplugins/sgxplugin"),
    ("las", "/apis/base.scone.cloud/v1beta1/las/las"),
    ("cas", "/apis/services.scone.cloud/v1beta1/namespaces/default/cas/cas"),
    ("vault", "/apis/services.scone.cloud/v1beta1/namespaces/default/vaults/vault"),
    ("signed-policy", "/apis/cas.scone.cloud/v1beta1/namespaces/default/signedpolicies/team"),
    ("encrypted-policy", "/apis/cas.scone.cloud/v1beta1/namespaces/default/encryptedpolicies/app"),
];

/// Waits until the status of an object shows all of this at a time.
async fn shows(
    stage: &Stage,
    (api_version, plural): (&str, &str),
    namespace: Option<&str>,
    name: &str,
    wanted: &Value,
) {
    let patience = Patience { limit: Duration::from_secs(90), ..PATIENCE };
    let shown = async || stage.get(api_version, plural, namespace, name).await.unwrap_or_default()["status"].clone();
    let complete = |shown: &Value| wanted.as_object().unwrap().iter().all(|(field, value)| shown[field] == *value);
    patience.until(&format!("{wanted} of {plural} {name}"), shown, complete).await;
}

/// Has every module look at its parents again, several times, each time at a parent that is not quite as before. Whoever is at rest
/// writes nothing because of that.
async fn is_at_rest(stage: &Stage, operator: &Operator) {
    soon("a settled operator", || stage.quiet(Duration::from_secs(3))).await;
    let before = stage.writes().len();
    for round in 0..3 {
        for (module, path) in PARENTS {
            let (looked, look) = (operator.worked(module).await, json!({"example.com/round": round.to_string()}));
            let annotated = json!({"metadata": {"annotations": look}});
            stage.send("PATCH", path, "application/merge-patch+json", &annotated).await.unwrap();
            until("another look", async || operator.worked(module).await, |looks| *looks > looked).await;
        }
    }
    let written = stage.writes().split_off(before);
    let names: Vec<String> = written.iter().map(|event| format!("{} {}", event["verb"], event["requestURI"])).collect();
    assert_eq!(names, Vec::<String>::new(), "written by an operator at rest");
    // Whoever keeps writing the same is held back, and tells so.
    for (module, path) in PARENTS {
        let parent = stage.read(path).await.unwrap();
        let conditions = parent["status"]["conditions"].as_array().unwrap();
        let stalled = conditions.iter().find(|condition| condition["type"] == "Stalled").unwrap();
        assert_eq!(stalled["status"], "False", "{module}: {stalled}");
    }
}

async fn change(stage: &Stage, (api_version, plural): (&str, &str), name: &str, spec: Value) {
    let path = format!("/apis/{api_version}/namespaces/default/{plural}/{name}");
    stage.send("PATCH", &path, "application/merge-patch+json", &json!({"spec": spec})).await.unwrap();
}

/// What whoever runs a Vault does for its injector: its certificate is made, of which the API server is told the authority.
async fn certify(stage: &Stage) {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "vault-agent-injector-certs", "namespace": "default"},
        "data": {"ca.crt": AUTHORITY, "tls.crt": AUTHORITY, "tls.key": AUTHORITY}});
    stage.apply_value(&secret, "v1", "secrets").await;
    let path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/vault-agent-injector.default";
    soon("the webhook of Vault's injector, with its authority", || async {
        let webhooks = stage.read(path).await.ok()?;
        (webhooks["webhooks"][0]["clientConfig"]["caBundle"] == AUTHORITY).then_some(())
    })
    .await;
}

const AUTHORITY: &str = "Y2E=";

#[tokio::test]
async fn all_kinds_are_installed_in_order_and_then_nothing_is_written_any_more() {
    let stage = Stage::with(&MODULES).await;
    stage.settings("vault", &json!({"injector": "own-namespace"}));
    let cas = StandIn::with(Options { provisioned: false, ..Options::default() }).await.unwrap();
    let kubelets = Kubelets::start(stage.client().await, &["node-1", "node-2", "node-3"]).await;
    let log = |container: &str, line: &str| kubelets.logs.lock().unwrap().insert(container.to_owned(), line.to_owned());
    log(
        "las",
        "public key of the quoting enclave on {node}: 3f9a1c77d0b24e58c6e1f0a29b7d4385126f0e9d8c7b6a5941302f1e0d9c8b7a\n",
    );
    log("vault", "init statement: 8M9vZ2nq4s1uXk0cW7yQ3tBf5hJpL6aRdEgKiNmOoSxTzVwYbCrHjDlFAGIPUMQe8M9vZ2nq4s1uXk0c\n");
    let (_proxy, kubeconfig) = stage.proxy(kubelets.decide()).await;
    let detours =
        ["cas.default.svc:8081", "cas.default:8081"].map(|server| format!("{server}=127.0.0.1:{}", cas.port()));
    let arguments: Vec<&str> = detours.iter().flat_map(|detour| ["--connect-to", detour]).collect();
    let operator = stage.operator_with(&kubeconfig, &arguments).await;

    stage.apply_all("registry-credentials.yaml").await;
    stage.apply_all("pull-secrets.yaml").await;
    stage.apply_all("sgxplugin.yaml").await;
    shows(&stage, ("base.scone.cloud/v1beta1", "sgxplugins"), None, "sgxplugin", &json!({"state": "HEALTHY"})).await;
    stage.apply_all("las.yaml").await;
    let everywhere = json!({"state": "HEALTHY", "numberAvailable": 3});
    shows(&stage, ("base.scone.cloud/v1beta1", "las"), None, "las", &everywhere).await;

    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": "example.com/none", "allowVolumeExpansion": true,
        "metadata": {"name": "grows", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}});
    stage.apply_value(&class, "storage.k8s.io/v1", "storageclasses").await;
    stage.apply_all("cas.yaml").await;
    shows(&stage, CAS, Some("default"), "cas", &json!({"phase": "Unprovisioned", "attestable": "Yes"})).await;
    soon("the copy of the credentials", || stage.get("v1", "secrets", Some("default"), "sconeapps")).await;
    cas.provision();
    shows(&stage, CAS, Some("default"), "cas", &json!({"phase": "HEALTHY"})).await;
    change(
        &stage,
        CAS,
        "cas",
        json!({"backup-controller": {"enabled": true, "session": "cas-owner/primary-backup/upgrade"}}),
    )
    .await;
    shows(&stage, CAS, Some("default"), "cas", &json!({"phase": "EnablingMigration"})).await;
    log("backup-controller", "registered nodes: {\"node-1\":true,\"node-2\":true,\"node-3\":true}\n");
    let complete = json!({"phase": "HEALTHY", "migrationNodeRatio": "3/3", "safetyServiceStatus": "Healthy",
        "databasePvcStatus": "Bound", "snapshotStatus": "Persisted"});
    shows(&stage, CAS, Some("default"), "cas", &complete).await;

    change(&stage, CAS, "cas", json!({"persistence": {"size": "2Gi"}})).await;
    soon("a claim that asks for more", || async {
        let claim = stage.get("v1", "persistentvolumeclaims", Some("default"), "database-cas-0").await?;
        (claim["spec"]["resources"]["requests"]["storage"] == "2Gi").then_some(())
    })
    .await;

    stage.apply_all("vault.yaml").await;
    certify(&stage).await;
    let healthy = json!({"state": "HEALTHY"});
    shows(&stage, ("services.scone.cloud/v1beta1", "vaults"), Some("default"), "vault", &healthy).await;

    register_policies(&stage, &cas).await;
    is_at_rest(&stage, &operator).await;

    delete_all(&stage).await;
    operator.stop().await;
}

async fn register_policies(stage: &Stage, cas: &StandIn) {
    let trust = format!("sha256:{}", cas.certificate_sha256());
    for mut policy in Stage::manifest("policies.yaml") {
        policy["metadata"]["annotations"][TRUST] = trust.clone().into();
        if policy["kind"] == "EncryptedPolicy" {
            policy["spec"]["policy"] = encrypt("name: app\nversion: \"0.3\"\n").into();
            policy["spec"]["encryptionKey"] = cas.encryption_key().into();
        }
        stage.apply_one(&policy).await;
    }
    for (plural, name) in [("signedpolicies", "team"), ("encryptedpolicies", "app")] {
        let registered = json!({"state": "REGISTERED"});
        shows(stage, ("cas.scone.cloud/v1beta1", plural), Some("default"), name, &registered).await;
    }
}

/// Everything but the volumes goes.
async fn delete_all(stage: &Stage) {
    for (api_version, plural, namespace, name) in [
        ("services.scone.cloud/v1beta1", "vaults", Some("default"), "vault"),
        ("services.scone.cloud/v1beta1", "cas", Some("default"), "cas"),
        ("base.scone.cloud/v1beta1", "las", None, "las"),
        ("base.scone.cloud/v1beta1", "sgxplugins", None, "sgxplugin"),
    ] {
        stage.delete(api_version, plural, namespace, name).await;
        soon("its end", || async { stage.get(api_version, plural, namespace, name).await.is_none().then_some(()) })
            .await;
    }
    for plural in ["statefulsets", "deployments", "daemonsets"] {
        soon("the end of workloads", || async {
            stage.list("apps/v1", plural).await?["items"].as_array()?.is_empty().then_some(())
        })
        .await;
    }
    soon("a settled operator", || stage.quiet(Duration::from_secs(2))).await;
    let claims = stage.list("v1", "persistentvolumeclaims").await.unwrap();
    let mut claims = claims["items"].as_array().unwrap().clone();
    claims.retain(|claim| claim["metadata"]["deletionTimestamp"].is_null());
    let mut names: Vec<_> = claims.iter().map(|claim| claim["metadata"]["name"].as_str().unwrap()).collect();
    names.retain(|name| name.contains("database"));
    assert_eq!(names, ["database-cas-0", "database-snapshots-cas-0"], "volumes of a CAS stay");
    let deletes = |event: &Value| {
        event["objectRef"]["resource"] == "persistentvolumeclaims"
            && event["verb"].as_str().unwrap().starts_with("delete")
    };
    assert!(!stage.writes().iter().any(deletes), "and nobody asks for their end");
}

#[tokio::test]
async fn resources_that_were_written_for_any_version_are_accepted_and_keep_all_their_fields() {
    let stage = Stage::with(&MODULES).await;
    for version in ["5.8.0", "5.9.0", "5.10.0", "6.0.0", "6.0.6"] {
        for object in Stage::manifest(&format!("versions/{version}.yaml")) {
            stage.apply_one(&object).await;
            let (api_version, plural) = cluster::stage::plural(&object);
            let (namespace, name) =
                (object["metadata"]["namespace"].as_str(), object["metadata"]["name"].as_str().unwrap());
            let stored = stage.get(api_version, plural, namespace, name).await.unwrap();
            let lost = missing(&object["spec"], &stored["spec"], "spec");
            assert!(lost.is_empty(), "{version} {name}: {lost:?}");
        }
    }
}

/// The paths that are in one tree and not in the other.
fn missing(wanted: &Value, there: &Value, path: &str) -> Vec<String> {
    match wanted {
        Value::Object(fields) => {
            fields.iter().flat_map(|(key, value)| missing(value, &there[key], &format!("{path}.{key}"))).collect()
        }
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items.flat_map(|(at, value)| missing(value, &there[at], &format!("{path}[{at}]"))).collect()
        }
        value if value == there => Vec::new(),
        _ => vec![path.to_owned()],
    }
}
