//! Compiles one component to native code, within limits that it sets itself: a component on standard input, code on
//! standard output. Started by the engine; see `operator_engine::compiler::run` for arguments and exit codes.

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    operator_engine::compiler::run(env::args().skip(1))
}
