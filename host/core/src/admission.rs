//! What a module is asked about a request, and what it answers. The fields mean what `wit/v1/admission.wit` says.

use operator_contract::{Operation, Phase};
use serde_json::Value;

use crate::{Cause, Document, Failure, FailureKind, Generation, ObjectRef, Refusal, patch, schema};

/// One admission request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which phase.
    pub phase: Phase,
    /// What is being done.
    pub operation: Operation,
    /// To which object.
    pub identity: ObjectRef,
    /// The subresource.
    pub subresource: Option<String>,
    /// The object as it would be stored.
    pub object: Option<Document>,
    /// The object as it is stored.
    pub old_object: Option<Document>,
    /// Who asks.
    pub user: User,
    /// Whether nothing will be stored.
    pub dry_run: bool,
    /// The module's settings.
    pub settings: Document,
}

impl Request {
    /// The request as a module gets it whose webhook sees the status of objects, or does not. For tools; the host's webhook cuts it out
    /// while it reads a review.
    #[must_use]
    pub fn seen(self, status: bool) -> Self {
        if status || self.subresource.as_deref() == Some("status") {
            return self;
        }
        let cut = |document: Document| match document.to_value() {
            Ok(Value::Object(mut members)) => {
                members.remove("status");
                Document::from_value(&Value::Object(members))
            }
            _ => document,
        };
        Self { object: self.object.map(cut), old_object: self.old_object.map(cut), ..self }
    }
}

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// User name.
    pub name: String,
    /// Groups.
    pub groups: Vec<String>,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// None: allowed. Some: refused, and why.
    pub denied: Option<Denial>,
    /// The object with defaults; only in phase mutate.
    pub object: Option<Document>,
    /// The object as the module read it, before defaults; the request's own when none.
    pub before: Option<Document>,
    /// Shown to whoever asked.
    pub warnings: Vec<String>,
    /// Added to the audit log.
    pub audit: Vec<(String, String)>,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// HTTP status code.
    pub code: u16,
    /// One word.
    pub reason: String,
    /// A sentence with the fix.
    pub message: String,
    /// Field by field.
    pub causes: Vec<Cause>,
}

/// What becomes of one request: the same for a webhook, the simulator and the command line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judgement {
    /// None: allowed. Some: refused, with a code from 400 on.
    pub denied: Option<Denial>,
    /// The request's object with the module's defaults; none when nothing changes.
    pub object: Option<Value>,
    /// Shown to whoever asked.
    pub warnings: Vec<String>,
    /// Added to the audit log.
    pub audit: Vec<(String, String)>,
}

impl Judgement {
    /// Allowed as it is.
    pub fn allowed() -> Self {
        Self::default()
    }

    /// Refused, with nothing else to say.
    pub fn denied(denial: Denial) -> Self {
        Self { denied: Some(denial), ..Self::default() }
    }
}

/// What becomes of a request, given a module's answer to it. This is the one place that decides about a module without a usable
/// answer: what it guards is refused. `schema` is that of the object's kind, where it is known.
///
/// A verdict's object that cannot be stored is refused here, in the module's name: the API server would only say that the user's
/// object is wrong, or that the webhook failed.
pub fn judge(
    request: &Request,
    module: &Generation,
    schema: Option<&Value>,
    answer: Result<Verdict, Failure>,
) -> Judgement {
    let verdict = match answer {
        Ok(verdict) => verdict,
        Err(failure) => return Judgement::denied(failure.denial()),
    };
    let judgement =
        Judgement { warnings: verdict.warnings.clone(), audit: verdict.audit.clone(), ..Judgement::default() };
    if let Some(denial) = verdict.denied {
        return Judgement { denied: Some(denial.with_usual_code()), ..judgement };
    }
    match patch::mutated(request, &verdict) {
        Ok(object) => {
            let causes = object.as_ref().map_or_else(Vec::new, |object| broken(request, schema, object));
            if causes.is_empty() {
                return Judgement { object, ..judgement };
            }
            let listed: Vec<String> = causes.iter().map(|c| format!("{}: {}", c.field, c.message)).collect();
            let why = format!("the verdict breaks the schema of {}: {}", request.identity.kind, listed.join("; "));
            Judgement { denied: Some(useless(module, &why, causes)), ..judgement }
        }
        Err(error) => Judgement { denied: Some(useless(module, &error.to_string(), Vec::new())), ..judgement },
    }
}

/// What is wrong with the module's object and was not wrong with the user's.
fn broken(request: &Request, schema: Option<&Value>, object: &Value) -> Vec<Cause> {
    let Some(schema) = schema else { return Vec::new() };
    let mut violations = schema::violations(schema, object);
    if !violations.is_empty() {
        let sent = request.object.as_ref().and_then(|object| object.to_value().ok()).unwrap_or_default();
        let before = schema::violations(schema, &sent);
        violations.retain(|violation| !before.contains(violation));
    }
    violations.into_iter().map(|v| Cause { field: v.path, reason: v.reason.to_owned(), message: v.message }).collect()
}

fn useless(module: &Generation, why: &str, causes: Vec<Cause>) -> Denial {
    let message = format!("module {module}, admit: {why}; the module is to blame, not the object");
    Denial { code: FORBIDDEN, reason: "ModuleAnswerInvalid".to_owned(), message, causes }
}

/// HTTP status codes of denials. Never 500: that says that the API server is broken.
const FORBIDDEN: u16 = 403;
const UNPROCESSABLE: u16 = 422;
const UNAVAILABLE: u16 = 503;

impl Denial {
    /// The same with a code that says that the request is refused, whatever the module chose.
    fn with_usual_code(self) -> Self {
        let code = if (400..500).contains(&self.code) { self.code } else { FORBIDDEN };
        let reason = if self.reason.is_empty() { "Forbidden".to_owned() } else { self.reason };
        Self { code, reason, ..self }
    }
}

impl Failure {
    /// What a user whose request could not be judged is told.
    pub fn denial(&self) -> Denial {
        let (code, causes) = match &self.kind {
            FailureKind::Refused(Refusal::InvalidObject(causes)) => (UNPROCESSABLE, causes.clone()),
            FailureKind::Refused(Refusal::Unsupported(_)) => (UNPROCESSABLE, Vec::new()),
            // The same request may be taken a little later.
            FailureKind::Refused(Refusal::Retry(_)) | FailureKind::Busy { .. } | FailureKind::Host(_) => {
                (UNAVAILABLE, Vec::new())
            }
            FailureKind::Refused(Refusal::InvalidSettings(causes)) => (FORBIDDEN, causes.clone()),
            _ => (FORBIDDEN, Vec::new()),
        };
        Denial { code, reason: self.kind.reason().to_owned(), message: self.to_string(), causes }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    fn module() -> Generation {
        Generation { name: Arc::from("m"), version: Arc::from("1.0.0"), digest: Arc::from("0123456789abcdef") }
    }

    fn request(phase: Phase, operation: Operation, object: Option<&Value>) -> Request {
        Request {
            phase,
            operation,
            identity: ObjectRef::cluster("example.org/v1", "Thing", "a"),
            subresource: None,
            object: object.map(Document::from_value),
            old_object: None,
            user: User::default(),
            dry_run: false,
            settings: Document::new(&b"{}"[..]),
        }
    }

    #[test]
    fn a_webhook_that_looks_at_no_status_sees_it_only_in_requests_about_it() {
        let (whole, cut) = (json!({"spec": 1, "status": 2}), json!({"spec": 1}));
        let asked = request(Phase::Validate, Operation::Update, Some(&whole));
        let about_status = Request { subresource: Some("status".into()), ..asked.clone() };
        for (asked, status, seen) in [(&asked, true, &whole), (&asked, false, &cut), (&about_status, false, &whole)] {
            let object = asked.clone().seen(status).object.unwrap();
            assert_eq!(&object.to_value().unwrap(), seen);
        }
    }

    fn answer(object: &Value) -> Verdict {
        Verdict { object: Some(Document::from_value(object)), ..Verdict::default() }
    }

    fn denial(judgement: Judgement) -> Denial {
        judgement.denied.unwrap()
    }

    #[test]
    fn a_trap_refuses_with_its_reason_and_the_modules_name() {
        let kind = FailureKind::Trap { what: "unreachable".into(), frames: Vec::new() };
        let failure = Failure { module: module(), function: "admit", kind };
        let denied = denial(judge(&request(Phase::Validate, Operation::Create, None), &module(), None, Err(failure)));
        assert_eq!((denied.code, denied.reason.as_str()), (403, "ModuleTrapped"));
        assert!(denied.message.contains("module m 1.0.0"), "{}", denied.message);
    }

    #[test]
    fn a_busy_host_refuses_with_a_code_that_says_later() {
        let failure = Failure { module: module(), function: "admit", kind: FailureKind::Busy { waited_ms: 7 } };
        assert_eq!((failure.denial().code, failure.denial().reason.as_str()), (503, "HostBusy"));
    }

    #[test]
    fn an_object_in_answer_to_a_deletion_refuses_in_the_modules_name() {
        let request = request(Phase::Mutate, Operation::Delete, None);
        let denied = denial(judge(&request, &module(), None, Ok(answer(&json!({"a": 1})))));
        assert_eq!((denied.code, denied.reason.as_str()), (403, "ModuleAnswerInvalid"));
        assert!(denied.message.contains("module m 1.0.0"), "{}", denied.message);
    }

    #[test]
    fn an_object_in_the_validating_phase_refuses_in_the_modules_name() {
        let object = json!({"kind": "Thing"});
        let request = request(Phase::Validate, Operation::Create, Some(&object));
        assert_eq!(
            denial(judge(&request, &module(), None, Ok(answer(&json!({"a": 1}))))).reason,
            "ModuleAnswerInvalid"
        );
    }

    #[test]
    fn a_default_that_breaks_the_schema_refuses_in_the_modules_name_and_names_the_field() {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "port": {"type": "integer"}, "name": {"type": "string"}}}}});
        let sent = json!({"spec": {"name": "x"}});
        let request = request(Phase::Mutate, Operation::Create, Some(&sent));
        let answered = Ok(answer(&json!({"spec": {"name": "x", "port": "http"}})));
        let denied = denial(judge(&request, &module(), Some(&schema), answered));
        assert_eq!((denied.reason.as_str(), denied.causes[0].field.as_str()), ("ModuleAnswerInvalid", "spec.port"));
    }

    #[test]
    fn what_the_user_wrote_wrongly_is_left_to_the_api_server() {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "port": {"type": "integer"}, "name": {"type": "string"}}}}});
        let request = request(Phase::Mutate, Operation::Create, Some(&json!({"spec": {"port": "http"}})));
        let judged =
            judge(&request, &module(), Some(&schema), Ok(answer(&json!({"spec": {"port": "http", "name": "a"}}))));
        assert_eq!((judged.denied, judged.object.unwrap()), (None, json!({"spec": {"port": "http", "name": "a"}})));
    }

    #[test]
    fn a_denial_keeps_no_code_that_says_success() {
        let verdict = Verdict {
            denied: Some(Denial { code: 200, reason: String::new(), message: "no".into(), causes: Vec::new() }),
            warnings: vec!["w".into()],
            ..Verdict::default()
        };
        let judged = judge(&request(Phase::Validate, Operation::Create, None), &module(), None, Ok(verdict));
        assert_eq!(judged.warnings, ["w"]);
        assert_eq!((denial(judged.clone()).code, denial(judged).reason.as_str()), (403, "Forbidden"));
    }
}
