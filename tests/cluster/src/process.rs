//! Programs that end with this process, whatever becomes of it.

use std::{
    ffi::OsStr,
    fs::File,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::Error;

/// Runs its program until its standard input ends, which the kernel sees to when this process dies, also by kill -9.
const UNTIL_PARENT_ENDS: &str = r#"exec 3<&0
"$@" </dev/null &
program=$!
(cat <&3 >/dev/null; kill -KILL "$program") >/dev/null 2>&1 &
wait "$program""#;

/// A running program. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program that logs into a file in `folder`.
    pub(crate) fn start(name: &str, program: &Path, arguments: &[String], folder: &Path) -> Result<Self, Error> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        Self::start_with_path(name, program, arguments, folder, &path)
    }

    /// The same, with a `PATH` of its own.
    pub(crate) fn start_with_path(
        name: &str,
        program: &Path,
        arguments: &[String],
        folder: &Path,
        path: &OsStr,
    ) -> Result<Self, Error> {
        let log = folder.join(format!("{name}.log"));
        let broken = |source| Error::Io { what: format!("{name} cannot be started"), source };
        let out = File::create(&log).map_err(broken)?;
        let child = Command::new("sh")
            .args(["-c", UNTIL_PARENT_ENDS, "sh"])
            .arg(program)
            .args(arguments)
            .env("PATH", path)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(out.try_clone().map_err(broken)?)
            .stderr(out)
            .spawn()
            .map_err(broken)?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// An error with the end of the log when the program has ended.
    pub(crate) fn check(&mut self) -> Result<(), Error> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            _ => Err(Error::Ended { program: self.name.clone(), log: self.end_of_log() }),
        }
    }

    /// The last lines that it logged.
    pub(crate) fn end_of_log(&self) -> String {
        format!("{}:\n{}", self.name, end_of_file(&self.log))
    }
}

/// Removes a folder when this process has died, also by kill -9. It tries again while dying programs still write.
const SWEEP: &str = r#"cat >/dev/null
for _ in 1 2 3 4 5 6 7 8 9 10; do rm -rf "$0" 2>/dev/null && exit 0; sleep 0.2; done"#;

/// Sees to it that a folder goes with this process, whatever becomes of it.
#[derive(Debug)]
pub(crate) struct Sweeper(Child);

impl Sweeper {
    /// For this folder.
    pub(crate) fn start(folder: &Path) -> Result<Self, Error> {
        let broken = |source| Error::Io { what: format!("nobody can watch over {}", folder.display()), source };
        let mut command = Command::new("sh");
        // An interrupt from the keyboard ends the harness; this has to clean up after it.
        command.args(["-c", SWEEP]).arg(folder).current_dir("/").process_group(0);
        let quiet = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        quiet.spawn().map(Self).map_err(broken)
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        drop(self.0.wait());
    }
}

/// From now on this process is ended when the one that started it ends, however it does: a test that nobody hears any more would go on with
/// its cluster for minutes, beside the next run.
pub fn end_with_parent() {
    // Where it cannot be had, such as in a sandbox, tests run as well.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM));
}

/// The last lines of a text file.
pub(crate) fn end_of_file(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(15)..).unwrap_or_default().join("\n")
}

/// Which programs log into a folder, sorted.
pub fn logging(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    // The audit log is of requests, not of a program, and long.
    let mut names: Vec<String> =
        names.filter_map(|name| name.strip_suffix(".log").map(str::to_owned)).filter(|name| name != "audit").collect();
    names.sort();
    names
}

impl Drop for Process {
    fn drop(&mut self) {
        // Its standard input ends, and with it the program.
        drop(self.child.stdin.take());
        drop(self.child.wait());
    }
}

#[cfg(test)]
mod tests {
    use std::{
        env,
        io::{BufRead, BufReader},
        process::{Command, Stdio},
        sync::mpsc,
        time::Duration,
    };

    use super::*;

    const STARTED: &str = "STARTED_BY_A_TEST";

    #[test]
    fn a_program_ends_when_the_one_that_started_it_is_killed() {
        if env::var_os(STARTED).is_some() {
            end_with_parent();
            println!("\nruns");
            // Longer than the test waits, and not for ever where it fails.
            std::thread::park_timeout(Duration::from_mins(2));
            return;
        }
        let again =
            "\"$0\" --exact process::tests::a_program_ends_when_the_one_that_started_it_is_killed --nocapture & wait";
        let mut shell = Command::new("sh")
            .args(["-c", again])
            .arg(env::current_exe().unwrap())
            .env(STARTED, "yes")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut lines, (ended, end)) = (BufReader::new(shell.stdout.take().unwrap()).lines(), mpsc::channel());
        assert!(lines.any(|line| line.unwrap() == "runs"));
        shell.kill().unwrap();
        shell.wait().unwrap();
        // What it writes ends with it.
        std::thread::spawn(move || ended.send(lines.count()));
        end.recv_timeout(Duration::from_mins(1)).unwrap();
    }
}
