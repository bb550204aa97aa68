//! `modctl plan`: what a module would change for the user's own files, and why.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use operator_core::{Module, ObjectRef, status::Progress};
use operator_engine::{Observer, Usage};
use operator_simulator::{FakeCluster, World, manifest::Manifest as FileDocument, misfit, view};
use serde_json::{Value, json};

use crate::{
    failure::Failure,
    files, load,
    output::{Report, table},
};

/// Shows what a module would change for an object, given the state of the cluster. Exit code 1 when its answer is refused.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The module's package.
    #[arg(long)]
    module: PathBuf,
    /// YAML or JSON with the object that is reconciled.
    parent: PathBuf,
    /// Objects that exist: nodes, pods, children; may be given several times.
    #[arg(long)]
    state: Vec<PathBuf>,
    /// The module's settings, as JSON.
    #[arg(long, default_value = "{}")]
    settings: String,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    let package = load::package(&arguments.module)?;
    let used: Arc<Mutex<Vec<Usage>>> = Arc::default();
    let engine = load::engine(true, Some(observer(&used)))?;
    let module = load::load(&engine, &package)?;
    let settings = load::settings(&module, &arguments.settings)?;
    let module: Arc<dyn Module> = Arc::new(module);
    let mut world = World::new("operator-system").map_err(|error| Failure::Internal(error.to_string()))?;
    world.serve(&package.manifest.name, module, settings);
    for path in &arguments.state {
        let file = path.display().to_string();
        for document in files::documents(path)? {
            check(&world.cluster, &file, &document)?;
            namespace(&world, &document);
            world.add(document.value);
        }
    }
    let parent = parent(&world, arguments)?;
    let outcome = world
        .reconcile(&package.manifest.name, &parent)
        .ok_or_else(|| Failure::Internal("the module does not serve".into()))?
        .map_err(|error| Failure::Bad(error.to_string()))?;
    let usage = used.lock().unwrap_or_else(PoisonError::into_inner).clone();
    report(&world, &parent, &outcome, &usage)
}

fn observer(used: &Arc<Mutex<Vec<Usage>>>) -> Observer {
    let used = Arc::clone(used);
    Arc::new(move |_, function, usage, _| {
        if function == "reconcile" {
            used.lock().unwrap_or_else(PoisonError::into_inner).push(*usage);
        }
    })
}

fn check(cluster: &FakeCluster, file: &str, document: &FileDocument) -> Result<(), Failure> {
    let text = |key: &str| document.value.get(key).and_then(Value::as_str).unwrap_or_default();
    let served = cluster.kind(text("kind")).is_some_and(|(api_version, _)| api_version == text("apiVersion"));
    if !served {
        return Err(Failure::Input(misfit::unknown_kind(file, document, &cluster.kind_names()).to_string()));
    }
    let schema = cluster.schema(text("apiVersion"), text("kind"));
    let misfits = schema.map_or_else(Vec::new, |schema| misfit::misfits(file, document, &schema));
    if misfits.is_empty() {
        return Ok(());
    }
    Err(Failure::Input(lines(&misfits)))
}

fn lines(misfits: &[misfit::Misfit]) -> String {
    misfits.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Makes the namespace that an object names: a fixture state need not repeat the obvious.
fn namespace(world: &World, document: &FileDocument) {
    for pointer in ["/metadata/namespace", "/spec/namespace"] {
        if let Some(namespace) = document.value.pointer(pointer).and_then(Value::as_str) {
            world.add_namespace(namespace);
        }
    }
}

/// Stores the parent as an API server would: webhooks, defaults, validation.
fn parent(world: &World, arguments: &Arguments) -> Result<ObjectRef, Failure> {
    let file = arguments.parent.display().to_string();
    let documents = files::documents(&arguments.parent)?;
    let Some(document) = documents.first() else {
        return Err(Failure::Input(format!("{file} holds no object; write one with apiVersion and kind")));
    };
    check(&world.cluster, &file, document)?;
    namespace(world, document);
    let name = document.value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    if name.is_empty() {
        return Err(Failure::Input(
            misfit::Misfit::at(&file, document, "metadata.name", "is required; add it").to_string(),
        ));
    }
    let kind = document.value.get("kind").and_then(Value::as_str).unwrap_or_default();
    let namespace = document.value.pointer("/metadata/namespace").and_then(Value::as_str);
    let named = namespace.map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"));
    let identity = world.named(kind, &named).map_err(Failure::Input)?;
    let (code, answer) = world.apply(&identity, &document.value);
    if code >= 400 {
        return Err(Failure::Bad(lines(&misfit::refusal(&file, document, &answer))));
    }
    Ok(identity)
}

fn report(
    world: &World,
    parent: &ObjectRef,
    outcome: &operator_simulator::Outcome,
    usage: &[Usage],
) -> Result<Report, Failure> {
    let mut lines = Vec::new();
    let mut rows = Vec::new();
    if let Some(plan) = &outcome.plan {
        rows.extend(plan.steps.iter().chain(&plan.prune).map(|s| (s.verb.to_string(), &s.identity, &s.changes)));
        rows.extend(plan.partials.iter().map(|s| (s.verb.to_string(), &s.identity, &s.changes)));
    }
    let shown = rows.iter().map(|(verb, identity, changes)| {
        let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
        vec![verb.clone(), identity.to_string(), changes.join("\n")]
    });
    lines.extend(table(&["plan", "object", "why"], shown));
    lines.push(String::new());
    lines.extend(view::tree(world));
    lines.push(String::new());
    let named = parent.namespace.as_ref().map_or_else(|| parent.name.clone(), |n| format!("{n}/{}", parent.name));
    lines.extend(view::status(world, &parent.kind, &named).map_err(Failure::Internal)?);
    let calls = usage.len();
    let instructions: u64 = usage.iter().filter_map(|usage| usage.instructions).max().unwrap_or(0);
    let memory = usage.iter().map(|usage| usage.memory_bytes).max().unwrap_or(0) / 1024;
    lines.push(String::new());
    lines.push(format!("{calls} calls, at most {instructions} instructions and {memory} KiB each"));
    let steps: Vec<Value> = rows
        .iter()
        .map(|(verb, identity, changes)| {
            let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
            json!({"verb": verb, "object": identity.to_string(), "changes": changes})
        })
        .collect();
    let (bad, stalled) = match &outcome.progress {
        Progress::Stalled { reason, message } => (true, json!({"reason": reason, "message": message})),
        _ => (false, Value::Null),
    };
    let object = world.cluster.object(parent).unwrap_or_default();
    let value = json!({
        "plan": steps, "status": object.get("status"), "stalled": stalled,
        "calls": calls, "instructions": instructions, "memoryKib": memory,
    });
    Ok(Report { lines, value, bad })
}
