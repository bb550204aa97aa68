//! Ring engine: misbehaving modules, one behaviour each, run for real. Each gives its own typed error that names module, place
//! and fix, and a good module called beside it loses no call.

#![cfg(test)]

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use operator_core::{
    Blame, Document, Failure, FailureKind, ObjectRef, Rejection, Request, Snapshot, User,
    contract::{Operation, Phase},
    grants::Place,
    plan,
};
use operator_engine::{Compiler, Engine, EngineConfig, LoadError, Loaded};
use operator_package::{Package, PackageError};

/// One engine for the whole ring, as in a host: neighbours really are neighbours.
static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let mut compiler = Compiler::locate().unwrap();
    // Small enough for the bomb to go off quickly, large enough for every ordinary module.
    compiler.limits.cpu_seconds = 20;
    compiler.limits.wall = Duration::from_secs(40);
    let mut config = EngineConfig::new(compiler);
    config.defaults.time_ms = 200;
    config.ceilings.memory_kib = 512 * 1024;
    Engine::new(config).unwrap()
});

/// The package of a fixture: componentized, described by itself, with its manifest in its custom section.
fn packaged(name: &str) -> Vec<u8> {
    let component = operator_package::build(&fixtures::core_module(name).unwrap()).unwrap();
    let manifest = ENGINE.describe(&component).unwrap();
    operator_package::with_manifest(&component, &serde_json::from_slice(&manifest).unwrap()).unwrap()
}

fn read(bytes: &[u8]) -> Result<Package, PackageError> {
    Package::read(bytes::Bytes::copy_from_slice(bytes))
}

fn load(package: &Package) -> Result<Loaded, LoadError> {
    ENGINE.load(package.manifest.clone(), &package.digest, &package.component)
}

fn loaded(name: &str) -> Loaded {
    load(&read(&packaged(name)).unwrap()).unwrap()
}

fn parent() -> Document {
    let parent = serde_json::json!({
        "apiVersion": "fixtures.example.com/v1", "kind": "Probe",
        "metadata": {"name": "p", "namespace": "team", "uid": "u1", "generation": 1},
        "spec": {"message": SECRET, "name": "Ada"},
    });
    Document::from_value(&parent)
}

/// What the fixture `panic_with_secret` panics with.
const SECRET: &str = "hunter2-do-not-show";

fn reconcile(module: &Loaded) -> Result<operator_core::Desired, Failure> {
    module.reconcile_now(&Snapshot::of(parent()))
}

fn request(phase: Phase) -> Request {
    Request {
        phase,
        operation: Operation::Create,
        identity: ObjectRef::namespaced("fixtures.example.com/v1", "Probe", "team", "p"),
        subresource: None,
        object: Some(parent()),
        old_object: None,
        user: User::default(),
        dry_run: false,
        settings: Document::new(&b"{}"[..]),
    }
}

/// The good module answers, before and after whatever its neighbour did.
fn beside_a_good_one<T>(neighbour: impl FnOnce() -> T) -> T {
    static GOOD: LazyLock<Loaded> = LazyLock::new(|| loaded("good"));
    let good_parent = serde_json::json!({
        "apiVersion": "example.com/v1", "kind": "Greeting",
        "metadata": {"name": "g", "namespace": "team", "uid": "u2", "generation": 1}, "spec": {"name": "Ada"},
    });
    let snapshot = Snapshot::of(Document::from_value(&good_parent));
    let expected = GOOD.reconcile_now(&snapshot).unwrap();
    let result = neighbour();
    assert_eq!(GOOD.reconcile_now(&snapshot).unwrap(), expected, "the good module lost a call");
    result
}

/// The module's failure when it is called; checks that it names the module and ends with what to do.
fn failing(name: &str) -> Failure {
    let module = loaded(name);
    let failure = beside_a_good_one(|| reconcile(&module)).unwrap_err();
    let text = failure.to_string();
    assert!(text.contains(&name.replace('_', "-")), "{text} does not name the module");
    assert!(text.contains("reconcile"), "{text} does not name the place");
    assert_eq!(failure.kind.blame(), Blame::Guest);
    failure
}

/// Why the plan refuses the module's answer.
fn rejected(name: &str) -> Rejection {
    let module = loaded(name);
    let desired = beside_a_good_one(|| reconcile(&module)).unwrap();
    let identity = parent().identity().unwrap();
    plan::plan(plan::Input {
        module: name,
        grants: &operator_core::Module::manifest(&module).grants,
        finalizer: false,
        place: Place { parent: Some("team"), target: "sys" },
        parent: &identity,
        finalizing: false,
        members: &[],
        existing: &std::collections::BTreeMap::new(),
        held: &[],
        desired: &desired,
        known: &plan::Known::default(),
    })
    .unwrap_err()
}

/// Why the module is not loaded.
fn refused(name: &str) -> LoadError {
    let component = operator_package::build(&fixtures::core_module(name).unwrap()).unwrap();
    let mut manifest = fixtures::manifest(name).build();
    manifest.webhooks.clear();
    let error = beside_a_good_one(|| ENGINE.load(manifest, "0".repeat(64).as_str(), &component)).unwrap_err();
    assert!(error.to_string().contains(&name.replace('_', "-")), "{error} does not name the module");
    error
}

/// Every fixture with what it must give. A fixture that is missing here fails the test below.
const EXPECTED: &[(&str, &str)] = &[
    ("good", "answers"),
    ("good_v2", "answers"),
    ("as_told", "answers"),
    ("asker", "answers"),
    ("three_children", "answers"),
    // What becomes of their admission is shown on a real API server: `tests/cluster/tests/webhook.rs`.
    ("bad_patch", "answers"),
    ("converter", "answers"),
    ("meddler", "answers"),
    ("admitter_only", "answers"),
    ("reconciler_only", "answers"),
    ("log_flood", "answers"),
    ("deep_recursion", "ModuleStackOverflow"),
    ("endless_loop_realloc", "ModuleTimedOut"),
    ("endless_loop_reconcile", "ModuleTimedOut"),
    ("huge_answer", "ModuleOutputExceeded"),
    ("memory_bomb", "ModuleMemoryExceeded"),
    ("non_utf8_answer", "ModuleAnswerInvalid"),
    ("panic_with_secret", "ModuleTrapped"),
    ("table_growth", "ModuleTableExceeded"),
    ("thousands_of_children", "ModuleOutputExceeded"),
    ("trap", "ModuleTrapped"),
    ("truncated_answer", "ModuleAnswerInvalid"),
    ("wrong_shape_answer", "ModuleAnswerInvalid"),
    ("lying_lengths", "ModuleAnswerInvalid"),
    ("duplicate_children", "DuplicateObject"),
    ("ungranted_kind", "Ungranted"),
    ("ungranted_namespace", "Ungranted"),
    ("manifest_contradicts", "ManifestDiffers"),
    ("missing_export", "ExportMissing"),
    ("other_contract_version", "ContractUnsupported"),
    ("unprovided_import", "ImportRefused"),
    ("endless_loop_start", "InstantiationFailed"),
    ("compiler_bomb", "CompileTimedOut|CompileMemoryExceeded"),
];

fn expected(name: &str) -> &'static str {
    EXPECTED.iter().find(|(fixture, _)| *fixture == name).unwrap().1
}

#[test]
fn the_asker_asks_what_its_parent_says() {
    let question = serde_json::json!({"apiVersion": "example.com/v1", "kind": "Question", "metadata": {"name": "q", "namespace": "n"},
        "spec": {"pod": "p", "command": ["scone"], "url": "http://example.org"}});
    let desired = loaded("asker").reconcile_now(&Snapshot::of(Document::from_value(&question))).unwrap();
    assert_eq!(desired.queries.iter().map(|query| query.id.as_str()).collect::<Vec<_>>(), ["command", "server"]);
}

#[test]
fn every_fixture_has_an_expectation() {
    for name in fixtures::names() {
        assert!(EXPECTED.iter().any(|(fixture, _)| *fixture == name), "fixture {name} has no host test");
    }
}

macro_rules! fails_when_called {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            let failure = failing(stringify!($name));
            assert_eq!(failure.kind.reason(), expected(stringify!($name)), "{failure}");
        }
    )*};
}

fails_when_called! {
    deep_recursion endless_loop_reconcile endless_loop_realloc huge_answer memory_bomb non_utf8_answer panic_with_secret
    table_growth thousands_of_children trap truncated_answer wrong_shape_answer lying_lengths
}

macro_rules! is_refused_by_the_plan {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            let rejection = rejected(stringify!($name));
            assert_eq!(rejection.reason(), expected(stringify!($name)), "{rejection}");
        }
    )*};
}

is_refused_by_the_plan! { duplicate_children ungranted_kind ungranted_namespace }

macro_rules! is_refused_at_load {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            let error = refused(stringify!($name));
            assert!(expected(stringify!($name)).split('|').any(|reason| reason == error.reason()), "{error}");
        }
    )*};
}

is_refused_at_load! { missing_export unprovided_import endless_loop_start compiler_bomb }

#[test]
fn other_contract_version() {
    let component = operator_package::build(&fixtures::core_module("other_contract_version").unwrap()).unwrap();
    let mut manifest = fixtures::manifest("other_contract_version").build();
    manifest.contract = "9.0.0".into();
    let error = ENGINE.load(manifest, "0".repeat(64).as_str(), &component).unwrap_err();
    assert_eq!(error.reason(), expected("other_contract_version"));
    let text = error.to_string();
    assert!(text.contains("9.0.0") && text.contains(operator_core::contract::CONTRACT_VERSION), "{text}");
}

#[test]
fn good_and_its_next_version_answer() {
    let good_parent = serde_json::json!({
        "apiVersion": "example.com/v1", "kind": "Greeting",
        "metadata": {"name": "g", "namespace": "team", "uid": "u2", "generation": 1}, "spec": {"name": "Ada"},
    });
    let snapshot = Snapshot::of(Document::from_value(&good_parent));
    let [one, two] = ["good", "good_v2"].map(|name| loaded(name).reconcile_now(&snapshot).unwrap());
    assert_eq!(one.children.len(), two.children.len());
    assert_ne!(one.children, two.children, "the next version adds a label");
}

#[test]
fn three_children_wants_as_many_and_looks_at_nodes() {
    let trio = serde_json::json!({
        "apiVersion": "example.com/v1", "kind": "Trio",
        "metadata": {"name": "t", "namespace": "team", "uid": "u3", "generation": 1}, "spec": {"text": "all"},
    });
    let desired = loaded("three_children").reconcile_now(&Snapshot::of(Document::from_value(&trio))).unwrap();
    let kinds: Vec<&str> = desired.children.iter().map(|child| child.identity.kind.as_str()).collect();
    assert_eq!((kinds, desired.queries.len()), (vec!["ConfigMap", "Secret", "ServiceAccount"], 1));
}

#[test]
fn the_same_snapshot_gives_the_same_bytes() {
    let module = loaded("reconciler_only");
    assert_eq!(reconcile(&module).unwrap(), reconcile(&module).unwrap());
}

#[test]
fn reconciler_only_and_admitter_only_do_what_they_export_and_say_so_of_the_rest() {
    let admitter = loaded("admitter_only");
    assert!(admitter.admit_now(&request(Phase::Validate)).unwrap().denied.is_none());
    assert_eq!(reconcile(&admitter).unwrap_err().kind, FailureKind::NotExported);
    let reconciler = loaded("reconciler_only");
    assert!(reconcile(&reconciler).unwrap().status.is_some());
    assert_eq!(reconciler.admit_now(&request(Phase::Validate)).unwrap_err().kind, FailureKind::NotExported);
}

#[test]
fn log_flood_still_answers() {
    assert!(reconcile(&loaded("log_flood")).is_ok());
}

#[test]
fn a_panic_message_never_reaches_the_error() {
    let failure = failing("panic_with_secret");
    assert!(!format!("{failure} {failure:?}").contains(SECRET));
}

#[test]
fn files_that_are_no_package_are_refused_with_their_reason() {
    let good = packaged("good");
    let core = fixtures::core_module("good").unwrap();
    let refusal = |bytes: &[u8]| read(bytes).unwrap_err();
    assert_eq!(refusal(&core).reason(), "CoreModule");
    assert_eq!(refusal(&fixtures::with_truncation(&good)).reason(), "Truncated");
    assert_eq!(refusal(&fixtures::with_oversize(&good, 65 << 20)).reason(), "TooLarge");
    assert_eq!(refusal(b"").reason(), "NotWasm");
}

#[test]
fn manifest_contradicts() {
    let component = operator_package::build(&fixtures::core_module("manifest_contradicts").unwrap()).unwrap();
    let mut of_another = read(&packaged("good")).unwrap().manifest;
    of_another.webhooks.clear();
    let error = ENGINE.load(of_another, &"1".repeat(64), &component).unwrap_err();
    assert_eq!(error.reason(), expected("manifest_contradicts"), "{error}");
    assert!(error.to_string().contains("good"), "{error} does not name the module");
}

#[test]
fn a_corrupted_cache_entry_is_noticed_and_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let open = || cap_std::fs::Dir::open_ambient_dir(folder.path(), cap_std::ambient_authority()).unwrap();
    let package = read(&packaged("good")).unwrap();
    let load = || {
        let config = EngineConfig::new(Compiler::locate().unwrap()).with_cache(open());
        let engine = Engine::new(config).unwrap();
        engine.load(package.manifest.clone(), &package.digest, &package.component)
    };
    load().unwrap();
    let entries = corrupt_entries(folder.path());
    assert!(entries > 0, "nothing was cached");
    load().unwrap();
}

/// Flips one byte in the middle of every large file below a folder; tells how many there were.
fn corrupt_entries(folder: &std::path::Path) -> usize {
    let mut corrupted = 0;
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            corrupted += corrupt_entries(&entry.path());
        } else if entry.metadata().unwrap().len() > 10_000 {
            let mut bytes = std::fs::read(entry.path()).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0xff;
            std::fs::remove_file(entry.path()).unwrap();
            std::fs::write(entry.path(), bytes).unwrap();
            corrupted += 1;
        }
    }
    corrupted
}

#[test]
fn a_thousand_swaps_under_load_lose_no_call() {
    use operator_core::{Module, Serving};
    let one: Arc<dyn Module> = Arc::new(loaded("good"));
    let two: Arc<dyn Module> = Arc::new(loaded("good_v2"));
    let serving = Arc::new(Serving::new(Arc::clone(&one)));
    let good_parent = serde_json::json!({
        "apiVersion": "example.com/v1", "kind": "Greeting",
        "metadata": {"name": "g", "namespace": "team", "uid": "u2", "generation": 1}, "spec": {"name": "Ada"},
    });
    let snapshot = Snapshot::of(Document::from_value(&good_parent));
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let callers: Vec<_> = (0..2)
        .map(|_| {
            let (serving, snapshot, stop) = (Arc::clone(&serving), snapshot.clone(), Arc::clone(&stop));
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                let mut calls = 0_u32;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) || calls == 0 {
                    runtime.block_on(serving.current().reconcile(snapshot.clone())).unwrap();
                    calls += 1;
                }
                calls
            })
        })
        .collect();
    for round in 0..1_000 {
        serving.swap(Arc::clone(if round % 2 == 0 { &two } else { &one }));
        std::thread::yield_now();
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let calls: u32 = callers.into_iter().map(|caller| caller.join().unwrap()).sum();
    assert!(calls >= 2);
}
