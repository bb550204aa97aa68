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

/// How many run at a time. One alone leaves two processors idle for more than half of the time; with three, pods of the ring with a node did
/// not become ready within minutes, and the whole took as long as with two.
const AT_ONCE: usize = 2;

/// Those that take longest begin first, so that none of them is left for the end.
const LONG: [&str; 4] = ["node", "webhook", "writers", "caches"];

/// A program, its ring, and the image that it installs.
struct Work<'a> {
    ring: Ring,
    program: &'a Program,
    image: Option<PathBuf>,
}

impl Work<'_> {
    fn command(&self, workspace: &Workspace, filter: Option<&str>) -> Command {
        let mut command = self.program.command(workspace);
        // Not the programs of the build of everything, which have more features than what is installed.
        command.envs(modules::environment(workspace, image::SHIPPED));
        command.args(filter).envs(self.image.iter().map(|image| ("SCONE_OPERATOR_IMAGE", image)));
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
        let programs = programs.get(&ring).filter(|_| runs).into_iter().flatten();
        work.extend(programs.map(|program| Work { ring, program, image: image.clone() }));
    }
    // Taken from the end.
    work.sort_by_key(|work| std::cmp::Reverse(place(&work.program.target)));
    let started = Instant::now();
    let (work, tallies, failure) = (Mutex::new(work), Mutex::new(tallies), Mutex::new(None));
    let worker = || {
        while let Some(next) = next(&work) {
            let name = next.program.name();
            match execute(&name, &mut next.command(workspace, filter)) {
                Ok(tally) => locked(&tallies).entry(next.ring).or_default().add(tally.of(next.ring, &name)),
                Err(broken) => *locked(&failure) = Some(broken),
            }
        }
    };
    thread::scope(|scope| (0..AT_ONCE).for_each(|_| drop(scope.spawn(worker))));
    if let Some(failure) = locked(&failure).take() {
        return Err(failure);
    }
    let tallies = tallies.into_inner().unwrap_or_else(PoisonError::into_inner);
    for (ring, tally) in &tallies {
        tell(*ring, tally, started);
    }
    Ok(tallies)
}

/// The lock is given back before the program runs.
fn next<'a>(work: &Mutex<Vec<Work<'a>>>) -> Option<Work<'a>> {
    locked(work).pop()
}

fn place(target: &str) -> usize {
    LONG.iter().position(|long| *long == target).unwrap_or(LONG.len())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_program_begins_first() {
        let mut targets = ["api", "caches", "node", "webhook"];
        targets.sort_by_key(|target| place(target));
        assert_eq!(targets, ["node", "webhook", "caches", "api"]);
    }
}
