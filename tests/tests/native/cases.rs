//! What modules are asked: every file beside the tests of a module, and the requests that follow from an object.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use operator_core::{
    Document, ObjectRef, Request, Snapshot, User,
    contract::{Operation, Phase},
    patch,
};
use serde_json::{Value, json};

use crate::{
    edits,
    outcome::Answer,
    told,
    twins::{Call, Twin},
};

/// One call, and where it comes from.
pub(crate) struct Case {
    pub(crate) origin: String,
    pub(crate) call: Call,
}

/// A snapshot of a module, from a file or from its tests.
pub(crate) struct State {
    pub(crate) origin: String,
    pub(crate) snapshot: Snapshot,
}

/// The folders of modules under `guests`, by name.
pub(crate) fn modules() -> BTreeMap<String, PathBuf> {
    let entries = fs::read_dir(test_support::checkout().join("guests")).unwrap().map(|entry| entry.unwrap().path());
    // What becomes WebAssembly; the others are libraries.
    let is_module = |folder: &PathBuf| {
        fs::read_to_string(folder.join("Cargo.toml")).is_ok_and(|manifest| manifest.contains("\"cdylib\""))
    };
    let name = |folder: PathBuf| (folder.file_name().unwrap().to_str().unwrap().to_owned(), folder);
    entries.filter(is_module).map(name).collect()
}

/// The YAML files below a folder, with their paths within the checkout.
pub(crate) fn yaml_files(folder: &Path) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(yaml_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            let name = path.strip_prefix(test_support::checkout()).unwrap().display().to_string();
            files.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
    files.sort();
    files
}

/// The states among the files of a module, and the requests.
pub(crate) fn of_files(twin: &Twin) -> (Vec<State>, Vec<Case>) {
    let (mut states, mut requests) = (Vec::new(), Vec::new());
    for (origin, text) in yaml_files(&modules()[twin.name].join("tests")) {
        let file: Value = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{origin}: {error}"));
        if file.get("parent").is_some() {
            states.push(state(twin, origin, &text));
        } else {
            let request = (twin.native.request)(&text).unwrap_or_else(|error| panic!("{origin}: {error}"));
            let request = told::request_to_host(request);
            let phases =
                if file.get("phase").is_some() { vec![request.phase] } else { vec![Phase::Mutate, Phase::Validate] };
            let each = phases.into_iter().map(|phase| Call::Admit(Request { phase, ..request.clone() }));
            requests.extend(each.map(|call| Case { origin: origin.clone(), call }));
        }
    }
    (states, requests)
}

/// A snapshot file, without what the host cuts from objects.
pub(crate) fn state(twin: &Twin, origin: impl Into<String>, text: &str) -> State {
    let origin = origin.into();
    let mut told = (twin.native.snapshot)(text).unwrap_or_else(|error| panic!("{origin}: {error}"));
    for document in told.children.iter_mut().map(|child| &mut child.document).chain([&mut told.parent]) {
        cut(document);
    }
    State { origin, snapshot: told::to_host(told) }
}

/// Field claims, and what `kubectl apply` keeps in an annotation.
fn cut(document: &mut Vec<u8>) {
    let mut object: Value = serde_json::from_slice(document).unwrap();
    let applied = "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration";
    for (pointer, left) in [("/metadata/managedFields", json!([])), (applied, json!(""))] {
        if let Some(value) = object.pointer_mut(pointer) {
            *value = left;
        }
    }
    *document = object.to_string().into_bytes();
}

/// The reconciles of a state: as it is, at the beginning, before anything is known, and at the end.
pub(crate) fn reconciles(state: &State) -> Vec<Case> {
    let snapshot = &state.snapshot;
    let first = Snapshot {
        settings: snapshot.settings.clone(),
        now: snapshot.now,
        api_versions: snapshot.api_versions.clone(),
        ..Snapshot::of(snapshot.parent.clone())
    };
    let unanswered = Snapshot { answers: [].into(), ..snapshot.clone() };
    let without_time = Snapshot { now: None, ..snapshot.clone() };
    let without_settings = Snapshot { settings: Document::new(&b"{}"[..]), ..snapshot.clone() };
    let ways = [
        ("as it is", snapshot.clone()),
        ("for the first time", first.clone()),
        ("without answers", unanswered),
        ("without the time", without_time),
        ("without settings", without_settings),
        ("being deleted", Snapshot { finalizing: true, ..snapshot.clone() }),
        ("being deleted at once", Snapshot { finalizing: true, ..first }),
    ];
    let case = |(how, snapshot)| Case { origin: format!("{}, {how}", state.origin), call: Call::Reconcile(snapshot) };
    ways.into_iter().map(case).collect()
}

/// What a module can be asked about an object of its kind: all operations in both phases, with the defaults, without each part of its spec, and
/// when what is stored cannot be read any more; and conversions.
pub(crate) fn requests(twin: &Twin, origin: &str, object: &Value, settings: &Document) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut push = |how: &str, call| cases.push(Case { origin: format!("{origin}, {how}"), call });
    let new = Some(object);
    push("its defaults", Call::Admit(request(twin, Phase::Mutate, new, None, settings)));
    push("its defaults on an update", Call::Admit(request(twin, Phase::Mutate, new, new, settings)));
    push("created", Call::Admit(request(twin, Phase::Validate, new, None, settings)));
    push("updated", Call::Admit(request(twin, Phase::Validate, new, new, settings)));
    push("deleted", Call::Admit(request(twin, Phase::Validate, None, new, settings)));
    let mut unreadable = object.clone();
    unreadable["spec"] = json!(["no", "spec"]);
    push("repaired", Call::Admit(request(twin, Phase::Validate, new, Some(&unreadable), settings)));
    push("spoilt", Call::Admit(request(twin, Phase::Validate, Some(&unreadable), new, settings)));
    if let Some(complete) = with_defaults(twin, object, settings) {
        push("created with its defaults", Call::Admit(request(twin, Phase::Validate, Some(&complete), None, settings)));
        push(
            "as if its defaults were a change",
            Call::Admit(request(twin, Phase::Validate, Some(&complete), new, settings)),
        );
    }
    for (pointer, less) in edits::without_each(object, "/spec") {
        for phase in [Phase::Mutate, Phase::Validate] {
            let request = request(twin, phase, Some(&less), None, settings);
            push(&format!("without {pointer}, {phase:?}"), Call::Admit(request));
        }
    }
    for api_version in versions(twin) {
        push(&format!("converted to {api_version}"), Call::Convert(api_version, vec![Document::from_value(object)]));
    }
    cases
}

/// The object with the module's defaults, as the host stores it; none where there are none.
fn with_defaults(twin: &Twin, object: &Value, settings: &Document) -> Option<Value> {
    let request = request(twin, Phase::Mutate, Some(object), None, settings);
    match twin.natively(&Call::Admit(request.clone())).answer {
        Answer::Verdict(verdict) => patch::mutated(&request, &verdict).unwrap(),
        _ => None,
    }
}

/// The versions of the module's kinds, and one that there is not.
fn versions(twin: &Twin) -> Vec<String> {
    let mut versions = Vec::new();
    for kind in &twin.manifest().kinds {
        let group = kind.api_version.rsplit_once('/').map_or(String::new(), |(group, _)| format!("{group}/"));
        let named = kind.crd["spec"]["versions"].as_array().into_iter().flatten();
        versions.extend(named.map(|version| format!("{group}{}", version["name"].as_str().unwrap())));
        versions.push(format!("{group}v0"));
    }
    versions
}

/// A request as the host's webhook asks it.
pub(crate) fn request(
    twin: &Twin,
    phase: Phase,
    object: Option<&Value>,
    old: Option<&Value>,
    settings: &Document,
) -> Request {
    let operation = match (object, old) {
        (Some(_), None) => Operation::Create,
        (Some(_), Some(_)) => Operation::Update,
        (None, _) => Operation::Delete,
    };
    let request = Request {
        phase,
        operation,
        identity: identity(object.or(old).unwrap()),
        subresource: None,
        object: object.map(Document::from_value),
        old_object: old.map(Document::from_value),
        user: User { name: "ada".into(), groups: vec!["system:authenticated".into()] },
        dry_run: false,
        settings: settings.clone(),
    };
    request.seen(twin.manifest().webhooks.iter().all(|rule| rule.status))
}

fn identity(object: &Value) -> ObjectRef {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    ObjectRef {
        api_version: text("/apiVersion").unwrap_or_default(),
        kind: text("/kind").unwrap_or_default(),
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name").unwrap_or_default(),
    }
}

/// Settings that a module takes or refuses.
pub(crate) fn settings(states: &[State]) -> Vec<Case> {
    let own = states.iter().map(|state| (state.origin.clone(), state.snapshot.settings.clone()));
    let odd = ["{}", r#"{"unknown": 1}"#, r#"{"namespace": 7}"#, r#"{"namespace": null}"#, "[]", "null", "{", ""];
    let odd = odd.map(|text| (format!("settings {text:?}"), Document::new(text.to_owned())));
    let case = |(origin, settings)| Case { origin: format!("{origin}, its settings"), call: Call::Settings(settings) };
    own.chain(odd).map(case).collect()
}

/// All calls that follow from the files of a module.
pub(crate) fn all(twin: &Twin) -> Vec<Case> {
    let (states, mut cases) = of_files(twin);
    cases.extend(settings(&states));
    for state in &states {
        cases.extend(reconciles(state));
        let parent = state.snapshot.parent.to_value().unwrap();
        cases.extend(requests(twin, &state.origin, &parent, &state.snapshot.settings));
    }
    cases
}
