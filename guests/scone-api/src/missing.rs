//! Pods that nobody makes, since a quota or a policy forbids them: seen only by comparing, and only over time.

use k8s_openapi::apimachinery::pkg::apis::meta::v1;
use operator_guest::Condition;

use crate::{observe::DaemonSetStatus, problem::Problem};

/// Seconds that a pod may take to start, or to leave, before that is a problem: pulling an image of some hundred MiB, and an
/// enclave that fetches its certificates.
pub const START: i64 = 300;

/// The condition whose time tells since when pods are missing. The age of the `DaemonSet` cannot tell: a node may be new. Nor
/// can the time of `IsHealthy`: it may have been unknown for long because of something else.
const ALL_PODS: &str = "AllPodsPresent";

/// How many pods there are of how many that should be.
#[derive(Clone, Copy, Debug)]
pub struct Pods {
    present: i32,
    desired: i32,
    /// What makes them, as kubectl calls it.
    maker: &'static str,
}

impl Pods {
    /// From the counts of the `DaemonSet`; none while its controller has not seen the latest change.
    pub fn of(present: usize, counts: Option<&DaemonSetStatus>) -> Option<Self> {
        Some(Self::counted(present, counts?.desired_number_scheduled, "daemonset"))
    }

    /// From how many should be.
    pub fn counted(present: usize, desired: i32, maker: &'static str) -> Self {
        Self { present: i32::try_from(present).unwrap_or(i32::MAX).min(desired), desired, maker }
    }

    /// A problem once some of them have been missing for long. `fix` says what else the namespace may need.
    pub fn overdue(self, conditions: &[v1::Condition], now: i64, fix: &str) -> Option<Problem> {
        let Self { present, desired, maker } = self;
        (is_overdue(conditions, ALL_PODS, "False", now) && present < desired).then(|| {
            let message = format!(
                "{} of {desired} pods have not been made for {} minutes; see: kubectl describe {maker}, and let quotas and \
                 the pod security level of the namespace{fix} allow them",
                desired - present,
                START / 60
            );
            Problem::new("PodsMissing", message)
        })
    }
}

/// Whether this condition has had this status for longer than anything takes to start.
pub fn is_overdue(conditions: &[v1::Condition], type_: &str, status: &str, now: i64) -> bool {
    let found = conditions.iter().find(|condition| condition.type_ == type_ && condition.status == status);
    found.is_some_and(|found| now - found.last_transition_time.0.as_second() >= START)
}

/// Whether every selected node has its pod. The host remembers since when.
pub fn condition(pods: Option<Pods>) -> Condition {
    let Some(Pods { present, desired, .. }) = pods else {
        return Condition::unknown(ALL_PODS, "Observing", "the pods are not known yet");
    };
    let message = format!("{present} of {desired} pods are there");
    if present < desired {
        Condition::false_(ALL_PODS, "Missing", message)
    } else {
        Condition::true_(ALL_PODS, "Present", message)
    }
}
