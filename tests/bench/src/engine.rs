//! `bench engine`: what the sandbox costs, and what loading and swapping costs.

pub(crate) mod many;

use std::{
    borrow::Cow,
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use las::LasModule;
use operator_core::{Module, Serving, Snapshot};
use operator_engine::{Compiler, Engine, EngineConfig, Loaded, Usage};
use operator_guest::Module as Guest;
use operator_package::Package;

use crate::{
    Error,
    measure::{Figure, Scale, median, micros, paired, percentile, timed},
    subject::{self, LAS_4K},
    twin,
};

/// All of them, each reported as soon as it is known.
pub(crate) fn run(scale: Scale, report: &mut impl FnMut(Figure)) -> Result<(), Error> {
    let folder = tempfile::tempdir()?;
    // An engine for each figure: what a call costs depends on the memory that earlier calls touched in its slot.
    let loaded = || load(&engine(Some(folder.path()))?, &subject::package("las")?);
    report(in_sandbox::<LasModule>("reconcile-4k", &loaded()?, LAS_4K, Until::End, scale)?);
    report(admitted::<LasModule>("admit-4k", &loaded()?, LAS_4K, Until::End, scale)?);
    report(threads(&loaded()?, scale)?);
    report(load_cached(&engine(Some(folder.path()))?, scale)?);
    report(swap(&engine(Some(folder.path()))?, scale)?);
    many::run(folder.path(), scale, report)
}

/// Rounds of calls, and calls of one round: long enough for the clock, short enough for both contenders to meet the same weather.
fn calls(scale: Scale) -> (usize, u32) {
    scale.of((41, 200), (3, 5))
}

pub(crate) fn engine(cache: Option<&std::path::Path>) -> Result<Engine, Error> {
    let config = EngineConfig::new(Compiler::locate()?);
    let Some(cache) = cache else { return Ok(Engine::new(config)?) };
    let folder = cap_std::fs::Dir::open_ambient_dir(cache, cap_std::ambient_authority())?;
    Ok(Engine::new(config.with_cache(folder))?)
}

pub(crate) fn load(engine: &Engine, package: &Package) -> Result<Loaded, Error> {
    Ok(engine.load(package.manifest.clone(), &package.digest, &package.component)?)
}

/// Up to where a call is timed.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    /// Its answer is there: the operator does not wait for more.
    Answer,
    /// Its memory is cleared as well.
    End,
}

impl Until {
    fn timed(self, calls: u32, mut call: impl FnMut() -> Usage) -> Duration {
        let start = Instant::now();
        let answered = (0..calls).map(|_| call().time).sum();
        match self {
            Self::Answer => answered,
            Self::End => start.elapsed(),
        }
    }
}

/// One reconcile in the sandbox, from the host's records to the host's records; natively, from the module's to the module's. Both answer
/// the same.
pub(crate) fn in_sandbox<M: Guest>(
    name: impl Into<Cow<'static, str>>,
    module: &Loaded,
    yaml: &str,
    until: Until,
    scale: Scale,
) -> Result<Figure, Error> {
    let name = name.into();
    let (snapshot, wire) = (subject::snapshot::<M>(yaml)?, subject::native_snapshot::<M>(yaml)?);
    twin::same_desired::<M>(&name, &module.reconcile_now(&snapshot)?, &wire)?;
    beside::<M>(name, module, yaml, until, scale)
}

/// The same with a twin that is another module: what it answers is not compared.
pub(crate) fn beside<M: Guest>(
    name: impl Into<Cow<'static, str>>,
    module: &Loaded,
    yaml: &str,
    until: Until,
    scale: Scale,
) -> Result<Figure, Error> {
    let (snapshot, wire) = (subject::snapshot::<M>(yaml)?, subject::native_snapshot::<M>(yaml)?);
    module.reconcile_now(&snapshot)?;
    let rounds = paired(
        calls(scale),
        |calls| until.timed(calls, || black_box(module.reconcile_metered(&snapshot)).1),
        |calls| twin::reconcile::<M>(calls, &wire),
    );
    Ok(Figure::of(name, "µs", &rounds))
}

/// What the sandbox adds to one validation. Both answer the same.
pub(crate) fn admitted<M: Guest>(
    name: impl Into<Cow<'static, str>>,
    module: &Loaded,
    yaml: &str,
    until: Until,
    scale: Scale,
) -> Result<Figure, Error> {
    let name = name.into();
    let (request, wire) = (subject::request::<M>(yaml)?, subject::native_request::<M>(yaml)?);
    twin::same_verdict::<M>(&name, &module.admit_now(&request)?, &wire)?;
    let rounds = paired(
        calls(scale),
        |calls| until.timed(calls, || black_box(module.admit_metered(&request)).1),
        |calls| twin::validate::<M>(calls, &wire),
    );
    Ok(Figure::beyond(name, "µs", &rounds))
}

/// Calls a second on two threads, compared to one.
fn threads(las: &Loaded, scale: Scale) -> Result<Figure, Error> {
    let (rounds, calls) = scale.of((21, 2_000), (2, 20));
    let snapshot = subject::snapshot::<LasModule>(LAS_4K)?;
    let work = || {
        timed(calls, || drop(black_box(las.reconcile_now(&snapshot))));
    };
    work();
    let rate = |calls: u32, elapsed: Duration| f64::from(calls) / elapsed.as_secs_f64();
    let rounds: Vec<(f64, f64)> = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            std::thread::scope(|scope| {
                scope.spawn(work);
                scope.spawn(work);
            });
            let two = rate(2 * calls, start.elapsed());
            let start = Instant::now();
            work();
            (two, rate(calls, start.elapsed()))
        })
        .collect();
    Ok(Figure::of("threads-2", "calls/s", &rounds))
}

/// Loading a module that was compiled before, all of it: from its file to where it can be called. Compared to reading the file and hashing
/// it once: a host must at least know what it loads.
fn load_cached(engine: &Engine, scale: Scale) -> Result<Figure, Error> {
    load(engine, &subject::package("las")?)?;
    let rounds = paired(
        scale.of((41, 20), (3, 2)),
        |calls| timed(calls, || drop(black_box(subject::package("las").and_then(|package| load(engine, &package))))),
        |calls| timed(calls, || drop(black_box(subject::package("las")))),
    );
    Ok(Figure::of("load-cached", "µs", &rounds))
}

/// The slowest call while two versions change places, in medians, compared to the same load without swaps.
fn swap(engine: &Engine, scale: Scale) -> Result<Figure, Error> {
    let las = load(engine, &subject::package("las")?)?;
    let next: Arc<dyn Module> = Arc::new(load(engine, &subject::package("las-next")?)?);
    let las: Arc<dyn Module> = Arc::new(las);
    let serving = Arc::new(Serving::new(Arc::clone(&las)));
    let snapshot = subject::snapshot::<LasModule>(LAS_4K)?;
    let swaps = scale.of(1_000, 20);
    let rounds = (0..scale.rounds())
        .map(|_| {
            let swapped = slowest(&serving, &snapshot, || {
                for round in 0..swaps {
                    serving.swap(Arc::clone(if round % 2 == 0 { &next } else { &las }));
                    std::thread::sleep(Duration::from_micros(500));
                }
            })?;
            let still = slowest(&serving, &snapshot, || std::thread::sleep(Duration::from_micros(500) * swaps))?;
            Ok((swapped, still))
        })
        .collect::<Result<Vec<_>, Error>>()?;
    Ok(Figure::of("swap", "slowest call, in medians", &rounds))
}

/// Two callers without a pause, until `meanwhile` is over; a failed call ends the benchmark.
fn slowest(serving: &Arc<Serving>, snapshot: &Snapshot, meanwhile: impl FnOnce()) -> Result<f64, Error> {
    let over = AtomicBool::new(false);
    let caller = || -> Result<Vec<f64>, Error> {
        let mut took = Vec::new();
        while !over.load(Ordering::Relaxed) {
            let start = Instant::now();
            pollster::block_on(serving.current().reconcile(snapshot.clone()))?;
            took.push(micros(start.elapsed()));
        }
        Ok(took)
    };
    let took = std::thread::scope(|scope| {
        let callers = [scope.spawn(caller), scope.spawn(caller)];
        meanwhile();
        over.store(true, Ordering::Relaxed);
        let took = callers.map(|caller| caller.join().unwrap_or_else(|_| Err(Error::Panicked)));
        took.into_iter().collect::<Result<Vec<_>, _>>()
    })?;
    let took = took.concat();
    Ok(percentile(&took, 1.0) / median(took.iter().copied()))
}
