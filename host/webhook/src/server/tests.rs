//! Over real sockets on loopback, with a TLS client.

use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;

use super::*;
use crate::{
    Bindings, Limits, Witness,
    certificates::testing::{Made, made},
    stub::{Stub, manifest},
};

struct Deaf;

impl Witness for Deaf {
    fn answered(&self, _: &str, _: &'static str, _: Duration) {}
    fn reachable(&self, _: bool) {}
    fn announce(&self, _: &'static str, _: String) {}
    fn certificate(&self, _: i64) {}
}

struct Running {
    address: SocketAddr,
    resolver: Arc<Resolver>,
    stop: watch::Sender<bool>,
    ended: tokio::task::JoinHandle<()>,
}

async fn start(made: &Made, timings: Timings) -> Running {
    let bindings = Arc::new(Bindings::default());
    bindings.serve(Stub::accepting(manifest("m")), operator_core::Document::new(&b"{}"[..])).unwrap();
    let judge = Arc::new(Judge::new(bindings, Limits::default(), "own", Arc::new(Deaf)));
    let resolver = Arc::new(Resolver::default());
    resolver.serve("test", &made.certificate, &made.key).unwrap();
    let server = Server::bind(([127, 0, 0, 1], 0).into(), &resolver, judge, timings).await.unwrap();
    let address = server.address().unwrap();
    let (stop, stopped) = watch::channel(false);
    Running { address, resolver, stop, ended: tokio::spawn(server.run(stopped)) }
}

type Client = SendRequest<Full<bytes::Bytes>>;

async fn secured(address: SocketAddr, authority: &str) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("s.own.svc").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

async fn connect(address: SocketAddr, authority: &str) -> io::Result<Client> {
    let stream = secured(address, authority).await?;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let (client, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    tokio::spawn(connection);
    Ok(client)
}

/// Posts a review, and gives the code and whether the connection ends.
async fn post(client: &mut Client) -> Result<(u16, bool), hyper::Error> {
    let review = serde_json::json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u", "kind": {"group": "m.example.org", "version": "v1", "kind": "Thing"}, "operation": "CREATE",
        "object": {"metadata": {"name": "a"}}}});
    client.ready().await?;
    let request = http::Request::post("/validate-m?timeout=5s").header("host", "s.own.svc");
    let response = client.send_request(request.body(Full::from(review.to_string())).unwrap()).await?;
    let closes = response.headers().get(CONNECTION).is_some_and(|value| value == "close");
    let code = response.status().as_u16();
    response.into_body().collect().await?;
    Ok((code, closes))
}

#[tokio::test]
async fn one_connection_carries_many_requests() {
    let made = made();
    let running = start(&made, Timings::default()).await;
    let mut client = connect(running.address, &made.authority).await.unwrap();
    for _ in 0..5 {
        assert_eq!(post(&mut client).await.unwrap(), (200, false));
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_gets_its_code_and_the_next_connection_is_served() {
    let made = made();
    let running = start(&made, Timings::default()).await;
    let mut client = connect(running.address, &made.authority).await.unwrap();
    let body = Full::from(vec![b' '; Limits::default().admission_bytes + 1]);
    let request = http::Request::post("/validate-m").header("host", "s.own.svc").body(body).unwrap();
    assert_eq!(client.send_request(request).await.unwrap().status(), 413);
    let mut next = connect(running.address, &made.authority).await.unwrap();
    assert_eq!(post(&mut next).await.unwrap().0, 200);
}

#[tokio::test]
async fn what_is_no_http_or_no_tls_hurts_nobody() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let made = made();
    let running = start(&made, Timings::default()).await;
    let mut plain = TcpStream::connect(running.address).await.unwrap();
    plain.write_all(b"POST /validate-m HTTP/1.1\r\n\r\n").await.unwrap();
    let mut said = Vec::new();
    drop(plain.read_to_end(&mut said).await);
    assert!(!said.starts_with(b"HTTP"), "nothing is said without TLS");
    let mut odd = secured(running.address, &made.authority).await.unwrap();
    odd.write_all(b"\0\0 no request at all\r\n\r\n").await.unwrap();
    let mut said = Vec::new();
    drop(odd.read_to_end(&mut said).await);
    assert!(said.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&said));
    let mut client = connect(running.address, &made.authority).await.unwrap();
    assert_eq!(post(&mut client).await.unwrap().0, 200);
}

#[tokio::test]
async fn another_certificate_is_served_to_new_connections_and_old_ones_go_on() {
    let (one, two) = (made(), made());
    let running = start(&one, Timings::default()).await;
    let mut old = connect(running.address, &one.authority).await.unwrap();
    running.resolver.serve("test", &two.certificate, &two.key).unwrap();
    assert_eq!(post(&mut old).await.unwrap().0, 200);
    let mut new = connect(running.address, &two.authority).await.unwrap();
    assert_eq!(post(&mut new).await.unwrap().0, 200);
    assert!(connect(running.address, &one.authority).await.is_err(), "the old authority did not sign it");
}

#[tokio::test]
async fn a_key_of_another_certificate_is_refused_and_the_one_before_goes_on() {
    let (one, two) = (made(), made());
    let running = start(&one, Timings::default()).await;
    let error = running.resolver.serve("there", &two.certificate, &one.key).unwrap_err();
    assert!(error.to_string().contains("there"), "{error}");
    let mut client = connect(running.address, &one.authority).await.unwrap();
    assert_eq!(post(&mut client).await.unwrap().0, 200);
}

#[tokio::test]
async fn after_the_signal_every_answer_closes_its_connection_and_none_is_lost() {
    let made = made();
    let timings = Timings { grace: Duration::from_millis(300), ..Timings::default() };
    let running = start(&made, timings).await;
    let mut old = connect(running.address, &made.authority).await.unwrap();
    post(&mut old).await.unwrap();
    running.stop.send_replace(true);
    assert_eq!(post(&mut old).await.unwrap(), (200, true), "a connection from before");
    let mut new = connect(running.address, &made.authority).await.unwrap();
    assert_eq!(post(&mut new).await.unwrap(), (200, true), "a new one within the grace");
    running.ended.await.unwrap();
    assert!(connect(running.address, &made.authority).await.is_err(), "and none after it");
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_up_the_end() {
    let made = made();
    let timings = Timings { grace: Duration::from_millis(10), last: Duration::from_mins(1), ..Timings::default() };
    let running = start(&made, timings).await;
    let mut idle = connect(running.address, &made.authority).await.unwrap();
    post(&mut idle).await.unwrap();
    running.stop.send_replace(true);
    timeout(Duration::from_secs(10), running.ended).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_trusts_somebody_else_hurts_nobody() {
    let made = made();
    let running = start(&made, Timings::default()).await;
    assert!(connect(running.address, &crate::certificates::testing::made().authority).await.is_err());
    let mut client = connect(running.address, &made.authority).await.unwrap();
    assert_eq!(post(&mut client).await.unwrap().0, 200);
}

/// Room for the sockets of both sides, which are one process here.
fn raise_the_limit_of_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
}

/// Announces the largest review, and then sends next to nothing.
async fn announce(address: SocketAddr, authority: &str) -> tokio_rustls::client::TlsStream<TcpStream> {
    use tokio::io::AsyncWriteExt;
    let mut stream = secured(address, authority).await.unwrap();
    let length = Limits::default().admission_bytes;
    let head = format!("POST /validate-m HTTP/1.1\r\nhost: s.own.svc\r\ncontent-length: {length}\r\n\r\n{{\"api");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    stream
}

#[tokio::test]
async fn idle_connections_and_large_slow_requests_of_one_peer_keep_no_real_review_out() {
    use tokio::io::AsyncReadExt;
    raise_the_limit_of_open_files();
    let made = made();
    // Time-outs do not help here: nobody waits so long for a review.
    let long = Duration::from_hours(1);
    let timings = Timings { handshake: long, idle: long, header: long, ..Timings::default() };
    let running = start(&made, timings).await;
    let mut reused = connect(running.address, &made.authority).await.unwrap();
    let (mut plain, mut idle, mut slow) = (Vec::new(), Vec::new(), Vec::new());
    let guard = async {
        for round in 0..40 {
            for place in 0..15 {
                if place % 3 == 0 {
                    idle.push(secured(running.address, &made.authority).await.unwrap());
                } else {
                    plain.push(TcpStream::connect(running.address).await.unwrap());
                }
            }
            if round >= 20 {
                for _ in 0..5 {
                    slow.push(announce(running.address, &made.authority).await);
                }
            }
            assert_eq!(post(&mut reused).await.unwrap(), (200, false), "the connection of before, round {round}");
            let mut fresh = connect(running.address, &made.authority).await.unwrap();
            assert_eq!(post(&mut fresh).await.unwrap(), (200, false), "a new one, round {round}");
        }
        assert_eq!((plain.len() + idle.len(), slow.len()), (600, 100));
        for mut slow in slow {
            let mut said = Vec::new();
            drop(slow.read_to_end(&mut said).await);
            let said = String::from_utf8_lossy(&said);
            assert!(["HTTP/1.1 408", "HTTP/1.1 503"].iter().any(|code| said.starts_with(code)), "{said}");
        }
        assert_eq!(post(&mut reused).await.unwrap(), (200, false), "and the connection of before goes on");
    };
    timeout(Duration::from_mins(2), guard).await.unwrap();
}
