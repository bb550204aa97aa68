//! Ring api: a ring that stays, as `cargo xtask cluster` holds it.
#![cfg(test)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail as tests do")]

use std::{
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use test_support::Patience;

/// The command line with a folder of states of its own.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cluster"));
        command.arg("--state").arg(self.0.path()).args(words).output().unwrap()
    }

    fn good(&self, words: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.run(words);
        let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert!(status.success(), "{words:?}: {status}\n{out}\n{err}");
        out.into_owned()
    }

    fn up(&self) -> Value {
        serde_json::from_str(&self.good(&["up", "--ring", "api", "-o", "json"])).unwrap()
    }
}

/// Whether a process names this folder.
fn is_used(folder: &Path) -> bool {
    let name = folder.to_str().unwrap();
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.into_iter().any(|line| String::from_utf8_lossy(&line).contains(name))
}

async fn gone(folder: &Path) {
    let patience = Patience { limit: Duration::from_secs(30), every: Duration::from_millis(50) };
    let left = || (is_used(folder), folder.exists());
    let what = format!("the end of {}: (used, there)", folder.display());
    patience.until_now(&what, left, |left| *left == (false, false)).await;
}

#[tokio::test]
async fn a_ring_that_stays_is_seen_entered_and_ended() {
    let desk = Desk::new();
    let ring = desk.up();
    let again = desk.up();
    assert_eq!(ring, again, "a second start finds the first");
    let status: Value = serde_json::from_str(&desk.good(&["status", "--ring", "api", "-o", "json"])).unwrap();
    assert_eq!((&status[0]["running"], &status[0]["ready"]), (&Value::Bool(true), &Value::Bool(true)), "{status}");
    let namespaces = desk.good(&["exec", "--", "kubectl", "get", "namespaces", "-o", "name"]);
    assert!(namespaces.contains("namespace/kube-system"), "{namespaces}");
    let failing = desk.run(&["exec", "--", "sh", "-c", "exit 7"]);
    assert_eq!(failing.status.code(), Some(7), "exec ends as its program does");
    assert!(desk.good(&["logs"]).lines().any(|name| name == "etcd"));
    assert!(desk.good(&["logs", "kube-apiserver"]).lines().count() > 5);
    let unknown = desk.run(&["logs", "kubelet"]);
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(!unknown.status.success() && said.contains("no `kubelet` logs") && said.contains("etcd"), "{said}");
    desk.good(&["down"]);
    gone(Path::new(ring["folder"].as_str().unwrap())).await;
    let said = String::from_utf8_lossy(&desk.run(&["exec", "--", "true"]).stderr).into_owned();
    assert!(said.contains("cargo xtask cluster up --ring api"), "{said}");
}

#[tokio::test]
async fn a_ring_whose_keeper_is_killed_leaves_no_process_and_no_file() {
    let desk = Desk::new();
    let ring = desk.up();
    let folder = Path::new(ring["folder"].as_str().unwrap());
    assert!(is_used(folder), "etcd and the API server name it");
    let keeper = rustix::process::Pid::from_raw(i32::try_from(ring["pid"].as_i64().unwrap()).unwrap()).unwrap();
    rustix::process::kill_process(keeper, rustix::process::Signal::KILL).unwrap();
    gone(folder).await;
    let status: Value = serde_json::from_str(&desk.good(&["status", "--ring", "api", "-o", "json"])).unwrap();
    assert_eq!(status[0]["running"], false);
}
