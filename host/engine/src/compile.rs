//! Compiling a component in a process of its own.
//!
//! The process limits itself before it reads a byte, has no environment, and only its standard streams; this side limits
//! wall-clock time and output. A hostile component can make it fail, and nothing else.

use std::{
    io::{self, Read, Write},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::Metering;

/// Environment variable that names the compiler.
const VARIABLE: &str = "SCONE_OPERATOR_COMPILER";
/// File name of the compiler.
const PROGRAM: &str = "operator-compiler";
/// Exit code for a component that is not valid.
pub(crate) const EXIT_INVALID: u8 = 2;
/// Most that is kept of what the compiler says.
const STDERR_LIMIT: u64 = 4 * 1024;
const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;
const SIGXCPU: i32 = 24;

/// The program that compiles components, and what it may use.
#[derive(Clone, Debug)]
pub struct Compiler {
    /// The program.
    pub program: PathBuf,
    /// What one run may use.
    pub limits: CompileLimits,
}

/// What compiling one component may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompileLimits {
    /// Address space, in MiB.
    pub address_space_mib: u64,
    /// Processor time of all threads together, in seconds.
    pub cpu_seconds: u64,
    /// Wall-clock time.
    pub wall: Duration,
    /// Largest result, in MiB.
    pub output_mib: u64,
}

impl Default for CompileLimits {
    /// 2 GiB, 60 s of processor time, 60 s, 64 MiB. A module of 100 KiB takes 0.1 s and a result of 250 KiB.
    fn default() -> Self {
        Self { address_space_mib: 2048, cpu_seconds: 60, wall: Duration::from_mins(1), output_mib: 64 }
    }
}

/// Why a component was not compiled. The text ends with what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// There is no compiler.
    #[error(
        "there is no {PROGRAM} at {place}; build it with `cargo build -p operator-engine --features compiler --bin {PROGRAM}`, or set {VARIABLE} to its path"
    )]
    NoCompiler {
        /// Where it was looked for.
        place: String,
    },
    /// The compiler could not be started or talked to.
    #[error("the compiler {} could not be run: {why}; check that it may be executed", program.display())]
    Unusable {
        /// The program.
        program: PathBuf,
        /// What the system says.
        why: String,
    },
    /// The bytes are no valid component.
    #[error("invalid wasm: {why}; build it as a component of world scone:operator/reconciler, admitter or operator")]
    Invalid {
        /// What the compiler says.
        why: String,
    },
    /// Compiling needs more memory than allowed.
    #[error(
        "it needs more than {limit_mib} MiB to compile; make its functions smaller, or raise the compiler's memory"
    )]
    OutOfMemory {
        /// The limit.
        limit_mib: u64,
    },
    /// Compiling takes longer than allowed.
    #[error("it takes longer than {limit_s} s to compile; make its functions smaller, or raise the compiler's time")]
    OutOfTime {
        /// The limit.
        limit_s: u64,
    },
    /// The result is larger than allowed.
    #[error("its compiled form is larger than {limit_mib} MiB; make it smaller, or raise the compiler's output")]
    OutputTooLarge {
        /// The limit.
        limit_mib: u64,
    },
    /// The compiler crashed.
    #[error("the compiler crashed ({what}); do not load this component, and report it with the component")]
    Crashed {
        /// Exit code or signal, and the last that it said.
        what: String,
    },
}

impl CompileError {
    /// The reason as one word of a closed set.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoCompiler { .. } | Self::Unusable { .. } => "CompilerMissing",
            Self::Invalid { .. } => "ComponentInvalid",
            Self::OutOfMemory { .. } => "CompileMemoryExceeded",
            Self::OutOfTime { .. } => "CompileTimedOut",
            Self::OutputTooLarge { .. } => "CompileOutputExceeded",
            Self::Crashed { .. } => "CompilerCrashed",
        }
    }
}

impl Compiler {
    /// The compiler at this path, with default limits.
    pub fn at(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), limits: CompileLimits::default() }
    }

    /// The compiler that `SCONE_OPERATOR_COMPILER` names, or else `operator-compiler` beside this program or in the folder
    /// above it (tests run from `deps/`). The error says how to build it.
    pub fn locate() -> Result<Self, CompileError> {
        if let Some(path) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
            let path = PathBuf::from(path);
            return if path.is_file() {
                Ok(Self::at(path))
            } else {
                Err(CompileError::NoCompiler { place: format!("{} (from {VARIABLE})", path.display()) })
            };
        }
        let here = std::env::current_exe().unwrap_or_default();
        Self::beside(&here)
    }

    fn beside(here: &Path) -> Result<Self, CompileError> {
        let folder = here.parent().unwrap_or(Path::new("."));
        let found =
            [Some(folder), folder.parent()].into_iter().flatten().map(|f| f.join(PROGRAM)).find(|p| p.is_file());
        found
            .map(Self::at)
            .ok_or_else(|| CompileError::NoCompiler { place: folder.join(PROGRAM).display().to_string() })
    }

    /// Compiles one component to native code.
    pub(crate) fn compile(&self, component: &[u8], metering: Metering) -> Result<Vec<u8>, CompileError> {
        if !self.program.is_file() {
            return Err(CompileError::NoCompiler { place: self.program.display().to_string() });
        }
        let mut child = self.command(metering).spawn().map_err(|error| self.unusable(&error))?;
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(self.unusable(&io::Error::other("it has no standard streams")));
        };
        thread::scope(|scope| self.attend(scope, &mut child, component, (stdin, stdout, stderr)))
    }

    fn command(&self, metering: Metering) -> Command {
        let mut command = Command::new(&self.program);
        // Four threads are where more gain nothing for components of our size, and each takes address space.
        let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get).min(4);
        command
            .arg(metering.as_str())
            .arg(self.limits.address_space_mib.to_string())
            .arg(self.limits.cpu_seconds.to_string())
            .env_clear()
            .env("RAYON_NUM_THREADS", threads.to_string())
            // glibc reserves 64 MiB of address space for each arena, and makes one for each thread.
            .env("MALLOC_ARENA_MAX", "2")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn attend<'scope>(
        &self,
        scope: &'scope thread::Scope<'scope, '_>,
        child: &mut Child,
        component: &'scope [u8],
        (mut stdin, mut stdout, stderr): (ChildStdin, ChildStdout, ChildStderr),
    ) -> Result<Vec<u8>, CompileError> {
        let limit = self.limits.output_mib * 1024 * 1024;
        let (sender, output) = mpsc::channel();
        // The writer ends with an error when the compiler goes first; its exit status says more than that error.
        scope.spawn(move || drop(stdin.write_all(component)));
        scope.spawn(move || {
            let mut code = Vec::new();
            let read = stdout.by_ref().take(limit + 1).read_to_end(&mut code);
            // The receiver is gone only when the time is over.
            drop(sender.send(read.map(|_| code)));
        });
        let said = scope.spawn(move || said(stderr));
        let code = output.recv_timeout(self.limits.wall);
        // What ran out of time or output is still running; what has closed its output is about to end by itself.
        let finished = matches!(&code, Ok(Ok(code)) if code.len() as u64 <= limit);
        if !finished {
            drop(child.kill());
        }
        let status = child.wait().map_err(|error| self.unusable(&error))?;
        let said = said.join().unwrap_or_default();
        match code {
            Err(_) => Err(CompileError::OutOfTime { limit_s: self.limits.wall.as_secs() }),
            Ok(Err(error)) => Err(self.unusable(&error)),
            Ok(Ok(_)) if !finished => Err(CompileError::OutputTooLarge { limit_mib: self.limits.output_mib }),
            Ok(Ok(code)) if status.success() => Ok(code),
            Ok(Ok(_)) => Err(self.failed(status, said)),
        }
    }

    fn failed(&self, status: ExitStatus, said: String) -> CompileError {
        match (status.code(), status.signal()) {
            (Some(code), _) if code == i32::from(EXIT_INVALID) => CompileError::Invalid { why: said },
            // The kernel sends XCPU at the soft limit and KILL at the hard one.
            (_, Some(SIGXCPU | SIGKILL)) => CompileError::OutOfTime { limit_s: self.limits.cpu_seconds },
            // Rust aborts when an allocation fails, and the compiler allocates without panicking elsewhere.
            (_, Some(SIGABRT)) => CompileError::OutOfMemory { limit_mib: self.limits.address_space_mib },
            _ => CompileError::Crashed { what: format!("{status}: {said}") },
        }
    }

    fn unusable(&self, error: &io::Error) -> CompileError {
        CompileError::Unusable { program: self.program.clone(), why: error.to_string() }
    }
}

/// What the compiler says, bounded and on one line. The rest is read and dropped, so that it never blocks.
fn said(mut stderr: ChildStderr) -> String {
    let mut text = Vec::new();
    drop(stderr.by_ref().take(STDERR_LIMIT).read_to_end(&mut text));
    drop(io::copy(&mut stderr, &mut io::sink()));
    String::from_utf8_lossy(&text).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    /// A stand-in for the compiler: what this side does when a compiler misbehaves needs no compiler.
    fn stand_in(script: &str, limits: CompileLimits) -> (tempfile::TempDir, Compiler) {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join(PROGRAM);
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
        (folder, Compiler { program, limits })
    }

    fn run(script: &str, limits: CompileLimits) -> Result<Vec<u8>, CompileError> {
        let (_folder, compiler) = stand_in(script, limits);
        compiler.compile(b"component", Metering::Deadline)
    }

    #[test]
    fn what_the_compiler_writes_is_the_code() {
        assert_eq!(run("cat", CompileLimits::default()).unwrap(), b"component");
    }

    #[test]
    fn a_compiler_that_never_ends_is_killed() {
        let limits = CompileLimits { wall: Duration::from_millis(50), ..CompileLimits::default() };
        assert!(matches!(run("exec sleep 1000", limits), Err(CompileError::OutOfTime { .. })));
    }

    #[test]
    fn a_compiler_that_writes_without_end_is_killed() {
        let limits = CompileLimits { output_mib: 1, ..CompileLimits::default() };
        assert_eq!(run("exec cat /dev/zero", limits), Err(CompileError::OutputTooLarge { limit_mib: 1 }));
    }

    #[test]
    fn what_the_compiler_says_about_a_bad_component_is_passed_on_in_one_line() {
        let error = run("echo 'unexpected\nend' >&2; exit 2", CompileLimits::default()).unwrap_err();
        assert_eq!(error, CompileError::Invalid { why: "unexpected end".into() });
        assert_eq!(error.reason(), "ComponentInvalid");
    }

    #[test]
    fn the_signal_says_what_ran_out() {
        let limits = CompileLimits::default();
        assert!(matches!(run("kill -ABRT $$", limits), Err(CompileError::OutOfMemory { .. })));
        assert!(matches!(run("kill -XCPU $$", limits), Err(CompileError::OutOfTime { .. })));
        assert!(matches!(run("kill -SEGV $$", limits), Err(CompileError::Crashed { .. })));
    }

    #[test]
    fn the_compiler_sees_nothing_of_the_environment() {
        let environment = String::from_utf8(run("exec env", CompileLimits::default()).unwrap()).unwrap();
        assert!(!environment.contains("HOME="), "{environment}");
    }

    #[test]
    fn a_missing_compiler_is_named_with_the_command_that_builds_it() {
        let error = Compiler::at("/nowhere/operator-compiler").compile(b"", Metering::Deadline).unwrap_err();
        assert!(
            error.to_string().contains("cargo build -p operator-engine --features compiler --bin operator-compiler")
        );
        assert_eq!(error.reason(), "CompilerMissing");
    }

    #[test]
    fn the_compiler_is_found_in_the_folder_above_tests() {
        let (folder, compiler) = stand_in("", CompileLimits::default());
        fs::create_dir(folder.path().join("deps")).unwrap();
        let found = Compiler::beside(&folder.path().join("deps/some_test")).unwrap();
        assert_eq!(found.program, compiler.program);
    }
}
