//! Ring engine: misbehaving modules, one behaviour each, run for real. Each gives its own typed error that names module, place
//! and fix, and a good module called beside it loses no call.

#![cfg(test)]

mod answering;
mod cached;
mod swapped;

use std::{
    cell::Cell,
    collections::BTreeSet,
    sync::{Arc, LazyLock},
    time::Duration,
};

use operator_core::{
    Blame, Document, Failure, ObjectRef, Rejection, Request, Snapshot, User,
    contract::{Operation, Phase},
    grants::Place,
    plan,
};
use operator_engine::{Compiler, Engine, EngineConfig, LoadError, Loaded};
use operator_package::{Package, PackageError};
use serde_json::{Value, json};

/// One engine for the whole ring, as in a host: neighbours really are neighbours.
static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let mut compiler = Compiler::locate().unwrap();
    // Small enough for the bomb to go off quickly, large enough for every ordinary module.
    compiler.limits.cpu_seconds = 20;
    compiler.limits.wall = Duration::from_secs(40);
    let mut config = EngineConfig::new(compiler);
    // Modules that never answer have a budget of their own; no other test is about time.
    config.defaults.time_ms = 60_000;
    config.ceilings.time_ms = 60_000;
    config.ceilings.memory_kib = 512 * 1024;
    Engine::new(config.with_observer(Arc::new(|_, function, _, failure| {
        let answers = function != "describe" && failure.is_none();
        ANSWERS.set(ANSWERS.get() + u32::from(answers));
    })))
    .unwrap()
});

thread_local! {
    /// How often a module gave the test on this thread an answer.
    static ANSWERS: Cell<u32> = const { Cell::new(0) };
}

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
    let parent = json!({
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

/// A request to create an object in the namespace `team`.
fn request(phase: Phase, object: &Value) -> Request {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap();
    let identity = ObjectRef::namespaced(text("/apiVersion"), text("/kind"), "team", text("/metadata/name"));
    Request {
        phase,
        operation: Operation::Create,
        identity,
        subresource: None,
        object: Some(Document::from_value(object)),
        old_object: None,
        user: User::default(),
        dry_run: false,
        settings: Document::new(&b"{}"[..]),
    }
}

/// What `good` and its next version serve.
fn greeting() -> Value {
    json!({
        "apiVersion": "example.com/v1", "kind": "Greeting",
        "metadata": {"name": "g", "namespace": "team", "uid": "u2", "generation": 1}, "spec": {"name": "Ada"},
    })
}

fn snapshot(parent: &Value) -> Snapshot {
    Snapshot::of(Document::from_value(parent))
}

/// The good module answers, before and after whatever its neighbour did.
fn beside_a_good_one<T>(neighbour: impl FnOnce() -> T) -> T {
    static GOOD: LazyLock<Loaded> = LazyLock::new(|| loaded("good"));
    let expected = GOOD.reconcile_now(&snapshot(&greeting())).unwrap();
    assert_eq!(expected.children.len(), 1, "an answer that says something");
    let result = neighbour();
    assert_eq!(GOOD.reconcile_now(&snapshot(&greeting())).unwrap(), expected, "the good module lost a call");
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
    let manifest = fixtures::manifest(name).budgets(fixtures::impatient()).build();
    let error = beside_a_good_one(|| ENGINE.load(manifest, "0".repeat(64).as_str(), &component)).unwrap_err();
    assert!(error.to_string().contains(&name.replace('_', "-")), "{error} does not name the module");
    error
}

/// Every misbehaving fixture with what it must give.
const EXPECTED: &[(&str, &str)] = &[
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
fn every_fixture_is_called_or_loaded_by_a_test() {
    let by_hand: Vec<&str> = BY_HAND.iter().map(|(name, _)| *name).collect();
    let shown = [answering::NAMES, FAILING, REJECTED, REFUSED, &by_hand].concat();
    assert_eq!(shown.iter().collect::<BTreeSet<_>>(), fixtures::names().collect::<Vec<_>>().iter().collect());
    assert!(EXPECTED.iter().all(|(name, _)| shown.contains(name)), "{shown:?}");
}

/// Fixtures that need a word more than their names, with their tests.
const BY_HAND: [(&str, fn()); 2] =
    [("manifest_contradicts", manifest_contradicts), ("other_contract_version", other_contract_version)];

macro_rules! fails_when_called {
    ($($name:ident)*) => {
        const FAILING: &[&str] = &[$(stringify!($name)),*];
        $(#[test]
        fn $name() {
            let failure = failing(stringify!($name));
            assert_eq!(failure.kind.reason(), expected(stringify!($name)), "{failure}");
        })*
    };
}

fails_when_called! {
    deep_recursion endless_loop_reconcile endless_loop_realloc huge_answer memory_bomb non_utf8_answer panic_with_secret
    table_growth thousands_of_children trap truncated_answer wrong_shape_answer lying_lengths
}

macro_rules! is_refused_by_the_plan {
    ($($name:ident)*) => {
        const REJECTED: &[&str] = &[$(stringify!($name)),*];
        $(#[test]
        fn $name() {
            let rejection = rejected(stringify!($name));
            assert_eq!(rejection.reason(), expected(stringify!($name)), "{rejection}");
        })*
    };
}

is_refused_by_the_plan! { duplicate_children ungranted_kind ungranted_namespace }

macro_rules! is_refused_at_load {
    ($($name:ident)*) => {
        const REFUSED: &[&str] = &[$(stringify!($name)),*];
        $(#[test]
        fn $name() {
            let error = refused(stringify!($name));
            assert!(expected(stringify!($name)).split('|').any(|reason| reason == error.reason()), "{error}");
        })*
    };
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
