//! What a failed call means: read from the type of the error and from what the limits refused, never guessed.

use operator_core::FailureKind;
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};

use crate::{Budget, limits::Refused};

/// Most frames in a failure, innermost first.
const FRAMES: usize = 16;
/// Longest name of a function in a failure, in characters.
const NAME: usize = 120;
/// Longest text of the engine in a failure, in characters.
const TEXT: usize = 300;
/// A function that often on the stack means recursion.
const RECURSION: usize = 8;

/// A call of a function of WASI, which is there and does nothing but fail.
#[derive(Debug, thiserror::Error)]
#[error("{0} was called")]
pub(crate) struct CalledWasi(pub(crate) String);

/// What happened in a call of `function`.
pub(crate) fn kind(
    function: &'static str,
    error: &wasmtime::Error,
    refused: Option<Refused>,
    budget: &Budget,
) -> FailureKind {
    let trap = error.downcast_ref::<Trap>().copied();
    let frames = frames(error);
    match (trap, refused) {
        (Some(Trap::Interrupt), _) => FailureKind::Deadline { limit_ms: budget.time_ms.into() },
        (Some(Trap::OutOfFuel), _) => FailureKind::Instructions { limit: budget.instructions },
        // A module that gets no memory usually traps; the reason is the memory, and not the trap.
        (_, Some(Refused::Memory)) => FailureKind::Memory { limit_kib: budget.memory_kib.into() },
        (_, Some(Refused::Table)) => FailureKind::Table { limit: budget.table_elements as usize },
        (Some(Trap::StackOverflow), _) => FailureKind::Stack { frames },
        // The SDK puts the stack below the data: it ends at address zero, and recursion ends in an access beyond all memory.
        (Some(Trap::MemoryOutOfBounds), _) if recursive(error) => FailureKind::Stack { frames },
        (
            Some(
                trap @ (Trap::InvalidChar
                | Trap::StringOutOfBounds
                | Trap::ListOutOfBounds
                | Trap::InvalidDiscriminant
                | Trap::UnalignedPointer),
            ),
            _,
        ) => unreadable(function, &trap.to_string()),
        (Some(trap), _) => {
            let text = trap.to_string();
            FailureKind::Trap { what: text.trim_start_matches("wasm trap: ").to_owned(), frames }
        }
        (None, None) => without_trap(function, error, frames, budget),
    }
}

/// Why a fresh instance could not be made, in words.
pub(crate) fn instantiation(error: &wasmtime::Error, refused: Option<Refused>, budget: &Budget) -> String {
    let kind = kind("instantiation", error, refused, budget);
    match kind {
        FailureKind::InvalidAnswer { .. } => short(&error.root_cause().to_string(), TEXT),
        kind => kind.to_string(),
    }
}

fn without_trap(function: &'static str, error: &wasmtime::Error, frames: Vec<String>, budget: &Budget) -> FailureKind {
    if let Some(called) = error.downcast_ref::<CalledWasi>() {
        let what = format!("it called {}, which no module gets", called.0);
        return FailureKind::Trap { what, frames };
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return FailureKind::Busy { waited_ms: 0 };
    }
    if copies_too_much(error) {
        let (size, limit) = (hostcall_fuel(budget) as u64, budget.output_bytes.into());
        return FailureKind::Output { what: "bytes", size, limit, raise: "budgets.outputBytes" };
    }
    unreadable(function, &error.root_cause().to_string())
}

/// What an answer may cost the host while it is read: its bytes, and the records around them.
pub(crate) fn hostcall_fuel(budget: &Budget) -> usize {
    (budget.output_bytes as usize).saturating_mul(2).saturating_add(1024 * 1024)
}

/// Whether reading the answer cost more than [`hostcall_fuel`]. The engine keeps the type of this one error to itself, so
/// its text must do; no module can make it, and a test fails when another version of the engine words it differently.
fn copies_too_much(error: &wasmtime::Error) -> bool {
    error.root_cause().to_string().starts_with("too much data is being copied between the host and the guest")
}

fn unreadable(function: &'static str, why: &str) -> FailureKind {
    FailureKind::InvalidAnswer { place: function.to_owned(), why: format!("it cannot be read ({})", short(why, TEXT)) }
}

/// The functions on the stack, innermost first, with readable names. The names come from the module's code, not from its
/// data, so they hold no secret.
fn frames(error: &wasmtime::Error) -> Vec<String> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return Vec::new() };
    let names = backtrace.frames().iter().map(|frame| match frame.func_name() {
        Some(name) => short(&format!("{:#}", rustc_demangle::demangle(name)), NAME),
        None => format!("function {}", frame.func_index()),
    });
    names.take(FRAMES).collect()
}

/// Whether one function is on the stack many times.
fn recursive(error: &wasmtime::Error) -> bool {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return false };
    let frames = backtrace.frames();
    frames.iter().any(|one| frames.iter().filter(|other| other.func_index() == one.func_index()).count() >= RECURSION)
}

/// One printable line of at most so many characters.
pub(crate) fn short(text: &str, limit: usize) -> String {
    let line = crate::logger::printable(text.as_bytes());
    if line.chars().count() <= limit { line } else { line.chars().take(limit).chain(['…']).collect() }
}
