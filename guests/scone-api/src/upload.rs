//! Bringing a policy to CAS: what to ask, what to send, how to read the answers, and which state follows. Both kinds of
//! policies are an [`Upload`]; everything else is in here.
//!
//! The order of things: CAS is asked first, so that nothing is sent twice; a session waits for the one that is its namespace;
//! what is sent is sent again only while CAS does not hold it. What must outlive a call is two fingerprints in the status.

mod address;
mod admission;
mod belief;
mod conditions;
mod decide;
mod reply;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{ResourceExt, core::object::HasStatus};
use operator_guest::{
    Action, Desired, Event, Failure, HttpRequest, HttpRule, ManifestBuilder, NamespaceRule, Parent, Query, SecretRule,
    Snapshot,
};
use sha2::{Digest, Sha256};

pub use self::{
    admission::{causes, warnings},
    belief::{FIRST_USE, TRUST},
};
use self::{
    belief::{Found, Server, kept},
    conditions::conditions,
    decide::{Evidence, Namespace, Verdict, decide},
    reply::{reply, seen},
};
use crate::{
    policy::{PolicyState, PolicyStatus},
    policy_text,
    problem::Problem,
};

/// Where policies are read: `GET`, the name behind it. Published.
const SESSIONS: &str = "/v1/sessions/";
/// Where encrypted policies are sent: `PUT`. Published.
pub const ENCRYPTED_SESSIONS: &str = "/v1/encrypted_sessions";
/// Where signed policies are sent: `PUT`. Not published; chosen like the one for encrypted policies.
pub const SIGNED_SESSIONS: &str = "/v1/signed_sessions";
/// What answers whoever asks: published for 5.8.0.
const VERSION: &str = "/v1/version";

/// Seconds between two looks at CAS, while it holds the policy and before.
const SETTLED: u32 = 300;
const UNSETTLED: u32 = 30;

/// One policy, and where it goes.
pub struct Upload<'a> {
    /// The kind, as messages call it.
    pub kind: &'static str,
    /// The URL of CAS.
    pub address: &'a str,
    /// The path that the policy is sent to.
    pub path: &'a str,
    /// Writes what is sent: a JSON document. A policy is large, and most looks at it send nothing.
    pub body: &'a dyn Fn() -> Vec<u8>,
    /// The name of the session; none where it cannot be read.
    pub session: Option<String>,
    /// The policy in clear; none where it cannot be read.
    pub text: Option<&'a str>,
    /// The hash of the version that it replaces, if it can be read and replaces one.
    pub predecessor: Option<String>,
    /// The resource here that registers the namespace of the session, if there is one.
    pub sibling: Option<Sibling>,
    /// Why it cannot be sent as it is.
    pub invalid: Option<Problem>,
}

/// Another policy resource, which registers the session that is the namespace of this one.
pub struct Sibling {
    /// Its name.
    pub name: String,
    /// Whether CAS holds it.
    pub registered: bool,
}

/// Asks for what bringing policies to CAS needs.
pub fn grants(manifest: ManifestBuilder) -> ManifestBuilder {
    // Users say where their CAS is, and which Secret holds the authority that vouches for it.
    let any = || vec!["*".to_owned()];
    let methods = vec!["GET".to_owned(), "PUT".to_owned()];
    manifest
        .now_granularity(60)
        .owns::<ConfigMap>(NamespaceRule::Parent)
        .http(HttpRule { host: "*".to_owned(), ports: Vec::new(), methods })
        .secrets(SecretRule { names: any(), labels: BTreeMap::new(), hosts: any() })
}

/// What should be asked, sent and said.
pub fn reconcile<P>(snapshot: &Snapshot<P>, upload: &Upload<'_>) -> Result<Desired, Failure>
where
    P: Parent + HasStatus<Status = PolicyStatus>,
{
    let unknown = PolicyStatus::default();
    let place = Place::of(&snapshot.parent, upload, snapshot.parent.status().unwrap_or(&unknown));
    let found = belief::find(snapshot, &place)?;
    if let Some(problem) = upload.invalid.as_ref().or(found.problem()) {
        let verdict = Verdict::new(PolicyState::Invalid, problem.clone());
        return Ok(say(
            Desired::new().children(found.pin().map(|hex| kept(&place, hex))),
            &place,
            upload,
            &verdict,
            None,
        ));
    }
    match found {
        Found::Server(server) => Ok(ask(snapshot, &place, upload, &server)),
        Found::Looking { query, pin, failed } => {
            let verdict = match failed {
                Some(failed) => Verdict::new(failed.state, failed.problem).pause(60),
                None => Verdict::asking(upload.address),
            };
            let desired = Desired::new().query(*query).children(pin.map(|hex| kept(&place, &hex)));
            Ok(say(desired, &place, upload, &verdict, None))
        }
        // It is a problem, told above.
        Found::Unusable { .. } => Ok(Desired::new()),
    }
}

/// Once it is known which server to believe.
fn ask<P: Parent>(snapshot: &Snapshot<P>, place: &Place<'_>, upload: &Upload<'_>, server: &Server) -> Desired {
    let mine = mine(place, upload);
    let asked = question(upload, server, place.status.registered_upload.as_deref());
    let sending = format!("upload-{}-{mine}", server.mark(&address::url(upload.address, upload.path)));
    let evidence = Evidence {
        upload,
        before: place.status,
        same: place.same,
        seen: seen(reply(snapshot, &asked.id, place, server), upload),
        sent: reply(snapshot, &sending, place, server),
        namespace: namespace(snapshot, place, upload, server),
        mine: &mine,
        now: snapshot.now.unwrap_or_default(),
    };
    let verdict = decide(&evidence);
    let told = conditions(&evidence, &verdict, place, server);
    let wants_namespace = !verdict.is_held(place.status) && needs_namespace(upload);
    let desired = Desired::new()
        .children(server.pin.as_deref().map(|hex| kept(place, hex)))
        // By the status as it was. By what follows now, a session that has vanished would be asked for under one id and the other in turns:
        // the answer to the first makes it the second, to which there is none yet.
        .query(asked)
        .queries(wants_namespace.then(|| namespace_question(upload, server)).flatten());
    let desired = if verdict.send { desired.action(action(upload, server, &sending)) } else { desired };
    say(desired, place, upload, &verdict, Some(told))
}

/// How a session looks to CAS. The answer to an old question must not be taken for one to a new one, so the id tells what is
/// asked, and what had been registered by then.
fn question(upload: &Upload<'_>, server: &Server, registered: Option<&str>) -> Query {
    let path = upload.session.as_ref().map_or_else(|| VERSION.to_owned(), |name| format!("{SESSIONS}{name}"));
    let url = address::url(upload.address, &path);
    let id = format!("session-{}-{}", server.mark(&url), registered.unwrap_or("new"));
    let interval = if registered.is_some() { SETTLED } else { UNSETTLED };
    HttpRequest::get(&url).trust(server.trust.clone()).ask(&id).every(interval)
}

fn namespace_question(upload: &Upload<'_>, server: &Server) -> Option<Query> {
    let name = upload.session.as_deref().and_then(policy_text::namespace)?;
    let url = address::url(upload.address, &format!("{SESSIONS}{name}"));
    let id = format!("namespace-{}", server.mark(&url));
    Some(HttpRequest::get(&url).trust(server.trust.clone()).ask(&id).every(UNSETTLED))
}

fn action(upload: &Upload<'_>, server: &Server, id: &str) -> Action {
    HttpRequest::put(&address::url(upload.address, upload.path), (upload.body)())
        .header("content-type", "application/json")
        .trust(server.trust.clone())
        .act(id)
        .within(30)
}

/// Whether CAS has to be asked for the namespace: it has one, and no resource here says that it is there.
fn needs_namespace(upload: &Upload<'_>) -> bool {
    let has_one = upload.session.as_deref().and_then(policy_text::namespace).is_some();
    has_one && !upload.sibling.as_ref().is_some_and(|sibling| sibling.registered)
}

fn namespace<'a, P: Parent>(
    snapshot: &Snapshot<P>,
    place: &Place<'_>,
    upload: &'a Upload<'_>,
    server: &Server,
) -> Namespace<'a> {
    let Some(session) = upload.session.as_deref() else { return Namespace::Unknown };
    let Some(name) = policy_text::namespace(session) else { return Namespace::None };
    if upload.sibling.as_ref().is_some_and(|sibling| sibling.registered) {
        return Namespace::Exists;
    }
    let Some(query) = namespace_question(upload, server) else { return Namespace::None };
    match reply::exists(reply(snapshot, &query.id, place, server), place.cas) {
        None => Namespace::NotYet,
        Some(Err(failed)) => Namespace::Failed(failed),
        Some(Ok(true)) => Namespace::Exists,
        Some(Ok(false)) => match &upload.sibling {
            Some(sibling) => Namespace::Waits { name, sibling: &sibling.name },
            None => Namespace::Missing { name },
        },
    }
}

/// What every policy says.
fn say(
    desired: Desired,
    place: &Place<'_>,
    upload: &Upload<'_>,
    verdict: &Verdict,
    told: Option<Vec<operator_guest::Condition>>,
) -> Desired {
    let status = verdict.status(place, upload);
    let (state, why) = (status.state, verdict.why(place.status));
    let event = (place.known.then_some(place.status.state) != Some(state)).then(|| {
        let lost = matches!(why.reason, "SessionVanished" | "SessionReverted");
        let tell = if state.is_fine() && !lost { Event::normal } else { Event::warning };
        tell(why.reason, "Upload", why.message.clone())
    });
    let desired = desired
        .status(&status)
        .conditions(told.unwrap_or_else(|| conditions::unasked(verdict, place, &why)))
        .condition(conditions::deletion(upload.kind))
        .events(event);
    match verdict.pause {
        Some(seconds) => desired.requeue(seconds),
        None => desired,
    }
}

/// The resource, and what was known of it.
pub(crate) struct Place<'a> {
    /// The URL of CAS.
    pub(crate) cas: &'a str,
    kind: &'static str,
    pub(crate) name: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) annotations: &'a BTreeMap<String, String>,
    /// The status as it stands.
    pub(crate) status: &'a PolicyStatus,
    /// Whether there is one.
    pub(crate) known: bool,
    /// Whether it is about the spec as it stands.
    pub(crate) same: bool,
}

impl<'a> Place<'a> {
    fn of<P: Parent + HasStatus<Status = PolicyStatus>>(
        parent: &'a P,
        upload: &Upload<'a>,
        status: &'a PolicyStatus,
    ) -> Self {
        Self {
            cas: upload.address,
            kind: upload.kind,
            name: parent.meta().name.as_deref().unwrap_or_default(),
            namespace: parent.meta().namespace.as_deref().unwrap_or_default(),
            annotations: parent.annotations(),
            known: parent.status().is_some_and(|status| !status.conditions.is_empty()),
            same: is_about(status, parent),
            status,
        }
    }

    /// The kind in lower case, as `kubectl` takes it.
    pub(crate) fn resource(&self) -> String {
        self.kind.to_lowercase()
    }
}

/// Whether CAS has taken the very spec that stands: neither whether it can be sent nor which upload it was has to be found out again.
pub fn is_registered<P: Parent + HasStatus<Status = PolicyStatus>>(policy: &P) -> bool {
    policy.status().is_some_and(|status| is_held(status, is_about(status, policy)))
}

/// Whether a status is about the spec as it stands.
fn is_about<P: Parent>(status: &PolicyStatus, policy: &P) -> bool {
    let generation = policy.meta().generation;
    generation.is_some() && status.observed_generation == generation
}

/// Whether a status says so; `same`: it is about the spec as it stands.
fn is_held(status: &PolicyStatus, same: bool) -> bool {
    same && status.state == PolicyState::Registered && status.registered_upload.is_some()
}

/// The fingerprint of what would be sent.
fn mine(place: &Place<'_>, upload: &Upload<'_>) -> String {
    match &place.status.registered_upload {
        Some(mine) if is_held(place.status, place.same) => mine.clone(),
        _ => fingerprint(&[upload.kind.as_bytes(), upload.address.as_bytes(), &(upload.body)()]),
    }
}

/// 64 bits of a cryptographic hash over all parts: tells one from another, and nothing of what is in them.
fn fingerprint(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    hex::encode(hash.finalize().first_chunk::<8>().copied().unwrap_or_default())
}

/// Why nothing can be sent: the causes of one refusal as one problem.
pub fn invalid(causes: &[operator_guest::Cause]) -> Option<Problem> {
    let first = causes.first()?;
    let reason = if first.field.starts_with("metadata") { "AnnotationInvalid" } else { "SpecInvalid" };
    let told: Vec<_> = causes.iter().take(5).map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
    Some(Problem::new(reason, told.join("; ")))
}
