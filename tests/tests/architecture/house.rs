//! The rules of the house: folders, lints, length, documentation, fixtures.

use serde_json::Value;

use crate::sources::{Source, has_word};

/// Where everything is.
pub(crate) const FOLDERS: [&str; 5] = ["host", "guests", "wit", "deploy", "tests"];

/// What a file aims at, and what it may not exceed, in lines with its tests.
pub(crate) const SOFT_LIMIT: usize = 450;
pub(crate) const HARD_LIMIT: usize = 600;

/// Folders that belong to tools or to a build.
const TOOLS: [&str; 2] = ["target", "node_modules"];

pub(crate) fn stray_folders(folders: impl Iterator<Item = String>) -> Vec<String> {
    let known = |name: &str| name.starts_with('.') || FOLDERS.contains(&name) || TOOLS.contains(&name);
    folders.filter(|name| !known(name)).map(|name| format!("{name}/ is none of {}", FOLDERS.join(", "))).collect()
}

pub(crate) fn without_lints(path: &str, manifest: &str) -> Option<String> {
    let value: Value = toml::from_str(manifest).unwrap();
    let inherits = value.pointer("/lints/workspace") == Some(&Value::Bool(true));
    (!inherits).then(|| format!("{path} lacks `[lints] workspace = true`"))
}

/// Files over the soft limit, longest first.
pub(crate) fn long(sources: &[Source]) -> Vec<(String, usize)> {
    let counted = sources
        .iter()
        .filter(|source| source.is_rust())
        .map(|source| (source.path.clone(), source.text.lines().count()));
    let mut long: Vec<_> = counted.filter(|(_, lines)| *lines > SOFT_LIMIT).collect();
    long.sort_by_key(|(_, lines)| std::cmp::Reverse(*lines));
    long
}

/// A crate begins with what it is, in at least one sentence.
pub(crate) fn undocumented(path: &str, text: &str) -> Option<String> {
    let first = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#!"));
    let says = first.and_then(|line| line.strip_prefix("//!")).map(str::trim).unwrap_or_default();
    (says.split_whitespace().count() < 2 || says.contains("Placeholder"))
        .then(|| format!("{path} does not say what it is"))
}

/// Fixtures that no test outside their own folder names.
pub(crate) fn unused_fixtures(fixtures: &[String], tests: &[String]) -> Vec<String> {
    let used = |name: &str| tests.iter().any(|test| has_word(test, &format!("\"{name}\"")));
    fixtures.iter().filter(|name| !used(name)).map(|name| format!("no test runs the fixture {name}")).collect()
}

/// A file that has the place of the checkout compiled in. Checkouts that share a build folder share programs, and such a one reads the files
/// of another checkout.
pub(crate) fn knows_its_folder(source: &Source) -> Option<String> {
    // Run without cargo, xtask knows no other place than that; and this file names what it looks for.
    let may = ["host/xtask/src/workspace.rs", "tests/tests/architecture/house.rs"].contains(&source.path.as_str());
    let knows = source.is_rust() && !may && source.text.contains("env!(\"CARGO_MANIFEST_DIR\")");
    knows.then(|| {
        format!("{} reads CARGO_MANIFEST_DIR when it is compiled; test_support::checkout() finds it", source.path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sixth_folder_is_found_and_tool_folders_are_fine() {
        let folders = ["host", ".git", "target", "docs"].map(str::to_owned);
        assert_eq!(stray_folders(folders.into_iter()).len(), 1);
    }

    #[test]
    fn a_member_without_the_workspaces_lints_is_found() {
        assert!(
            without_lints("a/Cargo.toml", "[package]\nname = \"a\"\n[lints.rust]\nunsafe_code = \"allow\"").is_some()
        );
        assert!(without_lints("a/Cargo.toml", "[lints]\nworkspace = true").is_none());
    }

    #[test]
    fn a_file_over_the_limit_is_found() {
        let sources = [Source::sample("host/a.rs", &"x\n".repeat(SOFT_LIMIT + 1)), Source::sample("host/b.rs", "x")];
        assert_eq!(long(&sources), [("host/a.rs".to_owned(), SOFT_LIMIT + 1)]);
    }

    #[test]
    fn a_file_that_has_its_folder_compiled_in_is_found() {
        let knows = "let folder = env!(\"CARGO_MANIFEST_DIR\");";
        assert!(knows_its_folder(&Source::sample("tests/a.rs", knows)).is_some());
        assert!(knows_its_folder(&Source::sample("tests/a.rs", "env::var(\"CARGO_MANIFEST_DIR\")")).is_none());
    }

    #[test]
    fn a_crate_that_says_nothing_is_found() {
        assert!(undocumented("a.rs", "fn main() {}").is_some());
        assert!(undocumented("a.rs", "//! Placeholder.\n").is_some());
        assert!(undocumented("a.rs", "#![no_std]\n//! Decide what to do.\n").is_none());
    }

    #[test]
    fn a_fixture_that_no_test_names_is_found() {
        let fixtures = ["trap".to_owned(), "lost".to_owned()];
        assert_eq!(unused_fixtures(&fixtures, &["failing(\"trap\")".to_owned()]), ["no test runs the fixture lost"]);
    }
}
