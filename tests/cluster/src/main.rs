//! `cluster`: what `cargo xtask` asks of the real Kubernetes on this machine.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
