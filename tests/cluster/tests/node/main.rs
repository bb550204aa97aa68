//! Ring node: the operator as people install it, with pods that run.
#![cfg(test)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests, and helpers of tests"
)]

mod site;

use serde_json::{Value, json};
use site::{LAS, NAMESPACE, Site, load, soon};

const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/scone-system/deployments";
const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
/// How many modules the image has.
const MODULES: usize = 7;

/// The webhook configurations that are the operator's.
async fn webhooks(site: &Site) -> Vec<Value> {
    let mut found = Vec::new();
    for kind in ["mutating", "validating"] {
        let all = site.items(&format!("{ADMISSION}/{kind}webhookconfigurations")).await;
        found.extend(all.into_iter().filter(|one| one["metadata"]["name"].as_str().unwrap().starts_with("scone-")));
    }
    found
}

/// Waits until the API server was told of all webhooks.
async fn registered(site: &Site) -> Vec<Value> {
    soon("both configurations", || async { Some(webhooks(site).await).filter(|found| found.len() == 2) }).await
}

/// Waits until a status holds all that is wanted of it; its parts come at their own times.
async fn once(site: &Site, path: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let what = format!("{path} as it should be");
    soon(&what, || async { site.get(path).await.map(|object| object["status"].clone()).filter(&holds) }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chart_brings_an_operator_without_privileges_and_without_missing_rights() {
    let site = Site::start().await;
    let took = site.install(&["--set", "imagePullPolicy=IfNotPresent"]);
    eprintln!("helm install --wait took {:.1} s with the image present", took.as_secs_f64());
    let pod = site.operators().await.remove(0);
    let container = &pod["spec"]["containers"][0];
    assert_eq!((&pod["spec"]["containers"][1], &container["name"]), (&Value::Null, &json!("manager")));
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(container["securityContext"]["capabilities"], json!({"drop": ["ALL"]}));
    assert_eq!(pod["spec"]["securityContext"]["runAsNonRoot"], true);
    let name = pod["metadata"]["name"].as_str().unwrap();
    let found = registered(&site).await;
    let log = || site.kubectl(&["logs", "--namespace", NAMESPACE, name]);
    let log = soon("the rights of every module checked", || {
        let log = log();
        let checked = log.matches(r#""message":"rights are checked""#).count();
        std::future::ready((checked == MODULES).then_some(log))
    })
    .await;
    assert!(log.lines().any(|line| line.contains(r#""message":"serves""#)), "{log}");
    assert!(!log.contains("a right is missing") && !log.contains("forbidden"), "{log}");
    for webhook in found.iter().flat_map(|one| one["webhooks"].as_array().unwrap()) {
        assert!(webhook["clientConfig"]["caBundle"].as_str().is_some_and(|bundle| !bundle.is_empty()), "{webhook}");
    }
    let enforced = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
    site.merge(&format!("/api/v1/namespaces/{NAMESPACE}"), &enforced).await.unwrap();
    site.kubectl(&["rollout", "restart", "deployment/scone-controller-manager", "--namespace", NAMESPACE]);
    let words =
        ["rollout", "status", "deployment/scone-controller-manager", "--namespace", NAMESPACE, "--timeout=600s"];
    site.kubectl(&words);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_plug_in_and_las_run_answer_their_probes_and_label_the_node() {
    let site = Site::start().await;
    site.install(&[]);
    site.with_services().await;
    let plugin = soon("a healthy SGX plug-in", || site.healthy("sgxplugins", "sgxplugin")).await;
    assert_eq!(plugin["status"]["servingReplicas"], 1, "{plugin:#}");
    let ours = ["sgx.intel.com/capable", "las.scontain.com/capable", "las.scontain.com/ok"];
    soon("all labels of the node", || async {
        let labels = site.labels().await;
        ours.iter().all(|label| labels[label] == "true").then_some(())
    })
    .await;
    soon("one pod, which is ready", || async {
        let selector = "labelSelector=app.kubernetes.io/name%3Dlas";
        let pods = site.items(&format!("/api/v1/namespaces/{NAMESPACE}/pods?{selector}")).await;
        let ready = |pod: &Value| {
            pod["status"]["containerStatuses"].as_array()?.iter().all(|one| one["ready"] == true).then_some(())
        };
        if let [pod] = &pods[..] { ready(pod) } else { None }
    })
    .await;
    // The stand-in's key, from its log, which is asked for in the background.
    once(&site, &format!("{LAS}/las"), |status| status.to_string().contains("57414e44")).await;
    let table = site.kubectl(&["get", "las,sgxplugin"]);
    assert!(table.contains("HEALTHY"), "{table}");

    site.kubectl(&["delete", "las", "las", "--timeout=300s"]);
    site.kubectl(&["delete", "sgxplugin", "sgxplugin", "--timeout=300s"]);
    // The finalizer went after the labels.
    let left = site.labels().await;
    assert!(ours.iter().all(|label| left.get(label).is_none()), "{left}");
    soon("no pod of theirs", || async {
        let pods = site.items(&format!("/api/v1/namespaces/{NAMESPACE}/pods")).await;
        pods.iter().all(|pod| pod["metadata"]["labels"]["control-plane"] == "controller-manager").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_is_swapped_by_kubectl_apply_while_edits_go_on() {
    let site = Site::start().await;
    // The new version makes a ConfigMap, which those in the image do not.
    site.install(&["--set-json", &Site::rules("las-next"), "--set-json", &Site::grants("las-next")]);
    site.with_services().await;
    registered(&site).await;
    let load = load(&site, 2).await;
    load.goes_on(20).await;
    site.apply_module("las-next", "scone-modules");
    let mut edits = 0;
    let about = format!("/api/v1/namespaces/{NAMESPACE}/configmaps/las-about");
    // Each edit has to reach the pods' template, by whichever version serves at the time.
    while site.get(&about).await.is_none() {
        edits += 1;
        assert!(edits < 1_000, "the new version did not come");
        let annotations = json!({"spec": {"podAnnotations": {"edit": edits.to_string()}}});
        site.merge(&format!("{LAS}/las"), &annotations).await.unwrap();
        soon("the edit's effect", || async {
            let set = site.get(&format!("/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets/las")).await?;
            let seen = &set["spec"]["template"]["metadata"]["annotations"]["edit"];
            (seen.as_str() == Some(&edits.to_string())).then_some(())
        })
        .await;
    }
    let sent = load.end().await;
    assert!(edits > 0 && sent > 20, "{edits} edits, {sent} requests");
    let version = site.get(&about).await.unwrap()["data"]["version"].clone();
    assert_eq!(version, "0.2.0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_update_under_admission_load_fails_no_request() {
    let site = Site::start().await;
    site.install(&["--set", "replicas=2"]);
    registered(&site).await;
    let load = load(&site, 4).await;
    load.goes_on(100).await;
    let deployment = "deployment/scone-controller-manager";
    for round in ["one", "two"] {
        site.kubectl(&["rollout", "restart", deployment, "--namespace", NAMESPACE]);
        site.kubectl(&["rollout", "status", deployment, "--namespace", NAMESPACE, "--timeout=600s"]);
        // The pods before leave only after they have drained.
        soon(&format!("the end of round {round}"), || async { (site.operators().await.len() == 2).then_some(()) })
            .await;
    }
    // A drain of the node's pods, one after the other.
    for pod in site.operators().await {
        let name = pod["metadata"]["name"].as_str().unwrap();
        site.kubectl(&["delete", "pod", name, "--namespace", NAMESPACE]);
        soon("a replica in its place", || async {
            let deployment = site.get(&format!("{DEPLOYMENTS}/scone-controller-manager")).await?;
            (deployment["status"]["readyReplicas"] == 2 && site.operators().await.len() == 2).then_some(())
        })
        .await;
    }
    load.goes_on(100).await;
    let sent = load.end().await;
    eprintln!("{sent} requests, none failed");
    assert!(sent > 300, "{sent}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uninstalling_leaves_nothing_but_what_users_made() {
    let site = Site::start().await;
    site.install(&[]);
    site.with_services().await;
    registered(&site).await;
    site.uninstall().await;

    assert_eq!(webhooks(&site).await, Vec::<Value>::new());
    let crds = site.items(CRDS).await;
    assert_eq!(crds.len(), 7, "CRDs stay, and with them what users made");
    assert!(crds.iter().all(|crd| crd["spec"]["conversion"]["strategy"] == "None"), "{crds:#?}");
    assert!(site.get(&format!("{LAS}/las")).await.is_some());
    for kind in ["clusterroles", "clusterrolebindings"] {
        let all = site.items(&format!("/apis/rbac.authorization.k8s.io/v1/{kind}")).await;
        let ours = all.iter().filter(|one| one["metadata"]["name"].as_str().unwrap().starts_with("scone-"));
        assert_eq!(ours.count(), 0, "{kind}");
    }
    let leases = site.items(&format!("/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases")).await;
    assert_eq!(leases, Vec::<Value>::new());
    let secrets = site.items(&format!("/api/v1/namespaces/{NAMESPACE}/secrets")).await;
    let names: Vec<_> = secrets.iter().map(|secret| secret["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["las-dcap"], "the LAS is still there, and so is its key");

    site.kubectl(&["delete", "namespace", NAMESPACE, "--timeout=300s"]);
    // Installed again, it finds what users made, and what they delete goes.
    site.install(&[]);
    // Its status is of before; the pods are not.
    soon("pods of LAS that run again", || async {
        let set = site.get(&format!("/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets/las")).await?;
        (set["status"]["numberReady"] == 1).then_some(())
    })
    .await;
    soon("a LAS that works again", || site.healthy("las", "las")).await;
    site.kubectl(&["delete", "las,sgxplugin", "--all", "--timeout=300s"]);
}

/// The port of the node under which CAS is reached: nothing resolves names of Services here.
const CAS_PORT: u16 = 30_081;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_kinds_are_installed_in_order_with_pods_that_run() {
    let site = Site::start().await;
    let detours = ["cas.default.svc:8081", "cas.default:8081"]
        .map(|server| format!("--connect-to={server}=10.123.0.1:{CAS_PORT}"));
    site.install(&["--set-json", &format!("extraArgs={}", json!(detours))]);
    for file in ["registry-credentials.yaml", "pull-secrets.yaml"] {
        site.apply(file);
    }
    site.with_services().await;

    for claim in ["database-cas-0", "database-snapshots-cas-0"] {
        site.volume_for(claim);
    }
    let mut cas = Site::manifests("cas.yaml").remove(0);
    cas["spec"]["service"]["nodePorts"] = json!({"clientPort": CAS_PORT});
    cas["spec"]["databaseSnapshots"]["persistence"]["storageClass"] = "-".into();
    cas["spec"]["persistence"]["storageClass"] = "-".into();
    // There is one node, and it could hold one pod of it.
    cas["spec"]["safetyService"] = json!({"enabled": false, "podAntiAffinityTopologyKey": "kubernetes.io/hostname"});
    site.apply_value(&cas);
    let of_cas = "services.scone.cloud/v1beta1 cas/cas";
    let path_of_cas = "/apis/services.scone.cloud/v1beta1/namespaces/default/cas/cas";
    once(&site, path_of_cas, |status| status["phase"] == "Unprovisioned" && status["attestable"] == "Yes").await;
    site.kubectl(&["exec", "cas-0", "-c", "cas", "--", "scone", "cas", "provision"]);
    site.showing(of_cas, "phase", "HEALTHY").await;
    let backup =
        json!({"spec": {"backup-controller": {"enabled": true, "session": "cas-owner/primary-backup/upgrade"}}});
    site.merge(path_of_cas, &backup).await.unwrap();
    let complete = |status: &Value| {
        status["phase"] == "HEALTHY"
            && status["migrationNodeRatio"] == "1/1"
            && status["dcapReport"] == "a stand-in's report, which proves nothing"
    };
    once(&site, path_of_cas, complete).await;

    let mut vault = Site::manifests("vault.yaml").remove(0);
    // Its image is none of ours.
    vault["spec"]["injector"]["enabled"] = false.into();
    vault["spec"]["server"]["dataStorage"]["enabled"] = false.into();
    vault["spec"]["server"]["image"]["tag"] = "6.0.6".into();
    site.apply_value(&vault);
    let path = "/apis/services.scone.cloud/v1beta1/namespaces/default/vaults/vault";
    let initialised =
        |status: &Value| status["state"] == "HEALTHY" && status["initStatement"].to_string().contains("STANDIN0");
    once(&site, path, initialised).await;

    for mut policy in Site::manifests("policies.yaml") {
        policy["metadata"]["annotations"]["cas.scone.cloud/trust"] = "first-use".into();
        if policy["kind"] == "EncryptedPolicy" {
            let log = site.kubectl(&["logs", "cas-0", "-c", "cas"]);
            let key = log.lines().find_map(|line| line.strip_prefix("CAS key hash: ")).unwrap();
            policy["spec"]["encryptionKey"] = key.into();
            policy["spec"]["policy"] = stand_in_cas::encrypt("name: app\nversion: \"0.3\"\n").into();
        }
        site.apply_value(&policy);
    }
    site.showing("cas.scone.cloud/v1beta1 signedpolicies/team", "state", "REGISTERED").await;
    site.showing("cas.scone.cloud/v1beta1 encryptedpolicies/app", "state", "REGISTERED").await;
    let table = site.kubectl(&["get", "cas,vault,signedpolicy,encryptedpolicy"]);
    assert!(table.contains("HEALTHY") && table.contains("REGISTERED"), "{table}");

    let words = ["delete", "signedpolicy,encryptedpolicy,vault,cas", "--all", "--timeout=300s"];
    site.kubectl(&words);
    soon("no pod in the namespace", || async {
        site.items("/api/v1/namespaces/default/pods").await.is_empty().then_some(())
    })
    .await;
    let claims = site.items("/api/v1/namespaces/default/persistentvolumeclaims").await;
    assert_eq!(claims.len(), 2, "volumes of a CAS stay");
}

const QUESTIONS: &str = "/apis/example.com/v1/namespaces/scone-system/questions";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_hears_what_a_command_in_a_pod_and_a_service_say_and_nothing_of_pods_that_it_is_not_granted() {
    let site = Site::start().await;
    site.install(&["--set-json", &Site::rules("asker"), "--set-json", &Site::grants("asker")]);
    site.with_services().await;
    site.apply_crds("asker");
    site.apply_module("asker", "scone-modules");
    let pods = format!("/api/v1/namespaces/{NAMESPACE}/pods");
    let pod = async |label: &str| {
        let found = site.items(&format!("{pods}?labelSelector=app.kubernetes.io/name%3D{label}")).await;
        found[0]["metadata"]["name"].as_str().unwrap().to_owned()
    };
    let (las, plugin) = (pod("las").await, pod("sgxplugin").await);
    let metrics = "scone-controller-manager-metrics-service";
    let service = site.get(&format!("/api/v1/namespaces/{NAMESPACE}/services/{metrics}")).await.unwrap();
    let url = format!("http://{}:8080/metrics", service["spec"]["clusterIP"].as_str().unwrap());
    let ask = |name: &str, pod: &str, command: Value| {
        site.apply_value(&json!({"apiVersion": "example.com/v1", "kind": "Question", "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"pod": pod, "command": command, "url": url}}));
    };
    ask("good", &las, json!(["scone", "las", "probe", "--las", "localhost:18766"]));
    ask("bad", &las, json!(["scone", "dance"]));
    ask("foreign", &plugin, json!(["scone", "las"]));
    ask("ungranted", &las, json!(["sh", "-c", "id"]));

    let heard = async |name: &str, field: &str| {
        let question = site.get(&format!("{QUESTIONS}/{name}")).await?;
        Some(question["status"][field].as_str()?.to_owned()).filter(|text| text != "pending")
    };
    assert_eq!(soon("the command's end", || heard("good", "command")).await.trim_end(), "0");
    let served = soon("the server's answer", || heard("good", "server")).await;
    assert!(served.starts_with("200 ") && served.contains("scone_operator_"), "{served}");
    let failed = soon("the other's end", || heard("bad", "command")).await;
    assert_eq!(failed, "1 stand-in: usage: scone las probe --las ADDRESS");
    let foreign = soon("a refusal", || heard("foreign", "command")).await;
    assert!(foreign.starts_with("not granted: ") && foreign.contains("app.kubernetes.io/name=las"), "{foreign}");
    // The status of this kind takes no condition without the module's own fields, so an event has to tell.
    let events = format!("/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events");
    soon("an event", || async {
        let told = |event: &Value| event["regarding"]["name"] == "ungranted" && event["reason"] == "Ungranted";
        site.items(&events).await.iter().any(told).then_some(())
    })
    .await;
}
