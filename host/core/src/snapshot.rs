//! What a module gets to see.

use crate::{Answer, Document, ObjectRef};

/// All that a module may know of one parent. The fields mean what `wit/v1/reconciliation.wit` says.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The custom resource.
    pub parent: Document,
    /// Its children, in canonical order.
    pub children: Vec<Observed>,
    /// Outcomes of queries and actions, ordered by id.
    pub answers: Vec<Answer>,
    /// The module's settings; `{}` when there are none.
    pub settings: Document,
    /// Whether the parent is being deleted.
    pub finalizing: bool,
    /// Group-versions that the API server serves.
    pub api_versions: Vec<String>,
    /// Unix seconds, when the manifest asks for time.
    pub now: Option<i64>,
}

impl Snapshot {
    /// A snapshot with nothing but a parent.
    pub fn of(parent: Document) -> Self {
        Self {
            parent,
            children: Vec::new(),
            answers: Vec::new(),
            settings: Document::new(&b"{}"[..]),
            finalizing: false,
            api_versions: Vec::new(),
            now: None,
        }
    }
}

/// One object as the API server sent it.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// Which object.
    pub identity: ObjectRef,
    /// The object.
    pub document: Document,
}
