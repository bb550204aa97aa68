//! What a module gets to see, typed when asked for.

use kube::Resource;
use serde::de::DeserializeOwned;

use crate::{
    Answer, Cause, CommandResult, Document, Failure, Finding, HttpResponse, Observed, Parent, QueryFailure,
    decode::{decode, decode_observed, decode_parent},
    wire,
};

/// All that a module may know of one parent.
#[derive(Clone, Debug)]
pub struct Snapshot<P> {
    /// The custom resource. Unknown fields were skipped.
    pub parent: P,
    /// Whether the parent is being deleted and this module's finalizer is still on it.
    pub finalizing: bool,
    /// Group-versions that the API server serves, ordered, limited to those that the manifest mentions.
    pub api_versions: Vec<String>,
    /// Unix seconds, cut to the granularity that the manifest asks for; none when it asks for none.
    pub now: Option<i64>,
    /// The module's settings, already accepted.
    pub settings: Settings,
    children: Vec<Observed>,
    answers: Vec<Answer>,
}

impl<P: Parent> Snapshot<P> {
    /// Reads what came from the host. A parent that does not decode is the object's fault, not a trap.
    pub(crate) fn from_wire(wire: wire::Snapshot) -> Result<Self, Failure> {
        let wire::Snapshot { parent, children, answers, settings, finalizing, api_versions, now, extensions: _ } = wire;
        let parent = decode_parent(&parent).map_err(|cause| Failure::InvalidObject(vec![cause]))?;
        Ok(Self { parent, finalizing, api_versions, now, settings: Settings(settings), children, answers })
    }

    /// The child of kind `K` with this name, in whatever namespace. Fails with [`Failure::Retry`] when it exists but cannot be read as a `K`.
    pub fn child<K: Resource<DynamicType = ()> + DeserializeOwned>(&self, name: &str) -> Result<Option<K>, Failure> {
        self.child_as::<K, K>(name)
    }

    /// Like [`Snapshot::child`], read as `T`: a small struct that holds only the fields that matter is several times faster.
    pub fn child_as<K: Resource<DynamicType = ()>, T: DeserializeOwned>(
        &self,
        name: &str,
    ) -> Result<Option<T>, Failure> {
        self.of_kind::<K>().find(|child| child.identity.name == name).map(read).transpose()
    }

    /// The child of kind `K` with this name in this namespace. While the namespace of children changes there are two of a name.
    pub fn child_in<K: Resource<DynamicType = ()> + DeserializeOwned>(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<K>, Failure> {
        self.child_in_as::<K, K>(namespace, name)
    }

    /// Like [`Snapshot::child_in`], read as `T`.
    pub fn child_in_as<K: Resource<DynamicType = ()>, T: DeserializeOwned>(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<T>, Failure> {
        let place = (Some(namespace), name);
        let mut found = self.of_kind::<K>();
        found.find(|child| (child.identity.namespace.as_deref(), &*child.identity.name) == place).map(read).transpose()
    }

    /// All children of kind `K`, ordered by namespace and name.
    pub fn children<K: Resource<DynamicType = ()> + DeserializeOwned>(&self) -> Result<Vec<K>, Failure> {
        self.children_as::<K, K>()
    }

    /// Like [`Snapshot::children`], read as `T`.
    pub fn children_as<K: Resource<DynamicType = ()>, T: DeserializeOwned>(&self) -> Result<Vec<T>, Failure> {
        self.of_kind::<K>().map(read).collect()
    }

    /// All children, unread.
    pub fn observed(&self) -> &[Observed] {
        &self.children
    }

    /// The latest outcome of a query or an action; none when it was not part of the previous answer.
    pub fn answer(&self, id: &str) -> Option<&Answer> {
        self.answers.iter().find(|answer| answer.id == id)
    }

    /// The outcome once there is one: none while the query is new or its first try still runs.
    fn finding(&self, id: &str) -> Option<Result<&Finding, QueryFailure>> {
        match &self.answer(id)?.outcome {
            Ok(finding) => Some(Ok(finding)),
            Err(QueryFailure::Pending) => None,
            Err(failure) => Some(Err(failure.clone())),
        }
    }

    /// The objects that an object query found, each read as `T`: the kind itself or a struct with only the fields that
    /// matter. None while there is no answer yet. An object that cannot be read is [`QueryFailure::Failed`].
    pub fn objects<T: DeserializeOwned>(&self, id: &str) -> Option<Result<Vec<T>, QueryFailure>> {
        Some(self.finding(id)?.and_then(|finding| match finding {
            Finding::Objects(found) => found.iter().map(|object| read(object).map_err(failed)).collect(),
            _ => Err(mismatch(id, "objects")),
        }))
    }

    /// The log lines that a query found. None while there is no answer yet.
    pub fn lines(&self, id: &str) -> Option<Result<&[String], QueryFailure>> {
        Some(self.finding(id)?.and_then(|finding| match finding {
            Finding::Lines(lines) => Ok(lines.as_slice()),
            _ => Err(mismatch(id, "log lines")),
        }))
    }

    /// What a command did. None while there is no answer yet.
    pub fn command(&self, id: &str) -> Option<Result<&CommandResult, QueryFailure>> {
        Some(self.finding(id)?.and_then(|finding| match finding {
            Finding::Command(result) => Ok(result),
            _ => Err(mismatch(id, "the outcome of a command")),
        }))
    }

    /// What a server answered. None while there is no answer yet.
    pub fn http(&self, id: &str) -> Option<Result<&HttpResponse, QueryFailure>> {
        Some(self.finding(id)?.and_then(|finding| match finding {
            Finding::Http(response) => Ok(response),
            _ => Err(mismatch(id, "an HTTP response")),
        }))
    }

    /// Whether a delete action found something to delete. None while there is no answer yet.
    pub fn deleted(&self, id: &str) -> Option<Result<bool, QueryFailure>> {
        Some(self.finding(id)?.and_then(|finding| match finding {
            Finding::Deleted(existed) => Ok(*existed),
            _ => Err(mismatch(id, "the outcome of a deletion")),
        }))
    }

    fn of_kind<K: Resource<DynamicType = ()>>(&self) -> impl Iterator<Item = &Observed> {
        let (api_version, kind) = (K::api_version(&()), K::kind(&()));
        self.children
            .iter()
            .filter(move |child| child.identity.kind == kind && child.identity.api_version == api_version)
    }
}

fn read<T: DeserializeOwned>(object: &Observed) -> Result<T, Failure> {
    // The name is needed only when reading fails, and formatting it costs more than many an object.
    decode(&object.document).or_else(|_| decode_observed(&object.identity.to_string(), &object.document))
}

fn failed(failure: Failure) -> QueryFailure {
    match failure {
        Failure::Retry(text) => QueryFailure::Failed(text),
        other => QueryFailure::Failed(other.to_string()),
    }
}

fn mismatch(id: &str, expected: &str) -> QueryFailure {
    QueryFailure::Failed(format!("the answer to {id} is not {expected}; ask for it under an id of its own"))
}

/// The settings that an administrator gave to the module: one JSON object.
#[derive(Clone, Debug)]
pub struct Settings(pub(crate) Document);

impl Settings {
    /// The settings as `T`. The causes name the field; `#[serde(deny_unknown_fields)]` on `T` catches typos.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, Vec<Cause>> {
        decode(&self.0).map_err(|cause| vec![cause])
    }

    /// The settings as `T`, for use in `reconcile`. They were accepted before, so a failure is rare.
    pub fn get<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        self.decode().map_err(Failure::InvalidSettings)
    }

    /// Refuses every setting by name.
    pub(crate) fn expect_none(&self) -> Result<(), Vec<Cause>> {
        if self.0 == b"{}" {
            return Ok(());
        }
        let settings: serde_json::Map<String, serde_json::Value> = self.decode()?;
        let refused: Vec<_> =
            settings.keys().map(|key| Cause::forbidden(key, "this module has no settings; remove it")).collect();
        if refused.is_empty() { Ok(()) } else { Err(refused) }
    }
}
