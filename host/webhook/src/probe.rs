//! Whether the API server reaches us. The only file that writes probes, which are never stored (invariant I3).
//!
//! The leader creates a labelled `ConfigMap` in a dry run. Its webhook leads to some replica, which answers with a warning that the API
//! server hands back: so it matters not which replica was reached, and firewalls, services and certificates are all on the way.

use std::{sync::Arc, time::Duration};

use http::Method;
use kube::Client;
use serde_json::json;
use tokio::sync::watch::Receiver;
use tracing::{info, warn};

use crate::{
    Clock, Error, Registrar, Target, Witness,
    requests::{Form, MANAGER, send},
};

/// The path of probes.
pub(crate) const PATH: &str = "/probe";
/// The webhook's name in its configuration.
pub(crate) const WEBHOOK: &str = "probe.operator.scone.cloud";
/// What a probe carries.
pub(crate) const LABEL: &str = "operator.scone.cloud/webhook-probe";
/// Between two probes.
const EVERY: Duration = Duration::from_secs(30);
/// After a probe that did not arrive, which may be an accident.
const SOON: Duration = Duration::from_secs(1);
/// After more of them.
const LATER: Duration = Duration::from_secs(5);
/// So many in a row that do not arrive are no accident: a new configuration takes a moment to be heard of.
const MISSES: u32 = 6;
/// The same trouble is announced again after so many seconds.
const REMIND: u64 = 3600;

/// The warning that says that a probe has arrived.
pub(crate) fn echo(name: &str) -> String {
    format!("{LABEL} {name}")
}

/// Probes again and again.
pub struct Probe {
    client: Client,
    target: Target,
    namespace: String,
    port: u16,
    clock: Clock,
    witness: Arc<dyn Witness>,
}

/// What the last probes showed.
#[derive(Default)]
struct Seen {
    misses: u32,
    sent: u64,
    /// When an event was written last.
    told: Option<i64>,
}

impl Probe {
    /// A probe of `target`; `port` is where we listen, for whoever has to open it.
    pub fn new(
        client: Client,
        target: Target,
        namespace: &str,
        port: u16,
        clock: Clock,
        witness: Arc<dyn Witness>,
    ) -> Self {
        Self { client, target, namespace: namespace.to_owned(), port, clock, witness }
    }

    /// Probes while this replica leads and has registered the webhooks, until `stop` is true.
    pub async fn keep(self, registrar: Arc<Registrar>, mut stop: Receiver<bool>) {
        let mut registered = registrar.registered();
        let mut seen = Seen::default();
        loop {
            let wait = async {
                // A registrar that is gone has nothing to probe.
                if registered.wait_for(|registered| *registered).await.is_err() {
                    std::future::pending::<()>().await;
                }
                let pause = self.look(&mut seen).await;
                tokio::time::sleep(pause).await;
            };
            tokio::select! {
                () = wait => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// Probes once, and gives how long to wait for the next time.
    async fn look(&self, seen: &mut Seen) -> Duration {
        seen.sent += 1;
        match self.send(seen.sent).await {
            Ok(()) => {
                if seen.misses >= MISSES {
                    info!(target = %self.target, "the API server reaches the webhooks again");
                }
                *seen = Seen { sent: seen.sent, ..Seen::default() };
                self.witness.reachable(true);
                EVERY
            }
            Err(error @ Error::Unreachable { .. }) => {
                self.missed(seen, &error);
                if seen.misses < MISSES { SOON } else { LATER }
            }
            // A probe that may not be sent says nothing about the way.
            Err(error) => {
                warn!(%error, reason = error.reason(), "whether the API server reaches the webhooks is not known");
                EVERY
            }
        }
    }

    /// One more probe did not arrive: tells so when it is no accident, and not again and again.
    fn missed(&self, seen: &mut Seen, error: &Error) {
        seen.misses = seen.misses.saturating_add(1);
        if seen.misses < MISSES {
            return;
        }
        self.witness.reachable(false);
        let now = (self.clock)();
        if seen.told.is_some_and(|told| now.abs_diff(told) < REMIND) {
            return;
        }
        warn!(%error, reason = error.reason(), "webhooks");
        self.witness.announce(error.reason(), error.to_string());
        seen.told = Some(now);
    }

    async fn send(&self, number: u64) -> Result<(), Error> {
        let name = format!("webhook-probe-{:x}-{number}", (self.clock)());
        let probe = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": self.namespace, "labels": {LABEL: "true"}}});
        let path = format!("/api/v1/namespaces/{}/configmaps?dryRun=All&fieldManager={MANAGER}", self.namespace);
        let unreachable = |why: String| Error::Unreachable { target: self.target.to_string(), port: self.port, why };
        match send(&self.client, "probe", Method::POST, &path, Form::Json, Some(&probe)).await {
            Ok((headers, _)) => {
                let echo = echo(&name);
                let warnings = headers.get_all("warning").into_iter().filter_map(|value| value.to_str().ok());
                let arrived = warnings.into_iter().any(|warning| warning.contains(&echo));
                if arrived {
                    Ok(())
                } else {
                    Err(unreachable("a probe was let through without having been sent here".to_owned()))
                }
            }
            Err(Error::Refused { message, .. }) if message.contains(WEBHOOK) => Err(unreachable(message)),
            Err(error) => Err(error),
        }
    }
}
