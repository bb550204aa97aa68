//! Parts of benchmarks that need a process of their own: this program is started again for them.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use clap::{Args, ValueEnum};

use crate::{
    Error,
    cluster::{constant, native},
    engine::many,
    measure::Scale,
};

/// Which part. Not for people.
#[derive(Debug, Args)]
pub(crate) struct Chosen {
    #[arg(long, hide = true)]
    part: Option<Part>,
    /// The folder of compiled modules, or of keys.
    #[arg(long, hide = true, default_value = ".")]
    folder: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Part {
    /// Prints how much memory idle modules take, in KiB.
    Idle,
    /// The same of one module whose code is not mapped from a file.
    IdleWithoutCache,
    /// Answers every request over HTTPS with the same bytes.
    Constant,
    /// Judges LAS over HTTPS with the code of its module, without a sandbox.
    Native,
}

impl Chosen {
    /// Does the part that is asked for, if one is.
    #[expect(clippy::print_stdout, reason = "whoever started this process reads it")]
    pub(crate) fn run(&self, scale: Scale) -> Option<Result<(), Error>> {
        let kib = |kib: Result<f64, Error>| kib.map(|kib| println!("{kib}"));
        Some(match self.part? {
            Part::Idle => kib(many::idle(Some(&self.folder), scale)),
            Part::IdleWithoutCache => kib(many::idle(None, scale)),
            Part::Constant => constant::serve(&self.folder, |address| println!("{address}")),
            Part::Native => native::serve(&self.folder, |address| println!("{address}")),
        })
    }
}

impl Part {
    fn command(self, folder: &Path) -> Result<Command, Error> {
        let mut command = Command::new(std::env::current_exe()?);
        let name = self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        command.args(["--part", &name, "--folder"]).arg(folder).stdin(Stdio::null()).stdout(Stdio::piped());
        Ok(command)
    }

    /// The number that this part prints.
    pub(crate) fn kib(self, folder: &Path, scale: Scale) -> Result<f64, Error> {
        let output = self.command(folder)?.args(scale.quick.then_some("--quick")).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        text.trim().parse().map_err(|_| Error::Unexpected(format!("{self:?} prints {text:?}, which is no number")))
    }

    /// Starts a server, and gives where it listens.
    pub(crate) fn server(self, folder: &Path) -> Result<Server, Error> {
        let mut child = self.command(folder)?.stdin(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(told) = child.stdout.take() {
            BufReader::new(told).read_line(&mut line)?;
        }
        let address = line.trim().parse();
        let address = address.map_err(|_| Error::Unexpected(format!("{self:?} does not say where it listens")))?;
        Ok(Server { child, address })
    }
}

/// A server in a process of its own. It ends when this is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Ends this process when the one that started it is gone: until then it holds the other end of standard input.
pub(crate) fn end_with_parent() {
    std::thread::spawn(|| {
        drop(std::io::stdin().read_to_end(&mut Vec::new()));
        std::process::exit(0);
    });
}
