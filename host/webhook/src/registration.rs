//! Tells the API server which webhooks there are, and which authority to trust. With `probe` and `certificates::secret`, the only
//! place of this crate that writes to it (invariant I3).
//!
//! The leader compares what is there with what the manifests say, after each change and once a minute, and writes what differs.

mod wanted;

use std::{sync::Arc, time::Duration};

use http::Method;
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::watch::{self, Receiver};
use tracing::{info, warn};

use self::wanted::{Place, Site, is_there, keep_ours, places, trusts};
use crate::{
    Bindings, Clock, Error, Target,
    certificates::secret::{OWNER, Stored},
    requests::{Form, MANAGER, get, send},
};

/// Somebody may have changed what is there.
const EVERY: Duration = Duration::from_mins(1);
/// After this, an operator that was writing has written.
const SETTLED: Duration = Duration::from_secs(2);
/// First wait after an error.
const FIRST: Duration = Duration::from_secs(1);

/// Keeps registered what the modules want.
pub struct Registrar {
    client: Client,
    target: Target,
    namespace: String,
    bindings: Arc<Bindings>,
    bundle: Receiver<String>,
    leading: Receiver<bool>,
    registered: watch::Sender<bool>,
    /// When this process began, in Unix seconds.
    started: i64,
}

impl Registrar {
    /// A registrar; nothing is asked yet. `bundle` holds all authorities to trust, in PEM, or nothing as long as there are none.
    pub fn new(
        client: Client,
        target: Target,
        namespace: &str,
        bindings: Arc<Bindings>,
        bundle: Receiver<String>,
        leading: Receiver<bool>,
        clock: &Clock,
    ) -> Arc<Self> {
        let (registered, namespace, started) = (watch::channel(false).0, namespace.to_owned(), clock());
        Arc::new(Self { client, target, namespace, bindings, bundle, leading, registered, started })
    }

    /// Whether this replica has registered what there is, and leads.
    pub(crate) fn registered(&self) -> Receiver<bool> {
        self.registered.subscribe()
    }

    /// Registers what differs, until `stop` is true.
    pub async fn keep(self: Arc<Self>, mut stop: Receiver<bool>) {
        let (mut changes, mut bundle, mut leading) =
            (self.bindings.changes(), self.bundle.clone(), self.leading.clone());
        let mut wait = FIRST;
        loop {
            changes.mark_unchanged();
            bundle.mark_unchanged();
            let leads = *leading.borrow_and_update();
            let ready = leads && self.bindings.is_complete() && !self.bundle.borrow().is_empty();
            let pause = if ready { self.tried(&mut wait).await } else { EVERY };
            self.registered.send_if_modified(|before| !leads && std::mem::replace(before, false));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // A sender that is gone changes nothing any more: the clock goes on.
                Ok(()) = changes.changed() => {}
                Ok(()) = bundle.changed() => {}
                Ok(()) = leading.changed() => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// Tries once, and gives how long to wait for the next time.
    async fn tried(&self, wait: &mut Duration) -> Duration {
        match self.register().await {
            Ok(None) => {
                info!("webhooks were taken back: this process registers none any more");
                self.registered.send_replace(false);
                EVERY
            }
            Ok(Some(_)) => {
                *wait = FIRST;
                self.registered.send_if_modified(|before| !std::mem::replace(before, true));
                EVERY
            }
            Err(error) => {
                let pause = *wait;
                warn!(%error, reason = error.reason(), wait_s = pause.as_secs(), "the webhooks are not registered");
                *wait = (pause * 2).min(EVERY);
                pause
            }
        }
    }

    /// Writes what differs from what is wanted, and gives how many objects that were; none when webhooks were taken back.
    pub(crate) async fn register(&self) -> Result<Option<usize>, Error> {
        if self.withdrawn().await? {
            return Ok(None);
        }
        let manifests = self.bindings.manifests();
        let bundle = self.bundle.borrow().clone();
        let site = Site { target: &self.target, namespace: &self.namespace };
        let mut written = 0;
        for place in places(&manifests) {
            let path = place.path(&self.namespace);
            let live = get(&self.client, &path).await?;
            // A CRD that is not there is installed by somebody else, and comes with the next look.
            if matches!((&place, &live), (Place::Conversion(_), None)) {
                continue;
            }
            let mut wanted = place.wanted(&manifests, &site, &bundle);
            if let (Some(live), false) = (&live, self.bindings.unknown().is_empty()) {
                keep_ours(live, &mut wanted, &self.target);
            }
            if live.is_some_and(|live| is_there(&live, &wanted, &self.target)) {
                continue;
            }
            let apply = format!("{path}?fieldManager={MANAGER}&force=true");
            send(&self.client, "apply", Method::PATCH, &apply, Form::Apply, Some(&wanted)).await?;
            info!(path, "registered");
            written += 1;
        }
        Ok(Some(written))
    }

    /// Whether webhooks were taken back since this process began: whoever removes the operator does so while it still runs.
    pub(crate) async fn withdrawn(&self) -> Result<bool, Error> {
        let mark = get(&self.client, &mark_path(&self.namespace)).await?;
        let at = mark
            .as_ref()
            .and_then(|mark| mark.pointer("/metadata/annotations")?.get(WITHDRAWN)?.as_str()?.parse().ok());
        Ok(at.is_some_and(|at: i64| at >= self.started))
    }

    /// Whether every place trusts all these certificates. A place that does not exist trusts nobody, a CRD apart.
    pub(crate) async fn trusted(&self, pem: &str) -> Result<bool, Error> {
        for place in places(&self.bindings.manifests()) {
            match get(&self.client, &place.path(&self.namespace)).await? {
                Some(live) if !trusts(&live, &self.target, pem) => return Ok(false),
                None if !matches!(place, Place::Conversion(_)) => return Ok(false),
                _ => {}
            }
        }
        Ok(true)
    }
}

/// Says when webhooks were taken back, in Unix seconds.
const WITHDRAWN: &str = "operator.scone.cloud/webhooks-withdrawn";

/// The mark of that. A lease, since every operator may write some; it goes with the namespace, and processes that begin later do not
/// heed it.
fn mark_path(namespace: &str) -> String {
    format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/scone-webhooks-withdrawn")
}

/// Takes everything back before an operator goes for good: both configurations, conversions that lead to it, and certificates that it
/// made. Gives the paths of what was there. Without this, nothing guarded could be changed any more, and nothing converted be listed.
/// Operators that still run heed it, and register nothing any more.
///
/// # Errors
/// When the API server refuses something; what came before is done, and doing it again is fine.
pub async fn uninstall(client: &Client, target: &Target, namespace: &str, clock: &Clock) -> Result<Vec<String>, Error> {
    let mark = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "scone-webhooks-withdrawn", "namespace": namespace, "labels": {OWNER.0: OWNER.1},
            "annotations": {WITHDRAWN: clock().to_string()}},
        "spec": {"holderIdentity": "uninstall-webhooks"}});
    let path = format!("{}?fieldManager={MANAGER}&force=true", mark_path(namespace));
    send(client, "apply", Method::PATCH, &path, Form::Apply, Some(&mark)).await?;
    let mut done = remove(client, target, namespace).await?;
    // An operator may have been about to write when it was marked.
    tokio::time::sleep(SETTLED).await;
    done.extend(remove(client, target, namespace).await?);
    info!(owner = OWNER.1, removed = done.len(), "webhooks are taken back");
    Ok(done)
}

async fn remove(client: &Client, target: &Target, namespace: &str) -> Result<Vec<String>, Error> {
    let mut done = Vec::new();
    for place in [Place::Mutating, Place::Validating] {
        let path = place.path(namespace);
        match send(client, "delete", Method::DELETE, &path, Form::Json, None).await {
            Ok(_) => done.push(path),
            Err(error) if error.is(404) => {}
            Err(error) => return Err(error),
        }
    }
    let crds = get(client, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions").await?.unwrap_or_default();
    for crd in crds.get("items").and_then(Value::as_array).into_iter().flatten() {
        let config = crd.pointer("/spec/conversion/webhook/clientConfig");
        let name = crd.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        if config.is_some_and(|config| target.is(config)) {
            let path = Place::Conversion(name.to_owned()).path(namespace);
            let none = json!({"spec": {"conversion": {"strategy": "None", "webhook": null}}});
            let merge = format!("{path}?fieldManager={MANAGER}");
            send(client, "patch", Method::PATCH, &merge, Form::Merge, Some(&none)).await?;
            done.push(path);
        }
    }
    let stored = Stored::new(client.clone(), namespace);
    if stored.delete().await? {
        done.push(stored.place());
    }
    Ok(done)
}
