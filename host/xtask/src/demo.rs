//! `cargo xtask demo`: the main job on real input.

use std::process::Command;

use crate::{Format, cargo, failure::Failure, modules, progress::Plan, workspace::Workspace};

/// Set-up, modules, then the scenario. Standard output is the scenario's alone.
pub(crate) fn command(workspace: &Workspace, format: Format) -> Result<(), Failure> {
    let modules = modules::Arguments::default();
    let mut plan = Plan::new([modules::steps(&modules), vec!["the demo".to_owned()]].concat());
    modules::make(workspace, &modules, &mut plan)?;
    plan.next();
    let mut command = Command::new(workspace.program("debug", "modctl"));
    command
        .current_dir(&workspace.root)
        .args(["simulate", "tests/scenarios/demo.scenario", "--modules"])
        .arg(workspace.modules())
        .envs(modules::environment(workspace, "debug"));
    if format == Format::Json {
        command.args(["-o", "json"]);
    }
    cargo::show("the demo", &mut command)
}
