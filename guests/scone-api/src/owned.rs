//! The objects that a resource owns: whether they are there, as wanted, and at work.

use k8s_openapi::{api::core::v1::PodTemplateSpec, apimachinery::pkg::apis::meta::v1};
use operator_guest::{Condition, ConditionStatus};

use crate::{
    State,
    missing::{START, is_overdue},
    observe::{Meta, ObservedDaemonSet},
    problem::Problem,
};

/// How one object stands to what is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does not exist.
    Absent,
    /// It is being deleted.
    Leaving,
    /// It has this field otherwise.
    Different(&'static str),
    /// It is as wanted.
    Wanted,
}

impl Standing {
    /// Of an object with this metadata, if it exists, and the field in which it differs, if it does.
    pub fn of(there: Option<&Meta>, difference: Option<&'static str>) -> Self {
        match there {
            None => Self::Absent,
            Some(meta) if meta.deletion_timestamp.is_some() => Self::Leaving,
            Some(_) => difference.map_or(Self::Wanted, Self::Different),
        }
    }
}

/// One object that a resource owns.
pub struct Owned {
    /// What its conditions start with: a DNS name, as Kubernetes asks of prefixes.
    prefix: String,
    /// What messages call it.
    what: &'static str,
    standing: Standing,
    /// Whether its controller makes pods of it.
    runs: bool,
    /// Whether it works; none while nobody can tell.
    works: Option<bool>,
    /// Says that in words.
    message: String,
}

impl Owned {
    /// An object that works by being there.
    pub fn passive(prefix: String, what: &'static str, standing: Standing, message: &str) -> Self {
        let works = (standing == Standing::Wanted).then_some(true);
        let message = if works.is_some() { message } else { "it is not as wanted yet" };
        Self { prefix, what, standing, runs: false, works, message: message.to_owned() }
    }

    /// An object that works when its pods do: what is known of that, and the same in words.
    pub fn running(
        prefix: String,
        what: &'static str,
        standing: Standing,
        works: Option<bool>,
        message: String,
    ) -> Self {
        Self { prefix, what, standing, runs: true, works, message }
    }

    /// What its conditions start with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether it works; none while nobody can tell.
    pub fn works(&self) -> Option<bool> {
        self.works
    }

    /// How it stands to what is wanted.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// The `DaemonSet` of the pods. `wanted` is none while nobody knows what it should be.
    pub fn daemon_set(name: &str, set: Option<&ObservedDaemonSet>, wanted: Option<&PodTemplateSpec>) -> Self {
        let difference = set.zip(wanted).and_then(|(set, wanted)| set.spec.template.difference(wanted));
        let counts = set.and_then(ObservedDaemonSet::current_status);
        let (works, message) = match counts {
            None if set.is_none() => (None, "it does not exist yet".to_owned()),
            None => (None, "its controller has not seen the latest change yet".to_owned()),
            Some(counts) => {
                let (available, desired) = (counts.number_available, counts.desired_number_scheduled);
                (Some(available >= desired && desired > 0), format!("{available} of {desired} pods are available"))
            }
        };
        let standing = Standing::of(set.map(|set| &set.metadata), difference);
        Self::running(format!("daemonset.{name}"), "DaemonSet", standing, works, message)
    }

    /// What the resource has to wait for, if for anything: whatever else is known is about another object than the wanted one.
    /// Nobody waits for ever: what the cluster has not done for long it refuses.
    pub fn waits(&self, conditions: &[v1::Condition], now: i64) -> Option<(State, Problem)> {
        let waiting = self.waiting()?;
        let (condition, status) = match self.standing {
            Standing::Absent => ("OwnedObjectPresent", "False"),
            Standing::Leaving => ("OwnedObjectDeletionPresent", "True"),
            Standing::Different(_) => ("EqualSpecs", "False"),
            Standing::Wanted => return Some((State::Pending, waiting)),
        };
        if !is_overdue(conditions, &format!("{}/{condition}", self.prefix), status, now) {
            return Some((State::Pending, waiting));
        }
        let message = format!(
            "{}, after {} minutes; the condition Stalled says what the cluster refuses; if it is a field that cannot be changed, \
             delete the {}, and it is made again",
            waiting.message,
            START / 60,
            self.what
        );
        Some((State::Unhealthy, Problem::new("RolloutStuck", message)))
    }

    fn waiting(&self) -> Option<Problem> {
        let what = self.what;
        let message = match self.standing {
            Standing::Leaving => format!("the {what} is being deleted, and is made again when it is gone"),
            Standing::Different(field) => format!("the {what} does not have the {field} of the spec yet"),
            // One text for both, since one follows the other and each new text is a write.
            Standing::Absent | Standing::Wanted if self.runs && self.works.is_none() => {
                format!("the {what} is not there yet, or its latest change has not been seen")
            }
            Standing::Absent => format!("the {what} is not there yet"),
            Standing::Wanted => return None,
        };
        Some(Problem::new("RollingOut", message))
    }

    fn conditions(&self, state: State) -> [Condition; 4] {
        let type_ = |name: &str| format!("{}/{name}", self.prefix);
        let there = self.standing != Standing::Absent;
        let leaving = match self.standing {
            Standing::Leaving => Condition::true_ as Make,
            _ => Condition::false_,
        };
        let (reason, message) = match self.standing {
            Standing::Leaving => ("Deleting", "it is being deleted"),
            _ => ("NotDeleting", "nobody has asked for its deletion"),
        };
        [
            presence(&type_("OwnedObjectPresent"), there, if there { "it exists" } else { "it does not exist yet" }),
            leaving(&type_("OwnedObjectDeletionPresent"), reason, message.to_owned()),
            self.equality(&type_("EqualSpecs")),
            self.health(&type_("OwnedObjectHealthy"), state),
        ]
    }

    fn equality(&self, type_: &str) -> Condition {
        match self.standing {
            Standing::Wanted => Condition::true_(type_, "Equal", "nothing in it contradicts the spec"),
            Standing::Different(field) => {
                Condition::false_(type_, "Different", format!("it does not have the {field} of the spec yet"))
            }
            Standing::Absent | Standing::Leaving => Condition::unknown(type_, "InProgress", "it does not exist yet"),
        }
    }

    /// What does not work yet is only bad once the resource is: a false one is published as making it UNHEALTHY.
    fn health(&self, type_: &str, state: State) -> Condition {
        let (status, reason) = match self.works {
            Some(true) => (ConditionStatus::True, "Current"),
            Some(false) if state == State::Unhealthy => (ConditionStatus::False, "NotAvailable"),
            Some(false) | None => (ConditionStatus::Unknown, "InProgress"),
        };
        Condition::new(type_, status, reason, self.message.clone())
    }
}

type Make = fn(&str, &str, String) -> Condition;

/// The conditions of all owned objects, and those of each.
pub fn conditions<'a>(objects: impl IntoIterator<Item = &'a Owned>, state: State) -> Vec<Condition> {
    let objects: Vec<_> = objects.into_iter().collect();
    let there = |object: &&Owned| object.standing != Standing::Absent;
    let (some, all) = (objects.iter().any(there), objects.iter().all(there));
    let mut conditions = vec![
        presence("AtLeastOneOwnedObjectPresent", some, if some { "there is one" } else { "none exists yet" }),
        presence("AllOwnedObjectsPresent", all, if all { "all of them exist" } else { "not all of them exist yet" }),
    ];
    conditions.extend(objects.into_iter().flat_map(|object| object.conditions(state)));
    conditions
}

fn presence(type_: &str, present: bool, message: &str) -> Condition {
    if present { Condition::true_(type_, "Present", message) } else { Condition::false_(type_, "Missing", message) }
}
