//! All parents are looked at again: how many of them a second.

use std::time::{Duration, Instant};

use kube::Client;
use serde_json::json;

use super::{
    contenders::operator::Operator,
    stage::{Stage, send, until},
};
use crate::{Error, measure::number};

/// The node that changes.
pub(crate) const NODE: &str = "aside";

/// All nodes that a `Trio` looks at.
pub(crate) const NODES: [&str; 4] = ["one", "two", "three", NODE];

/// How the end of a pass is seen.
#[derive(Clone, Copy)]
pub(crate) enum Count {
    /// By the operator's metrics.
    Metrics,
    /// By its log: metrics of many parents take a while to write.
    Log,
}

/// Makes nodes that parents look at.
pub(crate) async fn nodes(stage: &Stage, names: &[&str]) -> Result<(), Error> {
    for name in names {
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"example.com/trio": "true"}}});
        stage.apply(&format!("/api/v1/nodes/{name}"), &node).await?;
    }
    Ok(())
}

/// Gives a node another label, which says nothing.
pub(crate) async fn change_node(client: &Client, round: usize) -> Result<(), Error> {
    let change = json!({"metadata": {"labels": {"example.com/round": round.to_string()}}}).to_string().into_bytes();
    let (path, merge) = (format!("/api/v1/nodes/{NODE}"), "application/merge-patch+json");
    send(client, "PATCH", &path, merge, change).await.map(drop)
}

/// Because of a label of a node.
pub(crate) async fn changed_node(
    stage: &Stage,
    operator: &Operator,
    (parents, count): (usize, Count),
    round: usize,
) -> Result<f64, Error> {
    pass(operator, parents, count, async || change_node(&stage.client, round).await).await
}

/// Because their module was loaded again: then it is called for each of them.
pub(crate) async fn loaded(
    stage: &Stage,
    operator: &Operator,
    (parents, count): (usize, Count),
    module: &str,
) -> Result<f64, Error> {
    pass(operator, parents, count, async || {
        let path = stage.module(module);
        let bytes = std::fs::read(&path)?;
        // Complete at once, under another time of change.
        let unfinished = path.with_extension("unfinished");
        std::fs::write(&unfinished, bytes)?;
        Ok(std::fs::rename(unfinished, path)?)
    })
    .await
}

/// Reconciles a second, from the first one that is seen to the last.
async fn pass(
    operator: &Operator,
    parents: usize,
    count: Count,
    cause: impl AsyncFn() -> Result<(), Error>,
) -> Result<f64, Error> {
    match count {
        Count::Metrics => by_metrics(operator, parents, cause).await,
        Count::Log => by_log(operator, parents, cause).await,
    }
}

async fn by_log(operator: &Operator, parents: usize, cause: impl AsyncFn() -> Result<(), Error>) -> Result<f64, Error> {
    let from = Instant::now();
    cause().await?;
    until("a look at all parents", Duration::from_millis(20), async || {
        let ends = operator.reconciled_since(from);
        let Some((first, last)) = ends.first().zip(ends.get(parents - 1)) else { return Ok(None) };
        Ok(Some(number(parents - 1) / last.duration_since(*first).as_secs_f64()))
    })
    .await
}

async fn by_metrics(
    operator: &Operator,
    parents: usize,
    cause: impl AsyncFn() -> Result<(), Error>,
) -> Result<f64, Error> {
    let before = operator.reconciles().await?;
    cause().await?;
    let mut first = None;
    until("a look at all parents", Duration::from_millis(5), async || {
        let (count, now) = (operator.reconciles().await? - before, Instant::now());
        match first {
            None if count > 0.5 => first = Some((count, now)),
            Some((at_first, since)) if count > number(parents) - 0.5 => {
                return Ok(Some((count - at_first) / now.duration_since(since).as_secs_f64()));
            }
            _ => {}
        }
        Ok(None)
    })
    .await
}
