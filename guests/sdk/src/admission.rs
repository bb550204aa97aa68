//! Admission, typed: a request with decoded objects, and a verdict to build.

use crate::{
    Cause, ObjectRef, Operation, Parent, Phase, Settings, User,
    decode::decode_parent,
    log,
    wire::{self, Denial},
};

/// One admission request about a `P`.
#[derive(Clone, Debug)]
pub struct Request<P> {
    /// Which of the two webhook phases asks.
    pub phase: Phase,
    /// What is being done.
    pub operation: Operation,
    /// To which object; the name is empty when the server has yet to generate it.
    pub identity: ObjectRef,
    /// The subresource, such as `status`.
    pub subresource: Option<String>,
    /// The object as it would be stored; none on delete, and in [`crate::Module::default`], which holds it already.
    pub object: Option<P>,
    /// The object as it is stored; none on create, and when what is stored cannot be read any more.
    pub old_object: Option<P>,
    /// Who asks.
    pub user: User,
    /// Whether nothing will be stored.
    pub dry_run: bool,
    /// The module's settings.
    pub settings: Settings,
}

impl<P: Parent> Request<P> {
    /// Reads what came from the host. The cause says why the new object is none; a stored one that cannot be read must not
    /// stand in the way of the edit that repairs it.
    pub(crate) fn from_wire(request: wire::Request) -> Result<Self, (ObjectRef, Cause)> {
        let object = match request.object.as_deref().map(decode_parent).transpose() {
            Ok(object) => object,
            Err(cause) => return Err((request.identity, cause)),
        };
        let old_object = request.old_object.as_deref().map(decode_parent).transpose().unwrap_or_else(|cause| {
            log::warn(&format!("the stored {} cannot be read: {}: {}", request.identity, cause.field, cause.message));
            None
        });
        Ok(Self {
            phase: request.phase,
            operation: request.operation,
            identity: request.identity,
            subresource: request.subresource,
            object,
            old_object,
            user: request.user,
            dry_run: request.dry_run,
            settings: Settings(request.settings),
        })
    }
}

/// What a module says to a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    causes: Vec<Cause>,
    forbidden: Option<String>,
    warnings: Vec<String>,
    audit: Vec<(String, String)>,
}

impl Verdict {
    /// Allowed.
    pub fn accept() -> Self {
        Self::default()
    }

    /// Refused with 422 because of these fields; allowed when there are none.
    pub fn invalid(causes: impl IntoIterator<Item = Cause>) -> Self {
        Self { causes: causes.into_iter().collect(), ..Self::default() }
    }

    /// Refused with 403, whatever the object looks like. `message` is a sentence with the fix.
    pub fn forbid(message: impl Into<String>) -> Self {
        Self { forbidden: Some(message.into()), ..Self::default() }
    }

    /// Shown to whoever asked, refused or not. At most 120 characters.
    #[must_use]
    pub fn warn(mut self, warning: impl Into<String>) -> Self {
        self.warnings.push(warning.into());
        self
    }

    /// Added to the audit log under the module's prefix.
    #[must_use]
    pub fn audit(mut self, key: &str, value: impl Into<String>) -> Self {
        self.audit.push((key.to_owned(), value.into()));
        self
    }

    pub(crate) fn into_wire(self, identity: &ObjectRef) -> wire::Verdict {
        let denied = match (self.forbidden, self.causes.is_empty()) {
            (Some(message), _) => {
                Some(Denial { code: 403, reason: "Forbidden".to_owned(), message, causes: self.causes })
            }
            (None, false) => Some(invalid(identity, self.causes)),
            (None, true) => None,
        };
        wire::Verdict {
            denied,
            object: None,
            before: None,
            warnings: self.warnings,
            audit: self.audit,
            extensions: Vec::new(),
        }
    }
}

impl From<Vec<Cause>> for Verdict {
    fn from(causes: Vec<Cause>) -> Self {
        Self::invalid(causes)
    }
}

/// A denial whose message reads like the API server's own.
fn invalid(identity: &ObjectRef, causes: Vec<Cause>) -> Denial {
    let listed: Vec<_> =
        causes
            .iter()
            .map(|cause| {
                if cause.field.is_empty() {
                    cause.message.clone()
                } else {
                    format!("{}: {}", cause.field, cause.message)
                }
            })
            .collect();
    let message = format!("{} {:?} is invalid: {}", identity.kind, identity.name, listed.join("; "));
    Denial { code: 422, reason: "Invalid".to_owned(), message, causes }
}
