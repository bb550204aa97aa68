//! Ring engine: a module is one function, wherever it runs. Whatever its crate answers as an ordinary part of this program, its package answers in
//! the sandbox, byte for byte: what should exist, verdicts, defaults, conversions, refusals, its manifest, and what it logs.
#![cfg(test)]

mod answered;
mod cases;
mod edits;
mod logs;
mod outcome;
mod scenarios;
mod situations;
mod told;
mod twins;
mod zeros;

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher, RandomState},
    sync::Mutex,
    thread,
};

use operator_core::{
    Document, Snapshot,
    contract::{ParentKind, Phase},
};
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};

use crate::{
    cases::{Case, State},
    outcome::{Answer, Outcome},
    twins::{Call, TWINS, Twin},
};

/// Most differences that are shown.
const SHOWN: usize = 12;
/// Snapshots of each module that are changed at random.
const EDITED: u32 = 100;

/// The twins of the modules under `guests`.
fn modules() -> impl Iterator<Item = &'static Twin> {
    cases::modules().into_keys().map(|name| &TWINS[name.as_str()])
}

/// A call that gave two answers.
struct Difference {
    origin: String,
    /// In which module, and where.
    what: String,
}

/// Fails with what differs: each difference with the first call that shows it.
fn none_differs(differences: &[Difference]) {
    let mut kinds: Vec<(&Difference, usize)> = Vec::new();
    for difference in differences {
        match kinds.iter_mut().find(|(known, _)| known.what == difference.what) {
            Some((_, count)) => *count += 1,
            None => kinds.push((difference, 1)),
        }
    }
    let line =
        |(Difference { origin, what }, count): &(&Difference, usize)| format!("{what}\n    {count} calls, {origin}");
    let lines: Vec<_> = kinds.iter().take(SHOWN).map(line).collect();
    assert!(
        differences.is_empty(),
        "{} calls gave another answer natively than in the sandbox. If the modules were built from this source \
         (`cargo xtask modules`), that is a defect:\n{}",
        differences.len(),
        lines.join("\n")
    );
}

/// Makes all calls both ways: what differs.
fn compared(twin: &Twin, cases: impl IntoIterator<Item = Case>) -> Vec<Difference> {
    cases.into_iter().filter_map(|Case { origin, call }| difference(twin, origin, &call)).collect()
}

fn difference(twin: &Twin, origin: String, call: &Call) -> Option<Difference> {
    let difference = twin.compare(call).err()?;
    Some(Difference { origin, what: format!("{}: {difference}", twin.name) })
}

#[test]
fn each_module_under_guests_is_linked_into_this_program() {
    let missing: Vec<_> = cases::modules().into_keys().filter(|name| !TWINS.contains_key(name.as_str())).collect();
    assert!(
        missing.is_empty(),
        "{missing:?}: add them to tests/Cargo.toml and to NATIVES in tests/tests/native/twins.rs"
    );
}

/// What a package says of itself is what its module said in the sandbox when it was packaged; the engine asks again when it compiles one.
#[test]
fn each_module_describes_itself_natively_as_its_package_does() {
    for twin in TWINS.values() {
        let packaged = serde_json::to_vec(twin.manifest()).unwrap();
        let outcome = |bytes| Outcome { answer: Answer::Converted(vec![Document::new(bytes)]), logs: Vec::new() };
        let difference = Outcome::difference(&outcome((twin.native.describe)()), &outcome(packaged));
        assert_eq!(difference, None, "{}", twin.name);
    }
}

#[test]
fn every_file_of_a_module_gets_the_same_answers() {
    let differences: Vec<_> = modules().flat_map(|twin| compared(twin, cases::all(twin))).collect();
    none_differs(&differences);
}

#[test]
fn each_module_has_a_state_a_validation_and_whatever_else_it_can_do_among_its_files() {
    for twin in modules() {
        let (states, _) = cases::of_files(twin);
        assert!(!states.is_empty(), "guests/{}/tests has no YAML file with a snapshot", twin.name);
        let answers: Vec<_> =
            cases::all(twin).into_iter().map(|case| (twin.natively(&case.call).answer, case.call)).collect();
        let some = |what: &str, wanted: &dyn Fn(&Answer, &Call) -> bool| {
            assert!(
                answers.iter().any(|(answer, call)| wanted(answer, call)),
                "no file of {} leads to {what}",
                twin.name
            );
        };
        some("a status", &|answer, _| matches!(answer, Answer::Desired(desired) if desired.status.is_some()));
        let hooked = |phase| twin.manifest().webhooks.iter().any(|rule| rule.phase == phase);
        let validated = |call: &Call| matches!(call, Call::Admit(request) if request.phase == Phase::Validate);
        if hooked(Phase::Validate) {
            some("an object that is allowed", &|answer, call| {
                validated(call) && matches!(answer, Answer::Verdict(verdict) if verdict.denied.is_none())
            });
            some("an object that is refused", &|answer, call| {
                validated(call) && matches!(answer, Answer::Verdict(verdict) if verdict.denied.is_some())
            });
        }
        if hooked(Phase::Mutate) {
            some("defaults", &|answer, _| matches!(answer, Answer::Verdict(verdict) if verdict.object.is_some()));
        }
        let converts = |kind: &ParentKind| kind.crd["spec"]["conversion"]["strategy"] == "Webhook";
        if twin.manifest().kinds.iter().any(converts) {
            some("a conversion", &|answer, _| matches!(answer, Answer::Converted(_)));
        }
        some("settings that are refused", &|answer, _| matches!(answer, Answer::Settings(Err(_))));
    }
}

#[test]
fn every_object_of_the_scenarios_is_judged_the_same() {
    let (mut differences, mut asked) = (Vec::new(), BTreeSet::new());
    for (origin, text) in cases::yaml_files(&test_support::checkout().join("tests/scenarios/manifests")) {
        let objects = operator_simulator::manifest::read(&text).unwrap_or_else(|error| panic!("{origin}: {error}"));
        for (object, twin) in objects.iter().flat_map(|object| modules().map(move |twin| (object, twin))) {
            let served = twin.manifest().kinds.iter().any(|kind| object.value["kind"] == kind.kind.as_str());
            if served {
                asked.insert(twin.name);
                let origin = format!("{origin}:{}", object.line);
                let settings = Document::new(&b"{}"[..]);
                differences.extend(compared(twin, cases::requests(twin, &origin, &object.value, &settings)));
            }
        }
    }
    none_differs(&differences);
    let unasked: Vec<_> = modules().map(|twin| twin.name).filter(|name| !asked.contains(name)).collect();
    assert!(unasked.is_empty(), "the scenarios have no object of {unasked:?}");
}

#[test]
fn every_situation_of_the_tests_of_a_module_gets_the_same_answer() {
    let differences: Vec<_> = modules()
        .flat_map(|twin| situations::of(twin).into_iter().map(move |state| (twin, state)))
        .flat_map(|(twin, state)| {
            compared(twin, [Case { origin: state.origin, call: Call::Reconcile(state.snapshot) }])
        })
        .collect();
    none_differs(&differences);
}

#[test]
fn every_call_of_the_scenarios_gets_the_same_answer() {
    let scripts = Mutex::new(scenarios::files().into_iter());
    let (differences, counts) = (Mutex::new(Vec::new()), Mutex::new(BTreeMap::new()));
    let next = || scripts.lock().unwrap().next();
    let work = || {
        while let Some(path) = next() {
            for (at, (twin, call)) in scenarios::calls(&path).into_iter().enumerate() {
                let kind = match &call {
                    Call::Reconcile(_) => "reconcile",
                    Call::Admit(_) => "admit",
                    Call::Convert(..) => "convert",
                    Call::Settings(_) => "validate-settings",
                };
                *counts.lock().unwrap().entry((twin.name, kind)).or_insert(0) += 1;
                let origin = format!("{}, call {at} ({kind})", path.file_name().unwrap().display());
                differences.lock().unwrap().extend(difference(twin, origin, &call));
            }
        }
    };
    let workers = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(work))));
    none_differs(&differences.into_inner().unwrap());
    let counts = counts.into_inner().unwrap();
    println!("{counts:?}");
    for (twin, kind) in modules().flat_map(|twin| ["reconcile", "admit"].map(|kind| (twin, kind))) {
        assert!(counts.contains_key(&(twin.name, kind)), "no scenario makes a call of {} to {kind}", twin.name);
    }
}

/// `PROPTEST_RNG_SEED` repeats the cases of a failure, `PROPTEST_CASES` makes more of them.
#[test]
fn snapshots_that_nobody_wrote_get_the_same_answers() {
    let seed = number("PROPTEST_RNG_SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    let count = number("PROPTEST_CASES").map_or(EDITED, |count| count.try_into().unwrap());
    let failures: Vec<_> = modules().filter_map(|twin| edited_at_random(twin, seed, count).err()).collect();
    assert!(failures.is_empty(), "{}\nthe same cases again: PROPTEST_RNG_SEED={seed}", failures.join("\n"));
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

/// Changes the snapshots of a module's files and makes the calls that follow: what differs after the fewest changes.
fn edited_at_random(twin: &Twin, seed: u64, count: u32) -> Result<(), String> {
    let (states, _) = cases::of_files(twin);
    let config = Config {
        cases: count,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_iters: 500,
        ..Config::default()
    };
    let input = (0..states.len(), proptest::collection::vec(edits::edit(), 1..4));
    let ran = Cell::new(0);
    let result = TestRunner::new(config).run(&input, |(at, edits)| {
        ran.set(ran.get() + 1);
        let State { origin, snapshot: before } = &states[at];
        let snapshot = edits::edited(before, &edits);
        let parent = snapshot.parent.to_value().unwrap();
        let judged = [Phase::Mutate, Phase::Validate]
            .map(|phase| Call::Admit(cases::request(twin, phase, Some(&parent), None, &snapshot.settings)));
        let what = outcome::change(&before.parent, &snapshot.parent);
        for call in [Call::Reconcile(snapshot)].into_iter().chain(judged) {
            let failure =
                |difference| TestCaseError::fail(format!("{}: {difference}\n    {origin}, {what}", twin.name));
            twin.compare(&call).map_err(failure)?;
        }
        Ok(())
    });
    assert!(ran.get() >= count || result.is_err(), "{} ran {} cases", twin.name, ran.get());
    result.map_err(|error| error.to_string())
}

#[test]
fn a_native_side_that_is_told_another_time_is_found() {
    let found = modules().flat_map(|twin| cases::of_files(twin).0.into_iter().map(move |state| (twin, state))).any(
        |(twin, state)| {
            let sandbox = twin.sandboxed(&Call::Reconcile(state.snapshot.clone()));
            let later = Snapshot { now: state.snapshot.now.map(|now| now + 3_600), ..state.snapshot };
            Outcome::difference(&twin.natively(&Call::Reconcile(later)), &sandbox).is_some()
        },
    );
    assert!(found, "no answer depends on the time, or the comparison compares nothing");
}

#[test]
fn what_a_module_logs_is_compared() {
    let twin = &TWINS["las"];
    let repaired = cases::all(twin).into_iter().find(|case| case.origin.ends_with(", repaired")).unwrap();
    let (native, sandbox) = (twin.natively(&repaired.call), twin.sandboxed(&repaired.call));
    assert!(native.logs[0].starts_with("warn: the stored LAS las cannot be read"), "{:?}", native.logs);
    assert_eq!(native.logs, sandbox.logs);
}
