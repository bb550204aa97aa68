//! `cargo xtask test`: one build of all test programs, then ring by ring.
//!
//! One build, because cargo unites the features of what one command names: a build per ring would compile shared crates once
//! per combination. While working on one crate, `cargo test -p` on it is the shorter way.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use clap::Args;
use serde_json::Value;

use crate::{
    cargo::{self, cargo, last_lines},
    cluster::{self, Install},
    edit,
    failure::Failure,
    image,
    inventory::{self, Counts},
    modules::{self, WHOLE},
    progress::{self, Step},
    rings::Ring,
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

/// What a run of tests came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    skipped: Vec<String>,
    counts: Counts,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped.extend(other.skipped);
        self.counts.extend(other.counts);
    }

    /// Notes whose tests these are.
    fn of(mut self, ring: Ring, program: &str) -> Self {
        let skipped = u64::try_from(self.skipped.len()).unwrap_or(u64::MAX);
        self.counts = BTreeMap::from([(format!("{} {program}", ring.name()), self.passed + self.failed + skipped)]);
        self
    }

    fn line(&self) -> String {
        format!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped.len())
    }
}

/// A built test program.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Program {
    /// Its package's folder within the checkout.
    folder: PathBuf,
    target: String,
    executable: PathBuf,
}

impl Program {
    fn name(&self) -> String {
        format!("{} {}", self.folder.display(), self.target)
    }

    fn command(&self, workspace: &Workspace) -> Command {
        let mut command = Command::new(&self.executable);
        let folder = workspace.root.join(&self.folder);
        command
            .current_dir(&folder)
            .env("CARGO_MANIFEST_DIR", &folder)
            .env("CARGO_TARGET_DIR", &workspace.target)
            .envs(modules::environment(workspace, "debug"));
        command
    }
}

/// Runs the rings and ends with one line; bad when a ring is.
pub(crate) fn command(workspace: &Workspace, arguments: &Arguments) -> Result<(), Failure> {
    let (mut rings, filter) = edit::words(&arguments.words).map_err(Failure::Bad)?;
    match (&arguments.package, filter) {
        (Some(package), _) if rings.is_empty() => return edit::package(workspace, package, filter),
        (Some(_), _) => return Err(Failure::Bad("a crate has no rings: leave out the ring, or --package".to_owned())),
        (None, Some(name)) if rings == [Ring::Scenarios] => return edit::scenario(workspace, name),
        (None, Some(name)) if rings.is_empty() => {
            let rings = Ring::ALL.map(Ring::name).join(", ");
            return Err(Failure::Bad(format!(
                "where to look for `{name}`? Name a ring before it ({rings}), or --package"
            )));
        }
        _ => {}
    }
    if rings.is_empty() {
        rings = Ring::ALL.to_vec();
    }
    if rings.iter().any(|ring| ring.needs_modules()) {
        modules::make(workspace, &modules::Arguments { fixtures: true, ..modules::Arguments::default() })?;
    }
    let programs = programs(workspace)?;
    let (mut total, mut bad) = (Tally::default(), Vec::new());
    for &ring in &rings {
        let programs = programs.get(&ring).map(Vec::as_slice).unwrap_or_default();
        let tally = match &arguments.kubeconfig {
            Some(kubeconfig) if ring.needs_cluster() => visit(workspace, ring, programs, kubeconfig)?,
            _ => run(workspace, ring, arguments.install, programs, filter)?,
        };
        if tally.failed > 0 || arguments.require_all && !tally.skipped.is_empty() {
            bad.push(ring.name().to_owned());
        }
        total.add(tally);
    }
    progress::result(&total.line());
    if arguments.record {
        inventory::record(workspace, &rings, &total.counts)?;
    } else if arguments.kubeconfig.is_none() && filter.is_none() {
        let differences = inventory::differences(workspace, &rings, &total.counts)?;
        differences.iter().for_each(|difference| progress::result(difference));
        if arguments.require_all && !differences.is_empty() {
            bad.push("numbers of tests".to_owned());
        }
    }
    if bad.is_empty() { Ok(()) } else { Err(Failure::Bad(format!("failing rings: {}", bad.join(", ")))) }
}

fn run(
    workspace: &Workspace,
    ring: Ring,
    install: Install,
    programs: &[Program],
    filter: Option<&str>,
) -> Result<Tally, Failure> {
    progress::result(&format!("{}: {}", ring.name(), ring.about()));
    let started = Instant::now();
    let mut tally = Tally::default();
    let obstacle = if ring.needs_cluster() { cluster::prepare(workspace, ring, install)? } else { None };
    let programs = if obstacle.is_some() { &[] } else { programs };
    let needs_image = ring == Ring::Node && obstacle.is_none();
    let image = needs_image.then(|| image::for_tests(workspace)).transpose()?;
    tally.skipped.extend(obstacle);
    for program in programs {
        let mut command = program.command(workspace);
        command.args(filter);
        command.envs(image.iter().map(|image| ("SCONE_OPERATOR_IMAGE", image)));
        if ring.needs_cluster() {
            // Each test has a cluster of its own; side by side they starve each other.
            command.arg("--test-threads=1");
        }
        tally.add(execute(&program.name(), &mut command)?.of(ring, &program.name()));
    }
    if ring == Ring::Pure && filter.is_none() {
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
    let mut tally = count(&written.stdout);
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

/// Reads libtest's text: its summaries, and the names of ignored tests.
fn count(text: &str) -> Tally {
    let mut tally = Tally::default();
    let mut ignored = 0;
    for line in text.lines() {
        if let Some(summary) = line.strip_prefix("test result: ") {
            tally.passed += figure(summary, "passed");
            tally.failed += figure(summary, "failed");
            ignored += figure(summary, "ignored");
        } else if let Some((name, reason)) = line.strip_prefix("test ").and_then(|line| line.split_once(" ... ignored"))
        {
            let reason = reason.trim_start_matches(", ");
            tally.skipped.push(if reason.is_empty() { name.to_owned() } else { format!("{name} ({reason})") });
        }
    }
    // Quiet output counts ignored tests without naming them.
    let named = u64::try_from(tally.skipped.len()).unwrap_or(u64::MAX);
    tally.skipped.extend((named..ignored).map(|_| "an ignored test".to_owned()));
    tally
}

fn figure(summary: &str, word: &str) -> u64 {
    let parts = summary.split(['.', ';']).map(str::trim);
    parts.filter_map(|part| part.strip_suffix(word)).find_map(|number| number.trim().parse().ok()).unwrap_or(0)
}

/// Builds all test programs and sorts them into rings.
fn programs(workspace: &Workspace) -> Result<BTreeMap<Ring, Vec<Program>>, Failure> {
    progress::note("building all tests ...");
    let mut command = cargo(workspace);
    command.arg("build").args(WHOLE).args(["--lib", "--bins", "--tests", "--message-format=json-render-diagnostics"]);
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| cargo::start_failure("building the tests", &command, &error))?;
    if !output.status.success() {
        return Err(Failure::Bad(format!("the tests do not build: {}", cargo::line(&command))));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    sort(text.lines().filter_map(|line| program(&workspace.root, line)))
}

fn sort(programs: impl Iterator<Item = Program>) -> Result<BTreeMap<Ring, Vec<Program>>, Failure> {
    let mut rings = BTreeMap::<Ring, Vec<Program>>::new();
    for program in programs {
        let Some(ring) = Ring::of(&program.folder, &program.target) else {
            return Err(Failure::Bad(format!(
                "the test program `{}` in {} belongs to no ring; add it to `Ring::of` in host/xtask/src/rings.rs",
                program.target,
                program.folder.display()
            )));
        };
        rings.entry(ring).or_default().push(program);
    }
    for programs in rings.values_mut() {
        programs.sort_by(|one, two| (&one.folder, &one.target).cmp(&(&two.folder, &two.target)));
    }
    Ok(rings)
}

/// A test program from one of cargo's messages.
fn program(root: &Path, message: &str) -> Option<Program> {
    let message: Value = serde_json::from_str(message).ok()?;
    let text = |pointer: &str| message.pointer(pointer).and_then(Value::as_str);
    let is_test = message.pointer("/profile/test").and_then(Value::as_bool)?;
    let folder = Path::new(text("/manifest_path")?).parent()?.strip_prefix(root).ok()?;
    let program = Program {
        folder: folder.to_path_buf(),
        target: text("/target/name")?.to_owned(),
        executable: PathBuf::from(text("/executable")?),
    };
    is_test.then_some(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_of_several_programs_are_added() {
        let text = "test a ... ok\ntest result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n\n\
                    test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";
        assert_eq!(count(text).line(), "4 passed, 2 failed, 0 skipped");
    }

    #[test]
    fn an_ignored_test_is_named_with_its_reason() {
        let text = "test slow ... ignored, needs root\ntest result: ok. 0 passed; 0 failed; 1 ignored; 0 measured\n";
        assert_eq!(count(text).skipped, ["slow (needs root)"]);
    }

    #[test]
    fn an_ignored_test_without_a_name_still_counts() {
        assert_eq!(count("test result: ok. 5 passed; 0 failed; 2 ignored; 0 measured\n").skipped.len(), 2);
    }

    #[test]
    fn a_program_that_dies_without_a_summary_counts_as_failed() {
        let mut command = Command::new("sh");
        command.args(["-c", "kill -ABRT $$"]);
        assert_eq!(execute("dying", &mut command).unwrap().failed, 1);
    }

    #[test]
    fn only_test_programs_are_taken_from_cargos_messages() {
        let message = |test: bool| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"/w/host/core/Cargo.toml","target":{{"name":"operator_core"}},
                    "profile":{{"test":{test}}},"executable":"/t/operator_core-1"}}"#
            )
        };
        let expected = Program {
            folder: PathBuf::from("host/core"),
            target: "operator_core".to_owned(),
            executable: PathBuf::from("/t/operator_core-1"),
        };
        assert_eq!(program(Path::new("/w"), &message(true)), Some(expected));
        assert_eq!(program(Path::new("/w"), &message(false)), None);
        assert_eq!(program(Path::new("/other"), &message(true)), None);
    }

    #[test]
    fn a_test_program_without_a_ring_stops_the_run() {
        let lost = Program { folder: PathBuf::from("tests"), target: "new".to_owned(), executable: PathBuf::new() };
        let failure = sort([lost].into_iter()).unwrap_err();
        assert!(failure.to_string().contains("rings.rs"), "{failure}");
    }
}
