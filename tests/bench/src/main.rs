//! `bench [NAME [GROUP]] [--json] [--quick]`: figures, each against its yardstick in the same run. Numbers that were reached stand in `README.md`.

mod aims;
mod cluster;
mod engine;
mod kinds;
mod measure;
mod memory;
mod origin;
mod part;
mod subject;
mod twin;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use crate::{
    measure::{Figure, Scale},
    origin::Origin,
};

/// Measures, and compares each figure with its yardstick in the same run.
#[derive(Debug, Parser)]
struct Arguments {
    /// The benchmark; all of them without a name.
    name: Option<Name>,
    /// Of `cluster`, only these figures.
    #[arg(requires = "name")]
    group: Option<cluster::Group>,
    /// One JSON line a figure: name, value, unit, yardstick, ratio, spread, rounds; aim, verdict; commit, date, machine.
    #[arg(long)]
    json: bool,
    /// Everything small: shows in a minute or two that the benchmarks work. The figures mean nothing.
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    part: part::Chosen,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Name {
    /// What the sandbox costs a call; what loading, swapping and idling costs.
    Engine,
    /// Each module in the sandbox against the same code in this program.
    Kinds,
    /// What the operator does beside a real API server: settling, looking again, answering webhooks; its start and its memory; and the
    /// same done by an operator with controller-runtime.
    Cluster,
}

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Compiler(#[from] operator_engine::CompileError),
    #[error(transparent)]
    Engine(#[from] operator_engine::EngineError),
    #[error(transparent)]
    Load(#[from] operator_engine::LoadError),
    #[error("a call failed: {0}")]
    Call(#[from] operator_core::Failure),
    #[error(transparent)]
    Package(#[from] operator_package::PackageError),
    #[error("the snapshot cannot be used: {0}")]
    Snapshot(#[from] operator_guest::testing::Error),
    #[error("the snapshot's parent is no JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("there is no module {0}; `cargo xtask modules --fixtures` builds them")]
    NoModule(String),
    #[error("a thread panicked")]
    Panicked,
    #[error(transparent)]
    Cluster(#[from] ::cluster::Error),
    #[error("the API server refuses a request: {0}")]
    Api(#[from] kube::Error),
    #[error("a request cannot be written: {0}")]
    Request(#[from] http::Error),
    #[error("an object cannot be read: {0}")]
    Document(#[from] operator_core::DocumentError),
    #[error("the plan is refused: {0}")]
    Rejection(#[from] operator_core::Rejection),
    #[error("no TLS: {0}")]
    Tls(#[from] rustls::Error),
    #[error("SCONE_OPERATOR_PROGRAM names no program; run the benchmarks with `cargo xtask bench`")]
    NoProgram,
    #[error("{0} did not come in time")]
    Late(&'static str),
    #[error("{0}")]
    Unexpected(String),
}

#[expect(clippy::print_stderr, reason = "figures are on standard output")]
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let scale = Scale { quick: arguments.quick };
    let measured = arguments.part.run(scale).unwrap_or_else(|| measure(&arguments, scale));
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "this program prints figures")]
fn measure(arguments: &Arguments, scale: Scale) -> Result<(), Error> {
    let origin = Origin::here();
    if scale.quick {
        eprintln!("a quick run: everything is small, and the figures mean nothing");
    }
    if !arguments.json {
        println!("{origin}");
    }
    let mut report = |figure: Figure| {
        if arguments.json {
            // Numbers and texts: this can always be written.
            println!("{}", serde_json::to_string(&origin.line(&figure, scale.quick)).unwrap_or_default());
        } else {
            println!("{}", line(&figure, scale));
        }
    };
    match arguments.name {
        Some(Name::Engine) => engine::run(scale, &mut report),
        Some(Name::Kinds) => kinds::run(scale, &mut report),
        Some(Name::Cluster) => cluster::run(arguments.group, scale, &mut report),
        None => {
            engine::run(scale, &mut report)?;
            kinds::run(scale, &mut report)?;
            cluster::run(None, scale, &mut report)
        }
    }
}

/// A figure as a person reads it.
fn line(figure: &Figure, scale: Scale) -> String {
    let Figure { name, value, unit, yardstick, ratio, spread, rounds, .. } = figure;
    let judged = aims::of(name)
        .filter(|_| !scale.quick)
        .map_or_else(String::new, |aim| format!("; {aim}: {}", aim.verdict(figure)));
    format!(
        "{name:<31} {value:>10.3} {unit} (yardstick {yardstick:.3}, ratio {ratio:.3} ± {spread:.3}, {rounds} rounds){judged}"
    )
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_contradict_nothing() {
        Arguments::command().debug_assert();
    }
}
