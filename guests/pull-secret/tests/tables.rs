//! What the README lists is what the module says, no more and no less.
#![expect(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests may do what tests may")]

use std::collections::BTreeSet;

use crate::support::{answer, situations, status};

const README: &str = include_str!("../README.md");

/// The words in code in one column of the table below a heading.
fn listed(heading: &str, column: usize) -> BTreeSet<String> {
    let section = README.split(&format!("## {heading}\n")).nth(1).unwrap_or_else(|| panic!("no section {heading}"));
    let section = section.split("\n## ").next().unwrap();
    let cells = section.lines().filter(|line| line.starts_with("| `")).filter_map(|line| line.split('|').nth(column));
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

#[test]
fn every_condition_reason_and_event_is_reached_and_listed() {
    let (mut types, mut reasons, mut events, mut words) =
        (BTreeSet::new(), BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (_, yaml) in situations() {
        let answer = answer(&yaml);
        let desired = answer.desired().unwrap();
        types.extend(desired.conditions.iter().map(|condition| condition.type_.clone()));
        reasons.insert(answer.condition("Ready").unwrap().reason.clone());
        events.extend(desired.events.iter().map(|event| event.reason.clone()));
        let status = status(&answer);
        let sources = status["sourceSecretStatus"].as_object().unwrap();
        words.extend(sources.values().map(|word| word.as_str().unwrap().to_owned()));
    }
    assert_eq!(listed("Conditions", 1), types);
    assert_eq!(listed("Reasons", 1), reasons);
    assert_eq!(listed("Events", 1), events);
    assert_eq!(listed("Sources", 1), words);
}

#[test]
fn every_condition_has_been_true_and_false() {
    for type_ in listed("Conditions", 1) {
        let found: BTreeSet<_> = situations()
            .iter()
            .map(|(_, yaml)| format!("{:?}", answer(yaml).condition(&type_).unwrap().status))
            .collect();
        assert!(found.len() >= 2, "{type_}: {found:?}");
    }
}

#[test]
fn every_status_is_reached() {
    let found: BTreeSet<_> = situations().iter().map(|(_, yaml)| status(&answer(yaml))["status"].to_string()).collect();
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["\"Failed\"", "\"Ready\"", "null"]);
}
