//! From the bytes of a component to a module that can be called.

use std::{
    fs::{self, File},
    io,
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
};

use operator_contract::Manifest;
use operator_core::Generation;
use serde_json::Value;
use tracing::warn;
use wasmtime::{
    Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails, component::Component,
};

use crate::{
    Budget, EngineConfig, LoadError, Loaded, Metering, answer,
    bindings::Exports,
    cache::{Cache, CacheError},
    call::Prepared,
    code, link,
    pool::{Pool, Slots},
    ticker,
};

/// Of the workspace's wasmtime; a test compares them. Code of another version is refused by wasmtime itself.
const WASMTIME: &str = "48.0.8";
/// Stack of a module's own code. The SDK's modules use 256 KiB of their memory besides.
const MODULE_STACK: usize = 512 * 1024;
/// Memory of a slot that is cleared by writing zeros, not by giving it back to the kernel: the SDK's initial memory.
const KEEP: usize = 768 * 1024;
/// The same where the kernel says which pages were written, so that only those are cleared.
const KEEP_SCANNED: usize = 4 * 1024 * 1024;
/// Tables are small; the same for them.
const KEEP_TABLE: usize = 64 * 1024;
/// Slots that wait for the component that used them last, with the memory that it wrote: those of eight modules, for reconciles and for
/// admission, on two threads.
const WARM: u32 = 32;
/// Core modules inside one component: its own one, shims for imports, and adapters.
const CORE_MODULES: u32 = 32;
const MEMORIES: u32 = 2;
const TABLES: u32 = 8;

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The runtime refused the configuration.
    #[error("the runtime cannot be set up; with little address space (ulimit -v), lower the number of slots")]
    Runtime {
        /// What wasmtime says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A thread could not be started.
    #[error("a thread cannot be started; raise the limit of processes (ulimit -u)")]
    Threads {
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// Loads modules. One per process is enough; cheap to clone.
#[derive(Clone)]
pub struct Engine(Arc<Core>);

/// What the engine's modules share.
pub(crate) struct Core {
    pub(crate) config: EngineConfig,
    pub(crate) engine: wasmtime::Engine,
    pub(crate) slots: Slots,
    /// Runs reconciles.
    pub(crate) pool: Pool,
    /// Runs what users and the API server wait for.
    pub(crate) admissions: Pool,
    cache: Option<Cache>,
    /// One compilation at a time: each may use the memory that its limits allow.
    compiling: Mutex<()>,
}

/// A component's code, and whether it comes from the cache.
struct Code {
    component: Component,
    /// The same code for admission. The allocator gives memory back to the component that used it before, and clears all that was ever
    /// written there: a validation in the memory of a reconcile would clear what that wrote, which takes longer than most validations.
    /// As another mapping of the file it costs what wasmtime keeps of a component, some 130 KiB.
    admission: Component,
    /// The same code once more, only to be asked for its manifest; none when it comes from the cache and was asked before. Describing itself is
    /// by far the largest call of most modules, and every later call in the same memory would clear what it wrote.
    fresh: Option<Component>,
}

impl Engine {
    /// Sets the runtime up and starts its threads.
    pub fn new(mut config: EngineConfig) -> Result<Self, EngineError> {
        config.slots = config.slots.max(1);
        config.threads = config.threads.clamp(1, config.slots as usize);
        let engine = running(&config)?;
        let cache = config.cache.as_deref().map(|folder| Cache::open(folder, fingerprint(&config))).transpose()?;
        let threads = |source| EngineError::Threads { source };
        let core = Arc::new(Core {
            slots: Slots::new(config.slots),
            pool: Pool::new("reconcile", config.threads, config.max_wait).map_err(threads)?,
            admissions: Pool::new("admit", config.threads, config.max_wait).map_err(threads)?,
            cache,
            compiling: Mutex::default(),
            engine,
            config,
        });
        ticker::start(Arc::downgrade(&core)).map_err(threads)?;
        Ok(Self(core))
    }

    /// Loads a module. `manifest` is what the component's custom section says, `digest` the package's SHA-256 in hex.
    ///
    /// Compiles unless the cache has the code; blocks for as long as that takes. A freshly compiled module must also describe
    /// itself as its manifest does. Whatever is wrong is found here, and not in the first call.
    pub fn load(&self, manifest: Manifest, digest: &str, component: &[u8]) -> Result<Loaded, LoadError> {
        link::contract(&manifest)?;
        let budget = self.0.config.defaults.of(&manifest.name, &manifest.budgets, &self.0.config.ceilings)?;
        let name = blake3::hash(component);
        let code = self.code(&manifest.name, component, &name)?;
        let loaded = self.assemble(manifest, digest, budget, &code);
        if loaded.is_err() && code.fresh.is_some() {
            // Else the next load would take it from there and skip the checks of fresh code.
            self.0.cache.iter().for_each(|cache| cache.remove(&name));
        }
        loaded
    }

    /// Compiles a component and asks it for its manifest, as JSON. For packaging: nothing is cached, and default budgets hold.
    pub fn describe(&self, component: &[u8]) -> Result<Vec<u8>, LoadError> {
        const UNNAMED: &str = "(not packaged)";
        let code = self.compile(UNNAMED, component)?;
        let component = self.copied(UNNAMED, &code)?;
        let generation = Generation { name: UNNAMED.into(), version: "".into(), digest: "".into() };
        let prepared = self.prepare(generation, self.0.config.defaults, &component)?;
        try_instance(&prepared, &component)?;
        describe(&prepared)
    }

    /// Bytes of memory that were written and are kept for the next call of the module that wrote them. Each call clears those of its module.
    pub fn kept_bytes(&self) -> usize {
        self.0.engine.pooling_allocator_metrics().map_or(0, |metrics| metrics.unused_memory_bytes_resident())
    }

    fn assemble(&self, manifest: Manifest, digest: &str, budget: Budget, code: &Code) -> Result<Loaded, LoadError> {
        let (name, version) = (manifest.name.as_str().into(), manifest.version.as_str().into());
        let generation = Generation { name, version, digest: digest.into() };
        let prepared = self.prepare(generation.clone(), budget, &code.component)?;
        link::exports(&self.0.engine, &code.component, &prepared.exports, &manifest)?;
        try_instance(&prepared, &code.component)?;
        if let Some(fresh) = &code.fresh {
            agrees(&self.prepare(generation.clone(), budget, fresh)?, &manifest)?;
        }
        let admission = self.prepare(generation, budget, &code.admission)?;
        Ok(Loaded::new(manifest, prepared, admission))
    }

    fn prepare(&self, generation: Generation, budget: Budget, component: &Component) -> Result<Prepared, LoadError> {
        let pre = link::link(&self.0.engine, &generation.name, component)?;
        let exports = Exports::of(component);
        Ok(Prepared { core: Arc::clone(&self.0), generation, budget, pre, exports, load: Arc::default() })
    }

    fn code(&self, module: &str, component: &[u8], name: &blake3::Hash) -> Result<Code, LoadError> {
        if let Some((component, admission)) = self.cached(name) {
            return Ok(Code { component, admission, fresh: None });
        }
        let code = self.compile(module, component)?;
        let kept = self.0.cache.as_ref().is_some_and(|cache| match cache.put(name, &code) {
            Ok(()) => true,
            Err(error) => {
                warn!(module, %error, "a compiled module cannot be kept; it is compiled again at the next start");
                false
            }
        });
        // Mapped from the file, code costs no memory of this process's own.
        let mapped = if kept { self.cached(name) } else { None };
        let (component, admission) = match mapped {
            Some(mapped) => mapped,
            None => self.copied(module, &code).map(|component| (component.clone(), component))?,
        };
        Ok(Code { component, admission, fresh: Some(self.copied(module, &code)?) })
    }

    /// Two mappings of the same code.
    fn cached(&self, name: &blake3::Hash) -> Option<(Component, Component)> {
        let cache = self.0.cache.as_ref()?;
        let file: File = cache.get(name)?;
        let map = || code::from_file(&self.0.engine, &file);
        match map().and_then(|component| Ok((component, map()?))) {
            Ok(mapped) => Some(mapped),
            Err(error) => {
                // Such as code for a processor with more features, in a folder that several machines share.
                warn!(error = link::explain(&error), "a compiled module does not fit this host; it is compiled again");
                cache.remove(name);
                None
            }
        }
    }

    fn compile(&self, module: &str, component: &[u8]) -> Result<Vec<u8>, LoadError> {
        let _one_at_a_time = self.0.compiling.lock().unwrap_or_else(PoisonError::into_inner);
        let config = &self.0.config;
        config
            .compiler
            .compile(component, config.metering)
            .map_err(|why| LoadError::Compile { module: module.to_owned(), why })
    }

    fn copied(&self, module: &str, code: &[u8]) -> Result<Component, LoadError> {
        code::from_bytes(&self.0.engine, code)
            .map_err(|error| LoadError::Instantiation { module: module.to_owned(), why: link::explain(&error) })
    }
}

/// Makes one instance and compares the types of what it exports: neither linking nor looking names up has done so.
fn try_instance(prepared: &Prepared, component: &Component) -> Result<(), LoadError> {
    let module = || prepared.generation.name.to_string();
    let instantiation = |why| LoadError::Instantiation { module: module(), why };
    let _slot = prepared.slot().map_err(|busy| instantiation(busy.to_string()))?;
    let host = |error: wasmtime::Error| LoadError::Host { module: module(), why: link::explain(&error) };
    let mut store = prepared.store().map_err(host)?;
    let instance = prepared.pre.instantiate(&mut store).map_err(|error| {
        let refused = store.data().limits.refused();
        instantiation(crate::failure::instantiation(&error, refused, &prepared.budget))
    })?;
    prepared.exports.check(&mut store, &instance).map_err(|(interface, error)| {
        let name = link::exported_as(&prepared.core.engine, component, interface);
        link::incompatible(&module(), &name, &error)
    })
}

fn describe(prepared: &Prepared) -> Result<Vec<u8>, LoadError> {
    let described = prepared.call(
        "describe",
        |exports, store, instance| exports.describe(store, instance),
        |bytes, budget| answer::description(bytes, budget),
    );
    described.answer.map_err(|failure| LoadError::Describe {
        module: prepared.generation.name.to_string(),
        failure: Box::new(failure),
    })
}

/// Compares what a module says of itself with its manifest.
fn agrees(prepared: &Prepared, manifest: &Manifest) -> Result<(), LoadError> {
    let described = describe(prepared)?;
    let differs = |place: String| LoadError::ManifestDiffers { module: manifest.name.clone(), place };
    let said: Manifest = serde_json::from_slice(&described)
        .map_err(|error| differs(format!("line {} column {} of what it describes", error.line(), error.column())))?;
    if &said == manifest {
        return Ok(());
    }
    let (said, manifest) = (serde_json::to_value(&said), serde_json::to_value(manifest));
    let place = said.ok().zip(manifest.ok()).and_then(|(said, manifest)| difference(&said, &manifest));
    Err(differs(place.unwrap_or_else(|| "a value that JSON cannot tell apart".to_owned())))
}

/// The path of the first value that differs.
fn difference(one: &Value, other: &Value) -> Option<String> {
    let inside = |key: &str, one: Option<&Value>, other: Option<&Value>| match (one, other) {
        (Some(one), Some(other)) => {
            difference(one, other).map(|path| if path.is_empty() { key.to_owned() } else { format!("{key}.{path}") })
        }
        (None, None) => None,
        _ => Some(key.to_owned()),
    };
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            one.keys().chain(other.keys()).find_map(|key| inside(key, one.get(key), other.get(key)))
        }
        (Value::Array(one), Value::Array(other)) => (0..one.len().max(other.len()))
            .find_map(|index| inside(&index.to_string(), one.get(index), other.get(index))),
        _ => (one != other).then(String::new),
    }
}

/// What makes compiled code incompatible and is known without a compiler. Wasmtime compares all the rest when it loads code.
fn fingerprint(config: &EngineConfig) -> blake3::Hash {
    let (metering, arch) = (config.metering.as_str(), std::env::consts::ARCH);
    blake3::hash(format!("operator-engine 1, wasmtime {WASMTIME}, {arch}, {metering}").as_bytes())
}

/// What code depends on: the same where it is compiled and where it runs.
fn shared(metering: Metering) -> Config {
    let mut config = Config::new();
    match metering {
        Metering::Deadline => config.epoch_interruption(true),
        Metering::Instructions => config.consume_fuel(true),
    };
    config
        .wasm_component_model(true)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_tail_call(false)
        .wasm_wide_arithmetic(false)
        .wasm_custom_page_sizes(false)
        .max_wasm_stack(MODULE_STACK)
        // A trap names functions, and functions have no need for a map from native to wasm addresses.
        .generate_address_map(false)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .memory_init_cow(true);
    config
}

/// An engine that only compiles.
#[cfg(feature = "compiler")]
pub(crate) fn compiling(metering: Metering) -> wasmtime::Result<wasmtime::Engine> {
    let mut config = shared(metering);
    config.cranelift_opt_level(wasmtime::OptLevel::Speed).cranelift_nan_canonicalization(true);
    wasmtime::Engine::new(&config)
}

/// An engine that only runs.
fn running(config: &EngineConfig) -> Result<wasmtime::Engine, EngineError> {
    let fast = swap_is_off().then(|| engine(config, Enabled::Yes, KEEP_SCANNED));
    // A kernel without the system call refuses the fast way.
    let engine = match fast {
        Some(Ok(engine)) => Ok(engine),
        Some(Err(_)) | None => engine(config, Enabled::No, KEEP),
    };
    engine.map_err(|error| EngineError::Runtime { source: error.into_boxed_dyn_error() })
}

fn engine(config: &EngineConfig, pagemap_scan: Enabled, keep: usize) -> wasmtime::Result<wasmtime::Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(config.slots)
        .total_core_instances(config.slots.saturating_mul(CORE_MODULES))
        .total_memories(config.slots.saturating_mul(MEMORIES))
        .total_tables(config.slots.saturating_mul(TABLES))
        .max_core_instances_per_component(CORE_MODULES)
        .max_memories_per_component(MEMORIES)
        .max_tables_per_component(TABLES)
        .max_memory_size(config.ceilings.memory_kib as usize * 1024)
        .table_elements(config.ceilings.table_elements as usize)
        .max_unused_warm_slots(WARM)
        .linear_memory_keep_resident(keep)
        .table_keep_resident(KEEP_TABLE)
        .pagemap_scan(pagemap_scan);
    let mut shared = shared(config.metering);
    shared
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .wasm_backtrace_max_frames(NonZeroUsize::new(32));
    wasmtime::Engine::new(&shared)
}

/// Whether no page of this process can be swapped out. Wasmtime 48 does not clear written pages that were swapped out when
/// it asks the kernel which pages were written, so one call could read the memory of another.
fn swap_is_off() -> bool {
    // The first line is a heading; a file that cannot be read proves nothing.
    fs::read_to_string("/proc/swaps").is_ok_and(|swaps| !swaps.is_empty() && swaps.lines().count() == 1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_fingerprint_names_the_workspaces_wasmtime() {
        let workspace = include_str!("../../../Cargo.toml");
        assert!(workspace.contains(&format!("wasmtime = {{ version = \"={WASMTIME}\"")));
    }

    #[test]
    fn code_for_another_way_of_metering_is_other_code() {
        let config = EngineConfig::new(crate::Compiler::at("compiler"));
        assert_ne!(fingerprint(&config), fingerprint(&config.clone().counting_instructions()));
    }

    #[test]
    fn the_first_difference_is_named_by_its_path() {
        let one = json!({"name": "a", "kinds": [{"kind": "X", "plural": "xs"}]});
        let other = json!({"name": "a", "kinds": [{"kind": "X", "plural": "xes"}]});
        assert_eq!(difference(&one, &other), Some("kinds.0.plural".into()));
        assert_eq!(difference(&one, &json!({"name": "a", "kinds": []})), Some("kinds.0".into()));
        assert_eq!(difference(&one, &one), None);
    }
}
