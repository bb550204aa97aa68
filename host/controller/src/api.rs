//! Requests to the API server as bytes: no typed object, so nothing is lost or added on the way.

use bytes::Bytes;
use http::{
    Method, Request,
    header::{ACCEPT, CONTENT_TYPE},
};
use http_body_util::{BodyExt, Limited};
use k8s_openapi::api::{authorization::v1::SelfSubjectAccessReview, core::v1::Pod};
use kube::{
    api::{AttachParams, AttachedProcess},
    client::Body,
};
use operator_core::{Document, ObjectRef};
use serde::Deserialize;
use serde_json::Value;

use crate::{Cache, Error, awaited::version};

/// Largest answer that is read, in bytes.
const ANSWER_LIMIT: usize = 8 * 1024 * 1024;

/// So many objects are listed at a time: with 500, as kubectl has it, and their metadata alone, an answer is far below the limit.
const PAGE: usize = 500;
/// Of what is listed, only the metadata.
const METADATA: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/// How a kind is reached.
pub(crate) struct Served {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) plural: String,
    pub(crate) namespaced: bool,
}

impl Served {
    /// The identity of a listed object, of which a list tells neither version nor kind.
    pub(crate) fn identity(&self, object: &Value) -> ObjectRef {
        let text = |key: &str| object.pointer(&format!("/metadata/{key}")).and_then(Value::as_str).map(str::to_owned);
        ObjectRef {
            api_version: self.api_version.clone(),
            kind: self.kind.clone(),
            namespace: text("namespace"),
            name: text("name").unwrap_or_default(),
        }
    }
}

/// Under which all paths of a group and version begin.
fn root(api_version: &str) -> &'static str {
    if api_version.contains('/') { "/apis" } else { "/api" }
}

/// Sends requests for one field manager.
pub(crate) struct Api<'a> {
    client: &'a kube::Client,
    cache: &'a dyn Cache,
}

/// The parts of a Kubernetes `Status` that an error shows.
#[derive(Default, Deserialize)]
struct Status {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
}

/// Begins a command in a container. It may change what it likes there, so it is among the writes, although a module only asks.
pub(crate) async fn exec(
    client: &kube::Client,
    namespace: &str,
    pod: &str,
    command: &[String],
    params: &AttachParams,
) -> kube::Result<AttachedProcess> {
    let pods: kube::Api<Pod> = kube::Api::namespaced(client.clone(), namespace);
    pods.exec(pod, command, params).await
}

impl<'a> Api<'a> {
    pub(crate) fn new(client: &'a kube::Client, cache: &'a dyn Cache) -> Self {
        Self { client, cache }
    }

    /// Server-side apply, forced: what a module wants wins, and a test shows which manager lost. Gives the version that the object has
    /// now; 0 when the server does not say.
    pub(crate) async fn apply(
        &self,
        identity: &ObjectRef,
        subresource: Option<&str>,
        manager: &str,
        document: &Document,
    ) -> Result<u64, Error> {
        self.patch(identity, subresource, &format!("fieldManager={manager}&force=true"), document).await
    }

    /// Server-side apply of an object that is not there, as far as the cache shows. One that is there after all keeps what others claim
    /// of it: that is a conflict, and the next look finds out whose it is.
    pub(crate) async fn introduce(
        &self,
        identity: &ObjectRef,
        manager: &str,
        document: &Document,
    ) -> Result<u64, Error> {
        self.patch(identity, None, &format!("fieldManager={manager}"), document).await
    }

    async fn patch(
        &self,
        identity: &ObjectRef,
        subresource: Option<&str>,
        query: &str,
        document: &Document,
    ) -> Result<u64, Error> {
        let path = self.path(identity, Some(&identity.name), subresource, query)?;
        let body = document.to_bytes();
        let answer = self.send("apply", identity, Method::PATCH, path, "application/apply-patch+yaml", body).await?;
        Ok(version(&Document::new(answer)))
    }

    /// Deletes exactly this object; gone already is fine.
    pub(crate) async fn delete(&self, identity: &ObjectRef, uid: Option<&str>) -> Result<(), Error> {
        let preconditions = uid.map(|uid| serde_json::json!({"uid": uid}));
        let options = serde_json::json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background", "preconditions": preconditions,
        });
        let path = self.path(identity, Some(&identity.name), None, "")?;
        let body = Document::from_value(&options).to_bytes();
        match self.send("delete", identity, Method::DELETE, path, "application/json", body).await {
            Err(error) if error.is_not_found() => Ok(()),
            // Another object of this name was made meanwhile: not the one that was to go.
            Err(Error::Refused { code: 409, .. }) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Creates an object and gives its version; none when one exists already, which stays as it is.
    pub(crate) async fn create(
        &self,
        identity: &ObjectRef,
        manager: &str,
        document: &Document,
    ) -> Result<Option<u64>, Error> {
        let path = self.path(identity, None, None, &format!("fieldManager={manager}"))?;
        match self.send("create", identity, Method::POST, path, "application/json", document.to_bytes()).await {
            Err(Error::Refused { code: 409, .. }) => Ok(None),
            other => other.map(|answer| Some(version(&Document::new(answer)))),
        }
    }

    /// The object as it is now, for the rare decision that the cache cannot carry.
    pub(crate) async fn get(&self, identity: &ObjectRef) -> Result<Value, Error> {
        let path = self.path(identity, Some(&identity.name), None, "")?;
        let body = self.send("get", identity, Method::GET, path, "application/json", Bytes::new()).await?;
        value("get", identity, &body)
    }

    /// How a kind is reached, if the cache knows.
    pub(crate) fn served(&self, api_version: &str, kind: &str) -> Option<Served> {
        let (plural, namespaced) = self.cache.resource(api_version, kind)?;
        Some(Served { api_version: api_version.to_owned(), kind: kind.to_owned(), plural, namespaced })
    }

    /// How a kind of a group is reached, asked from the server; none when it does not serve the kind.
    pub(crate) async fn discover(&self, group: &str, kind: &str) -> Result<Option<Served>, Error> {
        let about = ObjectRef::cluster(group, kind, "*");
        let api_version = if group.is_empty() {
            "v1".to_owned()
        } else {
            let Some(found) = self.read(&about, format!("/apis/{group}")).await? else { return Ok(None) };
            let preferred = found.pointer("/preferredVersion/groupVersion").and_then(Value::as_str);
            preferred.unwrap_or_default().to_owned()
        };
        let path = format!("{}/{api_version}", root(&api_version));
        let found = self.read(&about, path).await?.unwrap_or_default();
        let mut resources = found.get("resources").and_then(Value::as_array).into_iter().flatten();
        let text = |resource: &Value, key: &str| resource.get(key).and_then(Value::as_str).map(str::to_owned);
        let served = resources.find_map(|resource| {
            let plural = text(resource, "name").filter(|name| !name.contains('/'))?;
            let namespaced = resource.get("namespaced").and_then(Value::as_bool)?;
            let of_kind = text(resource, "kind").as_deref() == Some(kind);
            of_kind.then(|| Served { api_version: api_version.clone(), kind: kind.to_owned(), plural, namespaced })
        });
        Ok(served)
    }

    async fn read(&self, about: &ObjectRef, path: String) -> Result<Option<Value>, Error> {
        match self.send("discover", about, Method::GET, path, "application/json", Bytes::new()).await {
            Err(error) if error.is_not_found() => Ok(None),
            other => Ok(Some(value("discover", about, &other?)?)),
        }
    }

    /// The metadata of all objects of a kind with a label, in one namespace or in all, as the server has them now: no cache of the server
    /// answers a request without a version.
    pub(crate) async fn list(
        &self,
        served: &Served,
        namespace: Option<&str>,
        label: Option<&str>,
    ) -> Result<Vec<Value>, Error> {
        let Served { api_version, kind, plural, .. } = served;
        let (namespace, name) = (namespace.map(str::to_owned), "*".to_owned());
        let about = ObjectRef { api_version: api_version.clone(), kind: kind.clone(), namespace, name };
        let place = about.namespace.as_ref().map(|namespace| format!("/namespaces/{namespace}")).unwrap_or_default();
        let selector = label.map(|label| format!("&labelSelector={}", label.replace('=', "%3D"))).unwrap_or_default();
        let path = format!("{}/{api_version}{place}/{plural}?limit={PAGE}{selector}", root(api_version));
        let (mut found, mut next) = (Vec::new(), String::new());
        loop {
            let page = format!("{path}{next}");
            let body = self.send("list", &about, Method::GET, page, "application/json", Bytes::new()).await?;
            let mut list = value("list", &about, &body)?;
            if let Some(items) = list.get_mut("items").and_then(Value::as_array_mut) {
                found.append(items);
            }
            match list.pointer("/metadata/continue").and_then(Value::as_str).filter(|token| !token.is_empty()) {
                // A token is base64 in the alphabet of URLs, with padding at most.
                Some(token) => next = format!("&continue={}", token.replace('=', "%3D")),
                None => return Ok(found),
            }
        }
    }

    /// Asks whether something is allowed. Nothing is stored.
    pub(crate) async fn review(&self, review: &SelfSubjectAccessReview) -> Result<SelfSubjectAccessReview, Error> {
        let identity = ObjectRef::cluster("authorization.k8s.io/v1", "SelfSubjectAccessReview", "right");
        let unreadable = |source: serde_json::Error| Error::Unreachable {
            verb: "review",
            identity: identity.clone(),
            source: source.into(),
        };
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews".to_owned();
        let body = serde_json::to_vec(review).map_err(unreadable)?;
        let body = self.send("review", &identity, Method::POST, path, "application/json", body.into()).await?;
        serde_json::from_slice(&body).map_err(unreadable)
    }

    /// Replaces the object's field claims, provided that nobody has changed the object meanwhile.
    pub(crate) async fn claim(&self, identity: &ObjectRef, version: &str, claims: &Value) -> Result<(), Error> {
        let path = self.path(identity, Some(&identity.name), None, "")?;
        let operations = serde_json::json!([
            {"op": "test", "path": "/metadata/resourceVersion", "value": version},
            {"op": "replace", "path": "/metadata/managedFields", "value": claims},
        ]);
        let body = Document::from_value(&operations).to_bytes();
        self.send("claim", identity, Method::PATCH, path, "application/json-patch+json", body).await.map(drop)
    }

    fn path(
        &self,
        identity: &ObjectRef,
        name: Option<&str>,
        subresource: Option<&str>,
        query: &str,
    ) -> Result<String, Error> {
        // Names come from modules. What a plan holds was looked at before; this is the one place where all of them become paths.
        if !identity.is_addressable() {
            return Err(Error::Unaddressable { identity: identity.clone() });
        }
        let ObjectRef { api_version, kind, namespace, .. } = identity;
        let Some((plural, namespaced)) = self.cache.resource(api_version, kind) else {
            return Err(Error::NotServed { api_version: api_version.clone(), kind: kind.clone() });
        };
        let mut path = format!("{}/{api_version}", root(api_version));
        if let (true, Some(namespace)) = (namespaced, namespace) {
            path.push_str(&format!("/namespaces/{namespace}"));
        }
        path.push_str(&format!("/{plural}"));
        for part in name.into_iter().chain(subresource) {
            path.push_str(&format!("/{part}"));
        }
        if !query.is_empty() {
            path.push_str(&format!("?{query}"));
        }
        Ok(path)
    }

    async fn send(
        &self,
        verb: &'static str,
        identity: &ObjectRef,
        method: Method,
        path: String,
        content_type: &str,
        body: Bytes,
    ) -> Result<Bytes, Error> {
        let unreachable = |source| Error::Unreachable { verb, identity: identity.clone(), source };
        let accept = if verb == "list" { METADATA } else { "application/json" };
        let request = Request::builder().method(method).uri(path);
        let request = request.header(CONTENT_TYPE, content_type).header(ACCEPT, accept);
        let request = request.body(Body::from(body.to_vec())).map_err(|e| unreachable(e.into()))?;
        let response = self.client.send(request).await.map_err(|e| unreachable(e.into()))?;
        let (head, body) = response.into_parts();
        // Read also when nobody wants it: a connection whose answer is not read to its end is not used again.
        let body = Limited::new(body, ANSWER_LIMIT).collect().await.map_err(unreachable)?.to_bytes();
        if head.status.is_success() {
            return Ok(body);
        }
        // An answer that is no Status (a proxy's page) may hold anything: its text is not shown.
        let status: Status = serde_json::from_slice(&body).unwrap_or_default();
        Err(Error::Refused {
            verb,
            identity: identity.clone(),
            code: head.status.as_u16(),
            reason: status.reason,
            message: status.message,
        })
    }
}

fn value(verb: &'static str, about: &ObjectRef, body: &[u8]) -> Result<Value, Error> {
    let unreadable = |source| Error::Unreachable { verb, identity: about.clone(), source };
    serde_json::from_slice(body).map_err(|source: serde_json::Error| unreadable(source.into()))
}
