//! Ring api: what becomes of an operator some part of which dies, or which finds a cluster without what it needs.
#![cfg(test)]

use std::collections::BTreeSet;

use cluster::stage::{Stage, soon, until};
use futures::StreamExt;

/// Everything that the program can do is switched on, so that every task runs that there is.
const ALL: [&str; 10] = [
    "--leader-elect",
    "--webhook-url",
    "https://127.0.0.1:1",
    "--webhook-bind-address",
    "127.0.0.1:0",
    "--webhook-drain-seconds",
    "2",
    "--log",
    "info,operator_controller=debug",
    "--identity",
];

fn all(identity: &str) -> Vec<&str> {
    let mut arguments = ALL.to_vec();
    arguments.push(identity);
    arguments
}

/// Some of the background tasks, those that begin last among them.
const KNOWN: [&str; 8] = [
    "lease",
    "webhook server",
    "folder of modules",
    "worker 0 of good",
    "watch of v1 ConfigMap",
    "watch of example.com/v1 Greeting",
    "rights of good",
    "health",
];

/// The names of all background tasks; of many that do the same, one.
async fn tasks(stage: &Stage) -> BTreeSet<String> {
    let operator = stage.operator(&all("first")).await;
    soon("the lease", || stage.holder("first")).await;
    let begun = async || -> BTreeSet<String> {
        let log = operator.log();
        let begun = log.iter().filter(|line| line["message"] == "begins").filter_map(|line| line["task"].as_str());
        begun.filter(|task| !task.starts_with("worker ") || task.starts_with("worker 0 ")).map(str::to_owned).collect()
    };
    let complete = |tasks: &BTreeSet<String>| KNOWN.iter().all(|known| tasks.contains(*known));
    let tasks = until("the begin of every task", begun, complete).await;
    operator.stop().await;
    tasks
}

#[tokio::test]
async fn no_background_task_dies_unseen() {
    let stage = Stage::with(&["good"]).await;
    let tasks = tasks(&stage).await;
    let kubeconfig = stage.kubeconfig_of_admin("scone-operator");
    let dies = |task: String| {
        let (stage, kubeconfig) = (&stage, &kubeconfig);
        async move {
            let mut operator = stage.spawn_rigged(kubeconfig, &all(&task.replace(' ', "-")), &task);
            let panics = |line: &serde_json::Value| line.as_str().is_some_and(|line| line.contains("panics, as"));
            soon("the panic", || std::future::ready(operator.log().iter().any(panics).then_some(()))).await;
            soon("a red process", || async {
                operator.liveness().await.is_none_or(|(code, _)| code == 503).then_some(())
            })
            .await;
            let status = soon("the end", || std::future::ready(operator.ended())).await;
            assert_eq!(status.code(), Some(1), "{task}");
            let named = |line: &serde_json::Value| {
                line["message"] == "ends" && line["failure"].as_str().is_some_and(|text| text.contains(&task))
            };
            soon("a line that names it", || std::future::ready(operator.log().iter().any(named).then_some(()))).await;
        }
    };
    // Few at a time: each compiles nothing, but the machine has few cores.
    futures::stream::iter(tasks).for_each_concurrent(3, dies).await;
}

#[tokio::test]
async fn a_kind_that_is_not_installed_is_named_with_the_fix_and_served_once_it_is() {
    let stage = Stage::with(&[]).await;
    stage.module("good", &test_support::module("good"));
    let operator = stage.spawn(&stage.kubeconfig_of_admin("scone-operator"), &[]);
    let why = "example.com/v1 Greeting: the API server does not serve example.com/v1 Greeting; install its \
               CustomResourceDefinition";
    soon("a replica that says what is missing", || async {
        operator.readiness().await.filter(|(code, text)| *code == 503 && text.contains(why))
    })
    .await;
    stage.install("good").await;
    stage.greet("hello", "you").await;
    soon("what the module makes of it", || stage.sentence("hello", "Hello, you!")).await;
    let ready = |readiness: &Option<(u16, String)>| *readiness == Some((200, "ok\n".to_owned()));
    until("a replica that lacks nothing", async || operator.readiness().await, ready).await;
    let tries = operator.log().iter().filter(|line| line["message"] == "a kind cannot be watched").count();
    assert!((1..=7).contains(&tries), "later each time: {tries}");
    operator.stop().await;
}
