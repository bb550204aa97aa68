//! `modctl inspect`: what a package says about itself. Nothing of it is compiled or run.

use std::path::PathBuf;

use operator_contract::{Grants, Manifest, NamespaceRule};
use operator_package::Package;
use serde_json::{Value, json};

use crate::{
    failure::Failure,
    load,
    output::{Report, table},
};

/// Shows kinds, webhooks, grants and budgets of a package. Nothing of it is compiled or run.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The package, such as target/modules/las.wasm.
    package: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    let package = load::package(&arguments.package)?;
    let value = json!({
        "digest": package.digest, "size": package.component.len(), "exports": package.exports,
        "imports": package.imports, "manifest": package.manifest,
    });
    Ok(Report { lines: lines(&package), value, bad: false })
}

fn lines(package: &Package) -> Vec<String> {
    let manifest = &package.manifest;
    let mut lines = vec![
        format!("{} {}", manifest.name, manifest.version),
        format!("  {}", manifest.description),
        format!("  contract {}, {} bytes, sha256:{}", manifest.contract, package.component.len(), package.digest),
        format!("  exports {}", package.exports.join(", ")),
        format!("  imports {}", package.imports.join(", ")),
        String::new(),
    ];
    lines.extend(kinds(manifest));
    lines.push(String::new());
    let webhooks = manifest.webhooks.iter().map(|hook| {
        let operations = hook.operations.iter().map(|o| format!("{o:?}").to_uppercase()).collect::<Vec<_>>();
        vec![
            hook.name.clone(),
            format!("{:?}", hook.phase).to_lowercase(),
            hook.kind.clone(),
            operations.join(","),
            hook.path.clone(),
        ]
    });
    lines.extend(table(&["webhook", "phase", "kind", "operations", "path"], webhooks));
    lines.push(String::new());
    lines.extend(table(&["grant", "what", "where"], grants(&manifest.grants)));
    let budgets = serde_json::to_value(manifest.budgets).unwrap_or_default();
    if budgets.as_object().is_some_and(|map| !map.is_empty()) {
        lines.extend([String::new(), format!("budgets {budgets}")]);
    }
    lines
}

fn kinds(manifest: &Manifest) -> Vec<String> {
    let rows = manifest.kinds.iter().map(|kind| {
        let columns = kind.crd.pointer("/spec/versions/0/additionalPrinterColumns").and_then(Value::as_array);
        let names = columns.into_iter().flatten().filter_map(|column| column.get("name").and_then(Value::as_str));
        vec![
            kind.kind.clone(),
            kind.api_version.clone(),
            kind.plural.clone(),
            format!("{:?}", kind.scope),
            names.collect::<Vec<_>>().join(", "),
        ]
    });
    table(&["kind", "api version", "plural", "scope", "columns"], rows)
}

fn grants(grants: &Grants) -> Vec<Vec<String>> {
    let place = |rule: &NamespaceRule| match rule {
        NamespaceRule::Parent => "the parent's namespace".to_owned(),
        NamespaceRule::Target => "the target namespace".to_owned(),
        NamespaceRule::All => "everywhere".to_owned(),
        NamespaceRule::Named(names) => names.join(", "),
    };
    let of_kind = |list: &str, api_version: &str, kind: &str, place: String| {
        vec![list.to_owned(), format!("{api_version} {kind}"), place]
    };
    let mut rows = Vec::new();
    rows.extend(grants.children.iter().map(|r| of_kind("children", &r.api_version, &r.kind, place(&r.namespaces))));
    rows.extend(grants.partials.iter().map(|r| {
        let keys: Vec<&str> = r.labels.iter().chain(&r.annotations).chain(&r.fields).map(String::as_str).collect();
        let where_ = r.namespaces.as_ref().map(|rule| format!("{}: ", place(rule))).unwrap_or_default();
        of_kind("partials", &r.api_version, &r.kind, format!("{where_}{}", keys.join(", ")))
    }));
    rows.extend(grants.objects.iter().map(|r| {
        let fields = if r.fields.is_empty() { "all fields".to_owned() } else { r.fields.join(", ") };
        of_kind("objects", &r.api_version, &r.kind, format!("{}: {fields}", place(&r.namespaces)))
    }));
    rows.extend(grants.delete.iter().map(|r| of_kind("delete", &r.api_version, &r.kind, place(&r.namespaces))));
    for (list, rules) in [("podLogs", &grants.pod_logs), ("commands", &grants.commands)] {
        rows.extend(rules.iter().map(|r| {
            vec![
                list.to_owned(),
                format!("containers {} {}", r.containers.join(", "), r.programs.join(", ")),
                place(&r.namespaces),
            ]
        }));
    }
    rows.extend(grants.roles.iter().map(|r| {
        let resources = r.api_groups.iter().flat_map(|group| {
            r.resources
                .iter()
                .map(move |resource| if group.is_empty() { resource.clone() } else { format!("{group} {resource}") })
        });
        vec!["roles".to_owned(), resources.collect::<Vec<_>>().join(", "), r.verbs.join(", ")]
    }));
    rows.extend(grants.binds.iter().map(|name| vec!["binds".to_owned(), "ClusterRole".to_owned(), name.clone()]));
    rows.extend(grants.http.iter().map(|r| vec!["http".to_owned(), r.methods.join(", "), r.host.clone()]));
    rows.extend(grants.secrets.iter().map(|r| {
        let labels = r.labels.iter().map(|(key, value)| format!("{key}={value}"));
        let which: Vec<String> = r.names.iter().cloned().chain(labels).collect();
        vec!["secrets".to_owned(), which.join(", "), format!("for {}", r.hosts.join(", "))]
    }));
    rows
}
