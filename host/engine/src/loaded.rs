//! One loaded version of a module.

use std::sync::Arc;

use operator_contract::Manifest;
use operator_core::{
    BoxFuture, Cause, Desired, Document, Failure, FailureKind, Generation, Module, Request, Snapshot, Verdict,
};
use tokio::sync::oneshot;

use crate::{
    Budget, Usage, answer,
    call::{Called, Prepared},
    pool::Turn,
};

/// One loaded version of a module. Cheap to clone; frees itself with its last clone and last call.
///
/// The methods of [`Module`] hand the call to the engine's threads and may be awaited on any runtime; a future that is
/// dropped before its turn is not run. The methods ending in `_now` run on the caller's thread, which needs 1 MiB of free
/// stack, and block it, so they are for tests, benchmarks and tools.
#[derive(Clone)]
pub struct Loaded(Arc<Inner>);

struct Inner {
    manifest: Manifest,
    prepared: Prepared,
    /// The same code, for admission only.
    admission: Prepared,
}

impl Inner {
    fn reconcile(&self, snapshot: &Snapshot) -> Called<'_, Desired> {
        self.prepared.call("reconcile", |it, store, instance| it.reconcile(store, instance, snapshot), answer::desired)
    }

    fn admit(&self, request: &Request) -> Called<'_, Verdict> {
        self.admission.call("admit", |it, store, instance| it.admit(store, instance, request), answer::verdict)
    }

    fn convert(&self, api_version: &str, objects: &[Document]) -> Called<'_, Vec<Document>> {
        self.prepared.call(
            "convert",
            |it, store, instance| it.convert(store, instance, api_version, objects),
            |converted, budget| answer::converted(converted, objects.len(), budget),
        )
    }

    fn validate_settings(&self, settings: &Document) -> Called<'_, Result<(), Vec<Cause>>> {
        self.prepared.call(
            "validate-settings",
            |it, store, instance| it.validate_settings(store, instance, settings),
            answer::settings,
        )
    }
}

impl Loaded {
    pub(crate) fn new(manifest: Manifest, prepared: Prepared, admission: Prepared) -> Self {
        Self(Arc::new(Inner { manifest, prepared, admission }))
    }

    /// What one call may use: the manifest's budgets, completed by the engine's defaults.
    pub fn budget(&self) -> &Budget {
        &self.0.prepared.budget
    }

    /// `reconcile` on this thread.
    pub fn reconcile_now(&self, snapshot: &Snapshot) -> Result<Desired, Failure> {
        self.0.reconcile(snapshot).answer
    }

    /// `reconcile` on this thread, and what it used.
    pub fn reconcile_metered(&self, snapshot: &Snapshot) -> (Result<Desired, Failure>, Usage) {
        let called = self.0.reconcile(snapshot);
        (called.answer, called.usage)
    }

    /// `admit` on this thread.
    pub fn admit_now(&self, request: &Request) -> Result<Verdict, Failure> {
        self.0.admit(request).answer
    }

    /// `admit` on this thread, and what it used.
    pub fn admit_metered(&self, request: &Request) -> (Result<Verdict, Failure>, Usage) {
        let called = self.0.admit(request);
        (called.answer, called.usage)
    }

    /// `convert` on this thread.
    pub fn convert_now(&self, api_version: &str, objects: &[Document]) -> Result<Vec<Document>, Failure> {
        self.0.convert(api_version, objects).answer
    }

    /// `validate-settings` on this thread.
    pub fn validate_settings_now(&self, settings: &Document) -> Result<Result<(), Vec<Cause>>, Failure> {
        self.0.validate_settings(settings).answer
    }

    fn hand_over<T: Send + 'static>(
        &self,
        function: &'static str,
        run: impl FnOnce(&Inner) -> Called<'_, T> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, Failure>> {
        Box::pin(async move {
            let (sender, receiver) = oneshot::channel();
            let (inner, span) = (Arc::clone(&self.0), tracing::Span::current());
            let task = move |turn| {
                if sender.is_closed() {
                    return;
                }
                let _entered = span.enter();
                let (answer, spent) = match turn {
                    Turn::Run => {
                        let Called { answer, spent, .. } = run(&inner);
                        (answer, Some(spent))
                    }
                    Turn::TooLate(waited) => {
                        let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
                        (Err(inner.prepared.failure(function, FailureKind::Busy { waited_ms })), None)
                    }
                };
                // Whoever has stopped waiting does not miss the answer.
                drop(sender.send(answer));
                // What it takes to clear the memory, the caller does not wait for.
                drop(spent);
            };
            let Inner { prepared, admission, .. } = &*self.0;
            match function {
                "reconcile" => prepared.core.pool.submit(&prepared.load, Box::new(task)),
                _ => prepared.core.admissions.submit(&admission.load, Box::new(task)),
            }
            receiver.await.unwrap_or_else(|_| {
                Err(self.0.prepared.failure(function, FailureKind::Host("the call panicked".to_owned())))
            })
        })
    }
}

impl Module for Loaded {
    fn generation(&self) -> &Generation {
        &self.0.prepared.generation
    }

    fn manifest(&self) -> &Manifest {
        &self.0.manifest
    }

    fn reconcile(&self, snapshot: Snapshot) -> BoxFuture<'_, Result<Desired, Failure>> {
        self.hand_over("reconcile", move |inner| inner.reconcile(&snapshot))
    }

    fn admit(&self, request: Request) -> BoxFuture<'_, Result<Verdict, Failure>> {
        self.hand_over("admit", move |inner| inner.admit(&request))
    }

    fn convert(&self, api_version: String, objects: Vec<Document>) -> BoxFuture<'_, Result<Vec<Document>, Failure>> {
        self.hand_over("convert", move |inner| inner.convert(&api_version, &objects))
    }

    fn validate_settings(&self, settings: Document) -> BoxFuture<'_, Result<Result<(), Vec<Cause>>, Failure>> {
        self.hand_over("validate-settings", move |inner| inner.validate_settings(&settings))
    }
}

/// Prints the generation and budget only.
impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loaded")
            .field("generation", self.generation())
            .field("budget", self.budget())
            .finish_non_exhaustive()
    }
}
