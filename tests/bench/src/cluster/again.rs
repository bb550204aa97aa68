//! All parents are looked at again: how many of them a second.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{
    operator::Operator,
    stage::{Stage, send, until},
};
use crate::{Error, measure::number};

/// The node that changes.
pub(crate) const NODE: &str = "aside";

/// Because of a label of a node.
pub(crate) async fn changed_node(
    stage: &Stage,
    operator: &Operator,
    parents: usize,
    round: usize,
) -> Result<f64, Error> {
    let change = json!({"metadata": {"labels": {"example.com/round": round.to_string()}}}).to_string().into_bytes();
    pass(operator, parents, async || {
        let (path, merge) = (format!("/api/v1/nodes/{NODE}"), "application/merge-patch+json");
        send(&stage.client, "PATCH", &path, merge, change.clone()).await.map(drop)
    })
    .await
}

/// Because their module was loaded again: then it is called for each of them.
pub(crate) async fn loaded(stage: &Stage, operator: &Operator, parents: usize, module: &str) -> Result<f64, Error> {
    pass(operator, parents, async || {
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
async fn pass(operator: &Operator, parents: usize, cause: impl AsyncFn() -> Result<(), Error>) -> Result<f64, Error> {
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
