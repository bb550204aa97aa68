//! Webhooks within the program: what serves them, what keeps them registered, and their end.

use std::{sync::Arc, time::Duration};

use cap_std::{ambient_authority, fs::Dir};
use kube::Client;
use operator_controller::{Clock as _, Fence};
use operator_core::BoxFuture;
use operator_webhook::{
    Bindings, Certificates, Clock, Judge, Lifetimes, Limits, Probe, Registrar, Server, Source, Target, Timings, Witness,
};
use tokio::sync::{mpsc::UnboundedSender, watch::Receiver};
use tracing::info;

use crate::{
    args::{Place, Switch, Uninstall, Webhooks as Arguments},
    connect::{
        ANSWER, Clients,
        manners::{Manners, Pace},
    },
    failure::Failure,
    metrics::Metrics,
    run::SystemClock,
    supervise::Parts,
};

/// What webhooks need from around them.
pub(crate) struct Around {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) bindings: Arc<Bindings>,
    /// Whether this replica may write.
    pub(crate) leads: Receiver<bool>,
    pub(crate) metrics: Arc<Metrics>,
    /// Hears of what people have to know: the reason and the text.
    pub(crate) tell: UnboundedSender<(&'static str, String)>,
}

/// Webhooks that are served.
pub(crate) struct Webhooks {
    certificates: Arc<Certificates>,
    bindings: Arc<Bindings>,
}

struct Ears {
    metrics: Arc<Metrics>,
    tell: UnboundedSender<(&'static str, String)>,
}

impl Witness for Ears {
    fn answered(&self, path: &str, outcome: &'static str, took: Duration) {
        self.metrics.answered(path, outcome, took);
    }

    fn reachable(&self, reachable: bool) {
        self.metrics.reachable(reachable);
    }

    fn announce(&self, reason: &'static str, text: String) {
        // Nobody listens any more when the operator stops.
        let _ = self.tell.send((reason, text));
    }

    fn certificate(&self, ends: i64) {
        self.metrics.certificate(ends);
    }
}

fn system_clock() -> Clock {
    Arc::new(|| SystemClock.now())
}

/// Where the API server finds them.
fn target(place: &Place, namespace: &str) -> Target {
    match &place.webhook_url {
        Some(url) => Target::Url(url.trim_end_matches('/').to_owned()),
        None => Target::Service { namespace: namespace.to_owned(), name: place.webhook_service.clone() },
    }
}

impl Webhooks {
    /// Starts what the flags ask for: none when webhooks are off. The work answers requests and ends after the drain, long after
    /// everything else.
    pub(crate) async fn start(
        parts: &mut Parts,
        arguments: &Arguments,
        around: Around,
    ) -> Result<Option<(Arc<Self>, BoxFuture<'static, ()>)>, Failure> {
        if arguments.served == Switch::Off {
            return Ok(None);
        }
        let Around { client, namespace, bindings, leads, metrics, tell } = around;
        let witness: Arc<dyn Witness> = Arc::new(Ears { metrics, tell });
        let clock = system_clock();
        let target = target(&arguments.place, &namespace);
        let source = source(arguments, &client, &namespace, &target, leads.clone())?;
        let certificates = Certificates::new(Arc::clone(&clock), Arc::clone(&witness));
        let limits = Limits { at_once: operator_engine::threads(), ..Limits::default() };
        let judge = Judge::new(Arc::clone(&bindings), limits, &namespace, Arc::clone(&witness));
        let timings = Timings { grace: Duration::from_secs(arguments.webhook_drain_seconds), ..Timings::default() };
        let address = arguments.webhook_bind_address;
        let busy =
            |error| Failure::Usage(format!("webhooks cannot be served on {address}: {error}; choose another address"));
        let server = Server::bind(address, certificates.resolver(), Arc::new(judge), timings).await.map_err(busy)?;
        let address = server.address().map_err(busy)?;
        info!(what = "webhooks", %address, %target, "serves");
        let registrar = Registrar::new(
            client.clone(),
            target.clone(),
            &namespace,
            Arc::clone(&bindings),
            certificates.bundle(),
            leads,
            &clock,
        );
        let stop = || parts.stop.clone();
        let probe = Probe::new(client, target, &namespace, address.port(), clock, witness);
        let (keep, register, probe) = (
            Arc::clone(&certificates).keep(source, Arc::clone(&registrar), stop()),
            Arc::clone(&registrar).keep(stop()),
            probe.keep(registrar, stop()),
        );
        let server = Box::pin(server.run(stop()));
        parts.add("webhook certificates", keep);
        parts.add("webhook registration", register);
        parts.add("webhook probes", probe);
        Ok(Some((Arc::new(Self { certificates, bindings }), server)))
    }

    /// What keeps requests from being judged, one line each.
    pub(crate) fn missing(&self) -> Vec<String> {
        let loading = (!self.bindings.is_complete()).then(|| "modules are being loaded".to_owned());
        self.certificates.missing().into_iter().chain(loading).collect()
    }
}

fn source(
    arguments: &Arguments,
    client: &Client,
    namespace: &str,
    target: &Target,
    leading: Receiver<bool>,
) -> Result<Source, Failure> {
    if let Some(path) = &arguments.webhook_cert_dir {
        let place = path.display().to_string();
        let folder = Dir::open_ambient_dir(path, ambient_authority()).map_err(|error| {
            Failure::Usage(format!(
                "--webhook-cert-dir {place}: {error}; name a folder with tls.crt, tls.key and ca.crt"
            ))
        })?;
        return Ok(Source::Folder { folder, place });
    }
    let lifetimes = match arguments.webhook_certificate_seconds.as_deref() {
        Some([authority, leaf, settle, overlap]) => {
            let [authority, leaf, settle, overlap] =
                [authority, leaf, settle, overlap].map(|s| Duration::from_secs(*s));
            Lifetimes { authority, leaf, settle, overlap }
        }
        Some(_) => {
            let why = "--webhook-certificate-seconds takes four numbers, such as 100,50,1,10; write all of them";
            return Err(Failure::Usage(why.to_owned()));
        }
        None => Lifetimes::default(),
    };
    let (client, namespace, names) = (client.clone(), namespace.to_owned(), target.names());
    Ok(Source::Managed { client, namespace, names, lifetimes, leading })
}

/// Takes the webhooks back.
pub(crate) async fn uninstall(arguments: &Uninstall) -> Result<(), Failure> {
    let manners = Manners { pace: Pace::new(0, 1), fence: Fence::open(), answer: ANSWER };
    let client = Clients::new(0, &manners).await?.usual;
    let namespace = arguments.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
    let (target, clock) = (target(&arguments.place, &namespace), system_clock());
    let removed = operator_webhook::uninstall(&client, &target, &namespace, &clock).await;
    let removed = removed.map_err(|error| Failure::Cluster(error.to_string()))?;
    for what in removed {
        info!(what, "removed");
    }
    Ok(())
}
