//! What a reconcile needs from around it.

use operator_core::{Action, BoxFuture, Document, Finding, ObjectRef, Observed, Query, QueryFailure};

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
    fn api_versions(&self) -> Vec<String>;
}

/// The world beyond Kubernetes objects: logs, commands, servers.
pub trait Outside: Send + Sync {
    /// The latest outcome of a query of this parent with the time it was asked, in Unix seconds. Never waits: what has not
    /// been asked yet is asked in the background, is `Pending` until then, and brings the parent back when it is known.
    fn find(&self, parent: &ObjectRef, query: &Query) -> (Result<Finding, QueryFailure>, Option<i64>);

    /// Does an action, and gives its outcome.
    fn act<'a>(&'a self, parent: &'a ObjectRef, action: &'a Action) -> BoxFuture<'a, Result<Finding, QueryFailure>>;
}

/// The time, in Unix seconds.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> i64;
}
