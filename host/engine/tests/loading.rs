//! What is loaded, what is refused and why, and what the cache does.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests fail as tests do; clippy knows test functions only"
)]

use std::{fs, path::Path};

use operator_contract::Budgets;
use operator_core::FailureKind;
use operator_engine::{CompileError, CompileLimits, Compiler, Engine, EngineConfig, LoadError};

mod support;

use support::{Guest, compiler, config, engine, folder, snapshot};

fn refused(guest: &Guest) -> LoadError {
    guest.load(&engine()).unwrap_err()
}

#[test]
fn bytes_that_are_no_component_are_refused() {
    for bytes in [&b""[..], b"\0asm\x01\0\0\0", b"hello"] {
        let error = engine().load(support::manifest("m"), "", bytes).unwrap_err();
        assert!(matches!(&error, LoadError::Compile { why: CompileError::Invalid { .. }, .. }), "{error}");
        assert_eq!(error.reason(), "ComponentInvalid");
    }
}

#[test]
fn another_contract_is_refused_before_anything_is_compiled() {
    let mut manifest = support::manifest("m");
    manifest.contract = "2.0.0".into();
    let error = engine().load(manifest, "", b"not even wasm").unwrap_err();
    assert_eq!(error.reason(), "ContractUnsupported");
}

#[test]
fn an_import_that_no_module_gets_is_refused_by_name() {
    let guest = Guest {
        contract: vec![(
            "world operator {",
            "interface net { open: func(host: string); }\nworld operator {\n    import net;",
        )],
        imports: r#"(import "scone:operator/net@1.0.0" "open" (func (param i32 i32)))"#.into(),
        ..Guest::new("m")
    };
    let error = refused(&guest);
    assert!(
        matches!(&error, LoadError::ForeignImport { import, .. } if import == "scone:operator/net@1.0.0"),
        "{error}"
    );
}

#[test]
fn a_logger_with_another_case_is_refused_with_the_difference() {
    let guest = Guest {
        contract: vec![("        /// Something is broken.\n", "        fatal,\n")],
        imports: r#"(import "scone:operator/logger@1.0.0" "write" (func (param i32 i32 i32)))"#.into(),
        ..Guest::new("m")
    };
    let error = refused(&guest);
    let LoadError::Incompatible { interface, why, .. } = &error else { panic!("{error}") };
    assert_eq!(interface, "scone:operator/logger");
    assert!(why.contains("write") && why.contains("enum"), "{why}");
}

#[test]
fn an_answer_with_another_field_is_refused_with_the_difference() {
    let guest = Guest { contract: vec![("        finalized: bool,", "        finished: bool,")], ..Guest::new("m") };
    let error = refused(&guest);
    let LoadError::Incompatible { interface, found, why, .. } = &error else { panic!("{error}") };
    assert_eq!((interface.as_str(), found.as_str()), ("scone:operator/reconciliation", "1.0.0"));
    assert!(why.contains("finalized"), "{why}");
}

#[test]
fn an_interface_of_another_version_is_refused_with_both_versions() {
    let guest = Guest { contract: vec![("operator@1.0.0", "operator@2.0.0")], ..Guest::new("m") };
    let error = refused(&guest);
    let LoadError::Incompatible { interface, found, host, .. } = &error else { panic!("{error}") };
    assert_eq!((interface.as_str(), found.as_str(), *host), ("scone:operator/lifecycle", "2.0.0", "1.0.0"));
}

#[test]
fn a_manifest_with_webhooks_needs_admission() {
    let error = refused(&Guest { world: "reconciler", ..Guest::new("m") });
    assert_eq!(
        error.to_string(),
        "module m does not export scone:operator/admission@1.0.0, but its manifest names webhooks; export it, or change the manifest"
    );
}

#[test]
fn a_manifest_that_differs_from_what_the_module_says_is_refused_each_time() {
    let place = tempfile::tempdir().unwrap();
    let engine = Engine::new(config().with_cache(folder(place.path()))).unwrap();
    let mut other = support::manifest("m");
    other.kinds[0].plural = "thingies".into();
    let guest = Guest { described: Some(serde_json::to_string(&other).unwrap()), ..Guest::new("m") };
    for _ in 0..2 {
        let error = guest.load(&engine).unwrap_err();
        assert!(matches!(&error, LoadError::ManifestDiffers { place, .. } if place == "kinds.0.plural"), "{error}");
    }
}

#[test]
fn a_module_that_traps_when_it_describes_itself_is_refused() {
    let guest = Guest { described: Some("[]".into()), ..Guest::new("m") };
    assert_eq!(refused(&guest).reason(), "DescribeFailed");
}

#[test]
fn a_module_whose_first_memory_exceeds_its_budget_is_refused() {
    let guest = Guest::new("m").with_budgets(Budgets { memory_kib: Some(64), ..Budgets::default() });
    let error = refused(&guest);
    assert!(matches!(&error, LoadError::Instantiation { why, .. } if why.contains("64 KiB")), "{error}");
}

#[test]
fn a_module_whose_start_code_traps_is_refused() {
    let guest = Guest::new("m").with_items("(func $start unreachable) (start $start)");
    assert_eq!(refused(&guest).reason(), "InstantiationFailed");
}

/// A module that imports a clock and a resource, as tools for wasip2 make them.
fn wasi(body: &str) -> Guest {
    Guest {
        package: "package wasi:clocks@0.2.3; interface wall-clock { resource pollable; now: func() -> u64; }",
        contract: vec![("world operator {", "world operator {\n    import wasi:clocks/wall-clock@0.2.3;")],
        imports: r#"(import "wasi:clocks/wall-clock@0.2.3" "now" (func $now (result i64)))"#.into(),
        ..Guest::reconciling(body)
    }
}

#[test]
fn a_module_may_be_linked_with_wasi() {
    assert!(wasi("i32.const 256").load(&engine()).unwrap().reconcile_now(&snapshot()).is_ok());
}

#[test]
fn a_module_that_calls_wasi_fails_and_the_function_is_named() {
    let module = wasi("(drop (call $now)) i32.const 256").load(&engine()).unwrap();
    let kind = module.reconcile_now(&snapshot()).unwrap_err().kind;
    let FailureKind::Trap { what, .. } = &kind else { panic!("{kind}") };
    assert_eq!(what, "it called wasi:clocks/wall-clock@0.2.3#now, which no module gets");
}

#[test]
fn describe_asks_a_component_without_a_manifest() {
    let guest = Guest::new("m");
    let described = engine().describe(&guest.component()).unwrap();
    assert_eq!(described, serde_json::to_vec(&guest.manifest).unwrap());
}

#[test]
fn no_call_clears_what_describing_the_module_wrote() {
    let kept = |describing| {
        let engine = engine();
        let module = Guest { describing, ..Guest::new("m") }.load(&engine).unwrap();
        module.reconcile_now(&snapshot()).unwrap();
        engine.kept_bytes()
    };
    assert_eq!(kept("(memory.fill (i32.const 131072) (i32.const 1) (i32.const 65536))"), kept(""));
}

// The cache.

fn cached(place: &Path, compiler: Compiler) -> Engine {
    Engine::new(EngineConfig { compiler, ..config() }.with_cache(folder(place))).unwrap()
}

/// A compiler that is not there: whatever loads comes from the cache.
fn none() -> Compiler {
    Compiler::at("/nowhere")
}

fn code(place: &Path) -> std::path::PathBuf {
    let mut files = fs::read_dir(place.join("compiled")).unwrap().map(|file| file.unwrap().path());
    files.find(|file| file.extension().is_some_and(|e| e == "cwasm")).unwrap()
}

#[test]
fn a_module_is_compiled_once_and_then_mapped() {
    let place = tempfile::tempdir().unwrap();
    Guest::new("m").load(&cached(place.path(), compiler())).unwrap();
    let module = Guest::new("m").load(&cached(place.path(), none())).unwrap();
    assert!(module.reconcile_now(&snapshot()).is_ok());
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    assert!(maps.contains(code(place.path()).to_str().unwrap()), "the code is not mapped from its file");
}

#[test]
fn code_that_was_tampered_with_is_never_run_but_compiled_again() {
    let place = tempfile::tempdir().unwrap();
    Guest::new("m").load(&cached(place.path(), compiler())).unwrap();
    let file = code(place.path());
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    let error = Guest::new("m").load(&cached(place.path(), none())).unwrap_err();
    assert_eq!(error.reason(), "CompilerMissing");
    assert!(!file.exists());
    assert!(Guest::new("m").load(&cached(place.path(), compiler())).is_ok());
}

// The compiler's limits, with the real compiler.

/// Loads a module with a function that takes some work to compile.
fn limited(limits: CompileLimits) -> LoadError {
    let body = "i32.const 3 i32.mul i32.clz ".repeat(100_000);
    let compiler = Compiler { limits, ..compiler() };
    let engine = Engine::new(EngineConfig { compiler, ..config() }).unwrap();
    let guest =
        Guest::new("m").with_items(&format!("(func (export \"long\") (param i32) (result i32) local.get 0 {body})"));
    guest.load(&engine).unwrap_err()
}

#[test]
fn a_component_that_takes_too_much_memory_to_compile_is_refused() {
    let error = limited(CompileLimits { address_space_mib: 64, ..CompileLimits::default() });
    assert_eq!(error.reason(), "CompileMemoryExceeded", "{error}");
}

#[test]
fn a_component_that_takes_too_long_to_compile_is_refused() {
    let error = limited(CompileLimits { wall: std::time::Duration::from_millis(1), ..CompileLimits::default() });
    assert_eq!(error.reason(), "CompileTimedOut", "{error}");
}

#[test]
fn a_component_whose_code_is_too_large_is_refused() {
    let error = limited(CompileLimits { output_mib: 0, ..CompileLimits::default() });
    assert_eq!(error.reason(), "CompileOutputExceeded", "{error}");
}
