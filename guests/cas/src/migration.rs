//! To which nodes CAS may move: those whose backup the backup controller has registered, as its log tells.

use std::collections::BTreeMap;

use operator_guest::{PodLogQuery, Query, QueryFailure, Snapshot};
use scone_api::{
    cas::{CAS, CASSpec, CASStatus},
    owned::Standing,
    pod::ObservedPod,
};

use crate::{
    observe::{Observation, ObservedNode},
    spec,
    workload::{self, Site},
};

/// The id of the query about the log.
pub(crate) const LOG: &str = "backup-log";
/// What every line with the map of registered nodes contains.
const LINE: &str = "true";
/// The condition that remembers since when the backup controller is away.
pub(crate) const READY: &str = "BackupControllerReady";
/// The condition that remembers which backup controller has registered the nodes: its log may be rotated.
pub(crate) const ENABLED: &str = "MigrationEnabled";

/// What is known of migration.
pub(crate) struct Migration {
    /// `n/m`, `Disabled` or `Initializing`.
    pub(crate) ratio: String,
    pub(crate) registered: i32,
    pub(crate) wanted: i32,
    /// Nodes that are missing; -1 when unknown.
    pub(crate) alert: i32,
    /// Missing pods of the backup controller; -1 when unknown.
    pub(crate) replica_alert: i32,
    /// The start of the backup controller that has registered them.
    pub(crate) since: Option<String>,
    /// Why its log cannot be read.
    pub(crate) failure: Option<QueryFailure>,
}

impl Migration {
    /// Whether CAS may move to every node that it should be able to move to.
    pub(crate) fn is_enabled(&self) -> bool {
        self.alert == 0
    }
}

/// Asks for the log of the backup controller that runs.
pub(crate) fn question(site: &Site<'_>, spec: &CASSpec, observation: &Observation) -> Option<Query> {
    let pod = spec::backup(spec).and_then(|_| controller(observation))?;
    Some(PodLogQuery::of(site.namespace, &pod.metadata.name, workload::BACKUP, LINE).limit(10).ask(LOG))
}

/// The backup controller that runs; of several the youngest.
fn controller(observation: &Observation) -> Option<&ObservedPod> {
    let running = observation.pods_with(workload::BACKUP).filter(|pod| started(pod).is_some());
    running.max_by_key(|pod| pod.metadata.creation_timestamp.as_deref())
}

fn started(pod: &ObservedPod) -> Option<&str> {
    Some(pod.container(workload::BACKUP)?.state.running.as_ref()?.started_at.as_str())
}

/// Judges migration. `standing` is that of the Deployment: a controller that is about to be replaced tells of registrations that
/// its successor makes anew.
pub(crate) fn judge(
    snapshot: &Snapshot<CAS>,
    spec: &CASSpec,
    observation: &Observation,
    standing: Option<Standing>,
) -> Migration {
    let earlier = snapshot.parent.status.as_ref();
    if spec::backup(spec).is_none() {
        let wanted = count(&nodes(observation));
        return Migration {
            ratio: "Disabled".to_owned(),
            registered: 0,
            wanted,
            alert: 0,
            replica_alert: 0,
            since: None,
            failure: None,
        };
    }
    let nodes = nodes(observation);
    let wanted = match observation.nodes {
        Some(_) => count(&nodes),
        None => earlier.map_or(0, |status| status.desired_num_migratable_nodes),
    };
    let settled = standing == Some(Standing::Wanted)
        && observation
            .backup
            .as_ref()
            .is_some_and(|set| set.current().is_some_and(|status| status.updated_replicas > 0));
    let pod = controller(observation).filter(|_| settled);
    let since = pod.and_then(started);
    let told = pod.and_then(|_| snapshot.lines(LOG));
    let failure = told.clone().and_then(Result::err).filter(|failure| !matches!(failure, QueryFailure::NotFound(_)));
    let map = told.and_then(Result::ok).and_then(registered);
    let remembered = earlier.and_then(remembered);
    // While the pods are unknown nothing new is known either.
    let is_same =
        if observation.pods.is_none() { remembered.is_some() } else { since.is_some() && since == remembered };
    let since = since.or(remembered.filter(|_| observation.pods.is_none()));
    let kept = earlier.filter(|status| is_same && status.migration_node_ratio.contains('/'));
    let count_of = |map: &BTreeMap<String, bool>| {
        let is_on = |key: &str| map.get(key) == Some(&true);
        i32::try_from(nodes.iter().filter(|node| is_on(&node.metadata.name) || is_on(&node.metadata.uid)).count())
            .unwrap_or(i32::MAX)
    };
    let registered = match &map {
        Some(map) if observation.nodes.is_some() => Some(count_of(map)),
        _ => kept.map(|status| status.num_migratable_nodes.min(wanted)),
    };
    let ready = observation.pods_with(workload::BACKUP).filter(|pod| pod.is_ready()).count();
    Migration {
        ratio: registered.map_or_else(|| "Initializing".to_owned(), |registered| format!("{registered}/{wanted}")),
        registered: registered.unwrap_or(0),
        wanted,
        // Before the first map even a cluster without other nodes is not known to be registered.
        alert: if failure.is_some() && registered.is_none() {
            -1
        } else {
            registered.map_or(wanted.max(1), |registered| wanted - registered)
        },
        replica_alert: if observation.pods.is_none() { -1 } else { i32::from(ready == 0) },
        since: since.map(str::to_owned).filter(|_| registered.is_some()),
        failure,
    }
}

/// The start of the backup controller that has registered the nodes, at the end of a message of an earlier answer.
fn remembered(status: &CASStatus) -> Option<&str> {
    let condition =
        status.conditions.iter().find(|condition| condition.type_ == ENABLED && condition.status != "Unknown")?;
    condition.message.rsplit(' ').next()
}

/// The nodes to which CAS should be able to move: they run the SGX plugin, offer SGX, and take pods.
fn nodes(observation: &Observation) -> Vec<&ObservedNode> {
    observation.nodes.iter().flatten().filter(|node| node.is_capable() && node.is_schedulable()).collect()
}

fn count(nodes: &[&ObservedNode]) -> i32 {
    i32::try_from(nodes.len()).unwrap_or(i32::MAX)
}

/// The newest map of nodes in the log: JSON from a node's name or UID to true.
fn registered(lines: &[String]) -> Option<BTreeMap<String, bool>> {
    lines.iter().rev().find_map(|line| {
        let (from, to) = (line.find('{')?, line.rfind('}')?);
        serde_json::from_str(line.get(from..=to)?).ok()
    })
}
