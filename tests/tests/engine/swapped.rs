//! Swaps while calls are under way. Each loads a version anew and lets go of the one before.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use cap_std::{ambient_authority, fs::Dir};
use operator_core::{Desired, Module, Serving};
use operator_engine::{Compiler, Engine, EngineConfig};
use operator_package::Package;

use super::{greeting, packaged, read, snapshot};

const SWAPS: usize = 1_000;
const CALLERS: usize = 2;
/// How long anything may take, before the test says what it waits for.
const PATIENCE: Duration = Duration::from_mins(2);

/// Two versions of one module, which are loaded from compiled files as often as they are asked for.
struct Versions {
    engine: Engine,
    packages: [Package; 2],
    _folder: tempfile::TempDir,
}

impl Versions {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cache = Dir::open_ambient_dir(folder.path(), ambient_authority()).unwrap();
        let engine = Engine::new(EngineConfig::new(Compiler::locate().unwrap()).with_cache(cache)).unwrap();
        let packages = ["good", "good_v2"].map(|name| read(&packaged(name)).unwrap());
        Self { engine, packages, _folder: folder }
    }

    fn load(&self, version: usize) -> Arc<dyn Module> {
        let Package { manifest, digest, component, .. } = &self.packages[version];
        Arc::new(self.engine.load(manifest.clone(), digest, component).unwrap())
    }
}

/// What callers and the one who swaps know of each other.
#[derive(Default)]
struct Traffic {
    swaps: AtomicUsize,
    begun: AtomicUsize,
    /// Answers, by version.
    answered: [AtomicUsize; 2],
    /// Calls during which there was a swap.
    straddled: AtomicUsize,
    done: AtomicBool,
}

/// Lets callers end, also when the one who swaps has failed.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

impl Traffic {
    fn answers(&self) -> usize {
        self.answered.iter().map(|answers| answers.load(SeqCst)).sum()
    }

    /// Calls until all swaps are done. Each gets the answer of the version on which it began.
    fn call(&self, serving: &Serving, expected: &[Desired; 2]) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        while !self.done.load(SeqCst) {
            let (swaps, module) = (self.swaps.load(SeqCst), serving.current());
            let version = usize::from(&*module.generation().version != "1.0.0");
            self.begun.fetch_add(1, SeqCst);
            let answer = runtime.block_on(module.reconcile(snapshot(&greeting())));
            assert_eq!(answer.unwrap(), expected[version]);
            self.straddled.fetch_add(usize::from(self.swaps.load(SeqCst) > swaps), SeqCst);
            self.answered[version].fetch_add(1, SeqCst);
        }
    }
}

/// Waits without sleeping: what is awaited takes microseconds.
fn spin(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "{what} does not come");
        thread::yield_now();
    }
}

#[test]
fn a_thousand_swaps_in_the_middle_of_calls_lose_no_call_and_keep_no_version() {
    let versions = Versions::new();
    let [one, two] = [0, 1].map(|version| versions.load(version));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let expected = [&one, &two].map(|module| runtime.block_on(module.reconcile(snapshot(&greeting()))).unwrap());
    assert_ne!(expected[0], expected[1], "it can be told who answered");
    drop(two);
    let (serving, traffic) = (Serving::new(one), Traffic::default());
    let mut gone: Vec<Weak<dyn Module>> = Vec::new();

    thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| traffic.call(&serving, &expected));
        }
        let _done = Done(&traffic.done);
        for number in 1..=SWAPS {
            let next = versions.load(number % 2);
            spin("a call under way", || traffic.begun.load(SeqCst) > traffic.answers());
            gone.push(Arc::downgrade(&serving.swap(next)));
            traffic.swaps.fetch_add(1, SeqCst);
            let answers = traffic.answers();
            spin("an answer after the swap", || traffic.answers() > answers);
        }
    });

    let [of_one, of_two] = traffic.answered.map(AtomicUsize::into_inner);
    let straddled = traffic.straddled.into_inner();
    println!("{of_one} answers of the first version, {of_two} of the second; {straddled} calls saw a swap");
    assert_eq!(of_one + of_two, traffic.begun.into_inner(), "every call was answered");
    assert!(of_one.min(of_two) > SWAPS / 4, "both versions answered, time and again: {of_one}, {of_two}");
    assert!(straddled > SWAPS / 4, "swaps were made while calls were under way: {straddled}");
    spin("the end of every version but the last", || gone.iter().all(|module| module.strong_count() == 0));
}
