//! From what is observed to `Ready` or `Failed`, with its reason.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{self, Time},
    jiff::Timestamp,
};
use operator_guest::{Condition, ConditionStatus, Event};
use scone_api::{
    State,
    imagepullsecret::{Distribution, ImagePullSecretStatus},
    missing::{START, is_overdue},
    problem::Problem,
    report,
};

use crate::{
    copies::Copies,
    others::Others,
    select::{Blind, Selected},
    source::Sources,
};

/// Whether every namespace that fits has the Secret as it should be. The host remembers since when.
const DISTRIBUTED: &str = "SecretsDistributed";
/// Whether no other namespace has one. The host remembers since when.
const WITHDRAWN: &str = "SecretsWithdrawn";
/// Names told in one message.
const MOST_NAMES: usize = 5;
/// The longest time until it is computed again because credentials expire, in seconds.
const LONGEST: i64 = 3_600;

/// Everything that the verdict depends on.
pub(crate) struct Evidence<'a> {
    /// The status as it stands.
    pub(crate) earlier: Option<&'a ImagePullSecretStatus>,
    /// The name of the Secret.
    pub(crate) secret: &'a str,
    pub(crate) sources: &'a Sources,
    pub(crate) selected: Result<&'a Selected, &'a Blind>,
    pub(crate) others: Result<&'a Others, &'a Blind>,
    pub(crate) copies: &'a Copies,
    /// Unix seconds.
    pub(crate) now: i64,
}

/// What is said.
pub(crate) struct Judgement {
    pub(crate) status: ImagePullSecretStatus,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) event: Option<Event>,
    pub(crate) requeue: Option<u32>,
}

/// Judges one `ImagePullSecret`.
pub(crate) fn judge(evidence: &Evidence<'_>) -> Judgement {
    let (state, why) = state(evidence);
    let earlier = evidence.earlier;
    let status = match state {
        State::Healthy => Some(Distribution::Ready),
        State::Unhealthy => Some(Distribution::Failed),
        State::Pending => earlier.and_then(|status| status.status),
    };
    let since = since(evidence, state);
    let until = evidence.sources.merged.as_ref().and_then(|merged| merged.until);
    let validity = match state {
        State::Healthy => until.zip(since).map(|(until, since)| until - since),
        _ => earlier.and_then(|status| status.validity_seconds).map(i64::from),
    };
    let status = ImagePullSecretStatus {
        status,
        reason: (state != State::Healthy).then(|| why.message.clone()),
        last_successful_reconciliation: since.and_then(|since| Timestamp::from_second(since).ok()).map(Time),
        validity_seconds: validity.map(|seconds| i32::try_from(seconds).unwrap_or(i32::MAX)),
        managed_namespaces: evidence.copies.managed.clone(),
        source_secret_status: evidence.sources.words.clone(),
        ..ImagePullSecretStatus::default()
    };
    let event = event(evidence, &status, state, &why);
    Judgement { status, conditions: conditions(evidence, state, &why), event, requeue: requeue(evidence, state, until) }
}

/// The state and why: what needs a human comes first, what is on its way last.
fn state(evidence: &Evidence<'_>) -> (State, Problem) {
    let Evidence { sources, copies, secret, .. } = evidence;
    let blind = [evidence.selected.err(), evidence.others.err()];
    let errors: Vec<_> = blind.iter().flatten().flat_map(|blind| &blind.0).cloned().collect();
    if !errors.is_empty() {
        let message = format!("{}; let the operator list them. What was distributed stays", errors.join("; "));
        return (State::Unhealthy, Problem::new("ReconciliationFailed", message));
    }
    if !sources.problems.is_empty() {
        let message = format!("{}. What was distributed stays", sources.problems.join("; "));
        return (State::Unhealthy, Problem::new("SourceCredentialsError", message));
    }
    if blind.iter().any(Option::is_some) || sources.pending {
        return (State::Pending, Problem::new("Observing", "namespaces and Secrets are not known yet".to_owned()));
    }
    if let Some(problem) = unserved(copies, secret) {
        return (State::Unhealthy, problem);
    }
    if let Some(found) = unsettled(evidence) {
        return found;
    }
    let holding = evidence.selected.map_or(0, |selected| selected.holding.len());
    let message = match copies.wanted {
        0 if holding > 0 => {
            format!("the namespaces that fit have Secret {secret} already, as a source, {holding} of them")
        }
        0 => format!("no namespace fits a selector, so Secret {secret} is in none"),
        wanted => format!("Secret {secret} is in all namespaces that fit, {wanted} of them"),
    };
    (State::Healthy, Problem::new("Reconciled", message))
}

/// Namespaces that cannot be served.
fn unserved(copies: &Copies, secret: &str) -> Option<Problem> {
    if !copies.foreign.is_empty() {
        let places = copies.foreign.iter().map(|(namespace, whose)| format!("{namespace} (belongs to {whose})"));
        let message = format!(
            "a Secret {secret} that this ImagePullSecret has not made is in {}, and is left alone; delete it there, or choose \
             another spec.target.secret.name",
            listed(places)
        );
        return Some(Problem::new("SecretReconciliationError", message));
    }
    (copies.beyond > 0).then(|| {
        let message = format!(
            "{} namespaces fit, and one ImagePullSecret serves {} with credentials of this size; the others get nothing: \
             select fewer, or make a second one with other selectors and another spec.target.secret.name",
            copies.wanted + copies.beyond,
            copies.wanted
        );
        Problem::new("ReconciliationFailed", message)
    })
}

/// What is not as it should be yet. Nobody waits for ever: what the cluster has not done for long it refuses.
fn unsettled(evidence: &Evidence<'_>) -> Option<(State, Problem)> {
    let Evidence { copies, secret, .. } = evidence;
    let late = |type_: &str| is_overdue(evidence.said(), type_, "False", evidence.now);
    let minutes = START / 60;
    if copies.settled < copies.wanted {
        let waits = format!("Secret {secret} is not in every namespace as it should be yet");
        if late(DISTRIBUTED) {
            let message =
                format!("{waits}, after {minutes} minutes; the condition Stalled says what the cluster refuses");
            return Some((State::Unhealthy, Problem::new("SecretReconciliationError", message)));
        }
        return Some((State::Pending, Problem::new("Distributing", waits)));
    }
    if copies.leftover.is_empty() {
        return None;
    }
    let names = listed(copies.leftover.iter().cloned());
    if late(WITHDRAWN) {
        let message = format!(
            "Secrets that are no longer wanted are still there after {minutes} minutes: {names}; the condition Stalled says \
             what the cluster refuses, and a finalizer on the Secret holds it too"
        );
        return Some((State::Unhealthy, Problem::new("SecretDeletionError", message)));
    }
    Some((State::Pending, Problem::new("Withdrawing", format!("Secrets that are no longer wanted go: {names}"))))
}

impl Evidence<'_> {
    /// The conditions as the host has dated them.
    fn said(&self) -> &[v1::Condition] {
        self.earlier.map_or(&[][..], |status| &status.conditions)
    }

    fn held(&self, type_: &str) -> bool {
        self.said().iter().any(|condition| condition.type_ == type_ && condition.status == "True")
    }
}

/// When the Secrets last came to be as they should: the time moves only with what it is about, so that a quiet cluster is
/// never written to.
fn since(evidence: &Evidence<'_>, state: State) -> Option<i64> {
    let earlier = evidence.earlier;
    let before =
        earlier.and_then(|status| status.last_successful_reconciliation.as_ref()).map(|time| time.0.as_second());
    if state != State::Healthy {
        return before;
    }
    let same = earlier.is_some_and(|status| {
        status.status == Some(Distribution::Ready) && status.managed_namespaces == evidence.copies.managed
    });
    let stood = same && evidence.held(DISTRIBUTED) && evidence.held(WITHDRAWN);
    before.filter(|_| stood).or(Some(evidence.now))
}

/// An event when there is something new to tell.
fn event(evidence: &Evidence<'_>, status: &ImagePullSecretStatus, state: State, why: &Problem) -> Option<Event> {
    let earlier = evidence.earlier;
    let same_status = earlier.and_then(|earlier| earlier.status) == status.status;
    match state {
        State::Pending => None,
        State::Healthy => {
            let before = earlier.and_then(|earlier| earlier.last_successful_reconciliation.as_ref());
            let same = same_status && before == status.last_successful_reconciliation.as_ref();
            (!same).then(|| Event::normal(why.reason, "Reconcile", why.message.clone()))
        }
        State::Unhealthy => {
            let same = same_status && earlier.and_then(|earlier| earlier.reason.as_ref()) == status.reason.as_ref();
            (!same).then(|| Event::warning(why.reason, "Reconcile", why.message.clone()))
        }
    }
}

/// Nothing else tells that something has had its time, or that credentials have expired.
fn requeue(evidence: &Evidence<'_>, state: State, until: Option<i64>) -> Option<u32> {
    if state != State::Healthy {
        return Some(60);
    }
    let left = until.map(|until| (until - evidence.now).clamp(1, LONGEST));
    left.and_then(|left| u32::try_from(left).ok())
}

fn conditions(evidence: &Evidence<'_>, state: State, why: &Problem) -> Vec<Condition> {
    let [ready, _] = report::health(state, why);
    let copies = evidence.copies;
    let known = evidence.selected.is_ok() && evidence.others.is_ok();
    let settled = known && evidence.sources.merged.is_some();
    let foreign = match (known, copies.foreign.is_empty()) {
        (false, _) => (ConditionStatus::Unknown, "Observing"),
        (true, true) => (ConditionStatus::True, "None"),
        (true, false) => (ConditionStatus::False, "Found"),
    };
    let distributed = match (settled, copies.settled < copies.wanted || copies.beyond > 0) {
        (false, _) => {
            (ConditionStatus::Unknown, "Observing", "the credentials or the namespaces are not known".to_owned())
        }
        (true, false) => {
            (ConditionStatus::True, "Distributed", format!("all {} namespaces have the Secret", copies.wanted))
        }
        (true, true) => {
            let all = copies.wanted + copies.beyond;
            (ConditionStatus::False, "Missing", format!("not all of {all} namespaces have the Secret"))
        }
    };
    let left = match (known, copies.leftover.is_empty()) {
        (false, _) => (ConditionStatus::Unknown, "Observing"),
        (true, true) => (ConditionStatus::True, "Withdrawn"),
        (true, false) => (ConditionStatus::False, "Leftover"),
    };
    vec![
        ready,
        sources(evidence.sources),
        selected(evidence.selected),
        Condition::new("NoForeignSecrets", foreign.0, foreign.1, format!("namespaces: {}", copies.foreign.len())),
        Condition::new(DISTRIBUTED, distributed.0, distributed.1, distributed.2),
        Condition::new(
            WITHDRAWN,
            left.0,
            left.1,
            format!("Secrets that are no longer wanted: {}", copies.leftover.len()),
        ),
    ]
}

fn sources(sources: &Sources) -> Condition {
    const TYPE: &str = "SourceCredentialsValid";
    if !sources.problems.is_empty() {
        return Condition::false_(TYPE, "SourceCredentialsError", sources.problems.join("; "));
    }
    match &sources.merged {
        None => Condition::unknown(TYPE, "Observing", "the credentials are not known yet"),
        Some(_) => Condition::true_(TYPE, "Available", "all credentials can be read"),
    }
}

fn selected(selected: Result<&Selected, &Blind>) -> Condition {
    const TYPE: &str = "NamespacesSelected";
    let Ok(selected) = selected else {
        return Condition::unknown(TYPE, "Observing", "the namespaces are not known");
    };
    let mut message = format!("namespaces that fit: {}", selected.namespaces.len());
    if !selected.holding.is_empty() && selected.namespaces.is_empty() {
        message += &format!("; beside those that hold the source: {}", listed(selected.holding.iter().cloned()));
    }
    if !selected.absent.is_empty() {
        message += &format!("; named, but not there: {}", listed(selected.absent.iter().cloned()));
    }
    if selected.namespaces.is_empty() && selected.holding.is_empty() {
        return Condition::false_(TYPE, "None", message);
    }
    Condition::true_(TYPE, "Selected", message)
}

/// Some names, and how many more there are.
fn listed(names: impl Iterator<Item = String>) -> String {
    let names: Vec<_> = names.collect();
    let told = names.iter().take(MOST_NAMES).cloned().collect::<Vec<_>>().join(", ");
    let more = names.len().saturating_sub(MOST_NAMES);
    if more > 0 { format!("{told} and {more} more") } else { told }
}
