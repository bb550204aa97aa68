//! The pipeline: observe → compute → plan → apply → report. Nothing else knows the order.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use operator_core::{
    Action, Answer, Desired, Document, Event, EventType, Failure, FailureKind, Generation, Module, ObjectRef, Plan,
    Query, Sample, Serving,
    contract::Grants,
    plan::{self, plan as decide},
    status::Progress,
};
use tracing::{Instrument, debug, info_span, warn};

use crate::{
    Cache, Clock, Error, Outside,
    apply::{self, Applied, Written},
    awaited::Awaited,
    contention::Contention,
    observe::{self, Observation},
    report::{self, Reported},
    settled::Settled,
};

/// How often a module may ask again within one reconcile before its questions must have settled.
const QUERY_ROUNDS: usize = 5;

/// Queries and actions of one answer: each is a task of its own as long as it is asked.
const MOST_QUERIES: usize = 1_000;

/// When a module is asked again that could not answer now, in seconds.
const WAIT_SECONDS: u32 = 10;

/// Everything that reconciles of one module share.
pub struct Context {
    /// Where writes go.
    pub client: kube::Client,
    /// What is known of the cluster.
    pub cache: Arc<dyn Cache>,
    /// Logs, commands and servers.
    pub outside: Arc<dyn Outside>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The module.
    pub module: Arc<Serving>,
    /// What the module may do.
    pub grants: Grants,
    /// Its settings.
    pub settings: Document,
    /// The operator's own namespace.
    pub namespace: String,
    pub(crate) contention: Contention,
    /// Whether a reconcile that would change nothing is left out.
    spares: bool,
    memory: Mutex<HashMap<ObjectRef, Memory>>,
}

/// What is remembered of one parent between reconciles. Losing it costs one more call, never a decision.
#[derive(Clone, Debug, Default)]
struct Memory {
    queries: Vec<Query>,
    /// Those of the last answer.
    actions: Vec<Action>,
    events: Vec<Event>,
    settled: Option<Arc<Settled>>,
    awaited: Awaited,
}

/// What one reconcile did.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "four facts of which none excludes another")]
pub struct Outcome {
    /// Which version of the module answered.
    pub generation: Generation,
    /// What was decided; none when the module gave no answer, or the answer was refused.
    pub plan: Option<Plan>,
    /// How it stands.
    pub progress: Progress,
    /// What was written to objects.
    pub written: Vec<Written>,
    /// Whether the status was written.
    pub reported: bool,
    /// Whether an action was begun, or came to an end that the module did not know of.
    pub acted: bool,
    /// Events that were published.
    pub events: Vec<Event>,
    /// Metric samples of the answer.
    pub samples: Vec<Sample>,
    /// Whether the parent exists. When it does not, nothing was done.
    pub exists: bool,
    /// Seconds after which the module wants to be called again.
    pub requeue: Option<u32>,
    /// Whether the module was not called, because everything is as it was when it changed nothing.
    pub spared: bool,
}

impl Context {
    /// A context with nothing remembered.
    #[expect(
        clippy::too_many_arguments,
        reason = "a plain list of what a reconcile needs; a builder would only rename it"
    )]
    pub fn new(
        client: kube::Client,
        cache: Arc<dyn Cache>,
        outside: Arc<dyn Outside>,
        clock: Arc<dyn Clock>,
        module: Arc<Serving>,
        grants: Grants,
        settings: Document,
        namespace: String,
    ) -> Self {
        let (contention, spares, memory) = (Contention::default(), false, Mutex::default());
        Self { client, cache, outside, clock, module, grants, settings, namespace, contention, spares, memory }
    }

    /// Leaves out reconciles that would change nothing: the module is not called again with what it answered before.
    #[must_use]
    pub fn sparing(self) -> Self {
        Self { spares: true, ..self }
    }

    /// Remembers what the context before this one remembered: another version of the module serves the same parents.
    pub(crate) fn take_over(&self, before: &Self) {
        let mut memory = before.memory.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Settings may differ, and with them every answer.
        for memory in memory.values_mut() {
            memory.settled = None;
        }
        *self.memory.lock().unwrap_or_else(PoisonError::into_inner) = memory;
    }

    fn recall(&self, parent: &ObjectRef) -> Memory {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).get(parent).cloned().unwrap_or_default()
    }

    fn remember(&self, parent: &ObjectRef, memory: Memory) {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).insert(parent.clone(), memory);
    }

    fn forget(&self, parent: &ObjectRef) {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).remove(parent);
        self.outside.forget(parent);
    }
}

/// Brings what belongs to one parent one step closer to what its module wants.
///
/// The reason for the call is not an argument: the outcome depends on what is, not on what happened.
///
/// # Errors
/// When the API server cannot be read or written. The caller tries again with back-off; a failing module or a refused answer
/// is no error here but an [`Outcome`] and a condition on the parent.
pub async fn reconcile(ctx: &Context, parent: &ObjectRef) -> Result<Outcome, Error> {
    let module = ctx.module.current();
    let span = info_span!("reconcile", module = %module.generation(), object = %parent);
    run(ctx, &*module, parent).instrument(span).await
}

async fn run(ctx: &Context, module: &dyn Module, parent: &ObjectRef) -> Result<Outcome, Error> {
    let manifest = module.manifest();
    let Some(observation) = observe::observe(ctx, manifest, parent)? else {
        ctx.forget(parent);
        return Ok(outcome(module, Progress::Done, false));
    };
    // A parent that is being deleted and carries no finalizer of ours is none of our business any more.
    let finalizer = plan::finalizer(&manifest.name);
    if observation.finalizing && !observation.parent.metadata.finalizers.contains(&finalizer) {
        return Ok(outcome(module, Progress::Done, true));
    }
    if !observation.blind.is_empty() {
        let message = format!("{}; grant the right or install the kind", observation.blind.join("; "));
        let progress = Progress::Stalled { reason: "KindRefused", message };
        return refuse(ctx, module, &observation, None, progress).await;
    }
    if let Some(settled) = ctx.recall(parent).settled.filter(|_| ctx.spares)
        && settled.holds(ctx, module.generation(), &observation, parent)
    {
        let (requeue, samples) = (settled.requeue, settled.samples.clone());
        return Ok(Outcome { requeue, samples, spared: true, ..outcome(module, settled.progress.clone(), true) });
    }
    if is_behind(ctx, parent) {
        let progress = Progress::Waiting(vec!["what was written is not seen yet".to_owned()]);
        return Ok(Outcome { requeue: Some(1), ..outcome(module, progress, true) });
    }
    let (desired, answers) = match compute(ctx, module, &observation, parent).await {
        Ok(computed) => computed,
        Err(failure) => return refuse(ctx, module, &observation, None, Progress::of_failure(&failure)).await,
    };
    let existing = observe::existing(&*ctx.cache, &desired);
    let input = plan::Input {
        module: &manifest.name,
        grants: &ctx.grants,
        finalizer: manifest.finalizer,
        place: observation.place(),
        parent: &observation.parent,
        finalizing: observation.finalizing,
        members: &observation.members,
        existing: &existing,
        held: &observation.held,
        desired: &desired,
    };
    match decide(input) {
        Ok(plan) => carry_out(ctx, module, &observation, (desired, answers), plan).await,
        Err(rejection) => {
            let progress = Progress::of_rejection(&manifest.name, &rejection);
            refuse(ctx, module, &observation, None, progress).await
        }
    }
}

/// Whether caches do not show yet what the last reconcile wrote.
fn is_behind(ctx: &Context, parent: &ObjectRef) -> bool {
    let memory = ctx.recall(parent);
    if memory.awaited.is_empty() {
        return false;
    }
    if memory.awaited.holds(&*ctx.cache, ctx.clock.now()) {
        return true;
    }
    ctx.remember(parent, Memory { awaited: Awaited::default(), ..memory });
    false
}

/// Calls the module until its questions settle, starting from what it asked last time.
async fn compute(
    ctx: &Context,
    module: &dyn Module,
    observation: &Observation,
    parent: &ObjectRef,
) -> Result<(Desired, Vec<Answer>), Failure> {
    let Memory { mut queries, actions, .. } = ctx.recall(parent);
    for _ in 0..QUERY_ROUNDS {
        let answers = observe::answers(ctx, observation, parent, &queries, &actions);
        let asked = answers.clone();
        let desired = module.reconcile(observation.snapshot(ctx, answers)).await?;
        if desired.queries.len().saturating_add(desired.actions.len()) > MOST_QUERIES {
            let why = format!(
                "they and the actions are more than {MOST_QUERIES}; ask for lists of objects, and for less else"
            );
            return Err(unusable(module, why));
        }
        if desired.queries == queries {
            return Ok((desired, asked));
        }
        queries.clone_from(&desired.queries);
        let memory = ctx.recall(parent);
        ctx.remember(parent, Memory { queries: queries.clone(), ..memory });
    }
    Err(unusable(module, format!("they still change after {QUERY_ROUNDS} rounds; make them depend on stable facts")))
}

fn unusable(module: &dyn Module, why: String) -> Failure {
    let kind = FailureKind::InvalidAnswer { place: "queries".into(), why };
    Failure { module: module.generation().clone(), function: "reconcile", kind }
}

async fn carry_out(
    ctx: &Context,
    module: &dyn Module,
    observation: &Observation,
    (desired, answers): (Desired, Vec<Answer>),
    plan: Plan,
) -> Result<Outcome, Error> {
    let name = &module.manifest().name;
    let parent = observation.parent.object_ref();
    let Applied { written, contended, mut versions } = match apply::apply(ctx, name, &plan).await {
        Ok(applied) => applied,
        Err(error) if error.is_invalid() => {
            // The server will refuse the same request again: somebody must change the object or the module first.
            let progress = Progress::Stalled { reason: "ApplyRefused", message: error.to_string() };
            return refuse(ctx, module, observation, Some(&desired), progress).await;
        }
        Err(error) => {
            if let Some(remedy) = error.remedy() {
                let message = format!("{error}; {remedy}");
                let progress = Progress::Stalled { reason: "ApplyRefused", message };
                refuse(ctx, module, observation, Some(&desired), progress).await?;
            }
            return Err(error);
        }
    };
    let acted = act(ctx, observation, &parent, &desired, &answers);
    let mut progress = Progress::of_plan(&plan);
    if let (Progress::Done, Some(again)) = (&progress, written.iter().find(|w| w.verb == "recreate")) {
        progress = Progress::Waiting(vec![format!("{}: to be created again", again.identity)]);
    }
    if let (Progress::Done, true) = (&progress, observation.finalizing) {
        progress = Progress::Waiting(vec!["the object is being deleted".into()]);
    }
    if !contended.is_empty() {
        let wait = contended.iter().map(|(_, wait)| *wait).min();
        let message = contended.into_iter().map(|(text, _)| text).collect::<Vec<_>>().join("; ");
        let progress = Progress::Stalled { reason: "Contended", message };
        let refused = refuse(ctx, module, observation, Some(&desired), progress).await?;
        return Ok(Outcome { written, requeue: sooner(wait, refused.requeue), ..refused });
    }
    let released = written.iter().any(|w| w.verb == "release");
    let reported = if released {
        ctx.forget(&parent);
        Reported::default()
    } else {
        report::report(ctx, name, observation, desired.status.as_ref(), &desired.conditions, &progress).await?
    };
    versions.extend(reported.version.map(|version| (parent.clone(), version)));
    let (reported, held) = (reported.version.is_some(), reported.wait);
    if !released && !versions.is_empty() {
        let awaited = Awaited::new(versions, ctx.clock.now());
        ctx.remember(&parent, Memory { awaited, ..ctx.recall(&parent) });
    }
    if ctx.spares && written.is_empty() && !reported && held.is_none() && !plan.writes() && desired.actions.is_empty() {
        let settled = Settled::new(ctx, module.generation(), observation, answers, &desired, progress.clone());
        let memory = ctx.recall(&parent);
        ctx.remember(&parent, Memory { settled: Some(Arc::new(settled)), ..memory });
    }
    let events = publish(ctx, module, observation, &parent, desired.events).await;
    debug!(writes = written.len(), reported, "reconciled");
    Ok(Outcome {
        plan: Some(plan),
        written,
        reported,
        acted,
        events,
        samples: desired.samples,
        requeue: sooner(desired.requeue, held),
        ..outcome(module, progress, true)
    })
}

/// Reports why nothing is applied. The parent keeps what it has.
async fn refuse(
    ctx: &Context,
    module: &dyn Module,
    observation: &Observation,
    desired: Option<&Desired>,
    progress: Progress,
) -> Result<Outcome, Error> {
    let (status, conditions) = desired.map_or((None, &[][..]), |d| (d.status.as_ref(), &d.conditions[..]));
    let name = &module.manifest().name;
    let reported = match report::report(ctx, name, observation, status, conditions, &progress).await {
        // Some kinds take no status without fields that only the module knows: then the event below has to tell.
        Err(error) if error.is_invalid() => {
            warn!(%error, "the status takes no condition");
            Reported::default()
        }
        other => other?,
    };
    let (reported, held) = (reported.version.is_some(), reported.wait);
    let mut events = Vec::new();
    // What the status tells already needs no event, such as after a restart.
    if let Progress::Stalled { reason, message } = &progress
        && !report::shows(observation, reason, message)
    {
        warn!(reason, why = message, "nothing was applied");
        let event = Event {
            type_: EventType::Warning,
            reason: (*reason).to_owned(),
            action: "Reconcile".to_owned(),
            message: message.clone(),
            regarding: None,
        };
        events = publish(ctx, module, observation, &observation.parent.object_ref(), vec![event]).await;
    }
    // Nothing in the cluster will change to bring it back.
    let requeue = matches!(progress, Progress::Waiting(_)).then_some(WAIT_SECONDS);
    Ok(Outcome { reported, events, requeue: sooner(requeue, held), ..outcome(module, progress, true) })
}

/// The smaller one.
fn sooner(one: Option<u32>, other: Option<u32>) -> Option<u32> {
    one.into_iter().chain(other).min()
}

fn outcome(module: &dyn Module, progress: Progress, exists: bool) -> Outcome {
    Outcome {
        generation: module.generation().clone(),
        plan: None,
        progress,
        written: Vec::new(),
        reported: false,
        acted: false,
        events: Vec::new(),
        samples: Vec::new(),
        exists,
        requeue: None,
        spared: false,
    }
}

/// Has the actions of an answer done; gives whether one of them is news to the module.
fn act(ctx: &Context, observation: &Observation, parent: &ObjectRef, desired: &Desired, answers: &[Answer]) -> bool {
    // The plan was made, so all of them are granted.
    let news =
        desired.actions.iter().map(|action| ctx.outside.act(observation.asker(parent), action).answer(&action.id));
    let news = news.filter(|news| !answers.iter().any(|old| old.id == news.id && old.outcome == news.outcome)).count();
    let memory = ctx.recall(parent);
    ctx.remember(parent, Memory { actions: desired.actions.clone(), ..memory });
    news != 0
}

/// Publishes the events that the previous answer did not have. A lost event is logged, never a failed reconcile.
async fn publish(
    ctx: &Context,
    module: &dyn Module,
    observation: &Observation,
    parent: &ObjectRef,
    events: Vec<Event>,
) -> Vec<Event> {
    let memory = ctx.recall(parent);
    let fresh: Vec<Event> = events.iter().filter(|event| !memory.events.contains(event)).cloned().collect();
    for event in &fresh {
        let uid = &observation.parent.metadata.uid;
        if let Err(error) = report::publish(ctx, &module.manifest().name, parent, uid, event).await {
            warn!(%error, reason = event.reason, "an event was lost");
        }
    }
    ctx.remember(parent, Memory { events, ..memory });
    fresh
}
