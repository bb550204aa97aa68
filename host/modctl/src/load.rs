//! Packages from disk, and an engine to run them.

use std::path::{Path, PathBuf};

use cap_std::{ambient_authority, fs::Dir};
use operator_core::{Cause, Document};
use operator_engine::{Compiler, Engine, EngineConfig, Loaded, Observer};
use operator_package::{ENDINGS, Folder, Package};
use serde_json::Value;

use crate::failure::Failure;

/// Reads the package at a path; the folder is opened first, so that a link cannot lead out of it.
pub(crate) fn package(path: &Path) -> Result<Package, Failure> {
    let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some(name) = ENDINGS.iter().find_map(|ending| file.strip_suffix(ending)) else {
        let endings = ENDINGS.join(" or ");
        return Err(Failure::Input(format!("{} is no package; packages end in {endings}", path.display())));
    };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    read(&folder(parent)?, name)
}

/// Opens a folder of packages.
pub(crate) fn folder(path: &Path) -> Result<Folder, Failure> {
    Folder::open(&path.display().to_string()).map_err(|error| Failure::Input(error.to_string()))
}

/// Reads one package of a folder.
pub(crate) fn read(folder: &Folder, name: &str) -> Result<Package, Failure> {
    folder.read(name).map_err(|error| match error.reason() {
        "Unreadable" => Failure::Input(error.to_string()),
        _ => Failure::Bad(format!("{name}.wasm: {error}")),
    })
}

/// An engine that keeps what it compiled in the user's cache, so that the second run is quick.
pub(crate) fn engine(counting: bool, observer: Option<Observer>) -> Result<Engine, Failure> {
    let compiler = Compiler::locate().map_err(|error| Failure::Internal(error.to_string()))?;
    let mut config = EngineConfig::new(compiler);
    if let Some(cache) = cache() {
        config = config.with_cache(cache);
    }
    if counting {
        config = config.counting_instructions();
    }
    config.observer = observer;
    Engine::new(config).map_err(|error| Failure::Internal(error.to_string()))
}

/// Loads a package.
pub(crate) fn load(engine: &Engine, package: &Package) -> Result<Loaded, Failure> {
    let loaded = engine.load(package.manifest.clone(), &package.digest, &package.component);
    loaded.map_err(|error| Failure::Bad(error.to_string()))
}

/// A module's settings, as it takes them.
pub(crate) fn settings(module: &Loaded, json: &str) -> Result<Document, Failure> {
    let object: Result<serde_json::Map<String, Value>, _> = serde_json::from_str(json);
    object.map_err(|error| {
        Failure::Input(format!("--settings is no JSON object: {error}; write one, such as {{\"namespace\": \"x\"}}"))
    })?;
    let settings = Document::new(json.as_bytes().to_vec());
    let judged = module.validate_settings_now(&settings).map_err(|failure| Failure::Bad(failure.to_string()))?;
    let line = |cause: &Cause| format!("--settings: {}: {}", cause.field, cause.message);
    judged.map_err(|causes| Failure::Input(causes.iter().map(line).collect::<Vec<_>>().join("\n")))?;
    Ok(settings)
}

/// Where compiled modules are kept; nowhere when there is no home.
fn cache() -> Option<Dir> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let root = set("SCONE_OPERATOR_CACHE")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("scone-operator")))
        .or_else(|| Some(set("HOME")?.join(".cache/scone-operator")))?;
    let folder = root.join("compiled");
    std::fs::create_dir_all(&folder).ok()?;
    Dir::open_ambient_dir(&folder, ambient_authority()).ok()
}
