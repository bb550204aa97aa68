//! Scripts: what they print, and what they say when something is wrong. The module asks a server, sends what it lacks, and runs a
//! program in a pod.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests are tests, which the lints cannot see"
)]

mod servers;
#[path = "../support/told.rs"]
mod told;

use std::sync::Arc;

use operator_core::{
    Action, CommandQuery, Deed, Desired, Document, Finding, HeaderValue, HttpRequest, Module, Query, Question,
    SecretKey, Snapshot, Trust, contract::Manifest,
};
use operator_simulator::scenario::{Files, Format, ModuleSource, Scenario, ScenarioError};
use serde_json::json;
use told::Told;

const URL: &str = "https://server.example:8081/v1/thing";

fn manifest() -> Manifest {
    serde_json::from_value(json!({
        "name": "told", "version": "1.0.0", "contract": "1.0.0", "codec": "json/1", "finalizer": false,
        "kinds": [{"apiVersion": "example.org/v1", "kind": "Thing", "plural": "things", "scope": "Namespaced", "crd": {
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "things.example.org"},
            "spec": {"group": "example.org", "scope": "Namespaced", "names": {"kind": "Thing", "plural": "things"},
                "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}}}],
        "grants": {
            "http": [{"host": "server.example", "ports": [8081], "methods": ["GET", "PUT"]}],
            "secrets": [{"names": ["token", "ca"], "hosts": ["server.example"]}],
            "commands": [{"containers": ["main"], "programs": ["tool"], "namespaces": "all"}],
        },
    }))
    .unwrap()
}

fn request(method: &str, trust: Trust) -> HttpRequest {
    let token = HeaderValue::Secret(SecretKey { name: "token".into(), key: "token".into() });
    let headers = if method == "PUT" { vec![("authorization".into(), token)] } else { Vec::new() };
    HttpRequest { method: method.into(), url: URL.into(), headers, body: br#"{"name":"mine"}"#.to_vec(), trust }
}

/// Asks for the thing, puts it there while it is missing, and tells what it found and what the program said.
fn answer(snapshot: &Snapshot, trust: &Trust) -> Desired {
    let of = |id: &str| snapshot.answers.iter().find(|answer| answer.id == id).map(|answer| &answer.outcome);
    let mut actions = Vec::new();
    let server = match of("thing") {
        Some(Ok(Finding::Http(response))) => {
            if response.status == 404 {
                let deed = Deed::Http(request("PUT", trust.clone()));
                actions.push(Action { id: "put".into(), deed, timeout: 5 });
            }
            format!("{} {}", response.status, String::from_utf8_lossy(&response.body))
        }
        Some(Err(failure)) => failure.to_string(),
        _ => String::new(),
    };
    let program = match of("tool") {
        Some(Ok(Finding::Command(result))) => {
            format!("{} {}", result.code, String::from_utf8_lossy(&result.stdout))
        }
        Some(Err(failure)) => failure.to_string(),
        _ => String::new(),
    };
    let command = CommandQuery {
        namespace: "default".into(),
        pod: "p".into(),
        container: "main".into(),
        command: vec!["tool".into(), "check".into()],
    };
    let query =
        |id: &str, question| Query { id: id.into(), question, interval: 60, timeout: 5, extensions: Vec::new() };
    let queries =
        vec![query("thing", Question::Http(request("GET", trust.clone()))), query("tool", Question::Command(command))];
    let status = Document::from_value(&json!({"server": server, "program": program}));
    Desired { actions, queries, status: Some(status), ..Desired::default() }
}

struct Modules(Trust);

impl ModuleSource for Modules {
    fn load(&self, _: &str) -> Result<Arc<dyn Module>, String> {
        let trust = self.0.clone();
        Ok(Arc::new(Told::new(manifest(), move |snapshot| answer(snapshot, &trust))))
    }
}

struct Here;

impl Files for Here {
    fn read(&self, name: &str) -> Result<String, String> {
        match name {
            "thing.yaml" => Ok("apiVersion: example.org/v1\nkind: Thing\nmetadata: {name: t}\n".into()),
            "token.yaml" => {
                Ok("apiVersion: v1\nkind: Secret\nmetadata: {name: token}\nstringData: {token: x}\n".into())
            }
            "pod.yaml" => Ok("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n\
                              spec: {containers: [{name: main, image: 'x/tools:1'}]}\n"
                .into()),
            "body.json" => Ok("from a file".into()),
            _ => Err(format!("{name} cannot be read")),
        }
    }
}

/// What a script prints, or what it says when it ends early.
fn run_with(trust: Trust, script: &str) -> Result<String, String> {
    let mut out = Vec::new();
    let scenario = Scenario::parse("f", script).map_err(|error| error.to_string())?;
    let summary = scenario.run(&Modules(trust), &Here, &mut [(Format::Text, &mut out)]);
    match summary {
        Ok(_) => Ok(String::from_utf8(out).unwrap()),
        Err(error @ (ScenarioError::Step { .. } | ScenarioError::Unexpected { .. })) => Err(error.to_string()),
        Err(error) => panic!("{error}"),
    }
}

/// A script with a parent, a token and a module.
fn run(script: &str) -> Result<String, String> {
    run_with(Trust::System, &format!("module told\napply token.yaml\napply thing.yaml\n{script}"))
}

#[track_caller]
fn holds(script: &str) {
    if let Err(why) = run(script) {
        panic!("{why}");
    }
}
