//! Which module is asked on which path: a registry that changes with one pointer, while requests are under way.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use operator_core::{
    Document, Module,
    contract::{Manifest, ParentKind, Phase, WebhookRule},
};
use serde_json::Value;
use tokio::sync::watch;

use crate::Error;

/// What is asked on one path.
pub(crate) struct Binding {
    /// The module.
    pub(crate) module: Arc<dyn Module>,
    /// Its settings.
    pub(crate) settings: Document,
    /// Which requests it wants to see.
    pub(crate) rule: WebhookRule,
}

impl Binding {
    /// The kind of the manifest that a request is about.
    pub(crate) fn kind(&self, api_version: &str, kind: &str) -> Option<&ParentKind> {
        let kinds = &self.module.manifest().kinds;
        kinds.iter().find(|known| known.api_version == api_version && known.kind == kind && kind == self.rule.kind)
    }
}

/// One module that serves.
#[derive(Clone)]
struct Served {
    module: Arc<dyn Module>,
    settings: Document,
}

/// What requests look things up in.
#[derive(Default)]
struct Table {
    paths: HashMap<String, Arc<Binding>>,
    modules: BTreeMap<String, Served>,
    /// Whether any module converts.
    converts: bool,
    /// Modules of which nothing is known but why they are refused.
    unknown: BTreeMap<String, String>,
}

/// Modules by the paths that their manifests name.
pub struct Bindings {
    table: ArcSwap<Table>,
    /// One writer at a time.
    writing: Mutex<()>,
    /// How often the modules changed; 0 until the first look at all of them is over.
    changes: watch::Sender<u64>,
}

impl Default for Bindings {
    fn default() -> Self {
        Self { table: ArcSwap::default(), writing: Mutex::default(), changes: watch::channel(0).0 }
    }
}

impl Bindings {
    /// Asks this module from now on; requests under way end on the one before. Nothing changes when there is an error.
    ///
    /// # Errors
    /// When another module has one of its paths or names.
    pub fn serve(&self, module: Arc<dyn Module>, settings: Document) -> Result<(), Error> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.table.load();
        let (mut modules, mut unknown) = (before.modules.clone(), before.unknown.clone());
        let name = module.manifest().name.clone();
        unknown.remove(&name);
        modules.insert(name, Served { module, settings });
        self.change(Table { unknown, ..table(modules)? });
        Ok(())
    }

    /// A module is refused of which nothing can be read: what is registered stays, as some of it may be its own, and requests that find
    /// nobody are told why.
    pub fn keep(&self, name: &str, why: &str) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.table.load();
        let mut unknown = before.unknown.clone();
        unknown.insert(name.to_owned(), why.to_owned());
        let (paths, modules, converts) = (before.paths.clone(), before.modules.clone(), before.converts);
        self.change(Table { paths, modules, converts, unknown });
    }

    /// A module is gone: nobody is asked on its paths any more.
    pub fn remove(&self, name: &str) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.table.load();
        let (mut modules, mut unknown) = (before.modules.clone(), before.unknown.clone());
        unknown.remove(name);
        modules.remove(name);
        // What was no clash with it is none without it.
        if let Ok(table) = table(modules) {
            self.change(Table { unknown, ..table });
        }
    }

    fn change(&self, table: Table) {
        self.table.store(Arc::new(table));
        self.changes.send_modify(|changes| *changes += u64::from(*changes > 0));
    }

    /// Why modules are refused of which nothing else is known, one line each.
    pub(crate) fn unknown(&self) -> Vec<String> {
        self.table.load().unknown.iter().map(|(name, why)| format!("module {name} is refused: {why}")).collect()
    }

    /// All modules were looked at once: only from now on is it known what is to be registered.
    pub fn complete(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Whether the first look at all modules is over.
    pub fn is_complete(&self) -> bool {
        *self.changes.borrow() > 0
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(crate) fn at(&self, path: &str) -> Option<Arc<Binding>> {
        self.table.load().paths.get(path).cloned()
    }

    /// Who converts a kind.
    pub(crate) fn converter(&self, group: &str, kind: &str) -> Option<Arc<dyn Module>> {
        let table = self.table.load();
        let serves = |served: &&Served| {
            served.module.manifest().kinds.iter().any(|known| {
                let of = known.api_version.split_once('/').map_or("", |(group, _)| group);
                known.kind == kind && of == group
            })
        };
        table.modules.values().find(serves).map(|served| Arc::clone(&served.module))
    }

    /// Whether any module converts.
    pub(crate) fn converts(&self) -> bool {
        self.table.load().converts
    }

    /// The manifests of all modules, by name.
    pub(crate) fn manifests(&self) -> Vec<Manifest> {
        self.table.load().modules.values().map(|served| served.module.manifest().clone()).collect()
    }
}

fn table(modules: BTreeMap<String, Served>) -> Result<Table, Error> {
    let mut paths: HashMap<String, Arc<Binding>> = HashMap::new();
    let mut names: HashMap<(bool, String), String> = HashMap::new();
    for (owner, Served { module, settings }) in &modules {
        for rule in &module.manifest().webhooks {
            let taken = names.insert((rule.phase == Phase::Mutate, rule.name.clone()), owner.clone());
            if let Some(other) = taken.filter(|other| other != owner) {
                return Err(Error::Clash { what: rule.name.clone(), modules: [other, owner.clone()] });
            }
            let binding = Binding { module: Arc::clone(module), settings: settings.clone(), rule: rule.clone() };
            if let Some(other) = paths.insert(rule.path.clone(), Arc::new(binding)) {
                let other = other.module.manifest().name.clone();
                return Err(Error::Clash { what: rule.path.clone(), modules: [other, owner.clone()] });
            }
        }
    }
    let converts = modules.values().flat_map(|served| &served.module.manifest().kinds).any(is_converted);
    Ok(Table { paths, modules, converts, unknown: BTreeMap::new() })
}

/// Whether the API server is told to have this kind converted here: the CRD has several versions, and says so.
pub(crate) fn is_converted(kind: &ParentKind) -> bool {
    let versions = kind.crd.pointer("/spec/versions").and_then(Value::as_array).map_or(0, Vec::len);
    versions > 1 && kind.crd.pointer("/spec/conversion/strategy").and_then(Value::as_str) == Some("Webhook")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stub::{Stub, manifest};

    fn settings() -> Document {
        Document::new(&b"{}"[..])
    }

    #[test]
    fn the_next_version_of_a_module_takes_over_its_paths() {
        let bindings = Bindings::default();
        bindings.serve(Stub::accepting(manifest("m")), settings()).unwrap();
        let mut next = manifest("m");
        next.webhooks.retain(|rule| rule.phase == Phase::Validate);
        bindings.serve(Stub::accepting(next), settings()).unwrap();
        assert!(bindings.at("/mutate-m").is_none() && bindings.at("/validate-m").is_some());
    }

    #[test]
    fn a_module_with_another_ones_path_is_refused_and_the_other_goes_on() {
        let bindings = Bindings::default();
        bindings.serve(Stub::accepting(manifest("m")), settings()).unwrap();
        let mut thief = manifest("thief");
        thief.webhooks[0].path = "/validate-m".into();
        let error = bindings.serve(Stub::accepting(thief), settings()).unwrap_err();
        assert!(error.to_string().contains("/validate-m") && error.to_string().contains("thief"), "{error}");
        assert_eq!(bindings.at("/validate-m").unwrap().module.manifest().name, "m");
    }

    #[test]
    fn a_module_that_is_gone_is_asked_no_more_and_another_may_have_its_paths() {
        let bindings = Bindings::default();
        bindings.serve(Stub::accepting(manifest("m")), settings()).unwrap();
        bindings.remove("m");
        assert!(bindings.at("/validate-m").is_none() && bindings.manifests().is_empty());
        let heir = Manifest { name: "heir".into(), ..manifest("m") };
        bindings.serve(Stub::accepting(heir), settings()).unwrap();
        assert_eq!(bindings.at("/validate-m").unwrap().module.manifest().name, "heir");
    }

    #[test]
    fn nothing_is_known_to_register_before_all_modules_were_looked_at() {
        let bindings = Bindings::default();
        bindings.serve(Stub::accepting(manifest("m")), settings()).unwrap();
        assert!(!bindings.is_complete());
        bindings.complete();
        assert!(bindings.is_complete());
    }
}
