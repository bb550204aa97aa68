//! Values from Secrets that requests name. They are read when they are needed, kept nowhere, and told to nobody.

use k8s_openapi::api::core::v1::Secret;
use kube::{Client, Resource, api::GetParams, core::Request};
use operator_core::{QueryFailure, SecretKey};

use super::pods::{failure, valid_name};

/// A Secret that a request names.
pub(super) async fn secret(client: &Client, namespace: &str, name: &str) -> Result<Secret, QueryFailure> {
    valid_name(name)?;
    let request = Request::new(Secret::url_path(&(), Some(namespace))).get(name, &GetParams::default());
    let request = request.map_err(|error| QueryFailure::Failed(error.to_string()))?;
    let place = format!("Secret {namespace}/{name}");
    // As text first: the client logs, and quotes, what it cannot read as an object.
    let text = client.request_text(request).await.map_err(|error| failure(&place, error))?;
    serde_json::from_str(&text).map_err(|_| QueryFailure::Failed(format!("{place} cannot be read")))
}

/// One value of one Secret.
pub(super) async fn value(client: &Client, namespace: &str, key: &SecretKey) -> Result<Vec<u8>, QueryFailure> {
    let secret = secret(client, namespace, &key.name).await?;
    let value = secret.data.unwrap_or_default().remove(&key.key);
    value
        .map(|value| value.0)
        .ok_or_else(|| QueryFailure::NotFound(format!("key {} of Secret {namespace}/{}", key.key, key.name)))
}
