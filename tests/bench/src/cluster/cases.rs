//! A thousand CAS, each with its `StatefulSet`, its pod and its claim, that are looked at again.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use serde_json::json;

use super::{
    again,
    contenders::{AT_ONCE, operator::Operator},
    stage::{Stage, send, tell},
};
use crate::{
    Error,
    measure::{Figure, Scale},
};

const NAMESPACE: &str = "cases";
const PATH: &str = "/apis/services.scone.cloud/v1beta1/namespaces/cases/cas";
const WRITES: &str = "scone_operator_writes_total";

pub(crate) async fn run(stage: &Stage, scale: Scale, report: &mut impl FnMut(Figure)) -> Result<(), Error> {
    let parents = scale.of(1_000, 20);
    tell(&format!("cas-resync: {parents} CAS ..."));
    again::nodes(stage, &[again::NODE]).await?;
    stage.namespace(NAMESPACE).await?;
    let (operator, _) = Operator::start(stage, &["--log", "info,operator_controller=debug"]).await?;
    let made = |number: usize| {
        let object = json!({"apiVersion": "services.scone.cloud/v1beta1", "kind": "CAS",
            "metadata": {"name": format!("cas-{number:04}")}, "spec": {"image": "registry.example.com/cas:6.0.6"}});
        send(&stage.client, "POST", PATH, "application/json", object.to_string().into_bytes())
    };
    futures::stream::iter(0..parents).map(made).buffer_unordered(AT_ONCE).try_for_each(async |_| Ok(())).await?;
    // A CAS whose pod has no node is looked at every minute, so the operator is never idle; it writes nothing any more.
    operator.still(WRITES, Duration::from_secs(1), Duration::from_secs(5)).await?;
    let before = operator.metric(WRITES).await?;
    let mut passes = Vec::new();
    for round in 0..scale.rounds() {
        let looked = again::changed_node(stage, &operator, (parents, again::Count::Log), round).await?;
        passes.push((looked, again::loaded(stage, &operator, (parents, again::Count::Log), "cas").await?));
    }
    let written = operator.metric(WRITES).await? - before;
    if written > 0.5 {
        return Err(Error::Unexpected(format!("{written} writes although nothing had changed")));
    }
    report(Figure::of("cas-resync", "reconciles/s", &passes));
    Ok(())
}
