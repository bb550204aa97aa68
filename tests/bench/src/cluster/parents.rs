//! A thousand new parents, served in turns by the operator, by one with controller-runtime, and by a bare loop; each time beside an API
//! server that has seen nothing before.

use std::{path::Path, time::Duration};

use ::cluster::Identity;

use super::{
    MODULE, again,
    audit::{self, Write},
    contenders::{bare, operator::Operator, process::Process, trio_operator},
    edit,
    stage::{OPERATOR, Stage, tell, until},
    trios,
};
use crate::{
    Error, engine,
    measure::{Figure, Scale, median, number},
    subject,
};

const NAMESPACE: &str = "trios";

/// How much is done in one round.
#[derive(Clone, Copy)]
struct Amount {
    parents: usize,
    edits: usize,
    /// How often all parents are looked at again.
    passes: usize,
}

/// What an operator needed.
struct Needed {
    /// Parents a second, from the arrival of the first request to the answer to the last.
    rate: f64,
    /// Requests that wrote, for each parent.
    writes: f64,
    /// From an edit's arrival to that of the first write to a child because of it, in milliseconds.
    edit: f64,
    /// Processor time for a new parent, in milliseconds; the program's start is in it.
    cpu_parent: f64,
    /// Processor time for a look at a parent that needs nothing, in microseconds.
    cpu_look: f64,
    /// Resident memory when all that is done, in millions of bytes.
    resident: f64,
}

pub(crate) async fn run(compiled: &Path, scale: Scale, report: &mut impl FnMut(Figure)) -> Result<(), Error> {
    let amount =
        scale.of(Amount { parents: 1_000, edits: 41, passes: 10 }, Amount { parents: 20, edits: 3, passes: 2 });
    let other = trio_operator::program(&mut |what| tell(what))?;
    // The first start compiles the modules.
    drop(Operator::start(&Stage::with(&[MODULE], compiled).await?, &[]).await?);
    let mut rounds = Vec::new();
    for round in 0..scale.rounds() {
        tell(&format!("{} new parents: round {} of {} ...", amount.parents, round + 1, scale.rounds()));
        rounds.push((
            ours(compiled, amount).await?,
            theirs(compiled, &other, amount).await?,
            bare(compiled, amount).await?,
        ));
    }
    let against_loop: Vec<_> = rounds.iter().map(|(ours, _, bare)| (ours.rate, *bare)).collect();
    report(Figure::of("converge-1000", "parents/s", &against_loop));
    let writes: Vec<_> = rounds.iter().map(|(ours, ..)| (ours.writes, 5.0)).collect();
    report(Figure::of("writes-per-parent", "writes", &writes));
    let mut against_other = |name, unit, part: fn(&Needed) -> f64| {
        let rounds: Vec<_> = rounds.iter().map(|(ours, theirs, _)| (part(ours), part(theirs))).collect();
        report(Figure::of(name, unit, &rounds));
    };
    against_other("peer-converge-1000", "parents/s", |needed| needed.rate);
    against_other("peer-writes-per-parent", "writes", |needed| needed.writes);
    against_other("peer-edit-to-child", "ms", |needed| needed.edit);
    against_other("peer-cpu-parent", "ms", |needed| needed.cpu_parent);
    against_other("peer-cpu-look", "µs", |needed| needed.cpu_look);
    against_other("peer-rss", "MB", |needed| needed.resident);
    Ok(())
}

async fn ours(compiled: &Path, amount: Amount) -> Result<Needed, Error> {
    let stage = prepared(compiled, amount).await?;
    let (operator, _) = Operator::start(&stage, &[]).await?;
    needed(&stage, &operator, OPERATOR, amount).await
}

async fn theirs(compiled: &Path, program: &Path, amount: Amount) -> Result<Needed, Error> {
    let stage = prepared(compiled, amount).await?;
    let operator = trio_operator::start(&stage, program).await?;
    needed(&stage, &operator, trio_operator::USER, amount).await
}

async fn bare(compiled: &Path, amount: Amount) -> Result<f64, Error> {
    let stage = prepared(compiled, amount).await?;
    let module = engine::load(&engine::engine(None)?, &subject::package(MODULE)?)?;
    let client = stage.ring.client(&Identity::admin(bare::USER)).await?;
    bare::serve(&stage, &client, &module, NAMESPACE).await?;
    let written = audit::writes(&stage, NAMESPACE);
    Ok(rate(audit::of(&written, bare::USER), amount.parents))
}

/// A new API server with parents that nobody has served.
async fn prepared(compiled: &Path, amount: Amount) -> Result<Stage, Error> {
    let stage = Stage::with(&[MODULE], compiled).await?;
    again::nodes(&stage, &again::NODES).await?;
    trios::make(&stage, NAMESPACE, amount.parents).await?;
    Ok(stage)
}

/// Waits until an operator that has just started has served all parents, and then gives it more to do.
async fn needed(stage: &Stage, process: &Process, user: &str, amount: Amount) -> Result<Needed, Error> {
    served(stage, process, amount.parents).await?;
    let cpu_parent = process.cpu()? * 1e3 / number(amount.parents);
    let written = audit::writes(stage, NAMESPACE);
    let count = audit::of(&written, user).count();
    let rate = rate(audit::of(&written, user), amount.parents);
    let edits = edit::edits(stage, NAMESPACE, user, 0..amount.edits).await?;
    process.rest(Duration::from_secs(1)).await?;
    let cpu_look = looks(stage, process, user, amount).await?;
    Ok(Needed {
        rate,
        writes: number(count) / number(amount.parents),
        edit: median(edits.iter().map(|edit| edit.child)),
        cpu_parent,
        cpu_look,
        resident: process.resident()?,
    })
}

/// Parents a second, from the arrival of the first request to the answer to the last.
fn rate<'a>(writes: impl Iterator<Item = &'a Write> + Clone, parents: usize) -> f64 {
    let (first, last) = (writes.clone().map(|write| write.received).min(), writes.map(|write| write.answered).max());
    let micros = last.unwrap_or_default() - first.unwrap_or_default();
    number(parents) / Duration::from_micros(u64::try_from(micros).unwrap_or_default()).as_secs_f64()
}

async fn served(stage: &Stage, process: &Process, parents: usize) -> Result<(), Error> {
    until("all parents", Duration::from_millis(500), async || {
        process.rest(Duration::from_secs(1)).await?;
        let ready = trios::list(stage, NAMESPACE).await?.iter().filter(|trio| trios::is_ready(trio)).count();
        Ok((ready == parents).then_some(()))
    })
    .await
}

/// Processor time for a look at a parent, in microseconds: a node is changed, which concerns all parents and changes none. Asked seldom how
/// far it is, since answering takes time as well.
async fn looks(stage: &Stage, process: &Process, user: &str, amount: Amount) -> Result<f64, Error> {
    let written = || audit::of(&audit::writes(stage, NAMESPACE), user).count();
    let (before, cpu) = (written(), process.cpu()?);
    for pass in 0..amount.passes {
        let wanted = process.reconciles().await? + number(amount.parents) - 0.5;
        again::change_node(&stage.client, pass).await?;
        until("a look at all parents", Duration::from_millis(100), async || {
            Ok((process.reconciles().await? >= wanted).then_some(()))
        })
        .await?;
    }
    let cpu = process.cpu()? - cpu;
    match written() - before {
        0 => Ok(cpu * 1e6 / number(amount.parents * amount.passes)),
        more => Err(Error::Unexpected(format!("{more} writes of {user} although nothing had changed"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(received: i64, answered: i64) -> Write {
        let text = String::new;
        Write { user: text(), verb: text(), namespace: text(), resource: text(), name: text(), received, answered }
    }

    #[test]
    fn a_rate_counts_from_the_first_request_to_the_last_answer() {
        let writes = [write(2_000_000, 2_100_000), write(1_000_000, 3_000_000), write(1_500_000, 1_600_000)];
        assert!((rate(writes.iter(), 10) - 5.0).abs() < 1e-9);
    }
}
