//! The pods: do they work, what stands in the way, and what Vault said when it was initialised.

use operator_guest::{QueryFailure, Snapshot};
use scone_api::{
    missing::START,
    observe::unix_seconds,
    pod::{ContainerStatus, ObservedPod},
    problem::{self, Problem},
    vault::Vault,
};

use crate::{certificate::Certificate, injector::INJECTOR, objects::Site, observe::Observation, server::VAULT};

/// The init container that registers Vault with CAS, where it is called so.
pub(crate) const INIT: &str = "vault-init";
/// What stands on the line with the statement.
pub(crate) const STATEMENT_LINE: &str = "statement";
/// The shortest statement: shorter words in base64 occur in any log.
const SHORTEST: usize = 64;

/// What the pods tell.
pub(crate) struct Pods {
    /// What stands in the way.
    pub(crate) problems: Vec<Problem>,
    /// How many pods of Vault there are; none while unknown.
    pub(crate) present: Option<usize>,
    /// How many of them are ready.
    pub(crate) ready: Option<i32>,
    /// Logs that may hold the statement: pod and container.
    pub(crate) logs: Vec<(String, String)>,
    /// The statement, from a log.
    pub(crate) statement: Option<String>,
    /// Why a log cannot be read.
    pub(crate) unread: Option<String>,
}

/// The id of a log query.
pub(crate) fn log_id(pod: &str, container: &str) -> String {
    format!("log-{pod}-{container}")
}

/// Looks at every pod.
pub(crate) fn look(observation: &Observation, site: &Site<'_>, snapshot: &Snapshot<Vault>) -> Pods {
    let now = snapshot.now.unwrap_or_default();
    let look = Look { observation, now };
    let of_vault = observation.pods.as_deref().unwrap_or_default();
    let of_injector = observation.injectors.as_deref().unwrap_or_default();
    let mut problems: Vec<_> = of_vault.iter().flat_map(|pod| look.vault(pod)).collect();
    problems.extend(of_injector.iter().flat_map(|pod| look.injector(pod)));
    let ready = of_vault.iter().filter(|pod| pod.is_ready() && !pod.is_leaving() && !look.is_silent(pod)).count();
    let known = observation.pods.is_some();
    let mut pods = Pods {
        problems,
        present: known.then(|| of_vault.iter().filter(|pod| pod.is_present(now)).count()),
        ready: known.then(|| i32::try_from(ready).unwrap_or(i32::MAX)),
        logs: of_vault.iter().flat_map(|pod| logs(pod, site)).collect(),
        statement: None,
        unread: None,
    };
    read_statement(&mut pods, snapshot);
    pods
}

/// Vault itself first: what it says last is the latest.
fn logs(pod: &ObservedPod, site: &Site<'_>) -> Vec<(String, String)> {
    let has_init = site.spec.server.extra_init_containers.iter().flatten().any(|container| container.name == INIT);
    let ran = |status: Option<&ContainerStatus>| {
        status.is_some_and(|status| status.state.running.is_some() || status.state.terminated.is_some())
    };
    let init = pod.init_containers().iter().find(|container| container.name == INIT);
    let vault = (VAULT, ran(pod.container(VAULT)));
    let wanted = [vault, (INIT, has_init && ran(init))].into_iter().filter(|(_, wanted)| *wanted);
    wanted.map(|(container, _)| (pod.metadata.name.clone(), container.to_owned())).collect()
}

fn read_statement(pods: &mut Pods, snapshot: &Snapshot<Vault>) {
    for (pod, container) in &pods.logs {
        match snapshot.lines(&log_id(pod, container)) {
            Some(Ok(lines)) => {
                let found = lines.iter().rev().find_map(|line| statement(line)).map(str::to_owned);
                pods.statement = pods.statement.take().or(found);
            }
            // A pod that is too young or gone has no log; time tells.
            Some(Err(failure @ (QueryFailure::Denied(_) | QueryFailure::Failed(_)))) => {
                pods.unread = Some(format!("the log of container {container} of pod {pod} cannot be read: {failure}"));
            }
            Some(Err(_)) | None => {}
        }
    }
}

/// The last word of a line that is a long text in base64.
fn statement(line: &str) -> Option<&str> {
    let is_base64 = |word: &&str| {
        let body = word.trim_end_matches('=');
        word.len() >= SHORTEST
            && word.len().is_multiple_of(4)
            && word.len() - body.len() <= 2
            && body.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
    };
    line.rsplit(|c: char| c.is_whitespace() || matches!(c, ':' | ',' | ';' | '"' | '\'' | '(' | ')' | '[' | ']'))
        .find(is_base64)
}

/// One look at the pods.
struct Look<'a> {
    observation: &'a Observation,
    now: i64,
}

impl Look<'_> {
    fn is_silent(&self, pod: &ObservedPod) -> bool {
        let silent = self.observation.silent.as_ref();
        pod.node().is_some_and(|node| silent.is_some_and(|silent| silent.contains(node)))
    }

    fn vault(&self, pod: &ObservedPod) -> Vec<Problem> {
        let main = pod.container(VAULT);
        let (node, name) = (pod.node().unwrap_or("unknown"), &pod.metadata.name);
        let of_init =
            |container: &ContainerStatus| problem::of_role(node, name, container, true, "extraInitContainers");
        self.of(pod, "Vault", true, || {
            let mut found: Vec<_> = pod.init_containers().iter().filter_map(of_init).collect();
            found.extend(main.and_then(|container| {
                post_start(name, container).or_else(|| problem::of_container(node, name, container, VAULT))
            }));
            found
        })
    }

    fn injector(&self, pod: &ObservedPod) -> Vec<Problem> {
        let (node, name) = (pod.node().unwrap_or("unknown"), &pod.metadata.name);
        let main = pod.container(INJECTOR);
        // Without its certificate it cannot start, and that is told elsewhere.
        let hurries = matches!(self.observation.certificate, Certificate::Known(_));
        self.of(pod, "the injector of Vault", hurries, || {
            main.and_then(|container| problem::of_container(node, name, container, INJECTOR)).into_iter().collect()
        })
    }

    /// What holds for every pod, and else what its containers tell. One that hurries must start in its time.
    fn of(&self, pod: &ObservedPod, what: &str, hurries: bool, containers: impl Fn() -> Vec<Problem>) -> Vec<Problem> {
        // Also one that leaves: on a silent node it never does, and nothing takes its place.
        if let Some(node) = pod.node().filter(|_| self.is_silent(pod)) {
            return vec![problem::node_not_ready(node, what)];
        }
        if pod.is_leaving() {
            return Vec::new();
        }
        if let Some(message) = pod.unschedulable() {
            return vec![problem::unplaced(&pod.metadata.name, message)];
        }
        let mut found = containers();
        if hurries && found.is_empty() && self.is_late(pod) {
            found.push(problem::not_ready(pod.node().unwrap_or("unknown"), &pod.metadata.name));
        }
        found
    }

    /// Whether the pod has had its time to start and still does not work.
    fn is_late(&self, pod: &ObservedPod) -> bool {
        let running = [VAULT, INJECTOR].into_iter().filter_map(|name| pod.running_since(name));
        let made = pod.metadata.creation_timestamp.as_deref().and_then(unix_seconds);
        let since = running.chain(made).max();
        !pod.is_ready() && since.is_some_and(|since| self.now - since >= START)
    }
}

/// Kubelet kills a container whose hook fails, again and again.
fn post_start(pod: &str, container: &ContainerStatus) -> Option<Problem> {
    let waiting = container.state.waiting.as_ref()?;
    (waiting.reason == "PostStartHookError").then(|| {
        let message = format!(
            "spec.server.postStart fails in pod {pod}; see: kubectl describe pod {pod}, and make sure that the policies of this \
             OWNER_ID are in CAS (kubectl provision vault uploads them)"
        );
        Problem::new("PostStartFailed", message)
    })
}
