//! Memory over many failures. Alone in its program: other tests would move the figure.
#![cfg(test)]

use operator_core::{Document, Snapshot};
use operator_engine::{Compiler, Engine, EngineConfig};

#[test]
fn memory_is_flat_over_ten_thousand_traps() {
    let engine = Engine::new(EngineConfig::new(Compiler::locate().unwrap())).unwrap();
    let component = operator_package::build(&fixtures::core_module("trap").unwrap()).unwrap();
    let manifest = serde_json::from_slice(&engine.describe(&component).unwrap()).unwrap();
    let module = engine.load(manifest, &"0".repeat(64), &component).unwrap();
    let parent = serde_json::json!({
        "apiVersion": "fixtures.example.com/v1", "kind": "Probe", "metadata": {"name": "p", "namespace": "team"}, "spec": {},
    });
    let snapshot = Snapshot::of(Document::from_value(&parent));
    let trap = || assert_eq!(module.reconcile_now(&snapshot).unwrap_err().kind.reason(), "ModuleTrapped");
    (0..2_000).for_each(|_| trap());
    let before = resident_kib();
    (0..10_000).for_each(|_| trap());
    let grown = resident_kib().saturating_sub(before);
    // A leak of one page a trap would be 40,000 KiB.
    assert!(grown < 1_024, "resident memory grew by {grown} KiB over 10,000 traps");
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
