//! The scenarios of `tests/acceptance.toml`, and the tests that show them.

use serde::Deserialize;

/// The table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    scenario: Vec<Scenario>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    number: usize,
    name: String,
    /// What happens, and what must come of it.
    says: String,
    /// Each a file and a function.
    #[serde(default)]
    tests: Vec<String>,
    /// What of it no test shows.
    lacks: Option<String>,
    /// Why there is no test.
    not_yet: Option<String>,
}

/// How many scenarios there are.
const ALL: usize = 30;
/// A reason has at least so many words.
const WORDS: usize = 5;

pub(crate) fn parse(text: &str) -> Table {
    toml::from_str(text).unwrap()
}

/// What is wrong with the table. `read` gives the text of a file of the checkout, if there is one.
pub(crate) fn violations(table: &Table, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let numbers: Vec<usize> = table.scenario.iter().map(|scenario| scenario.number).collect();
    let complete = numbers == (1..=ALL).collect::<Vec<_>>();
    let order = (!complete).then(|| format!("not S1 to S{ALL}, each once and in order: {numbers:?}"));
    order.into_iter().chain(table.scenario.iter().flat_map(|scenario| wrong(scenario, &read))).collect()
}

fn wrong(scenario: &Scenario, read: &impl Fn(&str) -> Option<String>) -> Vec<String> {
    let Scenario { number, name, says, tests, lacks, not_yet } = scenario;
    let mut wrong = Vec::new();
    if name.is_empty() || is_short(says) {
        wrong.push("it does not say what it is".to_owned());
    }
    if tests.is_empty() == not_yet.is_none() {
        wrong.push("it has either tests, or a reason why there are none".to_owned());
    }
    if lacks.iter().chain(not_yet).any(|reason| is_short(reason)) {
        wrong.push("what is not shown has no reason that says something".to_owned());
    }
    let missing = tests.iter().filter(|test| !is_there(test, read));
    wrong.extend(missing.map(|test| format!("there is no test {test}")));
    wrong.iter().map(|line| format!("S{number} {name}: {line}")).collect()
}

fn is_short(text: &str) -> bool {
    text.split_whitespace().count() < WORDS
}

/// Whether a file has a function of this name that is a test: its attributes say so.
fn is_there(test: &str, read: &impl Fn(&str) -> Option<String>) -> bool {
    let Some((path, name)) = test.split_once(' ') else { return false };
    let Some(source) = read(path) else { return false };
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let is_it = |line: &str| line.strip_prefix("async ").unwrap_or(line).starts_with(&format!("fn {name}("));
    let Some(at) = lines.iter().position(|line| is_it(line)) else { return false };
    let attributes = lines[..at].iter().rev().take_while(|line| line.starts_with("#["));
    attributes.into_iter().any(|line| ["#[test]", "#[tokio::test"].iter().any(|test| line.starts_with(test)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "#[test]\nfn one() {}\n\n#[tokio::test(start_paused = true)]\n#[allow(x)]\nasync fn two() {}\n\nfn helper() {}\n";

    fn read(path: &str) -> Option<String> {
        (path == "a.rs").then(|| FILE.to_owned())
    }

    /// The violations of a table in which one scenario has these lines, and all others are right.
    fn of(lines: &str) -> Vec<String> {
        let says = "says = \"that this and that goes wrong\"";
        let good = |number| format!("[[scenario]]\nnumber = {number}\nname = \"n\"\n{says}\ntests = [\"a.rs one\"]\n");
        let others: String = (2..=ALL).map(good).collect();
        violations(&parse(&format!("[[scenario]]\nnumber = 1\nname = \"n\"\n{says}\n{lines}\n{others}")), read)
    }

    #[test]
    fn a_scenario_has_tests_that_exist_or_a_reason() {
        assert_eq!(of("tests = [\"a.rs one\", \"a.rs two\"]"), Vec::<String>::new());
        assert_eq!(of("not_yet = \"there is nothing of that kind\""), Vec::<String>::new());
        for wrong in ["", "tests = []", "not_yet = \"later\"", "tests = [\"a.rs one\"]\nlacks = \"some\""] {
            assert_eq!(of(wrong).len(), 1, "{wrong}");
        }
        assert_eq!(of("tests = [\"a.rs one\"]\nnot_yet = \"there is nothing of that kind\"").len(), 1, "both");
    }

    #[test]
    fn a_test_that_does_not_exist_or_is_none_is_found() {
        for test in ["a.rs three", "a.rs on", "a.rs helper", "b.rs one", "one"] {
            assert_eq!(of(&format!("tests = [\"{test}\"]")), [format!("S1 n: there is no test {test}")]);
        }
    }

    #[test]
    fn a_scenario_that_is_missing_or_there_twice_is_found() {
        let says = "[[scenario]]\nname = \"n\"\nsays = \"that this and that goes wrong\"\ntests = [\"a.rs one\"]\n";
        let numbered = |numbers: &[usize]| -> String {
            numbers.iter().map(|number| [says, "number = ", &number.to_string(), "\n"].concat()).collect()
        };
        let all: Vec<usize> = (1..=ALL).collect();
        assert!(violations(&parse(&numbered(&all)), read).is_empty());
        assert_eq!(violations(&parse(&numbered(&all[1..])), read).len(), 1);
        assert_eq!(violations(&parse(&numbered(&[all.as_slice(), &[ALL]].concat())), read).len(), 1);
    }
}
