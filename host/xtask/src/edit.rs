//! The loop of whoever changes a line: the tests of one crate, one scenario, or what a filter names of a ring, with modules that are built
//! quickly instead of well.

use std::{collections::BTreeSet, fs};

use crate::{
    cargo::{self, cargo},
    failure::Failure,
    modules::{self, WHOLE},
    progress::Plan,
    rings::Ring,
    workspace::Workspace,
};

/// Runs the tests of one crate, built by itself: after a change nothing is built that it does not need. What it stands on is built once
/// more the first time, since cargo gives a crate by itself other features than the whole.
pub(crate) fn package(workspace: &Workspace, package: &str, filter: Option<&str>) -> Result<(), Failure> {
    let mut command = cargo(workspace);
    command.args(["test", "--package", package]);
    if package == "operator-engine" {
        command.args(["--features", "compiler"]);
    }
    if filter.is_none() {
        command.arg("--no-fail-fast");
    }
    command.envs(modules::environment(workspace, "debug")).arg("--").args(filter);
    cargo::show(&format!("the tests of {package}"), &mut command)
}

/// Runs one scenario against its transcript.
pub(crate) fn scenario(workspace: &Workspace, name: &str) -> Result<(), Failure> {
    let mut steps = modules::steps(&modules::Arguments::default());
    steps.push(format!("the scenario {name}"));
    let mut plan = Plan::new(steps);
    let quick = modules::quick(workspace, &named(workspace, name)?, &mut plan)?;
    plan.next();
    let mut command = cargo(workspace);
    command
        .args(["test", "--quiet"])
        .args(WHOLE)
        .args(["--test", "scenarios", "--", "every_scenario"])
        .envs(modules::environment(workspace, "debug"))
        .env("SCONE_OPERATOR_MODULES", quick)
        .env("SCONE_OPERATOR_SCENARIO", name);
    cargo::show(&format!("the scenario {name}"), &mut command)
}

/// The packages that a scenario loads.
pub(crate) fn named(workspace: &Workspace, scenario: &str) -> Result<BTreeSet<String>, Failure> {
    let folder = workspace.root.join("tests/scenarios");
    let script = fs::read_to_string(folder.join(format!("{scenario}.scenario"))).map_err(|error| {
        Failure::Bad(format!(
            "{scenario}.scenario cannot be read: {error}; `ls {}` shows which there are",
            folder.display()
        ))
    })?;
    Ok(packages(&script))
}

/// The packages that a script loads, by the steps `module NAME [from PACKAGE]` and `swap NAME PACKAGE`.
fn packages(script: &str) -> BTreeSet<String> {
    let loaded = |line: &str| match line.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["module", name] | ["module", _, "from", name] | ["swap", _, name] => Some((*name).to_owned()),
        _ => None,
    };
    script.lines().filter_map(loaded).collect()
}

/// What words after `cargo xtask test` mean: rings, and then a filter.
pub(crate) fn words(words: &[String]) -> Result<(Vec<Ring>, Option<&str>), String> {
    let named = |word: &String| Ring::ALL.into_iter().find(|ring| ring.name() == word);
    let mut rings: Vec<Ring> = words.iter().map_while(named).collect();
    let filter = match words.get(rings.len()..).unwrap_or_default() {
        [] => None,
        [filter] => Some(filter.as_str()),
        [_, more, ..] => return Err(format!("`{more}` is one word too many: rings come first, then one filter")),
    };
    rings.sort_unstable();
    rings.dedup();
    Ok((rings, filter))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<(Vec<Ring>, Option<String>), String> {
        let all: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        words(&all).map(|(rings, filter)| (rings, filter.map(str::to_owned)))
    }

    #[test]
    fn rings_come_first_and_then_a_filter() {
        assert_eq!(read(""), Ok((vec![], None)));
        assert_eq!(read("engine pure engine"), Ok((vec![Ring::Pure, Ring::Engine], None)));
        assert_eq!(read("scenarios demo"), Ok((vec![Ring::Scenarios], Some("demo".to_owned()))));
        assert_eq!(read("a_sentence"), Ok((vec![], Some("a_sentence".to_owned()))));
    }

    #[test]
    fn a_scenario_names_the_modules_that_it_needs() {
        let script =
            "node a\nmodule las\nmodule other from vault\n# module cas\nswap las las-next\nexpect module cas\n";
        assert_eq!(packages(script).into_iter().collect::<Vec<_>>(), ["las", "las-next", "vault"]);
    }

    #[test]
    fn a_second_filter_is_refused_by_name() {
        assert!(read("api one two").unwrap_err().contains("`two`"));
    }
}
