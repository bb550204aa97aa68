//! What modules ask of servers, and what they have done there: the controller's own code against real sockets, with Secrets from a simulated
//! cluster.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests are tests, which the lints cannot see"
)]

mod actions;
mod canary;
mod queries;
mod registry;
mod server;
mod stopped;
mod trail;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::Request;
use operator_controller::{Asker, Beyond, Clock, Found, Outside, Reach, Store};
use operator_core::{
    Action, Deed, Extension, Finding, HttpRequest, HttpResponse, ObjectRef, Query, QueryFailure, Question, SecretKey,
    Trust, contract::SecretRule,
};
use operator_simulator::FakeCluster;
use serde_json::{Value, json};
use server::Server;
use tokio::sync::{
    mpsc::{UnboundedReceiver, unbounded_channel},
    watch,
};

struct Midnight;

impl Clock for Midnight {
    fn now(&self) -> i64 {
        1_700_000_000
    }
}

/// A parent that asks.
struct Stage {
    beyond: Beyond,
    leading: watch::Sender<bool>,
    woken: UnboundedReceiver<ObjectRef>,
    cluster: FakeCluster,
    parent: ObjectRef,
    /// Those that it may name.
    secrets: Vec<SecretRule>,
}

impl Stage {
    /// One whose administrator lets it reach these servers, although they are on the operator's own machine.
    fn reaching(servers: &[&Server]) -> Self {
        let detours = servers.iter().map(|server| (server.authority_of_url().to_owned(), server.address()));
        Self::with(Reach { detours: detours.collect(), ..Reach::default() })
    }

    fn with(reach: Reach) -> Self {
        let (wake, woken) = unbounded_channel();
        let (leading, leads) = watch::channel(true);
        let (cluster, store) = (FakeCluster::new(), Arc::new(Store::default()));
        let stage = Self {
            beyond: Beyond::new([cluster.client(), cluster.client()], store, Arc::new(Midnight), wake, reach, leads),
            leading,
            woken,
            cluster,
            parent: ObjectRef::namespaced("example.org/v1", "Thing", "team", "t"),
            secrets: vec![secret_rule("*", &[], "*")],
        };
        stage.post(
            "/api/v1/namespaces",
            &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}}),
        );
        stage
    }

    fn post(&self, path: &str, object: &Value) {
        let request = Request::post(path).header("content-type", "application/json");
        let answer = self.cluster.handle(&request.body(Bytes::from(object.to_string())).unwrap());
        assert_eq!(answer.status(), 201, "{answer:?}");
    }

    /// Makes a Secret in the parent's namespace.
    fn secret(&self, name: &str, type_: &str, key: &str, value: &str) {
        use base64::{Engine, prelude::BASE64_STANDARD};
        let data = json!({key: BASE64_STANDARD.encode(value)});
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "team"}, "type": type_, "data": data});
        self.post("/api/v1/namespaces/team/secrets", &secret);
    }

    fn asker(&self) -> Asker<'_> {
        Asker { module: "told", parent: &self.parent, namespace: "team", secrets: &self.secrets }
    }

    /// The parent was brought back.
    async fn woken(&mut self) {
        let woken = tokio::time::timeout(Duration::from_secs(20), self.woken.recv()).await;
        assert_eq!(woken, Ok(Some(self.parent.clone())), "nobody woke the parent");
    }

    /// The first outcome of a query.
    async fn found(&mut self, query: &Query) -> Found {
        assert_eq!(self.beyond.find(self.asker(), query), Found::pending());
        self.woken().await;
        self.beyond.find(self.asker(), query)
    }

    async fn asked(&mut self, request: HttpRequest) -> Found {
        self.found(&query(request)).await
    }
}

fn secret_rule(name: &str, labels: &[(&str, &str)], host: &str) -> SecretRule {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    SecretRule { names: vec![name.to_owned()], labels, hosts: vec![host.to_owned()] }
}

fn request(method: &str, url: &str, trust: Trust) -> HttpRequest {
    HttpRequest { method: method.into(), url: url.into(), headers: Vec::new(), body: Vec::new(), trust }
}

fn query(request: HttpRequest) -> Query {
    with_extensions(request, Vec::new())
}

fn with_extensions(request: HttpRequest, extensions: Vec<Extension>) -> Query {
    Query { id: "q".into(), question: Question::Http(request), interval: 3600, timeout: 10, extensions }
}

fn action(request: HttpRequest) -> Action {
    Action { id: "a".into(), deed: Deed::Http(request), timeout: 10 }
}

fn ca() -> Trust {
    Trust::Ca(SecretKey { name: "authority".into(), key: "ca.crt".into() })
}

fn response(found: &Found) -> &HttpResponse {
    match &found.outcome {
        Ok(Finding::Http(response)) => response,
        other => panic!("{other:?}"),
    }
}

fn unreachable(found: &Found) -> &str {
    match &found.outcome {
        Err(QueryFailure::Unreachable(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn failed(found: &Found) -> &str {
    match &found.outcome {
        Err(QueryFailure::Failed(why)) => why,
        other => panic!("{other:?}"),
    }
}
