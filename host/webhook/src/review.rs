//! The envelope of admission: what the API server sends, and what it is answered. Objects stay bytes.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use operator_core::{Cause, Denial, Document, ObjectRef, User, contract::Operation};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::{Value, value::RawValue};

use crate::members::Members;

/// The one version of the envelope that is spoken.
pub(crate) const VERSION: &str = "admission.k8s.io/v1";
/// Largest number of warnings of one answer, and bytes of one warning: the API server cuts what is longer.
const WARNINGS: (usize, usize) = (20, 250);

/// Why bytes are no review.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not JSON, or JSON of another shape.
    #[error("the body is no {kind}: {why}; only an API server should send requests here")]
    Shape {
        /// What it should be.
        kind: &'static str,
        /// Where and why.
        why: String,
    },
    /// Another kind or version of review.
    #[error("the body is a {found}, and only {expected} is spoken; set admissionReviewVersions accordingly")]
    Version {
        /// What it is.
        found: String,
        /// What it should be.
        expected: String,
    },
}

/// One request of the API server.
#[derive(Clone, Debug)]
pub struct Review {
    /// Has to be in the answer.
    pub uid: String,
    /// The object that it is about; its name is empty when the server has yet to generate it.
    pub identity: ObjectRef,
    /// What is being done; as it was spelt when it is nothing known.
    pub operation: Result<Operation, String>,
    /// The subresource.
    pub subresource: Option<String>,
    /// The object as it would be stored, without field claims, and without its status where the module does not look at it.
    pub object: Option<Document>,
    /// The object as it is stored; the same holds for it.
    pub old_object: Option<Document>,
    /// Who asks.
    pub user: User,
    /// Whether nothing will be stored.
    pub dry_run: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<T> {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    request: Option<T>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    uid: String,
    kind: Kind,
    #[serde(default)]
    sub_resource: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    namespace: Option<String>,
    operation: String,
    #[serde(default)]
    user_info: Asker,
    #[serde(borrow, default)]
    object: Option<Members<'a>>,
    #[serde(borrow, default)]
    old_object: Option<Members<'a>>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Deserialize)]
struct Kind {
    #[serde(default)]
    group: String,
    version: String,
    #[serde(rename = "kind")]
    name: String,
}

#[derive(Default, Deserialize)]
struct Asker {
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    groups: Option<Vec<String>>,
}

/// What is in an envelope of this version and kind. The body is walked over once.
pub(crate) fn open<'a, T: Deserialize<'a>>(body: &'a [u8], version: &str, kind: &'static str) -> Result<T, Malformed> {
    let shape = |why: String| Malformed::Shape { kind, why };
    // Checked at once, which is quicker than each string by itself.
    let text = std::str::from_utf8(body).map_err(|error| shape(error.to_string()))?;
    let envelope: Envelope<T> = match serde_json::from_str(text) {
        Ok(envelope) => envelope,
        Err(error) => {
            // Another version has another shape: that it is another version is the better answer.
            let other: Option<Envelope<IgnoredAny>> = serde_json::from_str(text).ok();
            return Err(match other {
                Some(other) => other.checked(version, kind).err().unwrap_or_else(|| shape(format!("request: {error}"))),
                None => shape(error.to_string()),
            });
        }
    };
    envelope.checked(version, kind)?.request.ok_or_else(|| shape("request is missing".to_owned()))
}

impl<T> Envelope<T> {
    fn checked(self, version: &str, kind: &str) -> Result<Self, Malformed> {
        if self.api_version == version && self.kind == kind {
            return Ok(self);
        }
        let found = format!("{:?} of {:?}", cut(&self.kind, 100), cut(&self.api_version, 100));
        Err(Malformed::Version { found, expected: format!("{kind} of {version}") })
    }
}

/// The document of a part of the body, without a copy.
pub(crate) fn part(body: &Bytes, raw: &RawValue) -> Document {
    Document::new(body.slice_ref(raw.get().as_bytes()))
}

impl Review {
    /// Reads the envelope, for a webhook that sees the status of objects or does not. A request about the status has it in any case.
    /// What else is in objects is the module's business.
    ///
    /// # Errors
    /// When it is no `AdmissionReview` of `admission.k8s.io/v1` with a request.
    pub fn parse(body: &[u8], status: bool) -> Result<Self, Malformed> {
        let shape = |why: String| Malformed::Shape { kind: "AdmissionReview", why };
        let wire: Wire<'_> = open(body, VERSION, "AdmissionReview")?;
        if wire.uid.is_empty() {
            return Err(shape("request.uid is empty".to_owned()));
        }
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        let Kind { group, version, name: kind } = wire.kind;
        let identity = ObjectRef {
            api_version: if group.is_empty() { version } else { format!("{group}/{version}") },
            kind,
            namespace: filled(wire.namespace),
            name: wire.name.unwrap_or_default(),
        };
        let subresource = filled(wire.sub_resource);
        let status = status || subresource.as_deref() == Some("status");
        let operation = serde_json::from_value(Value::String(wire.operation.clone()));
        Ok(Self {
            uid: wire.uid,
            identity,
            operation: operation.map_err(|_| cut(&wire.operation, 40).to_owned()),
            subresource,
            object: wire.object.map(|object| object.document(status)),
            old_object: wire.old_object.map(|object| object.document(status)),
            user: User {
                name: wire.user_info.username.unwrap_or_default(),
                groups: wire.user_info.groups.unwrap_or_default(),
            },
            dry_run: wire.dry_run.unwrap_or_default(),
        })
    }
}

/// What the API server is told about one request.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// None: allowed. Some: refused, and why.
    pub denied: Option<Denial>,
    /// The JSON Patch; nothing changes when it is empty.
    pub patch: Vec<Value>,
    /// Shown to whoever asked.
    pub warnings: Vec<String>,
    /// Added to the audit log.
    pub audit: Vec<(String, String)>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sent<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: Response<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    audit_annotations: BTreeMap<&'a str, &'a str>,
}

#[derive(Serialize)]
struct Status<'a> {
    #[serde(rename = "status")]
    outcome: &'static str,
    code: u16,
    reason: &'a str,
    message: &'a str,
    details: Details<'a>,
}

#[derive(Serialize)]
struct Details<'a> {
    name: &'a str,
    kind: &'a str,
    causes: Vec<Shown<'a>>,
}

#[derive(Serialize)]
struct Shown<'a> {
    reason: &'a str,
    message: &'a str,
    field: &'a str,
}

impl Answer {
    /// The answer as JSON, with the request's own uid.
    pub fn write(&self, review: &Review) -> Vec<u8> {
        let patch = (self.denied.is_none() && !self.patch.is_empty())
            .then(|| STANDARD.encode(Value::Array(self.patch.clone()).to_string()));
        let response = Response {
            uid: &review.uid,
            allowed: self.denied.is_none(),
            status: self.denied.as_ref().map(|denial| status(denial, &review.identity)),
            patch_type: patch.is_some().then_some("JSONPatch"),
            patch,
            warnings: self.warnings.iter().take(WARNINGS.0).map(|warning| cut(warning, WARNINGS.1)).collect(),
            audit_annotations: self.audit.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect(),
        };
        let sent = Sent { api_version: VERSION, kind: "AdmissionReview", response };
        // Texts, numbers and maps with text keys: writing them to memory cannot fail.
        serde_json::to_vec(&sent).unwrap_or_default()
    }
}

fn status<'a>(denial: &'a Denial, identity: &'a ObjectRef) -> Status<'a> {
    let causes = denial.causes.iter().map(|Cause { field, reason, message }| Shown { reason, message, field });
    Status {
        outcome: "Failure",
        code: denial.code,
        reason: &denial.reason,
        message: &denial.message,
        details: Details { name: &identity.name, kind: &identity.kind, causes: causes.collect() },
    }
}

/// At most so many bytes, cut between characters.
fn cut(text: &str, limit: usize) -> &str {
    let end = (0..=limit.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn review() -> Value {
        json!({"apiVersion": VERSION, "kind": "AdmissionReview", "request": {
            "uid": "u-1", "kind": {"group": "example.org", "version": "v1", "kind": "Thing"},
            "resource": {"group": "example.org", "version": "v1", "resource": "things"},
            "name": "a", "namespace": "n", "operation": "CREATE",
            "userInfo": {"username": "jane", "groups": ["g"], "extra": {"x": ["y"]}},
            "object": {"kind": "Thing", "z": 1, "a": 2}, "oldObject": null, "dryRun": true, "options": {"kind": "CreateOptions"}}})
    }

    fn parse(value: &Value) -> Result<Review, Malformed> {
        Review::parse(value.to_string().as_bytes(), true)
    }

    #[test]
    fn a_review_is_read_and_its_object_keeps_the_spelling_of_its_members() {
        let text = review().to_string().replace("{\"a\":2,\"kind\":\"Thing\",\"z\":1}", "{ \"z\": 1e2, \"a\": [ 2 ] }");
        let review = Review::parse(text.as_bytes(), true).unwrap();
        assert_eq!(review.identity, ObjectRef::namespaced("example.org/v1", "Thing", "n", "a"));
        assert_eq!(review.operation, Ok(Operation::Create));
        assert_eq!((review.user.name.as_str(), review.dry_run), ("jane", true));
        assert_eq!(review.object.unwrap().bytes(), br#"{"z":1e2,"a":[ 2 ]}"#);
        assert!(review.old_object.is_none());
    }

    #[test]
    fn the_status_goes_to_webhooks_that_look_at_it_and_with_requests_about_it() {
        let mut sent = review();
        for object in ["object", "oldObject"] {
            sent["request"][object] = json!({"spec": 1, "status": 2});
        }
        let mut about_status = sent.clone();
        about_status["request"]["subResource"] = "status".into();
        for (sent, status, seen) in [(&sent, true, true), (&sent, false, false), (&about_status, false, true)] {
            let review = Review::parse(sent.to_string().as_bytes(), status).unwrap();
            for object in [review.object.unwrap(), review.old_object.unwrap()] {
                assert_eq!(object.to_value().unwrap().get("status").is_some(), seen, "{sent}");
            }
        }
    }

    #[test]
    fn an_older_version_is_refused_with_what_is_spoken() {
        let mut older = review();
        older["apiVersion"] = "admission.k8s.io/v1beta1".into();
        let error = parse(&older).unwrap_err().to_string();
        assert!(error.contains("v1beta1") && error.contains("admission.k8s.io/v1"), "{error}");
    }

    #[test]
    fn a_review_without_a_request_or_without_a_uid_is_refused() {
        assert!(parse(&json!({"apiVersion": VERSION, "kind": "AdmissionReview"})).is_err());
        let mut nameless = review();
        nameless["request"]["uid"] = "".into();
        assert!(parse(&nameless).is_err());
    }

    #[test]
    fn what_is_no_object_is_no_review() {
        let mut odd = review();
        odd["request"]["object"] = json!([1]);
        let error = parse(&odd).unwrap_err().to_string();
        assert!(error.contains("expected an object"), "{error}");
    }

    #[test]
    fn an_operation_that_nobody_knows_is_kept_as_it_was_spelt() {
        let mut odd = review();
        odd["request"]["operation"] = "PONDER".into();
        assert_eq!(parse(&odd).unwrap().operation, Err("PONDER".to_owned()));
    }

    #[test]
    fn an_answer_carries_the_uid_the_code_and_the_fields() {
        let review = parse(&review()).unwrap();
        let cause = Cause { field: "spec.x".into(), reason: "FieldValueInvalid".into(), message: "no".into() };
        let denied = Denial { code: 422, reason: "Invalid".into(), message: "because".into(), causes: vec![cause] };
        let answer = Answer { denied: Some(denied), warnings: vec!["ü".repeat(200)], ..Answer::default() };
        let sent: Value = serde_json::from_slice(&answer.write(&review)).unwrap();
        assert_eq!(sent["response"]["uid"], "u-1");
        assert_eq!(sent["response"]["allowed"], false);
        assert_eq!(sent["response"]["status"]["code"], 422);
        assert_eq!(sent["response"]["status"]["details"]["causes"][0]["field"], "spec.x");
        assert_eq!(sent["response"]["warnings"][0], "ü".repeat(125));
    }

    #[test]
    fn a_refusal_never_carries_a_patch() {
        let review = parse(&review()).unwrap();
        let denied = Denial { code: 403, reason: "No".into(), message: String::new(), causes: Vec::new() };
        let answer = Answer { denied: Some(denied), patch: vec![json!({"op": "add"})], ..Answer::default() };
        let sent: Value = serde_json::from_slice(&answer.write(&review)).unwrap();
        assert!(sent["response"].get("patch").is_none());
    }

    /// Replaces the value at a pointer, wherever that leads.
    fn with(pointer: &str, value: Value) -> Value {
        let mut changed = review();
        if let Some(place) = changed.pointer_mut(pointer) {
            *place = value;
        }
        changed
    }

    fn anything() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,20}".prop_map(Value::from),
            Just(json!([{"a": []}])),
            Just(json!({"kind": {"kind": 7}})),
        ]
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(Review::parse(&bytes, true).is_err());
        }

        #[test]
        fn a_review_with_any_field_replaced_is_read_or_refused(
            pointer in prop::sample::select(vec![
                "", "/apiVersion", "/kind", "/request", "/request/uid", "/request/kind", "/request/kind/group", "/request/name",
                "/request/operation", "/request/userInfo", "/request/userInfo/groups", "/request/object", "/request/oldObject",
                "/request/dryRun", "/request/namespace",
            ]),
            value in anything(),
        ) {
            if let Ok(review) = parse(&with(pointer, value)) {
                prop_assert!(!Answer::default().write(&review).is_empty());
            }
        }

        #[test]
        fn a_review_cut_or_flipped_anywhere_is_read_or_refused(at in 0usize..500, byte in any::<u8>(), cut in any::<bool>()) {
            let mut text = review().to_string().into_bytes();
            let at = at % text.len();
            if cut { text.truncate(at) } else { text[at] = byte }
            drop(Review::parse(&text, false));
        }
    }
}
