//! A module that answers what a test tells it to.

use std::sync::Mutex;

use operator_core::{
    BoxFuture, Cause, Desired, Document, Failure, FailureKind, Generation, Module, Request, Snapshot, Verdict,
    contract::Manifest,
};

type Answer = Box<dyn Fn(&Snapshot) -> Result<Desired, FailureKind> + Send>;

/// A module that answers what a test tells it to.
pub(crate) struct Told {
    generation: Generation,
    manifest: Manifest,
    answer: Mutex<Answer>,
}

impl Module for Told {
    fn generation(&self) -> &Generation {
        &self.generation
    }

    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn reconcile(&self, snapshot: Snapshot) -> BoxFuture<'_, Result<Desired, Failure>> {
        let answer = (self.answer.lock().unwrap())(&snapshot);
        let failed = |kind| Failure { module: self.generation.clone(), function: "reconcile", kind };
        Box::pin(std::future::ready(answer.map_err(failed)))
    }

    fn admit(&self, _: Request) -> BoxFuture<'_, Result<Verdict, Failure>> {
        Box::pin(std::future::ready(Ok(Verdict::default())))
    }

    fn convert(&self, _: String, objects: Vec<Document>) -> BoxFuture<'_, Result<Vec<Document>, Failure>> {
        Box::pin(std::future::ready(Ok(objects)))
    }

    fn validate_settings(&self, _: Document) -> BoxFuture<'_, Result<Result<(), Vec<Cause>>, Failure>> {
        Box::pin(std::future::ready(Ok(Ok(()))))
    }
}

impl Told {
    pub(crate) fn new(manifest: Manifest, answer: impl Fn(&Snapshot) -> Desired + Send + 'static) -> Self {
        let generation = Generation { name: "told".into(), version: "1.0.0".into(), digest: "0".repeat(64).into() };
        Self { generation, manifest, answer: Mutex::new(Box::new(move |snapshot| Ok(answer(snapshot)))) }
    }

    /// From now on the module answers this.
    #[allow(dead_code, reason = "not every test changes its mind")]
    pub(crate) fn answers(&self, answer: impl Fn(&Snapshot) -> Result<Desired, FailureKind> + Send + 'static) {
        *self.answer.lock().unwrap() = Box::new(answer);
    }
}
