//! What a call gives, and what a module that misbehaves costs.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests fail as tests do; clippy knows test functions only"
)]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use operator_contract::Budgets;
use operator_core::{Desired, Document, FailureKind, Module as _, Refusal, Snapshot};
use operator_engine::{Engine, EngineConfig};

mod support;

use support::{Guest, config, engine, request, snapshot};

fn failure(guest: &Guest) -> FailureKind {
    guest.load(&engine()).unwrap().reconcile_now(&snapshot()).unwrap_err().kind
}

/// A `reconcile` whose status is the parent's document: option, pointer, length.
const ECHO: &str = "(i32.store8 (i32.const 276) (i32.const 1)) (i32.store (i32.const 280) (local.get 0))
    (i32.store (i32.const 284) (local.get 1)) i32.const 256";
/// An `admit` whose object is that of the request.
const ECHO_ADMISSION: &str = "(i32.store8 (i32.const 292) (i32.const 1))
    (i32.store (i32.const 296) (i32.load offset=56 (local.get 0)))
    (i32.store (i32.const 300) (i32.load offset=60 (local.get 0))) i32.const 256";

/// A module whose answers are what it is asked.
fn echo() -> Guest {
    Guest { admit: ECHO_ADMISSION.into(), ..Guest::reconciling(ECHO) }
}

/// A parent that differs from all others.
fn numbered(number: usize) -> Snapshot {
    let parent = format!(r#"{{"apiVersion":"example.org/v1","kind":"Thing","metadata":{{"name":"a-{number}"}}}}"#);
    Snapshot::of(Document::new(parent.into_bytes()))
}

/// What `echo` answers.
fn echoed(snapshot: &Snapshot) -> Desired {
    Desired { status: Some(snapshot.parent.clone()), ..Desired::default() }
}

#[test]
fn an_empty_answer_is_an_answer_and_comes_from_the_module() {
    let called = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&called);
    let config = config().with_observer(Arc::new(move |_, function, _, failure| {
        assert!(failure.is_none(), "{failure:?}");
        hears.lock().unwrap().push(function);
    }));
    let module = Guest::new("wat").load(&Engine::new(config).unwrap()).unwrap();
    assert_eq!(module.reconcile_now(&snapshot()).unwrap(), Desired::default());
    assert_eq!(module.admit_now(&request()).unwrap(), operator_core::Verdict::default());
    assert_eq!(module.validate_settings_now(&snapshot().settings).unwrap(), Ok(()));
    assert_eq!(module.convert_now("example.org/v2", &[]).unwrap(), []);
    assert_eq!(*called.lock().unwrap(), ["describe", "reconcile", "admit", "validate-settings", "convert"]);
}

#[test]
fn a_call_can_be_awaited_on_any_runtime_and_gives_what_the_module_said() {
    let module = echo().load(&engine()).unwrap();
    let current = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let many = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    for (number, runtime) in [current, many].iter().enumerate() {
        let (snapshot, mut request) = (numbered(number), request());
        request.object = Some(snapshot.parent.clone());
        assert_eq!(runtime.block_on(module.reconcile(snapshot.clone())).unwrap(), echoed(&snapshot));
        assert_eq!(runtime.block_on(module.admit(request)).unwrap().object, Some(snapshot.parent));
    }
}

#[test]
fn nothing_that_a_call_leaves_behind_is_seen_by_the_next() {
    // Traps when the word that it writes is there already.
    let body = "(if (i32.load (i32.const 200000)) (then unreachable))
        (i32.store (i32.const 200000) (i32.const 1)) i32.const 256";
    let module = Guest::reconciling(body).load(&engine()).unwrap();
    for _ in 0..50 {
        module.reconcile_now(&snapshot()).unwrap();
    }
}

#[test]
fn documents_arrive_in_the_module_and_come_back() {
    let module = echo().load(&engine()).unwrap();
    for snapshot in [snapshot(), numbered(1)] {
        assert_eq!(module.reconcile_now(&snapshot).unwrap(), echoed(&snapshot));
    }
}

#[test]
fn a_trap_names_what_happened_and_where() {
    let guest = Guest::reconciling("(call $explode) i32.const 256").with_items("(func $explode unreachable)");
    let FailureKind::Trap { what, frames } = failure(&guest) else { panic!() };
    assert_eq!(what, "wasm `unreachable` instruction executed");
    assert_eq!(frames[0], "explode");
}

#[test]
fn an_endless_loop_ends_at_the_deadline() {
    let guest = Guest::reconciling("(loop (br 0)) i32.const 256")
        .with_budgets(Budgets { time_ms: Some(20), ..Budgets::default() });
    assert_eq!(failure(&guest), FailureKind::Deadline { limit_ms: 20 });
}

#[test]
fn a_module_that_wants_more_memory_than_its_budget_is_told_apart_from_one_that_traps() {
    let body = "(if (i32.eq (memory.grow (i32.const 1000)) (i32.const -1)) (then unreachable)) i32.const 256";
    assert_eq!(failure(&Guest::reconciling(body)), FailureKind::Memory { limit_kib: 16 * 1024 });
}

#[test]
fn a_module_that_copes_without_the_memory_is_left_alone() {
    let body = format!("(drop (memory.grow (i32.const 1000))) {ECHO}");
    let module = Guest::reconciling(&body).load(&engine()).unwrap();
    assert_eq!(module.reconcile_now(&snapshot()).unwrap(), echoed(&snapshot()));
}

#[test]
fn a_table_beyond_the_budget_is_refused() {
    let guest = Guest::reconciling(
        "(if (i32.eq (table.grow $t (ref.null func) (i32.const 1000000)) (i32.const -1)) (then unreachable)) i32.const 256",
    )
    .with_items("(table $t 1 funcref)");
    assert_eq!(failure(&guest), FailureKind::Table { limit: 10_000 });
}

#[test]
fn endless_recursion_is_a_stack_overflow() {
    let guest = Guest::reconciling("(drop (call $deep (i32.const 1))) i32.const 256")
        .with_items("(func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (local.get 0)))");
    let FailureKind::Stack { frames } = failure(&guest) else { panic!() };
    assert_eq!(frames[0], "deep");
}

#[test]
fn recursion_that_uses_up_the_stack_below_the_data_is_a_stack_overflow() {
    let guest = Guest::reconciling("(call $deep) i32.const 256").with_items(
        "(global $sp (mut i32) (i32.const 65536))
         (func $deep (global.set $sp (i32.sub (global.get $sp) (i32.const 1024)))
            (i64.store (global.get $sp) (i64.const 1)) (call $deep) (i64.store (global.get $sp) (i64.const 2)))",
    );
    let kind = failure(&guest);
    assert!(matches!(kind, FailureKind::Stack { .. }), "{kind}");
}

#[test]
fn an_access_beyond_the_memory_is_a_trap() {
    let kind = failure(&Guest::reconciling("(drop (i32.load (i32.const -8))) i32.const 256"));
    let FailureKind::Trap { what, .. } = kind else { panic!("{kind}") };
    assert_eq!(what, "out of bounds memory access");
}

#[test]
fn instructions_are_counted_the_same_each_time() {
    let engine = Engine::new(config().counting_instructions()).unwrap();
    let module = Guest::new("wat").load(&engine).unwrap();
    let used: Vec<u64> = (0..3).map(|_| module.reconcile_metered(&snapshot()).1.instructions.unwrap()).collect();
    assert!(used[0] > 0 && used[0] == used[1] && used[1] == used[2], "{used:?}");
    let endless = Guest::reconciling("(loop (br 0)) i32.const 256")
        .with_budgets(Budgets { instructions: Some(1_000_000), ..Budgets::default() });
    let kind = endless.load(&engine).unwrap().reconcile_now(&snapshot()).unwrap_err().kind;
    assert_eq!(kind, FailureKind::Instructions { limit: 1_000_000 });
}

/// A `reconcile` whose status is so many bytes of zeros at the start of the memory.
fn status_of(bytes: u32) -> String {
    format!(
        "(i32.store8 (i32.const 276) (i32.const 1)) (i32.store (i32.const 280) (i32.const 140000))
         (i32.store (i32.const 284) (i32.const {bytes})) i32.const 256"
    )
}

#[test]
fn an_answer_larger_than_the_budget_is_refused() {
    let budgets = Budgets { output_bytes: Some(1000), ..Budgets::default() };
    let kind = failure(&Guest::reconciling(&status_of(2000)).with_budgets(budgets));
    assert_eq!(kind, FailureKind::Output { what: "bytes", size: 2016, limit: 1000, raise: "budgets.outputBytes" });
}

#[test]
fn an_answer_that_is_far_too_large_is_not_even_copied() {
    // Pins the engine's wording, which is all there is to tell this error by.
    let guest = Guest { pages: 160, ..Guest::reconciling(&status_of(9_500_000)) };
    let kind = failure(&guest);
    assert!(matches!(kind, FailureKind::Output { what: "bytes", .. }), "{kind}");
}

#[test]
fn an_answer_outside_the_memory_is_invalid() {
    let kind = failure(&Guest::reconciling(&status_of(1_000_000)));
    let FailureKind::InvalidAnswer { place, .. } = kind else { panic!("{kind}") };
    assert_eq!(place, "reconcile");
}

#[test]
fn an_answer_that_is_no_json_names_the_place() {
    let kind = failure(&Guest::reconciling(&status_of(3)));
    let FailureKind::InvalidAnswer { place, .. } = kind else { panic!("{kind}") };
    assert_eq!(place, "status");
}

#[test]
fn a_modules_own_refusal_is_passed_on() {
    // err(retry("wat")): variant 2 at offset 4, text at offset 8.
    let body = "(i32.store8 (i32.const 256) (i32.const 1)) (i32.store8 (i32.const 260) (i32.const 2))
        (i32.store (i32.const 264) (i32.const 600)) (i32.store (i32.const 268) (i32.const 3)) i32.const 256";
    let guest = Guest::reconciling(body).with_items(r#"(data (i32.const 600) "wat")"#);
    assert_eq!(failure(&guest), FailureKind::Refused(Refusal::Retry("wat".into())));
}

#[test]
fn an_unknown_variant_is_an_invalid_answer() {
    let kind = failure(&Guest::reconciling("(i32.store8 (i32.const 256) (i32.const 7)) i32.const 256"));
    assert!(matches!(kind, FailureKind::InvalidAnswer { .. }), "{kind}");
}

#[test]
fn a_function_that_is_not_exported_is_named() {
    let mut guest = Guest { world: "reconciler", ..Guest::new("wat") };
    guest.manifest.webhooks.clear();
    let failure = guest.load(&engine()).unwrap().admit_now(&request()).unwrap_err();
    assert_eq!((failure.function, failure.kind), ("admit", FailureKind::NotExported));
}

#[test]
fn an_admitter_loads_without_reconcile() {
    let mut guest = Guest { world: "admitter", ..Guest::new("wat") };
    guest.manifest.kinds.clear();
    guest.admit = ECHO_ADMISSION.into();
    assert_eq!(guest.load(&engine()).unwrap().admit_now(&request()).unwrap().object, request().object);
}

#[test]
fn calls_that_find_no_slot_are_told_that_the_host_is_busy() {
    let config = EngineConfig { slots: 1, threads: 1, max_wait: Duration::ZERO, ..config() };
    let engine = Engine::new(config).unwrap();
    let looping = Guest::reconciling("(loop (br 0)) i32.const 256")
        .with_budgets(Budgets { time_ms: Some(300), ..Budgets::default() })
        .load(&engine)
        .unwrap();
    let module = Guest::new("wat").load(&engine).unwrap();
    std::thread::scope(|scope| {
        // Either may find the slot taken by the other; the long call tries until it had it.
        let long = scope.spawn(|| {
            let mut calls = std::iter::repeat_with(|| looping.reconcile_now(&snapshot()).unwrap_err().kind);
            calls.find(|kind| !matches!(kind, FailureKind::Busy { .. })).unwrap()
        });
        let kind = std::iter::repeat_with(|| module.reconcile_now(&snapshot())).find_map(Result::err).unwrap().kind;
        assert!(matches!(kind, FailureKind::Busy { .. }), "{kind}");
        assert_eq!(long.join().unwrap(), FailureKind::Deadline { limit_ms: 300 });
    });
}

#[test]
fn a_thousand_traps_leave_all_slots_free() {
    let module = Guest::reconciling("unreachable").load(&engine()).unwrap();
    for _ in 0..1000 {
        assert!(matches!(module.reconcile_now(&snapshot()).unwrap_err().kind, FailureKind::Trap { .. }));
    }
}

#[test]
fn calls_of_many_threads_get_each_its_own_answer() {
    let module = echo().load(&engine()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let module = &module;
            scope.spawn(move || {
                for call in 0..200 {
                    let snapshot = numbered(thread * 1000 + call);
                    assert_eq!(module.reconcile_now(&snapshot).unwrap(), echoed(&snapshot));
                }
            });
        }
    });
}

#[test]
fn the_observer_hears_of_each_call() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let (telling, config) = (Arc::clone(&heard), config());
    let config = config.with_observer(Arc::new(move |module, function, usage, failure| {
        let outcome = failure.map_or("ok", |failure| failure.kind.reason());
        telling.lock().unwrap().push(format!("{} {function} {outcome} {}", module.name, usage.memory_bytes));
    }));
    let engine = Engine::new(config).unwrap();
    Guest::new("good").load(&engine).unwrap().reconcile_now(&snapshot()).unwrap();
    Guest { manifest: support::manifest("bad"), ..Guest::reconciling("unreachable") }
        .load(&engine)
        .unwrap()
        .reconcile_now(&snapshot())
        .unwrap_err();
    let expected = [
        "good describe ok 262144",
        "good reconcile ok 262144",
        "bad describe ok 262144",
        "bad reconcile ModuleTrapped 262144",
    ];
    assert_eq!(*heard.lock().unwrap(), expected);
}

const LOG: &str = r#"(import "scone:operator/logger@1.0.0" "write" (func $log (param i32 i32 i32)))"#;

#[test]
fn a_module_that_logs_without_end_gets_its_answer_through() {
    let body = "(local $n i32) (local.set $n (i32.const 10000))
        (loop (call $log (i32.const 1) (i32.const 65536) (i32.const 20))
            (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))";
    let guest = Guest { imports: LOG.into(), ..Guest::reconciling(&format!("{body} {ECHO}")) };
    let (answer, usage) = guest.load(&engine()).unwrap().reconcile_metered(&snapshot());
    assert_eq!(answer.unwrap(), echoed(&snapshot()));
    assert_eq!(usage.log_lines, 10_000);
}

#[test]
fn what_a_module_logs_reaches_the_hosts_log_in_one_line() {
    let written = Arc::new(Mutex::new(Vec::new()));
    let writer = Arc::clone(&written);
    let subscriber = tracing_subscriber::fmt()
        .without_time()
        .with_ansi(false)
        .with_writer(move || Writer(Arc::clone(&writer)))
        .finish();
    let body = "(call $log (i32.const 2) (i32.const 600) (i32.const 9)) i32.const 256";
    let guest = Guest { imports: LOG.into(), ..Guest::reconciling(body) };
    let guest = guest.with_items(r#"(data (i32.const 600) "odd\0aline\ff")"#);
    let module = guest.load(&engine()).unwrap();
    tracing::subscriber::with_default(subscriber, || module.reconcile_now(&snapshot()).unwrap());
    assert_eq!(
        String::from_utf8(written.lock().unwrap().clone()).unwrap(),
        " WARN module: odd\\nline\u{fffd} module=\"wat\" generation=wat 1.2.3 (sha256:000000000000)\n"
    );
}

struct Writer(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
