//! `cargo xtask bench`: figures, each against its yardstick, from a release build.

use std::process::Command;

use clap::Args;

use crate::{
    cargo::{self, build},
    failure::Failure,
    modules,
    workspace::Workspace,
};

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The benchmark; all of them without a name.
    name: Option<String>,
    /// One JSON line a figure: name, value, unit, yardstick, ratio, spread.
    #[arg(long)]
    json: bool,
}

/// Builds and runs.
pub(crate) fn command(workspace: &Workspace, arguments: &Arguments) -> Result<(), Failure> {
    modules::make(workspace, &modules::Arguments { fixtures: true, ..modules::Arguments::default() })?;
    let mut release = vec!["build", "--release"];
    release.extend(modules::WHOLE);
    release.extend(["--bin", "bench", "--bin", "operator-compiler", "--bin", "scone-operator"]);
    build(workspace, "building the benchmarks with all optimisations (minutes, the first time)", &release)?;
    let mut command = Command::new(workspace.program("release", "bench"));
    command.current_dir(&workspace.root).args(&arguments.name).envs(modules::environment(workspace, "release"));
    if arguments.json {
        command.arg("--json");
    }
    cargo::show("the benchmark", &mut command)
}
