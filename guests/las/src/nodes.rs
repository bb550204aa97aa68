//! One node in detail: is LAS there, does it quote, what is its public key, and what stands in the way.

use std::collections::BTreeMap;

use operator_guest::{QueryFailure, Snapshot};
use scone_api::missing::START;

use crate::{
    api::{LAS, LASNodeStatus},
    observe::{Observation, unix_seconds},
    pod::{ContainerStatus, ObservedPod, by_node},
    problem::{self, Problem},
    workload::{self, PROBE_FAILURES, PROBE_PERIOD, PROBE_TIMEOUT},
};

/// What LAS writes into its log beside its public key.
pub(crate) const KEY_LINE: &str = "public key";
/// Pod logs asked for at most; later nodes show no key. Each is one request a minute.
pub(crate) const MOST_LOGS: usize = 200;

/// Seconds after which a probe that never succeeded has failed.
const FIRST_VERDICT: i64 = 5 + (PROBE_PERIOD * PROBE_FAILURES + PROBE_TIMEOUT) as i64;

/// All nodes that have, or should have, a LAS pod.
#[derive(Default)]
pub(crate) struct Nodes {
    /// What the status shows of each.
    pub(crate) statuses: BTreeMap<String, LASNodeStatus>,
    /// What stands in the way, each named with its node.
    pub(crate) problems: Vec<Problem>,
    /// Whether some pod is still starting, without a problem.
    pub(crate) starting: bool,
    /// How many nodes have a pod.
    pub(crate) present: usize,
    /// Pods whose log holds the key of their node.
    pub(crate) logs: Vec<String>,
    /// Image tags of the pods, each once, in order.
    pub(crate) versions: Vec<String>,
}

/// The id of the log query of a pod.
pub(crate) fn log_id(pod: &str) -> String {
    format!("log-{pod}")
}

/// Looks at every pod. None while the pods are unknown.
pub(crate) fn nodes(snapshot: &Snapshot<LAS>, observation: &Observation, keyed: bool) -> Option<Nodes> {
    let pods = observation.pods.as_deref()?;
    let earlier = snapshot.parent.status.as_ref().and_then(|status| status.nodes.as_ref());
    let now = snapshot.now.unwrap_or_default();
    let silent = observation.silent_nodes();
    let mut found = Nodes::default();
    for (node, pod) in by_node(pods) {
        let earlier = earlier.and_then(|nodes| nodes.get(node));
        let look = Look { node, pod, is_silent: silent.contains(node), keyed, now, earlier };
        let (status, problems) = look.at(snapshot);
        found.starting |= problems.is_empty() && !(status.is_ready && status.las_probe_alert == 0);
        found.problems.extend(problems);
        found.present += usize::from(pod.is_present(now));
        if look.runs(workload::LAS) && found.logs.len() < MOST_LOGS {
            found.logs.push(pod.metadata.name.clone());
        }
        if let Some(image) = pod.image(workload::LAS) {
            found.versions.push(version(image).to_owned());
        }
        found.statuses.insert(node.to_owned(), status);
    }
    found.versions.sort_unstable();
    found.versions.dedup();
    Some(found)
}

/// The tag of an image; without one its digest, and without that what the registry takes for it.
pub(crate) fn version(image: &str) -> &str {
    let (named, digest) = image.split_once('@').map_or((image, None), |(named, digest)| (named, Some(digest)));
    let last = named.rsplit('/').next().unwrap_or(named);
    last.split_once(':').map(|(_, tag)| tag).or(digest).unwrap_or("latest")
}

/// One look at one node.
struct Look<'a> {
    node: &'a str,
    pod: &'a ObservedPod,
    /// Whether nobody says any more how its containers are.
    is_silent: bool,
    /// Whether the probe has a DCAP key, and so asks for a DCAP quote.
    keyed: bool,
    now: i64,
    /// What the status says of this node already.
    earlier: Option<&'a LASNodeStatus>,
}

impl Look<'_> {
    fn at(&self, snapshot: &Snapshot<LAS>) -> (LASNodeStatus, Vec<Problem>) {
        let is_ready = !self.is_silent && self.pod.container(workload::LAS).is_some_and(|container| container.ready);
        let probed = self.probe(is_ready);
        let started = self.started();
        let log = self.log(snapshot, started);
        let problems = self.problems(probed);
        let unread = log.failure.as_ref().map(|failure| problem::no_log(&self.pod.metadata.name, failure));
        let mut status = LASNodeStatus {
            is_ready,
            has_dcap_quote: if self.keyed { probed == 0 } else { log.dcap },
            has_epid_quote: log.epid,
            public_key: log.key,
            las_probe_alert: probed,
            last_running_started_at: started,
            last_probed_at: 0,
            last_computed_at: 0,
            error_messages: problems.iter().map(|problem| problem.message.clone()).chain(unread).collect(),
        };
        self.date(&mut status);
        (status, problems)
    }

    /// Times move only with the facts that they are about, so that a quiet cluster is never written to.
    fn date(&self, status: &mut LASNodeStatus) {
        let kept = |time: i64, same: bool| if same && time > 0 { time } else { self.now };
        let Some(earlier) = self.earlier else {
            (status.last_probed_at, status.last_computed_at) = (self.now, self.now);
            return;
        };
        let same_start = earlier.last_running_started_at == status.last_running_started_at;
        let same_probe = earlier.las_probe_alert == status.las_probe_alert;
        let same_log = earlier.public_key == status.public_key && earlier.has_epid_quote == status.has_epid_quote;
        status.last_probed_at = kept(earlier.last_probed_at, same_start && same_probe);
        status.last_computed_at = kept(earlier.last_computed_at, same_start && same_log);
    }

    /// 0 when the probe succeeds, 1 when it failed, -1 while it could not run or has not run yet.
    fn probe(&self, las_is_ready: bool) -> i32 {
        let Some(probe) = self.pod.container(workload::PROBE) else { return -1 };
        let Some(running) = &probe.state.running else { return -1 };
        match (las_is_ready, probe.ready) {
            (false, _) => -1,
            (true, true) => 0,
            (true, false) => {
                let tried = unix_seconds(&running.started_at).is_some_and(|since| self.now - since >= FIRST_VERDICT);
                if tried || self.failed_before() { 1 } else { -1 }
            }
        }
    }

    /// A probe that was judged since this pod started does not become unjudged.
    fn failed_before(&self) -> bool {
        self.earlier.is_some_and(|e| e.las_probe_alert >= 0 && e.last_running_started_at == self.started())
    }

    fn started(&self) -> i64 {
        let running = self.pod.container(workload::LAS).and_then(|container| container.state.running.as_ref());
        running.and_then(|running| unix_seconds(&running.started_at)).unwrap_or_default()
    }

    fn runs(&self, container: &str) -> bool {
        self.pod.container(container).is_some_and(|container| container.state.running.is_some())
    }

    fn log(&self, snapshot: &Snapshot<LAS>, started: i64) -> Log {
        let mut log = match snapshot.lines(&log_id(&self.pod.metadata.name)) {
            Some(Ok(lines)) => Log::read(lines),
            // A pod that is too young or gone has no log; time tells.
            Some(Err(failure @ (QueryFailure::Denied(_) | QueryFailure::Failed(_)))) => {
                Log { failure: Some(failure), ..Log::default() }
            }
            Some(Err(_)) | None => Log::default(),
        };
        // The log of a container that still runs may have been rotated; its key has not changed.
        if let (true, Some(earlier)) = (log.key.is_empty(), self.earlier)
            && earlier.last_running_started_at == started
            && started > 0
        {
            log.key.clone_from(&earlier.public_key);
            (log.dcap, log.epid) = (log.dcap || (earlier.has_dcap_quote && !self.keyed), earlier.has_epid_quote);
        }
        log
    }

    fn problems(&self, probed: i32) -> Vec<Problem> {
        let mut problems = Vec::new();
        let pod = &self.pod.metadata.name;
        if self.pod.is_leaving() {
            return problems;
        }
        if self.is_silent {
            return vec![problem::node_not_ready(self.node, "LAS")];
        }
        if let Some(message) = self.pod.unschedulable() {
            problems.push(problem::unschedulable(self.node, pod, message));
        }
        for name in [workload::LAS, workload::PROBE] {
            problems.extend(self.pod.container(name).and_then(|container| self.container(container)));
        }
        // Both containers have one image, so it is one problem.
        problems.dedup_by(|next, first| first.reason == "ImagePullFailed" && next.reason == first.reason);
        if probed == 1 {
            problems.push(probe_failed(self.node, pod));
        }
        if problems.is_empty() && self.is_late(probed) {
            problems.push(problem::not_ready(self.node, pod));
        }
        problems
    }

    fn container(&self, container: &ContainerStatus) -> Option<Problem> {
        problem::of_container(self.node, &self.pod.metadata.name, container, workload::LAS)
    }

    /// Whether the pod has had its time to start and still does not work.
    fn is_late(&self, probed: i32) -> bool {
        let running = [workload::LAS, workload::PROBE].map(|name| {
            let state = self.pod.container(name).map(|container| &container.state);
            state.and_then(|state| state.running.as_ref()).map(|running| running.started_at.as_str())
        });
        let times = running.into_iter().chain([self.pod.metadata.creation_timestamp.as_deref()]);
        let since = times.flatten().filter_map(unix_seconds).max();
        probed < 0 && since.is_some_and(|since| self.now - since >= START)
    }
}

/// What a log says.
#[derive(Default)]
struct Log {
    key: String,
    dcap: bool,
    epid: bool,
    failure: Option<QueryFailure>,
}

impl Log {
    fn read(lines: &[String]) -> Self {
        let mentions = |word: &str| lines.iter().any(|line| line.to_ascii_lowercase().contains(word));
        let key = lines.iter().rev().find_map(|line| public_key(line)).unwrap_or_default().to_owned();
        Self { key, dcap: mentions("dcap"), epid: mentions("epid"), failure: None }
    }
}

/// The last word of a line that is a key in hex or base64: 32 characters or more, so that no ordinary word is one.
pub(crate) fn public_key(line: &str) -> Option<&str> {
    let is_key = |word: &&str| {
        word.len() >= 32
            && word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=' | b'-' | b'_'))
            && word.bytes().any(|b| b.is_ascii_digit())
    };
    line.rsplit(|c: char| c.is_whitespace() || matches!(c, ':' | ',' | ';' | '"' | '\'' | '(' | ')' | '[' | ']'))
        .map(|word| word.trim_end_matches('.').trim_start_matches("0x"))
        .find(is_key)
}

/// LAS listens, but the probe finds that it does not work. The usual reason is published: the device is not open to every
/// user id, since some programs change theirs when they start.
fn probe_failed(node: &str, pod: &str) -> Problem {
    Problem::new(
        "ProbeFailed",
        format!(
            "node {node}: the probe of pod {pod} failed; set mode 0666 on /dev/sgx_enclave (on the host, and in the virtual \
             machine if there is one) and delete the pod; see: kubectl describe pod {pod}"
        ),
    )
}
