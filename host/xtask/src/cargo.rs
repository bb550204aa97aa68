//! Cargo and other programs: started with a clean environment, ended by a deadline, explained when they fail.

use std::{
    collections::VecDeque,
    env,
    ffi::OsStr,
    io::{BufRead, BufReader, Read},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use crate::{
    failure::Failure,
    progress::{self, Step},
    toolchain::{TARGET, Toolchain},
    workspace::Workspace,
};

const PACE: Duration = Duration::from_millis(50);

/// Cargo in the checkout, as if a person had called it: what the outer `cargo run` set for this program is taken away, so that
/// builds from here and builds by hand share their results.
pub(crate) fn cargo(workspace: &Workspace) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(&workspace.root).env("CARGO_TARGET_DIR", &workspace.target);
    clean(&mut command);
    command
}

/// Takes the variables away that `cargo run` sets for the program it starts.
pub(crate) fn clean(command: &mut Command) {
    const OURS: [&str; 4] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(|name| OURS.iter().any(|prefix| name.starts_with(prefix))) {
            command.env_remove(name);
        }
    }
}

/// The command as a person would type it.
pub(crate) fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(quote).collect::<Vec<_>>().join(" ")
}

fn quote(word: &OsStr) -> String {
    let text = word.to_string_lossy();
    let plain = |character: char| character.is_ascii_alphanumeric() || "/._-+=:,@%".contains(character);
    if !text.is_empty() && text.chars().all(plain) { text.into_owned() } else { format!("'{text}'") }
}

/// Runs a program that shows its own progress; its exit code decides.
pub(crate) fn show(what: &str, command: &mut Command) -> Result<(), Failure> {
    let status = command.status().map_err(|error| start_failure(what, command, &error))?;
    ended(what, command, status, "")
}

/// Runs a program silently behind a spinner, and gives its standard output. When it fails, its last lines are in the message.
pub(crate) fn capture(what: &str, command: &mut Command) -> Result<String, Failure> {
    let step = Step::start(what);
    let output = command.stdin(Stdio::null()).output().map_err(|error| start_failure(what, command, &error))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ended(what, command, output.status, &last_lines(&errors, 30))?;
    step.done();
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Standard output of a quick question, none when the program is missing or says no.
pub(crate) fn ask(program: impl AsRef<OsStr>, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// How a program with a deadline ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By itself, well.
    Well,
    /// By itself, with an error: its last lines.
    Badly(String),
    /// By us: its last lines.
    Late(String),
}

/// Runs a program, and kills it when the deadline passes, unless `spare` says of what it wrote so far that it must not be
/// interrupted.
pub(crate) fn with_deadline(
    command: &mut Command,
    deadline: Duration,
    spare: fn(&str) -> bool,
) -> Result<Ended, Failure> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| start_failure("starting", command, &error))?;
    let (sender, lines) = mpsc::channel();
    if let Some(stderr) = child.stderr.take() {
        thread::spawn(move || forward(stderr, &sender));
    }
    let end = Instant::now() + deadline;
    let mut seen = String::new();
    loop {
        // The wait for a line is also what paces the look at the child.
        match lines.recv_timeout(PACE) {
            Ok(line) => {
                seen.push_str(&line);
                seen.push('\n');
                continue;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => thread::sleep(PACE),
        }
        if let Some(status) = wait(&mut child)? {
            seen.extend(lines.try_iter().map(|line| line + "\n"));
            return Ok(if status.success() { Ended::Well } else { Ended::Badly(last_lines(&seen, 5)) });
        }
        if Instant::now() >= end && !spare(&seen) {
            let _ = child.kill();
            let _ = child.wait();
            return Ok(Ended::Late(last_lines(&seen, 5)));
        }
    }
}

/// What a program wrote, and how it ended; no status when the deadline passed and it was killed.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) status: Option<ExitStatus>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a program to its end, and gives what it wrote. One that writes nothing to standard output for so long hangs, and is killed: how
/// long it takes as a whole says nothing, since machines differ.
pub(crate) fn written(what: &str, command: &mut Command, silence: Duration) -> Result<Written, Failure> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| start_failure(what, command, &error))?;
    let (out, err) = (gather(child.stdout.take()), gather(child.stderr.take()));
    let (mut stdout, mut heard) = (Vec::new(), Instant::now());
    let status = loop {
        if let Some(status) = wait(&mut child)? {
            break Some(status);
        }
        if let Ok(part) = out.try_recv() {
            stdout.extend(part);
            heard = Instant::now();
            continue;
        }
        if heard.elapsed() >= silence {
            let _ = child.kill();
            let _ = child.wait();
            break None;
        }
        thread::sleep(PACE / 5);
    };
    // What it started may outlive it and hold the pipes open, so the wait for the rest has an end as well.
    let rest = |mut bytes: Vec<u8>, parts: Receiver<Vec<u8>>| {
        while let Ok(part) = parts.recv_timeout(PACE * 20) {
            bytes.extend(part);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    };
    Ok(Written { status, stdout: rest(stdout, out), stderr: rest(Vec::new(), err) })
}

/// Reads a pipe to its end in a thread of its own.
fn gather(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, parts) = mpsc::channel();
    if let Some(mut pipe) = pipe {
        thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(size @ 1..) = pipe.read(&mut buffer) {
                if sender.send(buffer.get(..size).unwrap_or_default().to_vec()).is_err() {
                    return;
                }
            }
        });
    }
    parts
}

fn wait(child: &mut Child) -> Result<Option<ExitStatus>, Failure> {
    child.try_wait().map_err(|error| Failure::Internal(format!("cannot wait for a program: {error}")))
}

fn forward(from: impl Read, to: &Sender<String>) {
    for line in BufReader::new(from).lines().map_while(Result::ok) {
        if to.send(line).is_err() {
            return;
        }
    }
}

pub(crate) fn start_failure(what: &str, command: &Command, error: &std::io::Error) -> Failure {
    let program = command.get_program().to_string_lossy();
    Failure::Bad(format!("{what}: cannot start `{program}`: {error}; `cargo xtask doctor` says what brings it"))
}

fn ended(what: &str, command: &Command, status: ExitStatus, tail: &str) -> Result<(), Failure> {
    if status.success() {
        return Ok(());
    }
    let tail = if tail.is_empty() { String::new() } else { format!("\n{tail}") };
    Err(Failure::Bad(format!("{what} failed ({status}): {}{tail}", line(command))))
}

/// The last lines of a text.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let mut kept = VecDeque::with_capacity(count + 1);
    for line in text.lines() {
        kept.push_back(line);
        if kept.len() > count {
            kept.pop_front();
        }
    }
    kept.into_iter().collect::<Vec<_>>().join("\n")
}

/// Brings the sources of all dependencies, so that a machine without a network says so before anything is compiled. Those of other
/// platforms are left out.
pub(crate) fn fetch(workspace: &Workspace) -> Result<(), Failure> {
    let mut command = cargo(workspace);
    command.args(["fetch", "--locked", "--quiet"]);
    for target in [Toolchain::find(workspace)?.host.as_str(), TARGET] {
        command.args(["--target", target]);
    }
    capture("bringing the sources of dependencies", &mut command).map(drop).map_err(|failure| {
        Failure::Bad(format!(
            "{failure}\nThe sources of what this project stands on are brought once, from crates.io, into CARGO_HOME. Without a network \
             bring that folder from a machine that has them (`cargo fetch --locked` there), or name a mirror in its config.toml."
        ))
    })
}

/// A step that shows cargo's own progress beneath its line.
pub(crate) fn build(workspace: &Workspace, what: &str, arguments: &[&str]) -> Result<(), Failure> {
    progress::note(&format!("{what} ..."));
    show(what, cargo(workspace).args(arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_program_that_hangs_is_killed_and_its_last_words_are_kept() {
        let ended =
            with_deadline(&mut shell("echo syncing >&2; exec sleep 600"), Duration::from_millis(300), |_| false);
        assert_eq!(ended.unwrap(), Ended::Late("syncing".to_owned()));
    }

    #[test]
    fn a_program_that_must_not_be_interrupted_outlives_its_deadline() {
        let script = "echo installing >&2; sleep 0.3; exit 0";
        let ended =
            with_deadline(&mut shell(script), Duration::ZERO, |seen| seen.contains("installing") || seen.is_empty());
        assert_eq!(ended.unwrap(), Ended::Well);
    }

    #[test]
    fn a_program_that_fails_says_why() {
        let ended = with_deadline(&mut shell("echo no network >&2; exit 3"), Duration::from_mins(1), |_| false);
        assert_eq!(ended.unwrap(), Ended::Badly("no network".to_owned()));
    }

    #[test]
    fn what_a_program_wrote_before_it_was_killed_is_kept() {
        let written =
            written("trying", &mut shell("echo out; echo err >&2; exec sleep 600"), Duration::from_millis(300))
                .unwrap();
        assert_eq!((written.status, written.stdout.as_str(), written.stderr.as_str()), (None, "out\n", "err\n"));
    }

    #[test]
    fn a_program_that_goes_on_saying_something_may_take_longer_than_it_may_be_silent() {
        let script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo $i; sleep 0.1; done";
        let written = written("trying", &mut shell(script), Duration::from_secs(1)).unwrap();
        assert!(written.status.is_some_and(|status| status.success()), "{written:?}");
    }

    #[test]
    fn much_output_on_both_streams_does_not_block() {
        let script = "head -c 300000 /dev/zero >&2; head -c 300000 /dev/zero; exit 4";
        let written = written("trying", &mut shell(script), Duration::from_mins(1)).unwrap();
        assert_eq!(written.status.and_then(|status| status.code()), Some(4));
        assert_eq!((written.stdout.len(), written.stderr.len()), (300_000, 300_000));
    }

    #[test]
    fn a_failure_shows_the_command_and_the_end_of_its_output() {
        let failure = capture("trying", &mut shell("echo one >&2; echo two >&2; exit 1")).unwrap_err();
        assert_eq!(failure.code(), 1);
        let text = failure.to_string();
        assert!(text.contains("one\ntwo") && text.contains("sh -c 'echo one"), "{text}");
    }

    #[test]
    fn a_missing_program_points_to_the_doctor() {
        let failure = capture("trying", &mut Command::new("no-such-program-here")).unwrap_err();
        assert!(failure.to_string().contains("cargo xtask doctor"), "{failure}");
    }
}
