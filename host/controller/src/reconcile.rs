//! The pipeline: observe → compute → plan → apply → report. Nothing else knows the order.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::jiff::Timestamp;
use operator_core::{
    Action, Answer, Desired, Document, Event, EventType, Failure, FailureKind, Generation, Module, ObjectRef, Plan,
    Query, Rejection, Sample, Serving,
    contract::Grants,
    inventory::{self, Inventory},
    plan::{self, plan as decide},
    status::Progress,
};
use tracing::{Instrument, debug, info_span, warn};

use crate::{
    Cache, Clock, Error, Outside,
    apply::{self, Applied, Written},
    contention::Contention,
    memory::{Memories, Memory},
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

/// A module may ask to be called again after so many seconds at the soonest, and at the latest: a module that asks for 0 would keep its
/// parent busy, and one that asks for years would not mean it.
const SOONEST: u32 = 1;
const LATEST: u32 = 24 * 60 * 60;

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
    /// After so long, a parent that is being deleted is let go although its module fails.
    pub(crate) release_after: Option<Duration>,
    pub(crate) contention: Contention,
    /// Whether a reconcile that would change nothing is left out.
    spares: bool,
    pub(crate) memories: Memories,
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
    pub samples: Arc<[Sample]>,
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
        let (contention, spares, memories) = (Contention::default(), false, Memories::default());
        let release_after = None;
        Self {
            client,
            cache,
            outside,
            clock,
            module,
            grants,
            settings,
            namespace,
            release_after,
            contention,
            spares,
            memories,
        }
    }

    /// Lets go of parents that are being deleted, so long after their deletion, when their module fails to clean up after them.
    #[must_use]
    pub fn releasing_after(self, release_after: Option<Duration>) -> Self {
        Self { release_after, ..self }
    }

    /// Leaves out reconciles that would change nothing: the module is not called again with what it answered before.
    #[must_use]
    pub fn sparing(self) -> Self {
        Self { spares: true, ..self }
    }

    fn forget(&self, parent: &ObjectRef) {
        self.memories.forget(parent);
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
    if is_behind(ctx, parent) {
        let progress = Progress::Waiting(vec!["what was written is not seen yet".to_owned()]);
        return Ok(Outcome { requeue: Some(1), ..outcome(module, progress, true) });
    }
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
        return fail(ctx, module, &observation, progress).await;
    }
    let Memory { queries, actions, settled, known, .. } = ctx.memories.recall(parent, Memory::clone);
    let answers = observe::answers(ctx, &observation, parent, &queries, &actions);
    if let Some(settled) = settled.filter(|_| ctx.spares)
        && settled.holds(ctx, module.generation(), &observation, &answers)
    {
        let (requeue, samples) = (settled.requeue, settled.samples.clone());
        return Ok(Outcome { requeue, samples, spared: true, ..outcome(module, settled.progress.clone(), true) });
    }
    let (desired, answers) = match compute(ctx, module, &observation, parent, (queries, &actions, answers)).await {
        Ok(computed) => computed,
        Err(failure) => return fail(ctx, module, &observation, Progress::of_failure(&failure)).await,
    };
    ctx.outside.keep(parent, &desired.queries, &desired.actions);
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
        known: &known,
    };
    let decided = decide(input);
    let named = in_its_way(&desired, decided.as_ref().err());
    ctx.memories.change(parent, |memory| memory.named = named);
    match decided {
        Ok(plan) => carry_out(ctx, module, &observation, (desired, answers, existing), plan).await,
        Err(rejection) => fail(ctx, module, &observation, Progress::of_rejection(&manifest.name, &rejection)).await,
    }
}

/// Whether caches do not show yet what the last reconcile wrote. A parent that does not exist any more waits for nothing.
fn is_behind(ctx: &Context, parent: &ObjectRef) -> bool {
    let (mut waits, now) = (false, ctx.clock.now());
    ctx.memories.change(parent, |memory| waits = memory.awaited.waits(&*ctx.cache, now));
    waits && ctx.cache.get(parent).is_some()
}

/// Objects beside its own whose changes concern a parent: those that it sets fields on, and those that it wants and cannot have.
fn in_its_way(desired: &Desired, rejection: Option<&Rejection>) -> Arc<[ObjectRef]> {
    let taken = match rejection {
        Some(Rejection::OwnedByOther { identity, .. }) => std::slice::from_ref(identity),
        Some(Rejection::AlreadyExists { objects, .. }) => objects,
        _ => &[],
    };
    desired.partials.iter().map(|partial| &partial.identity).chain(taken).cloned().collect()
}

/// Calls the module until its questions settle, starting from the answers to what it asked last time.
async fn compute(
    ctx: &Context,
    module: &dyn Module,
    observation: &Observation,
    parent: &ObjectRef,
    (mut asked, actions, mut answers): (Arc<[Query]>, &[Action], Arc<[Answer]>),
) -> Result<(Desired, Arc<[Answer]>), Failure> {
    for _ in 0..QUERY_ROUNDS {
        let mut desired = module.reconcile(observation.snapshot(ctx, Arc::clone(&answers))).await?;
        desired.requeue = desired.requeue.map(|seconds| seconds.clamp(SOONEST, LATEST));
        if desired.queries.len().saturating_add(desired.actions.len()) > MOST_QUERIES {
            let why = format!(
                "they and the actions are more than {MOST_QUERIES}; ask for lists of objects, and for less else"
            );
            return Err(unusable(module, why));
        }
        if desired.queries == *asked {
            return Ok((desired, answers));
        }
        asked = desired.queries.into();
        ctx.memories.change(parent, |memory| memory.queries = Arc::clone(&asked));
        answers = observe::answers(ctx, observation, parent, &asked, actions);
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
    (desired, answers, existing): (Desired, Arc<[Answer]>, BTreeMap<ObjectRef, Document>),
    mut plan: Plan,
) -> Result<Outcome, Error> {
    let name = &module.manifest().name;
    let parent = observation.parent.object_ref();
    let known = Arc::new(std::mem::take(&mut plan.known));
    ctx.memories.change(&parent, |memory| memory.known = known);
    let mut applied = Applied::default();
    let done = apply::apply(ctx, name, &plan, &mut applied).await;
    let Applied { written, contended, versions, left } = applied;
    if !versions.is_empty() {
        // Also when an error ended it early: what was written before is not to be written again.
        let now = ctx.clock.now();
        ctx.memories.change(&parent, |memory| memory.awaited.push(versions, now));
    }
    if let Err(error) = done {
        return refused(ctx, module, observation, &desired, error).await;
    }
    let acted = act(ctx, observation, &parent, &desired, &answers);
    let mut progress = Progress::of_plan(&plan);
    if let (Progress::Done, Some(again)) = (&progress, written.iter().find(|w| w.verb == "recreate")) {
        progress = Progress::Waiting(vec![format!("{}: to be created again", again.identity)]);
    }
    if let (Progress::Done, true) = (&progress, observation.finalizing) {
        progress = Progress::Waiting(vec!["the object is being deleted".into()]);
    }
    if !left.is_empty() {
        progress = match progress {
            Progress::Waiting(lines) if !observation.finalizing => Progress::Waiting([lines, left.clone()].concat()),
            _ => Progress::Waiting(left.clone()),
        };
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
    if let Some(version) = reported.version {
        let now = ctx.clock.now();
        ctx.memories.change(&parent, |memory| memory.awaited.push([(parent.clone(), version)], now));
    }
    let (reported, held) = (reported.version.is_some(), reported.wait);
    let changes_nothing = written.is_empty() && !reported && held.is_none() && !plan.writes() && left.is_empty();
    if ctx.spares && changes_nothing && desired.actions.is_empty() {
        let settled = Settled::new(module.generation(), observation, (&desired, answers, &existing), progress.clone());
        ctx.memories.change(&parent, |memory| memory.settled = Some(Arc::new(settled)));
    }
    let events = publish(ctx, module, observation, &parent, desired.events).await;
    debug!(writes = written.len(), reported, "reconciled");
    Ok(Outcome {
        plan: Some(plan),
        written,
        reported,
        acted,
        events,
        samples: desired.samples.into(),
        // No event need come for what only the server knows of.
        requeue: sooner(sooner(desired.requeue, held), (!left.is_empty()).then_some(WAIT_SECONDS)),
        ..outcome(module, progress, true)
    })
}

/// What becomes of a parent of which the server does not take something.
async fn refused(
    ctx: &Context,
    module: &dyn Module,
    observation: &Observation,
    desired: &Desired,
    error: Error,
) -> Result<Outcome, Error> {
    if error.is_invalid() {
        // The server will refuse the same request again: somebody must change the object or the module first.
        let progress = Progress::Stalled { reason: "ApplyRefused", message: error.to_string() };
        return refuse(ctx, module, observation, Some(desired), progress).await;
    }
    let mut tries = 0;
    ctx.memories.change(&observation.parent.object_ref(), |memory| {
        memory.refusals = memory.refusals.saturating_add(1);
        tries = memory.refusals;
    });
    if let Some(remedy) = error.remedy(tries) {
        let progress = Progress::Stalled { reason: "ApplyRefused", message: format!("{error}; {remedy}") };
        refuse(ctx, module, observation, Some(desired), progress).await?;
    }
    Err(error)
}

/// Reports why nothing is applied; a parent that has been waiting to be deleted for as long as the administrator allows is let go.
async fn fail(
    ctx: &Context,
    module: &dyn Module,
    observation: &Observation,
    progress: Progress,
) -> Result<Outcome, Error> {
    let left = time_left(ctx, observation);
    if let (Progress::Stalled { message, .. }, Some(0)) = (&progress, left) {
        return abandon(ctx, module, observation, message).await;
    }
    let refused = refuse(ctx, module, observation, None, progress).await?;
    Ok(Outcome { requeue: sooner(left, refused.requeue), ..refused })
}

/// Seconds until a parent is let go that its module does not clean up after; none when it is not being deleted, or stays for ever.
fn time_left(ctx: &Context, observation: &Observation) -> Option<u32> {
    let deleted: Timestamp = observation.parent.metadata.deletion_timestamp.as_ref()?.parse().ok()?;
    let waited = ctx.clock.now().saturating_sub(deleted.as_second());
    let limit = i64::try_from(ctx.release_after?.as_secs()).unwrap_or(i64::MAX);
    Some(u32::try_from(limit.saturating_sub(waited).max(0)).unwrap_or(u32::MAX))
}

/// Takes the finalizer off, and says what may be left behind.
async fn abandon(ctx: &Context, module: &dyn Module, observation: &Observation, why: &str) -> Result<Outcome, Error> {
    let (name, parent) = (&module.manifest().name, observation.parent.object_ref());
    let inventory = Inventory::read(&observation.parent.metadata.annotations);
    let joined = |names: &BTreeSet<String>| names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let message = format!(
        "the finalizer is taken off by finalizers.releaseAfter, since the module did not clean up: {why}; what may be left ({}; other \
         namespaces: {}) carries the label {}={}",
        joined(&inventory.group_kinds),
        joined(&inventory.namespaces),
        inventory::PART_OF,
        inventory::id(&parent),
    );
    let event = Event {
        type_: EventType::Warning,
        reason: "FinalizerReleased".to_owned(),
        action: "Release".to_owned(),
        message,
        regarding: None,
    };
    warn!(why = event.message, "the finalizer is released by rule");
    let events = publish(ctx, module, observation, &parent, vec![event]).await;
    apply::abandon(ctx, name, &observation.parent).await?;
    ctx.forget(&parent);
    let progress = Progress::Waiting(vec!["the object is being deleted".to_owned()]);
    let written = vec![Written { identity: parent, verb: "release" }];
    Ok(Outcome { written, events, ..outcome(module, progress, true) })
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
        samples: Arc::default(),
        exists,
        requeue: None,
        spared: false,
    }
}

/// Has the actions of an answer done; gives whether one of them is news to the module.
fn act(ctx: &Context, observation: &Observation, parent: &ObjectRef, desired: &Desired, answers: &[Answer]) -> bool {
    let name = Arc::clone(&ctx.module.current().generation().name);
    // The plan was made, so all of them are granted.
    let news = desired
        .actions
        .iter()
        .map(|action| ctx.outside.act(observation.asker(ctx, &name, parent), action).answer(&action.id));
    let news = news.filter(|news| !answers.iter().any(|old| old.id == news.id && old.outcome == news.outcome)).count();
    ctx.memories.change(parent, |memory| {
        memory.actions = desired.actions.clone().into();
        memory.refusals = 0;
    });
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
    let told = ctx.memories.recall(parent, |memory| Arc::clone(&memory.events));
    let fresh: Vec<Event> = events.iter().filter(|event| !told.contains(event)).cloned().collect();
    for event in &fresh {
        let uid = &observation.parent.metadata.uid;
        if let Err(error) = report::publish(ctx, &module.manifest().name, parent, uid, event).await {
            warn!(%error, reason = event.reason, "an event was lost");
        }
    }
    ctx.memories.change(parent, |memory| memory.events = events.into());
    fresh
}
