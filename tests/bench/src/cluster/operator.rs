//! The operator as a process, as users start it, and what it says about itself.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use ::cluster::Identity;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::stage::{HOME, OPERATOR, Stage, program, until};
use crate::Error;

/// A running operator. It is killed when this is dropped.
pub(crate) struct Operator {
    child: Child,
    log: Arc<Mutex<Log>>,
}

#[derive(Default)]
struct Log {
    /// What it serves where.
    addresses: Vec<(String, SocketAddr)>,
    /// The last warning or error.
    trouble: String,
    /// When each reconcile ended that called its module, where the log says so.
    reconciled: Vec<Instant>,
}

impl Operator {
    /// Starts one and waits until it is ready; gives how long that took.
    pub(crate) async fn start(stage: &Stage, more: &[&str]) -> Result<(Self, Duration), Error> {
        let kubeconfig = stage.ring.kubeconfig(&Identity::admin(OPERATOR))?;
        let mut command = Command::new(program()?);
        command
            .args(["run", "--namespace", HOME, "--metrics-bind-address", "127.0.0.1:0"])
            .args(["--health-probe-bind-address", "127.0.0.1:0", "--webhooks", "off", "--modules"])
            .arg(stage.modules())
            .arg("--cache")
            .arg(stage.compiled())
            .args(more)
            .env("KUBECONFIG", kubeconfig)
            .stderr(Stdio::piped());
        let started = Instant::now();
        let mut child = command.spawn()?;
        let log = Arc::<Mutex<Log>>::default();
        if let Some(told) = child.stderr.take() {
            let log = Arc::clone(&log);
            std::thread::spawn(move || {
                BufReader::new(told).lines().map_while(Result::ok).for_each(|line| note(&log, &line));
            });
        }
        let mut operator = Self { child, log };
        until("a ready operator", Duration::from_millis(5), async || operator.ready().await).await?;
        Ok((operator, started.elapsed()))
    }

    async fn ready(&mut self) -> Result<Option<()>, Error> {
        if let Some(status) = self.child.try_wait()? {
            return Err(Error::Unexpected(format!("the operator ended ({status}): {}", self.trouble())));
        }
        Ok(self.get("health", "/readyz").await.ok().filter(|answer| answer.starts_with("HTTP/1.0 200")).map(drop))
    }

    fn trouble(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).trouble.clone()
    }

    /// Where it serves something, as its log says.
    pub(crate) fn address(&self, what: &str) -> Result<SocketAddr, Error> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let found = log.addresses.iter().find(|(served, _)| served == what).map(|(_, address)| *address);
        found.ok_or_else(|| Error::Unexpected(format!("the operator's log does not say where {what} is served")))
    }

    async fn get(&self, what: &str, path: &str) -> Result<String, Error> {
        let mut stream = TcpStream::connect(self.address(what)?).await?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok(text)
    }

    /// The sum of all samples of a metric.
    pub(crate) async fn metric(&self, name: &str) -> Result<f64, Error> {
        let text = self.get("metrics", "/metrics").await?;
        let is = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
        Ok(text.lines().filter(is).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// How many reconciles there were.
    pub(crate) async fn reconciles(&self) -> Result<f64, Error> {
        self.metric("scone_operator_reconciles_total").await
    }

    /// When reconciles ended since `from`, told by the log: with `--log info,operator_controller=debug`.
    pub(crate) fn reconciled_since(&self, from: Instant) -> Vec<Instant> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.reconciled.iter().copied().filter(|at| *at >= from).collect()
    }

    /// Waits until nothing has been reconciled for so long.
    pub(crate) async fn rest(&self, quiet: Duration) -> Result<(), Error> {
        self.still("scone_operator_reconciles_total", Duration::from_millis(100), quiet).await
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

    /// Its resident memory, in millions of bytes.
    pub(crate) fn resident(&self) -> Result<f64, Error> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
        kib.map(|kib| kib * 1024.0 / 1e6).ok_or_else(|| Error::Unexpected("no VmRSS in /proc".to_owned()))
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Keeps of the log what matters here. It has a line for each write: most are not looked at.
fn note(log: &Mutex<Log>, line: &str) {
    if line.contains("\"reconciled\"") {
        log.lock().unwrap_or_else(PoisonError::into_inner).reconciled.push(Instant::now());
        return;
    }
    let serves = line.contains("\"serves\"");
    if !serves && (line.contains("\"INFO\"") || line.contains("\"DEBUG\"")) {
        return;
    }
    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
    if !serves {
        line.clone_into(&mut log.trouble);
        return;
    }
    let line: Value = serde_json::from_str(line).unwrap_or_default();
    let text = |key: &str| line.get(key).and_then(Value::as_str);
    if let (Some(what), Some(Ok(address))) = (text("what"), text("address").map(str::parse)) {
        log.addresses.push((what.to_owned(), address));
    }
}
