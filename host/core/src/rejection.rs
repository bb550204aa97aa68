//! Why an answer is refused as a whole. Nothing of a refused answer is applied, not even the valid part.

use crate::{ObjectRef, grants::Ungranted, plan};

/// Why an answer is refused. Each text names the thing, what is wrong with it and the fix, for the module's author.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Something that the module may not do.
    #[error("{0}")]
    Ungranted(#[from] Ungranted),
    /// Two children, or two partials, name the same object.
    #[error("{identity} is named twice; answer with each object once")]
    Duplicate {
        /// Which object.
        identity: ObjectRef,
    },
    /// A document is no object, or another one than its reference says.
    #[error("the document of {identity} {why}; make reference and document agree")]
    Mismatch {
        /// Which object.
        identity: ObjectRef,
        /// What is wrong.
        why: String,
    },
    /// A document sets what only the host or the server may set.
    #[error("{identity} sets {field}, which {owner} sets; leave it out")]
    ForeignField {
        /// Which object.
        identity: ObjectRef,
        /// Which field.
        field: &'static str,
        /// Who sets it.
        owner: &'static str,
    },
    /// A document is too large for the API server.
    #[error("{identity} has {size} bytes, more than {limit}; split it")]
    Oversized {
        /// Which object.
        identity: ObjectRef,
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The object belongs to somebody else.
    #[error("{identity} belongs to {owner}; delete it there first, or give the child another name")]
    OwnedByOther {
        /// Which object.
        identity: ObjectRef,
        /// Its owner.
        owner: String,
    },
    /// Objects of these names exist, and nothing marks them as this parent's.
    #[error(
        "{} already {} and nothing says that this operator or the one before it made {} for {parent}; delete what is not needed, give the \
         parent another name, or have it taken over: annotate {parent} with {}={}",
        list(objects, ToString::to_string, ", "),
        if objects.len() == 1 { "exists," } else { "exist," },
        if objects.len() == 1 { "it" } else { "them" },
        plan::ADOPT,
        list(objects, plan::adoptable, ","),
    )]
    AlreadyExists {
        /// Which objects.
        objects: Vec<ObjectRef>,
        /// The parent.
        parent: ObjectRef,
    },
    /// Nobody would clean this up.
    #[error("{identity} cannot be owned by {parent} and would stay behind; set finalizer: true in the manifest")]
    NeedsFinalizer {
        /// Which object.
        identity: ObjectRef,
        /// The parent.
        parent: ObjectRef,
    },
    /// A condition, event, sample, query or action is malformed.
    #[error("{place} {why}")]
    Malformed {
        /// Where, such as `conditions[Ready]`.
        place: String,
        /// What is wrong and what to write instead.
        why: String,
    },
}

impl Rejection {
    /// The reason as one word of a closed set: condition reason, metric label, JSON output.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Ungranted(_) => "Ungranted",
            Self::Duplicate { .. } => "DuplicateObject",
            Self::Mismatch { .. } => "DocumentMismatch",
            Self::ForeignField { .. } => "ForeignField",
            Self::Oversized { .. } => "ObjectTooLarge",
            Self::OwnedByOther { .. } => "OwnedByOther",
            Self::AlreadyExists { .. } => "AlreadyExists",
            Self::NeedsFinalizer { .. } => "NeedsFinalizer",
            Self::Malformed { .. } => "AnswerMalformed",
        }
    }
}

fn list(objects: &[ObjectRef], name: impl Fn(&ObjectRef) -> String, between: &str) -> String {
    objects.iter().map(name).collect::<Vec<_>>().join(between)
}
