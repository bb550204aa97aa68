//! From watches to reconciles: which change wakes which parent, and who does the work.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::{Duration, Instant},
};

use kube::Client;
use operator_core::{
    Absent, BoxFuture, Document, Event, EventType, Module, ObjectRef, contract::Manifest, rights, status::Progress,
};
use tokio::{
    sync::{mpsc, watch::Receiver, watch::Sender},
    task::JoinSet,
};
use tracing::{error, info, warn};

use crate::{
    Cache, Clock, Error, Outcome, Outside,
    background::background,
    lease::leadership_lost,
    queue::{Class, Queue},
    reconcile::reconcile,
    report,
    rights::lacking,
    store::{Change, Kind, Store},
    unit::Unit,
    watch::{self, Listener},
};

/// Reconciles of one module at a time.
const WORKERS: usize = 16;
/// Everything is looked at again after so long, in case a change was missed.
const RESYNC: Duration = Duration::from_mins(10);
/// A resync is spread over so long.
const SPREAD: Duration = Duration::from_mins(2);
/// Missing rights are asked for again after so long.
const RECHECK: Duration = Duration::from_mins(1);
/// After the signal to stop, a reconcile under way may take so long. Nearly all take milliseconds; the next replica waits meanwhile.
const LAST_WORK: Duration = Duration::from_secs(2);
/// One reconcile may take so long, whatever the API server does.
const LONGEST_RECONCILE: Duration = Duration::from_mins(2);

/// Hears what became of each reconcile.
pub trait Witness: Send + Sync {
    /// One reconcile ended.
    fn reconciled(&self, module: &str, parent: &ObjectRef, result: &Result<Outcome, Error>, took: Duration);

    /// A parent does not exist any more.
    fn gone(&self, module: &str, parent: &ObjectRef);

    /// This replica does not lead any more: what it heard of parents is another one's to tell.
    fn leads_no_more(&self) {}
}

/// Why the operator had to stop.
#[derive(Debug, thiserror::Error)]
#[error("the task {0} ended although nobody asked it to; the process ends so that it is started again")]
pub struct TaskEnded(String);

/// What an operator works with.
pub struct Surroundings {
    /// For watches: without a limit to how long an answer takes.
    pub watching: Client,
    /// The server ends a watch after so many seconds; a connection that died silently is noticed a little later.
    pub watch_seconds: u32,
    /// For everything else.
    pub client: Client,
    /// What is known of the cluster.
    pub store: Arc<Store>,
    /// Logs, commands and servers.
    pub outside: Arc<dyn Outside>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The operator's own namespace.
    pub namespace: String,
    /// Hears what became of each reconcile.
    pub witness: Arc<dyn Witness>,
}

/// Runs modules against a cluster: one cache and one watch a kind, one queue a module.
pub struct Operator {
    around: Surroundings,
    units: RwLock<HashMap<String, Arc<Unit>>>,
    watches: Mutex<HashMap<Kind, Sender<bool>>>,
    /// What the operator may not do, by module.
    lacking: Mutex<BTreeMap<String, Vec<String>>>,
    tasks: mpsc::UnboundedSender<Task>,
    leading: Receiver<bool>,
}

/// A background task: its name, and what it does. It gives whether it was meant to end.
struct Task {
    name: String,
    work: BoxFuture<'static, bool>,
}

/// Carries the operator's background tasks. Has to be run for anything to happen.
pub struct Tasks(mpsc::UnboundedReceiver<Task>);

impl Operator {
    /// An operator without modules. Nothing is written while `leading` is false.
    pub fn new(around: Surroundings, leading: Receiver<bool>) -> (Arc<Self>, Tasks) {
        let (tasks, receiver) = mpsc::unbounded_channel();
        // Written, never watched.
        around.store.serve(&("events.k8s.io/v1".to_owned(), "Event".to_owned()), "events".to_owned(), true);
        let (units, watches, lacking) = (RwLock::default(), Mutex::default(), Mutex::default());
        let operator = Self { around, units, watches, lacking, tasks, leading };
        (Arc::new(operator), Tasks(receiver))
    }

    /// What is known of the cluster.
    pub fn store(&self) -> &Arc<Store> {
        &self.around.store
    }

    /// Kinds that are needed but not complete, each with the reason; empty when modules can work. A kind that the server refuses
    /// is missing only when it leaves no module at work: the others are not to suffer from it.
    pub fn missing(&self) -> Vec<String> {
        let kinds: BTreeSet<Kind> = self.watches().keys().cloned().collect();
        let mut missing = self.around.store.missing(&kinds);
        let units = self.units();
        if units.iter().all(|unit| unit.kinds().any(|kind| self.around.store.refusal(kind).is_some())) {
            missing.extend(self.refused());
        }
        missing
    }

    /// Kinds that the server refuses, each with the reason.
    pub fn refused(&self) -> Vec<String> {
        let kinds: BTreeSet<Kind> = self.watches().keys().cloned().collect();
        kinds.iter().filter_map(|kind| self.around.store.refusal(kind)).collect()
    }

    /// Publishes a warning about the operator itself, on its pod or else on its namespace. A lost one is logged.
    pub async fn announce(&self, pod: Option<&str>, reason: &'static str, message: &str) {
        let namespace = &self.around.namespace;
        let regarding = pod.map_or_else(
            || ObjectRef::cluster("v1", "Namespace", namespace),
            |pod| ObjectRef::namespaced("v1", "Pod", namespace, pod),
        );
        let event = Event {
            type_: EventType::Warning,
            reason: reason.to_owned(),
            action: "Serve".to_owned(),
            message: message.to_owned(),
            regarding: None,
        };
        let (client, store) = (&self.around.client, &*self.around.store);
        if let Err(error) = report::announce(client, store, &regarding, &event, self.around.clock.now()).await {
            warn!(%error, reason, "an event was lost");
        }
    }

    /// Rights that modules need and the operator lacks, as far as the API server was asked.
    pub fn lacking(&self) -> Vec<String> {
        let lacking = self.lacking.lock().unwrap_or_else(PoisonError::into_inner);
        lacking
            .iter()
            .flat_map(|(module, lines)| lines.iter().map(move |line| format!("module {module}: {line}")))
            .collect()
    }

    /// Asks for the rights of a module; a right that is missing costs only what needs it, so nothing waits for the answer.
    fn check_rights(self: &Arc<Self>, module: Arc<dyn Module>) {
        let operator = Arc::clone(self);
        self.start(format!("rights of {}", module.manifest().name), async move {
            operator.ask_for_rights(&*module).await;
            true
        });
    }

    /// Asks again for rights that were missing.
    fn recheck_rights(self: &Arc<Self>) {
        let missing = |unit: &Arc<Unit>| {
            let module = unit.ctx.module.current();
            let lacking = self.lacking.lock().unwrap_or_else(PoisonError::into_inner);
            lacking.get(&module.manifest().name).is_some_and(|lines| !lines.is_empty()).then_some(module)
        };
        let modules: Vec<Arc<dyn Module>> = self.units().iter().filter_map(missing).collect();
        for module in modules {
            self.check_rights(module);
        }
    }

    async fn ask_for_rights(&self, module: &dyn Module) {
        let manifest = module.manifest();
        let needed = rights::needed(manifest, &manifest.grants);
        let lacking = match lacking(&self.around.client, &self.around.store, &needed).await {
            Ok(lacking) => lacking,
            Err(error) => return warn!(module = manifest.name, error, "rights could not be checked"),
        };
        let mut known = self.lacking.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.insert(manifest.name.clone(), lacking.clone());
        tell_of_rights(&manifest.name, before.as_deref(), &lacking);
    }

    /// Whether no module serves.
    pub fn is_idle(&self) -> bool {
        self.units().iter().all(|unit| unit.stands_in())
    }

    /// The module that reconciles one of these kinds already, and the kind: two would undo each other's work.
    pub fn rival(&self, manifest: &Manifest) -> Option<(String, String)> {
        let units = self.units();
        let others = units.iter().filter(|unit| unit.name() != manifest.name && !unit.stands_in());
        let mut taken = others.flat_map(|unit| unit.parents().map(|kind| (unit.name(), kind)));
        let wants = |(api_version, kind): &Kind| {
            manifest.kinds.iter().any(|wanted| wanted.kind == *kind && group(&wanted.api_version) == group(api_version))
        };
        taken.find(|(_, kind)| wants(kind)).map(|(module, (api_version, kind))| {
            let group = group(api_version);
            (module.to_owned(), if group.is_empty() { kind.clone() } else { format!("{kind}.{group}") })
        })
    }

    /// Serves a module from now on; the one that serves under its name ends with its last call. Its parents are looked at again.
    /// After `release_after`, a parent that is being deleted is let go although its module fails.
    pub fn serve(self: &Arc<Self>, module: Arc<dyn Module>, settings: Document, release_after: Option<Duration>) {
        self.check_rights(Arc::clone(&module));
        let before = self.unit(&module.manifest().name);
        let cache = Arc::clone(&self.around.store) as Arc<dyn Cache>;
        self.put(Unit::new(&self.around, cache, module, (settings, release_after), before.as_deref()));
    }

    /// Has parents told why nobody serves their kind.
    pub fn stand_in(self: &Arc<Self>, absent: Absent, release_after: Option<Duration>) {
        let before = self.unit(&absent.manifest().name);
        let (cache, settings) = (Arc::clone(&self.around.store) as Arc<dyn Cache>, Document::new(&b"{}"[..]));
        let module = Arc::new(absent);
        let unit = Unit::new(&self.around, cache, module, (settings, release_after), before.as_deref());
        self.put(unit.standing_in());
    }

    /// Puts a unit in the place of the one before it, if there is one. Where another module has taken over a kind, nobody need say any more
    /// that none serves it.
    fn put(self: &Arc<Self>, unit: Unit) {
        let (name, unit) = (unit.name().to_owned(), Arc::new(unit));
        let before = {
            let mut units = self.units.write().unwrap_or_else(PoisonError::into_inner);
            let takes = |other: &Unit| other.parents().any(|kind| unit.serves(&kind.0, &kind.1));
            units.retain(|other, old| {
                let stays = *other == name || !old.stands_in() || !takes(old);
                if !stays {
                    old.queue.close();
                }
                stays
            });
            units.insert(name.clone(), Arc::clone(&unit))
        };
        if before.as_ref().is_some_and(|before| before.ctx.grants != unit.ctx.grants) {
            // What is under way was allowed by the grants before. Not sooner than here: until now it could be asked anew.
            self.around.outside.revoke(&name);
        }
        self.follow();
        if before.is_none() {
            for number in 0..WORKERS {
                let (operator, queue, name) = (Arc::clone(self), Arc::clone(&unit.queue), name.clone());
                self.start(format!("worker {number} of {name}"), async move { operator.work(&name, &queue).await });
            }
        }
        unit.wake_all(&self.around.store, Class::Again);
    }

    /// Brings a parent back, such as when an answer from outside has come.
    pub fn wake(&self, parent: &ObjectRef) {
        for unit in self.units() {
            if unit.serves(&parent.api_version, &parent.kind) {
                unit.queue.push(parent.clone(), Class::Change);
            }
        }
    }

    fn wake_all_that_need(&self, kind: &Kind) {
        for unit in self.units().iter().filter(|unit| unit.kinds().any(|needed| needed == kind)) {
            unit.wake_all(&self.around.store, Class::Again);
        }
    }

    /// Looks at everything again, in case a change was missed.
    fn resync(&self) {
        self.units().iter().for_each(|unit| unit.wake_within(&self.around.store, SPREAD));
    }

    /// What happened while another replica led was not answered by this one.
    fn took_over(&self, leads: bool) {
        if leads {
            self.units().iter().for_each(|unit| unit.wake_all(&self.around.store, Class::Again));
        } else {
            self.around.witness.leads_no_more();
        }
    }

    /// No parent is taken any more, and nothing watched.
    fn close(&self) {
        self.units().iter().for_each(|unit| unit.queue.close());
        self.watches().values().for_each(|watch| {
            watch.send_replace(true);
        });
    }

    fn unit(&self, name: &str) -> Option<Arc<Unit>> {
        self.units.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn units(&self) -> Vec<Arc<Unit>> {
        self.units.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn watches(&self) -> MutexGuard<'_, HashMap<Kind, Sender<bool>>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches what modules need, and nothing else.
    fn follow(self: &Arc<Self>) {
        let needed: BTreeSet<Kind> =
            self.units().iter().flat_map(|unit| unit.kinds().cloned().collect::<Vec<_>>()).collect();
        let mut watches = self.watches();
        watches.retain(|kind, stop| {
            let wanted = needed.contains(kind);
            if !wanted {
                stop.send_replace(true);
                self.around.store.forget(kind);
            }
            wanted
        });
        for kind in needed {
            if watches.contains_key(&kind) {
                continue;
            }
            let (stop, stopped) = tokio::sync::watch::channel(false);
            watches.insert(kind.clone(), stop);
            let (client, store) = (self.around.watching.clone(), Arc::clone(&self.around.store));
            let (listener, asked) = (Arc::clone(self) as Arc<dyn Listener>, stopped.clone());
            let seconds = self.around.watch_seconds;
            self.start(format!("watch of {} {}", kind.0, kind.1), async move {
                watch::watch(client, store, kind, seconds, listener, stopped).await;
                *asked.borrow()
            });
        }
    }

    fn start(&self, name: String, work: impl Future<Output = bool> + Send + 'static) {
        // Without a receiver the operator has stopped.
        drop(self.tasks.send(Task { name, work: Box::pin(work) }));
    }

    /// Takes one parent after the other; true at the end, when the queue is closed.
    async fn work(&self, module: &str, queue: &Queue) -> bool {
        let mut leading = self.leading.clone();
        loop {
            if leading.wait_for(|leading| *leading).await.is_err() {
                return true;
            }
            let Some(parent) = queue.next().await else { return true };
            let (Some(unit), true) = (self.unit(module), *leading.borrow()) else {
                queue.push(parent.clone(), Class::Again);
                queue.done(&parent, None);
                continue;
            };
            let started = Instant::now();
            let ctx = Arc::clone(&unit.ctx);
            let result = tokio::select! {
                biased;
                // Whatever it would still write, another replica may write by then.
                () = leadership_lost(&mut leading) => {
                    queue.push(parent.clone(), Class::Again);
                    queue.done(&parent, None);
                    continue;
                }
                result = tokio::time::timeout(LONGEST_RECONCILE, reconcile(&ctx, &parent)) => result,
            };
            let result =
                result.unwrap_or_else(|_| Err(Error::TooSlow { identity: parent.clone(), limit: LONGEST_RECONCILE }));
            self.around.witness.reconciled(module, &parent, &result, started.elapsed());
            self.settle(module, queue, &parent, result);
        }
    }

    /// When a parent comes back after a reconcile.
    fn settle(&self, module: &str, queue: &Queue, parent: &ObjectRef, result: Result<Outcome, Error>) {
        match result {
            Ok(outcome) if !outcome.exists => {
                self.around.witness.gone(module, parent);
                if let Some(unit) = self.unit(module) {
                    unit.forget(parent);
                }
                queue.done(parent, None);
            }
            Ok(outcome) => match outcome.progress {
                // The same input would stall again; a change brings it back.
                Progress::Stalled { .. } if outcome.requeue.is_none() => queue.stalled(parent),
                Progress::Done | Progress::Waiting(_) | Progress::Stalled { .. } => {
                    queue.done(parent, outcome.requeue.map(|seconds| Duration::from_secs(seconds.into())));
                }
            },
            // The kind's first complete list brings all parents back.
            Err(Error::NotSynced { .. }) => queue.done(parent, None),
            Err(error) => {
                let wait = queue.failed(parent);
                warn!(module, object = %parent, %error, retry_ms = wait.as_millis(), "a reconcile did not go through");
            }
        }
    }
}

fn group(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// Names each right that is newly missing, and says once for a module that its rights are known.
fn tell_of_rights(module: &str, before: Option<&[String]>, lacking: &[String]) {
    let told = before.unwrap_or_default();
    for right in lacking.iter().filter(|right| !told.contains(right)) {
        error!(module, right, "a right is missing; add it to the operator's role");
    }
    if before.is_none() {
        info!(module, missing = lacking.len(), "rights are checked");
    }
}

impl Listener for Operator {
    fn changed(&self, kind: &Kind, change: &Change, first_list: bool) {
        for unit in self.units() {
            unit.changed(kind, change, first_list);
        }
    }

    fn synced(&self, kind: &Kind) {
        info!(api_version = kind.0, kind = kind.1, "listed");
        self.wake_all_that_need(kind);
    }

    fn refused(&self, kind: &Kind) {
        self.wake_all_that_need(kind);
    }
}

impl Tasks {
    /// Runs everything until `stop` is true; then no parent is taken any more, and what is under way is finished, or cancelled when that
    /// takes longer than a moment. Once this ends, nothing is written any more.
    ///
    /// # Errors
    /// When a task ends that should not.
    pub async fn run(mut self, operator: &Arc<Operator>, mut stop: Receiver<bool>) -> Result<(), TaskEnded> {
        let mut running: JoinSet<(String, bool)> = JoinSet::new();
        let mut names: BTreeMap<tokio::task::Id, String> = BTreeMap::new();
        let mut leading = operator.leading.clone();
        let (mut resync, mut recheck) = (tokio::time::interval(RESYNC), tokio::time::interval(RECHECK));
        loop {
            tokio::select! {
                Some(Task { name, work }) = self.0.recv() => {
                    let task = running.spawn({
                        let name = name.clone();
                        async move {
                            let meant = background(&name, work).await;
                            (name, meant)
                        }
                    });
                    names.insert(task.id(), name);
                }
                Some(ended) = running.join_next_with_id() => match ended {
                    Ok((id, (_, true))) => drop(names.remove(&id)),
                    Ok((_, (name, false))) => return Err(TaskEnded(name)),
                    Err(failed) => {
                        let name = names.remove(&failed.id()).unwrap_or_default();
                        error!(task = name, "a task panicked");
                        return Err(TaskEnded(name));
                    }
                },
                _ = resync.tick() => operator.resync(),
                Ok(()) = leading.changed() => operator.took_over(*leading.borrow_and_update()),
                _ = recheck.tick() => operator.recheck_rights(),
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        operator.close();
        finish(running).await;
        operator.around.outside.end().await;
        Ok(())
    }
}

/// Waits a moment for what is under way, and cancels the rest of it.
async fn finish(mut running: JoinSet<(String, bool)>) {
    let finished = async { while running.join_next().await.is_some() {} };
    if tokio::time::timeout(LAST_WORK, finished).await.is_err() {
        warn!(after_s = LAST_WORK.as_secs(), "work under way is cancelled");
        running.shutdown().await;
    }
}
