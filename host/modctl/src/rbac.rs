//! `modctl rbac`: the least that the operator must be allowed so that modules work.

use std::{collections::BTreeMap, path::PathBuf};

use operator_contract::Manifest;
use operator_core::roles::{self, Roles, Rule};
use serde_json::{Value, json};

use crate::{
    failure::Failure,
    load,
    output::{Report, table},
};

/// Shows the least that the operator must be allowed so that these modules work, derived from their manifests. Not in it is what
/// the operator needs for itself: its chart has that.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The packages, such as target/modules/las.wasm.
    #[arg(required = true)]
    packages: Vec<PathBuf>,
    /// The resource of a kind that neither Kubernetes nor one of the modules serves, such as `Certificate=certificates`.
    #[arg(long, value_name = "KIND=PLURAL", value_parser = pair)]
    resource: Vec<(String, String)>,
    /// Name of the roles.
    #[arg(long, default_value = "scone-operator-modules")]
    name: String,
    /// Lines for people, JSON with the rules for programs, or manifests to apply.
    #[arg(long, short, value_enum, default_value_t = Format::Text)]
    pub(crate) output: Format,
}

/// How roles are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    Text,
    Json,
    Yaml,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let split = text.split_once('=').filter(|(kind, plural)| !kind.is_empty() && !plural.is_empty());
    split.map(|(kind, plural)| (kind.to_owned(), plural.to_owned())).ok_or_else(|| "write KIND=PLURAL".to_owned())
}

pub(crate) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    let read = |path: &PathBuf| load::package(path).map(|package| package.manifest);
    let manifests = arguments.packages.iter().map(read).collect::<Result<Vec<Manifest>, _>>()?;
    let resources: BTreeMap<_, _> = arguments.resource.iter().cloned().collect();
    let roles = roles::least(&manifests.iter().collect::<Vec<_>>(), &resources)
        .map_err(|error| Failure::Input(error.to_string()))?;
    let lines = match arguments.output {
        Format::Yaml => yaml(&manifests_of(&roles, &arguments.name))?,
        Format::Text | Format::Json => lines(&roles),
    };
    let value = serde_json::to_value(&roles).map_err(|error| Failure::Internal(error.to_string()))?;
    Ok(Report { lines, value, bad: false })
}

fn lines(roles: &Roles) -> Vec<String> {
    let row = |place: &str, rule: &Rule| {
        let group = rule.api_groups.iter().map(|group| if group.is_empty() { "core" } else { group });
        let names = rule.resource_names.join(",");
        let resources = rule.resources.join(",");
        let resources = if names.is_empty() { resources } else { format!("{resources} {names}") };
        vec![place.to_owned(), group.collect::<Vec<_>>().join(","), resources, rule.verbs.join(",")]
    };
    let cluster = roles.cluster.iter().map(|rule| row("the cluster", rule));
    let namespaces = roles.namespaces.iter().flat_map(|(name, rules)| rules.iter().map(move |rule| row(name, rule)));
    table(&["in", "group", "resources", "verbs"], cluster.chain(namespaces))
}

fn manifests_of(roles: &Roles, name: &str) -> Vec<Value> {
    const API: &str = "rbac.authorization.k8s.io/v1";
    let cluster = json!({"apiVersion": API, "kind": "ClusterRole", "metadata": {"name": name}, "rules": roles.cluster});
    let role = |(namespace, rules): (&String, &Vec<Rule>)| json!({"apiVersion": API, "kind": "Role", "metadata": {"name": name, "namespace": namespace}, "rules": rules});
    std::iter::once(cluster).chain(roles.namespaces.iter().map(role)).collect()
}

/// Several documents, as lines.
pub(crate) fn yaml(documents: &[Value]) -> Result<Vec<String>, Failure> {
    let mut lines = Vec::new();
    for document in documents {
        let text = serde_saphyr::to_string(document).map_err(|error| Failure::Internal(error.to_string()))?;
        if !lines.is_empty() {
            lines.push("---".to_owned());
        }
        lines.extend(text.lines().map(str::to_owned));
    }
    Ok(lines)
}
