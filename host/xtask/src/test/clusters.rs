//! Test programs that start clusters, several at a time: a cluster that waits for something leaves most of a machine idle.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::Instant,
};

use super::{Program, Tally, execute, tell};
use crate::{
    cluster::{self, Install},
    failure::Failure,
    image, modules, progress,
    rings::Ring,
    workspace::Workspace,
};

/// Each takes what is left of one ring before it helps with the other: two nodes beside each other want more than two processors. One worker
/// alone leaves them idle for more than half of the time; with three, pods did not become ready within minutes, and the whole took as long
/// as with two.
const WORKERS: [Ring; 2] = [Ring::Node, Ring::Api];

/// Those that take longest begin first, so that none of them is left for the end.
const LONG: [&str; 3] = ["webhook", "writers", "caches"];

/// A program, its ring, and the image that it installs; or one test of it.
struct Work<'a> {
    ring: Ring,
    program: &'a Program,
    test: Option<String>,
    image: Option<PathBuf>,
}

impl Work<'_> {
    fn name(&self) -> String {
        let program = self.program.name();
        self.test.as_ref().map_or(program.clone(), |test| format!("{program} {test}"))
    }

    fn command(&self, workspace: &Workspace, filter: Option<&str>) -> Command {
        let mut command = self.program.command(workspace);
        // Not the programs of the build of everything, which have more features than what is installed.
        command.envs(modules::environment(workspace, image::SHIPPED));
        command.args(filter).envs(self.image.iter().map(|image| ("SCONE_OPERATOR_IMAGE", image)));
        command.args(self.test.iter().flat_map(|test| ["--exact", test]));
        // Each test has a cluster of its own, and how many there are at a time is decided here.
        command.arg("--test-threads=1");
        command
    }
}

/// Runs these rings together, and gives what each came to.
pub(super) fn run(
    workspace: &Workspace,
    rings: &[Ring],
    programs: &BTreeMap<Ring, Vec<Program>>,
    install: Install,
    filter: Option<&str>,
) -> Result<BTreeMap<Ring, Tally>, Failure> {
    let (mut tallies, mut work) = (BTreeMap::<Ring, Tally>::new(), Vec::new());
    if !rings.is_empty() {
        image::shipped(workspace)?;
    }
    for &ring in rings {
        progress::result(&format!("{}: {}", ring.name(), ring.about()));
        let obstacle = cluster::prepare(workspace, ring, install)?;
        let runs = obstacle.is_none();
        tallies.entry(ring).or_default().skipped.extend(obstacle);
        let image = (runs && ring == Ring::Node).then(|| image::for_tests(workspace)).transpose()?;
        for program in programs.get(&ring).filter(|_| runs).into_iter().flatten() {
            if let Some(why) = unfit(&program.target, std::env::var("SCONE_OPERATOR_KUBERNETES").ok().as_deref()) {
                tallies.entry(ring).or_default().skipped.push(format!("{} ({why})", program.name()));
                continue;
            }
            // The node ring's tests take minutes each, in one program: by themselves both workers can share them.
            let apart = ring == Ring::Node && filter.is_none();
            let tests = if apart { program.tests(workspace)?.into_iter().map(Some).collect() } else { vec![None] };
            work.extend(tests.into_iter().map(|test| Work { ring, program, test, image: image.clone() }));
        }
    }
    work.sort_by_key(|work| place(&work.program.target));
    let started = Instant::now();
    let (work, tallies, failure) = (Mutex::new(work), Mutex::new(tallies), Mutex::new(None));
    let worker = |first: Ring| {
        while let Some(next) = next(&work, first) {
            match execute(&next.name(), &mut next.command(workspace, filter)) {
                Ok(tally) => {
                    let tally = tally.of(next.ring, &next.program.name());
                    locked(&tallies).entry(next.ring).or_default().add(tally);
                }
                Err(broken) => *locked(&failure) = Some(broken),
            }
        }
    };
    thread::scope(|scope| WORKERS.into_iter().for_each(|first| drop(scope.spawn(move || worker(first)))));
    if let Some(failure) = locked(&failure).take() {
        return Err(failure);
    }
    let tallies = tallies.into_inner().unwrap_or_else(PoisonError::into_inner);
    for (ring, tally) in &tallies {
        tell(*ring, tally, started);
    }
    Ok(tallies)
}

/// Why a program says nothing about this version of Kubernetes.
fn unfit(target: &str, version: Option<&str>) -> Option<String> {
    let version = version.filter(|version| !version.is_empty() && target == "differential")?;
    Some(format!(
        "the simulator plays the usual version of Kubernetes; the {version} one has other fields and defaults"
    ))
}

/// What to do next, of this ring if there is any. The lock is given back before the program runs.
fn next<'a>(work: &Mutex<Vec<Work<'a>>>, first: Ring) -> Option<Work<'a>> {
    let mut work = locked(work);
    let at = work.iter().position(|work| work.ring == first).unwrap_or(0);
    (at < work.len()).then(|| work.remove(at))
}

fn place(target: &str) -> usize {
    LONG.iter().position(|long| *long == target).unwrap_or(LONG.len())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn each_worker_takes_its_own_ring_first_and_the_longest_program_of_it() {
        let program = |target: &str| Program::new(Path::new("tests/cluster"), target, Path::new(""));
        let programs = ["api", "node", "webhook"].map(program);
        let mut work: Vec<Work<'_>> = [Ring::Api, Ring::Node, Ring::Api]
            .into_iter()
            .zip(&programs)
            .map(|(ring, program)| Work { ring, program, test: None, image: None })
            .collect();
        work.sort_by_key(|work| place(&work.program.target));
        let work = Mutex::new(work);
        let taken = |first| next(&work, first).map(|work| work.program.target.clone());
        assert_eq!(taken(Ring::Api).as_deref(), Some("webhook"));
        assert_eq!(taken(Ring::Node).as_deref(), Some("node"));
        assert_eq!(taken(Ring::Node).as_deref(), Some("api"), "nothing of its own is left");
        assert_eq!(taken(Ring::Node), None);
    }

    #[test]
    fn only_the_usual_version_is_compared_with_the_simulator() {
        assert!(unfit("differential", Some("lowest")).is_some_and(|why| why.contains("the lowest one")));
        assert_eq!((unfit("differential", None), unfit("differential", Some(""))), (None, None));
        assert_eq!(unfit("writers", Some("newest")), None);
    }
}
