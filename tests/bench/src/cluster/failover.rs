//! How long nobody writes when the replica that leads ends: by SIGTERM, and by SIGKILL.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;
use tokio::task::JoinSet;

use super::{
    audit,
    audit::Write,
    contenders::operator::Operator,
    stage::{Stage, send, tell, until},
    trios,
};
use crate::{
    Error,
    measure::{Figure, Scale, number},
};

/// Where the parents are.
const NAMESPACE: &str = "failover";
/// The lease that replicas compete for.
const LEASE: &str = "61d57791.scone.cloud";
/// Between two new parents, so that there is always something to write.
const PACE: Duration = Duration::from_millis(100);

/// One replica.
struct Replica {
    name: String,
    operator: Operator,
}

/// Parents come all the time; the replica that leads ends again and again, and the other one takes over.
pub(crate) async fn run(stage: &Stage, scale: Scale, report: &mut impl FnMut(Figure)) -> Result<(), Error> {
    tell("replicas that take over ...");
    trios::make(stage, NAMESPACE, 1).await?;
    let mut number = 0;
    let mut next = async || {
        number += 1;
        Replica::start(stage, number).await
    };
    let mut leads = next().await?;
    until("a leader", Duration::from_millis(200), async || Ok(first(stage, &leads.name, 0).map(drop))).await?;
    let _parents = parents(stage);
    let (mut asked, mut killed) = (Vec::new(), Vec::new());
    for _ in 0..scale.rounds() {
        for (signal, rounds) in [("TERM", &mut asked), ("KILL", &mut killed)] {
            let waits = next().await?;
            rounds.push(takes_over(stage, &leads, &waits, signal).await?);
            leads = waits;
        }
    }
    report(Figure::of("failover-term", "s", &asked));
    report(Figure::of("failover-kill", "s", &killed));
    Ok(())
}

impl Replica {
    async fn start(stage: &Stage, number: usize) -> Result<Self, Error> {
        let name = format!("replica-{number}");
        let (operator, _) = Operator::start_as(stage, &name, &["--leader-elect", "--identity", &name]).await?;
        Ok(Self { name, operator })
    }
}

/// Seconds from the signal to the arrival of the next replica's first write, and to that of the request with which it took the lease.
async fn takes_over(stage: &Stage, leads: &Replica, waits: &Replica, signal: &str) -> Result<(f64, f64), Error> {
    let from = now();
    leads.operator.signal(signal)?;
    let every = Duration::from_millis(500);
    let wrote = until("the next replica's write", every, async || Ok(first(stage, &waits.name, from))).await?;
    let leases = audit::named(stage, "leases", LEASE);
    let took = audit::of(&leases, &waits.name).map(|write| write.received).find(|at| *at >= from);
    let took = took.ok_or_else(|| Error::Unexpected("the audit log lacks the request for the lease".to_owned()))?;
    Ok((seconds(wrote - from), seconds(took - from)))
}

/// When the first write of a replica to parents or their children arrived since then.
fn first(stage: &Stage, name: &str, from: i64) -> Option<i64> {
    let writes: Vec<Write> = audit::writes(stage, NAMESPACE);
    audit::of(&writes, name).map(|write| write.received).find(|at| *at >= from)
}

/// Makes parents until this is dropped.
fn parents(stage: &Stage) -> JoinSet<()> {
    let (client, path) = (stage.client.clone(), trios::path(NAMESPACE));
    let mut task = JoinSet::new();
    task.spawn(async move {
        let mut pace = tokio::time::interval(PACE);
        for number in 1.. {
            pace.tick().await;
            let object = json!({"apiVersion": "example.com/v1", "kind": "Trio", "metadata": {"name": trios::name(number)},
                "spec": {"text": "x"}});
            let made = send(&client, "POST", &path, "application/json", object.to_string().into_bytes()).await;
            if made.is_err() {
                // Without new parents the wait for the next write ends with an error.
                return;
            }
        }
    });
    task
}

/// Microseconds since 1970.
fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    i64::try_from(now).unwrap_or_default()
}

fn seconds(micros: i64) -> f64 {
    number(usize::try_from(micros).unwrap_or_default()) / 1e6
}
