//! An operator whose parents are all as they should be: how fast it starts, how fast it looks at them again, what it keeps.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{
    MODULE, again, audit,
    operator::Operator,
    stage::{OPERATOR, Stage, tell},
    trios,
};
use crate::{
    Error,
    measure::{Figure, number},
};

/// Each with three children: ten thousand objects.
pub(crate) const PARENTS: usize = 2_500;
/// Where they are.
pub(crate) const NAMESPACE: &str = "trios";
const STARTS: usize = 5;
const PASSES: usize = 7;

/// The kinds that the modules need, as lists.
const LISTS: [&str; 9] = [
    "/apis/example.com/v1/trios",
    "/api/v1/configmaps",
    "/api/v1/secrets",
    "/api/v1/serviceaccounts",
    "/api/v1/nodes",
    "/api/v1/pods",
    "/apis/apps/v1/daemonsets",
    "/apis/base.scone.cloud/v1beta1/las",
    "/apis/base.scone.cloud/v1beta1/sgxplugins",
];

/// Takes the figures; gives the operator, which is quiet.
pub(crate) async fn run(stage: &Stage, report: &mut impl FnMut(Figure)) -> Result<Operator, Error> {
    tell("10,000 objects ...");
    for (name, label) in [("one", "true"), ("two", "true"), ("three", "true"), (again::NODE, "true")] {
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"example.com/trio": label}}});
        stage.apply(&format!("/api/v1/nodes/{name}"), &node).await?;
    }
    trios::make(stage, NAMESPACE, PARENTS).await?;
    let (operator, _) = Operator::start(stage, &[]).await?;
    operator.rest(Duration::from_secs(2)).await?;
    drop(operator);
    let before = written(stage);

    let mut starts = Vec::new();
    for _ in 0..STARTS {
        let (operator, took) = Operator::start(stage, &[]).await?;
        operator.rest(Duration::from_secs(1)).await?;
        drop(operator);
        starts.push((took.as_secs_f64(), lists(stage).await?.0.as_secs_f64()));
    }
    report(Figure::of("start", "s", &starts));

    let (operator, _) = Operator::start(stage, &[]).await?;
    operator.rest(Duration::from_secs(2)).await?;
    let objects = operator.metric("scone_operator_cached_objects").await?;
    if objects < 10_000.0 {
        return Err(Error::Unexpected(format!("{objects} objects are cached, not 10,000")));
    }
    report(Figure::of("rss", "MB", &[(operator.resident()?, lists(stage).await?.1)]));

    let mut passes = Vec::new();
    for round in 0..PASSES {
        let looked = again::changed_node(stage, &operator, (PARENTS, again::Count::Metrics), round).await?;
        passes.push((looked, again::loaded(stage, &operator, (PARENTS, again::Count::Metrics), MODULE).await?));
    }
    if written(stage) != before {
        return Err(Error::Unexpected(format!("{} writes although nothing had changed", written(stage) - before)));
    }
    report(Figure::of("noop-resync", "reconciles/s", &passes));
    Ok(operator)
}

fn written(stage: &Stage) -> usize {
    audit::of(&audit::writes(stage, NAMESPACE), OPERATOR).count()
}

/// The same lists as an operator asks for at its start, all at once: how long they take, and how large they are, in millions of bytes.
async fn lists(stage: &Stage) -> Result<(Duration, f64), Error> {
    let started = Instant::now();
    let lists = futures::future::try_join_all(LISTS.iter().map(|path| stage.get(path))).await?;
    Ok((started.elapsed(), number(lists.iter().map(String::len).sum()) / 1e6))
}
