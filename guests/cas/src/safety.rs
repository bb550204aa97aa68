//! The safety service: four statuses, of its Deployment, its budget, and both.

use operator_guest::Condition;
use scone_api::{
    cas::{CASSpec, SafetyStatus},
    owned::Standing,
};

use crate::{observe::Observation, spec};

/// The condition that remembers since when it does not work.
pub(crate) const HEALTHY: &str = "SafetyServiceHealthy";

/// What is known of the safety service.
pub(crate) struct Safety {
    pub(crate) status: SafetyStatus,
    pub(crate) deployment: SafetyStatus,
    pub(crate) budget: SafetyStatus,
    /// Whether enough of its pods are ready; none when nobody can tell.
    pub(crate) active: Option<bool>,
    message: String,
}

/// Judges it. The standings are those of its Deployment and its budget.
pub(crate) fn judge(
    spec: &CASSpec,
    observation: &Observation,
    deployment: Option<Standing>,
    budget: Option<Standing>,
) -> Safety {
    let Some(wanted) = spec::safety(spec) else {
        let none = SafetyStatus::Disabled;
        let message = "the safety service is not wanted".to_owned();
        return Safety { status: none, deployment: none, budget: none, active: Some(false), message };
    };
    let (desired, least) = spec::safety_replicas(wanted);
    let counts = observation.safety.as_ref().and_then(|set| set.current());
    let ready = counts.map(|counts| counts.ready_replicas);
    let of_deployment = match (deployment, counts) {
        (None | Some(Standing::Absent), _) | (_, None) => SafetyStatus::Unknown,
        (Some(Standing::Different(_) | Standing::Leaving), _) => SafetyStatus::Unhealthy,
        (Some(Standing::Wanted), Some(counts)) => match counts.ready_replicas {
            ready if ready < least || (ready >= desired && counts.unavailable_replicas > 0) => SafetyStatus::Unhealthy,
            ready if ready < desired => SafetyStatus::Alert,
            _ => SafetyStatus::Healthy,
        },
    };
    let of_budget = match (budget, observation.safety_budget.as_ref().map(|budget| &budget.status)) {
        (None | Some(Standing::Absent), _) | (_, None) => SafetyStatus::Unknown,
        (Some(Standing::Different(_) | Standing::Leaving), _) => SafetyStatus::Unhealthy,
        (Some(Standing::Wanted), Some(status)) if status.observed_generation.is_none() => SafetyStatus::Unknown,
        (Some(Standing::Wanted), Some(status)) if status.current_healthy < status.desired_healthy => {
            SafetyStatus::Unhealthy
        }
        (Some(Standing::Wanted), Some(status)) if status.disruptions_allowed == 0 => SafetyStatus::Alert,
        (Some(Standing::Wanted), Some(_)) => SafetyStatus::Healthy,
    };
    let told = ready.map_or_else(|| "an unknown number".to_owned(), |ready| ready.to_string());
    Safety {
        status: of_deployment.max(of_budget),
        deployment: of_deployment,
        budget: of_budget,
        active: ready.map(|ready| ready >= least),
        message: format!("{told} of {desired} pods of the safety service are ready, and {least} must be"),
    }
}

impl Safety {
    /// Whether it works as wanted; none when it is not wanted.
    pub(crate) fn condition(&self) -> Option<Condition> {
        let message = self.message.clone();
        Some(match self.status {
            SafetyStatus::Disabled => return None,
            SafetyStatus::Healthy => Condition::true_(HEALTHY, "Healthy", message),
            SafetyStatus::Alert => {
                Condition::true_(HEALTHY, "Alert", message + "; one more loss, and it does not work")
            }
            SafetyStatus::Unknown => Condition::unknown(HEALTHY, "Observing", message),
            SafetyStatus::Unhealthy => Condition::false_(HEALTHY, "Unhealthy", message),
        })
    }

    /// What is wrong with it, in words.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }
}
