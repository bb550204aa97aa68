//! The calls that the host makes while the scenarios run.

use std::{
    collections::BTreeSet,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::PathBuf,
    sync::{Arc, Mutex},
};

use operator_core::{
    Answer, BoxFuture, Cause, Desired, Document, Failure, Finding, Generation, Module, Request, Snapshot, Verdict,
    contract::Manifest,
};
use operator_simulator::scenario::{Files, ModuleSource, Scenario};

use crate::twins::{Call, TWINS, Twin};

/// The scenarios that are committed.
pub(crate) fn files() -> Vec<PathBuf> {
    let entries = fs::read_dir(test_support::checkout().join("tests/scenarios")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = paths.filter(|path| path.extension().is_some_and(|end| end == "scenario")).collect();
    files.sort();
    files
}

/// Runs a scenario: each call that it makes, once.
pub(crate) fn calls(path: &PathBuf) -> Vec<(&'static Twin, Call)> {
    let name = path.file_name().unwrap().to_str().unwrap();
    let recorder = Recorder::default();
    let scenario = Scenario::parse(name, &fs::read_to_string(path).unwrap()).unwrap();
    scenario.run(&recorder, &Beside(path.clone()), &mut []).unwrap();
    std::mem::take(&mut recorder.0.lock().unwrap().calls)
}

/// Files beside the script.
struct Beside(PathBuf);

impl Files for Beside {
    fn read(&self, name: &str) -> Result<String, String> {
        fs::read_to_string(self.0.with_file_name(name)).map_err(|error| format!("{name}: {error}"))
    }
}

/// Loads modules that note their calls.
#[derive(Default)]
struct Recorder(Arc<Mutex<Record>>);

#[derive(Default)]
struct Record {
    calls: Vec<(&'static Twin, Call)>,
    known: BTreeSet<(&'static str, u64)>,
}

impl ModuleSource for Recorder {
    fn load(&self, name: &str) -> Result<Arc<dyn Module>, String> {
        let twin = TWINS.get(name).ok_or_else(|| format!("{name} is not linked natively; add it to NATIVES"))?;
        Ok(Arc::new(Recorded { twin, record: Arc::clone(&self.0) }))
    }
}

/// A module in the sandbox whose calls are noted.
struct Recorded {
    twin: &'static Twin,
    record: Arc<Mutex<Record>>,
}

impl Recorded {
    fn note(&self, call: &Call) {
        let key = (self.twin.name, key(call));
        let mut record = self.record.lock().unwrap();
        if record.known.insert(key) {
            record.calls.push((self.twin, call.clone()));
        }
    }
}

impl Module for Recorded {
    fn generation(&self) -> &Generation {
        self.twin.loaded.generation()
    }

    fn manifest(&self) -> &Manifest {
        self.twin.loaded.manifest()
    }

    fn reconcile(&self, snapshot: Snapshot) -> BoxFuture<'_, Result<Desired, Failure>> {
        self.note(&Call::Reconcile(snapshot.clone()));
        self.twin.loaded.reconcile(snapshot)
    }

    fn admit(&self, request: Request) -> BoxFuture<'_, Result<Verdict, Failure>> {
        self.note(&Call::Admit(request.clone()));
        self.twin.loaded.admit(request)
    }

    fn convert(&self, api_version: String, objects: Vec<Document>) -> BoxFuture<'_, Result<Vec<Document>, Failure>> {
        self.note(&Call::Convert(api_version.clone(), objects.clone()));
        self.twin.loaded.convert(api_version, objects)
    }

    fn validate_settings(&self, settings: Document) -> BoxFuture<'_, Result<Result<(), Vec<Cause>>, Failure>> {
        self.note(&Call::Settings(settings.clone()));
        self.twin.loaded.validate_settings(settings)
    }
}

/// The same for calls that say the same: traffic repeats one call thousands of times.
fn key(call: &Call) -> u64 {
    let mut hash = DefaultHasher::new();
    std::mem::discriminant(call).hash(&mut hash);
    let mut document = |document: &Document| document.bytes().hash(&mut hash);
    match call {
        Call::Reconcile(snapshot) => {
            document(&snapshot.parent);
            document(&snapshot.settings);
            snapshot.children.iter().for_each(|child| document(&child.document));
            let found = snapshot.answers.iter().filter_map(|answer| match &answer.outcome {
                Ok(Finding::Objects(found)) => Some(found),
                _ => None,
            });
            found.flatten().for_each(|object| document(&object.document));
            // Without the documents, of which their text tells only the size.
            let answers: &[Answer] = &snapshot.answers;
            format!("{answers:?} {} {:?} {:?}", snapshot.finalizing, snapshot.now, snapshot.api_versions)
                .hash(&mut hash);
        }
        Call::Admit(request) => {
            request.object.iter().chain(&request.old_object).for_each(document);
            format!("{request:?}").hash(&mut hash);
        }
        Call::Convert(api_version, objects) => {
            objects.iter().for_each(document);
            api_version.hash(&mut hash);
        }
        Call::Settings(settings) => document(settings),
    }
    hash.finish()
}
