//! A thousand new parents to Ready, compared to a bare loop that sends the same requests.

use std::{collections::BTreeMap, time::Duration};

use ::cluster::Identity;
use futures::{StreamExt, TryStreamExt};
use kube::Client;
use operator_core::{
    Answer, Document, Finding, Module, ObjectRef, Snapshot,
    grants::Place,
    plan::{self, plan},
    status::{self, Progress},
};
use operator_engine::Loaded;
use serde_json::{Value, json};

use super::{
    MODULE, audit,
    audit::Write,
    operator::Operator,
    stage::{APPLY, HOME, OPERATOR, Stage, send, tell, until},
    trios,
};
use crate::{Error, engine, measure::Figure, measure::number, subject};

const PARENTS: usize = 1_000;
const ROUNDS: usize = 3;
/// Who sends the bare requests.
const BARE: &str = "bare";
/// Parents that the bare loop serves at a time: as many as the operator does.
const AT_ONCE: usize = 16;

/// One request of the bare loop: the path and the body.
type Apply = (String, Document);

pub(crate) async fn run(stage: &Stage, report: &mut impl FnMut(Figure)) -> Result<(), Error> {
    let module = engine::load(&engine::engine(None)?, &subject::package(MODULE)?)?;
    let bare = stage.ring.client(&Identity::admin(BARE)).await?;
    // The first start compiles the modules.
    drop(Operator::start(stage, &[]).await?);
    let (mut rates, mut writes) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        tell(&format!("converge-1000: round {} of {ROUNDS} ...", round + 1));
        let namespace = format!("bare-{round}");
        trios::make(stage, &namespace, PARENTS).await?;
        by_hand(stage, &bare, &module, &namespace).await?;
        let yardstick = rate(audit::of(&audit::writes(stage, &namespace), BARE));
        trios::clear(stage, &namespace).await?;

        let namespace = format!("trios-{round}");
        trios::make(stage, &namespace, PARENTS).await?;
        by_operator(stage, &namespace).await?;
        let written = audit::writes(stage, &namespace);
        rates.push((rate(audit::of(&written, OPERATOR)), yardstick));
        writes.push((number(audit::of(&written, OPERATOR).count()) / number(PARENTS), 5.0));
        trios::clear(stage, &namespace).await?;
    }
    report(Figure::of("converge-1000", "parents/s", &rates));
    report(Figure::of("writes-per-parent", "writes", &writes));
    Ok(())
}

/// Parents a second, from the arrival of the first request to the answer to the last.
fn rate<'a>(writes: impl Iterator<Item = &'a Write> + Clone) -> f64 {
    let (first, last) = (writes.clone().map(|write| write.received).min(), writes.map(|write| write.answered).max());
    let micros = last.unwrap_or_default() - first.unwrap_or_default();
    number(PARENTS) / Duration::from_micros(u64::try_from(micros).unwrap_or_default()).as_secs_f64()
}

/// Starts an operator beside the new parents and waits until all are ready.
async fn by_operator(stage: &Stage, namespace: &str) -> Result<(), Error> {
    let (operator, _) = Operator::start(stage, &[]).await?;
    // Asking for what it says about itself costs the API server nothing.
    until("a thousand parents", Duration::from_millis(100), async || {
        let written = operator.metric("scone_operator_writes_total").await?;
        Ok((written >= 5.0 * number(PARENTS)).then_some(()))
    })
    .await?;
    operator.rest(Duration::from_secs(1)).await?;
    let ready = trios::list(stage, namespace).await?.iter().filter(|trio| trios::is_ready(trio)).count();
    if ready == PARENTS { Ok(()) } else { Err(Error::Unexpected(format!("{ready} of {PARENTS} parents are ready"))) }
}

/// Sends what the operator would send, and nothing else: for each parent one request after the other.
async fn by_hand(stage: &Stage, client: &Client, module: &Loaded, namespace: &str) -> Result<(), Error> {
    let parents = trios::list(stage, namespace).await?;
    let all = parents.iter().map(|parent| applies(module, parent)).collect::<Result<Vec<_>, _>>()?;
    let served = async |applies: Vec<Apply>| {
        for (path, document) in applies {
            send(client, "PATCH", &path, APPLY, document.bytes().to_vec()).await?;
        }
        Ok::<_, Error>(())
    };
    futures::stream::iter(all).map(served).buffer_unordered(AT_ONCE).try_collect().await
}

/// What the operator sends for a new parent.
fn applies(module: &Loaded, parent: &Value) -> Result<Vec<Apply>, Error> {
    let document = Document::from_value(parent);
    let identity = document.identity()?;
    let nodes = Answer {
        id: "nodes".into(),
        outcome: Ok(Finding::Objects(Vec::new())),
        asked_at: None,
        extensions: Vec::new(),
    };
    let desired = module.reconcile_now(&Snapshot { answers: [nodes].into(), ..Snapshot::of(document) })?;
    let manifest = module.manifest();
    let planned = plan(plan::Input {
        module: &manifest.name,
        grants: &manifest.grants,
        finalizer: manifest.finalizer,
        place: Place { parent: identity.metadata.namespace.as_deref(), target: HOME },
        parent: &identity,
        finalizing: false,
        members: &[],
        existing: &BTreeMap::new(),
        held: &[],
        desired: &desired,
        known: &plan::Known::default(),
    })?;
    let manager = plan::manager(&manifest.name);
    let mut applies = Vec::new();
    let parent_path = object_path(&planned.parent);
    applies.extend(planned.record.clone().map(|record| (query(&parent_path, &manager), record)));
    for step in &planned.steps {
        applies.extend(step.document.clone().map(|child| (query(&object_path(&step.identity), &manager), child)));
    }
    let conditions = status::conditions(&desired.conditions, &Progress::of_plan(&planned));
    let parent = Document::from_value(parent);
    if let Some(status) = status::next(&parent, desired.status.as_ref(), &conditions, "2026-01-01T00:00:00Z")? {
        let ObjectRef { api_version, kind, namespace, name } = &planned.parent;
        let status = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": namespace},
            "status": status});
        let path = query(&format!("{parent_path}/status"), &plan::status_manager(&manifest.name));
        applies.push((path, Document::from_value(&status)));
    }
    if applies.len() == 5 { Ok(applies) } else { Err(Error::Unexpected(format!("{} requests, not 5", applies.len()))) }
}

fn query(path: &str, manager: &str) -> String {
    format!("{path}?fieldManager={manager}&force=true")
}

/// Where an object of the kinds that are used here is.
fn object_path(identity: &ObjectRef) -> String {
    let ObjectRef { api_version, kind, namespace, name } = identity;
    let root = if api_version.contains('/') { "apis" } else { "api" };
    let namespace = namespace.as_deref().unwrap_or_default();
    format!("/{root}/{api_version}/namespaces/{namespace}/{}s/{name}", kind.to_lowercase())
}
