//! What a module answers. The fields mean what `wit/v1/reconciliation.wit` says.

use crate::{Document, HttpRequest, ObjectRef, Query};

/// What should exist, and what to say about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Desired {
    /// Objects that should exist.
    pub children: Vec<Child>,
    /// Fields wanted on other objects.
    pub partials: Vec<Partial>,
    /// The parent's status without conditions.
    pub status: Option<Document>,
    /// The parent's conditions.
    pub conditions: Vec<Condition>,
    /// Events.
    pub events: Vec<Event>,
    /// Metric samples.
    pub samples: Vec<Sample>,
    /// What the module wants to know next time.
    pub queries: Vec<Query>,
    /// What should be done outside.
    pub actions: Vec<Action>,
    /// Seconds until the next call.
    pub requeue: Option<u32>,
    /// Whether the clean-up is complete.
    pub finalized: bool,
}

/// An object that should exist and belongs to the parent.
#[derive(Clone, Debug, PartialEq)]
pub struct Child {
    /// Which object.
    pub identity: ObjectRef,
    /// The fields that the module wants to own.
    pub document: Document,
    /// How to change it.
    pub strategy: Strategy,
    /// Later stages wait for the readiness of earlier ones.
    pub stage: u32,
    /// When it is ready.
    pub readiness: Readiness,
}

/// What to do when a child exists and differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Server-side apply.
    Apply,
    /// Server-side apply; delete and create when a field is immutable.
    RecreateOnImmutable,
    /// Create when absent, never touch what exists, whoever made it.
    CreateOnce,
    /// Apply only while absent.
    OnDelete,
}

/// When a child is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// As soon as it exists.
    Exists,
    /// By kstatus' rules for its kind.
    Status,
    /// When its condition `Ready` is true.
    Condition,
}

/// Fields on an object that the module does not own.
#[derive(Clone, Debug, PartialEq)]
pub struct Partial {
    /// Which object.
    pub identity: ObjectRef,
    /// Just the fields wanted.
    pub document: Document,
}

/// One entry of `status.conditions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Type.
    pub type_: String,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Why, in one word.
    pub reason: String,
    /// Why, in a sentence.
    pub message: String,
}

/// How sure a condition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It could not be told.
    Unknown,
}

impl ConditionStatus {
    /// As Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// One Kubernetes event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// How important.
    pub type_: EventType,
    /// Why, in one word.
    pub reason: String,
    /// What was being done, in one word.
    pub action: String,
    /// What happened.
    pub message: String,
    /// What it is about; the parent when none.
    pub regarding: Option<ObjectRef>,
}

/// How important an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    /// As planned.
    Normal,
    /// Needs a look.
    Warning,
}

/// One sample of a gauge.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Metric name.
    pub name: String,
    /// Labels.
    pub labels: Vec<(String, String)>,
    /// Value.
    pub value: f64,
}

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// JSON path, such as `spec.hostPort`.
    pub field: String,
    /// Why, in one word.
    pub reason: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// One action.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    /// Names the outcome in later snapshots.
    pub id: String,
    /// What to do.
    pub deed: Deed,
    /// How long one try may take, in seconds.
    pub timeout: u32,
}

/// A write to the outside that is no Kubernetes apply.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Deed {
    /// Delete exactly this object.
    Delete {
        /// Which object.
        identity: ObjectRef,
        /// Its UID as observed.
        uid: String,
    },
    /// Send a request that changes something.
    Http(HttpRequest),
}
