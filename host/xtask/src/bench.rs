//! `cargo xtask bench`: figures, each against its yardstick, from a release build.

use std::process::Command;

use clap::Args;

use crate::{
    cargo::{self, build},
    failure::Failure,
    modules,
    progress::Plan,
    sharing,
    workspace::Workspace,
};

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The benchmark; all of them without a name.
    name: Option<String>,
    /// Of `cluster`, only these figures: parents, admission, loaded, failover, settled.
    group: Option<String>,
    /// One JSON line a figure: name, value, unit, yardstick, ratio, spread, rounds; commit, date, machine.
    #[arg(long)]
    json: bool,
    /// Everything small, from a debug build: shows that the benchmarks work. The figures mean nothing.
    #[arg(long)]
    quick: bool,
}

/// Builds and runs.
pub(crate) fn command(workspace: &Workspace, arguments: &Arguments) -> Result<(), Failure> {
    let _alone = sharing::alone(workspace)?;
    let modules = modules::Arguments { fixtures: true, ..modules::Arguments::default() };
    let (profile, optimised) = if arguments.quick { ("debug", None) } else { ("release", Some("--release")) };
    let more = ["the benchmarks", "the benchmarks run"].map(str::to_owned);
    let mut plan = Plan::new([modules::steps(&modules), more.to_vec()].concat());
    modules::make(workspace, &modules, &mut plan)?;
    plan.next();
    let mut programs = vec!["build"];
    programs.extend(optimised);
    programs.extend(modules::WHOLE);
    programs.extend(["--bin", "bench", "--bin", "operator-compiler", "--bin", "scone-operator"]);
    build(workspace, "building the benchmarks (minutes, the first time)", &programs)?;
    plan.next();
    let mut command = Command::new(workspace.program(profile, "bench"));
    command
        .current_dir(&workspace.root)
        .args(&arguments.name)
        .args(&arguments.group)
        .envs(modules::environment(workspace, profile));
    command.args(arguments.json.then_some("--json")).args(arguments.quick.then_some("--quick"));
    cargo::show("the benchmark", &mut command)
}
