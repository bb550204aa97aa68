//! Who of several replicas writes: one `Lease`, taken and renewed by compare-and-swap.
//!
//! The holder stops writing before anybody else may take the lease: it gives up [`RENEW_WITHIN`] after its last success, by its own
//! monotonic clock, and others wait [`DURATION`] after the last change that they saw, by theirs. No two clocks are compared.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease as Record, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{Api, Client, ResourceExt, api::PostParams, core::ObjectMeta};
use tokio::{
    sync::watch::{Receiver, Sender},
    time::{Instant, timeout},
};
use tracing::{info, warn};

use crate::{fence::Fence, watch::explain};

/// Others may take a lease that has not changed for so long.
const DURATION: Duration = Duration::from_secs(15);
/// Whoever has not renewed its lease for so long stops writing.
const RENEW_WITHIN: Duration = Duration::from_secs(10);
/// Between two tries of whoever holds the lease.
const EVERY: Duration = Duration::from_secs(2);
/// Between two looks of whoever waits for it: the time for which nobody writes after a release.
const WAITING: Duration = Duration::from_secs(1);
/// What makes "longer than" of "as long as".
const MOMENT: Duration = Duration::from_millis(10);
/// One request.
const REQUEST: Duration = Duration::from_secs(4);

/// One replica's claim to a lease.
pub struct Lease {
    api: Api<Record>,
    name: String,
    /// This replica, such as the name of its pod.
    identity: String,
    /// Open as long as the lease lasts.
    fence: Fence,
    /// The holder and version seen last, and since when.
    seen: Option<(String, String, Instant)>,
}

/// How a try ended.
enum Try {
    Held,
    HeldByOther,
    /// Somebody was quicker.
    Lost,
}

impl Lease {
    /// A claim; nothing is asked yet.
    pub fn new(client: Client, namespace: &str, name: &str, identity: &str, fence: Fence) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity: identity.to_owned(),
            fence,
            seen: None,
        }
    }

    /// Takes and renews the lease until `stop` is true, then releases it so that the next replica need not wait. `leading` is true
    /// exactly while this replica may write.
    pub async fn hold(mut self, leading: &Sender<bool>, mut stop: Receiver<bool>) {
        let mut renewed: Option<Instant> = None;
        loop {
            let started = Instant::now();
            // While the lease is held, no try may end later than writing has to.
            let left = renewed.map_or(REQUEST, |at| RENEW_WITHIN.saturating_sub(at.elapsed()).min(REQUEST));
            renewed = match timeout(left, self.take()).await {
                Ok(Ok(Try::Held)) => Some(started),
                Ok(Ok(Try::HeldByOther)) => None,
                Ok(Ok(Try::Lost)) => renewed,
                Ok(Err(error)) => {
                    self.complain(&explain(&error));
                    renewed
                }
                Err(_) => {
                    self.complain("the API server did not answer in time");
                    renewed
                }
            };
            renewed = renewed.filter(|at| at.elapsed() < RENEW_WITHIN);
            self.fence.set(renewed.map(|at| at + RENEW_WITHIN));
            self.tell(leading, renewed.is_some());
            // Held: the next try, or the moment at which writing has to end, whichever is first.
            let held = |at: Instant| RENEW_WITHIN.saturating_sub(at.elapsed()).min(EVERY);
            let wait = renewed.map_or_else(|| self.patience(), held);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        self.fence.set(None);
        leading.send_replace(false);
        if renewed.is_some() && !matches!(timeout(REQUEST, self.release()).await, Ok(Ok(()))) {
            warn!(lease = self.name, "the lease cannot be released; the next replica waits for its end");
        }
    }

    /// How long to wait for another's lease before the next look: no longer than until it may be taken.
    fn patience(&self) -> Duration {
        let left = self.seen.iter().map(|(.., since)| DURATION.saturating_sub(since.elapsed())).next();
        left.filter(|left| !left.is_zero()).map_or(WAITING, |left| WAITING.min(left + MOMENT))
    }

    fn complain(&self, why: &str) {
        warn!(why, lease = self.name, "the lease cannot be renewed; check RBAC and the API server");
    }

    fn tell(&self, leading: &Sender<bool>, leads: bool) {
        leading.send_if_modified(|before| {
            let changed = *before != leads;
            if changed {
                info!(leads, identity = self.identity, "the lease");
            }
            *before = leads;
            changed
        });
    }

    async fn take(&mut self) -> Result<Try, kube::Error> {
        let Some(mut record) = self.api.get_opt(&self.name).await? else {
            let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
            let record = Record { metadata, spec: Some(self.spec(0, None)) };
            return match self.api.create(&PostParams::default(), &record).await {
                Ok(_) => Ok(Try::Held),
                Err(error) => lost(error),
            };
        };
        let spec = record.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.clone().unwrap_or_default();
        let ours = holder == self.identity;
        if !ours && !holder.is_empty() && !self.expired(&holder, &record) {
            return Ok(Try::HeldByOther);
        }
        let transitions = spec.lease_transitions.unwrap_or(0).saturating_add(i32::from(!ours));
        record.spec = Some(self.spec(transitions, spec.acquire_time.filter(|_| ours)));
        match self.api.replace(&self.name, &PostParams::default(), &record).await {
            Ok(_) => Ok(Try::Held),
            Err(error) => lost(error),
        }
    }

    /// Whether the lease has not changed for as long as it lasts, as far as this replica has seen.
    fn expired(&mut self, holder: &str, record: &Record) -> bool {
        let version = record.resource_version().unwrap_or_default();
        match &self.seen {
            Some((before, at_version, since)) if before == holder && *at_version == version => {
                since.elapsed() > DURATION
            }
            _ => {
                self.seen = Some((holder.to_owned(), version, Instant::now()));
                false
            }
        }
    }

    fn spec(&self, transitions: i32, acquired: Option<MicroTime>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            lease_transitions: Some(transitions),
            acquire_time: Some(acquired.unwrap_or_else(|| now.clone())),
            renew_time: Some(now),
            ..LeaseSpec::default()
        }
    }

    async fn release(&self) -> Result<(), kube::Error> {
        let mut record = self.api.get(&self.name).await?;
        let spec = record.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() == Some(&self.identity) {
            spec.holder_identity = None;
            self.api.replace(&self.name, &PostParams::default(), &record).await?;
            info!(lease = self.name, "released");
        }
        Ok(())
    }
}

/// Ends when this replica may not write any more. Without a lease it always may.
pub(crate) async fn leadership_lost(leading: &mut Receiver<bool>) {
    if leading.wait_for(|leading| !*leading).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// A conflict means that somebody was quicker: no error.
fn lost(error: kube::Error) -> Result<Try, kube::Error> {
    match error {
        kube::Error::Api(status) if status.code == 409 => Ok(Try::Lost),
        other => Err(other),
    }
}
