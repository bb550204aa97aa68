//! A machine of its own: network, mounts and processes apart from those of this machine.

use std::{
    ffi::OsStr,
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{Error, process::end_of_file};

const KEEPER: &str = include_str!("keeper.sh");
const FIRST: &str = include_str!("first.sh");
/// How long the namespaces may take to come up.
const PATIENCE: Duration = Duration::from_secs(20);

/// Fresh namespaces with a first process. When this is dropped, or this process dies, all of it goes: processes, mounts, links, groups,
/// and the folder.
#[derive(Debug)]
pub(crate) struct Namespace {
    keeper: Child,
    folder: PathBuf,
    first: u32,
}

impl Namespace {
    /// Makes them. `folder` belongs to them from now on; `name` names the groups of their processes.
    pub(crate) async fn start(folder: PathBuf, name: &str, address: &str, pause: &Path) -> Result<Self, Error> {
        let broken = |source| Error::Io { what: "the namespaces of the node cannot be made".to_owned(), source };
        let log = folder.join("namespaces.log");
        let out = fs::File::create(&log).map_err(broken)?;
        let keeper = Command::new("sh")
            .args(["-c", KEEPER, "sh"])
            .arg(&folder)
            .arg(name)
            .args(["sh", "-c", FIRST, "sh"])
            .arg(&folder)
            .arg(address)
            .arg(pause)
            .env("PATH", path(&[]))
            // An interrupt from the keyboard ends the harness; the keeper has to clean up after it.
            .process_group(0)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(out.try_clone().map_err(broken)?)
            .stderr(out)
            .spawn()
            .map_err(broken)?;
        let mut namespace = Self { keeper, folder, first: 0 };
        namespace.wait().await?;
        Ok(namespace)
    }

    async fn wait(&mut self) -> Result<(), Error> {
        let started = Instant::now();
        let mut poll = tokio::time::interval(Duration::from_millis(10));
        let log = self.folder.join("namespaces.log");
        while started.elapsed() < PATIENCE {
            poll.tick().await;
            // Its folder goes with it, so the log is read first.
            let said = end_of_file(&log);
            if !matches!(self.keeper.try_wait(), Ok(None)) {
                return Err(Error::Ended { program: "the first process of the node".to_owned(), log: said });
            }
            if self.folder.join("up").exists()
                && let Some(first) = self.find_first()
            {
                self.first = first;
                return Ok(());
            }
        }
        let log = end_of_file(&log);
        Err(Error::NotReady { what: "the first process of the node", seconds: PATIENCE.as_secs(), log })
    }

    /// The first process inside, as it is called outside.
    fn find_first(&self) -> Option<u32> {
        let unshare = fs::read_to_string(self.folder.join("pid")).ok()?;
        let unshare = unshare.trim();
        let children = fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children")).ok()?;
        children.split_whitespace().next()?.parse().ok()
    }

    /// The first process inside.
    pub(crate) fn first(&self) -> u32 {
        self.first
    }

    /// What enters the namespaces, to be followed by a program and its arguments.
    pub(crate) fn enter(&self) -> Vec<String> {
        enter(self.first)
    }
}

/// The words that enter the namespaces of a process, to be followed by a program and its arguments.
pub(crate) fn enter(pid: u32) -> Vec<String> {
    let pid = pid.to_string();
    let words = ["nsenter", "--target", pid.as_str(), "--net", "--mount", "--pid", "--"];
    words.map(str::to_owned).to_vec()
}

/// A command inside the namespaces of a process, in the folder in which this process is.
pub fn command(pid: u32, program: impl AsRef<OsStr>) -> Command {
    let mut words = enter(pid).into_iter();
    let mut command = Command::new(words.next().unwrap_or_default());
    // Entering leads to the root folder.
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    command.args(words).args(["sh", "-c", r#"cd "$0"; exec "$@""#]).arg(here).arg(program);
    command
}

/// `PATH` with these folders first, and with those of administrators, which a user's may lack.
pub(crate) fn path(first: &[PathBuf]) -> std::ffi::OsString {
    let own = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    let all = first.iter().cloned().chain(std::env::split_paths(&own)).chain(more);
    // Only a folder with a colon in its name cannot be joined.
    std::env::join_paths(all).unwrap_or(own)
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        // It ends when everything is gone.
        drop(self.keeper.wait());
    }
}
