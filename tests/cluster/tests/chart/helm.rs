//! Helm, and what it renders.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
};

use cluster::tools::HELM;
use serde_json::Value;

/// The namespace and the release of everything that is rendered here.
pub(crate) const NAMESPACE: &str = "scone-system";

/// A file of the checkout.
pub(crate) fn checkout(path: &str) -> PathBuf {
    test_support::checkout().join(path)
}

/// A file of the chart.
pub(crate) fn chart(path: &str) -> PathBuf {
    checkout("deploy/chart/scone-operator").join(path)
}

/// A text file of the chart.
pub(crate) fn text(path: &str) -> String {
    let path = chart(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}; run cargo xtask chart", path.display()))
}

/// Where Helm is. It is built once, and kept.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        HELM.ensure(&mut |what| eprintln!("{what} ...")).unwrap_or_else(|error| {
            panic!("the chart is NOT tested, since there is no Helm: {error} (a folder with helm does as well)")
        })
    })
}

/// Runs Helm away from everything that this user has configured for it.
fn helm(arguments: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(program());
    command.args(arguments).stdin(Stdio::null()).env_remove("KUBECONFIG").env("HOME", home.path());
    for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        command.env(variable, home.path().join(variable));
    }
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The one value that has no default.
const IMAGE: [&str; 2] = ["--set-json", r#"image="localhost/scone-operator:1""#];

fn template(set: &[&str]) -> Output {
    let place = chart("");
    let mut arguments = vec!["template", "scone-operator", place.to_str().unwrap(), "--namespace", NAMESPACE];
    // Without a cluster Helm assumes one, and Helm 3 as Go builds it assumes 1.20.
    arguments.extend(["--kube-version", "1.34.0"]);
    arguments.extend(IMAGE);
    arguments.extend(set.iter().flat_map(|value| ["--set-json", value]));
    helm(&arguments)
}

/// What `helm lint --strict` says; panics when it finds something.
pub(crate) fn lint(set: &[&str]) -> String {
    let place = chart("");
    let mut arguments = vec!["lint", "--strict", place.to_str().unwrap(), "--namespace", NAMESPACE];
    arguments.extend(IMAGE);
    arguments.extend(set.iter().flat_map(|value| ["--set-json", value]));
    let output = helm(&arguments);
    assert!(output.status.success(), "{set:?}: {}", said(&output));
    said(&output)
}

/// Why these values are refused.
pub(crate) fn refusal(set: &[&str]) -> String {
    let output = template(set);
    assert!(!output.status.success(), "{set:?} was not refused");
    said(&output)
}

/// Everything that a chart with these values makes. Each value is `path=JSON`.
pub(crate) struct Rendered {
    pub(crate) text: String,
    pub(crate) objects: Vec<Value>,
}

impl Rendered {
    pub(crate) fn with(set: &[&str]) -> Self {
        let output = template(set);
        assert!(output.status.success(), "{set:?}: {}", said(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        let documents = text.split("\n---\n").map(|document| document.trim_start_matches("---\n"));
        let objects =
            documents.filter(|document| document.lines().any(|line| !line.is_empty() && !line.starts_with('#')));
        let parse = |document| serde_saphyr::from_str(document).unwrap_or_else(|error| panic!("{error}:\n{document}"));
        let objects = objects.map(parse).collect();
        Self { text, objects }
    }

    pub(crate) fn find(&self, kind: &str, name: &str) -> Option<&Value> {
        self.objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
    }

    pub(crate) fn get(&self, kind: &str, name: &str) -> &Value {
        self.find(kind, name).unwrap_or_else(|| panic!("there is no {kind} {name}"))
    }

    pub(crate) fn of(&self, kind: &str) -> Vec<&Value> {
        self.objects.iter().filter(|object| object["kind"] == kind).collect()
    }

    /// The operator's pods.
    pub(crate) fn pod(&self) -> &Value {
        &self.get("Deployment", "scone-controller-manager")["spec"]["template"]
    }

    /// Its container.
    pub(crate) fn container(&self) -> &Value {
        &self.pod()["spec"]["containers"][0]
    }

    /// What comes after this flag.
    pub(crate) fn flag(&self, name: &str) -> Option<String> {
        let arguments = strings(&self.container()["args"]);
        arguments.iter().find_map(|argument| argument.strip_prefix(&format!("--{name}=")).map(str::to_owned))
    }

    /// The names of all objects of all kinds, `Kind/name`.
    pub(crate) fn names(&self) -> Vec<String> {
        let name = |object: &Value| format!("{}/{}", string(&object["kind"]), string(&object["metadata"]["name"]));
        self.objects.iter().map(name).collect()
    }
}

/// The text of a string; empty for anything else.
pub(crate) fn string(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The texts of a list.
pub(crate) fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(|value| string(value).to_owned()).collect()
}
