//! The native twin of a module: the same functions in this program, with the allocator that modules have, and what a module does not free is
//! not freed here either. What is left of the difference is the sandbox.

mod answers;
mod arena;

use operator_core::{Desired, Document, Verdict};
use operator_guest::{Module, native, wire};

pub(crate) use self::arena::{reconcile, validate};
use crate::Error;

/// Fails unless a module in the sandbox and its twin answer the same: otherwise they do not do the same work.
pub(crate) fn same_desired<M: Module>(name: &str, sandbox: &Desired, snapshot: &wire::Snapshot) -> Result<(), Error> {
    let native = native::reconcile::<M>(snapshot.clone());
    let native = native.map_err(|failure| Error::Unexpected(format!("{name}, natively: {failure:?}")))?;
    let text = |desired: &Desired| {
        let documents = desired.children.iter().map(|child| &child.document);
        let documents =
            documents.chain(desired.partials.iter().map(|partial| &partial.document)).chain(&desired.status);
        shown(desired, documents)
    };
    same(name, sandbox, &answers::desired(native), text)
}

/// The same for a validation.
pub(crate) fn same_verdict<M: Module>(name: &str, sandbox: &Verdict, request: &wire::Request) -> Result<(), Error> {
    let native = native::admit::<M>(request.clone());
    let native = native.map_err(|failure| Error::Unexpected(format!("{name}, natively: {failure:?}")))?;
    let text = |verdict: &Verdict| shown(verdict, verdict.object.iter().chain(&verdict.before));
    same(name, sandbox, &answers::verdict(native), text)
}

fn same<T: PartialEq>(name: &str, sandbox: &T, native: &T, text: impl Fn(&T) -> String) -> Result<(), Error> {
    if sandbox == native {
        return Ok(());
    }
    let (sandbox, native) = (text(sandbox), text(native));
    let differ = sandbox.lines().zip(native.lines()).filter(|(sandbox, native)| sandbox != native);
    let differ: Vec<_> = differ.take(5).map(|(sandbox, native)| format!("{sandbox}\n{native}")).collect();
    Err(Error::Unexpected(format!(
        "{name}: the module in the sandbox and its native twin answer differently; is the module up to date?\n{}",
        differ.join("\n")
    )))
}

/// An answer with its documents in words.
fn shown<'a>(answer: &impl std::fmt::Debug, documents: impl Iterator<Item = &'a Document>) -> String {
    let documents = documents.map(|document| String::from_utf8_lossy(document.bytes()).into_owned());
    format!("{answer:#?}\n{}", documents.collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use las::LasModule;
    use operator_guest::native::forgetful;

    use super::*;
    use crate::subject::{self, LAS_4K};

    #[test]
    fn what_is_not_freed_changes_no_answer() {
        let snapshot = subject::native_snapshot::<LasModule>(LAS_4K).unwrap();
        let forgotten = forgetful::reconcile::<LasModule>(snapshot.clone()).unwrap();
        assert_eq!(forgotten, native::reconcile::<LasModule>(snapshot).unwrap());
        let mut request = subject::native_request::<LasModule>(LAS_4K).unwrap();
        for object in [request.object.clone(), Some(b"{}".to_vec())] {
            request.object = object;
            let forgotten = forgetful::validate::<LasModule>(request.clone());
            assert_eq!(forgotten, native::admit::<LasModule>(request.clone()).unwrap());
        }
    }

    #[test]
    fn answers_that_differ_end_the_benchmark_and_are_shown() {
        let request = subject::native_request::<LasModule>(LAS_4K).unwrap();
        let allowed = Verdict::default();
        assert!(same_verdict::<LasModule>("las", &allowed, &request).is_ok());
        let warned = Verdict { warnings: vec!["w".into()], ..allowed };
        let said = same_verdict::<LasModule>("las", &warned, &request).unwrap_err().to_string();
        assert!(said.contains("las") && said.contains("warnings: [\n") && !said.contains("denied"), "{said}");
    }
}
