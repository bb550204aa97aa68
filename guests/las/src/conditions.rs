//! The conditions of a LAS: its health, its deletion, and the objects that it owns.

use operator_guest::{Condition, ConditionStatus};

use crate::{api::State, observe::Observation, problem::Problem, status::Judgement, workload::Site};

/// `Ready` and `IsHealthy`. Pending is unknown health: "any condition Unknown makes the resource PENDING".
pub(crate) fn health(judgement: &Judgement) -> [Condition; 2] {
    let Problem { reason, message } = &judgement.why;
    match judgement.status.state {
        State::Healthy => [("Ready", Condition::true_ as Make), ("IsHealthy", Condition::true_)],
        State::Pending => [("Ready", Condition::false_ as Make), ("IsHealthy", Condition::unknown)],
        State::Unhealthy => [("Ready", Condition::false_ as Make), ("IsHealthy", Condition::false_)],
    }
    .map(|(type_, make)| make(type_, reason, message.clone()))
}

type Make = fn(&str, &str, String) -> Condition;

/// Whether it is being deleted.
pub(crate) fn deletion(present: bool) -> Condition {
    if present {
        Condition::true_("DeletionPresent", "Deleting", "the LAS is being deleted, and its objects with it")
    } else {
        Condition::false_("DeletionPresent", "NotDeleting", "nobody has asked for its deletion")
    }
}

/// Whether the probe checks all that it could.
pub(crate) fn checks(keyed: bool) -> Condition {
    if keyed {
        return Condition::true_("ChecksComplete", "DCAPKeySet", "the probe also asks for DCAP quotes");
    }
    let message = "without spec.dcapKey the probe asks for no DCAP quotes: set it to your key of the Intel PCS API, or to 32 \
                   zeros on Azure";
    Condition::false_("ChecksComplete", "DCAPKeyMissing", message)
}

/// One object that should exist.
struct Owned {
    /// What its conditions start with: a DNS name, as Kubernetes asks of prefixes.
    prefix: String,
    present: bool,
    /// Unknown while its controller has not seen the latest change.
    healthy: ConditionStatus,
    message: String,
}

/// The conditions of all owned objects, and those of each.
pub(crate) fn owned(site: &Site<'_>, observation: &Observation, keyed: bool) -> Vec<Condition> {
    let mut objects = vec![daemon_set(site, observation)];
    if keyed {
        let present = observation.secret_present;
        let (healthy, message) = if present {
            (ConditionStatus::True, "it holds the DCAP key")
        } else {
            (ConditionStatus::Unknown, "it does not exist yet")
        };
        objects.push(Owned {
            prefix: format!("secret.{}", site.secret()),
            present,
            healthy,
            message: message.to_owned(),
        });
    }
    let all = objects.iter().all(|object| object.present);
    let some = objects.iter().any(|object| object.present);
    let mut conditions = vec![presence("AtLeastOneOwnedObjectPresent", some), presence("AllOwnedObjectsPresent", all)];
    for Owned { prefix, present, healthy, message } in objects {
        conditions.push(presence(&format!("{prefix}/OwnedObjectPresent"), present));
        let reason = match healthy {
            ConditionStatus::True => "Current",
            ConditionStatus::False => "NotAvailable",
            ConditionStatus::Unknown => "InProgress",
        };
        conditions.push(Condition::new(&format!("{prefix}/OwnedObjectHealthy"), healthy, reason, message));
    }
    conditions
}

fn daemon_set(site: &Site<'_>, observation: &Observation) -> Owned {
    let set = observation.daemon_set.as_ref();
    let (healthy, message) = match set.map(|set| set.current_status()) {
        None => (ConditionStatus::Unknown, "it does not exist yet".to_owned()),
        Some(None) => (ConditionStatus::Unknown, "its controller has not seen the latest change yet".to_owned()),
        Some(Some(counts)) => {
            let (available, desired) = (counts.number_available, counts.desired_number_scheduled);
            let message = format!("{available} of {desired} pods are available");
            (ConditionStatus::from(available >= desired && desired > 0), message)
        }
    };
    Owned { prefix: format!("daemonset.{}", site.name), present: set.is_some(), healthy, message }
}

fn presence(type_: &str, present: bool) -> Condition {
    if present {
        Condition::true_(type_, "Present", "it exists")
    } else {
        Condition::false_(type_, "Missing", "it does not exist yet")
    }
}
