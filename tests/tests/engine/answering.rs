//! Fixtures that answer. Each is called, and says what its README says.

use operator_core::{
    Document, FailureKind, ObjectRef,
    contract::{Operation, Phase},
};
use serde_json::{Value, json};

use super::{ANSWERS, greeting, loaded, parent, reconcile, request, snapshot};

macro_rules! answers {
    ($($name:ident)*) => {
        /// Their names.
        pub(super) const NAMES: &[&str] = &[$(stringify!($name)),*];
        $(#[test]
        fn $name() {
            ANSWERS.set(0);
            says::$name();
            assert!(ANSWERS.get() > 0, "it was never called");
        })*
    };
}

answers! {
    good good_v2 as_told asker three_children bad_patch converter meddler admitter_only reconciler_only log_flood
}

fn value(document: &Document) -> Value {
    document.to_value().unwrap()
}

/// A probe that says something.
fn probe(message: &str) -> Value {
    json!({"apiVersion": "fixtures.example.com/v1", "kind": "Probe", "metadata": {"name": "p", "namespace": "team"},
        "spec": {"message": message}})
}

mod says {
    use super::*;

    pub(super) fn good() {
        let module = loaded("good");
        let desired = module.reconcile_now(&snapshot(&greeting())).unwrap();
        let child = value(&desired.children[0].document);
        assert_eq!((desired.children.len(), &child["data"]), (1, &json!({"sentence": "Hello, Ada!"})));
        assert_eq!(child["metadata"].get("labels"), None);
        let mut nameless = greeting();
        nameless["spec"]["name"] = "".into();
        let denied = module.admit_now(&request(Phase::Validate, &nameless)).unwrap().denied.unwrap();
        assert_eq!(denied.causes[0].field, "spec.name");
        let defaults = module.admit_now(&request(Phase::Mutate, &greeting())).unwrap().object.unwrap();
        assert_eq!(value(&defaults)["spec"], json!({"name": "Ada", "salutation": "Hello"}));
    }

    pub(super) fn good_v2() {
        let [one, two] = ["good", "good_v2"].map(|name| loaded(name).reconcile_now(&snapshot(&greeting())).unwrap());
        let [before, mut after] = [one, two].map(|desired| value(&desired.children[0].document));
        let labels = after["metadata"].as_object_mut().unwrap().remove("labels");
        assert_eq!(labels, Some(json!({"example.com/greeted": "yes"})));
        assert_eq!(after, before, "nothing else differs");
    }

    pub(super) fn as_told() {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "team"}, "data": {"k": "v"}});
        let wish = json!({"apiVersion": "example.com/v1", "kind": "Wish", "metadata": {"name": "w", "namespace": "team"},
            "spec": {"maps": [map.to_string()], "foreign": {"theirs": {"example.com/seen": "true"}}}});
        let mut told = snapshot(&wish);
        let desired = loaded("as_told").reconcile_now(&told).unwrap();
        assert_eq!(desired.children.iter().map(|child| value(&child.document)).collect::<Vec<_>>(), [map]);
        assert_eq!(desired.partials[0].identity, ObjectRef::namespaced("apps/v1", "DaemonSet", "team", "theirs"));
        assert!(!desired.finalized);
        told.finalizing = true;
        assert!(loaded("as_told").reconcile_now(&told).unwrap().finalized);
    }

    pub(super) fn asker() {
        let question = json!({"apiVersion": "example.com/v1", "kind": "Question", "metadata": {"name": "q", "namespace": "n"},
            "spec": {"pod": "p", "command": ["scone"], "url": "http://example.org"}});
        let desired = loaded("asker").reconcile_now(&snapshot(&question)).unwrap();
        assert_eq!(desired.queries.iter().map(|query| query.id.as_str()).collect::<Vec<_>>(), ["command", "server"]);
        assert_eq!(value(&desired.status.unwrap()), json!({"command": "pending", "server": "pending"}));
    }

    pub(super) fn three_children() {
        let trio = json!({
            "apiVersion": "example.com/v1", "kind": "Trio",
            "metadata": {"name": "t", "namespace": "team", "uid": "u3", "generation": 1}, "spec": {"text": "all"},
        });
        let desired = loaded("three_children").reconcile_now(&snapshot(&trio)).unwrap();
        let kinds: Vec<&str> = desired.children.iter().map(|child| child.identity.kind.as_str()).collect();
        assert_eq!((kinds, desired.queries.len()), (vec!["ConfigMap", "Secret", "ServiceAccount"], 1));
    }

    /// What becomes of these answers is shown on a real API server: `tests/cluster/tests/webhook.rs`.
    pub(super) fn bad_patch() {
        let module = loaded("bad_patch");
        let answer = |phase, message: &str| module.admit_now(&request(phase, &probe(message)));
        let object = |message: &str| value(&answer(Phase::Mutate, message).unwrap().object.unwrap());
        assert_eq!(object("rename")["metadata"]["name"], "another");
        assert_eq!(object("schema")["spec"]["message"], 7);
        assert!(matches!(answer(Phase::Mutate, "array").unwrap_err().kind, FailureKind::InvalidAnswer { .. }));
        assert_eq!(object("annotate")["metadata"]["annotations"], json!({"example.com/noted": "yes"}));
        assert!(answer(Phase::Validate, "validate").unwrap().object.is_some(), "in a phase in which there is none");
        assert!(matches!(answer(Phase::Mutate, "trap").unwrap_err().kind, FailureKind::Trap { .. }));
        let mut deletion = request(Phase::Mutate, &probe("anything"));
        (deletion.operation, deletion.old_object) = (Operation::Delete, deletion.object.take());
        assert!(module.admit_now(&deletion).unwrap().object.is_some(), "for what is deleted");
    }

    pub(super) fn converter() {
        let note = json!({"apiVersion": "example.com/v1", "kind": "Note", "metadata": {"name": "n", "namespace": "team"},
            "spec": {"text": "one\ntwo"}});
        let module = loaded("converter");
        let to = |version: &str, object: &Value| {
            let converted = module.convert_now(version, &[Document::from_value(object)]).unwrap();
            assert_eq!(converted.len(), 1);
            value(&converted[0])
        };
        let second = to("example.com/v2", &note);
        assert_eq!(
            (&second["apiVersion"], &second["spec"]),
            (&json!("example.com/v2"), &json!({"lines": ["one", "two"]}))
        );
        assert_eq!(to("example.com/v1", &second), note);
    }

    pub(super) fn meddler() {
        let object = loaded("meddler").admit_now(&request(Phase::Mutate, &greeting())).unwrap().object.unwrap();
        assert_eq!(value(&object)["metadata"]["labels"], json!({"example.com/meddled": "yes"}));
        assert_eq!(value(&object)["spec"], greeting()["spec"], "it gives no defaults");
    }

    pub(super) fn admitter_only() {
        let module = loaded("admitter_only");
        let verdict = module.admit_now(&request(Phase::Validate, &probe(""))).unwrap();
        assert_eq!((verdict.denied, verdict.warnings), (None, vec!["p was looked at".to_owned()]));
        assert_eq!(reconcile(&module).unwrap_err().kind, FailureKind::NotExported);
    }

    pub(super) fn reconciler_only() {
        let module = loaded("reconciler_only");
        let [once, again] = [reconcile(&module), reconcile(&module)].map(|answer| answer.unwrap().status.unwrap());
        assert_eq!(value(&once), json!({"phase": "Ready"}));
        assert_eq!(once.bytes(), again.bytes(), "the same snapshot gives the same bytes");
        let refused = module.admit_now(&request(Phase::Validate, &probe(""))).unwrap_err();
        assert_eq!(refused.kind, FailureKind::NotExported);
    }

    pub(super) fn log_flood() {
        let (answer, usage) = loaded("log_flood").reconcile_metered(&snapshot(&value(&parent())));
        assert_eq!(answer.unwrap().children.len(), 1);
        assert_eq!(usage.log_lines, 100_000, "all are counted, those that were dropped too");
    }
}
