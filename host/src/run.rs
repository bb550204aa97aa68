//! Puts the parts together, keeps them running, and ends them in order.

use std::{sync::Arc, time::Duration};

use cap_std::{ambient_authority, fs::Dir};
use kube::{Client, Config};
use operator_controller::{Beyond, Clock, Lease, Operator, Store, Surroundings, Tasks, versions};
use operator_engine::{Compiler, Engine, EngineConfig};
use operator_webhook::Bindings;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    task::JoinSet,
};
use tracing::{info, warn};

use crate::{
    args::Run,
    failure::Failure,
    metrics::Metrics,
    modules::Modules,
    serve::{Answer, Server, verdict},
    webhooks::{Around, Webhooks},
};

/// One answer of the API server may take so long; watches apart.
const ANSWER: Duration = Duration::from_secs(30);
/// A reconcile under way may take so long after SIGTERM, before the process ends without it.
const LAST_WORK: Duration = Duration::from_secs(6);

pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> i64 {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.ok().and_then(|now| i64::try_from(now.as_secs()).ok()).unwrap_or_default()
    }
}

/// Runs until a signal, or until something ends that should not.
pub(crate) async fn run(arguments: Run) -> Result<(), Failure> {
    let (watching, client) = clients().await?;
    let namespace = arguments.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
    let store = Arc::new(Store::default());
    let served =
        versions(&client).await.map_err(|why| Failure::Cluster(format!("{why}; check address and credentials")))?;
    store.serve_versions(served);
    let metrics = Metrics::new();
    let (wake, woken) = mpsc::unbounded_channel();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let surroundings = Surroundings {
        watching,
        client: client.clone(),
        store: Arc::clone(&store),
        outside: Arc::new(Beyond::new(client.clone(), store, Arc::clone(&clock), wake)),
        clock,
        namespace: namespace.clone(),
        witness: Arc::clone(&metrics) as Arc<dyn operator_controller::Witness>,
    };
    let (leading, leads) = watch::channel(!arguments.leader_elect);
    let (operator, tasks) = Operator::new(surroundings, leads.clone());
    let (tell, told) = mpsc::unbounded_channel();
    let bindings = Arc::new(Bindings::default());
    let modules = Arc::new(modules(&arguments, &operator, &bindings, &metrics, tell.clone())?);
    let (stopping, stop) = watch::channel(false);
    let mut parts = Parts { stop: stop.clone(), running: JoinSet::new() };
    let around = Around {
        client: client.clone(),
        namespace: namespace.clone(),
        bindings: Arc::clone(&bindings),
        leads,
        metrics: Arc::clone(&metrics),
        tell,
    };
    let (webhooks, answering) = Webhooks::start(&mut parts, &arguments.webhooks, around).await?.unzip();
    serve(&mut parts, &arguments, &operator, &modules, &metrics, webhooks.as_ref()).await?;
    parts.add("the folder of modules", {
        let (modules, stop) = (Arc::clone(&modules), stop.clone());
        async move {
            let first = Arc::clone(&modules);
            drop(tokio::task::spawn_blocking(move || first.look()).await);
            bindings.complete();
            modules.follow(stop).await;
        }
    });
    parts.add("announcing", announce(Arc::clone(&operator), arguments.identity.clone(), told, stop.clone()));
    parts.add("waking parents", awaken(Arc::clone(&operator), woken, stop.clone()));
    let (lease_stopping, lease_stop) = watch::channel(false);
    let lease = arguments.leader_elect.then(|| {
        let identity = arguments.identity.clone().unwrap_or_else(own_name);
        let lease = Lease::new(client, &namespace, &arguments.lease_name, &identity);
        tokio::spawn(async move { lease.hold(&leading, lease_stop).await })
    });
    let lasting = [("the lease's task", lease.as_ref()), ("the webhook server", answering.as_ref())];
    let outcome = supervise(tasks, &operator, parts, stopping, &lasting).await;
    // Only now, when nothing writes any more, may another replica begin.
    lease_stopping.send_replace(true);
    if let Some(lease) = lease {
        drop(lease.await);
    }
    // Last, as API servers may send requests to this replica for a while.
    if let Some(answering) = answering {
        drop(answering.await);
    }
    outcome
}

/// Background tasks besides the operator's own.
pub(crate) struct Parts {
    pub(crate) stop: watch::Receiver<bool>,
    running: JoinSet<&'static str>,
}

impl Parts {
    pub(crate) fn add(&mut self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.running.spawn(async move {
            work.await;
            name
        });
    }
}

/// Waits for a signal or for an end that nobody asked for; then ends everything in order.
async fn supervise(
    tasks: Tasks,
    operator: &Arc<Operator>,
    mut parts: Parts,
    stopping: watch::Sender<bool>,
    lasting: &[(&str, Option<&tokio::task::JoinHandle<()>>)],
) -> Result<(), Failure> {
    let signals = |error: std::io::Error| Failure::Ended(format!("signals cannot be received: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(signals)?;
    let mut look = tokio::time::interval(Duration::from_secs(1));
    let stop = parts.stop.clone();
    let mut work = std::pin::pin!(tasks.run(operator, stop));
    let outcome = loop {
        tokio::select! {
            _ = terminate.recv() => break Ok(()),
            _ = interrupt.recv() => break Ok(()),
            ended = &mut work => {
                let why = ended.err().map_or_else(|| "the operator's tasks ended".to_owned(), |ended| ended.to_string());
                stopping.send_replace(true);
                return Err(Failure::Ended(why));
            }
            Some(ended) = parts.running.join_next() => {
                break Err(Failure::Ended(format!("{} ended although nobody asked it to", ended.unwrap_or("a task that panicked"))));
            }
            _ = look.tick() => {
                let mut ended = lasting.iter().filter(|(_, task)| task.is_some_and(tokio::task::JoinHandle::is_finished));
                if let Some((name, _)) = ended.next() {
                    break Err(Failure::Ended(format!("{name} ended although nobody asked it to")));
                }
            }
        }
    };
    info!("stops: no parent is taken any more");
    stopping.send_replace(true);
    if tokio::time::timeout(LAST_WORK, work).await.is_err() {
        warn!(seconds = LAST_WORK.as_secs(), "work under way did not end in time");
    }
    outcome
}

async fn awaken(
    operator: Arc<Operator>,
    mut woken: mpsc::UnboundedReceiver<operator_core::ObjectRef>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        tokio::select! {
            parent = woken.recv() => match parent {
                Some(parent) => operator.wake(&parent),
                None => return,
            },
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// Publishes what concerns the operator itself.
async fn announce(
    operator: Arc<Operator>,
    pod: Option<String>,
    mut told: mpsc::UnboundedReceiver<(&'static str, String)>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let next = tokio::select! {
            told = told.recv() => told,
            _ = stop.wait_for(|stop| *stop) => None,
        };
        let Some((reason, message)) = next else { return };
        operator.announce(pod.as_deref(), reason, &message).await;
    }
}

/// One client for watches, which may be silent for long, and one for everything else, which may not. Neither repeats requests by
/// itself: kube would for minutes, the lease's included.
pub(crate) async fn clients() -> Result<(Client, Client), Failure> {
    let wrong = |error: &dyn std::fmt::Display| {
        Failure::Cluster(format!(
            "no cluster is configured: {error}; set KUBECONFIG, or run in a pod with a service account"
        ))
    };
    let mut config = Config::infer().await.map_err(|error| wrong(&error))?;
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(10));
    let watching = Client::try_from(config.clone()).map_err(|error| wrong(&error))?;
    config.read_timeout = Some(ANSWER);
    config.write_timeout = Some(ANSWER);
    Ok((watching, Client::try_from(config).map_err(|error| wrong(&error))?))
}

fn modules(
    arguments: &Run,
    operator: &Arc<Operator>,
    bindings: &Arc<Bindings>,
    metrics: &Arc<Metrics>,
    tell: mpsc::UnboundedSender<(&'static str, String)>,
) -> Result<Modules, Failure> {
    let compiler = Compiler::locate().map_err(|error| Failure::Usage(error.to_string()))?;
    let mut config = EngineConfig::new(compiler).with_observer(metrics.observer());
    if let Some(path) = &arguments.cache {
        let opened = std::fs::create_dir_all(path).and_then(|()| Dir::open_ambient_dir(path, ambient_authority()));
        let folder = opened.map_err(|error| Failure::Usage(format!("--cache {}: {error}", path.display())))?;
        config = config.with_cache(folder);
    }
    let engine = Engine::new(config).map_err(|error| Failure::Usage(error.to_string()))?;
    let opened = Modules::open(
        &arguments.modules,
        engine,
        Arc::clone(operator),
        Arc::clone(bindings),
        Arc::clone(metrics),
        tell,
    );
    opened.map_err(Failure::Usage)
}

async fn serve(
    parts: &mut Parts,
    arguments: &Run,
    operator: &Arc<Operator>,
    modules: &Arc<Modules>,
    metrics: &Arc<Metrics>,
    webhooks: Option<&Arc<Webhooks>>,
) -> Result<(), Failure> {
    let alive: Answer = Arc::new(|| verdict(&[], &[]));
    let ready: Answer = {
        let (operator, modules, stop) = (Arc::clone(operator), Arc::clone(modules), parts.stop.clone());
        let webhooks = webhooks.cloned();
        Arc::new(move || {
            let mut lines = unready(&operator, &modules, *stop.borrow());
            lines.extend(webhooks.iter().flat_map(|webhooks| webhooks.missing()));
            verdict(&lines, &degraded(&operator, &modules))
        })
    };
    let counted: Answer = {
        let (operator, metrics) = (Arc::clone(operator), Arc::clone(metrics));
        Arc::new(move || {
            let (objects, refused, lacking) =
                (operator.store().len(), operator.refused().len(), operator.lacking().len());
            (true, metrics.text(objects, refused, lacking))
        })
    };
    let health = vec![("/healthz", Arc::clone(&alive)), ("/livez", alive), ("/readyz", ready)];
    for (what, address, paths) in [
        ("health", arguments.health_probe_bind_address, health),
        ("metrics", arguments.metrics_bind_address, vec![("/metrics", counted)]),
    ] {
        let busy =
            |error| Failure::Usage(format!("{what} cannot be served on {address}: {error}; choose another address"));
        let server = Server::bind(address, paths).await.map_err(busy)?;
        info!(what, address = %server.address().map_err(busy)?, "serves");
        let stop = parts.stop.clone();
        parts.add(what, async move {
            if let Err(error) = server.run(stop).await {
                warn!(what, %error, "no longer served");
            }
        });
    }
    Ok(())
}

/// What keeps this replica from being ready, one line each.
fn unready(operator: &Operator, modules: &Modules, stopping: bool) -> Vec<String> {
    if stopping {
        return vec!["it stops".to_owned()];
    }
    let mut lines = operator.missing();
    if operator.is_idle() {
        lines.extend(modules.refused());
        lines.push("no module serves".to_owned());
    }
    lines
}

/// What part of the work suffers from, one line each.
fn degraded(operator: &Operator, modules: &Modules) -> Vec<String> {
    let lacking = operator.lacking().into_iter().map(|right| format!("a right is missing: {right}"));
    operator.refused().into_iter().chain(modules.refused()).chain(lacking).collect()
}

/// The host's name and this process: unlike any other replica's.
fn own_name() -> String {
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    format!("{}-{}", host.trim(), std::process::id())
}
