//! Which parents a change concerns: those whose module asked about the object, or sets fields on it.
//!
//! A cluster changes all the time, and most of it is nothing that a module looks at. What is not told here costs nothing; what is told
//! to all parents of a module costs a look at each of them, which with thousands of parents is a storm for each pod that starts.

use std::cell::RefCell;

use operator_core::{ObjectQuery, Query, Question, project};

use crate::{
    memory::Memory,
    store::{Change, Kind, Seen},
};

/// One change, as it is held against what each parent has asked.
pub(crate) struct Concern<'a> {
    kind: &'a Kind,
    change: &'a Change,
    /// The fields of its kind that matter to who names it without owning it.
    held: &'a [String],
    /// Whether something in these fields has changed: many parents ask for the same ones.
    looked: RefCell<Vec<(&'a [String], bool)>>,
}

impl<'a> Concern<'a> {
    /// What has changed about an object of this kind.
    pub(crate) fn new(kind: &'a Kind, change: &'a Change, held: &'a [String]) -> Self {
        Self { kind, change, held, looked: RefCell::default() }
    }

    /// Whether what is remembered of a parent would make it look at the object again.
    pub(crate) fn touches(&self, memory: &'a Memory) -> bool {
        let named = self.change.latest().is_some_and(|seen| memory.named.contains(&seen.identity));
        (named && self.differs_in(self.held)) || memory.queries.iter().any(|query| self.answers(query))
    }

    /// Whether the answer to a question may be another one.
    fn answers(&self, query: &'a Query) -> bool {
        match &query.question {
            Question::Objects(objects) => self.changes(objects),
            // Whom it may ask rests on the labels of the pod.
            Question::PodLog(log) => self.is_other_pod(&log.namespace, &log.pod),
            Question::Command(command) => self.is_other_pod(&command.namespace, &command.pod),
            Question::Http(_) => false,
        }
    }

    fn changes(&self, query: &'a ObjectQuery) -> bool {
        if (&query.api_version, &query.kind) != (&self.kind.0, &self.kind.1) {
            return false;
        }
        let fits = |seen: &Option<Seen>| seen.as_ref().is_some_and(|seen| selects(query, seen));
        match (fits(&self.change.old), fits(&self.change.new)) {
            (false, false) => false,
            (true, true) => self.differs_in(&query.fields),
            _ => true,
        }
    }

    fn differs_in(&self, fields: &'a [String]) -> bool {
        let known = self.looked.borrow().iter().find(|(looked, _)| *looked == fields).map(|(_, differs)| *differs);
        known.unwrap_or_else(|| {
            let shown = |seen: &Option<Seen>| seen.as_ref().map(|seen| project(&seen.document, fields).ok());
            let differs = shown(&self.change.old) != shown(&self.change.new);
            self.looked.borrow_mut().push((fields, differs));
            differs
        })
    }

    fn is_other_pod(&self, namespace: &str, name: &str) -> bool {
        let Some(seen) = self.change.latest().filter(|_| (&*self.kind.0, &*self.kind.1) == ("v1", "Pod")) else {
            return false;
        };
        let [old, new] = [&self.change.old, &self.change.new].map(|side| side.as_ref().map(|seen| &seen.labels));
        (seen.identity.namespace.as_deref(), &*seen.identity.name) == (Some(namespace), name) && old != new
    }
}

/// Whether a query is about this object of its kind.
fn selects(query: &ObjectQuery, seen: &Seen) -> bool {
    query.namespace.as_ref().is_none_or(|namespace| Some(namespace) == seen.identity.namespace.as_ref())
        && query.name.as_ref().is_none_or(|name| *name == seen.identity.name)
        && query.labels.iter().all(|(key, value)| seen.labels.get(key) == Some(value))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use operator_core::{CommandQuery, Document, ObjectRef};

    use super::*;

    fn pod(name: &str, app: &str, phase: &str) -> Seen {
        Seen {
            identity: ObjectRef::namespaced("v1", "Pod", "a", name),
            labels: BTreeMap::from([("app".to_owned(), app.to_owned())]),
            managers: Vec::new(),
            document: Document::new(format!(r#"{{"status":{{"phase":"{phase}","ip":"1"}}}}"#).into_bytes()),
        }
    }

    fn objects(fields: &[&str], labels: &[(&str, &str)], name: Option<&str>) -> Question {
        Question::Objects(ObjectQuery {
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            namespace: Some("a".to_owned()),
            name: name.map(str::to_owned),
            labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            fields: fields.iter().map(|&field| field.to_owned()).collect(),
        })
    }

    fn asks(question: Question) -> Memory {
        let query = Query { id: "q".to_owned(), question, interval: 60, timeout: 10, extensions: Vec::new() };
        Memory { queries: Arc::from([query]), ..Memory::default() }
    }

    fn touches(memory: &Memory, old: Option<Seen>, new: Option<Seen>) -> bool {
        let (kind, change) = (("v1".to_owned(), "Pod".to_owned()), Change { old, new });
        Concern::new(&kind, &change, &["metadata.labels".to_owned()]).touches(memory)
    }

    #[test]
    fn a_change_concerns_who_asked_for_the_fields_in_which_it_is() {
        let change = || (Some(pod("p", "x", "Pending")), Some(pod("p", "x", "Running")));
        for (fields, expected) in [(&["status.phase"][..], true), (&["status.ip"], false), (&[], true)] {
            let (old, new) = change();
            assert_eq!(touches(&asks(objects(fields, &[], None)), old, new), expected, "{fields:?}");
        }
        let (old, new) = change();
        assert!(!touches(&Memory::default(), old, new), "who asked nothing");
    }

    #[test]
    fn an_object_concerns_who_selects_it_before_or_after() {
        let memory = asks(objects(&["status.ip"], &[("app", "x")], None));
        assert!(touches(&memory, Some(pod("p", "x", "")), Some(pod("p", "y", ""))), "it left");
        assert!(touches(&memory, Some(pod("p", "y", "")), Some(pod("p", "x", ""))), "it joined");
        assert!(touches(&memory, Some(pod("p", "x", "")), None) && touches(&memory, None, Some(pod("p", "x", ""))));
        assert!(!touches(&memory, Some(pod("p", "y", "1")), Some(pod("p", "y", "2"))), "it is another one");
        assert!(!touches(&asks(objects(&[], &[], Some("q"))), None, Some(pod("p", "x", ""))), "by name");
    }

    #[test]
    fn labels_of_a_pod_concern_who_runs_commands_in_it() {
        let command = |pod: &str| {
            asks(Question::Command(CommandQuery {
                namespace: "a".to_owned(),
                pod: pod.to_owned(),
                container: "c".to_owned(),
                command: vec!["true".to_owned()],
            }))
        };
        assert!(touches(&command("p"), None, Some(pod("p", "x", ""))));
        assert!(touches(&command("p"), Some(pod("p", "y", "")), Some(pod("p", "x", ""))));
        assert!(!touches(&command("p"), Some(pod("p", "x", "1")), Some(pod("p", "x", "2"))));
        assert!(!touches(&command("q"), None, Some(pod("p", "x", ""))));
    }

    #[test]
    fn what_a_parent_names_without_owning_it_concerns_the_parent() {
        let memory = Memory { named: Arc::from([pod("p", "x", "").identity]), ..Memory::default() };
        assert!(touches(&memory, Some(pod("p", "x", "")), None));
        assert!(!touches(&memory, Some(pod("q", "x", "")), None));
        let status = (Some(pod("p", "x", "Pending")), Some(pod("p", "x", "Running")));
        assert!(!touches(&memory, status.0, status.1), "it sets no field there, and a node's heartbeat is one");
    }
}
