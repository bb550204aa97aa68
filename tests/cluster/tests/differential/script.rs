//! Scripts as data: steps that become requests, and how they are generated.

use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Value, json};

use super::{
    kinds::Kind,
    sides::{Memory, Request},
};

/// The names that objects of a script have.
pub(crate) const NAMES: [&str; 2] = ["a", "b"];
const MANAGERS: [&str; 3] = ["one", "two", "three"];

/// Which version of its object a request says it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Unsaid,
    Current,
    Stale,
}

/// How a patch is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patch {
    Merge,
    Json,
    Strategic,
}

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Create,
    Generate,
    Get,
    List(&'static str),
    Apply { force: bool },
    Update,
    Patch { how: Patch, remove: bool },
    Delete { propagation: Option<&'static str>, other_uid: bool },
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) verb: Verb,
    pub(crate) name: usize,
    pub(crate) manager: usize,
    /// Which fragments are laid over the base, counted around.
    pub(crate) fragments: Vec<usize>,
    pub(crate) version: Version,
    pub(crate) dry_run: bool,
    /// Whether it is about the status.
    pub(crate) status: bool,
}

impl Step {
    pub(crate) fn new(verb: Verb) -> Self {
        Self {
            verb,
            name: 0,
            manager: 0,
            fragments: Vec::new(),
            version: Version::Unsaid,
            dry_run: false,
            status: false,
        }
    }

    /// What is counted: each of these has to be sent to each kind.
    pub(crate) fn label(&self) -> String {
        let verb = match self.verb {
            Verb::Create => "create".to_owned(),
            Verb::Generate => "create with generateName".to_owned(),
            Verb::Get => "get".to_owned(),
            Verb::List("") => "list".to_owned(),
            Verb::List(selector) if selector.starts_with("field") => "list by field".to_owned(),
            Verb::List(_) => "list by label".to_owned(),
            Verb::Apply { force: false } => "apply".to_owned(),
            Verb::Apply { force: true } => "apply by force".to_owned(),
            Verb::Update => "update".to_owned(),
            Verb::Patch { how, .. } => format!("{how:?} patch").to_lowercase(),
            Verb::Delete { other_uid: true, .. } => "delete another".to_owned(),
            Verb::Delete { propagation, .. } => format!("delete {}", propagation.unwrap_or("as usual")),
        };
        let stale = if self.version == Version::Stale { " of a stale version" } else { "" };
        let dry = if self.dry_run { ", dry run" } else { "" };
        let of_status = if self.status { "status: " } else { "" };
        format!("{of_status}{verb}{stale}{dry}")
    }

    /// The request, as somebody sends it who remembers what was answered before.
    pub(crate) fn request(&self, kind: &Kind, run: &str, memory: &Memory) -> Request {
        let name = object_name(kind, run, self.name);
        let all = collection(kind, run);
        let one = format!("{all}/{name}{}", if self.status { "/status" } else { "" });
        let manager = format!("fieldManager={}", MANAGERS[self.manager % MANAGERS.len()]);
        let dry = if self.dry_run { "&dryRun=All" } else { "" };
        match self.verb {
            Verb::Create => Request::new("POST", format!("{all}?{manager}{dry}"), JSON, self.object(kind, run, memory)),
            Verb::Generate => {
                let mut object = self.object(kind, run, memory);
                let metadata = object["metadata"].as_object_mut().unwrap();
                metadata.remove("name");
                metadata.insert("generateName".into(), format!("{}-", object_name(kind, run, 0)).into());
                Request::new("POST", format!("{all}?{manager}{dry}"), JSON, object)
            }
            Verb::Get => Request::new("GET", one, JSON, Value::Null),
            Verb::List(selector) => {
                // Objects of other scripts are no concern of this one.
                let selector = match (kind.namespaced, selector.split_once('=')) {
                    (true, _) => selector.to_owned(),
                    (false, Some(("labelSelector", rest))) => format!("labelSelector=run%3D{run},{rest}"),
                    (false, Some(("fieldSelector", _))) => format!("fieldSelector=metadata.name%3D{name}"),
                    (false, _) => format!("labelSelector=run%3D{run}"),
                };
                Request::new("GET", format!("{all}?{selector}"), JSON, Value::Null)
            }
            Verb::Apply { force } => {
                let path = format!("{one}?{manager}{dry}{}", if force { "&force=true" } else { "" });
                Request::new("PATCH", path, "application/apply-patch+yaml", self.object(kind, run, memory))
            }
            Verb::Update => Request::new("PUT", format!("{one}?{manager}{dry}"), JSON, self.object(kind, run, memory)),
            Verb::Patch { how, remove } => {
                let (content, body) = self.patch(kind, run, how, remove, memory);
                Request::new("PATCH", format!("{one}?{manager}{dry}"), content, body)
            }
            Verb::Delete { propagation, other_uid } => {
                let mut options = json!({"apiVersion": "v1", "kind": "DeleteOptions"});
                if let Some(propagation) = propagation {
                    options["propagationPolicy"] = propagation.into();
                }
                if other_uid {
                    options["preconditions"] = json!({"uid": "33333333-3333-3333-3333-333333333333"});
                }
                if self.dry_run {
                    options["dryRun"] = json!(["All"]);
                }
                Request::new("DELETE", one, JSON, options)
            }
        }
    }

    /// What the fragments say together.
    fn said(&self, kind: &Kind, run: &str) -> Value {
        let from = if self.status { &kind.statuses } else { &kind.fragments };
        let mut said = json!({});
        for index in &self.fragments {
            merge(&mut said, &from[index % from.len()]);
        }
        in_run(said, run)
    }

    fn object(&self, kind: &Kind, run: &str, memory: &Memory) -> Value {
        let name = object_name(kind, run, self.name);
        let mut object = json!({"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": name}});
        if !kind.namespaced {
            object["metadata"]["labels"] = json!({ "run": run });
        }
        // Who applies a status says nothing else.
        if !(self.status && matches!(self.verb, Verb::Apply { .. })) {
            merge(&mut object, &in_run(kind.base.clone(), run));
        }
        merge(&mut object, &self.said(kind, run));
        if let Some(version) = self.version(&name, memory) {
            object["metadata"]["resourceVersion"] = version.into();
        }
        object
    }

    fn version(&self, name: &str, memory: &Memory) -> Option<String> {
        match self.version {
            Version::Unsaid => None,
            Version::Current => memory.current(name),
            Version::Stale => Some(memory.stale(name)),
        }
    }

    fn patch(&self, kind: &Kind, run: &str, how: Patch, remove: bool, memory: &Memory) -> (&'static str, Value) {
        let mut said = self.said(kind, run);
        let version = self.version(&object_name(kind, run, self.name), memory);
        if how == Patch::Json {
            let mut operations = Vec::new();
            if let Some(version) = version {
                operations.push(json!({"op": "test", "path": "/metadata/resourceVersion", "value": version}));
            }
            leaves(&said, String::new(), &mut |path, value| {
                operations.push(if remove {
                    json!({"op": "remove", "path": path})
                } else {
                    json!({"op": "add", "path": path, "value": value})
                });
            });
            return ("application/json-patch+json", Value::Array(operations));
        }
        if remove && !self.fragments.is_empty() {
            nothing(&mut said);
        }
        if let Some(version) = version {
            merge(&mut said, &json!({"metadata": {"resourceVersion": version}}));
        }
        let content =
            if how == Patch::Merge { "application/merge-patch+json" } else { "application/strategic-merge-patch+json" };
        (content, said)
    }
}

const JSON: &str = "application/json";

/// The path of all objects of a kind that a script may see.
pub(crate) fn collection(kind: &Kind, run: &str) -> String {
    let root = if kind.api_version.contains('/') { "apis" } else { "api" };
    let within = if kind.namespaced { format!("/namespaces/{run}") } else { String::new() };
    format!("/{root}/{}{within}/{}", kind.api_version, kind.plural)
}

fn object_name(kind: &Kind, run: &str, index: usize) -> String {
    let name = NAMES[index % NAMES.len()];
    if kind.namespaced { name.to_owned() } else { format!("{run}-{name}") }
}

/// Puts the script's own namespace where a body asks for it.
fn in_run(value: Value, run: &str) -> Value {
    match value {
        Value::String(text) if text == "$ns" => run.into(),
        Value::Object(map) => map.into_iter().map(|(key, inner)| (key, in_run(inner, run))).collect(),
        Value::Array(elements) => elements.into_iter().map(|inner| in_run(inner, run)).collect(),
        other => other,
    }
}

/// Lays one value over another; lists are replaced.
fn merge(value: &mut Value, over: &Value) {
    match (value, over) {
        (Value::Object(map), Value::Object(over)) => {
            for (key, inner) in over {
                merge(map.entry(key.clone()).or_insert(Value::Null), inner);
            }
        }
        (value, over) => *value = over.clone(),
    }
}

fn leaves(value: &Value, at: String, each: &mut dyn FnMut(String, &Value)) {
    match value.as_object() {
        Some(map) if !map.is_empty() => {
            for (key, inner) in map {
                leaves(inner, format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), each);
            }
        }
        _ if at.is_empty() => {}
        _ => each(at, value),
    }
}

fn nothing(value: &mut Value) {
    match value.as_object_mut() {
        Some(map) if !map.is_empty() => map.values_mut().for_each(nothing),
        _ => *value = Value::Null,
    }
}

/// Any step that a kind can be asked for.
pub(crate) fn any_step(has_status: bool) -> impl Strategy<Value = Step> {
    let verb = prop_oneof![
        3 => Just(Verb::Create),
        1 => Just(Verb::Generate),
        1 => Just(Verb::Get),
        1 => select(SELECTORS.to_vec()).prop_map(Verb::List),
        8 => any::<bool>().prop_map(|force| Verb::Apply { force }),
        3 => Just(Verb::Update),
        4 => (select(vec![Patch::Merge, Patch::Json, Patch::Strategic]), prop::bool::weighted(0.3))
            .prop_map(|(how, remove)| Verb::Patch { how, remove }),
        3 => (option::of(select(PROPAGATIONS.to_vec())), prop::bool::weighted(0.1))
            .prop_map(|(propagation, other_uid)| Verb::Delete { propagation, other_uid }),
    ];
    let version = prop_oneof![6 => Just(Version::Unsaid), 2 => Just(Version::Current), 1 => Just(Version::Stale)];
    let status = prop::bool::weighted(if has_status { 0.2 } else { 0.0 });
    (verb, 0..2_usize, 0..3_usize, vec(0..60_usize, 0..4), version, prop::bool::weighted(0.1), status).prop_map(
        |(verb, name, manager, fragments, version, dry_run, status)| {
            let writes = matches!(verb, Verb::Apply { .. } | Verb::Update | Verb::Patch { .. });
            // Few scripts would get far if both names were as likely.
            let name = if manager == 2 { name } else { 0 };
            let reads = matches!(verb, Verb::Get | Verb::List(_));
            let version = if writes { version } else { Version::Unsaid };
            Step { verb, name, manager, fragments, version, dry_run: dry_run && !reads, status: status && writes }
        },
    )
}

pub(crate) const PROPAGATIONS: [&str; 3] = ["Background", "Foreground", "Orphan"];

/// Ways to choose objects of a list.
pub(crate) const SELECTORS: [&str; 7] = [
    "",
    "labelSelector=a%3Dx",
    "labelSelector=a%20in%20%28x%2Cy%29,b!%3Dx",
    "labelSelector=!a",
    "labelSelector=b",
    "labelSelector=a%20notin%20%28x%29",
    "fieldSelector=metadata.name%3Da",
];
