//! Programs that end with this process, whatever becomes of it.

use std::{
    fs::File,
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
        let log = folder.join(format!("{name}.log"));
        let broken = |source| Error::Io { what: format!("{name} cannot be started"), source };
        let out = File::create(&log).map_err(broken)?;
        let child = Command::new("sh")
            .args(["-c", UNTIL_PARENT_ENDS, "sh"])
            .arg(program)
            .args(arguments)
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
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(15)..).unwrap_or_default().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Its standard input ends, and with it the program.
        drop(self.child.stdin.take());
        drop(self.child.wait());
    }
}
