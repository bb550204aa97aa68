//! The operator as a process, as users start it, and what it says about itself.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    ops::Deref,
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use ::cluster::Identity;
use serde_json::Value;

use super::process::{Killed, Process, get};
use crate::{
    Error,
    cluster::stage::{HOME, OPERATOR, Stage, program, until},
};

/// A running operator. It is killed when this is dropped.
pub(crate) struct Operator {
    process: Process,
    log: Shared,
}

type Shared = Arc<Mutex<Log>>;

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
        Self::start_as(stage, OPERATOR, more).await
    }

    /// The same, under another name to the API server.
    pub(crate) async fn start_as(stage: &Stage, user: &str, more: &[&str]) -> Result<(Self, Duration), Error> {
        let kubeconfig = stage.ring.kubeconfig(&Identity::admin(user))?;
        let mut command = Command::new(program()?);
        command
            .args(["run", "--namespace", HOME, "--metrics-bind-address", "127.0.0.1:0"])
            .args(["--health-probe-bind-address", "127.0.0.1:0", "--webhooks", "off"])
            .args(["--grants", "as-asked", "--modules"])
            .arg(stage.modules())
            .arg("--cache")
            .arg(stage.compiled())
            .args(more)
            .env("KUBECONFIG", kubeconfig)
            .stderr(Stdio::piped());
        let started = Instant::now();
        let mut child = command.spawn()?;
        let log = Shared::default();
        if let Some(told) = child.stderr.take() {
            let log = Arc::clone(&log);
            std::thread::spawn(move || {
                BufReader::new(told).lines().map_while(Result::ok).for_each(|line| note(&log, &line));
            });
        }
        let mut child = Killed(child);
        until("the operator", Duration::from_millis(5), async || ready(&mut child, &log).await).await?;
        let took = started.elapsed();
        let process = Process::new(child, address(&log, "metrics")?, "scone_operator_reconciles_total");
        Ok((Self { process, log }, took))
    }

    /// When reconciles ended since `from`, told by the log: with `--log info,operator_controller=debug`.
    pub(crate) fn reconciled_since(&self, from: Instant) -> Vec<Instant> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.reconciled.iter().copied().filter(|at| *at >= from).collect()
    }
}

impl Deref for Operator {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

async fn ready(child: &mut Killed, log: &Mutex<Log>) -> Result<Option<()>, Error> {
    if let Some(status) = child.ended()? {
        let trouble = log.lock().unwrap_or_else(PoisonError::into_inner).trouble.clone();
        return Err(Error::Unexpected(format!("the operator ended ({status}): {trouble}")));
    }
    let Ok(health) = address(log, "health") else { return Ok(None) };
    Ok(get(health, "/readyz").await.ok().filter(|answer| answer.starts_with("HTTP/1.0 200")).map(drop))
}

/// Where it serves something, as its log says.
fn address(log: &Mutex<Log>, what: &str) -> Result<SocketAddr, Error> {
    let log = log.lock().unwrap_or_else(PoisonError::into_inner);
    let found = log.addresses.iter().find(|(served, _)| served == what).map(|(_, address)| *address);
    found.ok_or_else(|| Error::Unexpected(format!("the operator's log does not say where {what} is served")))
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
