//! What runs inside `operator-compiler`.

use std::{
    io::{self, Read, Write},
    process::ExitCode,
};

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::{Metering, compile::EXIT_INVALID, engine};

/// Largest component that is read, in bytes.
const INPUT_LIMIT: u64 = 64 * 1024 * 1024;

/// Compiles the component on standard input and writes native code to standard output. Arguments: `deadline` or
/// `instructions`, address space in MiB, processor seconds. The limits hold before the first byte of input is read.
///
/// Exit code 0: compiled; 2: not a valid component, and why on standard error; 1: anything else.
pub fn run(arguments: impl Iterator<Item = String>) -> ExitCode {
    match try_run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Problem::Invalid(why)) => complain(&why, EXIT_INVALID),
        Err(Problem::Unable(why)) => complain(&why, 1),
    }
}

enum Problem {
    Invalid(String),
    Unable(String),
}

fn complain(why: &str, code: u8) -> ExitCode {
    // Nobody to tell when standard error is gone too.
    drop(writeln!(io::stderr(), "{why}"));
    ExitCode::from(code)
}

fn try_run(mut arguments: impl Iterator<Item = String>) -> Result<(), Problem> {
    let usage = || Problem::Unable("usage: operator-compiler deadline|instructions MIB SECONDS < component".to_owned());
    let metering = match arguments.next().as_deref() {
        Some("deadline") => Metering::Deadline,
        Some("instructions") => Metering::Instructions,
        _ => return Err(usage()),
    };
    let mut number = || arguments.next().and_then(|text| text.parse::<u64>().ok()).ok_or_else(usage);
    confine(number()?, number()?).map_err(|error| Problem::Unable(format!("cannot set limits: {error}")))?;
    let unable = |error: io::Error| Problem::Unable(error.to_string());
    let mut component = Vec::new();
    io::stdin().lock().take(INPUT_LIMIT + 1).read_to_end(&mut component).map_err(unable)?;
    if component.len() as u64 > INPUT_LIMIT {
        return Err(Problem::Invalid(format!("it has more than {INPUT_LIMIT} bytes")));
    }
    let engine = engine::compiling(metering).map_err(|error| Problem::Unable(format!("{error:#}")))?;
    let code = engine.precompile_component(&component).map_err(|error| Problem::Invalid(format!("{error:#}")))?;
    io::stdout().lock().write_all(&code).map_err(unable)
}

/// No cores, few files, and nothing written but to the streams that are open already.
fn confine(address_space_mib: u64, cpu_seconds: u64) -> io::Result<()> {
    let fixed = |limit: u64| Rlimit { current: Some(limit), maximum: Some(limit) };
    setrlimit(Resource::Core, fixed(0))?;
    setrlimit(Resource::Nofile, fixed(16))?;
    setrlimit(Resource::Fsize, fixed(0))?;
    setrlimit(Resource::As, fixed(address_space_mib.saturating_mul(1024 * 1024)))?;
    setrlimit(Resource::Cpu, Rlimit { current: Some(cpu_seconds), maximum: Some(cpu_seconds.saturating_add(1)) })?;
    Ok(())
}
