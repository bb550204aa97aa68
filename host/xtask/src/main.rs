//! `cargo xtask`: everything a contributor does here, and what the continuous integration does.
//!
//! Each command is one file. A command that needs another's outcome calls it, so `cargo xtask test` works on a machine that
//! has nothing but rustup's Rust, and a second run finds everything done.

mod apt;
mod bench;
mod cargo;
mod chart;
mod cluster;
mod demo;
mod digests;
mod doctor;
mod edit;
mod failure;
mod image;
mod inventory;
mod lint;
mod modules;
mod nightly;
mod progress;
mod rings;
mod setup;
mod sharing;
mod sysroot;
mod test;
mod times;
mod toolchain;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::failure::Failure;

/// Everything a contributor does in this repository. Each command does its own set-up; a second run does no work twice.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    version,
    after_help = "\
Start here:
  cargo xtask demo          see the operator work on an embedded cluster
  cargo xtask test          run every test there is
  cargo xtask doctor        something does not build: what is missing on this machine?

Exit codes: 0 fine, 1 what was checked is bad, 2 wrong usage, 3 this tool failed.

Environment:
  CARGO_TARGET_DIR          where builds and modules go (default: target)
  SCONE_OPERATOR_CACHE      where the private standard library for WebAssembly goes
                            (default: $XDG_CACHE_HOME/scone-operator or ~/.cache/scone-operator)
  SCONE_OPERATOR_SYSROOT    use this sysroot for modules, whatever else there is
  SCONE_OPERATOR_KUBERNETES lowest or newest: that Kubernetes for `test api` and `cluster`
  SCONE_OPERATOR_HELM       3 or 4: that Helm for `test api` and `cluster`"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Brings Rust's standard library for WebAssembly.
    ///
    /// First `rustup target add wasm32-unknown-unknown`. Where that does not work, a private copy is built from the standard
    /// library's sources (the rust-src component, or Debian's rust-src package) into the cache folder, outside the checkout and
    /// outside rustup's folders.
    Setup(setup::Arguments),
    /// Says what this machine has, what is missing, and the command that brings it.
    Doctor {
        /// Text for people, or one JSON line a step.
        #[arg(short, long, value_enum, default_value_t = Format::Text)]
        output: Format,
    },
    /// Builds and packages all modules under guests/ into target/modules.
    Modules(modules::Arguments),
    /// Shows the operator at work: an embedded cluster, real modules, real manifests.
    Demo {
        /// Text for people, or one JSON line a step.
        #[arg(short, long, value_enum, default_value_t = Format::Text)]
        output: Format,
    },
    /// Runs the tests: all of them, or those of the named rings.
    ///
    /// Rings, from fast to slow:
    ///   pure       types, decisions, packages, modules as native Rust, documentation, architecture
    ///   engine     modules in the sandbox, the misbehaving ones above all
    ///   operator   reconcile, simulator, command line
    ///   scenarios  scripts on the embedded cluster with golden transcripts
    ///   api        the operator against a real API server; its programs are built the first time
    ///   node       pods on a real node, in namespaces of its own; needs root
    #[command(verbatim_doc_comment)]
    Test(test::Arguments),
    /// Runs the benchmarks, each against its yardstick, in a release build.
    Bench(bench::Arguments),
    /// Runs what takes too long for every change, part by part; what passed for a commit is not run again for it.
    Nightly(nightly::Arguments),
    /// A real Kubernetes on this machine that stays: `up`, `down`, `status`, `exec`, `logs`, each with `--ring api|node`.
    #[command(disable_help_flag = true, disable_help_subcommand = true)]
    Cluster(cluster::Arguments),
    /// Writes the operator's container image, without Docker, the same bytes each time.
    Image(image::Arguments),
    /// Makes the parts of the Helm chart that come from elsewhere: CRDs, and the rights that the modules need.
    Chart,
    /// Gives sources that a fresh clone left unchanged the times that they had at this place's last build, so that cargo builds only
    /// what has changed. For continuous integration: where anything else builds in between, a change that was taken back would be
    /// overlooked.
    Times,
    /// Checks format, lints, documentation, and licences where cargo-deny is installed.
    Lint(lint::Arguments),
}

/// How a command answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One line of JSON a step on standard output; progress goes to standard error.
    Json,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            progress::note(&format!("error: {failure}"));
            ExitCode::from(failure.code())
        }
    }
}

fn run(command: &Command) -> Result<(), Failure> {
    let workspace = workspace::Workspace::find()?;
    if !matches!(command, Command::Setup(_) | Command::Doctor { .. }) {
        sharing::claim(&workspace)?;
        doctor::room(&workspace)?;
    }
    match command {
        Command::Setup(arguments) => setup::command(&workspace, arguments),
        Command::Doctor { output } => doctor::command(&workspace, *output),
        Command::Modules(arguments) => modules::command(&workspace, arguments),
        Command::Demo { output } => demo::command(&workspace, *output),
        Command::Test(arguments) => test::command(&workspace, arguments),
        Command::Bench(arguments) => bench::command(&workspace, arguments),
        Command::Nightly(arguments) => nightly::command(&workspace, arguments),
        Command::Cluster(arguments) => cluster::command(&workspace, arguments),
        Command::Image(arguments) => image::command(&workspace, arguments),
        Command::Chart => chart::command(&workspace),
        Command::Times => times::keep(&workspace),
        Command::Lint(arguments) => lint::command(&workspace, arguments),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn help_names_every_ring() {
        let mut command = Arguments::command();
        let help = command.find_subcommand_mut("test").unwrap().render_long_help().to_string();
        for ring in rings::Ring::ALL {
            assert!(help.contains(ring.name()), "{} is not in:\n{help}", ring.name());
        }
    }
}
