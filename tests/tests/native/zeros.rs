//! What modules write that an API server may drop as if nobody had written it: `null`, `false`, `""`, `0`. The list is committed, each
//! entry with an object that has it, and a test with a real API server applies each of them.

use std::{collections::BTreeMap, fs};

use operator_core::Document;
use serde_json::Value;

use crate::{
    cases, modules,
    outcome::Answer,
    situations,
    twins::{Call, Twin},
};

const COMMITTED: &str = "tests/cluster/zeros.json";

/// `Kind path = value` of each such field in the objects that modules want, with one of these objects.
fn zeros() -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for twin in modules() {
        let calls = cases::all(twin).into_iter().map(|case| case.call);
        let situations = situations::of(twin).into_iter().map(|state| Call::Reconcile(state.snapshot));
        for call in calls.chain(situations) {
            collect(twin, &call, &mut found);
        }
    }
    found
}

fn collect(twin: &Twin, call: &Call, found: &mut BTreeMap<String, Value>) {
    let Call::Reconcile(_) = call else { return };
    let Answer::Desired(desired) = twin.natively(call).answer else { return };
    for document in desired.children.iter().map(|child| &child.document) {
        let object = Document::to_value(document).unwrap();
        let mut paths = Vec::new();
        walk(&object, String::new(), &mut paths);
        for path in paths {
            let kind = object["kind"].as_str().unwrap();
            found.entry(format!("{kind} {path}")).or_insert_with(|| object.clone());
        }
    }
}

/// The paths of such fields below a value. Elements of lists are all alike; keys of maps that users choose count as they are.
fn walk(value: &Value, path: String, paths: &mut Vec<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| walk(value, format!("{path}.{key}"), paths)),
        Value::Array(list) => list.iter().for_each(|value| walk(value, format!("{path}[]"), paths)),
        zero if zero.is_null() || *zero == false || *zero == "" || *zero == 0 => paths.push(format!("{path} = {zero}")),
        _ => {}
    }
}

#[test]
fn what_a_server_may_drop_is_on_the_list_that_a_real_one_is_asked_about() {
    let (path, found) = (test_support::checkout().join(COMMITTED), zeros());
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, serde_json::to_string_pretty(&found).unwrap() + "\n").unwrap();
    }
    let committed: BTreeMap<String, Value> =
        serde_json::from_str(&fs::read_to_string(&path).unwrap_or_else(|_| "{}".to_owned())).unwrap();
    let new: Vec<_> = found.keys().filter(|key| !committed.contains_key(*key)).collect();
    let gone: Vec<_> = committed.keys().filter(|key| !found.contains_key(*key)).collect();
    assert!(new.is_empty() && gone.is_empty(), "new: {new:#?}\ngone: {gone:#?}\nwrite {COMMITTED} with UPDATE=1");
}
