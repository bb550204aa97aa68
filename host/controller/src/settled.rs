//! What a reconcile rested on that changed nothing. While all of it is the same, another one would change nothing either.
//!
//! Documents are shared with the cache, so what is kept here costs memory only for what has changed since.

use std::{collections::BTreeMap, sync::Arc};

use operator_core::{Answer, Desired, Document, Generation, ObjectRef, Observed, Sample, status::Progress};

use crate::{Context, observe, observe::Observation};

/// One reconcile that wrote nothing.
#[derive(Debug)]
pub(crate) struct Settled {
    generation: Generation,
    parent: Document,
    members: Arc<[Observed]>,
    held: Arc<[Observed]>,
    /// What the answer names, as it was.
    named: Vec<(ObjectRef, Option<Document>)>,
    answers: Arc<[Answer]>,
    now: Option<i64>,
    api_versions: Arc<[String]>,
    pub(crate) progress: Progress,
    pub(crate) samples: Arc<[Sample]>,
    pub(crate) requeue: Option<u32>,
}

impl Settled {
    /// Keeps what a reconcile rested on.
    pub(crate) fn new(
        generation: &Generation,
        observation: &Observation,
        (desired, answers, existing): (&Desired, Arc<[Answer]>, &BTreeMap<ObjectRef, Document>),
        progress: Progress,
    ) -> Self {
        Self {
            generation: generation.clone(),
            parent: observation.document.clone(),
            members: Arc::clone(&observation.members),
            held: Arc::clone(&observation.held),
            named: observe::named(desired)
                .map(|identity| (identity.clone(), existing.get(identity).cloned()))
                .collect(),
            answers,
            now: observation.now,
            api_versions: Arc::clone(&observation.api_versions),
            progress,
            samples: desired.samples.clone().into(),
            requeue: desired.requeue,
        }
    }

    /// Whether everything is as it was.
    pub(crate) fn holds(
        &self,
        ctx: &Context,
        generation: &Generation,
        observation: &Observation,
        answers: &[Answer],
    ) -> bool {
        self.generation == *generation
            && self.parent == observation.document
            && self.members == observation.members
            && self.held == observation.held
            && self.now == observation.now
            && self.api_versions == observation.api_versions
            && self.named.iter().all(|(identity, document)| ctx.cache.get(identity) == *document)
            && *self.answers == *answers
    }
}
