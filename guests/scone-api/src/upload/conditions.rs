//! What a policy tells beside its state.

use k8s_openapi::apimachinery::pkg::apis::meta::v1;
use operator_guest::{Condition, ConditionStatus};

use super::{
    Place,
    belief::Server,
    decide::{Evidence, Namespace, Verdict},
    reply::{Reply, Seen},
};
use crate::{policy::PolicyState, problem::Problem};

const READY: &str = "Ready";
const REACHABLE: &str = "CASReachable";
const TRUSTED: &str = "CASTrusted";
const NAMESPACE: &str = "NamespaceReady";

/// The conditions that follow from what CAS says.
pub(super) fn conditions(
    evidence: &Evidence<'_>,
    verdict: &Verdict,
    place: &Place<'_>,
    server: &Server,
) -> Vec<Condition> {
    if verdict.repeats() {
        return [READY, REACHABLE, TRUSTED, NAMESPACE].into_iter().map(|type_| said(place, type_, true)).collect();
    }
    let why = verdict.why(place.status);
    let heard = evidence.hears();
    vec![
        ready(verdict.state, &why),
        reachable(verdict.state, &why, place, heard),
        trusted(verdict.state, &why, place, server, heard),
        namespace(evidence, verdict.state, place),
    ]
}

/// The same while nobody was asked for the session.
pub(super) fn unasked(verdict: &Verdict, place: &Place<'_>, why: &Problem) -> Vec<Condition> {
    let unknown = |type_| Condition::unknown(type_, "NotAsked", "CAS has not been asked");
    let reachable = match verdict.state {
        PolicyState::Unreachable => reachable(verdict.state, why, place, false),
        _ => unknown(REACHABLE),
    };
    vec![ready(verdict.state, why), reachable, unknown(TRUSTED), unknown(NAMESPACE)]
}

/// What deleting the resource does. Told before, since nobody is there to tell it afterwards.
pub(super) fn deletion(kind: &str) -> Condition {
    let message = format!(
        "CAS knows no deletion: the session stays there when this {kind} is deleted; to take its rights away, register a version \
         of it that allows nothing"
    );
    Condition::true_("DeletionKeepsSession", "NoDeletionInCAS", message)
}

impl Evidence<'_> {
    /// Whether CAS has said anything now.
    fn hears(&self) -> bool {
        matches!(self.sent, Reply::Http(_))
            || matches!(self.seen, Seen::Alive | Seen::Absent | Seen::Hidden | Seen::Holds { .. })
    }
}

fn ready(state: PolicyState, why: &Problem) -> Condition {
    let status = ConditionStatus::from(state == PolicyState::Registered);
    Condition::new(READY, status, why.reason, why.message.clone())
}

fn reachable(state: PolicyState, why: &Problem, place: &Place<'_>, heard: bool) -> Condition {
    match state {
        PolicyState::Unreachable => Condition::false_(REACHABLE, why.reason, why.message.clone()),
        PolicyState::Untrusted => {
            Condition::unknown(REACHABLE, "NotTrusted", "nothing is asked of a server that is not to be believed")
        }
        _ if heard => Condition::true_(REACHABLE, "Answered", format!("{} answers", place.cas)),
        _ => said(place, REACHABLE, place.same),
    }
}

fn trusted(state: PolicyState, why: &Problem, place: &Place<'_>, server: &Server, heard: bool) -> Condition {
    let cas = place.cas;
    match state {
        PolicyState::Untrusted => Condition::false_(TRUSTED, why.reason, why.message.clone()),
        _ if heard => {
            let message = match server.how {
                "FirstUse" => format!("{cas} shows the certificate that it showed first; it is kept in a ConfigMap"),
                "Pinned" => format!("{cas} shows the certificate that is pinned"),
                "SecretCertificate" => format!("the certificate in the Secret vouches for {cas}"),
                _ => format!("a public authority vouches for {cas}"),
            };
            Condition::true_(TRUSTED, server.how, message)
        }
        _ => said(place, TRUSTED, place.same),
    }
}

fn namespace(evidence: &Evidence<'_>, state: PolicyState, place: &Place<'_>) -> Condition {
    match &evidence.namespace {
        Namespace::None => Condition::true_(NAMESPACE, "NoNamespace", "the session lies in no other"),
        _ if state == PolicyState::Registered => {
            Condition::true_(NAMESPACE, "Exists", "CAS took the session, so what it lies in is there")
        }
        Namespace::Exists => Condition::true_(NAMESPACE, "Exists", "the session that this one lies in is there"),
        Namespace::Unknown => Condition::unknown(NAMESPACE, "NameUnknown", "the name of the session cannot be read"),
        Namespace::Missing { name } => {
            Condition::false_(NAMESPACE, "NamespaceMissing", format!("CAS holds no session {name}"))
        }
        Namespace::Waits { name, sibling } => {
            let message = format!("session {name} is registered by {sibling}, which is not done yet");
            Condition::false_(NAMESPACE, "NamespaceWaits", message)
        }
        Namespace::NotYet | Namespace::Failed(_) => said(place, NAMESPACE, place.same),
    }
}

/// As it was said before, since nothing new is known; unknown before anything was. What was said of another spec is void.
fn said(place: &Place<'_>, type_: &str, holds: bool) -> Condition {
    let said = |condition: &&v1::Condition| condition.type_ == type_ && holds;
    let Some(said) = place.status.conditions.iter().find(said) else {
        return Condition::unknown(type_, "NotAsked", "CAS has not been asked");
    };
    let status = match said.status.as_str() {
        "True" => ConditionStatus::True,
        "False" => ConditionStatus::False,
        _ => ConditionStatus::Unknown,
    };
    Condition::new(type_, status, &said.reason, said.message.clone())
}
