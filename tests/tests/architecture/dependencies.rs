//! Who depends on whom.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{Dependency, DependencyKind, Metadata, PackageId};

/// The names of everything that a package is built from; without what its tests need, and without the package itself.
pub fn tree(metadata: &Metadata, package: &str) -> BTreeSet<String> {
    let names: BTreeMap<&PackageId, &str> =
        metadata.packages.iter().map(|package| (&package.id, package.name.as_str())).collect();
    let nodes = metadata.resolve.as_ref().map_or(&[][..], |resolve| &resolve.nodes);
    let edges: BTreeMap<&PackageId, Vec<&PackageId>> = nodes
        .iter()
        .map(|node| {
            let shipped = node
                .deps
                .iter()
                .filter(|dep| dep.dep_kinds.iter().any(|kind| kind.kind != DependencyKind::Development));
            (&node.id, shipped.map(|dep| &dep.pkg).collect())
        })
        .collect();
    let start = names.iter().find(|(_, name)| **name == package).map(|(id, _)| *id);
    reach(&edges, start).into_iter().map(|id| names[id].to_owned()).collect()
}

/// Everything that can be reached, without the start.
fn reach<K: Ord + Copy>(edges: &BTreeMap<K, Vec<K>>, start: Option<K>) -> BTreeSet<K> {
    let (mut seen, mut open) = (BTreeSet::new(), start.into_iter().collect::<Vec<_>>());
    while let Some(node) = open.pop() {
        for next in edges.get(&node).into_iter().flatten() {
            if seen.insert(*next) {
                open.push(*next);
            }
        }
    }
    seen
}

/// I1: what a pure crate has no use for.
pub fn impure(tree: &BTreeSet<String>) -> Vec<String> {
    const BANNED: [&str; 16] = [
        "tokio",
        "async-std",
        "smol",
        "futures-executor",
        "wasmtime",
        "wasmi",
        "kube",
        "kube-client",
        "kube-runtime",
        "hyper",
        "reqwest",
        "rand",
        "getrandom",
        "fastrand",
        "time",
        "chrono",
    ];
    BANNED.iter().filter(|name| tree.contains(**name)).map(|name| format!("core depends on {name}")).collect()
}

/// Members that declare a dependency whose name starts with `prefix`, except those that may.
pub fn declarers(metadata: &Metadata, prefix: &str, allowed: &[&str]) -> Vec<String> {
    members(metadata)
        .filter(|(name, dependency)| dependency.name.starts_with(prefix) && !allowed.contains(name))
        .map(|(name, dependency)| format!("{name} declares {}", dependency.name))
        .collect()
}

/// I3: members under `host/` that declare a Kubernetes client, except those that may.
pub fn clients(metadata: &Metadata, allowed: &[&str]) -> Vec<String> {
    let host =
        metadata.workspace_packages().into_iter().filter(|package| package.manifest_path.as_str().contains("/host/"));
    let host: BTreeSet<&str> = host.map(|package| package.name.as_str()).collect();
    members(metadata)
        .filter(|(name, dependency)| host.contains(name) && !allowed.contains(name) && is_client(dependency))
        .map(|(name, dependency)| format!("{name} declares {} with a client", dependency.name))
        .collect()
}

/// I6: members under `guests/` that declare a Kubernetes client.
pub fn clients_of_guests(metadata: &Metadata) -> Vec<String> {
    let guests =
        metadata.workspace_packages().into_iter().filter(|package| package.manifest_path.as_str().contains("/guests/"));
    let guests: BTreeSet<&str> = guests.map(|package| package.name.as_str()).collect();
    assert!(guests.len() >= 3, "the guests are read: {guests:?}");
    members(metadata)
        .filter(|(name, dependency)| guests.contains(name) && is_client(dependency))
        .map(|(name, dependency)| format!("{name} declares {} with a client", dependency.name))
        .collect()
}

fn members(metadata: &Metadata) -> impl Iterator<Item = (&str, &Dependency)> {
    let packages = metadata.workspace_packages().into_iter();
    packages.flat_map(|package| package.dependencies.iter().map(|dependency| (package.name.as_str(), dependency)))
}

fn is_client(dependency: &Dependency) -> bool {
    names_a_client(&dependency.name, dependency.uses_default_features, &dependency.features)
}

fn names_a_client(name: &str, defaults: bool, features: &[String]) -> bool {
    match name {
        "kube" => {
            defaults || features.iter().any(|feature| ["client", "runtime", "ws", "config"].contains(&feature.as_str()))
        }
        "kube-client" | "kube-runtime" | "reqwest" | "hyper" | "hyper-util" => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_of_a_dependency_is_reached_and_a_circle_ends() {
        let edges = BTreeMap::from([("core", vec!["a"]), ("a", vec!["tokio", "core"]), ("other", vec!["wasmtime"])]);
        let tree: BTreeSet<String> = reach(&edges, Some("core")).into_iter().map(str::to_owned).collect();
        assert_eq!(impure(&tree), ["core depends on tokio"]);
        assert!(!tree.contains("wasmtime"));
    }

    #[test]
    fn the_trees_of_this_workspace_are_read_transitively() {
        assert!(tree(&crate::METADATA, "operator-engine").contains("wasmtime-internal-core"));
    }

    #[test]
    fn kube_with_its_client_or_its_default_features_is_a_client() {
        let features = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert!(names_a_client("kube", false, &features(&["derive", "client"])));
        assert!(names_a_client("kube", true, &[]));
        assert!(names_a_client("kube-runtime", false, &[]));
        assert!(!names_a_client("kube", false, &features(&["derive"])));
    }

    #[test]
    fn a_crate_that_declares_what_it_may_not_is_found() {
        assert!(
            declarers(&crate::METADATA, "wasmtime", &[])
                .iter()
                .any(|text| text.starts_with("operator-engine declares"))
        );
    }
}
