//! The program, started with what cannot work: one clear message, an exit code that a program can act on, and an end.
#![cfg(test)]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, mpsc},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ServerConfig, ServerConnection,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::{Value, json};

/// How long the program may take to give up.
const PATIENCE: Duration = Duration::from_mins(1);

/// What the program wrote, and how it ended.
struct Ended {
    code: Option<i32>,
    text: String,
}

impl Ended {
    /// The one line that says why it ended.
    fn why(&self) -> String {
        let lines = self.text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut ends = lines.filter(|line| line["message"] == "ends");
        let why = ends.next().unwrap_or_else(|| panic!("no line says why: {}", self.text));
        assert!(ends.next().is_none(), "one line only: {}", self.text);
        why["failure"].as_str().unwrap().to_owned()
    }
}

/// Runs `scone-operator run` with these arguments to its end.
fn run(folder: &Path, kubeconfig: Option<&Path>, arguments: &[&str]) -> Ended {
    let mut child = Command::new(env!("CARGO_BIN_EXE_scone-operator"))
        .arg("run")
        .args(["--metrics-bind-address", "127.0.0.1:0", "--health-probe-bind-address", "127.0.0.1:0"])
        .args(["--webhook-bind-address", "127.0.0.1:0", "--namespace", "own", "--modules"])
        .arg(folder)
        .args(arguments)
        .env_clear()
        // Only has to be there: nothing is compiled before anything here fails.
        .env("SCONE_OPERATOR_COMPILER", env!("CARGO_BIN_EXE_scone-operator"))
        .env("KUBECONFIG", kubeconfig.unwrap_or(&folder.join("none")))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let (sender, written) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        drop(stderr.read_to_string(&mut text));
        drop(sender.send(text));
    });
    let text = written.recv_timeout(PATIENCE);
    if text.is_err() {
        child.kill().unwrap();
    }
    let code = child.wait().unwrap().code();
    Ended { code, text: text.unwrap_or_else(|_| panic!("it goes on after {PATIENCE:?}")) }
}

fn kubeconfig(folder: &Path, server: &str, authority: Option<&str>) -> PathBuf {
    let mut cluster = json!({"server": server});
    if let Some(authority) = authority {
        cluster["certificate-authority-data"] = STANDARD.encode(authority).into();
    }
    let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": cluster}], "users": [{"name": "u", "user": {"token": "hunter2"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]});
    let path = folder.join("kubeconfig");
    std::fs::write(&path, config.to_string()).unwrap();
    path
}

/// Answers every request on every connection with what `answer` makes of its path.
fn server(answer: impl Fn(&str) -> (u16, Value) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || serve(stream, &*answer));
        }
    });
    address
}

fn serve(mut stream: TcpStream, answer: &dyn Fn(&str) -> (u16, Value)) {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(size @ 1..) = stream.read(&mut buffer) {
        seen.extend_from_slice(&buffer[..size]);
        if !seen.ends_with(b"\r\n\r\n") {
            continue;
        }
        let head = String::from_utf8_lossy(&seen).into_owned();
        let (code, body) = answer(head.split(' ').nth(1).unwrap_or_default());
        let body = body.to_string();
        let length = body.len();
        let text = format!(
            "HTTP/1.1 {code} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        drop(stream.write_all(text.as_bytes()));
        return;
    }
}

/// An API server that serves nothing but the core group, empty.
fn api_server() -> SocketAddr {
    server(|path| match path {
        "/api" => (200, json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})),
        "/apis" => (200, json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": []})),
        _ => status(404, "NotFound", "not found"),
    })
}

fn status(code: u16, reason: &str, message: &str) -> (u16, Value) {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
        "reason": reason, "message": message});
    (code, status)
}

#[test]
fn an_api_server_that_cannot_be_reached_is_named_with_what_to_check() {
    let folder = tempfile::tempdir().unwrap();
    // Nobody listens there once the listener is gone.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = kubeconfig(folder.path(), &format!("http://{address}"), None);
    let ended = run(folder.path(), Some(&config), &[]);
    assert_eq!(ended.code, Some(3), "{}", ended.text);
    let why = ended.why();
    assert!(why.contains("refused") && why.contains(&address.to_string()), "{why}");
    assert!(why.contains("check address and credentials"), "{why}");
}

#[test]
fn an_api_server_that_lets_nobody_in_is_quoted_and_the_token_is_not() {
    let folder = tempfile::tempdir().unwrap();
    for (code, reason, message) in
        [(403, "Forbidden", "user \"u\" cannot get path \"/api\""), (401, "Unauthorized", "Unauthorized")]
    {
        let address = server(move |_| status(code, reason, message));
        let config = kubeconfig(folder.path(), &format!("http://{address}"), None);
        let ended = run(folder.path(), Some(&config), &[]);
        assert_eq!(ended.code, Some(3), "{}", ended.text);
        let why = ended.why();
        assert!(why.contains(message) && why.contains("check address and credentials"), "{why}");
        assert!(!ended.text.contains("hunter2"), "{}", ended.text);
    }
}

#[test]
fn an_api_server_that_answers_nonsense_is_no_api_server() {
    let folder = tempfile::tempdir().unwrap();
    let address = server(|_| (200, json!(["secret page"])));
    let config = kubeconfig(folder.path(), &format!("http://{address}"), None);
    let ended = run(folder.path(), Some(&config), &[]);
    assert_eq!(ended.code, Some(3), "{}", ended.text);
    assert!(ended.why().contains("cannot be asked what it serves"), "{}", ended.text);
    assert!(!ended.text.contains("secret page"), "{}", ended.text);
}

#[test]
fn an_api_server_whose_certificate_has_expired_is_told_from_one_that_is_down() {
    let folder = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.not_before = time::OffsetDateTime::from_unix_timestamp(1_000_000_000).unwrap();
    params.not_after = time::OffsetDateTime::from_unix_timestamp(1_000_100_000).unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let secret = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(chain, secret).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            drop(connection.complete_io(&mut stream));
        }
    });
    let config = kubeconfig(folder.path(), &format!("https://{address}"), Some(&certificate));
    let ended = run(folder.path(), Some(&config), &[]);
    assert_eq!(ended.code, Some(3), "{}", ended.text);
    assert!(ended.why().to_lowercase().contains("expired"), "{}", ended.text);
}

#[test]
fn a_kubeconfig_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let garbage = folder.path().join("garbage");
    std::fs::write(&garbage, "{clusters: [hunter2").unwrap();
    for (path, word) in [(folder.path().join("missing"), "missing"), (garbage, "garbage")] {
        let ended = run(folder.path(), Some(&path), &[]);
        assert_eq!(ended.code, Some(3), "{}", ended.text);
        let why = ended.why();
        assert!(why.contains(word) && why.contains("set KUBECONFIG"), "{why}");
        assert!(!ended.text.contains("hunter2"), "{}", ended.text);
    }
}

#[test]
fn a_port_in_use_is_named_with_what_is_served_there() {
    let folder = tempfile::tempdir().unwrap();
    let config = kubeconfig(folder.path(), &format!("http://{}", api_server()), None);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (flag, what) in [
        ("--health-probe-bind-address", "health"),
        ("--metrics-bind-address", "metrics"),
        ("--webhook-bind-address", "webhooks"),
    ] {
        let ended = run(folder.path(), Some(&config), &[flag, &address]);
        assert_eq!(ended.code, Some(2), "{}", ended.text);
        let why = ended.why();
        let all = [what, &address, "in use", "choose another address"];
        assert!(all.iter().all(|word| why.contains(word)), "{why}");
    }
}

#[test]
fn a_folder_that_is_none_is_named_with_its_flag() {
    let folder = tempfile::tempdir().unwrap();
    let config = kubeconfig(folder.path(), &format!("http://{}", api_server()), None);
    let none = folder.path().join("no-such-folder").display().to_string();
    for flag in ["--modules", "--webhook-cert-dir"] {
        let ended = run(folder.path(), Some(&config), &[flag, &none]);
        assert_eq!(ended.code, Some(2), "{}", ended.text);
        let why = ended.why();
        assert!(why.contains(flag) && why.contains(&none), "{why}");
    }
}

#[test]
fn a_bad_flag_is_quoted_before_anything_is_asked_of_the_cluster() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, words) in [
        (&["--no-such-flag"][..], ["--no-such-flag", "--help"]),
        (&["--webhook-bind-address", "nonsense"], ["--webhook-bind-address", "nonsense"]),
        (&["--log-format", "xml"], ["--log-format", "json"]),
        (&["--log", "info,operator=loud"], ["--log", "loud"]),
    ] {
        let ended = run(folder.path(), None, arguments);
        assert_eq!(ended.code, Some(2), "{}", ended.text);
        assert!(words.iter().all(|word| ended.text.contains(word)), "{}", ended.text);
    }
}
