//! One task a kind: what the server tells goes into the store, and who waits for it is told.
//!
//! Each kind waits on its own after an error, so that one kind that cannot be listed holds up no other. kube's own back-off starts
//! anew whenever a list begins, also one that then fails; this one starts anew when a watch has gone well for a while. A list that is
//! complete is no proof: where each watch fails right after it, a large kind would be listed every second.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use kube::{
    Api, Client,
    core::{ApiResource, GroupVersionKind},
};
use kube_runtime::watcher::{self, Event};
use tokio::{sync::watch::Receiver, time::Instant};
use tracing::{debug, info, warn};

use crate::{
    Cache,
    raw::Raw,
    store::{Change, Kind, Store, Trouble},
};

/// First wait after an error.
const FIRST: Duration = Duration::from_secs(1);
/// Longest wait after an error: with it, five minutes of errors are at most fifteen tries.
const LONGEST: Duration = Duration::from_secs(30);

/// A watch that has gone well for so long makes the next error a first one.
const HEALTHY: Duration = Duration::from_mins(1);
/// What is refused so often in a row is refused. One answer may come from an authorizer that is restarting, or from a server that does not
/// know a new CRD yet.
const REFUSALS: u32 = 3;

/// Hears of everything that changes, in order, after the store knows it.
pub(crate) trait Listener: Send + Sync {
    /// An object came, changed or went. Of a first list nobody knows when that was.
    fn changed(&self, kind: &Kind, change: &Change, first_list: bool);

    /// The first list of a kind, or a later one, is complete.
    fn synced(&self, kind: &Kind);

    /// The server refuses a kind: its right or its definition is missing.
    fn refused(&self, kind: &Kind);
}

/// Keeps one kind in the store until `stop` is true. The server ends the watch after so many `seconds`.
pub(crate) async fn watch(
    client: Client,
    store: Arc<Store>,
    kind: Kind,
    seconds: u32,
    listener: Arc<dyn Listener>,
    mut stop: Receiver<bool>,
) {
    let mut task = Task { store, kind, seconds, listener, wait: FIRST, listed: None, refusals: 0 };
    tokio::select! {
        () = task.run(client) => {}
        _ = stop.wait_for(|stop| *stop) => debug!(api_version = task.kind.0, kind = task.kind.1, "the watch ends"),
    }
}

struct Task {
    store: Arc<Store>,
    kind: Kind,
    seconds: u32,
    listener: Arc<dyn Listener>,
    /// How long to wait after the next error.
    wait: Duration,
    /// When the last list was complete, unless there was an error since.
    listed: Option<Instant>,
    /// How often in a row the server refused the kind.
    refusals: u32,
}

impl Task {
    async fn run(&mut self, client: Client) {
        loop {
            match resource(&client, &self.store, &self.kind).await {
                Ok(resource) => self.listen(Api::all_with(client.clone(), &resource)).await,
                Err(trouble) => drop(self.trouble(trouble).await),
            }
        }
    }

    /// Hears until only a new list helps: the server refuses the kind, or has forgotten where the watch was. kube lists again by
    /// itself when a watch that runs is told so, and asks for ever from the same place when it is told before it runs.
    async fn listen(&mut self, api: Api<Raw>) {
        let mut events = std::pin::pin!(watcher::watcher(api, watcher::Config::default().timeout(self.seconds)));
        // The stream never ends: after an error it goes on where it was, or lists again.
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => self.heard(event),
                Err(error) if is_expired(&error) => {
                    let (api_version, kind) = (&self.kind.0, &self.kind.1);
                    info!(api_version, kind, "the watch is too old: the kind is listed again");
                    return tokio::time::sleep(FIRST).await;
                }
                Err(error) => {
                    let trouble = Trouble { why: explain(&error), refused: is_refused(&error) };
                    if self.trouble(trouble).await {
                        return;
                    }
                }
            }
        }
    }

    fn heard(&mut self, event: Event<Raw>) {
        let (api_version, name) = &self.kind;
        match event {
            Event::Init => self.store.begin(&self.kind),
            Event::InitApply(raw) => self.store.stage(&self.kind, raw.seen(api_version, name)),
            Event::InitDone => {
                (self.listed, self.refusals) = (Some(Instant::now()), 0);
                let first = !self.store.synced(api_version, name);
                let changes = self.store.commit(&self.kind);
                self.listener.synced(&self.kind);
                for change in &changes {
                    self.listener.changed(&self.kind, change, first);
                }
            }
            Event::Apply(raw) => {
                self.listener.changed(&self.kind, &self.store.put(&self.kind, raw.seen(api_version, name)), false);
            }
            Event::Delete(raw) => {
                self.listener.changed(&self.kind, &self.store.remove(&self.kind, raw.seen(api_version, name)), false);
            }
        }
    }

    /// Waits, longer each time; tells whether the server has refused the kind.
    async fn trouble(&mut self, trouble: Trouble) -> bool {
        if self.listed.take().is_some_and(|listed| listed.elapsed() >= HEALTHY) {
            self.wait = FIRST;
        }
        self.refusals = if trouble.refused { self.refusals.saturating_add(1) } else { 0 };
        let refused = self.refusals >= REFUSALS;
        let (api_version, kind, why) = (&self.kind.0, &self.kind.1, &trouble.why);
        warn!(api_version, kind, why, wait_s = self.wait.as_secs(), "a kind cannot be watched");
        self.store.trouble(&self.kind, Trouble { refused, ..trouble });
        if refused {
            self.listener.refused(&self.kind);
        }
        tokio::time::sleep(self.wait).await;
        self.wait = (self.wait * 2).min(LONGEST);
        refused
    }
}

/// What the server calls this kind. Asked, never guessed: plurals do not follow one rule.
pub(crate) async fn resource(client: &Client, store: &Store, kind: &Kind) -> Result<ApiResource, Trouble> {
    let (api_version, name) = kind;
    let list = if api_version.contains('/') {
        client.list_api_group_resources(api_version).await
    } else {
        client.list_core_api_resources(api_version).await
    };
    let missing = || {
        let why = format!("the API server does not serve {api_version} {name}; install its CustomResourceDefinition");
        Trouble { why, refused: true }
    };
    let list = match list {
        Ok(list) => list,
        Err(kube::Error::Api(status)) if status.code == 404 => return Err(missing()),
        Err(error) => {
            let why = format!("the API server cannot be asked for {api_version} {name}: {}", explain(&error));
            return Err(Trouble { why, refused: false });
        }
    };
    let found = list.resources.into_iter().find(|found| found.kind == *name && !found.name.contains('/'));
    let found = found.ok_or_else(missing)?;
    store.serve(kind, found.name.clone(), found.namespaced);
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    Ok(ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, name), &found.name))
}

/// Which group-versions the server serves.
///
/// # Errors
/// When it cannot be asked.
pub async fn versions(client: &Client) -> Result<Vec<String>, String> {
    let wrong = |error: kube::Error| format!("the API server cannot be asked what it serves: {}", explain(&error));
    let mut versions = client.list_core_api_versions().await.map_err(wrong)?.versions;
    let groups = client.list_api_groups().await.map_err(wrong)?.groups;
    versions.extend(groups.into_iter().flat_map(|group| group.versions).map(|version| version.group_version));
    Ok(versions)
}

/// Whether the server no longer knows what changed since the watch last heard of it.
fn is_expired(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::WatchStartFailed(kube::Error::Api(status)) | watcher::Error::WatchError(status) => {
            status.code == 410
        }
        _ => false,
    }
}

/// Whether only an administrator can change the answer.
fn is_refused(error: &watcher::Error) -> bool {
    let code = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => status.code,
        _ => return false,
    };
    matches!(code, 403..=405)
}

/// An error with its causes, in one line. Never with an object's content: kube quotes none of it here.
pub(crate) fn explain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    let mut text = error.to_string();
    for cause in causes.map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}
