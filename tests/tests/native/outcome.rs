//! What came of one call, and where two of them differ first.

use std::{collections::BTreeSet, fmt};

use operator_core::{Cause, Desired, Document, Refusal, Verdict};
use serde_json::Value;

/// Longest text of a value that is shown.
const SHOWN: usize = 240;

/// What came of one call.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) answer: Answer,
    /// What the module logged, each line after its level. A panic is logged in the sandbox only, and none of its lines are kept.
    pub(crate) logs: Vec<String>,
}

/// What a module answered.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Desired(Desired),
    Verdict(Verdict),
    Converted(Vec<Document>),
    Settings(Result<(), Vec<Cause>>),
    Refused(Refusal),
    /// It panicked, which is a trap in the sandbox, of which the host says this.
    Panicked(String),
    /// The host took no answer, for this reason. Never natively.
    NotTaken(String),
}

/// One part of an outcome: its place, and its bytes.
type Part = (String, Vec<u8>);

impl Outcome {
    /// Everything that was said, in the order in which it was said. Documents are the bytes that the module wrote.
    fn parts(&self) -> Vec<Part> {
        let mut parts = match &self.answer {
            Answer::Desired(desired) => of_desired(desired),
            Answer::Verdict(verdict) => of_verdict(verdict),
            Answer::Converted(objects) => documents("objects", objects),
            Answer::Settings(judged) => vec![written("settings", judged)],
            Answer::Refused(refusal) => vec![written("refusal", refusal)],
            // What natively is a panic is only a trap there, so the words of both cannot be the same.
            Answer::Panicked(_) => vec![part("a panic", Vec::new())],
            Answer::NotTaken(why) => vec![part("no answer", why.clone().into_bytes())],
        };
        parts.extend(each("logs", &self.logs));
        parts
    }

    /// The first difference between what a module said natively and in the sandbox; none when all bytes are the same.
    pub(crate) fn difference(native: &Self, sandbox: &Self) -> Option<String> {
        let (one, other) = (native.parts(), sandbox.parts());
        let at = (0..one.len().max(other.len())).find(|at| one.get(*at) != other.get(*at))?;
        Some(match (one.get(at), other.get(at)) {
            (Some((place, one)), Some((there, other))) if place == there => {
                let (place, one, other) = narrowed(place, one, other);
                format!("{place}: natively {one}, in the sandbox {other}")
            }
            (one, other) => {
                let (one, other) = (Shown(one, &native.answer), Shown(other, &sandbox.answer));
                format!("natively {one}, in the sandbox {other}")
            }
        })
    }
}

/// A part of an answer with its place, or that there is none.
struct Shown<'a>(Option<&'a Part>, &'a Answer);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, self.1) {
            (_, Answer::Panicked(why)) => write!(f, "it panicked: {why}"),
            (Some((place, bytes)), _) => write!(f, "{place} is {}", short(bytes)),
            (None, _) => f.write_str("nothing more"),
        }
    }
}

fn of_desired(desired: &Desired) -> Vec<Part> {
    let Desired { children, partials, status, conditions, events, samples, queries, actions, requeue, finalized } =
        desired;
    let mut parts = Vec::new();
    for (at, child) in children.iter().enumerate() {
        let place = format!("children[{at}]");
        parts.push(written(&place, &child.identity));
        parts.push(part(format!("{place} ({}) document", child.identity), child.document.bytes().to_vec()));
        parts.push(written(format!("{place} ({})", child.identity), (child.strategy, child.stage, child.readiness)));
    }
    for (at, partial) in partials.iter().enumerate() {
        let place = format!("partials[{at}]");
        parts.push(written(&place, &partial.identity));
        parts.push(part(format!("{place} ({}) document", partial.identity), partial.document.bytes().to_vec()));
    }
    parts.extend(status.iter().map(|status| part("status", status.bytes().to_vec())));
    parts.extend(each("conditions", conditions));
    parts.extend(each("events", events));
    // The bits of a number: one that is none equals not even itself.
    let samples: Vec<_> = samples.iter().map(|s| (&s.name, &s.labels, s.value.to_bits(), s.value)).collect();
    parts.extend(each("samples", &samples));
    parts.extend(each("queries", queries));
    parts.extend(each("actions", actions));
    parts.extend([written("requeue", requeue), written("finalized", finalized)]);
    parts
}

fn of_verdict(verdict: &Verdict) -> Vec<Part> {
    let Verdict { denied, object, before, warnings, audit } = verdict;
    let mut parts = vec![written("denied", denied)];
    parts.extend(object.iter().map(|object| part("object", object.bytes().to_vec())));
    parts.extend(before.iter().map(|before| part("before", before.bytes().to_vec())));
    parts.extend(each("warnings", warnings));
    parts.extend(each("audit", audit));
    parts
}

fn documents(place: &str, documents: &[Document]) -> Vec<Part> {
    let one = |(at, document): (usize, &Document)| part(format!("{place}[{at}]"), document.bytes().to_vec());
    documents.iter().enumerate().map(one).collect()
}

fn each<T: fmt::Debug>(place: &str, values: &[T]) -> Vec<Part> {
    values.iter().enumerate().map(|(at, value)| written(format!("{place}[{at}]"), value)).collect()
}

fn written(place: impl Into<String>, value: impl fmt::Debug) -> Part {
    part(place, format!("{value:?}").into_bytes())
}

fn part(place: impl Into<String>, bytes: Vec<u8>) -> Part {
    (place.into(), bytes)
}

/// What was changed first in a parent; its spec is not all of a snapshot.
pub(crate) fn change(before: &Document, after: &Document) -> String {
    if before == after {
        return "with the same parent".to_owned();
    }
    let (place, before, after) = narrowed("parent", before.bytes(), after.bytes());
    format!("with {place} changed from {before} to {after}")
}

/// The field in which two documents differ first; what is no JSON, or JSON that differs only as text, is shown from where it differs.
fn narrowed(place: &str, one: &[u8], other: &[u8]) -> (String, String, String) {
    if let (Ok(one), Ok(other)) = (serde_json::from_slice(one), serde_json::from_slice(other))
        && let Some((field, one, other)) = field(&one, &other)
    {
        let text =
            |value: Option<&Value>| value.map_or("nothing".to_owned(), |value| short(value.to_string().as_bytes()));
        return (format!("{place}{field}"), text(one), text(other));
    }
    let at = one.iter().zip(other).take_while(|(one, other)| one == other).count();
    let rest = |bytes: &[u8]| short(bytes.get(at.saturating_sub(40)..).unwrap_or_default());
    (format!("{place}, byte {at}"), rest(one), rest(other))
}

/// A place, and what stands there in each; none when they are the same value.
fn field<'a>(one: &'a Value, other: &'a Value) -> Option<(String, Option<&'a Value>, Option<&'a Value>)> {
    match (one, other) {
        (Value::Object(ones), Value::Object(others)) => {
            let keys: BTreeSet<_> = ones.keys().chain(others.keys()).collect();
            keys.into_iter().find_map(|key| inner(&format!(".{key}"), ones.get(key), others.get(key)))
        }
        (Value::Array(ones), Value::Array(others)) => {
            let mut all = 0..ones.len().max(others.len());
            all.find_map(|at| inner(&format!("[{at}]"), ones.get(at), others.get(at)))
        }
        _ => (one != other).then_some((String::new(), Some(one), Some(other))),
    }
}

fn inner<'a>(
    step: &str,
    one: Option<&'a Value>,
    other: Option<&'a Value>,
) -> Option<(String, Option<&'a Value>, Option<&'a Value>)> {
    match (one, other) {
        (Some(one), Some(other)) => field(one, other).map(|(rest, one, other)| (format!("{step}{rest}"), one, other)),
        _ => Some((step.to_owned(), one, other)),
    }
}

fn short(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    if text.chars().count() <= SHOWN { text.into_owned() } else { text.chars().take(SHOWN).chain(['…']).collect() }
}

mod tests {
    use operator_core::Sample;

    use super::*;

    fn status(text: &str) -> Outcome {
        let desired = Desired { status: Some(Document::new(text.to_owned())), ..Desired::default() };
        Outcome { answer: Answer::Desired(desired), logs: Vec::new() }
    }

    fn difference(one: &Outcome, other: &Outcome) -> String {
        Outcome::difference(one, other).unwrap()
    }

    #[test]
    fn the_field_that_differs_is_named_with_both_values() {
        let (one, other) = (status(r#"{"a":[1,{"b":2}],"c":1}"#), status(r#"{"a":[1,{"b":"x"}]}"#));
        assert_eq!(difference(&one, &other), r#"status.a[1].b: natively 2, in the sandbox "x""#);
        assert_eq!(difference(&other, &status("{}")), r#"status.a: natively [1,{"b":"x"}], in the sandbox nothing"#);
        assert!(Outcome::difference(&one, &one).is_none());
    }

    #[test]
    fn the_same_value_in_other_bytes_is_a_difference() {
        let said = difference(&status(r#"{"a":1,"b":1}"#), &status(r#"{"b":1,"a":1}"#));
        assert!(said.starts_with("status, byte 2: "), "{said}");
    }

    #[test]
    fn a_number_that_is_none_equals_itself_and_no_other() {
        let sample = |value| {
            let samples = vec![Sample { name: "s".into(), labels: Vec::new(), value }];
            Outcome { answer: Answer::Desired(Desired { samples, ..Desired::default() }), logs: Vec::new() }
        };
        assert!(Outcome::difference(&sample(f64::NAN), &sample(f64::NAN)).is_none());
        assert!(Outcome::difference(&sample(0.0), &sample(-0.0)).is_some());
    }

    #[test]
    fn a_line_of_the_log_that_only_one_side_wrote_is_a_difference() {
        let one = Outcome { logs: vec!["warn: odd".to_owned()], ..status("{}") };
        let said = difference(&one, &status("{}"));
        assert_eq!(said, r#"natively logs[0] is "warn: odd", in the sandbox nothing more"#);
    }

    #[test]
    fn a_trap_of_one_side_is_told_with_what_the_host_says_of_it() {
        let trapped = Outcome { answer: Answer::Panicked("it trapped (memory)".into()), logs: Vec::new() };
        let panicked = Outcome { answer: Answer::Panicked(String::new()), logs: Vec::new() };
        assert!(difference(&status("{}"), &trapped).ends_with("in the sandbox it panicked: it trapped (memory)"));
        assert!(Outcome::difference(&panicked, &trapped).is_none());
    }

    #[test]
    fn another_kind_of_answer_is_a_difference() {
        let refused = Outcome { answer: Answer::Refused(Refusal::Retry("later".into())), logs: Vec::new() };
        assert_eq!(
            difference(&refused, &status("{}")),
            r#"natively refusal is Retry("later"), in the sandbox status is {}"#
        );
    }
}
