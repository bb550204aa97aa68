//! One build folder and several who use it: two checkouts, or two runs at once.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::{
    cargo::{self, cargo},
    failure::Failure,
    progress, times,
    workspace::{Workspace, text_or_nothing},
};

/// Notes that this checkout builds here. Where another one did so last, all sources of this one count as changed, and the command begins
/// anew: cargo names what it builds by its place within the checkout and compares times only, so it would take the other's programs for
/// these, this program among them.
pub(crate) fn claim(workspace: &Workspace) -> Result<(), Failure> {
    let Some(other) = other(workspace)? else { return Ok(()) };
    progress::note(&format!(
        "{} was used by the checkout in {other} last, so everything of this one is built anew; CARGO_TARGET_DIR=… gives it a build folder \
         of its own",
        workspace.target.display()
    ));
    for path in sources(workspace)? {
        touch(&path)?;
    }
    times::forget(workspace)?;
    record(workspace)?;
    let mut again = cargo(workspace);
    again.args(["run", "--quiet", "--package", "xtask", "--"]).args(std::env::args_os().skip(1));
    let error = again.exec();
    Err(cargo::start_failure("beginning anew", &again, &error))
}

/// The right to run tests or measure here: a second run would replace programs and modules under the first. It ends with the file, and
/// so with the process, however that ends.
pub(crate) fn alone(workspace: &Workspace) -> Result<File, Failure> {
    let path = workspace.target.join(".run.lock");
    let broken = |error| Failure::file("lock", &path, &error);
    fs::create_dir_all(&workspace.target).map_err(broken)?;
    let file = File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(broken)?;
    if file.try_lock().is_err() {
        let whose = fs::read_to_string(&path).unwrap_or_default();
        progress::note(&format!(
            "waiting for process {} that runs here; CARGO_TARGET_DIR=… gives this run a build folder of its own",
            whose.trim()
        ));
        file.lock().map_err(broken)?;
    }
    fs::write(&path, format!("{}\n", std::process::id())).map_err(broken)?;
    Ok(file)
}

/// The checkout that built here last, when it is another one.
fn other(workspace: &Workspace) -> Result<Option<String>, Failure> {
    let last = text_or_nothing(&marker(workspace))?;
    if last.is_empty() {
        record(workspace)?;
        return Ok(None);
    }
    Ok((Path::new(&last) != workspace.root).then_some(last))
}

fn record(workspace: &Workspace) -> Result<(), Failure> {
    let marker = marker(workspace);
    fs::create_dir_all(&workspace.target)
        .and_then(|()| fs::write(&marker, workspace.root.to_string_lossy().as_bytes()))
        .map_err(|error| Failure::file("write", &marker, &error))
}

fn marker(workspace: &Workspace) -> PathBuf {
    workspace.target.join("checkout")
}

/// Every file of the checkout that is no build output.
fn sources(workspace: &Workspace) -> Result<Vec<PathBuf>, Failure> {
    let (mut found, mut folders) = (Vec::new(), vec![workspace.root.clone()]);
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).map_err(|error| Failure::file("list", &folder, &error))?;
        for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            let is_output = path.join("CACHEDIR.TAG").exists() || path.file_name().is_some_and(|name| name == ".git");
            if path.is_dir() && !path.is_symlink() && !is_output {
                folders.push(path);
            } else if path.is_file() {
                found.push(path);
            }
        }
    }
    Ok(found)
}

fn touch(path: &Path) -> Result<(), Failure> {
    let touched = File::open(path).and_then(|file| file.set_modified(SystemTime::now()));
    touched.map_err(|error| {
        Failure::Bad(format!(
            "the time of {} cannot be set: {error}; set CARGO_TARGET_DIR to a build folder that no other checkout uses",
            path.display()
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::{fs::TryLockError, time::Duration};

    use super::*;

    #[test]
    fn the_checkout_that_built_last_may_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace::within(folder.path());
        assert_eq!(other(&workspace).unwrap(), None);
        assert_eq!(other(&workspace).unwrap(), None);
    }

    #[test]
    fn another_checkout_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let first = Workspace::within(folder.path());
        let second = Workspace { root: folder.path().join("second"), ..first.clone() };
        other(&first).unwrap();
        assert_eq!(other(&second).unwrap().as_deref(), first.root.to_str());
    }

    #[test]
    fn every_source_counts_as_changed_and_no_output_does() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace::within(folder.path());
        for path in ["a/src/lib.rs", "Cargo.toml", "target/CACHEDIR.TAG", "target/x", ".git/HEAD"] {
            fs::create_dir_all(workspace.root.join(path).parent().unwrap()).unwrap();
            fs::write(workspace.root.join(path), "").unwrap();
        }
        let mut found = sources(&workspace).unwrap();
        found.sort();
        assert_eq!(found, ["Cargo.toml", "a/src/lib.rs"].map(|path| workspace.root.join(path)));
        let old = SystemTime::now() - Duration::from_hours(1);
        File::open(&found[0]).unwrap().set_modified(old).unwrap();
        touch(&found[0]).unwrap();
        assert!(fs::metadata(&found[0]).unwrap().modified().unwrap() > old);
    }

    #[test]
    fn a_run_keeps_others_out_until_it_ends_and_says_who_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace::within(folder.path());
        let first = alone(&workspace).unwrap();
        let other = || File::open(workspace.target.join(".run.lock")).unwrap();
        assert!(matches!(other().try_lock(), Err(TryLockError::WouldBlock)));
        assert_eq!(
            fs::read_to_string(workspace.target.join(".run.lock")).unwrap(),
            format!("{}\n", std::process::id())
        );
        drop(first);
        other().try_lock().unwrap();
    }
}
