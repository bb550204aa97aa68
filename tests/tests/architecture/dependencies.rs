//! Who depends on whom.

use std::collections::{BTreeMap, BTreeSet};

use crate::metadata::{Dependency, Metadata};

/// The names of everything that a package is built from; without what its tests need, and without the package itself.
pub(crate) fn tree(metadata: &Metadata, package: &str) -> BTreeSet<String> {
    let names: BTreeMap<&str, &str> =
        metadata.packages.iter().map(|package| (package.id.as_str(), package.name.as_str())).collect();
    let edges: BTreeMap<&str, Vec<&str>> = metadata
        .resolve
        .nodes
        .iter()
        .map(|node| {
            let shipped =
                node.deps.iter().filter(|edge| edge.dep_kinds.iter().any(|kind| kind.kind.as_deref() != Some("dev")));
            (node.id.as_str(), shipped.map(|edge| edge.pkg.as_str()).collect())
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
pub(crate) fn impure(tree: &BTreeSet<String>) -> Vec<String> {
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
pub(crate) fn declarers(metadata: &Metadata, prefix: &str, allowed: &[&str]) -> Vec<String> {
    declared(metadata, "/")
        .filter(|(name, dependency)| dependency.name.starts_with(prefix) && !allowed.contains(name))
        .map(|(name, dependency)| format!("{name} declares {}", dependency.name))
        .collect()
}

/// I3: members under `host/` that declare a Kubernetes client, except those that may.
pub(crate) fn clients(metadata: &Metadata, allowed: &[&str]) -> Vec<String> {
    let found =
        declared(metadata, "/host/").filter(|(name, dependency)| !allowed.contains(name) && is_client(dependency));
    found.map(|(name, dependency)| format!("{name} declares {} with a client", dependency.name)).collect()
}

/// The crates in the order of the table of rooms: the second column, which may name several.
pub(crate) fn rooms(page: &str) -> Vec<String> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('|').nth(1));
    rows.flat_map(|cell| cell.split(',')).map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

/// Members that depend on a room above their own, or that have no room.
pub(crate) fn upward(metadata: &Metadata, rooms: &[String]) -> Vec<String> {
    let homeless = metadata.members().filter(|package| place(rooms, &package.name).is_none());
    let homeless = homeless.map(|package| format!("{} has no room", package.name));
    let edges = declared(metadata, "/").filter(|(_, dependency)| dependency.path.is_some());
    homeless.chain(edges.filter_map(|(name, dependency)| climb(rooms, name, &dependency.name))).collect()
}

fn place(rooms: &[String], name: &str) -> Option<usize> {
    rooms.iter().position(|room| room == name)
}

fn climb(rooms: &[String], from: &str, to: &str) -> Option<String> {
    let (above, below) = (place(rooms, from)?, place(rooms, to)?);
    (above > below).then(|| format!("{from} depends on {to}, a room above it"))
}

/// I6: members under `guests/` that declare a Kubernetes client.
pub(crate) fn clients_of_guests(metadata: &Metadata) -> Vec<String> {
    assert!(declared(metadata, "/guests/").count() > 3, "the guests are read");
    let found = declared(metadata, "/guests/").filter(|(_, dependency)| is_client(dependency));
    found.map(|(name, dependency)| format!("{name} declares {} with a client", dependency.name)).collect()
}

/// What the members below a folder declare.
fn declared<'a>(metadata: &'a Metadata, folder: &str) -> impl Iterator<Item = (&'a str, &'a Dependency)> {
    let members = metadata.members().filter(move |package| package.manifest_path.contains(folder));
    members.flat_map(|package| package.dependencies.iter().map(|dependency| (package.name.as_str(), dependency)))
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
    fn a_dependency_on_a_room_above_is_found() {
        let page = "| folder | crate |\n|---|---|\n| `tests/` | bench, fixtures | x |\n| `host/core` | core | x |\n| `deploy/` | | x |";
        let rooms = rooms(page);
        assert_eq!(rooms, ["bench", "fixtures", "core"]);
        assert!(climb(&rooms, "core", "bench").is_some());
        assert!(climb(&rooms, "bench", "core").is_none());
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
