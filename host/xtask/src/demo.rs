//! `cargo xtask demo`: the main job on real input.

use std::process::Command;

use crate::{Format, cargo, edit, failure::Failure, modules, progress::Plan, workspace::Workspace};

/// What is shown.
const SCENARIO: &str = "demo";

/// Set-up, the modules that the scenario names, then the scenario. Standard output is the scenario's alone. The modules are built quickly
/// instead of well: they do the same, and who looks at this for the first time does not wait for seven that are optimised as a whole.
pub(crate) fn command(workspace: &Workspace, format: Format) -> Result<(), Failure> {
    let mut steps = modules::steps(&modules::Arguments::default());
    steps.push("the demo".to_owned());
    let mut plan = Plan::new(steps);
    let modules = modules::quick(workspace, &edit::named(workspace, SCENARIO)?, &mut plan)?;
    plan.next();
    let mut command = Command::new(workspace.program("debug", "modctl"));
    command
        .current_dir(&workspace.root)
        .args(["simulate", &format!("tests/scenarios/{SCENARIO}.scenario"), "--modules"])
        .arg(&modules)
        .envs(modules::environment(workspace, "debug"));
    if format == Format::Json {
        command.args(["-o", "json"]);
    }
    cargo::show("the demo", &mut command)
}
