//! Whether an answer is within its budget and holds what the contract says. What it means is the core's business.

use operator_core::{
    Cause, Deed, Desired, Document, FailureKind, HeaderValue, HttpRequest, ObjectRef, Query, Question, Refusal, Verdict,
};
use serde::de::IgnoredAny;

use crate::Budget;

/// What each entry of a list counts beside its texts, so that a million empty ones are not free.
const ENTRY: usize = 16;

type Judged = Result<(), FailureKind>;

/// Judges the answer of `reconcile`.
pub(crate) fn desired(desired: &Desired, budget: &Budget) -> Judged {
    let (count, limit) = (desired.children.len() as u64, u64::from(budget.children));
    if count > limit {
        return Err(FailureKind::Output { what: "children", size: count, limit, raise: "budgets.children" });
    }
    within(size_of_desired(desired), budget)?;
    for (index, child) in desired.children.iter().enumerate() {
        object(&child.document, || format!("children[{index}].document"))?;
    }
    for (index, partial) in desired.partials.iter().enumerate() {
        object(&partial.document, || format!("partials[{index}].document"))?;
    }
    desired.status.iter().try_for_each(|status| object(status, || "status".to_owned()))
}

/// Judges the answer of `admit`.
pub(crate) fn verdict(verdict: &Verdict, budget: &Budget) -> Judged {
    let documents = [&verdict.object, &verdict.before].into_iter().flatten().map(size_of_document).sum::<usize>();
    let denied =
        verdict.denied.iter().map(|d| d.reason.len() + d.message.len() + size_of_causes(&d.causes)).sum::<usize>();
    let texts = verdict.warnings.iter().map(text).sum::<usize>() + pairs(&verdict.audit);
    within(documents + denied + texts, budget)?;
    verdict.object.iter().try_for_each(|document| object(document, || "object".to_owned()))?;
    verdict.before.iter().try_for_each(|document| object(document, || "before".to_owned()))
}

/// Judges the answer of `convert` to so many objects.
pub(crate) fn converted(objects: &[Document], asked: usize, budget: &Budget) -> Judged {
    if objects.len() != asked {
        let why = format!(
            "{} objects were to be converted, it holds {}; answer with as many, in the same order",
            asked,
            objects.len()
        );
        return Err(FailureKind::InvalidAnswer { place: "objects".to_owned(), why });
    }
    within(objects.iter().map(size_of_document).sum(), budget)?;
    objects.iter().enumerate().try_for_each(|(index, document)| object(document, || format!("objects[{index}]")))
}

/// Judges the answer of `validate-settings`.
pub(crate) fn settings(causes: &Result<(), Vec<Cause>>, budget: &Budget) -> Judged {
    within(causes.as_ref().err().map_or(0, |causes| size_of_causes(causes)), budget)
}

/// Judges the answer of `describe`.
pub(crate) fn description(bytes: &[u8], budget: &Budget) -> Judged {
    within(bytes.len(), budget)?;
    json_object(bytes, || "manifest".to_owned())
}

/// Judges the module's reason for having no answer.
pub(crate) fn refusal(refusal: &Refusal, budget: &Budget) -> Judged {
    let size = match refusal {
        Refusal::InvalidObject(causes) | Refusal::InvalidSettings(causes) => size_of_causes(causes),
        Refusal::Retry(text) | Refusal::Unsupported(text) => text.len(),
    };
    within(size, budget)
}

fn within(size: usize, budget: &Budget) -> Judged {
    let (size, limit) = (size as u64, u64::from(budget.output_bytes));
    if size <= limit {
        return Ok(());
    }
    Err(FailureKind::Output { what: "bytes", size, limit, raise: "budgets.outputBytes" })
}

fn object(document: &Document, place: impl Fn() -> String) -> Judged {
    json_object(document.bytes(), place)
}

/// One pass without building anything: the host reads these documents again only where it must.
fn json_object(bytes: &[u8], place: impl Fn() -> String) -> Judged {
    let invalid = |why: String| FailureKind::InvalidAnswer { place: place(), why };
    let text = std::str::from_utf8(bytes)
        .map_err(|error| invalid(format!("byte {} is no UTF-8; answer with JSON in UTF-8", error.valid_up_to())))?;
    // The position, and not the parser's text: that may quote the document, which may hold a secret.
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        invalid(format!("it is no JSON from line {line} column {column} on; answer with one JSON object"))
    })?;
    if text.trim_start().starts_with('{') {
        return Ok(());
    }
    Err(invalid("it is no JSON object; answer with one JSON object".to_owned()))
}

fn size_of_desired(desired: &Desired) -> usize {
    let children: usize =
        desired.children.iter().map(|c| size_of_ref(&c.identity) + size_of_document(&c.document)).sum();
    let partials: usize =
        desired.partials.iter().map(|p| size_of_ref(&p.identity) + size_of_document(&p.document)).sum();
    let conditions: usize =
        desired.conditions.iter().map(|c| ENTRY + c.type_.len() + c.reason.len() + c.message.len()).sum();
    let events: usize = desired
        .events
        .iter()
        .map(|e| text(&e.reason) + e.action.len() + e.message.len() + e.regarding.as_ref().map_or(0, size_of_ref))
        .sum();
    let samples: usize = desired.samples.iter().map(|s| text(&s.name) + pairs(&s.labels)).sum();
    let queries: usize = desired.queries.iter().map(size_of_query).sum();
    let actions: usize = desired
        .actions
        .iter()
        .map(|action| {
            text(&action.id)
                + match &action.deed {
                    Deed::Delete { identity, uid } => size_of_ref(identity) + uid.len(),
                    Deed::Http(request) => size_of_request(request),
                }
        })
        .sum();
    let status = desired.status.as_ref().map_or(0, size_of_document);
    children + partials + conditions + events + samples + queries + actions + status
}

fn size_of_query(query: &Query) -> usize {
    text(&query.id)
        + match &query.question {
            Question::Objects(q) => {
                let names = q.namespace.as_ref().map_or(0, String::len) + q.name.as_ref().map_or(0, String::len);
                q.api_version.len() + q.kind.len() + names + pairs(&q.labels) + q.fields.iter().map(text).sum::<usize>()
            }
            Question::PodLog(q) => q.namespace.len() + q.pod.len() + q.container.len() + q.contains.len(),
            Question::Command(q) => {
                q.namespace.len() + q.pod.len() + q.container.len() + q.command.iter().map(text).sum::<usize>()
            }
            Question::Http(request) => size_of_request(request),
        }
}

fn size_of_request(request: &HttpRequest) -> usize {
    let value = |value: &HeaderValue| match value {
        HeaderValue::Plain(text) => text.len(),
        HeaderValue::Secret(key) => key.name.len() + key.key.len(),
    };
    let headers: usize = request.headers.iter().map(|(name, of)| text(name) + value(of)).sum();
    request.method.len() + request.url.len() + request.body.len() + headers
}

fn size_of_ref(object: &ObjectRef) -> usize {
    let namespace = object.namespace.as_ref().map_or(0, String::len);
    object.api_version.len() + object.kind.len() + object.name.len() + namespace
}

fn size_of_document(document: &Document) -> usize {
    ENTRY + document.bytes().len()
}

fn size_of_causes(causes: &[Cause]) -> usize {
    causes.iter().map(|cause| text(&cause.field) + cause.reason.len() + cause.message.len()).sum()
}

#[expect(clippy::ptr_arg, reason = "passed to `map` over lists of strings")]
fn text(text: &String) -> usize {
    ENTRY + text.len()
}

fn pairs(pairs: &[(String, String)]) -> usize {
    pairs.iter().map(|(key, value)| text(key) + value.len()).sum()
}

#[cfg(test)]
mod tests {
    use operator_core::{Child, Condition, ConditionStatus, Readiness, Strategy};

    use super::*;

    fn child(document: &'static [u8]) -> Child {
        Child {
            identity: ObjectRef::namespaced("v1", "ConfigMap", "default", "a"),
            document: Document::new(document),
            strategy: Strategy::Apply,
            stage: 0,
            readiness: Readiness::Exists,
        }
    }

    fn why(document: &'static [u8]) -> String {
        let answer = Desired { children: vec![child(b"{}"), child(document)], ..Desired::default() };
        desired(&answer, &Budget::DEFAULT).unwrap_err().to_string()
    }

    #[test]
    fn a_document_must_be_one_json_object() {
        assert_eq!(
            why(b"[1]"),
            "its answer is invalid at children[1].document: it is no JSON object; answer with one JSON object"
        );
        assert!(why(b"{} {}").contains("no JSON from line 1 column 4"), "{}", why(b"{} {}"));
        assert!(why(b"{\"a\": \"\xff\"}").contains("byte 7 is no UTF-8"));
        assert!(why(b"").contains("no JSON"));
        let spaced = Desired { children: vec![child(b" \n{\"a\":[1,{}]} ")], ..Desired::default() };
        assert!(desired(&spaced, &Budget::DEFAULT).is_ok());
    }

    #[test]
    fn what_is_wrong_with_a_document_does_not_quote_it() {
        assert!(!why(b"{\"password\": hunter2}").contains("hunter2"));
    }

    #[test]
    fn deeply_nested_documents_are_judged_without_recursion() {
        let deep: Vec<u8> = [b"{\"a\":".repeat(100_000), b"1".to_vec(), b"}".repeat(100_000)].concat();
        let answer = Desired { status: Some(Document::new(deep)), ..Desired::default() };
        assert!(desired(&answer, &Budget::DEFAULT).is_ok());
    }

    #[test]
    fn too_many_children_name_the_budget_to_raise() {
        let answer = Desired { children: vec![child(b"{}"); 3], ..Desired::default() };
        let kind = desired(&answer, &Budget { children: 2, ..Budget::DEFAULT }).unwrap_err();
        assert_eq!(kind, FailureKind::Output { what: "children", size: 3, limit: 2, raise: "budgets.children" });
    }

    #[test]
    fn texts_count_as_well_as_documents() {
        let condition = Condition {
            type_: "Ready".into(),
            status: ConditionStatus::True,
            reason: "Ok".into(),
            message: "x".repeat(2000),
        };
        let answer = Desired { conditions: vec![condition], ..Desired::default() };
        let kind = desired(&answer, &Budget { output_bytes: 1000, ..Budget::DEFAULT }).unwrap_err();
        assert!(matches!(kind, FailureKind::Output { what: "bytes", limit: 1000, .. }));
    }

    #[test]
    fn a_conversion_gives_back_as_many_objects() {
        let kind = converted(&[], 1, &Budget::DEFAULT).unwrap_err();
        assert!(matches!(kind, FailureKind::InvalidAnswer { .. }));
    }
}
