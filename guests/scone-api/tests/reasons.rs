//! The README of each module lists every reason that its verdict may have, and no other.
#![expect(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests may do what tests may")]

use std::{collections::BTreeSet, fs, path::PathBuf};

fn read(file: &str) -> String {
    let path = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("..").join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The words that are made into a `Problem`, or that stand alone on their line as part of one.
fn reasons(source: &str) -> BTreeSet<String> {
    let made = source.split("Problem::new(").skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"'));
    let alone = source.lines().filter_map(|line| line.trim().strip_prefix('"')).filter(|line| line.ends_with("\","));
    let words = made.chain(alone).filter_map(|rest| rest.split_once('"')).map(|(word, _)| word);
    let is_reason = |word: &&str| word.starts_with(char::is_uppercase) && word.bytes().all(|b| b.is_ascii_alphabetic());
    words.filter(is_reason).map(str::to_owned).collect()
}

/// The words in the first column of the table of reasons.
fn listed(readme: &str) -> BTreeSet<String> {
    let section = readme.split("## Reasons").nth(1).unwrap().split("\n## ").next().unwrap();
    let cells = section.lines().filter(|line| line.starts_with("| `")).filter_map(|line| line.split('|').nth(1));
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

#[test]
fn every_reason_is_in_the_table_of_its_module() {
    let shared: BTreeSet<_> = ["missing", "owned", "problem", "report", "selection"]
        .into_iter()
        .flat_map(|file| reasons(&read(&format!("scone-api/src/{file}.rs"))))
        .collect();
    for module in ["las", "sgxplugin"] {
        let own = ["lib", "nodes", "status"].map(|file| reasons(&read(&format!("{module}/src/{file}.rs"))));
        let made: BTreeSet<_> = own.into_iter().flatten().chain(shared.iter().cloned()).collect();
        assert_eq!(listed(&read(&format!("{module}/README.md"))), made, "{module}");
    }
}
