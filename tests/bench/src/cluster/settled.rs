//! An operator whose parents are all as they should be: how fast it starts, how fast it looks at them again, what it keeps.

use std::time::{Duration, Instant};

use super::{
    MODULE, again, audit,
    contenders::operator::Operator,
    stage::{OPERATOR, Stage, tell},
    trios,
};
use crate::{
    Error,
    measure::{Figure, Scale, number},
};

/// Where the parents are.
pub(crate) const NAMESPACE: &str = "trios";

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

/// Takes the figures, one round of all of them after the other; gives the operator, which is quiet.
pub(crate) async fn run(stage: &Stage, scale: Scale, report: &mut impl FnMut(Figure)) -> Result<Operator, Error> {
    // Each with three children: ten thousand objects.
    let parents = scale.of(2_500, 40);
    tell(&format!("{} objects ...", parents * 4));
    again::nodes(stage, &again::NODES).await?;
    trios::make(stage, NAMESPACE, parents).await?;
    let (mut operator, _) = Operator::start(stage, &[]).await?;
    operator.rest(Duration::from_secs(2)).await?;
    let before = written(stage);
    let (mut starts, mut sizes, mut passes) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..scale.rounds() {
        drop(operator);
        let took;
        (operator, took) = Operator::start(stage, &[]).await?;
        operator.rest(Duration::from_secs(2)).await?;
        let objects = operator.metric("scone_operator_cached_objects").await?;
        if objects < number(parents * 4) {
            return Err(Error::Unexpected(format!("{objects} objects are cached, not {}", parents * 4)));
        }
        let resident = operator.resident()?;
        let (listed, size) = lists(stage).await?;
        starts.push((took.as_secs_f64(), listed.as_secs_f64()));
        sizes.push((resident, size));
        let looked = again::changed_node(stage, &operator, (parents, again::Count::Metrics), round).await?;
        passes.push((looked, again::loaded(stage, &operator, (parents, again::Count::Metrics), MODULE).await?));
    }
    if written(stage) != before {
        return Err(Error::Unexpected(format!("{} writes although nothing had changed", written(stage) - before)));
    }
    report(Figure::of("start", "s", &starts));
    report(Figure::of("rss", "MB", &sizes));
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
