//! The command line: a ring that stays, beside the rings that tests make for themselves.

mod keep;
mod state;
mod visit;

use std::{
    ffi::OsString,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand, ValueEnum};
use cluster::tools;

use self::state::States;

/// A real Kubernetes on this machine: ordinary processes, no Docker.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask cluster",
    bin_name = "cargo xtask cluster",
    version,
    after_help = "\
Rings:
  api    etcd, API server, controller manager on loopback; nodes are objects, pods stay pending; no root
  node   a scheduler, containerd, kubelet and kube-proxy as well, in namespaces of their own; pods run; needs root

Start here:
  cargo xtask cluster up --ring node
  cargo xtask cluster exec -- kubectl get pods --all-namespaces
  cargo xtask cluster down

Exit codes: 0 fine, 1 it cannot be done (the message says why and what to do), 2 wrong usage; `exec` ends as its program does.

Environment:
  KUBEBUILDER_ASSETS           a folder with etcd, kube-apiserver, kubectl: used instead of building them
  SCONE_OPERATOR_CACHE         where built programs and the state of rings go
  SCONE_OPERATOR_NO_INSTALL    when set, no Go is downloaded"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Where the state of rings is kept.
    #[arg(long, global = true, hide = true, value_name = "FOLDER")]
    state: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Brings the programs of a ring. When it cannot run here, the answer is why (exit code 1).
    #[command(hide = true)]
    Prepare {
        /// Which ring.
        #[arg(long, value_enum)]
        ring: Ring,
    },
    /// Names what `prepare` would lack: packages of Debian, one a line, and `go`.
    #[command(hide = true)]
    Missing {
        /// Which ring.
        #[arg(long, value_enum)]
        ring: Ring,
    },
    /// Starts a ring that stays until `down`, and says how to reach it.
    Up {
        /// Which ring.
        #[arg(long, value_enum, default_value_t = Ring::Api)]
        ring: Ring,
        /// Puts the images of an OCI layout in a tar file into the node ring. `cargo xtask cluster up --ring node` does so with the
        /// operator's image of this checkout. May be given more than once.
        #[arg(long, value_name = "FILE")]
        image: Vec<PathBuf>,
        /// Text for people, or one JSON object.
        #[arg(short, long, value_enum, default_value_t = Format::Text)]
        output: Format,
    },
    /// The process that holds a ring.
    #[command(hide = true)]
    Keep {
        /// Which ring.
        #[arg(long, value_enum)]
        ring: Ring,
        /// Images for its node.
        #[arg(long)]
        image: Vec<PathBuf>,
    },
    /// Ends a ring with everything that belongs to it.
    Down {
        /// Which ring; all of them without it.
        #[arg(long, value_enum)]
        ring: Option<Ring>,
    },
    /// Says which rings run, and whether they answer.
    Status {
        /// Which ring; all of them without it.
        #[arg(long, value_enum)]
        ring: Option<Ring>,
        /// Text for people, or one JSON array.
        #[arg(short, long, value_enum, default_value_t = Format::Text)]
        output: Format,
    },
    /// Runs a program with KUBECONFIG set and kubectl on its path; in the node ring inside, with its network, mounts and processes.
    Exec {
        /// Which ring; needed when several run.
        #[arg(long, value_enum)]
        ring: Option<Ring>,
        /// The program and its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "PROGRAM")]
        words: Vec<OsString>,
    },
    /// Shows what a program of the ring has logged; without a name, which programs there are.
    Logs {
        /// Which ring; needed when several run.
        #[arg(long, value_enum)]
        ring: Option<Ring>,
        /// Such as `kubelet`.
        program: Option<String>,
    },
}

/// A kind of cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ring {
    /// An API server, without root.
    Api,
    /// With a node, as root.
    Node,
}

impl Ring {
    /// All of them.
    pub(crate) const ALL: [Self; 2] = [Self::Api, Self::Node];

    /// As it is typed.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Node => "node",
        }
    }
}

/// How a command answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs; progress goes to standard error.
    Json,
}

/// Runs the command that was asked for.
pub(crate) fn run() -> ExitCode {
    let Arguments { command, state } = Arguments::parse();
    let outcome = States::find(state).and_then(|states| match command {
        Command::Prepare { ring } => Ok(prepare(ring)),
        Command::Missing { ring } => {
            missing(ring);
            Ok(ExitCode::SUCCESS)
        }
        Command::Up { ring, image, output } => keep::up(&states, ring, &image, output),
        Command::Keep { ring, image } => keep::keep(&states, ring, &image),
        Command::Down { ring } => keep::down(&states, ring),
        Command::Status { ring, output } => Ok(visit::status(&states, ring, output)),
        Command::Exec { ring, words } => visit::exec(&states, ring, &words),
        Command::Logs { ring, program } => visit::logs(&states, ring, program.as_deref()),
    });
    outcome.unwrap_or_else(|why| {
        say(&format!("error: {why}"));
        ExitCode::FAILURE
    })
}

fn prepare(ring: Ring) -> ExitCode {
    let tell = &mut |what: &str| say(what);
    let found = match ring {
        Ring::Api => tools::API_RING.iter().try_for_each(|tool| tool.ensure(tell).map(drop)),
        Ring::Node => tools::NODE_RING.iter().try_for_each(|tool| tool.ensure(tell).map(drop)),
    };
    if let Err(cluster::Error::NotBuilt { tool, said }) = &found
        && tools::is_own(tool)
    {
        // No obstacle of this machine: whoever asks must not take it for one.
        answer(&format!("{tool} does not build:\n{said}"));
        return ExitCode::from(2);
    }
    let why = match ring {
        Ring::Node => cluster::obstacle().or_else(|| found.err().map(|error| error.to_string())),
        Ring::Api => found.err().map(|error| error.to_string()),
    };
    // The answer is for a program, so it is no error message.
    why.map_or(ExitCode::SUCCESS, |why| {
        answer(&why);
        ExitCode::FAILURE
    })
}

fn missing(ring: Ring) {
    if ring == Ring::Node {
        cluster::missing_packages().into_iter().for_each(answer);
    }
    if !cluster::go::is_there() {
        answer("go");
    }
}

/// A line of the answer.
pub(crate) fn answer(text: &str) {
    // Nobody reads a closed standard output, so there is nobody to tell.
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// A line of progress.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
