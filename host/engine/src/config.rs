//! What an engine is made with.

use std::{fmt, sync::Arc, thread, time::Duration};

use operator_contract::Budgets;
use operator_core::{Failure, Generation};

use crate::{Compiler, LoadError};

/// How long a call may run: measured in time, or in instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Metering {
    /// Wall-clock time, checked about every millisecond. Fast, and what a cluster needs.
    #[default]
    Deadline,
    /// Instructions, counted exactly: the same input uses the same number on every machine. For tests and `modctl`; time is
    /// then not limited.
    Instructions,
}

impl Metering {
    /// The word for it on the compiler's command line.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Instructions => "instructions",
        }
    }
}

/// What one call may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Wall-clock time in milliseconds; only with [`Metering::Deadline`].
    pub time_ms: u32,
    /// Linear memory in KiB, all memories together.
    pub memory_kib: u32,
    /// Instructions; only with [`Metering::Instructions`].
    pub instructions: u64,
    /// Elements of all tables together.
    pub table_elements: u32,
    /// Children in one answer.
    pub children: u32,
    /// Bytes of one answer: all documents and texts together.
    pub output_bytes: u32,
    /// Lines that one call may log; more are dropped with one note.
    pub log_lines: u32,
    /// Bytes that one call may log; more are dropped with one note.
    pub log_bytes: u32,
}

impl Budget {
    /// What a module gets that asks for nothing: far more than an ordinary reconcile of 100 µs and 512 KiB needs.
    pub const DEFAULT: Self = Self {
        time_ms: 1_000,
        memory_kib: 16 * 1024,
        instructions: 1_000_000_000,
        table_elements: 10_000,
        children: 500,
        output_bytes: 4 * 1024 * 1024,
        log_lines: 100,
        log_bytes: 64 * 1024,
    };

    /// The most that a manifest may ask for, unless the host is configured otherwise.
    pub const CEILING: Self = Self {
        time_ms: 10_000,
        memory_kib: 64 * 1024,
        instructions: 20_000_000_000,
        table_elements: 20_000,
        children: 5_000,
        output_bytes: 16 * 1024 * 1024,
        log_lines: 1_000,
        log_bytes: 1024 * 1024,
    };

    /// The budget of one module: what it asks for, or else this default, but never more than `ceiling`.
    pub(crate) fn of(self, module: &str, asked: &Budgets, ceiling: &Self) -> Result<Self, LoadError> {
        let pick = |name: &'static str, asked: Option<u64>, default: u64, ceiling: u64| match asked.filter(|n| *n > 0) {
            Some(asked) if asked > ceiling => {
                Err(LoadError::BudgetTooLarge { module: module.to_owned(), budget: name, asked, ceiling })
            }
            Some(asked) => Ok(asked),
            None => Ok(default.min(ceiling)),
        };
        let small = |name, asked: Option<u32>, default: u32, ceiling: u32| {
            let picked = pick(name, asked.map(u64::from), default.into(), ceiling.into())?;
            Ok(u32::try_from(picked).unwrap_or(u32::MAX))
        };
        Ok(Self {
            time_ms: small("timeMs", asked.time_ms, self.time_ms, ceiling.time_ms)?,
            memory_kib: small("memoryKib", asked.memory_kib, self.memory_kib, ceiling.memory_kib)?,
            instructions: pick("instructions", asked.instructions, self.instructions, ceiling.instructions)?,
            children: small("children", asked.children, self.children, ceiling.children)?,
            output_bytes: small("outputBytes", asked.output_bytes, self.output_bytes, ceiling.output_bytes)?,
            ..self
        })
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What one call used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Wall-clock time, from the store's creation to the converted answer; without waiting for a slot.
    pub time: Duration,
    /// Linear memory at the end, in bytes. It never shrinks during a call.
    pub memory_bytes: u64,
    /// Instructions; only with [`Metering::Instructions`].
    pub instructions: Option<u64>,
    /// Lines logged, including those that were dropped.
    pub log_lines: u32,
}

/// Called after each call with the module, the function of the contract (such as `reconcile`), what it used, and how it
/// failed if it did. Runs on the thread of the call: it must be quick, and must not call modules.
pub type Observer = Arc<dyn Fn(&Generation, &'static str, &Usage, Option<&Failure>) + Send + Sync>;

/// What an engine is made with. Start from [`EngineConfig::new`] and change what must differ.
#[derive(Clone)]
pub struct EngineConfig {
    /// Most calls at the same time, those on callers' own threads included. Costs 8 GiB of address space each, no memory.
    pub slots: u32,
    /// Threads that run reconciles, and as many again for everything else, so that no user waits for reconciles. One module takes all but
    /// one of them; by default there is one more than cores, so that it may have every core while nobody else wants one.
    pub threads: usize,
    /// How long a caller waits for a free slot before it gets [`operator_core::FailureKind::Busy`].
    pub max_wait: Duration,
    /// What limits a call.
    pub metering: Metering,
    /// Budgets of modules that ask for none.
    pub defaults: Budget,
    /// The most that a manifest may ask for.
    pub ceilings: Budget,
    /// Where compiled modules are kept, in a private sub-folder; nowhere when none: then each load compiles.
    pub cache: Option<Arc<cap_std::fs::Dir>>,
    /// The program that compiles.
    pub compiler: Compiler,
    /// Told about each call; for metrics.
    pub observer: Option<Observer>,
}

/// The threads of an engine unless its configuration says otherwise: one more than cores.
pub fn threads() -> usize {
    thread::available_parallelism().map_or(2, std::num::NonZero::get) + 1
}

impl EngineConfig {
    /// 64 slots, one thread more than cores, deadlines, default budgets and ceilings, no cache.
    pub fn new(compiler: Compiler) -> Self {
        Self {
            slots: 64,
            threads: threads(),
            max_wait: Duration::from_secs(5),
            metering: Metering::Deadline,
            defaults: Budget::DEFAULT,
            ceilings: Budget::CEILING,
            cache: None,
            compiler,
            observer: None,
        }
    }

    /// Keeps compiled modules below this folder.
    #[must_use]
    pub fn with_cache(mut self, folder: cap_std::fs::Dir) -> Self {
        self.cache = Some(Arc::new(folder));
        self
    }

    /// Counts instructions instead of limiting time.
    #[must_use]
    pub fn counting_instructions(mut self) -> Self {
        self.metering = Metering::Instructions;
        self
    }

    /// Tells `observer` about each call.
    #[must_use]
    pub fn with_observer(mut self, observer: Observer) -> Self {
        self.observer = Some(observer);
        self
    }
}

impl fmt::Debug for EngineConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineConfig")
            .field("slots", &self.slots)
            .field("threads", &self.threads)
            .field("max_wait", &self.max_wait)
            .field("metering", &self.metering)
            .field("defaults", &self.defaults)
            .field("ceilings", &self.ceilings)
            .field("cache", &self.cache.is_some())
            .field("compiler", &self.compiler)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_that_asks_for_nothing_gets_the_defaults() {
        let budget = Budget::DEFAULT.of("m", &Budgets::default(), &Budget::CEILING).unwrap();
        assert_eq!(budget, Budget::DEFAULT);
    }

    #[test]
    fn a_budget_of_zero_means_the_default() {
        let asked = Budgets { time_ms: Some(0), ..Budgets::default() };
        assert_eq!(Budget::DEFAULT.of("m", &asked, &Budget::CEILING).unwrap().time_ms, Budget::DEFAULT.time_ms);
    }

    #[test]
    fn a_budget_above_the_ceiling_is_refused_by_name() {
        let asked = Budgets { memory_kib: Some(1 << 20), ..Budgets::default() };
        let error = Budget::DEFAULT.of("m", &asked, &Budget::CEILING).unwrap_err();
        assert_eq!(
            error.to_string(),
            "module m asks for budgets.memoryKib = 1048576, this host allows 65536; ask for less, or raise the host's ceiling"
        );
    }
}
