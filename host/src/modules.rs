//! Modules from folders: loaded at start, swapped when a file changes, stopped when it is removed. A bad file leaves the version before
//! it serving; without one, its kinds are served by nobody and say so.
//!
//! Of several folders that have a module, the last one counts: an image brings modules, and mounted folders put others in their
//! place. The same holds for settings. A folder is looked at every two seconds, through the handle that was opened first. That also sees what kubelet does to a mounted
//! `ConfigMap`, where a link changes and no file does, and no change is lost however the file came about.

mod refused;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use cap_std::{ambient_authority, fs::Dir};
use operator_controller::Operator;
use operator_core::{Absent, Document, Module, contract::Manifest};
use operator_engine::Engine;
use operator_package::{ENDINGS, Folder, Package};
use operator_webhook::Bindings;
use tokio::sync::{mpsc::UnboundedSender, watch::Receiver};
use tracing::{error, info, warn};

use self::refused::Refused;
use crate::{allowed::Allowed, metrics::Metrics};

/// Between two looks at the folder.
const EVERY: Duration = Duration::from_secs(2);
/// Largest file of settings, in bytes.
const SETTINGS_LIMIT: u64 = 1024 * 1024;
/// Looks in a row at which a file has to be missing: whoever replaces a file may remove it first.
const GONE: u32 = 3;
/// What may be refused for a passing reason is tried again after so long, and after twice as long each time.
const FIRST_RETRY: Duration = Duration::from_secs(2);
const LONGEST_RETRY: Duration = Duration::from_mins(5);

/// What the files that a module may have looked like: length and time of change of each one that is there, through links.
type Mark = Vec<Option<(u64, Option<std::time::SystemTime>)>>;

/// The folders of modules.
pub(crate) struct Modules {
    /// The last one that has a file counts.
    places: Vec<Place>,
    engine: Engine,
    allowed: Allowed,
    operator: Arc<Operator>,
    bindings: Arc<Bindings>,
    metrics: Arc<Metrics>,
    /// Hears of refused files: the reason and the text.
    tell: UnboundedSender<(&'static str, String)>,
    /// By the name of the file.
    files: Mutex<BTreeMap<String, File>>,
}

/// What is known of the files of one name.
#[derive(Default)]
struct File {
    /// What was seen last, taken or refused.
    mark: Mark,
    /// The manifest of the version that serves.
    serves: Option<Manifest>,
    /// Why the last one is refused.
    refused: Option<Refused>,
    /// When it is tried again although no file has changed, and how long to wait after that.
    retry: Option<(Instant, Duration)>,
    /// Looks in a row at which no folder had it.
    missed: u32,
}

/// One folder.
struct Place {
    dir: Dir,
    path: String,
    packages: Folder,
}

impl Modules {
    /// Opens the folders.
    ///
    /// # Errors
    /// When one cannot be opened: which, why, and what to do.
    pub(crate) fn open(
        paths: &[PathBuf],
        (engine, allowed): (Engine, Allowed),
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
        Ok(Self { places, engine, allowed, operator, bindings, metrics, tell, files: Mutex::default() })
    }

    /// Why files are refused, one line each; empty when all serve.
    pub(crate) fn refused(&self) -> Vec<String> {
        self.lines(|_| true)
    }

    /// Why modules do not serve at all whose files are there, one line each: no version before goes on for them.
    pub(crate) fn unserved(&self) -> Vec<String> {
        self.lines(|file| file.serves.is_none())
    }

    fn lines(&self, of: impl Fn(&File) -> bool) -> Vec<String> {
        let line = |(name, file): (&String, &File)| Some(format!("module {name}: {}", file.refused.as_ref()?.why));
        self.files().iter().filter(|(_, file)| of(file)).filter_map(line).collect()
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<String, File>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known of the files of one name.
    fn change<T>(&self, name: &str, change: impl FnOnce(&mut File) -> T) -> T {
        change(self.files().entry(name.to_owned()).or_default())
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

    /// Stops every module whose file is gone, and takes every file that is new, has changed, or may be taken now.
    pub(crate) fn look(&self) {
        let mut found = BTreeMap::<String, Vec<&Place>>::new();
        for place in &self.places {
            match place.packages.names() {
                Ok(names) => names.into_iter().for_each(|name| found.entry(name).or_default().push(place)),
                // Going on without it would put the modules of the folders before it in the place of its own.
                Err(error) => return error!(%error, folder = place.path, "the folder of modules cannot be read"),
            }
        }
        self.stop_missing(&found);
        for (name, places) in found {
            let mark = self.mark(&name);
            let due = self.change(&name, |file| {
                let changed = file.mark != mark;
                (file.mark, file.missed) = (mark, 0);
                changed || file.retry.is_some_and(|(at, _)| Instant::now() >= at)
            });
            if due {
                self.take_best(&name, &places);
            }
        }
    }

    /// Has objects told that nobody serves their kinds, when an administrator allows a module something and there is no file of it.
    pub(crate) fn stand_in_for_missing(&self) {
        let found: BTreeSet<String> = {
            let files = self.files();
            let of_file = |(name, file): (&String, &File)| {
                let refused = file.refused.as_ref().and_then(|refused| refused.manifest.as_deref());
                let manifest = file.serves.as_ref().or(refused);
                [Some(name.clone()), manifest.map(|manifest| manifest.name.clone())]
            };
            files.iter().flat_map(of_file).flatten().collect()
        };
        for (name, allowance) in self.allowed.expected().filter(|(name, _)| !found.contains(*name)) {
            let absent = Absent::missing(name, allowance);
            if allowance.kinds.is_empty() || self.operator.rival(absent.manifest()).is_some() {
                continue;
            }
            warn!(module = name, "the grants name a module that has no file; its kinds are served by nobody");
            self.operator.stand_in(absent, self.allowed.release_after(name));
        }
    }

    /// Stops modules of which no folder has had a file for a few looks.
    fn stop_missing(&self, found: &BTreeMap<String, Vec<&Place>>) {
        let mut gone = Vec::new();
        self.files().retain(|name, file| {
            file.missed = if found.contains_key(name) { 0 } else { file.missed + 1 };
            let stays = file.missed < GONE;
            if !stays {
                gone.push((name.clone(), file.serves.take()));
            }
            stays
        });
        if !gone.is_empty() {
            // What had to yield to one of them may serve now.
            let at = Instant::now();
            self.files()
                .values_mut()
                .filter(|file| file.refused.as_ref().is_some_and(|refused| refused.yields))
                .for_each(|file| file.retry = Some((at, FIRST_RETRY)));
        }
        for (name, manifest) in gone {
            warn!(module = name, "the file was removed: the module stops, and its webhooks go");
            self.bindings.remove(&name);
            if let Some(manifest) = manifest {
                let release_after = self.allowed.release_after(&manifest.name);
                self.operator.stand_in(Absent::removed(manifest), release_after);
            }
            self.metrics.loaded(&name, "removed", "");
            let text = format!("module {name}: its file was removed; nobody serves its kinds until it is back");
            // Nobody listens any more when the operator stops.
            let _ = self.tell.send(("ModuleRemoved", text));
        }
    }

    /// Takes a module from the last folder that has it. At start nothing serves yet that could go on: then the folders before that
    /// one get their turn, so that a restart does not make a bad file worse.
    fn take_best(&self, name: &str, places: &[&Place]) {
        let mut refusal: Option<Refused> = None;
        for place in places.iter().rev() {
            let taken = self.take(place, name);
            self.note(name, place, &taken);
            match taken {
                Ok(manifest) => {
                    self.change(name, |file| file.serves = Some(manifest));
                    break;
                }
                Err(refused) => {
                    refusal.get_or_insert(refused);
                }
            }
            if self.change(name, |file| file.serves.is_some()) {
                break;
            }
        }
        let unserved = self.change(name, |file| {
            let wait = file.retry.map_or(FIRST_RETRY, |(_, wait)| (wait * 2).min(LONGEST_RETRY));
            let passing = refusal.as_ref().is_some_and(|refused| refused.passing);
            file.retry = passing.then(|| (Instant::now() + wait, wait));
            file.refused = refusal;
            file.serves.is_none().then(|| file.refused.clone()).flatten()
        });
        if let Some(refused) = unserved {
            self.stand_in(name, refused);
        }
    }

    /// Has somebody say why nobody serves, instead of letting requests through unjudged.
    fn stand_in(&self, name: &str, refused: Refused) {
        let Some(manifest) = refused.manifest else {
            if !refused.yields {
                // Which webhooks are its own cannot be known: those that are there stay.
                self.bindings.keep(name, &refused.why);
            }
            return;
        };
        let why = format!("module {name} is refused: {}", refused.why);
        let absent = Absent::refused(*manifest, why);
        if let Err(error) = self.bindings.serve(Arc::new(absent.clone()), Document::new(&b"{}"[..])) {
            warn!(module = name, %error, "nobody says that it is refused");
        }
        let release_after = self.allowed.release_after(&absent.manifest().name);
        self.operator.stand_in(absent, release_after);
    }

    /// Tells what became of a file, once for each change of it.
    fn note(&self, name: &str, place: &Place, taken: &Result<Manifest, Refused>) {
        let folder = &place.path;
        match taken {
            Ok(manifest) => {
                info!(module = name, version = manifest.version, folder, "serves");
                self.metrics.loaded(name, "loaded", "");
            }
            Err(refused @ Refused { reason, why, .. }) => {
                self.metrics.loaded(name, "refused", reason);
                if self.change(name, |file| file.refused.as_ref().is_some_and(|before| before.why == *why)) {
                    return;
                }
                let tried_again = refused.passing;
                error!(
                    module = name,
                    reason, why, folder, tried_again, "the file is refused; the version before it goes on serving"
                );
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

    fn take(&self, place: &Place, name: &str) -> Result<Manifest, Refused> {
        let package = place.packages.read(name).map_err(|error| Refused::package(&error))?;
        let manifest = package.manifest.clone();
        self.load(package, name).map_err(|refused| refused.with(manifest.clone()))?;
        Ok(manifest)
    }

    fn load(&self, package: Package, name: &str) -> Result<(), Refused> {
        if let Some(why) = self.allowed.lacks(&package.manifest) {
            return Err(Refused::lasting("Ungranted", why));
        }
        let settings = self.settings(name)?;
        if let Some((other, kind)) = self.operator.rival(&package.manifest) {
            return Err(Refused::rival(name, &other, &kind));
        }
        let loaded = self.engine.load(package.manifest, &package.digest, &package.component);
        let module = loaded.map_err(|error| Refused::module(&error))?;
        let judged = module.validate_settings_now(&settings);
        let judged = judged.map_err(|failure| Refused::call(&failure))?;
        judged.map_err(|causes| {
            let causes: Vec<String> = causes.iter().map(|c| format!("{}: {}", c.field, c.message)).collect();
            Refused::lasting("InvalidSettings", format!("{name}.json: {}", causes.join("; ")))
        })?;
        let module: Arc<dyn Module> = Arc::new(module);
        let bound = self.bindings.serve(Arc::clone(&module), settings.clone());
        bound.map_err(|error| Refused::clash(&error))?;
        let release_after = self.allowed.release_after(&module.manifest().name);
        self.operator.serve(module, settings, release_after);
        Ok(())
    }

    /// The settings in the last folder that has some.
    fn settings(&self, name: &str) -> Result<Document, Refused> {
        let file = format!("{name}.json");
        let found = self.places.iter().rev().find_map(|place| match place.dir.metadata(&file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            other => Some((place, other)),
        });
        let Some((place, metadata)) = found else { return Ok(Document::new(&b"{}"[..])) };
        let wrong = |why: String| Refused::lasting("InvalidSettings", format!("{}/{file}: {why}", place.path));
        let unreadable = |error: std::io::Error| {
            let why = format!("{}/{file}: {error}; check that it may be read", place.path);
            Refused { passing: true, ..Refused::lasting("InvalidSettings", why) }
        };
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
