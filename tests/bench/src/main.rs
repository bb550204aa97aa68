//! `bench [NAME] [--json]`: figures, each against its yardstick in the same run. Numbers that were reached stand in `README.md`.

mod cluster;
mod engine;
mod kinds;
mod measure;
mod memory;
mod subject;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use crate::measure::Figure;

/// Measures, and compares each figure with its yardstick in the same run.
#[derive(Debug, Parser)]
struct Arguments {
    /// The benchmark; all of them without a name.
    name: Option<Name>,
    /// One JSON line a figure: name, value, unit, yardstick, ratio, spread.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Name {
    /// What the sandbox costs a call; what loading, swapping and idling costs.
    Engine,
    /// Each module in the sandbox against the same code in this program.
    Kinds,
    /// What the operator does beside a real API server: settling, looking again, answering webhooks; its start and its memory.
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
    #[error("{0}; `cargo xtask modules` builds the modules")]
    Io(#[from] std::io::Error),
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

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "this program prints figures")]
fn main() -> ExitCode {
    let Arguments { name, json } = Arguments::parse();
    let mut report = |figure: Figure| {
        if json {
            // Numbers and names: this can always be written.
            println!("{}", serde_json::to_string(&figure).unwrap_or_default());
        } else {
            println!("{}", line(&figure));
        }
    };
    let measured = match name {
        Some(Name::Engine) => engine::run(&mut report),
        Some(Name::Kinds) => kinds::run(&mut report),
        Some(Name::Cluster) => cluster::run(&mut report),
        None => {
            engine::run(&mut report).and_then(|()| kinds::run(&mut report)).and_then(|()| cluster::run(&mut report))
        }
    };
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A figure as a person reads it.
fn line(figure: &Figure) -> String {
    let Figure { name, value, unit, yardstick, ratio, spread } = figure;
    format!("{name:<17} {value:>10.3} {unit} (yardstick {yardstick:.3}, ratio {ratio:.3} ± {spread:.3})")
}
