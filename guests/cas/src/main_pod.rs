//! The one pod of CAS: what stands in its way, and the deletion of one that is stuck.

use k8s_openapi::api::core::v1::Pod;
use operator_guest::{Action, Event, ObjectRef, QueryFailure, Snapshot};
use scone_api::{
    cas::{CAS, CASSpec},
    missing::START,
    observe::unix_seconds,
    pod::ObservedPod,
    problem::{self, Problem},
};

use crate::{
    duration,
    observe::Observation,
    workload::{AUDIT, CAS as CONTAINER, Site},
};

/// The longest back-off.
const LONGEST: i64 = 3600;

/// A pod that is stuck Pending, and what is done about it.
#[derive(Default)]
pub(crate) struct Stuck {
    /// How long a pod must be stuck before it is deleted, for the status.
    pub(crate) backoff: Option<String>,
    /// The deletion, when its time has come.
    pub(crate) action: Option<Action>,
    /// Tells of it.
    pub(crate) event: Option<Event>,
}

/// What to do about a pod that does not get off. A `StatefulSet` does not replace a pod that never started, so a pod that was
/// made for an earlier spec, or whose node died before it started, stays for ever. It is deleted when its successor has a place to go,
/// ever less often: a cure that did not help before will not help at once.
pub(crate) fn stuck(snapshot: &Snapshot<CAS>, site: &Site<'_>, spec: &CASSpec, observation: &Observation) -> Stuck {
    let earlier = snapshot.parent.status.as_ref();
    let told = earlier.and_then(|status| status.main_pod_deletion_attempt_backoff_time.as_deref());
    let Some(pod) = observation.main_pod(site) else {
        // Between two pods the back-off stays.
        return Stuck { backoff: told.map(str::to_owned), ..Stuck::default() };
    };
    // A pod that provisions CAS counts as pending too, and is at work.
    let is_at_work = pod.init_containers().iter().any(|container| container.state.running.is_some());
    if (!pod.is_pending() || is_at_work) && !pod.is_leaving() {
        return Stuck::default();
    }
    // The next pod would have the same image, and kubelet forget that it waits.
    if problems(pod, &[CONTAINER, AUDIT], observation, "CAS").iter().any(|problem| problem.reason == "ImagePullFailed")
    {
        return Stuck::default();
    }
    let waited = told.and_then(duration::seconds).map_or(START, |told| told.clamp(START, LONGEST));
    let id = action_id(pod);
    let under_way = snapshot.answer(&id).is_some_and(|answer| matches!(answer.outcome, Err(QueryFailure::Pending)));
    let age = pod.metadata.creation_timestamp.as_deref().and_then(unix_seconds);
    let late = age.is_some_and(|made| snapshot.now.unwrap_or_default() - made >= waited);
    let selector = spec.node_selector.clone().unwrap_or_default();
    let has_place = observation.nodes.iter().flatten().any(|node| node.takes(&selector));
    let is_due = (late || under_way) && has_place && !pod.is_leaving() && !pod.metadata.uid.is_empty();
    // Told with the try itself, whatever comes of it: afterwards the pod is gone, and with it who could tell of it.
    let next = if is_due && !under_way { (waited * 2).min(LONGEST) } else { waited };
    let message = || {
        format!(
            "pod {} is stuck Pending for {}, and other nodes fit: it is deleted, and made again",
            pod.metadata.name,
            duration::text(waited)
        )
    };
    let identity = ObjectRef::named::<Pod>(&pod.metadata.name).in_namespace(site.namespace);
    Stuck {
        backoff: (late || told.is_some()).then(|| duration::text(next)),
        action: is_due.then(|| Action::delete(&id, identity, &pod.metadata.uid)),
        event: (is_due && !under_way).then(|| Event::warning("MainPodStuck", "Delete", message())),
    }
}

/// Of one pod only: the outcome for another one of the same name is another answer.
fn action_id(pod: &ObservedPod) -> String {
    format!("delete-{}", pod.metadata.uid)
}

/// What keeps a pod from working and waiting will not cure. The first container is the main one.
pub(crate) fn problems(pod: &ObservedPod, containers: &[&str], observation: &Observation, what: &str) -> Vec<Problem> {
    // Also of one that leaves: on a silent node it never does, and nothing takes its place.
    if let Some(node) = pod.node().filter(|node| observation.silent_nodes().contains(node)) {
        return vec![problem::node_not_ready(node, what)];
    }
    if pod.is_leaving() {
        return Vec::new();
    }
    if let Some(message) = pod.unschedulable() {
        return vec![problem::unplaced(&pod.metadata.name, message)];
    }
    let Some(node) = pod.node() else { return Vec::new() };
    let mut problems = Vec::new();
    let main = containers.first().copied().unwrap_or_default();
    let first = pod.init_containers().iter();
    problems.extend(first.filter_map(|container| problem::of_container(node, &pod.metadata.name, container, main)));
    problems.extend(containers.iter().filter_map(|name| {
        pod.container(name).and_then(|container| problem::of_container(node, &pod.metadata.name, container, main))
    }));
    // Containers of one image fail to be pulled together, so it is one problem.
    problems.dedup_by(|next, first| first.reason == "ImagePullFailed" && next.reason == first.reason);
    problems
}
