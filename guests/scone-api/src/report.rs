//! How every SCONE kind tells its health: conditions, events, and which of two resources counts.

use k8s_openapi::apimachinery::pkg::apis::meta::v1;
use operator_guest::{Condition, Event};

use crate::{State, observe::Meta, problem::Problem};

/// Problems told in one message; the others are told once these are solved.
const MOST_PROBLEMS: usize = 5;

/// The condition with the state and its reason. Unlike `Ready` it is the module's alone.
const HEALTH: &str = "IsHealthy";

type Make = fn(&str, &str, String) -> Condition;

/// `Ready` and `IsHealthy`. Pending is unknown health: "any condition Unknown makes the resource PENDING".
pub fn health(state: State, why: &Problem) -> [Condition; 2] {
    match state {
        State::Healthy => [("Ready", Condition::true_ as Make), (HEALTH, Condition::true_)],
        State::Pending => [("Ready", Condition::false_ as Make), (HEALTH, Condition::unknown)],
        State::Unhealthy => [("Ready", Condition::false_ as Make), (HEALTH, Condition::false_)],
    }
    .map(|(type_, make)| make(type_, why.reason, why.message.clone()))
}

/// Why a resource of this kind that is being deleted is pending.
pub fn going(kind: &str) -> Problem {
    Problem::new("Deleting", format!("the {kind} is being deleted, and its objects with it"))
}

/// Whether a resource of this kind is being deleted.
pub fn deletion(kind: &str, present: bool) -> Condition {
    if present {
        let Problem { reason, message } = going(kind);
        Condition::true_("DeletionPresent", reason, message)
    } else {
        Condition::false_("DeletionPresent", "NotDeleting", "nobody has asked for its deletion")
    }
}

/// An event when the state changes, or the reason for being UNHEALTHY. `before` is the state that was told, with its conditions.
pub fn event(before: Option<(State, &[v1::Condition])>, state: State, why: &Problem) -> Option<Event> {
    let tell = if state == State::Unhealthy { Event::warning } else { Event::normal };
    let told = before.filter(|(told, _)| *told == state).is_some_and(|(_, conditions)| {
        // Reasons are a closed set, and what waits changes its reason all the time.
        let reason = conditions.iter().find(|condition| condition.type_ == HEALTH).map(|condition| &condition.reason);
        state != State::Unhealthy || reason.is_none_or(|reason| reason == why.reason)
    });
    (!told).then(|| tell(why.reason, "Check", why.message.clone()))
}

/// Several problems as one: the first gives the reason. `rest` says where the others are, if they are too many for one message.
pub fn summary(problems: &[Problem], rest: &str) -> Option<Problem> {
    let reason = problems.first()?.reason;
    let told: Vec<_> = problems.iter().take(MOST_PROBLEMS).map(|problem| problem.message.as_str()).collect();
    let more = problems.len().saturating_sub(MOST_PROBLEMS);
    let more = if more > 0 { format!("; and {more} more, {rest}") } else { String::new() };
    Some(Problem::new(reason, told.join("; ") + &more))
}

/// Of kinds that a cluster has one of: the resource that was there before this one, by name when they are of one second.
pub fn rival<'a>(name: &str, all: &[&'a Meta]) -> Option<&'a str> {
    let age = |meta: &&'a Meta| (meta.creation_timestamp.as_deref(), meta.name.as_str());
    let own = all.iter().find(|meta| meta.name == name).map(age)?;
    all.iter().map(age).filter(|other| *other < own).min().map(|(_, name)| name)
}
