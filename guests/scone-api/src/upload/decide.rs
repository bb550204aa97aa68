//! Which state follows from what is known, and whether to send.

use super::{
    Place, Upload,
    reply::{Failed, Reply, Seen, Told, refusal, taken},
};
use crate::{
    policy::{PolicyState, PolicyStatus},
    problem::Problem,
};

/// Seconds until a try that failed is made again: where CAS is to blame, and where somebody has to change something there.
const SOON: u32 = 60;
const LATER: u32 = 600;

/// Everything that the verdict depends on.
pub(super) struct Evidence<'a> {
    pub(super) upload: &'a Upload<'a>,
    /// The status as it stands.
    pub(super) before: &'a PolicyStatus,
    /// Whether it is about the spec as it stands.
    pub(super) same: bool,
    /// What CAS holds.
    pub(super) seen: Seen,
    /// What came of the upload.
    pub(super) sent: Reply<'a>,
    pub(super) namespace: Namespace<'a>,
    /// The fingerprint of what would be sent.
    pub(super) mine: &'a str,
    /// Unix seconds.
    pub(super) now: i64,
}

/// The session in which this one lies.
pub(super) enum Namespace<'a> {
    /// It lies in none.
    None,
    /// The name of the session is not known.
    Unknown,
    /// Not asked yet.
    NotYet,
    /// It is there.
    Exists,
    /// It is not, and no resource here makes it.
    Missing { name: &'a str },
    /// It is not, and this resource is to register it.
    Waits { name: &'a str, sibling: &'a str },
    /// There is nothing to go by.
    Failed(Failed),
}

/// What of the record in the status changes.
#[derive(Clone)]
enum Record {
    Same,
    /// CAS holds it, and tells this.
    Took {
        mine: String,
        told: Told,
        replaced: Option<String>,
    },
    /// CAS does not hold it any more.
    Lost,
    /// CAS did not take it.
    Failed(String),
}

/// The verdict.
pub(super) struct Verdict {
    pub(super) state: PolicyState,
    /// None: as it was said before.
    why: Option<Problem>,
    record: Record,
    /// Whether to send it now.
    pub(super) send: bool,
    /// Seconds until somebody has to look again.
    pub(super) pause: Option<u32>,
}

impl Verdict {
    pub(super) fn new(state: PolicyState, why: Problem) -> Self {
        Self { state, why: Some(why), record: Record::Same, send: false, pause: None }
    }

    pub(super) fn asking(cas: &str) -> Self {
        Self::new(PolicyState::Pending, Problem::new("Asking", format!("{cas} has not answered yet")))
    }

    pub(super) fn pause(self, seconds: u32) -> Self {
        Self { pause: Some(seconds), ..self }
    }

    fn record(self, record: Record) -> Self {
        Self { record, ..self }
    }

    /// Whether everything is as it was said before.
    pub(super) fn repeats(&self) -> bool {
        self.why.is_none()
    }

    /// The reason and message, as new or as it was said before.
    pub(super) fn why(&self, before: &PolicyStatus) -> Problem {
        let said = || before.conditions.iter().find(|condition| condition.type_ == "Ready");
        self.why
            .clone()
            .or_else(|| said().map(|said| Problem::new(known(&said.reason), said.message.clone())))
            .unwrap_or_else(|| Problem::new("Asking", "CAS has not answered yet".to_owned()))
    }

    /// Whether CAS is known to hold the policy after this.
    pub(super) fn is_held(&self, before: &PolicyStatus) -> bool {
        match self.record {
            Record::Took { .. } => true,
            Record::Lost => false,
            Record::Same | Record::Failed(_) => before.registered_upload.is_some(),
        }
    }

    /// The status that follows.
    pub(super) fn status(&self, place: &Place<'_>, upload: &Upload<'_>) -> PolicyStatus {
        let before = place.status;
        // The operator adds the conditions: a copy of those before would only be thrown away.
        let mut status = PolicyStatus {
            state: self.state,
            session: upload.session.clone(),
            hash: before.hash.clone(),
            predecessor: before.predecessor.clone(),
            revision: before.revision.clone(),
            registered_upload: before.registered_upload.clone(),
            failed_upload: before.failed_upload.clone(),
            conditions: Vec::new(),
            observed_generation: None,
        };
        match self.record.clone() {
            Record::Same => {}
            Record::Took { mine, told, replaced } => {
                let renewed = status.registered_upload.as_ref() != Some(&mine);
                status.hash = told.hash.unwrap_or(if renewed { String::new() } else { status.hash });
                status.revision = told.revision.or(if renewed { None } else { status.revision });
                if renewed {
                    status.predecessor = replaced;
                }
                status.registered_upload = Some(mine);
                status.failed_upload = None;
            }
            Record::Lost => status.registered_upload = None,
            Record::Failed(mine) => status.failed_upload = Some(mine),
        }
        status
    }
}

/// The reasons are a closed set; one that an older version said is told as what it mostly means.
fn known(reason: &str) -> &'static str {
    const REASONS: [&str; 25] = [
        "AnnotationInvalid",
        "AnswerUnreadable",
        "Asking",
        "CASFailing",
        "CertificateChanged",
        "CertificateNotTrusted",
        "NameTaken",
        "NamespaceMissing",
        "NamespaceWaits",
        "NotAllowed",
        "NotGranted",
        "NotTaken",
        "PolicyRefused",
        "PredecessorMissing",
        "PredecessorOutdated",
        "Registered",
        "SessionReverted",
        "SessionVanished",
        "SpecInvalid",
        "TimedOut",
        "TrustSecretUnusable",
        "Unreachable",
        "UpdatedElsewhere",
        "Uploading",
        "VersionRefused",
    ];
    REASONS.into_iter().find(|known| *known == reason).unwrap_or("Asking")
}

/// Judges one policy.
pub(super) fn decide(evidence: &Evidence<'_>) -> Verdict {
    let Evidence { upload, before, seen, sent, mine, .. } = evidence;
    let recorded = before.registered_upload.as_deref() == Some(*mine);
    let failed = match sent {
        Reply::NotYet => None,
        Reply::Failed(failed) => Some(failed.clone()),
        Reply::Http(response) => match refusal(response, upload) {
            None => return registered(evidence, taken(response)),
            refused => refused,
        },
    };
    match (failed, seen) {
        // Whatever was said to a second try: CAS holds it to the letter.
        (_, Seen::Holds { same: true, told }) => registered(evidence, told.clone()),
        (Some(failed), _) => not_taken(evidence, failed),
        (None, Seen::Failed(failed)) => Verdict::new(failed.state, failed.problem.clone()).pause(SOON),
        (None, Seen::NotYet) if evidence.same || recorded => repeat(evidence),
        (None, Seen::NotYet) => Verdict::asking(upload.address),
        (None, Seen::Alive | Seen::Hidden) if recorded => registered(evidence, Told::default()),
        (None, Seen::Alive | Seen::Hidden) => send(evidence),
        (None, Seen::Absent) => absent(evidence, recorded),
        (None, Seen::Holds { told, .. }) => holds(evidence, told, recorded),
    }
}

fn registered(evidence: &Evidence<'_>, told: Told) -> Verdict {
    let cas = evidence.upload.address;
    let record = Record::Took { mine: evidence.mine.to_owned(), told, replaced: evidence.upload.predecessor.clone() };
    Verdict::new(PolicyState::Registered, Problem::new("Registered", format!("{cas} holds this policy"))).record(record)
}

fn not_taken(evidence: &Evidence<'_>, failed: Failed) -> Verdict {
    let record = Record::Failed(format!("{}@{}", evidence.mine, evidence.now));
    Verdict::new(failed.state, failed.problem).record(record).pause(pause(failed.state))
}

fn pause(state: PolicyState) -> u32 {
    if state == PolicyState::Unreachable { SOON } else { LATER }
}

/// When this very upload failed the last time, in Unix seconds. Whatever else brings the policy back before its time sends nothing.
fn failed(evidence: &Evidence<'_>) -> Option<i64> {
    let (mine, at) = evidence.before.failed_upload.as_deref()?.split_once('@')?;
    at.parse().ok().filter(|_| mine == evidence.mine)
}

/// While nothing new is known, what is known stays said: a look that takes its time is no change.
fn repeat(evidence: &Evidence<'_>) -> Verdict {
    let said = evidence.before.conditions.iter().any(|condition| condition.type_ == "Ready");
    if !said {
        return Verdict::asking(evidence.upload.address);
    }
    Verdict { state: evidence.before.state, why: None, record: Record::Same, send: false, pause: None }
}

fn absent(evidence: &Evidence<'_>, recorded: bool) -> Verdict {
    let cas = evidence.upload.address;
    if recorded {
        let message = format!(
            "{cas} held this policy and does not any more: its database was replaced or rolled back; it is sent again"
        );
        return Verdict::new(PolicyState::Pending, Problem::new("SessionVanished", message)).record(Record::Lost);
    }
    if evidence.upload.predecessor.is_none() {
        return send(evidence);
    }
    let message = format!(
        "{cas} holds no session of this name, and the policy names a predecessor: register that version first, or take \
         predecessor out of the policy and sign it again"
    );
    Verdict::new(PolicyState::Conflict, Problem::new("PredecessorMissing", message))
}

/// CAS holds a session of this name, and not to the letter this one.
fn holds(evidence: &Evidence<'_>, told: &Told, recorded: bool) -> Verdict {
    let (upload, before) = (evidence.upload, evidence.before);
    let (cas, hash) = (upload.address, told.hash.as_deref());
    // CAS may write a policy otherwise than it was sent.
    if recorded && (hash.is_none() || hash == Some(before.hash.as_str())) {
        return registered(evidence, told.clone());
    }
    let replaces = upload.predecessor.as_deref();
    if recorded && hash.is_some() && hash == replaces {
        let message =
            format!("{cas} is back at the version before this one: its database was rolled back; it is sent again");
        return Verdict::new(PolicyState::Pending, Problem::new("SessionReverted", message)).record(Record::Lost);
    }
    let conflict = |reason, message| Verdict::new(PolicyState::Conflict, Problem::new(reason, message));
    let current = hash.map_or_else(|| "the current hash".to_owned(), str::to_owned);
    if recorded {
        let message = format!(
            "somebody has updated the session in {cas} since, to hash {current}: apply that version here, or sign this one again \
             with predecessor: {current}"
        );
        return conflict("UpdatedElsewhere", message);
    }
    match (upload.text, replaces) {
        (Some(_), None) => {
            let message = format!(
                "{cas} holds another session of this name with hash {current}: sign this one again with predecessor: {current} to \
                 replace it, or with another name"
            );
            conflict("NameTaken", message)
        }
        (Some(_), Some(wanted)) if hash.is_some_and(|hash| hash != wanted) => {
            let message = format!(
                "{cas} holds hash {current}, and the policy replaces {wanted}: sign it again with predecessor: {current}"
            );
            conflict("PredecessorOutdated", message)
        }
        // What cannot be compared is for CAS to judge.
        _ => send(evidence),
    }
}

fn send(evidence: &Evidence<'_>) -> Verdict {
    let (upload, before) = (evidence.upload, evidence.before);
    let cas = upload.address;
    let waiting = |reason, message| Verdict::new(PolicyState::Waiting, Problem::new(reason, message));
    match &evidence.namespace {
        Namespace::NotYet if evidence.same => repeat(evidence),
        Namespace::NotYet => Verdict::asking(cas),
        Namespace::Failed(failed) => Verdict::new(failed.state, failed.problem.clone()).pause(SOON),
        Namespace::Missing { name } => waiting(
            "NamespaceMissing",
            format!(
                "{cas} holds no session {name}, in which this one lies: register it first; this one follows by itself"
            ),
        ),
        Namespace::Waits { name, sibling } => waiting(
            "NamespaceWaits",
            format!(
                "session {name}, in which this one lies, is not registered yet; see: kubectl describe spol {sibling}"
            ),
        ),
        Namespace::None | Namespace::Unknown | Namespace::Exists => {
            let Some(at) = failed(evidence) else {
                let message = format!("the policy is being sent to {cas}");
                let verdict = Verdict::new(PolicyState::Pending, Problem::new("Uploading", message));
                return Verdict { send: true, pause: Some(SOON), ..verdict };
            };
            let left = at + i64::from(pause(before.state)) - evidence.now;
            match u32::try_from(left).ok().filter(|left| *left > 0) {
                Some(left) => repeat(evidence).pause(left),
                None => Verdict { send: true, pause: Some(SOON), ..repeat(evidence) },
            }
        }
    }
}
