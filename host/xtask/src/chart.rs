//! `cargo xtask chart`: the parts of the Helm chart that have their source elsewhere. Packaged charts do not follow links, so CRDs
//! are copied; the rights of the operator are those that its modules need. A test says when what is committed is stale.

use std::{collections::BTreeMap, fs, io, path::Path, process::Command};

use serde_json::Value;

use crate::{
    cargo,
    failure::Failure,
    modules,
    progress::{self, Plan},
    workspace::Workspace,
};

/// Makes all of it anew.
pub(crate) fn command(workspace: &Workspace) -> Result<(), Failure> {
    let modules = modules::Arguments::default();
    modules::make(workspace, &modules, &mut Plan::new(modules::steps(&modules)))?;
    let files = workspace.root.join("deploy/chart/scone-operator/files");
    copy(&workspace.root.join("deploy/crds"), &files.join("crds"))?;
    let rights = files.join("rights.json");
    fs::write(&rights, rights_of(workspace)?).map_err(|error| Failure::file("write", &rights, &error))?;
    let grants = files.join("grants.json");
    fs::write(&grants, grants_of(workspace)?).map_err(|error| Failure::file("write", &grants, &error))?;
    progress::result(&format!("{} is up to date", files.display()));
    Ok(())
}

/// What the modules under `guests/` need, as modctl derives it from their packages.
fn rights_of(workspace: &Workspace) -> Result<String, Failure> {
    asked(workspace, "rbac")
}

/// What they ask for: what the operator allows them unless its administrator says otherwise.
fn grants_of(workspace: &Workspace) -> Result<String, Failure> {
    asked(workspace, "grants")
}

fn asked(workspace: &Workspace, about: &str) -> Result<String, Failure> {
    let mut command = Command::new(workspace.program("debug", "modctl"));
    command.args([about, "--output", "json"]);
    for guest in workspace.guests()? {
        let name = guest.file_name().unwrap_or_default().to_string_lossy().replace('_', "-");
        command.arg(workspace.modules().join(format!("{name}.wasm")));
    }
    let text = cargo::capture("asking what the modules need", &mut command)?;
    let wrong = |error: serde_json::Error| Failure::Internal(format!("modctl {about} gave no JSON: {error}"));
    let value: Value = serde_json::from_str(&text).map_err(wrong)?;
    serde_json::to_string_pretty(&value).map(|text| text + "\n").map_err(wrong)
}

/// Makes the second folder hold the YAML files of the first, and nothing else.
fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::create_dir_all(to).map_err(|error| Failure::file("create", to, &error))?;
    let (wanted, there) = (yaml(from)?, yaml(to)?);
    for name in there.keys().filter(|name| !wanted.contains_key(*name)) {
        let stale = to.join(name);
        fs::remove_file(&stale).map_err(|error| Failure::file("remove", &stale, &error))?;
    }
    for (name, text) in &wanted {
        let place = to.join(name);
        fs::write(&place, text).map_err(|error| Failure::file("write", &place, &error))?;
    }
    Ok(())
}

fn yaml(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
    let entries = fs::read_dir(folder).map_err(|error| Failure::file("list", folder, &error))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>();
    let paths = paths.map_err(|error| Failure::file("list", folder, &error))?;
    let mut files = BTreeMap::new();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "yaml")) {
        let bytes = fs::read(path).map_err(|error| Failure::file("read", path, &error))?;
        files.insert(path.file_name().unwrap_or_default().to_string_lossy().into_owned(), bytes);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crd_that_is_gone_goes_from_the_chart_as_well() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        for (place, name) in [(&from, "new.yaml"), (&from, "README.md"), (&to, "old.yaml")] {
            fs::create_dir_all(place).unwrap();
            fs::write(place.join(name), name).unwrap();
        }
        copy(&from, &to).unwrap();
        assert_eq!(yaml(&to).unwrap().keys().collect::<Vec<_>>(), ["new.yaml"]);
    }
}
