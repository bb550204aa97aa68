//! Why a file is not taken, and what follows from it.

use operator_core::{Failure, FailureKind, contract::Manifest};
use operator_engine::{CompileError, LoadError};
use operator_package::PackageError;

/// Why a file is not taken.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    /// A reason of `host/REASONS.md`.
    pub(crate) reason: &'static str,
    /// What is wrong, and what to do.
    pub(crate) why: String,
    /// Whether the same file may be taken later: the reason lies around it.
    pub(crate) passing: bool,
    /// What it would have served, as far as it could be read.
    pub(crate) manifest: Option<Box<Manifest>>,
    /// Whether another module serves in its place, so that nobody has to stand in for it.
    pub(crate) yields: bool,
}

impl Refused {
    /// The same file is refused again.
    pub(crate) fn lasting(reason: &'static str, why: String) -> Self {
        Self { reason, why, passing: false, manifest: None, yields: false }
    }

    /// What it would have served.
    pub(crate) fn with(self, manifest: Manifest) -> Self {
        Self { manifest: (!self.yields).then(|| Box::new(manifest)), ..self }
    }

    pub(crate) fn package(error: &PackageError) -> Self {
        let passing = matches!(error, PackageError::Unreadable { .. });
        Self { passing, ..Self::lasting(error.reason(), error.to_string()) }
    }

    pub(crate) fn module(error: &LoadError) -> Self {
        let passing = match error {
            LoadError::Host { .. } | LoadError::Instantiation { .. } => true,
            LoadError::Compile { why, .. } => {
                !matches!(why, CompileError::Invalid { .. } | CompileError::OutputTooLarge { .. })
            }
            LoadError::Describe { failure, .. } => may_pass(failure),
            _ => false,
        };
        Self { passing, ..Self::lasting(error.reason(), error.to_string()) }
    }

    pub(crate) fn call(failure: &Failure) -> Self {
        Self { passing: may_pass(failure), ..Self::lasting(failure.kind.reason(), failure.to_string()) }
    }

    /// Another module has one of its kinds already: two would undo each other's work.
    pub(crate) fn rival(name: &str, other: &str, kind: &str) -> Self {
        let why =
            format!("module {name} wants to serve {kind}, which module {other} serves; remove one of the two files");
        Self { passing: true, yields: true, ..Self::lasting("KindTaken", why) }
    }

    /// Another module has one of its webhooks already.
    pub(crate) fn clash(error: &operator_webhook::Error) -> Self {
        Self { passing: true, yields: true, ..Self::lasting(error.reason(), error.to_string()) }
    }
}

/// Whether a call may go well on a machine that has more time or room.
fn may_pass(failure: &Failure) -> bool {
    matches!(failure.kind, FailureKind::Busy { .. } | FailureKind::Host(_) | FailureKind::Deadline { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(why: CompileError) -> Refused {
        Refused::module(&LoadError::Compile { module: "m".into(), why })
    }

    #[test]
    fn what_lies_around_a_file_may_pass_and_what_is_in_it_does_not() {
        assert!(compiled(CompileError::OutOfTime { limit_s: 1 }).passing);
        assert!(compiled(CompileError::NoCompiler { place: "here".into() }).passing);
        assert!(!compiled(CompileError::Invalid { why: "no".into() }).passing);
        assert!(!Refused::package(&PackageError::NotWasm).passing);
        let unreadable = PackageError::Unreadable { name: "m.wasm".into(), source: std::io::ErrorKind::Other.into() };
        assert!(Refused::package(&unreadable).passing);
    }

    #[test]
    fn a_module_whose_kind_is_taken_names_both_and_yields() {
        let refused = Refused::rival("two", "one", "Thing.example.org");
        assert_eq!(
            refused.why,
            "module two wants to serve Thing.example.org, which module one serves; remove one of the two files"
        );
        assert!(refused.passing && refused.yields, "it may serve once the other is gone");
    }
}
