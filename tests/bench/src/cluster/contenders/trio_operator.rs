//! The operator that users would write instead: with controller-runtime, in Go, for the same parents (`tests/cluster/tools/trio-operator`).

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use ::cluster::{Identity, tools::TRIO_OPERATOR};

use super::{
    AT_ONCE,
    process::{Killed, Process, free_address, get},
};
use crate::{
    Error,
    cluster::stage::{Stage, until},
};

/// Who it is to the API server.
pub(crate) const USER: &str = "trio-operator";

/// Starts one and waits until it is ready.
pub(crate) async fn start(stage: &Stage, program: &Path) -> Result<Process, Error> {
    let kubeconfig = stage.ring.kubeconfig(&Identity::admin(USER))?;
    let [metrics, health] = [free_address()?, free_address()?];
    let mut command = Command::new(program);
    command
        .arg(format!("--metrics-bind-address={metrics}"))
        .arg(format!("--health-probe-bind-address={health}"))
        .arg(format!("--max-concurrent-reconciles={AT_ONCE}"))
        .env("KUBECONFIG", kubeconfig)
        .stderr(Stdio::from(std::fs::File::create(log(stage))?));
    let mut child = Killed(command.spawn()?);
    until("the operator with controller-runtime", Duration::from_millis(5), async || {
        if let Some(status) = child.ended()? {
            let said = std::fs::read_to_string(log(stage)).unwrap_or_default();
            return Err(Error::Unexpected(format!("the operator with controller-runtime ended ({status}): {said}")));
        }
        Ok(get(health, "/readyz").await.ok().filter(|answer| answer.starts_with("HTTP/1.0 200")).map(drop))
    })
    .await?;
    Ok(Process::new(child, metrics, "controller_runtime_reconcile_total"))
}

fn log(stage: &Stage) -> std::path::PathBuf {
    stage.ring.path().join("trio-operator.log")
}

/// Where the program is; builds it when it is nowhere.
pub(crate) fn program(tell: &mut dyn FnMut(&str)) -> Result<std::path::PathBuf, Error> {
    Ok(TRIO_OPERATOR.ensure(tell)?)
}
