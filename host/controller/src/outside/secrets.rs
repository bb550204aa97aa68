//! Values from Secrets that requests name. They are read when they are needed, kept nowhere, and told to nobody.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use kube::{Client, Resource, api::GetParams, core::Request};
use operator_core::{QueryFailure, SecretKey, grants};

use super::{
    Whom,
    pods::{failure, valid_name},
};

/// The Secrets that the requests of one parent may name.
#[derive(Clone, Copy)]
pub(super) struct Secrets<'a> {
    client: &'a Client,
    whom: &'a Whom,
}

impl<'a> Secrets<'a> {
    pub(super) fn new(client: &'a Client, whom: &'a Whom) -> Self {
        Self { client, whom }
    }

    /// Where they are.
    pub(super) fn namespace(self) -> &'a str {
        &self.whom.namespace
    }

    /// One of them, for requests to this host. What is not granted for it is not even read.
    pub(super) async fn secret(self, name: &str, host: &str) -> Result<Secret, QueryFailure> {
        valid_name(name)?;
        let sets = grants::secret(&self.whom.secrets, name, host);
        let sets = sets.map_err(|ungranted| QueryFailure::Denied(ungranted.to_string()))?;
        let secret = self.read(name).await?;
        let none = BTreeMap::new();
        match grants::lacks_labels(&sets, secret.metadata.labels.as_ref().unwrap_or(&none)) {
            None => Ok(secret),
            Some(why) => {
                let why = format!("Secret {name} {why}; name one that carries them, or have it labelled");
                Err(QueryFailure::Denied(why))
            }
        }
    }

    async fn read(self, name: &str) -> Result<Secret, QueryFailure> {
        let namespace = self.namespace();
        let request = Request::new(Secret::url_path(&(), Some(namespace))).get(name, &GetParams::default());
        let request = request.map_err(|error| QueryFailure::Failed(error.to_string()))?;
        let place = format!("Secret {namespace}/{name}");
        // As text first: the client logs, and quotes, what it cannot read as an object.
        let text = self.client.request_text(request).await.map_err(|error| failure(&place, error))?;
        serde_json::from_str(&text).map_err(|_| QueryFailure::Failed(format!("{place} cannot be read")))
    }

    /// One value of one of them, for requests to this host.
    pub(super) async fn value(self, key: &SecretKey, host: &str) -> Result<Vec<u8>, QueryFailure> {
        let secret = self.secret(&key.name, host).await?;
        let value = secret.data.unwrap_or_default().remove(&key.key);
        value.map(|value| value.0).ok_or_else(|| {
            QueryFailure::NotFound(format!("key {} of Secret {}/{}", key.key, self.namespace(), key.name))
        })
    }
}
