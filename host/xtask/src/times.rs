//! The times of sources, kept from clone to clone: cargo compiles what is newer than its last build, and in a fresh clone everything is.
//!
//! A file that holds what it held at the last build gets back the time that it had then. That is right only where every build into this
//! build folder begins here: otherwise a file that went to another content and back would look unchanged. So it is a command for
//! continuous integration, which has a build folder to itself.

use std::{
    collections::BTreeMap,
    fs, io,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{cargo, failure::Failure, progress, workspace::Workspace};

/// Content and time of a file: SHA-256 in hexadecimal digits, nanoseconds since 1970.
type Known = BTreeMap<String, (String, u64)>;

/// Within the build folder.
const FILE: &str = "source-times.json";

/// Gives unchanged files their times back, and remembers the rest. Where Git does not list the files, all stay as they are.
pub(crate) fn keep(workspace: &Workspace) -> Result<(), Failure> {
    let root = workspace.root.to_string_lossy();
    let Some(tracked) = cargo::ask("git", &["-C", &root, "ls-files", "-z"]) else {
        progress::note(&format!("all sources count as new: `git -C {root} ls-files` does not list them"));
        return Ok(());
    };
    let file = workspace.target.join(FILE);
    let before = read(&file, &root);
    let mut now = Known::new();
    let mut kept = 0;
    for name in tracked.split('\0').filter(|name| !name.is_empty()) {
        let path = workspace.root.join(name);
        // Links and what is deleted have no time that cargo looks at.
        if !path.is_file() {
            continue;
        }
        let (content, time) = look(&path).map_err(|error| Failure::file("read", &path, &error))?;
        let time = match before.get(name) {
            Some((same, earlier)) if *same == content => {
                set(&path, *earlier).map_err(|error| Failure::file("set the time of", &path, &error))?;
                kept += 1;
                *earlier
            }
            _ => time,
        };
        now.insert(name.to_owned(), (content, time));
    }
    write(&file, &root, &now)?;
    progress::note(&format!("{kept} of {} sources are as they were built last", now.len()));
    Ok(())
}

/// Forgets all times: another checkout has built here since.
pub(crate) fn forget(workspace: &Workspace) -> Result<(), Failure> {
    let file = workspace.target.join(FILE);
    match fs::remove_file(&file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Failure::file("remove", &file, &error)),
        _ => Ok(()),
    }
}

/// What was remembered of the checkout at `root`. What another one built is no measure: programs may hold its place.
fn read(file: &Path, root: &str) -> Known {
    let text = fs::read_to_string(file).unwrap_or_default();
    let mut all: Value = serde_json::from_str(&text).unwrap_or_default();
    if all.get("checkout").and_then(Value::as_str) != Some(root) {
        return Known::new();
    }
    let files = all.get_mut("files").map(Value::take).unwrap_or_default();
    let known: BTreeMap<String, Value> = serde_json::from_value(files).unwrap_or_default();
    let entry = |(name, value): (String, Value)| {
        Some((name, (value.get("sha256")?.as_str()?.to_owned(), value.get("time")?.as_u64()?)))
    };
    known.into_iter().filter_map(entry).collect()
}

fn write(file: &Path, root: &str, known: &Known) -> Result<(), Failure> {
    let entry =
        |(name, (content, time)): (&String, &(String, u64))| (name.clone(), json!({"sha256": content, "time": time}));
    let files: serde_json::Map<String, Value> = known.iter().map(entry).collect();
    let text = json!({"checkout": root, "files": files}).to_string();
    let unfinished = file.with_extension("unfinished");
    let folder = file.parent().unwrap_or(file);
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&unfinished, text))
        .and_then(|()| fs::rename(&unfinished, file))
        .map_err(|error| Failure::file("write", file, &error))
}

fn look(path: &Path) -> io::Result<(String, u64)> {
    let content = hex::encode(Sha256::digest(fs::read(path)?));
    let time = fs::metadata(path)?.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok((content, u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)))
}

fn set(path: &Path, nanoseconds: u64) -> io::Result<()> {
    let time: SystemTime = UNIX_EPOCH + Duration::from_nanos(nanoseconds);
    // A file that may only be read can still be opened for that, and its owner may set its time.
    fs::File::open(path)?.set_modified(time)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn workspace(&self, checkout: &str) -> Workspace {
            Workspace { root: self.0.path().join(checkout), ..Workspace::within(self.0.path()) }
        }

        /// A fresh clone with this file.
        fn clone(&self, text: &str, seconds: u64) -> PathBuf {
            self.clone_at("checkout", text, seconds)
        }

        fn clone_at(&self, checkout: &str, text: &str, seconds: u64) -> PathBuf {
            let root = self.workspace(checkout).root;
            drop(fs::remove_dir_all(&root));
            fs::create_dir_all(&root).unwrap();
            let path = root.join("a.rs");
            fs::write(&path, text).unwrap();
            for words in [&["init", "--quiet"][..], &["add", "a.rs"]] {
                assert!(std::process::Command::new("git").current_dir(&root).args(words).status().unwrap().success());
            }
            set(&path, seconds * 1_000_000_000).unwrap();
            keep(&self.workspace(checkout)).unwrap();
            path
        }
    }

    fn seconds(path: &Path) -> u64 {
        look(path).unwrap().1 / 1_000_000_000
    }

    #[test]
    fn an_unchanged_file_of_a_fresh_clone_has_the_time_of_the_clone_before() {
        let place = Place::new();
        place.clone("same", 100);
        assert_eq!(seconds(&place.clone("same", 200)), 100);
        assert_eq!(seconds(&place.clone("same", 300)), 100);
    }

    #[test]
    fn a_file_that_went_and_came_back_is_newer_than_both_builds() {
        let place = Place::new();
        place.clone("one", 100);
        assert_eq!(seconds(&place.clone("two", 200)), 200);
        assert_eq!(seconds(&place.clone("one", 300)), 300);
    }

    #[test]
    fn a_build_of_another_checkout_in_between_makes_everything_new() {
        let place = Place::new();
        place.clone("one", 100);
        place.clone_at("other", "two", 200);
        assert_eq!(seconds(&place.clone("one", 300)), 300);
    }

    #[test]
    fn what_was_remembered_and_cannot_be_read_counts_as_nothing() {
        let place = Place::new();
        place.clone("same", 100);
        fs::write(place.workspace("checkout").target.join("source-times.json"), "{").unwrap();
        assert_eq!(seconds(&place.clone("same", 200)), 200);
    }
}
