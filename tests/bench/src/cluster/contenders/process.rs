//! A program that serves parents: what it says about itself, and what the kernel says about it.

use std::{
    net::{SocketAddr, TcpListener},
    process::{Child, Command, ExitStatus},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{Error, cluster::stage::until, measure::number};

/// A child that is killed when this is dropped.
pub(crate) struct Killed(pub(crate) Child);

impl Killed {
    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>, Error> {
        Ok(self.0.try_wait()?)
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A running program that is ready.
pub(crate) struct Process {
    child: Killed,
    /// Where it serves its metrics.
    metrics: SocketAddr,
    /// The metric that counts its reconciles.
    reconciles: &'static str,
}

impl Process {
    pub(crate) fn new(child: Killed, metrics: SocketAddr, reconciles: &'static str) -> Self {
        Self { child, metrics, reconciles }
    }

    /// The sum of all samples of a metric.
    pub(crate) async fn metric(&self, name: &str) -> Result<f64, Error> {
        self.metric_of(name, "").await
    }

    /// The sum of all samples of a metric whose labels hold this text.
    pub(crate) async fn metric_of(&self, name: &str, labels: &str) -> Result<f64, Error> {
        let text = get(self.metrics, "/metrics").await?;
        let text = text.lines().filter(|line| line.contains(labels));
        let is = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
        Ok(text.filter(is).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// How many reconciles there were.
    pub(crate) async fn reconciles(&self) -> Result<f64, Error> {
        self.metric(self.reconciles).await
    }

    /// Waits until nothing has been reconciled for so long.
    pub(crate) async fn rest(&self, quiet: Duration) -> Result<(), Error> {
        self.still(self.reconciles, Duration::from_millis(200), quiet).await
    }

    /// Waits until a count has been above zero and the same for so long, asking every now and then.
    pub(crate) async fn still(&self, metric: &str, every: Duration, quiet: Duration) -> Result<(), Error> {
        let (mut count, mut since) = (0.0, Instant::now());
        until("a quiet operator", every, async || {
            let now = self.metric(metric).await?;
            if (now - count).abs() > 0.5 {
                (count, since) = (now, Instant::now());
            }
            Ok((count > 0.0 && since.elapsed() >= quiet).then_some(()))
        })
        .await
    }

    /// Sends it a signal, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) -> Result<(), Error> {
        let status = Command::new("kill").args(["-s", name]).arg(self.child.0.id().to_string()).status()?;
        if status.success() { Ok(()) } else { Err(Error::Unexpected(format!("kill -s {name}: {status}"))) }
    }

    /// Its resident memory, in millions of bytes.
    pub(crate) fn resident(&self) -> Result<f64, Error> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.0.id()))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
        kib.map(|kib| kib * 1024.0 / 1e6).ok_or_else(|| Error::Unexpected("no VmRSS in /proc".to_owned()))
    }

    /// How long it has used a processor, in seconds.
    pub(crate) fn cpu(&self) -> Result<f64, Error> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.child.0.id()))?;
        ticks(&text)
            .map(|ticks| number(ticks) / number(TICKS))
            .ok_or_else(|| Error::Unexpected("no times in /proc".to_owned()))
    }
}

/// Ticks of the clock a second, of which the kernel tells processes: the same on every Linux of today.
const TICKS: usize = 100;

/// User and system time of a process, in ticks, as its file `stat` says. The name in it may hold anything, so what counts comes behind its
/// last bracket.
fn ticks(stat: &str) -> Option<usize> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |index: usize| fields.get(index)?.parse::<usize>().ok();
    Some(field(11)? + field(12)?)
}

/// What is served at a place.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Result<String, Error> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}

/// An address that nobody listens on. Held only until here: the port is free again.
pub(crate) fn free_address() -> Result<SocketAddr, Error> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_process_is_that_in_its_own_code_and_in_the_kernel() {
        let stat = "7 (odd ) name) S 1 7 7 0 -1 4194560 900 0 3 0 250 50 9 9 20 0 12 0 5 1000 200";
        assert_eq!(ticks(stat), Some(300));
        assert_eq!(ticks("7 (cut"), None);
    }
}
