//! Calls a module natively with YAML, as fast as any unit test. Only outside WebAssembly.
//!
//! A snapshot file has the keys `parent` (the custom resource), `children` (a list of objects), `answers` (by query id),
//! `settings`, `finalizing`, `apiVersions` and `now`; all but `parent` may be left out. An answer is one of
//! `objects: [...]`, `lines: [...]`, `command: {code, stdout, stderr}`, `http: {status, headers, body}`, `deleted: true`,
//! `pending: null`, `timedOut: null`, or `denied`, `notFound`, `unreachable`, `failed` with a text; `askedAt`, and
//! `extensions` (texts by name), may stand beside it.
//!
//! A request file has the keys `object`, `oldObject`, `operation` (`CREATE`, `UPDATE`, `DELETE`, `CONNECT`), `phase`
//! (`mutate` or `validate`; both in this order when left out), `subresource`, `user: {name, groups}`, `dryRun` and `settings`.

mod answer;
mod files;
mod judgement;

pub use answer::Answer;
pub use judgement::Judgement;

use crate::{Failure, Module, log, native, wire};

/// Why a test could not be run, or did not find what it looked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is no YAML.
    #[error("not YAML: {0}")]
    Yaml(String),
    /// The file is YAML of another shape.
    #[error("{place}: {why}")]
    Shape {
        /// Where in the file, such as `children[2]`.
        place: String,
        /// What is wrong and what was expected.
        why: String,
    },
    /// The module answered twice, differently.
    #[error("two calls with the same snapshot gave two answers; a module must not depend on hash order or on state")]
    Differs,
    /// The module gave no answer.
    #[error("the module gave no answer: {0:?}")]
    Failed(Failure),
    /// The answer has no such part.
    #[error("the answer has no {0}")]
    Missing(String),
}

/// The snapshot in `yaml` as the record that a host sends, for [`native::reconcile`] and benchmarks.
pub fn snapshot<M: Module>(yaml: &str) -> Result<wire::Snapshot, Error> {
    files::snapshot::<M::Parent>(yaml)
}

/// The request in `yaml` as the record that a host sends, for [`native::admit`] and benchmarks; phase validate unless it says
/// otherwise.
pub fn request<M: Module>(yaml: &str) -> Result<wire::Request, Error> {
    let files::Admission { mut request, phases } = files::request::<M>(yaml)?;
    if let [only] = phases.as_slice() {
        request.phase = *only;
    }
    Ok(request)
}

/// Reconciles the snapshot in `yaml` as a host would: settings are judged first, and the answer must be the same twice.
pub fn reconcile<M: Module>(yaml: &str) -> Result<Answer, Error> {
    let snapshot = files::snapshot::<M::Parent>(yaml)?;
    log::take();
    if let Err(causes) = native::validate_settings::<M>(snapshot.settings.clone()) {
        return Ok(Answer { outcome: Err(Failure::InvalidSettings(causes)), logs: log::take() });
    }
    let outcome = native::reconcile::<M>(snapshot.clone());
    let logs = log::take();
    // Compared as text: a sample that is no number equals nothing, not even itself.
    if format!("{outcome:?}") != format!("{:?}", native::reconcile::<M>(snapshot)) {
        return Err(Error::Differs);
    }
    log::take();
    Ok(Answer { outcome, logs })
}

/// Judges the request in `yaml` as the API server would have it judged: defaults first, then validation of the result.
pub fn admit<M: Module>(yaml: &str) -> Result<Judgement, Error> {
    let files::Admission { mut request, phases } = files::request::<M>(yaml)?;
    log::take();
    let mut judgement = Judgement::default();
    for phase in phases {
        request.phase = phase;
        let wire::Verdict { denied, object, warnings, audit, .. } =
            native::admit::<M>(request.clone()).map_err(Error::Failed)?;
        judgement.warnings.extend(warnings);
        judgement.audit.extend(audit);
        if let Some(object) = object {
            judgement.object = Some(files::json(&object)?);
            request.object = Some(object);
        }
        if denied.is_some() {
            judgement.denied = denied;
            break;
        }
    }
    judgement.logs = log::take();
    Ok(judgement)
}
