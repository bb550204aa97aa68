//! The module author's command line. What it runs is what a cluster runs: the same engine, the same plan, the same reconcile.

mod admit;
mod build;
mod configmap;
mod failure;
mod files;
mod grants;
mod inspect;
mod load;
mod output;
mod plan;
mod rbac;
mod simulate;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Build, look at and try out modules of the operator host, without a cluster.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:
  modctl build guests/las -o target/modules
  modctl inspect target/modules/las.wasm
  modctl admit --module target/modules/las.wasm my-las.yaml
  modctl plan --module target/modules/las.wasm my-las.yaml --state nodes.yaml
  modctl rbac target/modules/*.wasm -o yaml
  modctl grants my-module.wasm > grants.json
  modctl configmap target/modules/las.wasm | kubectl apply --server-side -n NAMESPACE -f -
  modctl simulate tests/scenarios/first-install.scenario --modules target/modules

Exit codes: 0 fine, 1 the checked thing is bad, 2 wrong usage or input, 3 internal."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Shows what modules log, at this level: error, warn, info, debug.
    #[arg(long, global = true, env = "MODCTL_LOG", default_value = "error")]
    log: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// How to write the result. `build` has none of it: there, `-o` names a folder.
#[derive(Debug, Args)]
struct Written {
    /// Lines for people, or JSON for programs.
    #[arg(long, short, value_enum, default_value_t = Format::Text)]
    output: Format,
}

#[derive(Debug, Args)]
struct With<A: Args> {
    #[command(flatten)]
    arguments: A,
    #[command(flatten)]
    written: Written,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Builds crates into packages: compile, make components, let them describe themselves, package. The same source gives
    /// the same bytes.
    Build(build::Arguments),
    /// Shows kinds, webhooks, grants and budgets of a package. Nothing of it is compiled or run.
    Inspect(With<inspect::Arguments>),
    /// Shows what a module would change for an object, given the state of the cluster. Exit code 1 when its answer is refused.
    Plan(With<plan::Arguments>),
    /// Judges the objects of a file: schema, defaults, validation. Exit code 1 when one is refused.
    Admit(With<admit::Arguments>),
    /// Runs a scenario on an embedded cluster and prints what happens, step by step.
    Simulate(With<simulate::Arguments>),
    /// Shows the least that the operator must be allowed so that modules work: for roles. Nothing of them is compiled or run.
    Rbac(rbac::Arguments),
    /// Prints what modules ask for, as the administrator's file of grants. Nothing of them is compiled or run.
    Grants(With<grants::Arguments>),
    /// Prints a `ConfigMap` with compressed packages, for installations that mount it.
    Configmap(With<configmap::Arguments>),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    output::start_log(&arguments.log);
    let (result, json) = match arguments.command {
        Command::Build(arguments) => (build::run(&arguments), false),
        Command::Inspect(With { arguments, written }) => (inspect::run(&arguments), written.json()),
        Command::Plan(With { arguments, written }) => (plan::run(&arguments), written.json()),
        Command::Admit(With { arguments, written }) => (admit::run(&arguments), written.json()),
        Command::Simulate(With { arguments, written }) => (simulate::run(&arguments, written.json()), written.json()),
        Command::Rbac(arguments) => (rbac::run(&arguments), arguments.output == rbac::Format::Json),
        Command::Grants(With { arguments, written }) => (grants::run(&arguments), written.json()),
        Command::Configmap(With { arguments, written }) => (configmap::run(&arguments), written.json()),
    };
    output::finish(result, json)
}

impl Written {
    fn json(&self) -> bool {
        self.output == Format::Json
    }
}
