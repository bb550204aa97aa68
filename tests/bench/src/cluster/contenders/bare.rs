//! A bare loop: it sends what the operator would send for new parents, and nothing else.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt};
use kube::Client;
use operator_core::{
    Answer, Document, Finding, Module, ObjectRef, Snapshot,
    grants::Place,
    plan::{self, plan},
    status::{self, Progress},
};
use operator_engine::Loaded;
use serde_json::{Value, json};

use super::AT_ONCE;
use crate::{
    Error,
    cluster::{
        stage::{APPLY, HOME, Stage, send},
        trios,
    },
};

/// Who it is to the API server.
pub(crate) const USER: &str = "bare";

/// One request: the path and the body.
type Apply = (String, Document);

/// Serves the parents of a namespace: for each one request after the other.
pub(crate) async fn serve(stage: &Stage, client: &Client, module: &Loaded, namespace: &str) -> Result<(), Error> {
    let parents = trios::list(stage, namespace).await?;
    let all = parents.iter().map(|parent| applies(module, parent)).collect::<Result<Vec<_>, _>>()?;
    let served = async |applies: Vec<Apply>| {
        for (path, document) in applies {
            send(client, "PATCH", &path, APPLY, document.bytes().to_vec()).await?;
        }
        Ok::<_, Error>(())
    };
    futures::stream::iter(all).map(served).buffer_unordered(AT_ONCE).try_collect().await
}

/// What the operator sends for a new parent.
fn applies(module: &Loaded, parent: &Value) -> Result<Vec<Apply>, Error> {
    let document = Document::from_value(parent);
    let identity = document.identity()?;
    let nodes = Answer {
        id: "nodes".into(),
        outcome: Ok(Finding::Objects(Vec::new())),
        asked_at: None,
        extensions: Vec::new(),
    };
    let desired = module.reconcile_now(&Snapshot { answers: [nodes].into(), ..Snapshot::of(document) })?;
    let manifest = module.manifest();
    let planned = plan(plan::Input {
        module: &manifest.name,
        grants: &manifest.grants,
        finalizer: manifest.finalizer,
        place: Place { parent: identity.metadata.namespace.as_deref(), target: HOME },
        parent: &identity,
        finalizing: false,
        members: &[],
        existing: &BTreeMap::new(),
        held: &[],
        desired: &desired,
        known: &plan::Known::default(),
    })?;
    let manager = plan::manager(&manifest.name);
    let mut applies = Vec::new();
    let parent_path = object_path(&planned.parent);
    applies.extend(planned.record.clone().map(|record| (query(&parent_path, &manager), record)));
    for step in &planned.steps {
        applies.extend(step.document.clone().map(|child| (query(&object_path(&step.identity), &manager), child)));
    }
    let conditions = status::conditions(&desired.conditions, &Progress::of_plan(&planned));
    let parent = Document::from_value(parent);
    if let Some(status) = status::next(&parent, desired.status.as_ref(), &conditions, "2026-01-01T00:00:00Z")? {
        let ObjectRef { api_version, kind, namespace, name } = &planned.parent;
        let status = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": namespace},
            "status": status});
        let path = query(&format!("{parent_path}/status"), &plan::status_manager(&manifest.name));
        applies.push((path, Document::from_value(&status)));
    }
    if applies.len() == 5 { Ok(applies) } else { Err(Error::Unexpected(format!("{} requests, not 5", applies.len()))) }
}

fn query(path: &str, manager: &str) -> String {
    format!("{path}?fieldManager={manager}&force=true")
}

/// Where an object of the kinds that are used here is.
fn object_path(identity: &ObjectRef) -> String {
    let ObjectRef { api_version, kind, namespace, name } = identity;
    let root = if api_version.contains('/') { "apis" } else { "api" };
    let namespace = namespace.as_deref().unwrap_or_default();
    format!("/{root}/{api_version}/namespaces/{namespace}/{}s/{name}", kind.to_lowercase())
}
