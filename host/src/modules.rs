//! Modules from a folder: loaded at start, swapped when a file changes. A bad file leaves the version before it serving.
//!
//! The folder is looked at every two seconds, through the handle that was opened first. That also sees what kubelet does to a mounted
//! `ConfigMap`, where a link changes and no file does, and no change is lost however the file came about.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cap_std::{ambient_authority, fs::Dir};
use operator_controller::Operator;
use operator_core::{Document, Module};
use operator_engine::Engine;
use operator_package::Folder;
use operator_webhook::Bindings;
use tokio::sync::{mpsc::UnboundedSender, watch::Receiver};
use tracing::{error, info};

use crate::metrics::Metrics;

/// Between two looks at the folder.
const EVERY: Duration = Duration::from_secs(2);
/// Largest file of settings, in bytes.
const SETTINGS_LIMIT: u64 = 1024 * 1024;

/// What a module file looked like: length and time of change of package and settings, through links.
type Mark = (u64, Option<std::time::SystemTime>, u64, Option<std::time::SystemTime>);

/// The folder of modules.
pub(crate) struct Modules {
    dir: Dir,
    path: String,
    engine: Engine,
    operator: Arc<Operator>,
    bindings: Arc<Bindings>,
    metrics: Arc<Metrics>,
    /// Hears of refused files: the reason and the text.
    tell: UnboundedSender<(&'static str, String)>,
    /// What was seen last of each file, taken or refused.
    seen: Mutex<BTreeMap<String, Mark>>,
    /// Why the file of a module is refused.
    refused: Mutex<BTreeMap<String, String>>,
}

/// Why a file is not taken: a reason of `host/REASONS.md`, and a text.
struct Refused {
    reason: &'static str,
    why: String,
}

impl Modules {
    /// Opens the folder.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) fn open(
        path: &Path,
        engine: Engine,
        operator: Arc<Operator>,
        bindings: Arc<Bindings>,
        metrics: Arc<Metrics>,
        tell: UnboundedSender<(&'static str, String)>,
    ) -> Result<Self, std::io::Error> {
        let dir = Dir::open_ambient_dir(path, ambient_authority())?;
        let path = path.display().to_string();
        let (seen, refused) = (Mutex::default(), Mutex::default());
        Ok(Self { dir, path, engine, operator, bindings, metrics, tell, seen, refused })
    }

    /// Why files are refused, one line each; empty when all serve.
    pub(crate) fn refused(&self) -> Vec<String> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.iter().map(|(name, why)| format!("module {name}: {why}")).collect()
    }

    /// Looks again and again, until `stop` is true.
    pub(crate) async fn follow(self: Arc<Self>, mut stop: Receiver<bool>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            let modules = Arc::clone(&self);
            // Compiling blocks for seconds.
            if let Err(failed) = tokio::task::spawn_blocking(move || modules.look()).await {
                error!(%failed, "loading modules panicked");
                return;
            }
        }
    }

    /// Takes every file that is new or has changed.
    pub(crate) fn look(&self) {
        let folder = match self.dir.try_clone() {
            Ok(dir) => Folder::of(dir, &self.path),
            Err(error) => return error!(%error, folder = self.path, "the folder of modules cannot be used"),
        };
        let names = match folder.names() {
            Ok(names) => names,
            Err(error) => return error!(%error, folder = self.path, "the folder of modules cannot be read"),
        };
        for name in names {
            let mark = self.mark(&name);
            let before = self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), mark);
            if before == Some(mark) {
                continue;
            }
            let taken = self.take(&folder, &name);
            self.note(name, taken);
        }
    }

    /// Tells what became of a file.
    fn note(&self, name: String, taken: Result<String, Refused>) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        match taken {
            Ok(version) => {
                info!(module = name, version, "serves");
                self.metrics.loaded(&name, "loaded", "");
                refused.remove(&name);
            }
            Err(Refused { reason, why }) => {
                error!(module = name, reason, why, "the file is refused; the version before it goes on serving");
                self.metrics.loaded(&name, "refused", reason);
                // Nobody listens any more when the operator stops.
                let _ = self.tell.send((reason, format!("module {name}: {why}")));
                refused.insert(name, why);
            }
        }
    }

    fn mark(&self, name: &str) -> Mark {
        let of = |file: String| {
            let metadata = self.dir.metadata(file).ok();
            let changed = metadata
                .as_ref()
                .and_then(|metadata| metadata.modified().ok())
                .map(cap_std::time::SystemTime::into_std);
            (metadata.map_or(0, |metadata| metadata.len()), changed)
        };
        let ((size, changed), (settings, settings_changed)) = (of(format!("{name}.wasm")), of(format!("{name}.json")));
        (size, changed, settings, settings_changed)
    }

    fn take(&self, folder: &Folder, name: &str) -> Result<String, Refused> {
        let package = folder.read(name).map_err(|e| Refused { reason: e.reason(), why: e.to_string() })?;
        let settings = self.settings(name)?;
        let loaded = self.engine.load(package.manifest.clone(), &package.digest, &package.component);
        let module = loaded.map_err(|e| Refused { reason: e.reason(), why: e.to_string() })?;
        let judged = module.validate_settings_now(&settings);
        let judged = judged.map_err(|e| Refused { reason: e.kind.reason(), why: e.to_string() })?;
        judged.map_err(|causes| {
            let causes: Vec<String> = causes.iter().map(|c| format!("{}: {}", c.field, c.message)).collect();
            Refused { reason: "InvalidSettings", why: format!("{name}.json: {}", causes.join("; ")) }
        })?;
        let version = module.generation().to_string();
        let module: Arc<dyn Module> = Arc::new(module);
        let bound = self.bindings.serve(Arc::clone(&module), settings.clone());
        bound.map_err(|e| Refused { reason: e.reason(), why: e.to_string() })?;
        self.operator.serve(module, settings);
        Ok(version)
    }

    fn settings(&self, name: &str) -> Result<Document, Refused> {
        let file = format!("{name}.json");
        let wrong = |why: String| Refused { reason: "InvalidSettings", why: format!("{file}: {why}") };
        let size = match self.dir.metadata(&file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Document::new(&b"{}"[..])),
            Err(error) => return Err(wrong(format!("{error}; check that it may be read"))),
            Ok(metadata) => metadata.len(),
        };
        if size > SETTINGS_LIMIT {
            return Err(wrong(format!("{size} bytes are more than {SETTINGS_LIMIT}; shorten it")));
        }
        let text =
            self.dir.read_to_string(&file).map_err(|error| wrong(format!("{error}; check that it may be read")))?;
        serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text)
            .map_err(|error| wrong(format!("no JSON object: {error}")))?;
        Ok(Document::new(text.into_bytes()))
    }
}
