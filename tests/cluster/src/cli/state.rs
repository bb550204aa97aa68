//! What is written down about a ring that stays.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::Ring;

/// The folder with the state of all rings that stay.
#[derive(Clone, Debug)]
pub(crate) struct States {
    folder: PathBuf,
}

/// A ring that stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) ring: Ring,
    /// The process that holds it, and when that was started: ids are used again.
    pub(crate) pid: i32,
    pub(crate) started: String,
    /// Its logs and keys.
    pub(crate) folder: PathBuf,
    /// For programs outside.
    pub(crate) kubeconfig: PathBuf,
    /// `PATH` with its tools.
    pub(crate) path: String,
    /// The first process inside and the kubeconfig there, when it has an inside.
    pub(crate) inside: Option<(u32, PathBuf)>,
}

impl States {
    /// In this folder, or else in the cache.
    pub(crate) fn find(folder: Option<PathBuf>) -> Result<Self, String> {
        let folder = match folder {
            Some(folder) => folder,
            None => cluster::tools::cache().map_err(|error| error.to_string())?.join("cluster"),
        };
        fs::create_dir_all(&folder).map_err(|error| format!("{} cannot be made: {error}", folder.display()))?;
        Ok(Self { folder })
    }

    /// The folder itself.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the process that holds a ring says.
    pub(crate) fn log(&self, ring: Ring) -> PathBuf {
        self.folder.join(format!("{}.log", ring.name()))
    }

    fn file(&self, ring: Ring) -> PathBuf {
        self.folder.join(format!("{}.json", ring.name()))
    }

    /// A ring, if it runs.
    pub(crate) fn read(&self, ring: Ring) -> Option<State> {
        let value: Value = serde_json::from_str(&fs::read_to_string(self.file(ring)).ok()?).ok()?;
        let state = State::from_value(ring, &value)?;
        (started(state.pid)? == state.started).then_some(state)
    }

    /// Complete before it has its name.
    pub(crate) fn write(&self, state: &State) -> Result<(), String> {
        let unfinished = self.folder.join(format!(".{}.{}", state.ring.name(), state.pid));
        let written = fs::write(&unfinished, state.value().to_string());
        written
            .and_then(|()| fs::rename(&unfinished, self.file(state.ring)))
            .map_err(|error| format!("{} cannot be written: {error}", self.file(state.ring).display()))
    }

    /// Forgets a ring.
    pub(crate) fn remove(&self, ring: Ring) {
        // What is not there need not go.
        drop(fs::remove_file(self.file(ring)));
    }

    /// The ring that somebody means.
    pub(crate) fn choose(&self, ring: Option<Ring>) -> Result<State, String> {
        let running: Vec<State> =
            ring.map_or(Ring::ALL.to_vec(), |ring| vec![ring]).into_iter().filter_map(|ring| self.read(ring)).collect();
        match running.as_slice() {
            [one] => Ok(one.clone()),
            [] => {
                let name = ring.unwrap_or(Ring::Api).name();
                Err(format!("no such ring runs; start it with `cargo xtask cluster up --ring {name}`"))
            }
            _ => Err("several rings run; say which one with `--ring api` or `--ring node`".to_owned()),
        }
    }
}

impl State {
    /// As it is shown and kept.
    pub(crate) fn value(&self) -> Value {
        let inside = self.inside.as_ref().map(|(pid, kubeconfig)| json!({"pid": pid, "kubeconfig": kubeconfig}));
        json!({
            "ring": self.ring.name(), "pid": self.pid, "started": self.started, "folder": self.folder,
            "kubeconfig": self.kubeconfig, "path": self.path, "inside": inside,
        })
    }

    fn from_value(ring: Ring, value: &Value) -> Option<Self> {
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let number = |pointer: &str| value.pointer(pointer).and_then(Value::as_i64);
        let inside = number("/inside/pid").and_then(|pid| u32::try_from(pid).ok()).zip(text("/inside/kubeconfig"));
        Some(Self {
            ring,
            pid: i32::try_from(number("/pid")?).ok()?,
            started: text("/started")?,
            folder: text("/folder")?.into(),
            kubeconfig: text("/kubeconfig")?.into(),
            path: text("/path")?,
            inside: inside.map(|(pid, kubeconfig)| (pid, kubeconfig.into())),
        })
    }
}

/// When a process was started, in the kernel's own unit; none when there is none, or only its remains.
pub(crate) fn started(pid: i32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let is_dead = fields.next()? == "Z";
    let started = fields.nth(18)?.to_owned();
    (!is_dead).then_some(started)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(pid: i32, started: String) -> State {
        State {
            ring: Ring::Node,
            pid,
            started,
            folder: "/f".into(),
            kubeconfig: "/k".into(),
            path: "/bin".to_owned(),
            inside: Some((7, "/i".into())),
        }
    }

    #[test]
    fn what_is_written_is_read_while_the_process_lives() {
        let folder = tempfile::tempdir().unwrap();
        let states = States::find(Some(folder.path().to_owned())).unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        let alive = state(own, started(own).unwrap());
        states.write(&alive).unwrap();
        assert_eq!(states.read(Ring::Node), Some(alive.clone()));
        assert_eq!(states.choose(None), Ok(alive));
        states.write(&state(own, "0".to_owned())).unwrap();
        assert_eq!(states.read(Ring::Node), None, "another process has that id now");
        assert!(states.choose(Some(Ring::Node)).unwrap_err().contains("up --ring node"));
    }
}
