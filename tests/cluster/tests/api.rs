//! Ring api: the operator, as users start it, against a real API server.
#![cfg(test)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use cluster::Fate;
use cluster::stage::{Stage, soon};
use serde_json::{Value, json};

#[tokio::test]
async fn las_and_sgxplugin_become_what_their_users_asked_for() {
    let stage = Stage::start().await;
    stage.create_node("node-1", &json!({"intel.feature.node.kubernetes.io/sgx": "true"})).await;
    let operator = stage.operator(&[]).await;
    stage.apply("sgxplugin.yaml").await;
    stage.apply("las.yaml").await;

    let plugin =
        soon("the plug-in's DaemonSet", || stage.get("apps/v1", "daemonsets", Some("scone-system"), "sgxplugin")).await;
    assert_eq!(plugin["metadata"]["ownerReferences"][0]["kind"], "SGXPlugin");
    soon("the DaemonSet of LAS", || stage.get("apps/v1", "daemonsets", Some("scone-system"), "las")).await;
    let las = soon("a status", || async {
        let las = stage.get("base.scone.cloud/v1beta1", "las", None, "las").await?;
        (las["status"]["state"] == "PENDING").then_some(las)
    })
    .await;
    assert_eq!(las["status"]["observedGeneration"], las["metadata"]["generation"]);
    let managers: Vec<&str> =
        las["metadata"]["managedFields"].as_array().unwrap().iter().map(|m| m["manager"].as_str().unwrap()).collect();
    assert!(
        managers.contains(&"operator.scone.cloud-las") && managers.contains(&"operator.scone.cloud-las-status"),
        "{managers:?}"
    );
    operator.stop().await;
}

#[tokio::test]
async fn a_converged_operator_writes_nothing_and_neither_does_one_that_starts_again() {
    let stage = Stage::start().await;
    stage.create_node("node-1", &json!({"intel.feature.node.kubernetes.io/sgx": "true"})).await;
    stage.apply("sgxplugin.yaml").await;
    stage.apply("las.yaml").await;
    let operator = stage.operator(&[]).await;
    for (plural, name) in [("sgxplugins", "sgxplugin"), ("las", "las")] {
        soon("a status", || stage.reported("base.scone.cloud/v1beta1", plural, None, name)).await;
    }
    soon("a settled operator", || stage.quiet(Duration::from_secs(3))).await;
    operator.stop().await;
    let before = stage.writes().len();
    assert!(before > 0, "the audit log is read");

    let again = stage.operator(&[]).await;
    again.has_looked(&["sgxplugin", "las"]).await;
    soon("a settled operator", || stage.quiet(Duration::from_secs(3))).await;
    again.stop().await;
    let since: Vec<Value> = stage.writes().split_off(before);
    assert!(since.is_empty(), "a restart in a quiet cluster wrote {since:#?}");
}

#[tokio::test]
async fn a_deleted_child_comes_back_and_a_deleted_parent_takes_its_children_along() {
    let stage = Stage::start().await;
    stage.create_node("node-1", &json!({"intel.feature.node.kubernetes.io/sgx": "true"})).await;
    let operator = stage.operator(&[]).await;
    stage.apply("las.yaml").await;
    let child = || stage.get("apps/v1", "daemonsets", Some("scone-system"), "las");
    let first = soon("the DaemonSet", child).await;
    stage.delete("apps/v1", "daemonsets", Some("scone-system"), "las").await;
    soon("another DaemonSet", || async {
        child().await.filter(|now| now["metadata"]["uid"] != first["metadata"]["uid"])
    })
    .await;
    stage.delete("base.scone.cloud/v1beta1", "las", None, "las").await;
    soon("the end of LAS", || async {
        let (las, child) = (stage.get("base.scone.cloud/v1beta1", "las", None, "las").await, child().await);
        (las.is_none() && child.is_none()).then_some(())
    })
    .await;
    operator.stop().await;
}

#[tokio::test]
async fn a_parent_that_goes_while_it_is_written_stays_gone() {
    let stage = Stage::start().await;
    stage.create_node("node-1", &json!({"intel.feature.node.kubernetes.io/sgx": "true"})).await;
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&seen);
    // The first write to the parent takes its time.
    let slow = move |method: &str, path: &str| {
        let first = method == "PATCH" && path.contains("/las/las?") && counted.fetch_add(1, Ordering::SeqCst) == 0;
        if first { Fate::Delay(Duration::from_secs(3)) } else { Fate::Pass }
    };
    let (_proxy, kubeconfig) = stage.proxy(slow).await;
    let operator = stage.operator_with(&kubeconfig, &[]).await;
    stage.apply("las.yaml").await;
    soon("a write to the parent", || std::future::ready((seen.load(Ordering::SeqCst) > 0).then_some(()))).await;
    stage.delete("base.scone.cloud/v1beta1", "las", None, "las").await;
    soon("the write that comes too late", || async {
        let of_parent = |event: &Value| event["objectRef"]["resource"] == "las" && event["verb"] == "patch";
        let late = stage.writes().into_iter().find(of_parent)?;
        (late["responseStatus"]["code"] == 409).then_some(())
    })
    .await;
    soon("a settled operator", || stage.quiet(Duration::from_secs(2))).await;
    assert!(stage.get("base.scone.cloud/v1beta1", "las", None, "las").await.is_none());
    assert!(stage.get("apps/v1", "daemonsets", Some("scone-system"), "las").await.is_none());
    operator.stop().await;
}

#[tokio::test]
async fn of_two_replicas_one_writes_and_the_other_takes_over_at_once() {
    let stage = Stage::start().await;
    stage.create_node("node-1", &json!({"intel.feature.node.kubernetes.io/sgx": "true"})).await;
    let [first, second] = ["replica-1", "replica-2"].map(|user| stage.kubeconfig_of_admin(user));
    let one = stage.operator_with(&first, &["--leader-elect", "--identity", "one"]).await;
    soon("the lease of one", || stage.holder("one")).await;
    let two = stage.operator_with(&second, &["--leader-elect", "--identity", "two"]).await;
    stage.apply("las.yaml").await;
    soon("the DaemonSet", || stage.get("apps/v1", "daemonsets", Some("scone-system"), "las")).await;
    one.stop().await;
    soon("the lease of two", || stage.holder("two")).await;
    stage.was_handed_over_at_once("replica-1", "replica-2");
    let released = stage.handover("replica-1", "replica-2")[0].at;
    assert_eq!(stage.wrote_before("replica-2", released), Vec::<Value>::new(), "until then only one wrote");
    stage.delete("apps/v1", "daemonsets", Some("scone-system"), "las").await;
    soon("the DaemonSet of the second replica", || stage.get("apps/v1", "daemonsets", Some("scone-system"), "las"))
        .await;
    two.stop().await;
}

#[tokio::test]
async fn a_module_is_swapped_by_its_file_and_a_bad_file_changes_nothing() {
    let stage = Stage::start().await;
    stage.create_node("node-1", &json!({"intel.feature.node.kubernetes.io/sgx": "true"})).await;
    let operator = stage.operator(&[]).await;
    stage.apply("las.yaml").await;
    soon("the DaemonSet", || stage.get("apps/v1", "daemonsets", Some("scone-system"), "las")).await;
    assert!(stage.get("v1", "configmaps", Some("scone-system"), "las-about").await.is_none());

    stage.module("las", b"no module at all");
    soon("the refusal", || async {
        operator.metrics().await.contains("outcome=\"refused\",reason=\"NotWasm\"").then_some(())
    })
    .await;
    stage.delete("apps/v1", "daemonsets", Some("scone-system"), "las").await;
    soon("the version before, at work", || stage.get("apps/v1", "daemonsets", Some("scone-system"), "las")).await;

    stage.module("las", &test_support::module("las-next"));
    soon("what only the next version makes", || stage.get("v1", "configmaps", Some("scone-system"), "las-about")).await;
    operator.stop().await;
}
