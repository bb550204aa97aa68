//! What a module gets to see.

use std::sync::Arc;

use crate::{Answer, Document, ObjectRef};

/// All that a module may know of one parent. The fields mean what `wit/v1/reconciliation.wit` says. A copy is cheap: lists are shared.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The custom resource.
    pub parent: Document,
    /// Its children, in canonical order.
    pub children: Arc<[Observed]>,
    /// Outcomes of queries and actions, ordered by id.
    pub answers: Arc<[Answer]>,
    /// The module's settings; `{}` when there are none.
    pub settings: Document,
    /// Whether the parent is being deleted.
    pub finalizing: bool,
    /// Group-versions that the API server serves.
    pub api_versions: Arc<[String]>,
    /// Unix seconds, when the manifest asks for time.
    pub now: Option<i64>,
}

impl Snapshot {
    /// A snapshot with nothing but a parent.
    pub fn of(parent: Document) -> Self {
        Self {
            parent,
            children: Arc::default(),
            answers: Arc::default(),
            settings: Document::new(&b"{}"[..]),
            finalizing: false,
            api_versions: Arc::default(),
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
