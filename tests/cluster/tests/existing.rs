//! Ring api: a cluster that was there before, which `cargo xtask test api --kubeconfig FILE` names; without one, a cluster of its own that is
//! known by nothing but its kubeconfig. What is made here is named after the process, and gone afterwards.
#![cfg(test)]

use std::collections::BTreeSet;

use cluster::stage::{Stage, soon, until};
use serde_json::{Value, json};

/// What the names of namespaces for tests begin with.
const PREFIX: &str = "scone-operator-test-";
const DEFINITION: &str = "greetings.example.com";

/// A greeting in the operator's own namespace.
fn greeting(namespace: &str, whom: &str) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Greeting", "metadata": {"name": "hello", "namespace": namespace}, "spec": {"name": whom}})
}

#[tokio::test]
async fn an_operator_works_in_a_cluster_that_was_there_before_and_leaves_nothing_in_it() {
    let namespace = format!("{PREFIX}{}", std::process::id());
    let stage = Stage::existing(&["good"], &namespace).await;
    let before: BTreeSet<String> = objects(&stage).await;
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
    let new = async || -> Vec<String> {
        let now = objects(&stage).await;
        let made_here = |object: &&String| object.contains(&namespace) || object.contains(DEFINITION);
        now.iter().filter(|object| !before.contains(*object) || made_here(object)).cloned().collect()
    };
    assert!(
        new().await.iter().any(|object| object.contains(DEFINITION)),
        "so that it means something that none is left"
    );
    stage.delete("apiextensions.k8s.io/v1", "customresourcedefinitions", None, DEFINITION).await;
    stage.delete("v1", "namespaces", None, &namespace).await;
    until("nothing that was not there before", new, Vec::is_empty).await;
}

/// Everything in the cluster, of any kind, that the operator or a test like this one has written to. Others may make what they like meanwhile.
async fn objects(stage: &Stage) -> BTreeSet<String> {
    let groups = stage.read("/apis").await.unwrap();
    let versions = groups["groups"].as_array().unwrap().iter().map(|group| &group["preferredVersion"]["groupVersion"]);
    let roots = versions.map(|version| format!("/apis/{}", version.as_str().unwrap()));
    let mut found = BTreeSet::new();
    for root in roots.chain(["/api/v1".to_owned()]) {
        // A server of somebody else's that does not answer holds nothing of ours.
        let kinds = stage.read(&root).await.unwrap_or_default();
        for kind in kinds["resources"].as_array().into_iter().flatten() {
            let name = kind["name"].as_str().unwrap();
            let listed = kind["verbs"].as_array().unwrap().iter().any(|verb| verb == "list");
            let list =
                if listed { stage.read(&format!("{root}/{name}")).await.unwrap_or_default() } else { Value::Null };
            let items = list["items"].as_array().into_iter().flatten().filter(|object| is_ours(object));
            found.extend(items.map(|object| {
                let metadata = &object["metadata"];
                format!("{name} {}/{}", metadata["namespace"], metadata["name"])
            }));
        }
    }
    found
}

fn is_ours(object: &Value) -> bool {
    // Whoever applies nothing but a name manages no field.
    if object["metadata"]["name"].as_str().is_some_and(|name| name.starts_with(PREFIX)) {
        return true;
    }
    let managers = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    let mut names = managers.filter_map(|entry| entry["manager"].as_str());
    names.any(|name| name == "tester" || name.starts_with("operator.scone.cloud") || name.starts_with("scone-operator"))
}
