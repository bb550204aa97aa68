//! The Secret that holds certificates and keys of the host's own making. The only file that writes it (invariant I3).
//!
//! Whoever comes first creates it; all others read it. Changes are made by compare-and-swap, so that two leaders cannot both rotate.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::Method;
use kube::Client;
use serde_json::{Value, json};

use super::{keys::Pair, rotation::State};
use crate::{
    Error,
    requests::{Form, MANAGER, get, send},
};

/// Its name: the one that the certificate manager's Secret has in installations that use one.
pub(crate) const NAME: &str = "webhook-server-cert";
/// Says whose it is.
pub(crate) const OWNER: (&str, &str) = ("app.kubernetes.io/managed-by", "scone-operator");
/// When an authority last came or went.
const SINCE: &str = "operator.scone.cloud/rotated";
/// What the certificate was made for.
const NAMES: &str = "operator.scone.cloud/names";

/// The Secret of one installation.
pub(crate) struct Stored {
    client: Client,
    namespace: String,
}

impl Stored {
    pub(crate) fn new(client: Client, namespace: &str) -> Self {
        Self { client, namespace: namespace.to_owned() }
    }

    /// Where it is, for people.
    pub(crate) fn place(&self) -> String {
        format!("Secret {}/{NAME}", self.namespace)
    }

    /// What it holds and its version, or none when it does not exist.
    pub(crate) async fn load(&self) -> Result<Option<(State, String)>, Error> {
        let Some(secret) = get(&self.client, &self.path(Some(NAME))).await? else { return Ok(None) };
        let version = text(&secret, "/metadata/resourceVersion").to_owned();
        read(&secret).map(|state| Some((state, version))).map_err(|why| Error::Certificate { place: self.place(), why })
    }

    /// Creates it; false when another replica was quicker.
    pub(crate) async fn make(&self, state: &State) -> Result<bool, Error> {
        let path = format!("{}?fieldManager={MANAGER}", self.path(None));
        let secret = write(&self.namespace, state, None);
        match send(&self.client, "create", Method::POST, &path, Form::Json, Some(&secret)).await {
            Ok(_) => Ok(true),
            Err(error) if error.is(409) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Replaces this version of it; false when it has changed meanwhile.
    pub(crate) async fn replace(&self, state: &State, version: &str) -> Result<bool, Error> {
        let path = format!("{}?fieldManager={MANAGER}", self.path(Some(NAME)));
        let secret = write(&self.namespace, state, Some(version));
        match send(&self.client, "update", Method::PUT, &path, Form::Json, Some(&secret)).await {
            Ok(_) => Ok(true),
            Err(error) if error.is(409) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Deletes it when it was made here; tells whether it did.
    pub(crate) async fn delete(&self) -> Result<bool, Error> {
        let path = self.path(Some(NAME));
        let Some(secret) = get(&self.client, &path).await? else { return Ok(false) };
        if !is_ours(&secret) {
            return Ok(false);
        }
        let options = json!({"apiVersion": "v1", "kind": "DeleteOptions",
            "preconditions": {"uid": secret.pointer("/metadata/uid")}});
        match send(&self.client, "delete", Method::DELETE, &path, Form::Json, Some(&options)).await {
            Ok(_) => Ok(true),
            Err(error) if error.is(404) || error.is(409) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn path(&self, name: Option<&str>) -> String {
        let name = name.map(|name| format!("/{name}")).unwrap_or_default();
        format!("/api/v1/namespaces/{}/secrets{name}", self.namespace)
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn is_ours(secret: &Value) -> bool {
    secret.pointer("/metadata/labels").and_then(|labels| labels.get(OWNER.0)?.as_str()) == Some(OWNER.1)
}

fn write(namespace: &str, state: &State, version: Option<&str>) -> Value {
    let mut data = serde_json::Map::new();
    let mut put = |key: &str, text: &str| drop(data.insert(key.to_owned(), STANDARD.encode(text).into()));
    put("tls.crt", &state.leaf.certificate);
    put("tls.key", &state.leaf.key);
    put("ca.crt", &state.bundle());
    put("authority.crt", &state.authority.certificate);
    put("authority.key", &state.authority.key);
    if let Some(incoming) = &state.incoming {
        put("incoming.crt", &incoming.certificate);
        put("incoming.key", &incoming.key);
    }
    if let Some(outgoing) = &state.outgoing {
        put("outgoing.crt", outgoing);
    }
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "data": data,
        "metadata": {"name": NAME, "namespace": namespace, "resourceVersion": version,
            "labels": {OWNER.0: OWNER.1},
            "annotations": {SINCE: state.since.to_string(), NAMES: state.names.join(",")}},
    })
}

fn read(secret: &Value) -> Result<State, String> {
    if !is_ours(secret) {
        return Err(
            "it was not made by this operator; delete it, or mount it and name the folder with --webhook-cert-dir"
                .to_owned(),
        );
    }
    let found = |key: &str| {
        let encoded = secret.pointer("/data").and_then(|data| data.get(key)?.as_str())?;
        String::from_utf8(STANDARD.decode(encoded).ok()?).ok()
    };
    let needed = |key: &str| {
        found(key).ok_or_else(|| format!("{key} is missing or no text; delete the Secret, it is made anew"))
    };
    let annotation = |key: &str| secret.pointer("/metadata/annotations").and_then(|all| all.get(key)?.as_str());
    Ok(State {
        leaf: Pair { certificate: needed("tls.crt")?, key: needed("tls.key")? },
        names: annotation(NAMES).unwrap_or_default().split(',').map(str::to_owned).collect(),
        authority: Pair { certificate: needed("authority.crt")?, key: needed("authority.key")? },
        incoming: found("incoming.crt").zip(found("incoming.key")).map(|(certificate, key)| Pair { certificate, key }),
        outgoing: found("outgoing.crt"),
        since: annotation(SINCE).and_then(|since| since.parse().ok()).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::rotation::{Lifetimes, Step};

    #[test]
    fn what_is_written_is_read_back_in_the_middle_of_a_rotation() {
        let (names, lifetimes) = (vec!["a".to_owned(), "b".to_owned()], Lifetimes::default());
        let state = State::new(names.clone(), 1_700_000_000, &lifetimes).unwrap();
        let announced = state.after(Step::Announce, &names, 1_700_000_001, &lifetimes).unwrap();
        let adopted = announced.after(Step::Adopt, &names, 1_700_000_002, &lifetimes).unwrap();
        for state in [state, announced, adopted] {
            assert_eq!(read(&write("n", &state, None)), Ok(state));
        }
    }

    #[test]
    fn a_secret_of_somebody_else_is_left_alone_and_named() {
        let state = State::new(Vec::new(), 1_700_000_000, &Lifetimes::default()).unwrap();
        let mut secret = write("n", &state, None);
        secret["metadata"]["labels"] = Value::Null;
        assert!(read(&secret).unwrap_err().contains("--webhook-cert-dir"));
    }
}
