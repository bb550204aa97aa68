//! Where things are: the checkout, the build folder, the cache.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use crate::failure::Failure;

/// The folders that all commands share.
#[derive(Clone, Debug)]
pub(crate) struct Workspace {
    /// The checkout.
    pub(crate) root: PathBuf,
    /// Cargo's build folder: `CARGO_TARGET_DIR`, else `target` in the checkout.
    pub(crate) target: PathBuf,
    /// What outlives a checkout.
    pub(crate) cache: PathBuf,
}

impl Workspace {
    /// The workspace that cargo runs this program from; run without cargo, the one that it was built in. Where checkouts share a
    /// build folder, these differ: cargo takes a program that another one built for its own.
    pub(crate) fn find() -> Result<Self, Failure> {
        let own = env::var_os("CARGO_MANIFEST_DIR").filter(|folder| !folder.is_empty());
        let own = own.map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = own.ancestors().nth(2).unwrap_or(&own).to_path_buf();
        let target = match env::var_os("CARGO_TARGET_DIR").filter(|value| !value.is_empty()) {
            Some(folder) => {
                env::current_dir().map_err(|error| Failure::file("find", Path::new("."), &error))?.join(folder)
            }
            None => root.join("target"),
        };
        Ok(Self { root, target, cache: cache(|name| env::var_os(name).map(PathBuf::from))? })
    }

    /// One in a folder of a test's own.
    #[cfg(test)]
    pub(crate) fn within(folder: &Path) -> Self {
        let at = |name: &str| folder.join(name);
        Self { root: at("checkout"), target: at("target"), cache: at("cache") }
    }

    /// Where packaged modules go.
    pub(crate) fn modules(&self) -> PathBuf {
        self.target.join("modules")
    }

    /// Where packaged fixtures go: apart from the modules, because most of them misbehave.
    pub(crate) fn fixtures(&self) -> PathBuf {
        self.target.join("fixtures")
    }

    /// A program that the workspace builds.
    pub(crate) fn program(&self, profile: &str, name: &str) -> PathBuf {
        self.target.join(profile).join(format!("{name}{}", env::consts::EXE_SUFFIX))
    }

    /// The folders under `guests/` that are modules: those that build a dynamic library. Sorted.
    pub(crate) fn guests(&self) -> Result<Vec<PathBuf>, Failure> {
        let folder = self.root.join("guests");
        let entries = fs::read_dir(&folder).map_err(|error| Failure::file("list", &folder, &error))?;
        let mut guests: Vec<PathBuf> = entries
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .filter(|path| fs::read_to_string(path.join("Cargo.toml")).is_ok_and(|text| text.contains("\"cdylib\"")))
            .collect();
        guests.sort();
        Ok(guests)
    }
}

/// The text of a file; nothing when it is not there yet.
pub(crate) fn text_or_nothing(file: &Path) -> Result<String, Failure> {
    match fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        text => text.map_err(|error| Failure::file("read", file, &error)),
    }
}

fn cache(variable: impl Fn(&str) -> Option<PathBuf>) -> Result<PathBuf, Failure> {
    let variable = |name: &str| variable(name).filter(|path| !path.as_os_str().is_empty());
    variable("SCONE_OPERATOR_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|folder| folder.join("scone-operator")))
        .or_else(|| variable("HOME").map(|folder| folder.join(".cache/scone-operator")))
        .filter(|folder| folder.is_absolute())
        .ok_or_else(|| {
            Failure::Bad(
                "no cache folder: HOME, XDG_CACHE_HOME and SCONE_OPERATOR_CACHE are unset or relative; set one, for example \
                 `export SCONE_OPERATOR_CACHE=/var/cache/scone-operator`"
                    .to_owned(),
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &[(&str, &str)]) -> Result<PathBuf, Failure> {
        cache(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| PathBuf::from(value)))
    }

    #[test]
    fn the_projects_own_variable_wins_over_xdg_and_home() {
        let all = [("SCONE_OPERATOR_CACHE", "/own"), ("XDG_CACHE_HOME", "/xdg"), ("HOME", "/home/a")];
        assert_eq!(with(&all).unwrap(), Path::new("/own"));
        assert_eq!(with(&all[1..]).unwrap(), Path::new("/xdg/scone-operator"));
        assert_eq!(with(&all[2..]).unwrap(), Path::new("/home/a/.cache/scone-operator"));
    }

    #[test]
    fn an_empty_variable_counts_as_unset() {
        assert_eq!(with(&[("XDG_CACHE_HOME", ""), ("HOME", "/h")]).unwrap(), Path::new("/h/.cache/scone-operator"));
    }

    #[test]
    fn without_a_home_the_message_says_what_to_set() {
        let failure = with(&[]).unwrap_err();
        assert_eq!(failure.code(), 1);
        assert!(failure.to_string().contains("SCONE_OPERATOR_CACHE"));
    }
}
