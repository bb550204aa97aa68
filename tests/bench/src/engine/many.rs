//! Fifty modules: what each costs while it idles, and how long a start takes with all of them compiled before.

use std::{path::Path, time::Instant};

use operator_engine::{Engine, Loaded};

use super::{engine, load};
use crate::{
    Error,
    measure::{Figure, Scale},
    memory,
    part::Part,
    subject,
};

pub(super) fn run(cache: &Path, scale: Scale, report: &mut impl FnMut(Figure)) -> Result<(), Error> {
    let count = count(scale);
    loaded(&engine(Some(cache))?, count)?;
    // In a process of its own each: what an engine before it gave back would be taken again, and not be counted.
    let idle = (0..scale.rounds())
        .map(|_| Ok((Part::Idle.kib(cache, scale)? / f64::from(count), Part::IdleWithoutCache.kib(cache, scale)?)))
        .collect::<Result<Vec<_>, Error>>()?;
    report(Figure::of("idle-module", "KiB", &idle));

    let starts = (0..scale.rounds())
        .map(|_| {
            let empty = tempfile::tempdir()?;
            Ok((start(cache, count)?, start(empty.path(), count)?))
        })
        .collect::<Result<Vec<_>, Error>>()?;
    report(Figure::of("start-50", "s", &starts));
    Ok(())
}

fn count(scale: Scale) -> u8 {
    scale.of(50, 2)
}

/// Seconds from nothing to an engine with so many modules.
fn start(cache: &Path, count: u8) -> Result<f64, Error> {
    let packages = packages(count)?;
    let start = Instant::now();
    let fresh = engine(Some(cache))?;
    packages.iter().try_for_each(|package| load(&fresh, package).map(drop))?;
    Ok(start.elapsed().as_secs_f64())
}

fn packages(count: u8) -> Result<Vec<operator_package::Package>, Error> {
    (0..count).map(|number| subject::read(&subject::variant(number)?)).collect()
}

fn loaded(engine: &Engine, count: u8) -> Result<Vec<Loaded>, Error> {
    packages(count)?.iter().map(|package| load(engine, package)).collect()
}

/// How much memory the modules take in an engine that has loaded one before, in KiB; without a cache, one that is loaded a second time.
pub(crate) fn idle(cache: Option<&Path>, scale: Scale) -> Result<f64, Error> {
    let engine = engine(cache)?;
    let las = subject::package("las")?;
    let _first = load(&engine, &las)?;
    let packages = if cache.is_some() { packages(count(scale))? } else { vec![las] };
    let before = memory::private_kib()?;
    let _more = packages.iter().map(|package| load(&engine, package)).collect::<Result<Vec<_>, _>>()?;
    Ok(memory::private_kib()? - before)
}
