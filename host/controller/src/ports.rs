//! What a reconcile needs from around it.

use std::sync::Arc;

use operator_core::{
    Action, Answer, BoxFuture, Document, Finding, ObjectRef, Observed, Query, QueryFailure,
    contract::{SecretRule, extension::SERVER_CERTIFICATE},
    project,
};

/// What is known of the cluster without asking it. All answers come from memory.
pub trait Cache: Send + Sync {
    /// The object, or none when it does not exist.
    fn get(&self, identity: &ObjectRef) -> Option<Document>;

    /// All objects of a kind with all these labels, in one namespace or in all, in canonical order.
    fn list(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
        labels: &[(String, String)],
    ) -> Vec<Observed>;

    /// Objects of one kind, as [`Cache::list`] or [`Cache::get`] gave them, with only these dotted paths. One that cannot be read is left
    /// out, so that it does not stand in the way of the others.
    fn cut(&self, objects: Vec<Observed>, fields: &[String]) -> Vec<Observed> {
        let cut =
            |object: Observed| project(&object.document, fields).ok().map(|document| Observed { document, ..object });
        objects.into_iter().filter_map(cut).collect()
    }

    /// All objects of a kind on which this field manager holds fields, in canonical order.
    fn held_by(&self, api_version: &str, kind: &str, manager: &str) -> Vec<Observed>;

    /// Whether the first list of this kind is complete. Nothing is reconciled, and nothing pruned, before.
    fn synced(&self, api_version: &str, kind: &str) -> bool;

    /// Why the server refuses a kind, such as for a missing right, when it does.
    fn refusal(&self, api_version: &str, kind: &str) -> Option<String> {
        let _ = (api_version, kind);
        None
    }

    /// The plural of a kind for its URL, and whether it is namespaced; none when the server does not serve it.
    fn resource(&self, api_version: &str, kind: &str) -> Option<(String, bool)>;

    /// Group-versions that the server serves, ordered.
    fn api_versions(&self) -> Arc<[String]>;
}

/// Who asks for something outside.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// The module.
    pub module: &'a str,
    /// The parent.
    pub parent: &'a ObjectRef,
    /// Where the Secrets are that its requests name: the parent's namespace, or what the rule `target` means for a parent that has
    /// none.
    pub namespace: &'a str,
    /// Which of them it may name, for which servers.
    pub secrets: &'a [SecretRule],
}

/// What is known of a query or an action.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// What was found out, or why not.
    pub outcome: Result<Finding, QueryFailure>,
    /// When it was asked, in Unix seconds; none while it was not.
    pub at: Option<i64>,
    /// SHA-256 of the certificate that a server showed, in hexadecimal digits.
    pub certificate: Option<String>,
}

impl Found {
    /// Something without a server.
    pub fn new(outcome: Result<Finding, QueryFailure>, at: Option<i64>) -> Self {
        Self { outcome, at, certificate: None }
    }

    /// Nothing yet.
    pub fn pending() -> Self {
        Self::new(Err(QueryFailure::Pending), None)
    }

    /// It was tried, and went wrong.
    pub(crate) fn failed(why: impl Into<String>) -> Self {
        Self::new(Err(QueryFailure::Failed(why.into())), None)
    }

    /// Whether a module would see a difference, apart from the time.
    pub fn differs(&self, other: &Self) -> bool {
        self.outcome != other.outcome || self.certificate != other.certificate
    }

    /// As the module is told.
    pub(crate) fn answer(self, id: &str) -> Answer {
        let certificate = self.certificate.map(|digest| (SERVER_CERTIFICATE.to_owned(), digest.into_bytes()));
        let extensions = certificate.into_iter().collect();
        Answer { id: id.to_owned(), outcome: self.outcome, asked_at: self.at, extensions }
    }
}

/// The world beyond Kubernetes objects: logs, commands, servers. Nothing here waits: what takes time is done in the background, is
/// `Pending` until then, and brings the parent back when it is known.
pub trait Outside: Send + Sync {
    /// The latest outcome of a query.
    fn find(&self, asker: Asker<'_>, query: &Query) -> Found;

    /// Has an action done, unless it is under way or was done or tried a moment ago, and gives its latest outcome.
    fn act(&self, asker: Asker<'_>, action: &Action) -> Found;

    /// The latest outcome of an action that was asked for before.
    fn outcome(&self, parent: &ObjectRef, action: &Action) -> Found;

    /// Of what a parent asked for, only these queries are asked any longer, and only these actions begun and remembered.
    fn keep(&self, parent: &ObjectRef, queries: &[Query], actions: &[Action]) {
        let _ = (parent, queries, actions);
    }

    /// Forgets what a parent asked for: it is gone.
    fn forget(&self, parent: &ObjectRef);

    /// Forgets what all parents of a module asked for, and gives up what is under way for them: it may not do the same any more.
    fn revoke(&self, module: &str) {
        let _ = module;
    }

    /// Begins nothing any more, and waits until what is under way has ended, which it does at once.
    fn end(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// The time, in Unix seconds.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> i64;
}
