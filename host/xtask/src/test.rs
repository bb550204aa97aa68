//! `cargo xtask test`: one build of all test programs, then ring by ring.
//!
//! One build, because cargo unites the features of what one command names: a build per ring would compile shared crates once
//! per combination. While working on one crate, `--package` is the shorter way.

mod clusters;
mod programs;
mod tally;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use clap::Args;

use self::{programs::Program, tally::Tally};
use crate::{
    cargo::{self, cargo, last_lines},
    cluster::Install,
    edit,
    failure::Failure,
    inventory,
    modules::{self, WHOLE},
    progress::{self, Plan, Step},
    rings::Ring,
    sharing,
    workspace::Workspace,
};

/// How long a test program may say nothing: it has a line for each test that ends, and the slowest test takes a minute or two.
const SILENCE: Duration = Duration::from_mins(15);

/// The test program that leaves a cluster as it found it.
const GUEST: &str = "existing";

/// Which tests.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Rings (all of them without a name), and then a filter: a part of a test's name, or the name of a scenario.
    #[arg(value_name = "RING|FILTER")]
    words: Vec<String>,
    /// Only the tests of this crate, built by itself: the quick loop.
    #[arg(short, long, value_name = "CRATE", conflicts_with_all = ["require_all", "record", "kubeconfig"])]
    package: Option<String>,
    /// What cannot run here counts as failed, and so does a program that has another number of tests than tests/inventory says.
    #[arg(long, conflicts_with = "kubeconfig")]
    require_all: bool,
    /// Writes the numbers of tests into tests/inventory.
    #[arg(long, conflicts_with_all = ["require_all", "kubeconfig"])]
    record: bool,
    /// Only this test program of the rings, by the name of its target.
    #[arg(long, value_name = "TARGET", conflicts_with_all = ["package", "require_all", "record"])]
    program: Option<String>,
    #[command(flatten)]
    install: Install,
    /// Use the cluster of this kubeconfig: of the rings that need one, only the tests run that leave a cluster as they found it, and
    /// nothing is built or started for the others.
    #[arg(long, value_name = "FILE", value_parser = existing_file)]
    kubeconfig: Option<PathBuf>,
}

fn existing_file(text: &str) -> Result<PathBuf, String> {
    std::path::absolute(text).ok().filter(|path| path.is_file()).ok_or_else(|| "there is no such file".to_owned())
}

/// Runs the rings and ends with one line; bad when a ring is.
pub(crate) fn command(workspace: &Workspace, arguments: &Arguments) -> Result<(), Failure> {
    let (mut rings, filter) = edit::words(&arguments.words).map_err(Failure::Bad)?;
    sensible(arguments, &rings, filter).map_err(Failure::Bad)?;
    if let Some(package) = &arguments.package {
        return edit::package(workspace, package, filter);
    }
    if let (Some(name), [Ring::Scenarios]) = (filter, &rings[..]) {
        return edit::scenario(workspace, name);
    }
    if rings.is_empty() {
        rings = Ring::ALL.to_vec();
    }
    let _alone = sharing::alone(workspace)?;
    let programs = prepare(workspace, arguments, &rings)?;
    let tallies = run_all(workspace, arguments, &rings, &programs, filter)?;
    verdict(workspace, arguments, &rings, tallies, filter.is_none() && arguments.program.is_none())
}

/// What goes together.
fn sensible(arguments: &Arguments, rings: &[Ring], filter: Option<&str>) -> Result<(), String> {
    match (&arguments.package, filter) {
        (Some(_), _) if !rings.is_empty() => Err("a crate has no rings: leave out the ring, or --package".to_owned()),
        (None, Some(_)) if arguments.record || arguments.require_all => {
            Err("numbers of tests are those of whole rings: leave out the filter".to_owned())
        }
        (None, Some(name)) if rings.is_empty() => {
            let rings = Ring::ALL.map(Ring::name).join(", ");
            Err(format!("where to look for `{name}`? Name a ring before it ({rings}), or --package"))
        }
        _ => Ok(()),
    }
}

/// Builds modules and test programs, and gives those that are asked for.
fn prepare(
    workspace: &Workspace,
    arguments: &Arguments,
    rings: &[Ring],
) -> Result<BTreeMap<Ring, Vec<Program>>, Failure> {
    let modules = modules::Arguments { fixtures: true, ..modules::Arguments::default() };
    let with_modules = rings.iter().any(|ring| ring.needs_modules());
    let mut steps = if with_modules { modules::steps(&modules) } else { Vec::new() };
    steps.push("all tests are built".to_owned());
    steps.push(format!("they run: {}", rings.iter().map(|ring| ring.name()).collect::<Vec<_>>().join(", ")));
    let mut plan = Plan::new(steps);
    if with_modules {
        modules::make(workspace, &modules, &mut plan)?;
    }
    plan.next();
    let mut programs = programs::programs(workspace)?;
    if let Some(name) = &arguments.program {
        for programs in programs.values_mut() {
            programs.retain(|program| program.target == *name);
        }
        if rings.iter().all(|ring| programs.get(ring).is_none_or(Vec::is_empty)) {
            return Err(Failure::Bad(format!(
                "none of these rings has a test program {name}; tests/inventory names all of them"
            )));
        }
    }
    plan.next();
    Ok(programs)
}

/// Runs ring after ring, those with a cluster together at the end.
fn run_all(
    workspace: &Workspace,
    arguments: &Arguments,
    rings: &[Ring],
    programs: &BTreeMap<Ring, Vec<Program>>,
    filter: Option<&str>,
) -> Result<Vec<(Ring, Tally)>, Failure> {
    let (clusters, alone): (Vec<Ring>, Vec<Ring>) = rings.iter().partition(|ring| ring.needs_cluster());
    let of = |ring: &Ring| programs.get(ring).map(Vec::as_slice).unwrap_or_default();
    let mut tallies = Vec::new();
    for ring in alone {
        tallies.push((ring, run(workspace, ring, of(&ring), filter, arguments.program.is_none())?));
    }
    match &arguments.kubeconfig {
        Some(kubeconfig) => {
            for ring in clusters {
                tallies.push((ring, visit(workspace, ring, of(&ring), kubeconfig)?));
            }
        }
        None => tallies.extend(clusters::run(workspace, &clusters, programs, arguments.install, filter)?),
    }
    Ok(tallies)
}

/// What all of it came to. Only a `whole` run is compared with the inventory.
fn verdict(
    workspace: &Workspace,
    arguments: &Arguments,
    rings: &[Ring],
    tallies: Vec<(Ring, Tally)>,
    whole: bool,
) -> Result<(), Failure> {
    let (mut total, mut bad) = (Tally::default(), Vec::new());
    for (ring, tally) in tallies {
        if tally.failed > 0 || arguments.require_all && !tally.skipped.is_empty() {
            bad.push(ring.name().to_owned());
        }
        total.add(tally);
    }
    progress::result(&total.line());
    if arguments.record {
        inventory::record(workspace, rings, &total.counts)?;
    } else if arguments.kubeconfig.is_none() && whole {
        let differences = inventory::differences(workspace, rings, &total.counts)?;
        for difference in &differences {
            progress::result(difference);
        }
        if arguments.require_all && !differences.is_empty() {
            bad.push("numbers of tests".to_owned());
        }
    }
    if bad.is_empty() { Ok(()) } else { Err(Failure::Bad(format!("failing rings: {}", bad.join(", ")))) }
}

/// Runs a ring that needs no cluster, one program after the other: each uses all processors by itself.
/// Examples in the documentation are a program of the pure ring that cargo runs itself.
fn run(
    workspace: &Workspace,
    ring: Ring,
    programs: &[Program],
    filter: Option<&str>,
    examples: bool,
) -> Result<Tally, Failure> {
    progress::result(&format!("{}: {}", ring.name(), ring.about()));
    let started = Instant::now();
    let mut tally = Tally::default();
    for program in programs {
        let mut command = program.command(workspace);
        tally.add(execute(&program.name(), command.args(filter))?.of(ring, &program.name()));
    }
    if ring == Ring::Pure && filter.is_none() && examples {
        let mut command = cargo(workspace);
        command.arg("test").args(WHOLE).args(["--doc", "--no-fail-fast", "--quiet"]);
        let name = "examples in the documentation";
        tally.add(execute(name, &mut command)?.of(ring, name));
    }
    tell(ring, &tally, started);
    Ok(tally)
}

/// Runs of a ring what leaves the cluster of this kubeconfig as it was.
fn visit(workspace: &Workspace, ring: Ring, programs: &[Program], kubeconfig: &Path) -> Result<Tally, Failure> {
    progress::result(&format!("{}: {}, in the cluster of {}", ring.name(), ring.about(), kubeconfig.display()));
    let started = Instant::now();
    let mut tally = Tally::default();
    for program in programs {
        if program.target == GUEST {
            let mut command = program.command(workspace);
            tally.add(execute(&program.name(), command.env("SCONE_OPERATOR_KUBECONFIG", kubeconfig))?);
        } else {
            let why = "it needs a cluster of its own: it reads the audit log, or stops what others use";
            tally.skipped.push(format!("{} ({why})", program.name()));
        }
    }
    tell(ring, &tally, started);
    Ok(tally)
}

fn tell(ring: Ring, tally: &Tally, started: Instant) {
    for skipped in &tally.skipped {
        progress::result(&format!("  skipped: {skipped}"));
    }
    progress::result(&format!("{}: {} in {}", ring.name(), tally.line(), progress::seconds(started.elapsed())));
}

/// Runs one test program; shows its output only when something failed.
fn execute(name: &str, command: &mut Command) -> Result<Tally, Failure> {
    let started = Instant::now();
    let step = Step::start(format!("  {name}"));
    let written = cargo::written(name, command, SILENCE)?;
    drop(step);
    let mut tally = tally::count(&written.stdout);
    if !written.status.is_some_and(|status| status.success()) && tally.failed == 0 {
        // It ended without a summary: aborted, killed, or it did not compile.
        tally.failed = 1;
    }
    if tally.failed > 0 {
        let ended = written.status.map_or_else(
            || format!("was killed after {} in which no test ended: one hangs", progress::seconds(SILENCE)),
            |status| format!("ended with {status}"),
        );
        let (out, err) = (written.stdout.trim_end(), last_lines(&written.stderr, 200));
        progress::result(&format!("{out}\n{err}\n  {name} {ended}"));
    }
    let time = progress::seconds(started.elapsed());
    progress::result(&format!("  {name}: {} in {time}", tally.line()));
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_dies_without_a_summary_counts_as_failed() {
        let mut command = Command::new("sh");
        command.args(["-c", "kill -ABRT $$"]);
        assert_eq!(execute("dying", &mut command).unwrap().failed, 1);
    }
}
