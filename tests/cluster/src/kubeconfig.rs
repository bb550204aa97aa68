//! Who talks to the API server, and the file that says so.

use std::path::Path;

use base64::{Engine, engine::general_purpose::STANDARD};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};

use crate::{Error, audit::AUDITED, keys::Authority};

/// Whoever talks to the API server.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The user's name, which the audit log shows.
    pub user: String,
    /// Its groups; `system:masters` may do everything.
    pub groups: Vec<String>,
}

impl Identity {
    /// Somebody who may do everything.
    pub fn admin(user: &str) -> Self {
        Self { user: user.to_owned(), groups: vec!["system:masters".to_owned()] }
    }

    /// Somebody who may do what roles allow.
    pub fn user(user: &str) -> Self {
        Self { user: user.to_owned(), groups: Vec::new() }
    }

    /// The same, with all requests in the audit log, those that only read among them.
    #[must_use]
    pub fn audited(mut self) -> Self {
        self.groups.push(AUDITED.to_owned());
        self
    }

    /// What a file of this identity is called.
    pub(crate) fn file(&self) -> String {
        format!("{}.kubeconfig", self.user.replace(['/', ':'], "-"))
    }
}

/// The kubeconfig of an identity, for the API server at this URL.
pub(crate) fn value(authority: &Authority, server: &str, identity: &Identity) -> Result<Value, Error> {
    let groups: Vec<&str> = identity.groups.iter().map(String::as_str).collect();
    let pair = authority.client(&identity.user, &groups)?;
    let data = |text: &str| STANDARD.encode(text);
    Ok(json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "ring",
        "clusters": [{"name": "ring", "cluster": {
            "server": server, "certificate-authority-data": data(&authority.certificate),
        }}],
        "users": [{"name": "user", "user": {
            "client-certificate-data": data(&pair.certificate), "client-key-data": data(&pair.key),
        }}],
        "contexts": [{"name": "ring", "context": {"cluster": "ring", "user": "user"}}],
    }))
}

/// A client as a kubeconfig says.
pub(crate) async fn client(kubeconfig: Value) -> Result<Client, Error> {
    let kubeconfig = serde_json::from_value(kubeconfig).map_err(|error| wrong(&error))?;
    connect(kubeconfig).await
}

/// A client as a kubeconfig file says, for its current context.
///
/// # Errors
/// When the file cannot be read, or names no cluster that can be talked to.
pub async fn client_of(path: &Path) -> Result<Client, Error> {
    let kubeconfig =
        Kubeconfig::read_from(path).map_err(|error| Error::Client(format!("{}: {error}", path.display())))?;
    connect(kubeconfig).await
}

fn wrong(error: &dyn std::fmt::Display) -> Error {
    Error::Client(error.to_string())
}

async fn connect(kubeconfig: Kubeconfig) -> Result<Client, Error> {
    // A library may have chosen already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    Client::try_from(config.map_err(|error| wrong(&error))?).map_err(|error| wrong(&error))
}

/// What the API server answers on a path, when it answers well.
pub(crate) async fn get(client: &Client, path: &str) -> Option<String> {
    let request = http::Request::get(path).body(Vec::new()).ok()?;
    client.request_text(request).await.ok()
}
