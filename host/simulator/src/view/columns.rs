//! The columns of tables: as a CRD declares them, or as `kubectl` shows built-in kinds.

use serde_json::Value;

use crate::World;

/// A column: its head, and what it shows of an object.
pub(super) type Column = (String, Box<dyn Fn(&Value) -> String>);

/// The columns of a kind after the name.
pub(super) fn of(world: &World, api_version: &str, kind: &str) -> Vec<Column> {
    let shown = built_in(kind);
    if !shown.is_empty() && world.cluster.schema(api_version, kind).is_none() {
        let column = |(head, cell): &(&str, Cell)| {
            let cell = *cell;
            ((*head).to_owned(), Box::new(move |object: &Value| cell.of(object)) as Box<dyn Fn(&Value) -> String>)
        };
        return shown.iter().map(column).collect();
    }
    declared(world, api_version, kind)
}

fn declared(world: &World, api_version: &str, kind: &str) -> Vec<Column> {
    let version = api_version.rsplit('/').next().unwrap_or_default();
    let crds = world.cluster.all("apiextensions.k8s.io/v1", "CustomResourceDefinition");
    let crd = crds.iter().find(|crd| crd.pointer("/spec/names/kind").and_then(Value::as_str) == Some(kind));
    let versions = crd.and_then(|crd| crd.pointer("/spec/versions")).and_then(Value::as_array).cloned();
    let columns = versions
        .into_iter()
        .flatten()
        .find(|v| v.get("name").and_then(Value::as_str) == Some(version))
        .and_then(|v| v.get("additionalPrinterColumns").and_then(Value::as_array).cloned())
        .unwrap_or_default();
    let text = |column: &Value, key: &str| column.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    columns
        .iter()
        .filter(|c| c.get("priority").and_then(Value::as_i64).unwrap_or(0) == 0 && text(c, "type") != "date")
        .map(|c| {
            let path = text(c, "jsonPath");
            let cell = move |object: &Value| cell(object, &path);
            (text(c, "name").to_uppercase(), Box::new(cell) as Box<dyn Fn(&Value) -> String>)
        })
        .collect()
}

/// What is at a dotted path.
fn cell(object: &Value, path: &str) -> String {
    let found = path.split('.').filter(|part| !part.is_empty()).try_fold(object, |value, part| value.get(part));
    match found {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// What a cell of a built-in kind shows.
#[derive(Clone, Copy)]
enum Cell {
    /// What is at a path.
    At(&'static str),
    /// What is at a path, or a number that a server leaves out when it is nought.
    Count(&'static str),
    /// Two numbers: so many of so many.
    Of(&'static str, &'static str),
    /// Anything else.
    Told(fn(&Value) -> String),
}

impl Cell {
    fn of(self, object: &Value) -> String {
        let count = |path: &str| Some(cell(object, path)).filter(|text| !text.is_empty()).unwrap_or_else(|| "0".into());
        match self {
            Self::At(path) => cell(object, path),
            Self::Count(path) => count(path),
            Self::Of(part, whole) => format!("{}/{}", count(part), count(whole)),
            Self::Told(tell) => tell(object),
        }
    }
}

fn built_in(kind: &str) -> &'static [(&'static str, Cell)] {
    use Cell::{At, Count, Of, Told};
    match kind {
        "StatefulSet" => &[("READY", Of("status.readyReplicas", "spec.replicas"))],
        "Deployment" => &[
            ("READY", Of("status.readyReplicas", "spec.replicas")),
            ("UP-TO-DATE", Count("status.updatedReplicas")),
            ("AVAILABLE", Count("status.availableReplicas")),
        ],
        "ReplicaSet" => &[
            ("DESIRED", Count("spec.replicas")),
            ("CURRENT", Count("status.replicas")),
            ("READY", Count("status.readyReplicas")),
        ],
        "DaemonSet" => &[
            ("DESIRED", Count("status.desiredNumberScheduled")),
            ("CURRENT", Count("status.currentNumberScheduled")),
            ("READY", Count("status.numberReady")),
            ("UP-TO-DATE", Count("status.updatedNumberScheduled")),
            ("AVAILABLE", Count("status.numberAvailable")),
        ],
        "Pod" => &[("READY", Told(containers)), ("STATUS", Told(phase)), ("NODE", At("spec.nodeName"))],
        "PersistentVolumeClaim" => &[
            ("STATUS", At("status.phase")),
            ("CAPACITY", At("status.capacity.storage")),
            ("STORAGECLASS", At("spec.storageClassName")),
        ],
        "PodDisruptionBudget" => &[
            ("MIN AVAILABLE", At("spec.minAvailable")),
            ("MAX UNAVAILABLE", At("spec.maxUnavailable")),
            ("ALLOWED DISRUPTIONS", Count("status.disruptionsAllowed")),
        ],
        "Service" => &[("TYPE", At("spec.type")), ("CLUSTER-IP", At("spec.clusterIP")), ("PORT(S)", Told(ports))],
        _ => &[],
    }
}

fn list<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    object.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn containers(pod: &Value) -> String {
    let ready = list(pod, "/status/containerStatuses").filter(|status| status.get("ready") == Some(&Value::Bool(true)));
    format!("{}/{}", ready.count(), list(pod, "/spec/containers").count())
}

/// The phase of a pod, or what keeps it from running.
fn phase(pod: &Value) -> String {
    if pod.pointer("/metadata/deletionTimestamp").is_some() {
        return "Terminating".to_owned();
    }
    let waiting = list(pod, "/status/containerStatuses")
        .find_map(|status| status.pointer("/state/waiting/reason")?.as_str().map(str::to_owned));
    waiting.unwrap_or_else(|| cell(pod, "status.phase"))
}

fn ports(service: &Value) -> String {
    let one = |port: &Value| {
        let node = Some(cell(port, "nodePort")).filter(|node| !node.is_empty()).map(|node| format!(":{node}"));
        format!("{}{}/{}", cell(port, "port"), node.unwrap_or_default(), cell(port, "protocol"))
    };
    list(service, "/spec/ports").map(one).collect::<Vec<_>>().join(",")
}
