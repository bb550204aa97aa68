//! `tests/inventory`: how many tests each program has. A test that goes is seen by whoever reads a change, and a run from which some are
//! missing, for whatever reason, is not taken for a whole one.

use std::{collections::BTreeMap, fs, path::PathBuf};

use crate::{
    failure::Failure,
    rings::Ring,
    workspace::{Workspace, text_or_nothing},
};

/// The command that writes the file.
const RECORD: &str = "cargo xtask test --record";

/// Numbers of tests by ring and program, as `pure guests/cas module`.
pub(crate) type Counts = BTreeMap<String, u64>;

/// What of these rings differs from the file, as a sentence each.
pub(crate) fn differences(workspace: &Workspace, rings: &[Ring], counts: &Counts) -> Result<Vec<String>, Failure> {
    let recorded = of(rings, read(workspace)?);
    let names = recorded.keys().chain(counts.keys().filter(|name| !recorded.contains_key(*name)));
    let count = |counts: &Counts, name: &str| counts.get(name).copied().unwrap_or_default();
    let differ = names.filter(|name| count(&recorded, name) != count(counts, name));
    let sentence = |name: &String| {
        let (ran, meant) = (count(counts, name), count(&recorded, name));
        format!("{name} ran {ran} tests, and tests/inventory has {meant}; if that is meant: {RECORD}")
    };
    Ok(differ.map(sentence).collect())
}

/// Writes what these rings have into the file.
pub(crate) fn record(workspace: &Workspace, rings: &[Ring], counts: &Counts) -> Result<(), Failure> {
    let mut all = read(workspace)?;
    for name in of(rings, all.clone()).keys() {
        all.remove(name);
    }
    all.extend(counts.clone());
    let lines: Vec<String> = all.iter().map(|(name, count)| format!("{name}: {count}\n")).collect();
    let file = file(workspace);
    fs::write(&file, lines.concat()).map_err(|error| Failure::file("write", &file, &error))
}

fn of(rings: &[Ring], mut counts: Counts) -> Counts {
    counts.retain(|name, _| rings.iter().any(|ring| name.starts_with(&format!("{} ", ring.name()))));
    counts
}

fn file(workspace: &Workspace) -> PathBuf {
    workspace.root.join("tests/inventory")
}

fn read(workspace: &Workspace) -> Result<Counts, Failure> {
    let text = text_or_nothing(&file(workspace))?;
    let line = |line: &str| {
        let (name, count) = line.rsplit_once(": ")?;
        Some((name.to_owned(), count.parse().ok()?))
    };
    Ok(text.lines().filter_map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, Workspace) {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace::within(folder.path());
        fs::create_dir_all(workspace.root.join("tests")).unwrap();
        (folder, workspace)
    }

    fn counts(all: &[(&str, u64)]) -> Counts {
        all.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    #[test]
    fn a_test_or_a_program_that_is_gone_or_new_is_named() {
        let (_folder, workspace) = place();
        record(&workspace, &Ring::ALL, &counts(&[("pure a x", 3), ("pure b y", 2), ("api c z", 1)])).unwrap();
        let now = counts(&[("pure a x", 2), ("pure d w", 1)]);
        let text = differences(&workspace, &[Ring::Pure], &now).unwrap().join("\n");
        for sentence in
            ["pure a x ran 2 tests, and tests/inventory has 3", "pure b y ran 0 tests", "pure d w ran 1 tests"]
        {
            assert!(text.contains(sentence), "{text}");
        }
        assert!(!text.contains("api"), "a ring that did not run is missing nothing: {text}");
    }

    #[test]
    fn recording_one_ring_leaves_the_others() {
        let (_folder, workspace) = place();
        record(&workspace, &Ring::ALL, &counts(&[("pure a x", 3), ("api c z", 1)])).unwrap();
        record(&workspace, &[Ring::Pure], &counts(&[("pure b y", 2)])).unwrap();
        let whole = counts(&[("pure b y", 2), ("api c z", 1)]);
        assert_eq!(differences(&workspace, &Ring::ALL, &whole).unwrap(), Vec::<String>::new());
    }
}
