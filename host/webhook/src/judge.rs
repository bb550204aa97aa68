//! One request of the API server: what is sent, who judges it, what is answered. Knows HTTP, but no sockets.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{CONNECTION, CONTENT_TYPE},
    request::Parts,
};
use http_body_util::Full;
use operator_core::{
    Denial, Document, Failure, FailureKind, Generation, Judgement,
    contract::{Operation, Phase},
    judge, patch, schema,
};
use serde_json::Value;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit},
    time::{Instant, timeout_at},
};
use tracing::{debug, warn};

use crate::{
    Answer, Bindings, Review, Witness,
    bindings::Binding,
    budget::{Budget, Peer},
    convert::{self, Conversion, Unconverted},
    intake,
    patience::within,
    probe, scope,
};

mod done;

use done::Done;

/// So many objects are converted in one call of a module: a list may be larger than what a call may use.
const PIECE: usize = 100;

/// The path of all conversions.
pub(crate) const CONVERT: &str = "/convert";

/// What one request may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest admission request, in bytes: twice an object of the size that etcd takes.
    pub admission_bytes: usize,
    /// Largest conversion request, in bytes: the API server sends whole lists.
    pub conversion_bytes: usize,
    /// Bytes that all admission requests may hold at a time, half of them those of one address; the others wait.
    /// Conversions have their own, so that large lists take nothing from what users wait for.
    pub admission_budget: usize,
    /// The same for conversions.
    pub conversion_budget: usize,
    /// Longest admission; the API server's own patience, if it is shorter, counts.
    pub admission: Duration,
    /// Longest conversion; the API server waits 30 s.
    pub conversion: Duration,
    /// Requests that modules judge at a time; the others wait. As many as there are threads for it: so none waits within a module's own
    /// time. One module judges all but one of them, so that others go on while it is stuck.
    pub at_once: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            admission_bytes: 3 * 1024 * 1024,
            conversion_bytes: 64 * 1024 * 1024,
            // Some twenty of the largest; real ones are a hundred times smaller.
            admission_budget: 64 * 1024 * 1024,
            // The smallest of which one address gets one of the largest in a half.
            conversion_budget: 128 * 1024 * 1024,
            admission: Duration::from_secs(10),
            conversion: Duration::from_secs(30),
            at_once: 2,
        }
    }
}

/// Answers requests of the API server.
pub struct Judge {
    bindings: Arc<Bindings>,
    limits: Limits,
    permits: Semaphore,
    /// For each module by name.
    shares: Mutex<HashMap<String, Arc<Semaphore>>>,
    admissions: Budget,
    conversions: Budget,
    namespace: String,
    witness: Arc<dyn Witness>,
}

impl Judge {
    /// A judge over these modules. `namespace` is the operator's own.
    pub fn new(bindings: Arc<Bindings>, limits: Limits, namespace: &str, witness: Arc<dyn Witness>) -> Self {
        let limits = Limits { at_once: limits.at_once.clamp(1, Semaphore::MAX_PERMITS), ..limits };
        let (permits, shares) = (Semaphore::new(limits.at_once), Mutex::default());
        let admissions = Budget::new(limits.admission_budget, limits.admission_bytes);
        let conversions = Budget::new(limits.conversion_budget, limits.conversion_bytes);
        Self { bindings, limits, permits, shares, admissions, conversions, namespace: namespace.to_owned(), witness }
    }

    /// Answers one request. Never fails: what is no request is answered with a code from 400 on.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: http_body::Body<Data = Bytes>,
    {
        let started = Instant::now();
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        let binding = self.bindings.at(path);
        let label = if binding.is_some() || [CONVERT, probe::PATH].contains(&path) { path } else { "other" };
        let done = self.route(&head, body, binding.as_deref()).await;
        self.witness.answered(label, done.outcome, started.elapsed());
        debug!(path = label, outcome = done.outcome, "answered");
        let kind = if done.code == StatusCode::OK { "application/json" } else { "text/plain; charset=utf-8" };
        let mut response = Response::new(Full::from(done.body));
        *response.status_mut() = done.code;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        if done.unread {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn route<B>(&self, head: &Parts, body: B, binding: Option<&Binding>) -> Done
    where
        B: http_body::Body<Data = Bytes>,
    {
        let path = head.uri.path();
        let converts = path == CONVERT;
        if binding.is_none() && !converts && path != probe::PATH {
            // It may be the path of a module that cannot be read: then the user is told so below.
            if self.bindings.unknown().is_empty() {
                let text = "no module is asked under this path; load the module that names it";
                return Done::unasked("unknown", StatusCode::NOT_FOUND, text);
            }
        }
        if converts && !self.bindings.converts() {
            return Done::unasked("unknown", StatusCode::NOT_FOUND, "no module converts anything; load one that does");
        }
        if head.method.as_str() != "POST" {
            return Done::unasked("malformed", StatusCode::METHOD_NOT_ALLOWED, "send reviews with POST");
        }
        let (limit, longest, budget) = if converts {
            (self.limits.conversion_bytes, self.limits.conversion, &self.conversions)
        } else {
            (self.limits.admission_bytes, self.limits.admission, &self.admissions)
        };
        let within = within(head.uri.query().unwrap_or_default(), longest);
        let deadline = Instant::now() + within;
        let peer = head.extensions.get::<Peer>().copied();
        // Held until the answer is made: what is read out of the body are parts of it.
        let (body, _share) = match intake::read(body, limit, (budget, peer), deadline).await {
            Ok(read) => read,
            Err(why) => return Done::unread(&why),
        };
        match binding {
            _ if converts => self.convert(&body, within, deadline).await,
            Some(binding) => self.admit(binding, &body, within, deadline).await,
            None if path == probe::PATH => probed(&body),
            None => unserved(&body, &self.bindings.unknown()),
        }
    }

    async fn admit(&self, binding: &Binding, body: &Bytes, within: Duration, deadline: Instant) -> Done {
        let review = match Review::parse(body, binding.rule.status) {
            Ok(review) => review,
            Err(malformed) => return Done::malformed(&malformed),
        };
        let (outcome, answer) = match self.request(binding, &review) {
            Err(judgement) if judgement.denied.is_none() => ("allowed", Answer::default()),
            Err(judgement) => ("denied", answer(judgement, Vec::new())),
            Ok(request) => {
                let verdict = self.ask(binding, request.clone(), within, deadline).await;
                let failed = verdict.is_err();
                if let Err(failure) = &verdict {
                    warn!(%failure, reason = failure.kind.reason(), object = %request.identity, "a request could not be judged");
                }
                let (module, schema) = (binding.module.generation(), schema_of(binding, &request));
                let judgement = judge(&request, module, schema, verdict);
                let (judgement, patch) = with_patch(module, &request, judgement);
                let outcome = match (&judgement.denied, failed) {
                    (Some(_), true) => "failed",
                    (Some(_), false) => "denied",
                    _ if patch.is_empty() => "allowed",
                    _ => "patched",
                };
                (outcome, answer(judgement, patch))
            }
        };
        Done::json(outcome, answer.write(&review))
    }

    /// What the module is asked, or what is answered without it.
    fn request(&self, binding: &Binding, review: &Review) -> Result<operator_core::Request, Judgement> {
        let refused = |message: String| {
            let denial = Denial { code: 400, reason: "BadRequest".to_owned(), message, causes: Vec::new() };
            Err(Judgement::denied(denial))
        };
        let operation = match &review.operation {
            Ok(operation) => *operation,
            Err(odd) => {
                return refused(format!("operation {odd:?} is unknown; CREATE, UPDATE, DELETE and CONNECT are known"));
            }
        };
        let identity = &review.identity;
        let Some(kind) = binding.kind(&identity.api_version, &identity.kind) else {
            let path = &binding.rule.path;
            return refused(format!("{} {} is not guarded under {path}", identity.api_version, identity.kind));
        };
        let free = identity
            .namespace
            .as_deref()
            .is_some_and(|namespace| scope::free(kind, &self.namespace).contains(&namespace));
        // What a swap has just withdrawn may still be sent for a moment: the module does not want to see it.
        if !scope::is_guarded(kind) || free || !binding.rule.operations.contains(&operation) {
            return Err(Judgement::allowed());
        }
        let deletes = operation == Operation::Delete;
        Ok(operator_core::Request {
            phase: binding.rule.phase,
            operation,
            identity: identity.clone(),
            subresource: review.subresource.clone(),
            object: review.object.clone().filter(|_| !deletes),
            old_object: review.old_object.clone(),
            user: review.user.clone(),
            dry_run: review.dry_run,
            settings: binding.settings.clone(),
        })
    }

    async fn ask(
        &self,
        binding: &Binding,
        request: operator_core::Request,
        within: Duration,
        deadline: Instant,
    ) -> Result<operator_core::Verdict, Failure> {
        let failure = |kind| Failure { module: binding.module.generation().clone(), function: "admit", kind };
        let (asked, busy) = (Instant::now(), |waited| failure(FailureKind::Busy { waited_ms: millis(waited) }));
        let Ok(_turn) = timeout_at(deadline, self.turn(&binding.module.generation().name)).await else {
            return Err(busy(within));
        };
        let (waited, begun) = (asked.elapsed(), Instant::now());
        let answer = timeout_at(deadline, binding.module.admit(request)).await;
        answer.unwrap_or_else(|_| {
            // What it waited is not the module's doing.
            let ran = begun.elapsed();
            Err(if waited > ran { busy(waited) } else { failure(FailureKind::Deadline { limit_ms: millis(ran) }) })
        })
    }

    /// Waits for a thread that may judge for this module.
    async fn turn(&self, module: &str) -> Turn<'_> {
        let share = {
            let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
            let share = shares.entry(module.to_owned());
            Arc::clone(share.or_insert_with(|| Arc::new(Semaphore::new((self.limits.at_once - 1).max(1)))))
        };
        // Neither is ever closed. First its own share, so that what waits for that holds up no other module.
        let share = share.acquire_owned().await.ok();
        Turn { _share: share, _permit: self.permits.acquire().await.ok() }
    }

    async fn convert(&self, body: &Bytes, within: Duration, deadline: Instant) -> Done {
        let conversion = match Conversion::parse(body) {
            Ok(conversion) => conversion,
            Err(malformed) => return Done::malformed(&malformed),
        };
        let converted = timeout_at(deadline, self.converted(&conversion)).await;
        let converted = converted.unwrap_or(Err(Unconverted::Late { seconds: within.as_secs() }));
        if let Err(why) = &converted {
            warn!(%why, wanted = conversion.wanted, "objects are not converted");
        }
        let outcome = if converted.is_ok() { "converted" } else { "unconverted" };
        Done::json(outcome, convert::write(&conversion.uid, converted.as_deref()))
    }

    async fn converted(&self, conversion: &Conversion) -> Result<Vec<Document>, Unconverted> {
        let (identities, group, kind) = conversion.identities()?;
        if identities.is_empty() {
            return Ok(Vec::new());
        }
        let module = self.bindings.converter(&group, &kind).ok_or(Unconverted::Nobody { group, kind })?;
        let mut converted = Vec::with_capacity(conversion.objects.len());
        for piece in conversion.objects.chunks(PIECE) {
            // Given back after each piece: whoever edits one object does not wait for a list of thousands.
            let _turn = self.turn(&module.generation().name).await;
            converted.extend(module.convert(conversion.wanted.clone(), piece.to_vec()).await?);
        }
        conversion.check(&module.generation().to_string(), &identities, &converted)?;
        Ok(converted)
    }
}

/// Held while a module judges.
struct Turn<'a> {
    _share: Option<OwnedSemaphorePermit>,
    _permit: Option<SemaphorePermit<'a>>,
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn answer(judgement: Judgement, patch: Vec<Value>) -> Answer {
    Answer { denied: judgement.denied, patch, warnings: judgement.warnings, audit: judgement.audit }
}

/// The answer where modules cannot be read, one of which may be who is asked. The API server shows users the text of a denial, and nothing of
/// an answer with an error code; of a denial with 503, clients that repeat such requests would show nothing for minutes.
fn unserved(body: &Bytes, refused: &[String]) -> Done {
    let review = match Review::parse(body, false) {
        Ok(review) => review,
        Err(malformed) => return Done::malformed(&malformed),
    };
    let kind = FailureKind::NotServing(refused.join("; "));
    let denial = Denial { code: 403, reason: kind.reason().to_owned(), message: kind.to_string(), causes: Vec::new() };
    Done::json("failed", Answer { denied: Some(denial), ..Answer::default() }.write(&review))
}

/// The answer to a probe: a warning that the API server hands on to whoever asked, so that it matters not which replica was reached.
fn probed(body: &Bytes) -> Done {
    match Review::parse(body, false) {
        Ok(review) => {
            let warnings = vec![probe::echo(&review.identity.name)];
            Done::json("probed", Answer { warnings, ..Answer::default() }.write(&review))
        }
        Err(malformed) => Done::malformed(&malformed),
    }
}

fn schema_of<'a>(binding: &'a Binding, request: &operator_core::Request) -> Option<&'a Value> {
    let kind = binding.kind(&request.identity.api_version, &request.identity.kind)?;
    schema::of_crd(&kind.crd, kind.api_version.rsplit('/').next().unwrap_or_default())
}

/// The JSON Patch of a judgement, tried on the request's own object first: one that did not apply would be a 500 for the user, whatever
/// the failure policy says.
fn with_patch(module: &Generation, request: &operator_core::Request, judgement: Judgement) -> (Judgement, Vec<Value>) {
    let (Some(wanted), Some(object), Phase::Mutate) = (&judgement.object, &request.object, request.phase) else {
        return (judgement, Vec::new());
    };
    let tried = object.to_value().map_err(|error| error.to_string()).and_then(|object| patch_for(object, wanted));
    match tried {
        Ok(patch) => (judgement, patch),
        Err(why) => {
            let kind = FailureKind::Host(format!("the patch does not apply: {why}"));
            let failure = Failure { module: module.clone(), function: "admit", kind };
            (Judgement { denied: Some(failure.denial()), object: None, ..judgement }, Vec::new())
        }
    }
}

fn patch_for(mut object: Value, wanted: &Value) -> Result<Vec<Value>, String> {
    let operations = patch::json_patch(&object, wanted);
    let parsed: json_patch::Patch =
        serde_json::from_value(Value::Array(operations.clone())).map_err(|error| error.to_string())?;
    json_patch::patch(&mut object, &parsed).map_err(|error| error.to_string())?;
    if object == *wanted { Ok(operations) } else { Err("it leads to another object".to_owned()) }
}

#[cfg(test)]
mod tests;
