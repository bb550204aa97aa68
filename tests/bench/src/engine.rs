//! `bench engine`: what the sandbox costs, and what loading and swapping costs.

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
use operator_guest::{Module as Guest, native};
use operator_package::Package;

use crate::{
    Error,
    measure::{Figure, consuming, median, micros, paired, percentile, timed},
    memory,
    subject::{self, LAS_4K},
};

/// Modules of `start-50` and `idle-module`.
const MANY: u8 = 50;
/// Swaps of `swap`.
const SWAPS: u32 = 1_000;
/// Calls of one round; long enough for the clock, short enough for both contenders to meet the same weather.
const CALLS: u32 = 200;

/// All of them, each reported as soon as it is known.
pub(crate) fn run(report: &mut impl FnMut(Figure)) -> Result<(), Error> {
    let folder = tempfile::tempdir()?;
    // An engine for each figure: what a call costs depends on the memory that earlier calls touched in its slot.
    let loaded = || load(&engine(Some(folder.path()))?, &subject::package("las")?);
    report(reconcile(&loaded()?)?);
    report(admit(&loaded()?)?);
    report(threads(&loaded()?)?);
    report(load_cached(&engine(Some(folder.path()))?)?);
    report(swap(&engine(Some(folder.path()))?)?);
    many(folder.path(), report)
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

fn reconcile(las: &Loaded) -> Result<Figure, Error> {
    in_sandbox::<LasModule>("reconcile-4k", las, LAS_4K, Until::End)
}

/// What the sandbox adds to one validation.
fn admit(las: &Loaded) -> Result<Figure, Error> {
    Ok(admitted::<LasModule>("admit-4k", las, LAS_4K, Until::End)?.beyond())
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

/// One reconcile in the sandbox, from the host's records to the host's records; natively, from the module's to the module's.
pub(crate) fn in_sandbox<M: Guest>(
    name: impl Into<Cow<'static, str>>,
    module: &Loaded,
    yaml: &str,
    until: Until,
) -> Result<Figure, Error> {
    let (snapshot, wire) = (subject::snapshot::<M>(yaml)?, subject::native_snapshot::<M>(yaml)?);
    module.reconcile_now(&snapshot)?;
    Ok(paired(
        name,
        CALLS,
        |calls| until.timed(calls, || black_box(module.reconcile_metered(&snapshot)).1),
        |calls| consuming(calls, &wire, |wire| drop(black_box(native::reconcile::<M>(wire)))),
    ))
}

/// One validation in the sandbox, and natively.
pub(crate) fn admitted<M: Guest>(
    name: impl Into<Cow<'static, str>>,
    module: &Loaded,
    yaml: &str,
    until: Until,
) -> Result<Figure, Error> {
    let (request, wire) = (subject::request::<M>(yaml)?, subject::native_request::<M>(yaml)?);
    module.admit_now(&request)?;
    Ok(paired(
        name,
        CALLS,
        |calls| until.timed(calls, || black_box(module.admit_metered(&request)).1),
        |calls| consuming(calls, &wire, |wire| drop(black_box(native::admit::<M>(wire)))),
    ))
}

/// Calls a second on two threads, compared to one.
fn threads(las: &Loaded) -> Result<Figure, Error> {
    const CALLS: u32 = 2_000;
    let snapshot = subject::snapshot::<LasModule>(LAS_4K)?;
    let work = || {
        timed(CALLS, || drop(black_box(las.reconcile_now(&snapshot))));
    };
    work();
    let rate = |calls: u32, elapsed: Duration| f64::from(calls) / elapsed.as_secs_f64();
    let rounds: Vec<(f64, f64)> = (0..21)
        .map(|_| {
            let start = Instant::now();
            std::thread::scope(|scope| {
                scope.spawn(work);
                scope.spawn(work);
            });
            let two = rate(2 * CALLS, start.elapsed());
            let start = Instant::now();
            work();
            (two, rate(CALLS, start.elapsed()))
        })
        .collect();
    Ok(Figure::of("threads-2", "calls/s", &rounds))
}

/// Loading a module that was compiled before, compared to hashing its bytes once: a host must at least know what it loads.
fn load_cached(engine: &Engine) -> Result<Figure, Error> {
    let package = subject::package("las")?;
    load(engine, &package)?;
    Ok(paired(
        "load-cached",
        20,
        |calls| timed(calls, || drop(black_box(load(engine, &package)))),
        |calls| timed(calls, || drop(black_box(Package::read(package.component.clone())))),
    ))
}

/// The slowest call while two versions change places, in medians, compared to the same load without swaps.
fn swap(engine: &Engine) -> Result<Figure, Error> {
    let las = load(engine, &subject::package("las")?)?;
    let next: Arc<dyn Module> = Arc::new(load(engine, &subject::package("las-next")?)?);
    let las: Arc<dyn Module> = Arc::new(las);
    let serving = Arc::new(Serving::new(Arc::clone(&las)));
    let snapshot = subject::snapshot::<LasModule>(LAS_4K)?;
    let rounds = (0..5)
        .map(|_| {
            let swapped = slowest(&serving, &snapshot, || {
                for round in 0..SWAPS {
                    serving.swap(Arc::clone(if round % 2 == 0 { &next } else { &las }));
                    std::thread::sleep(Duration::from_micros(500));
                }
            })?;
            let still = slowest(&serving, &snapshot, || std::thread::sleep(Duration::from_micros(500) * SWAPS))?;
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

/// Fifty modules: what each costs while it idles, and how long a start takes with all of them compiled before.
fn many(cache: &std::path::Path, report: &mut impl FnMut(Figure)) -> Result<(), Error> {
    let packages = (0..MANY).map(|number| subject::read(&subject::variant(number)?)).collect::<Result<Vec<_>, _>>()?;
    let start = Instant::now();
    let fresh = engine(Some(cache))?;
    packages.iter().try_for_each(|package| load(&fresh, package).map(drop))?;
    let compiled = start.elapsed();
    drop(fresh);

    let fresh = engine(Some(cache))?;
    load(&fresh, &subject::package("las")?)?;
    let before = memory::private_kib()?;
    let idle = packages.iter().map(|package| load(&fresh, package)).collect::<Result<Vec<_>, _>>()?;
    let mapped = (memory::private_kib()? - before) / f64::from(MANY);
    drop((idle, fresh));

    let uncached = engine(None)?;
    let one = load(&uncached, &subject::package("las")?)?;
    let before = memory::private_kib()?;
    let copied = load(&uncached, &subject::package("las")?)?;
    let copy = memory::private_kib()? - before;
    drop((one, copied, uncached));
    report(Figure::of("idle-module", "KiB", &[(mapped, copy)]));

    let rounds = (0..7)
        .map(|_| {
            let start = Instant::now();
            let fresh = engine(Some(cache))?;
            packages.iter().try_for_each(|package| load(&fresh, package).map(drop))?;
            Ok((start.elapsed().as_secs_f64(), compiled.as_secs_f64()))
        })
        .collect::<Result<Vec<_>, Error>>()?;
    report(Figure::of("start-50", "s", &rounds));
    Ok(())
}
