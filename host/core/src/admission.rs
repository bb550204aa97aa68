//! What a module is asked about a request, and what it answers. The fields mean what `wit/v1/admission.wit` says.

use operator_contract::{Operation, Phase};

use crate::{Cause, Document, ObjectRef};

/// One admission request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which phase.
    pub phase: Phase,
    /// What is being done.
    pub operation: Operation,
    /// To which object.
    pub identity: ObjectRef,
    /// The subresource.
    pub subresource: Option<String>,
    /// The object as it would be stored.
    pub object: Option<Document>,
    /// The object as it is stored.
    pub old_object: Option<Document>,
    /// Who asks.
    pub user: User,
    /// Whether nothing will be stored.
    pub dry_run: bool,
    /// The module's settings.
    pub settings: Document,
}

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// User name.
    pub name: String,
    /// Groups.
    pub groups: Vec<String>,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// None: allowed. Some: refused, and why.
    pub denied: Option<Denial>,
    /// The object with defaults; only in phase mutate.
    pub object: Option<Document>,
    /// The object as the module read it, before defaults; the request's own when none.
    pub before: Option<Document>,
    /// Shown to whoever asked.
    pub warnings: Vec<String>,
    /// Added to the audit log.
    pub audit: Vec<(String, String)>,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// HTTP status code.
    pub code: u16,
    /// One word.
    pub reason: String,
    /// A sentence with the fix.
    pub message: String,
    /// Field by field.
    pub causes: Vec<Cause>,
}
