//! Puts the parts together, keeps them running, and ends them in order.

use std::{net::SocketAddr, sync::Arc};

use cap_std::{ambient_authority, fs::Dir};
use operator_controller::{Beyond, Clock, Fence, Lease, Operator, Reach, Store, Surroundings, versions};
use operator_engine::{Compiler, Engine, EngineConfig};
use operator_webhook::Bindings;
use tokio::sync::{mpsc, watch};
use tracing::{error, info, warn};

use crate::{
    allowed::Allowed,
    args::Run,
    connect::{
        ANSWER, Clients,
        manners::{Manners, Pace},
    },
    failure::Failure,
    metrics::Metrics,
    modules::Modules,
    serve::{Answer, Server, verdict},
    supervise::{Parts, supervise},
    webhooks::{Around, Webhooks},
};

pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> i64 {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.ok().and_then(|now| i64::try_from(now.as_secs()).ok()).unwrap_or_default()
    }
}

/// Runs until a signal, or until something ends that should not.
pub(crate) async fn run(arguments: Run) -> Result<(), Failure> {
    let fence = if arguments.leader_elect { Fence::shut() } else { Fence::open() };
    let pace = Pace::new(arguments.kube_api_qps, arguments.kube_api_burst);
    let manners = Manners { pace, fence: fence.clone(), answer: ANSWER };
    let Clients { watching, commands, usual: client, lease, server, address } =
        Clients::new(arguments.watch_seconds, &manners).await?;
    let namespace = arguments.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
    let store = Arc::new(Store::default());
    let served = versions(&client)
        .await
        .map_err(|why| Failure::Cluster(format!("{server}: {why}; check address and credentials")))?;
    store.serve_versions(served);
    let metrics = Metrics::new();
    let (wake, woken) = mpsc::unbounded_channel();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (leading, leads) = watch::channel(!arguments.leader_elect);
    let surroundings = Surroundings {
        watching,
        watch_seconds: arguments.watch_seconds,
        client: client.clone(),
        store: Arc::clone(&store),
        outside: Arc::new(Beyond::new(
            [client.clone(), commands],
            store,
            Arc::clone(&clock),
            wake,
            Reach {
                detours: arguments.connect_to.iter().cloned().collect(),
                api_server: address,
                token_realms: arguments.token_realm.iter().map(|host| host.to_ascii_lowercase()).collect(),
            },
            leads.clone(),
        )),
        clock,
        namespace: namespace.clone(),
        witness: Arc::clone(&metrics) as Arc<dyn operator_controller::Witness>,
    };
    let (operator, tasks) = Operator::new(surroundings, leads.clone());
    let (tell, told) = mpsc::unbounded_channel();
    let bindings = Arc::new(Bindings::default());
    let modules = Arc::new(modules(&arguments, &operator, &bindings, &metrics, tell.clone())?);
    let (stopping, stop) = watch::channel(false);
    let mut parts = Parts::new(stop.clone());
    let around = Around {
        client: client.clone(),
        namespace: namespace.clone(),
        bindings: Arc::clone(&bindings),
        leads,
        metrics: Arc::clone(&metrics),
        tell,
    };
    let (webhooks, answering) = Webhooks::start(&mut parts, &arguments.webhooks, around).await?.unzip();
    let (died, dead) = watch::channel(None);
    serve(&mut parts, &arguments, &operator, &modules, &metrics, webhooks.as_ref(), dead).await?;
    // After everything else but health, as API servers may send requests to this replica for a while.
    if let Some(answering) = answering {
        parts.add_lasting("webhook server", None, answering);
    }
    parts.add("folder of modules", load(modules, bindings, stop.clone()));
    parts.add("announcements", announce(Arc::clone(&operator), arguments.identity.clone(), told, stop.clone()));
    parts.add("awakening", awaken(Arc::clone(&operator), woken, stop));
    if arguments.leader_elect {
        let identity = arguments.identity.clone().unwrap_or_else(own_name);
        let lease = Lease::new(lease, &namespace, &arguments.lease_name, &identity, fence);
        // Once nothing writes any more, and no sooner, another replica may begin.
        let (release, released) = watch::channel(false);
        parts.add_lasting("lease", Some(release), async move { lease.hold(&leading, released).await });
    }
    supervise(tasks, &operator, parts, stopping, &died).await
}

/// Takes the modules that are there, and then follows what becomes of their files.
async fn load(modules: Arc<Modules>, bindings: Arc<Bindings>, stop: watch::Receiver<bool>) {
    let first = Arc::clone(&modules);
    let looked = tokio::task::spawn_blocking(move || {
        first.look();
        first.stand_in_for_missing();
    });
    if let Err(failed) = looked.await {
        return error!(%failed, "loading modules panicked");
    }
    bindings.complete();
    modules.follow(stop).await;
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
    let allowed = Allowed::read(arguments.grants.as_deref()).map_err(Failure::Usage)?;
    if matches!(allowed, Allowed::AsAsked) {
        warn!("modules may do whatever they ask for; give a file of grants where others can change modules");
    }
    let opened = Modules::open(
        &arguments.modules,
        (engine, allowed),
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
    dead: watch::Receiver<Option<String>>,
) -> Result<(), Failure> {
    let alive: Answer = Arc::new(move || verdict(dead.borrow().as_slice(), &[]));
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
    let health = listen("health", arguments.health_probe_bind_address, health).await?;
    let metrics = listen("metrics", arguments.metrics_bind_address, vec![("/metrics", counted)]).await?;
    // Until the very end, so that whoever asks is told that the process ends and why.
    let (end, ended) = watch::channel(false);
    parts.add_lasting("health", Some(end), health.run("health", ended));
    let stop = parts.stop.clone();
    parts.add("metrics", metrics.run("metrics", stop));
    Ok(())
}

async fn listen(what: &str, address: SocketAddr, paths: Vec<(&str, Answer)>) -> Result<Server, Failure> {
    let busy = |error| Failure::Usage(format!("{what} cannot be served on {address}: {error}; choose another address"));
    let server = Server::bind(address, paths).await.map_err(busy)?;
    info!(what, address = %server.address().map_err(busy)?, "serves");
    Ok(server)
}

/// What keeps this replica from being ready, one line each.
fn unready(operator: &Operator, modules: &Modules, stopping: bool) -> Vec<String> {
    if stopping {
        return vec!["it stops".to_owned()];
    }
    let mut lines = operator.missing();
    // A rollout with a bad file stops here, and the replicas before it go on.
    lines.extend(modules.unserved());
    if operator.is_idle() {
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
