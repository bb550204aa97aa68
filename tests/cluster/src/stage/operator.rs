//! A program that is tested, as users start it, and what it says.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use kube::Client;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use test_support::{artefact, saw};

use super::soon;
use crate::ending;

/// How long what was written may take to be read, after the end.
const READ: Duration = Duration::from_secs(10);

/// What one operator wrote: one JSON object a line; a text where a line is none.
#[derive(Clone)]
pub(super) struct Log {
    lines: Arc<Mutex<Vec<Value>>>,
    /// Which task was made to panic, if any.
    panics: Option<String>,
}

impl Log {
    fn lines(&self) -> Vec<Value> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A panic, and whatever tells a secret. Of who was made to panic, one panic is expected.
    pub(super) fn complaints(&self) -> Vec<String> {
        let text = self.lines().iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
        let panics = ending::panics(&text);
        let expected = usize::from(self.panics.is_some());
        let unexpected = if panics.len() == expected { Vec::new() } else { panics };
        let lines = unexpected.into_iter().chain(ending::secrets(&text));
        lines.map(|line| format!("an operator wrote: {line}")).collect()
    }
}

/// How an operator is started.
pub(super) struct Start<'a> {
    pub(super) admin: &'a Client,
    pub(super) namespace: &'a str,
    pub(super) modules: &'a Path,
    pub(super) kubeconfig: &'a Path,
    pub(super) arguments: &'a [&'a str],
    /// A task that is made to panic.
    pub(super) panics: Option<&'a str>,
}

impl Start<'_> {
    pub(super) fn start(self) -> Operator {
        // The API server reaches no service here: webhooks are for tests that say where they are.
        let webhooks = if self.arguments.contains(&"--webhook-url") { "on" } else { "off" };
        // Compiled once for all clusters of all tests.
        let compiled = artefact("SCONE_OPERATOR_MODULES").with_file_name("compiled-for-tests");
        let mut child = Command::new(artefact("SCONE_OPERATOR_PROGRAM"))
            .args(["run", "--namespace", self.namespace])
            .args(["--metrics-bind-address", "127.0.0.1:0", "--health-probe-bind-address", "127.0.0.1:0"])
            .arg("--modules")
            .arg(self.modules)
            .arg("--cache")
            .arg(compiled)
            .args(["--webhooks", webhooks])
            // Tests of grants say what is granted.
            .args(if self.arguments.contains(&"--grants") { &[][..] } else { &["--grants", "as-asked"] })
            .args(self.arguments)
            .env("KUBECONFIG", self.kubeconfig)
            .envs(self.panics.map(|task| ("SCONE_OPERATOR_PANIC", task)))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Log { lines: Arc::default(), panics: self.panics.map(str::to_owned) };
        let (written, heard) = (BufReader::new(child.stderr.take().unwrap()).lines(), Arc::clone(&log.lines));
        let reader = std::thread::spawn(move || {
            for line in written.map_while(Result::ok) {
                heard.lock().unwrap().push(serde_json::from_str(&line).unwrap_or(Value::String(line)));
            }
        });
        Operator { child, log, reader, admin: self.admin.clone() }
    }
}

/// A running operator. A test has to end it: [`Operator::stop`] is the end that users give it.
pub struct Operator {
    child: Child,
    log: Log,
    reader: JoinHandle<()>,
    admin: Client,
}

impl Operator {
    /// Where it serves something, as its log says.
    pub fn address(&self, what: &str) -> Option<String> {
        let log = self.log();
        log.iter().find(|line| line["what"] == what && line["message"] == "serves")?["address"]
            .as_str()
            .map(str::to_owned)
    }

    /// What it answers on a path: the code and the text.
    async fn answer(&self, what: &str, path: &str) -> Option<(u16, String)> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(self.address(what)?).await.ok()?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.ok()?;
        let code = text.split(' ').nth(1)?.parse().ok()?;
        let answer = (code, text.split_once("\r\n\r\n")?.1.to_owned());
        saw((path.to_owned(), answer.clone()));
        Some(answer)
    }

    /// What it answers on `/metrics`.
    pub async fn metrics(&self) -> String {
        self.answer("metrics", "/metrics").await.map(|(_, text)| text).unwrap_or_default()
    }

    /// What it answers on `/readyz`.
    pub async fn readiness(&self) -> Option<(u16, String)> {
        self.answer("health", "/readyz").await
    }

    /// What it answers on `/livez`.
    pub async fn liveness(&self) -> Option<(u16, String)> {
        self.answer("health", "/livez").await
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Its log so far, one JSON object a line.
    pub fn log(&self) -> Vec<Value> {
        self.log.lines()
    }

    /// What it writes, for whoever looks at it when it is gone.
    pub(super) fn hears(&self) -> Log {
        self.log.clone()
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.drain();
    }

    /// Waits until everything that it wrote has been read: a compiler that it started may have its log a little longer.
    fn drain(&self) {
        let begun = Instant::now();
        while !self.reader.is_finished() && begun.elapsed() < READ {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Its resident memory in bytes.
    pub fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most memory that it had since [`Operator::forget_peak`], in bytes.
    pub fn peak(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// Lets the peak of memory start anew.
    pub fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
    }

    fn status(&self, field: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Stops it in the middle of whatever it does, as a machine does that is frozen.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Sends SIGTERM and waits for an orderly end. What anybody may read of it until then must not tell a secret.
    pub async fn stop(mut self) {
        self.tells_no_secret().await;
        self.terminate();
        let status = soon("the operator's end", || std::future::ready(self.child.try_wait().unwrap())).await;
        self.drain();
        assert!(status.success(), "{status}: {:#?}", self.log());
    }

    async fn tells_no_secret(&self) {
        let events = http::Request::get("/apis/events.k8s.io/v1/events").body(Vec::new()).unwrap();
        let events = self.admin.request::<Value>(events).await.unwrap();
        let events: Vec<String> = events["items"].as_array().unwrap().iter().map(ToString::to_string).collect();
        let (metrics, readiness) = (self.metrics().await, self.readiness().await);
        let text = format!("{}\n{metrics}\n{readiness:?}", events.join("\n"));
        assert_eq!(ending::secrets(&text), Vec::<&str>::new(), "events, metrics and probes tell no secret");
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let runs = matches!(self.child.try_wait(), Ok(None));
        drop(self.child.kill());
        drop(self.child.wait());
        self.drain();
        if std::thread::panicking() {
            for line in self.log() {
                eprintln!("{line}");
            }
        } else {
            assert!(!runs, "an operator was dropped while it ran: `stop` it, so that it is seen how it ends");
        }
    }
}
