//! Reviews over HTTPS while every thread for reconciles is busy, with a module that never answers and with one that does all the time, and
//! while thousands of policies ask a server that stays silent.

use std::{net::SocketAddr, time::Duration};

use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};

use super::{
    CONNECTIONS,
    https::Ours,
    keys::Folder,
    load::{Asked, Keys, Load},
    reviews,
};
use crate::{
    Error,
    cluster::{
        again,
        contenders::AT_ONCE,
        stage::{Stage, send, tell, until},
        trios,
    },
    measure::{Figure, Scale, percentile},
    part::Server,
};

/// The module that never answers, as its metrics name it.
const ENDLESS: &str = "endless-loop-reconcile";
/// The server that stays silent, as policies name it.
const SILENT: &str = "cas.silent.example:8081";
/// Between two changes of a node, because of which the other module is called for all its parents.
const PACE: Duration = Duration::from_millis(500);

/// How long 99 of 100 validations take meanwhile, for the operator and for a server of its own with the same judgement beside it.
pub(crate) async fn run(
    stage: &Stage,
    native: &Server,
    folder: &Folder,
    scale: Scale,
    report: &mut impl FnMut(Figure),
) -> Result<(), Error> {
    tell("validations under load ...");
    let (parents, asking) = (scale.of(1_000, 30), scale.of(10_000, 50));
    again::nodes(stage, &again::NODES).await?;
    let silent = Silent::listen().await?;
    let ours = Ours::start(stage, &["--connect-to", &format!("{SILENT}={}", silent.address)]).await?;
    policies(stage, asking).await?;
    probes(stage, parents).await?;
    trios::make(stage, "loaded", parents).await?;
    let _load = changes(stage);
    let loops = async || ours.operator.metric_of("scone_operator_module_calls_total", ENDLESS).await;
    until("a module that never answers", Duration::from_millis(200), async || Ok((loops().await? > 1.5).then_some(())))
        .await?;
    let own = Keys { authorities: folder.authorities()?, client: None };
    let mut mine =
        Load::open(ours.address, &Keys { authorities: ours.authorities.clone(), client: None }, CONNECTIONS).await?;
    let mut theirs = Load::open(native.address, &own, CONNECTIONS).await?;
    let las = reviews::stored(stage, &reviews::las()?).await?;
    let asked = Asked { request: reviews::review(&las).into(), status: "HTTP/1.1 200", says: "\"allowed\":true" };
    let round = scale.of(Duration::from_secs(2), Duration::from_millis(300));
    let mut rounds = Vec::new();
    // The first round warms up.
    for _ in 0..=scale.rounds() {
        let before = loops().await?;
        let slowest = async |load: &mut Load| Ok::<_, Error>(percentile(&load.run(&asked, round).await?, 0.99) / 1e3);
        rounds.push((slowest(&mut mine).await?, slowest(&mut theirs).await?));
        if loops().await? <= before {
            return Err(Error::Unexpected(format!("{ENDLESS} was not called during a round")));
        }
    }
    report(Figure::of("admit-under-load", "ms", rounds.get(1..).unwrap_or_default()));
    Ok(())
}

/// Parents of the module that never answers.
async fn probes(stage: &Stage, count: usize) -> Result<(), Error> {
    let object = json!({"apiVersion": "fixtures.example.com/v1", "kind": "Probe", "spec": {"message": "x"}});
    make(stage, "/apis/fixtures.example.com/v1/namespaces/default/probes", &object, count).await
}

/// Policies for the server that stays silent.
async fn policies(stage: &Stage, count: usize) -> Result<(), Error> {
    let spec =
        json!({"casAddress": format!("https://{SILENT}"), "encryptionKey": "0a0b0c0d".repeat(8), "policy": "czNjcmV0"});
    let object = json!({"apiVersion": "cas.scone.cloud/v1beta1", "kind": "EncryptedPolicy", "spec": spec});
    make(stage, "/apis/cas.scone.cloud/v1beta1/namespaces/default/encryptedpolicies", &object, count).await
}

/// So many objects that differ by their name.
async fn make(stage: &Stage, path: &str, object: &Value, count: usize) -> Result<(), Error> {
    let made = |number: usize| {
        let mut object = object.clone();
        if let Some(fields) = object.as_object_mut() {
            fields.insert("metadata".to_owned(), json!({"name": format!("of-many-{number}")}));
        }
        send(&stage.client, "POST", path, "application/json", object.to_string().into_bytes())
    };
    futures::stream::iter(0..count).map(made).buffer_unordered(AT_ONCE).try_for_each(async |_| Ok(())).await
}

/// A server that takes connections and never says anything.
struct Silent {
    address: SocketAddr,
    _accepts: JoinSet<()>,
}

impl Silent {
    async fn listen() -> Result<Self, Error> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let mut accepts = JoinSet::new();
        accepts.spawn(async move {
            let mut held = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                held.push(stream);
            }
        });
        Ok(Self { address, _accepts: accepts })
    }
}

/// Changes a node again and again, until this is dropped.
fn changes(stage: &Stage) -> JoinSet<()> {
    let client = stage.client.clone();
    let mut task = JoinSet::new();
    task.spawn(async move {
        let mut pace = tokio::time::interval(PACE);
        for round in 0.. {
            pace.tick().await;
            // One that is lost is followed by the next one.
            drop(again::change_node(&client, round).await);
        }
    });
    task
}
