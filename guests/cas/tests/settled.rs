//! The fixtures are what the module makes and says. To write them again: `UPDATE=1 cargo test -p cas settled`.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "the helpers of tests may do what tests may")]

use std::{fs, path::PathBuf};

use crate::support::{answer, asked, carried_out, settled, status};
use serde_json::{Value, json};

fn path(file: &str) -> PathBuf {
    PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("tests").join(file)
}

/// Carries answers out until nothing changes any more, as a host would.
fn settle(mut tree: Value) -> Value {
    for _ in 0..5 {
        if asked(&answer(&tree)).contains(&"dcap-report") {
            tree["answers"]["dcap-report"] =
                json!({"command": {"code": 0, "stdout": "a report\n"}, "askedAt": 1_700_003_500});
        }
        tree = carried_out(&tree);
        tree["answers"].as_object_mut().unwrap().remove("dcap-report");
    }
    tree
}

fn check(file: &str, about: &str) {
    let text = fs::read_to_string(path(file)).unwrap();
    let tree: Value = serde_saphyr::from_str(&text).unwrap();
    let settled = settle(tree.clone());
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path(file), format!("# {about}\n{}", serde_saphyr::to_string(&settled).unwrap())).unwrap();
        return;
    }
    assert!(settled == tree, "{file} is not what the module makes; run UPDATE=1 cargo test -p cas settled");
}

#[test]
fn the_settled_cluster_is_what_the_module_makes_and_says() {
    check(
        "settled.yaml",
        "A CAS with everything, working, as the module sees it in a settled cluster. Tests change a few places each.",
    );
}

#[test]
fn the_large_cluster_is_what_the_module_makes_and_says() {
    check(
        "bench-4k.yaml",
        "A settled CAS as large as they come: a parent of about 4 KB before its status. For benchmarks.",
    );
}

#[test]
fn a_settled_cluster_is_never_written_to() {
    let mut later = settled();
    let before = status(&answer(&later));
    later["now"] = json!(1_700_007_180);
    let answer = answer(&later);
    assert_eq!(status(&answer), before, "times move only with the facts");
    assert!(answer.desired().unwrap().events.is_empty());
    assert_eq!(
        crate::support::conditions(&answer, &later["parent"]["status"]["conditions"]),
        later["parent"]["status"]["conditions"]
    );
}
