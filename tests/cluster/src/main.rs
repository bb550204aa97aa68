//! `cluster`: what `cargo xtask` asks of the real Kubernetes on this machine.

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

/// A real Kubernetes on this machine, for tests.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Brings the programs of a ring. When it cannot run here, the answer is why (exit code 1).
    Prepare {
        /// Which ring.
        #[arg(long, value_enum)]
        ring: Ring,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Ring {
    /// An API server, without root.
    Api,
}

fn main() -> ExitCode {
    let Command::Prepare { ring: Ring::Api } = Arguments::parse().command;
    let tell = &mut |what: &str| say(what);
    let found = cluster::tools::API_RING.iter().try_for_each(|tool| tool.ensure(tell).map(drop));
    match found {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            answer(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "the answer of a program for developers")]
fn answer(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "progress of a program for developers")]
fn say(text: &str) {
    eprintln!("{text}");
}
