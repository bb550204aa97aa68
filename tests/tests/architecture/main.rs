//! Ring pure: the rules of ARCHITECTURE.md, held over `cargo metadata` and the sources. Each rule is a pure function in a
//! module of its own, beside tests which show that it can fail.
#![cfg(test)]

mod acceptance;
mod dependencies;
mod house;
mod licences;
mod metadata;
mod names;
mod reasons;
mod sources;
mod writes;

use std::{collections::BTreeSet, path::PathBuf, sync::LazyLock};

use crate::{metadata::Metadata, sources::Source};

/// The checkout.
fn root() -> PathBuf {
    test_support::checkout()
}

static METADATA: LazyLock<Metadata> = LazyLock::new(|| Metadata::read(&root()));
static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(|| sources::read(&root()));

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

#[track_caller]
fn none(rule: &str, violations: impl IntoIterator<Item = String>) {
    let violations: Vec<String> = violations.into_iter().collect();
    assert!(violations.is_empty(), "{rule} (ARCHITECTURE.md)\n  {}", violations.join("\n  "));
}

#[test]
fn i1_core_knows_no_runtime_no_engine_no_client() {
    let tree = dependencies::tree(&METADATA, "operator-core");
    assert!(tree.contains("serde_json"), "the tree is read: {tree:?}");
    none("I1: core is pure", dependencies::impure(&tree));
}

#[test]
fn i1_core_reads_no_clock_environment_or_randomness() {
    none("I1: core is pure", SOURCES.iter().filter(|source| source.is_under("host/core/src")).flat_map(names::ambient));
}

#[test]
fn i2_wasmtime_is_named_in_the_engine_only() {
    none("I2: wasmtime in engine only", dependencies::declarers(&METADATA, "wasmtime", &["operator-engine"]));
    none("I2: wasmtime in engine only", SOURCES.iter().filter_map(names::engine));
}

#[test]
fn i3_only_the_writers_write_to_the_api_server() {
    none("I3: writes in api, apply, report, lease", SOURCES.iter().flat_map(writes::outside_of_writers));
    let clients = ["operator-controller", "operator-simulator", "operator-webhook", "scone-operator"];
    none("I3: clients", dependencies::clients(&METADATA, &clients));
}

#[test]
fn i4_controller_webhook_and_simulator_do_not_depend_on_the_engine() {
    for package in ["operator-controller", "operator-webhook", "operator-simulator"] {
        let tree = dependencies::tree(&METADATA, package);
        let found = ["operator-engine", "wasmtime"].into_iter().filter(|name| tree.contains(*name));
        none("I4: modules through the trait in core", found.map(|name| format!("{package} depends on {name}")));
    }
}

#[test]
fn rooms_depend_on_rooms_below_them() {
    none("rooms", dependencies::upward(&METADATA, &dependencies::rooms(&text("ARCHITECTURE.md"))));
}

#[test]
fn i5_only_core_makes_a_plan() {
    none("I5: only core::plan makes a Plan", SOURCES.iter().flat_map(names::plans));
    let plan = text("host/core/src/plan.rs");
    assert!(names::is_sealed(&plan), "I5: Plan in host/core/src/plan.rs has no private field that seals it");
}

#[test]
fn i6_nothing_under_host_names_a_scone_kind_image_or_label() {
    none("I6: the host knows nothing of SCONE", SOURCES.iter().flat_map(names::scone));
}

#[test]
fn i6_nothing_under_guests_names_a_kubernetes_client() {
    none("I6: modules have no client", dependencies::clients_of_guests(&METADATA));
}

#[test]
fn i7_unsafe_is_allowed_in_the_documented_files_only() {
    none("I7: unsafe", SOURCES.iter().filter_map(names::unsafe_code));
    let page = text("ARCHITECTURE.md");
    let missing = names::UNSAFE.iter().filter(|path| !page.contains(**path));
    none(
        "I7: unsafe",
        missing.map(|path| format!("{path} may hold unsafe code, but ARCHITECTURE.md does not name it")),
    );
}

#[test]
fn every_reason_is_documented_and_no_other() {
    let shipped = SOURCES.iter().filter(|source| source.is_under("host") && source.is_rust() && !source.is_test());
    let given: BTreeSet<String> = shipped.flat_map(reasons::of).collect();
    assert!(given.len() > 40, "the reasons are read: {given:?}");
    let documented = reasons::documented(&text("host/REASONS.md"));
    none("host/REASONS.md", given.difference(&documented).map(|reason| format!("{reason} is not documented")));
    none("host/REASONS.md", documented.difference(&given).map(|reason| format!("nothing gives {reason}")));
}

#[test]
fn no_program_knows_the_folder_in_which_it_was_built() {
    none("checkouts may share a build folder", SOURCES.iter().filter_map(house::knows_its_folder));
}

#[test]
fn every_member_takes_the_workspaces_lints() {
    let manifests = METADATA.members().map(|package| {
        let path = format!("{}/Cargo.toml", package.folder(&root()));
        let text = text(&path);
        (path, text)
    });
    none("one lint table", manifests.filter_map(|(path, text)| house::without_lints(&path, &text)));
}

#[test]
fn there_are_only_the_five_top_level_folders() {
    let entries = std::fs::read_dir(root()).unwrap().map(Result::unwrap);
    let folders =
        entries.filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name().to_string_lossy().into_owned());
    none("layout", house::stray_folders(folders));
}

#[test]
fn source_files_are_short() {
    let (long, too_long): (Vec<_>, Vec<_>) =
        house::long(&SOURCES).into_iter().partition(|(_, lines)| *lines <= house::HARD_LIMIT);
    for (path, lines) in long {
        println!("{path} has {lines} lines, aim at {}", house::SOFT_LIMIT);
    }
    none("files stay short", too_long.into_iter().map(|(path, lines)| format!("{path} has {lines} lines")));
}

#[test]
fn every_crate_says_what_it_is() {
    let targets = METADATA.members().flat_map(|package| &package.targets);
    let paths: BTreeSet<String> = targets
        .filter(|target| !target.kind.iter().any(|kind| kind == "custom-build"))
        .filter_map(|target| Some(target.src_path.strip_prefix(root().to_str()?)?.trim_start_matches('/').to_owned()))
        .collect();
    assert!(paths.len() >= METADATA.workspace_members.len(), "the crates are read: {paths:?}");
    none("module docs", paths.iter().filter_map(|path| house::undocumented(path, &text(path))));
}

#[test]
fn every_fixture_is_run_by_a_test() {
    let fixtures: Vec<String> = METADATA
        .members()
        .filter(|package| package.name == "fixtures")
        .flat_map(|package| &package.targets)
        .filter(|target| target.kind.iter().any(|kind| kind == "example"))
        .map(|target| target.name.clone())
        .collect();
    assert!(fixtures.len() >= 20, "only {} fixtures", fixtures.len());
    // The fixtures' own files name all of them.
    let tests = SOURCES.iter().filter(|source| source.is_test() && !source.is_under("tests/fixtures"));
    let tests: Vec<String> = tests.map(|source| source.text.clone()).collect();
    none("fixtures", house::unused_fixtures(&fixtures, &tests));
}

#[test]
fn every_scenario_is_shown_by_tests_that_exist_or_has_a_reason_why_not_yet() {
    let table = acceptance::parse(&text("tests/acceptance.toml"));
    let read = |path: &str| std::fs::read_to_string(root().join(path)).ok();
    none("tests/acceptance.toml", acceptance::violations(&table, read));
}

#[test]
fn licences_sources_and_banned_crates_follow_deny_toml() {
    let rules = licences::Rules::parse(&text("deny.toml"));
    assert!(METADATA.packages.len() > 100, "the tree is read");
    none("deny.toml", METADATA.packages.iter().flat_map(|package| licences::violations(&rules, package)));
}
