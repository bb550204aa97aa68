//! From what is observed to one state with its reason.

use k8s_openapi::apimachinery::pkg::apis::meta::v1;
use operator_guest::Condition;
use scone_api::{
    State,
    missing::{Pods as Present, START, is_overdue},
    owned::Owned,
    problem::Problem,
    report,
    vault::{Vault, VaultStatus},
};

use crate::{admission::enabled, certificate::Certificate, objects::Site, observe::Observation, pods::Pods};

/// Whether the injector works, where there is one. The host remembers since when.
const INJECTOR: &str = "InjectorWorks";

/// What to do where an injector is wanted that nobody allows.
pub(crate) const NOT_ALLOWED: &str = "an administrator sets the setting injector of module vault to own-namespace";

/// The verdict: the status, and why.
pub(crate) struct Judgement {
    pub(crate) status: VaultStatus,
    /// The reason and message of `Ready` and `IsHealthy`.
    pub(crate) why: Problem,
}

/// Everything that the verdict depends on.
pub(crate) struct Evidence<'a> {
    pub(crate) parent: &'a Vault,
    pub(crate) site: &'a Site<'a>,
    pub(crate) observation: &'a Observation,
    pub(crate) pods: &'a Pods,
    /// The objects that it owns.
    pub(crate) owned: &'a [Owned],
    /// Unix seconds.
    pub(crate) now: i64,
}

impl Evidence<'_> {
    /// The conditions as the host has dated them.
    fn said(&self) -> &[v1::Condition] {
        self.parent.status.as_ref().map_or(&[][..], |status| &status.conditions)
    }

    /// How many pods there are, once that is known.
    pub(crate) fn missing(&self) -> Option<Present> {
        self.pods.present.map(|present| Present::counted(present, 1, "statefulset"))
    }

    /// Whether all objects of Vault, or all of its injector, work.
    fn work(&self, of_injector: bool) -> bool {
        let injector = format!("{}-agent-injector", self.site.name);
        let is_named =
            |owned: &Owned| owned.prefix().split_once('.').is_some_and(|(_, name)| name.starts_with(&injector));
        let mut objects = self.owned.iter().filter(|owned| is_named(owned) == of_injector);
        objects.all(|owned| owned.works() == Some(true))
    }

    /// What keeps the Vault from being healthy while its injector does not work.
    fn injector_starts(&self) -> Option<(State, Problem)> {
        let (site, name) = (self.site, self.site.name);
        let certificate = self.observation.certificate.problem(site);
        if !site.injects() || (certificate.is_none() && self.work(true)) {
            return None;
        }
        let late = is_overdue(self.said(), INJECTOR, "False", self.now);
        let since = if late { format!(", after {} minutes", START / 60) } else { String::new() };
        let message = format!("Vault serves, and its injector {name}-agent-injector does not yet{since}");
        let message = match certificate {
            Some(problem) => format!("{message}, for want of a certificate: {}", problem.message),
            None if late => format!("{message}; see: kubectl logs deployment/{name}-agent-injector"),
            None => message,
        };
        Some(if late {
            (State::Unhealthy, Problem::new("InjectorNotReady", message))
        } else {
            (State::Pending, Problem::new("InjectorStarting", message))
        })
    }

    /// Whether the injector works. The host remembers since when.
    pub(crate) fn injector(&self) -> Condition {
        if !self.site.injects() {
            return if self.site.wants_injector() {
                let message = format!("spec.injector.enabled has no effect: {NOT_ALLOWED}");
                Condition::false_(INJECTOR, "NotAllowed", message)
            } else {
                Condition::true_(INJECTOR, "NotWanted", "spec.injector.enabled is not true")
            };
        }
        if let Some(problem) = self.observation.certificate.problem(self.site) {
            return Condition::false_(INJECTOR, problem.reason, problem.message);
        }
        if self.work(true) {
            return Condition::true_(INJECTOR, "Works", "it serves, and the API server knows its CA");
        }
        Condition::false_(INJECTOR, "Starting", "it does not serve yet, or the API server does not know its CA")
    }
}

/// Judges one Vault.
pub(crate) fn judge(evidence: &Evidence<'_>) -> Judgement {
    let (state, why) = state(evidence);
    let earlier = evidence.parent.status.as_ref().map(|status| status.init_statement.clone()).unwrap_or_default();
    let ready = evidence.pods.ready;
    let status = VaultStatus {
        state,
        // It is written once; a log is rotated.
        init_statement: evidence.pods.statement.clone().unwrap_or(earlier),
        desired_replicas: Some(1),
        ready_replicas: Some(ready.unwrap_or(-1)),
        sgx_replica_alert: Some(ready.map_or(-1, |ready| (1 - ready).max(0))),
        ..VaultStatus::default()
    };
    Judgement { status, why }
}

/// The state and why. What needs a human comes first, what is on its way last.
fn state(evidence: &Evidence<'_>) -> (State, Problem) {
    let Evidence { observation, pods, .. } = evidence;
    if let Some(problem) = report::summary(&pods.problems, "see kubectl describe pod") {
        return (State::Unhealthy, problem);
    }
    if !observation.errors.is_empty() {
        let message = format!("{}; let the operator list them", observation.errors.join("; "));
        return (State::Unhealthy, Problem::new("ClusterUnreadable", message));
    }
    if let Some(found) = evidence.owned.iter().find_map(|owned| owned.waits(evidence.said(), evidence.now)) {
        return found;
    }
    let Some(ready) = pods.ready.filter(|_| observation.silent.is_some() && observation.injectors.is_some()) else {
        return (State::Pending, Problem::new("Observing", "the pods are not known yet".to_owned()));
    };
    if evidence.site.injects() && observation.certificate == Certificate::Unknown {
        let message = "the certificate of the injector is not known yet".to_owned();
        return (State::Pending, Problem::new("Observing", message));
    }
    running(evidence, ready)
}

/// The same once everything is as wanted, and its pods are known.
fn running(evidence: &Evidence<'_>, ready: i32) -> (State, Problem) {
    let name = evidence.site.name;
    let missing = evidence.missing().and_then(|pods| pods.overdue(evidence.said(), evidence.now, ""));
    if let Some(problem) = missing {
        return (State::Unhealthy, problem);
    }
    if ready < 1 || !evidence.work(false) {
        let message = format!("pod {name}-0 is not ready yet: Vault starts, is initialised and unsealed");
        return (State::Pending, Problem::new("PodsStarting", message));
    }
    if let Some(found) = evidence.injector_starts() {
        return found;
    }
    let probed = enabled(evidence.site.spec.server.readiness_probe.as_ref(), true);
    let message = if probed {
        format!("Vault serves under {}, initialised and unsealed", evidence.site.address())
    } else {
        format!("Vault runs under {}; whether it is unsealed is not probed", evidence.site.address())
    };
    (State::Healthy, Problem::new("Healthy", message))
}

/// The status of a Vault that is being deleted: what was known of it, pending.
pub(crate) fn going(parent: &Vault) -> VaultStatus {
    let earlier = parent.status.clone().unwrap_or_default();
    VaultStatus { state: State::Pending, conditions: Vec::new(), observed_generation: None, ..earlier }
}

/// Whether it is known what Vault said when it was initialised.
pub(crate) fn statement(status: &VaultStatus, unread: Option<&str>) -> Condition {
    const TYPE: &str = "InitStatementKnown";
    if !status.init_statement.is_empty() {
        return Condition::true_(
            TYPE,
            "Known",
            "status.initStatement holds it; check it with: kubectl provision vault --verify",
        );
    }
    match unread {
        Some(why) => Condition::false_(TYPE, "LogUnreadable", format!("{why}; let the operator read pods/log")),
        None => Condition::false_(TYPE, "NotSeen", "no log holds it yet; Vault writes it once, when it is initialised"),
    }
}
