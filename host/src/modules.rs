//! Modules from folders: loaded at start, swapped when a file changes. A bad file leaves the version before it serving.
//!
//! Of several folders that have a module, the last one counts: an image brings modules, and mounted folders put others in their
//! place. The same holds for settings. A folder is looked at every two seconds, through the handle that was opened first. That also sees what kubelet does to a mounted
//! `ConfigMap`, where a link changes and no file does, and no change is lost however the file came about.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cap_std::{ambient_authority, fs::Dir};
use operator_controller::Operator;
use operator_core::{Document, Module};
use operator_engine::Engine;
use operator_package::{ENDINGS, Folder};
use operator_webhook::Bindings;
use tokio::sync::{mpsc::UnboundedSender, watch::Receiver};
use tracing::{error, info};

use crate::metrics::Metrics;

/// Between two looks at the folder.
const EVERY: Duration = Duration::from_secs(2);
/// Largest file of settings, in bytes.
const SETTINGS_LIMIT: u64 = 1024 * 1024;

/// What the files that a module may have looked like: length and time of change of each one that is there, through links.
type Mark = Vec<Option<(u64, Option<std::time::SystemTime>)>>;

/// The folders of modules.
pub(crate) struct Modules {
    /// The last one that has a file counts.
    places: Vec<Place>,
    engine: Engine,
    operator: Arc<Operator>,
    bindings: Arc<Bindings>,
    metrics: Arc<Metrics>,
    /// Hears of refused files: the reason and the text.
    tell: UnboundedSender<(&'static str, String)>,
    /// What was seen last of each file, taken or refused.
    seen: Mutex<BTreeMap<String, Mark>>,
    /// Files of these names serve.
    served: Mutex<BTreeSet<String>>,
    /// Why the file of a module is refused.
    refused: Mutex<BTreeMap<String, String>>,
}

/// One folder.
struct Place {
    dir: Dir,
    path: String,
    packages: Folder,
}

/// Why a file is not taken: a reason of `host/REASONS.md`, and a text.
struct Refused {
    reason: &'static str,
    why: String,
}

impl Modules {
    /// Opens the folders.
    ///
    /// # Errors
    /// When one cannot be opened: which, why, and what to do.
    pub(crate) fn open(
        paths: &[PathBuf],
        engine: Engine,
        operator: Arc<Operator>,
        bindings: Arc<Bindings>,
        metrics: Arc<Metrics>,
        tell: UnboundedSender<(&'static str, String)>,
    ) -> Result<Self, String> {
        let open = |path: &PathBuf| {
            let path_shown = path.display().to_string();
            let dir = Dir::open_ambient_dir(path, ambient_authority());
            let opened = dir.and_then(|dir| Ok((dir.try_clone()?, dir)));
            let (copy, dir) =
                opened.map_err(|error| format!("--modules {path_shown}: {error}; name a folder of packages"))?;
            Ok(Place { dir, packages: Folder::of(copy, &path_shown), path: path_shown })
        };
        let places = paths.iter().map(open).collect::<Result<_, String>>()?;
        let (seen, served, refused) = (Mutex::default(), Mutex::default(), Mutex::default());
        Ok(Self { places, engine, operator, bindings, metrics, tell, seen, served, refused })
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
        let mut found = BTreeMap::<String, Vec<&Place>>::new();
        for place in &self.places {
            match place.packages.names() {
                Ok(names) => names.into_iter().for_each(|name| found.entry(name).or_default().push(place)),
                // Going on without it would put the modules of the folders before it in the place of its own.
                Err(error) => return error!(%error, folder = place.path, "the folder of modules cannot be read"),
            }
        }
        for (name, places) in found {
            let mark = self.mark(&name);
            let before = self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), mark.clone());
            if before.as_ref() != Some(&mark) {
                self.take_best(&name, &places);
            }
        }
    }

    /// Takes a module from the last folder that has it. At start nothing serves yet that could go on: then the folders before that
    /// one get their turn, so that a restart does not make a bad file worse.
    fn take_best(&self, name: &str, places: &[&Place]) {
        let mut refusal = None;
        for place in places.iter().rev() {
            let taken = self.take(place, name);
            self.note(name, place, &taken);
            let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
            match taken {
                Ok(_) => {
                    served.insert(name.to_owned());
                    break;
                }
                Err(Refused { why, .. }) => {
                    refusal.get_or_insert(why);
                }
            }
            if served.contains(name) {
                break;
            }
        }
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        match refusal {
            Some(why) => refused.insert(name.to_owned(), why),
            None => refused.remove(name),
        };
    }

    /// Tells what became of a file.
    fn note(&self, name: &str, place: &Place, taken: &Result<String, Refused>) {
        let folder = &place.path;
        match taken {
            Ok(version) => {
                info!(module = name, version, folder, "serves");
                self.metrics.loaded(name, "loaded", "");
            }
            Err(Refused { reason, why }) => {
                error!(
                    module = name,
                    reason, why, folder, "the file is refused; the version before it goes on serving"
                );
                self.metrics.loaded(name, "refused", reason);
                // Nobody listens any more when the operator stops.
                let _ = self.tell.send((reason, format!("module {name}: {why}")));
            }
        }
    }

    fn mark(&self, name: &str) -> Mark {
        let files: Vec<String> = ENDINGS.iter().chain(&[".json"]).map(|ending| format!("{name}{ending}")).collect();
        let mut mark = Mark::new();
        for place in &self.places {
            mark.extend(files.iter().map(|file| {
                let metadata = place.dir.metadata(file).ok()?;
                Some((metadata.len(), metadata.modified().ok().map(cap_std::time::SystemTime::into_std)))
            }));
        }
        mark
    }

    fn take(&self, place: &Place, name: &str) -> Result<String, Refused> {
        let package = place.packages.read(name).map_err(|e| Refused { reason: e.reason(), why: e.to_string() })?;
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

    /// The settings in the last folder that has some.
    fn settings(&self, name: &str) -> Result<Document, Refused> {
        let file = format!("{name}.json");
        let found = self.places.iter().rev().find_map(|place| match place.dir.metadata(&file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            other => Some((place, other)),
        });
        let Some((place, metadata)) = found else { return Ok(Document::new(&b"{}"[..])) };
        let wrong = |why: String| Refused { reason: "InvalidSettings", why: format!("{}/{file}: {why}", place.path) };
        let unreadable = |error: std::io::Error| wrong(format!("{error}; check that it may be read"));
        let size = metadata.map_err(unreadable)?.len();
        if size > SETTINGS_LIMIT {
            return Err(wrong(format!("{size} bytes are more than {SETTINGS_LIMIT}; shorten it")));
        }
        let text = place.dir.read_to_string(&file).map_err(unreadable)?;
        serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text)
            .map_err(|error| wrong(format!("no JSON object: {error}")))?;
        Ok(Document::new(text.into_bytes()))
    }
}
