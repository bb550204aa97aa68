//! Ring api: a cluster that was there before, which `cargo xtask test api --kubeconfig FILE` names; without one, a cluster of its own that is
//! known by nothing but its kubeconfig. What is made here is named after the process, and gone afterwards.
#![cfg(test)]

mod support;

use serde_json::{Value, json};
use support::{Stage, soon};

const DEFINITION: &str = "greetings.example.com";

/// A greeting in the operator's own namespace.
fn greeting(namespace: &str, whom: &str) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Greeting", "metadata": {"name": "hello", "namespace": namespace}, "spec": {"name": whom}})
}

#[tokio::test]
async fn an_operator_works_in_a_cluster_that_was_there_before_and_leaves_nothing_in_it() {
    let namespace = format!("scone-operator-test-{}", std::process::id());
    let stage = Stage::existing(&["good"], &namespace).await;
    let operator = stage.operator(&[]).await;
    let sentence = async |wanted: &str| {
        let map = stage.get("v1", "configmaps", Some(&namespace), "hello").await?;
        (map["data"]["sentence"] == wanted).then_some(())
    };
    stage.apply_value(&greeting(&namespace, "you"), "example.com/v1", "greetings").await;
    soon("the child", || sentence("Hello, you!")).await;
    stage.apply_value(&greeting(&namespace, "all"), "example.com/v1", "greetings").await;
    soon("the changed child", || sentence("Hello, all!")).await;

    stage.delete("example.com/v1", "greetings", Some(&namespace), "hello").await;
    soon("the child's end", || async {
        stage.get("v1", "configmaps", Some(&namespace), "hello").await.is_none().then_some(())
    })
    .await;
    operator.stop().await;
    stage.delete("apiextensions.k8s.io/v1", "customresourcedefinitions", None, DEFINITION).await;
    stage.delete("v1", "namespaces", None, &namespace).await;
    soon("nothing", || async {
        let definition = stage.get("apiextensions.k8s.io/v1", "customresourcedefinitions", None, DEFINITION).await;
        let space = stage.get("v1", "namespaces", None, &namespace).await;
        (definition.is_none() && space.is_none()).then_some(())
    })
    .await;
}
