//! All test programs, from one build.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{
    cargo::{self, cargo},
    failure::Failure,
    modules::{self, WHOLE},
    rings::Ring,
    workspace::Workspace,
};

/// A built test program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    /// Its package's folder within the checkout.
    folder: PathBuf,
    pub(super) target: String,
    executable: PathBuf,
}

impl Program {
    #[cfg(test)]
    pub(super) fn new(folder: &Path, target: &str, executable: &Path) -> Self {
        Self { folder: folder.to_owned(), target: target.to_owned(), executable: executable.to_owned() }
    }

    pub(super) fn name(&self) -> String {
        format!("{} {}", self.folder.display(), self.target)
    }

    pub(super) fn command(&self, workspace: &Workspace) -> Command {
        let mut command = Command::new(&self.executable);
        let folder = workspace.root.join(&self.folder);
        command
            .current_dir(&folder)
            .env("CARGO_MANIFEST_DIR", &folder)
            .env("CARGO_TARGET_DIR", &workspace.target)
            .envs(modules::environment(workspace, "debug"));
        command
    }

    /// The names of its tests.
    pub(super) fn tests(&self, workspace: &Workspace) -> Result<Vec<String>, Failure> {
        let mut command = self.command(workspace);
        command.args(["--list", "--format", "terse"]);
        let output = command.output().map_err(|error| cargo::start_failure("listing tests", &command, &error))?;
        if !output.status.success() {
            // None listed would be none run.
            return Err(Failure::Bad(format!("{} does not list its tests: {}", self.name(), output.status)));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.lines().filter_map(|line| line.strip_suffix(": test")).map(ToOwned::to_owned).collect())
    }
}

/// Builds all test programs and sorts them into rings.
pub(super) fn programs(workspace: &Workspace) -> Result<BTreeMap<Ring, Vec<Program>>, Failure> {
    let mut command = cargo(workspace);
    command.arg("build").args(WHOLE).args(["--lib", "--bins", "--tests", "--message-format=json-render-diagnostics"]);
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| cargo::start_failure("building the tests", &command, &error))?;
    if !output.status.success() {
        return Err(Failure::Bad(format!("the tests do not build: {}", cargo::line(&command))));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    sort(text.lines().filter_map(|line| program(&workspace.root, line)))
}

fn sort(programs: impl Iterator<Item = Program>) -> Result<BTreeMap<Ring, Vec<Program>>, Failure> {
    let mut rings = BTreeMap::<Ring, Vec<Program>>::new();
    for program in programs {
        let Some(ring) = Ring::of(&program.folder, &program.target) else {
            return Err(Failure::Bad(format!(
                "the test program `{}` in {} belongs to no ring; add it to `Ring::of` in host/xtask/src/rings.rs",
                program.target,
                program.folder.display()
            )));
        };
        rings.entry(ring).or_default().push(program);
    }
    for programs in rings.values_mut() {
        programs.sort_by(|one, two| (&one.folder, &one.target).cmp(&(&two.folder, &two.target)));
    }
    Ok(rings)
}

/// A test program from one of cargo's messages.
fn program(root: &Path, message: &str) -> Option<Program> {
    let message: Value = serde_json::from_str(message).ok()?;
    let text = |pointer: &str| message.pointer(pointer).and_then(Value::as_str);
    let is_test = message.pointer("/profile/test").and_then(Value::as_bool)?;
    let folder = Path::new(text("/manifest_path")?).parent()?.strip_prefix(root).ok()?;
    let program = Program {
        folder: folder.to_path_buf(),
        target: text("/target/name")?.to_owned(),
        executable: PathBuf::from(text("/executable")?),
    };
    is_test.then_some(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_test_programs_are_taken_from_cargos_messages() {
        let message = |test: bool| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"/w/host/core/Cargo.toml","target":{{"name":"operator_core"}},
                    "profile":{{"test":{test}}},"executable":"/t/operator_core-1"}}"#
            )
        };
        let expected = Program::new(Path::new("host/core"), "operator_core", Path::new("/t/operator_core-1"));
        assert_eq!(program(Path::new("/w"), &message(true)), Some(expected));
        assert_eq!(program(Path::new("/w"), &message(false)), None);
        assert_eq!(program(Path::new("/other"), &message(true)), None);
    }

    #[test]
    fn a_test_program_without_a_ring_stops_the_run() {
        let lost = Program::new(Path::new("tests"), "new", Path::new(""));
        let failure = sort([lost].into_iter()).unwrap_err();
        assert!(failure.to_string().contains("rings.rs"), "{failure}");
    }
}
