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

/// A condition of an owned object, without the object's name.
fn general(type_: &str) -> String {
    type_.split_once('/').map_or_else(|| type_.to_owned(), |(_, type_)| format!("<object>/{type_}"))
}

#[test]
fn every_condition_and_reason_is_reached_and_listed() {
    let (mut types, mut reasons, mut events) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (_, yaml) in situations() {
        let answer = answer(&yaml);
        let desired = answer.desired().unwrap();
        types.extend(desired.conditions.iter().map(|condition| general(&condition.type_)));
        reasons.insert(answer.condition("IsHealthy").unwrap().reason.clone());
        events.extend(desired.events.iter().map(|event| event.reason.clone()));
    }
    assert_eq!(listed("Conditions", 1), types);
    assert_eq!(listed("Reasons", 1), reasons);
    assert_eq!(events, reasons, "each reason is an event when the state changes");
}

#[test]
fn every_condition_takes_several_values() {
    for wanted in listed("Conditions", 1) {
        let mut found = BTreeSet::new();
        for (_, yaml) in situations() {
            let answer = answer(&yaml);
            let conditions = &answer.desired().unwrap().conditions;
            found.extend(conditions.iter().filter(|c| general(&c.type_) == wanted).map(|c| format!("{:?}", c.status)));
        }
        assert!(found.len() >= 2, "{wanted}: {found:?}");
    }
}

#[test]
fn every_state_and_alert_is_reached() {
    let (mut seen, mut alerts) = (BTreeSet::new(), BTreeSet::new());
    for (_, yaml) in situations() {
        let status = status(&answer(&yaml));
        seen.insert(status["state"].as_str().unwrap().to_owned());
        alerts.extend(status["sgxReplicaAlert"].as_i64());
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["HEALTHY", "PENDING", "UNHEALTHY"]);
    assert_eq!(alerts.into_iter().collect::<Vec<_>>(), [-1, 0, 1]);
}
