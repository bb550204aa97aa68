//! Ring api: the simulator answers as the API server does.
//!
//! The same scripts go to both. What differs is a defect of the simulator, or one of the few differences in `known.rs`.
//! `SCONE_OPERATOR_SEED` takes another seed than the usual one; with `SCONE_OPERATOR_SURVEY=1` the first test goes on after a difference
//! and lists them all.
#![cfg(test)]

mod compare;
mod coverage;
mod kinds;
mod known;
mod script;
mod sides;
mod table;
mod tour;

use std::{collections::BTreeMap, fmt::Write};

use compare::{Difference, differences};
use kinds::{Kind, kinds};
use operator_package::Package;
use proptest::{
    collection::vec,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};
use script::{Step, any_step};
use sides::{Memory, Server, Side, fresh, prepare, simulator};
use tour::{additions, tour};

/// How many generated scripts each kind has.
const SCRIPTS: u32 = 6;
/// How many steps a generated script has at most.
const STEPS: usize = 14;
/// The seed when nobody asks for another.
const SEED: u64 = 20_260_101;

/// A step in which both sides differ: its number, what was asked, and how they differ.
type Found = (usize, String, Vec<Difference>);

/// Runs a script on both sides, as long as who hears of a difference wants to go on.
fn run_on(kind: &Kind, steps: &[Step], goes_on: &mut dyn FnMut(Found) -> bool) {
    let name = fresh();
    let (simulator, server) = (simulator(), Server::shared());
    let sides: [&dyn Side; 2] = [&simulator, server];
    for side in sides {
        prepare(side, &name);
    }
    let mut memories = [Memory::default(), Memory::default()];
    for (index, step) in steps.iter().enumerate() {
        let mut asked = String::new();
        let answers = [0, 1].map(|side: usize| {
            let request = step.request(kind, &name, &memories[side]);
            asked = format!("{} {} {}", request.method, request.path, request.body);
            let answer = sides[side].send(&request);
            memories[side].note(&answer);
            answer
        });
        known::sent(step.label(), kind, answers[1].code);
        let mut unknown = differences(&answers[0], &answers[1]);
        // One side has taken what the other refused: from here on they are no longer alike.
        let parted = unknown.iter().any(|difference| difference.at == "code");
        unknown.retain(|difference| !known::is_known(kind, difference));
        if !unknown.is_empty() && !goes_on((index, asked, unknown)) || parted {
            break;
        }
    }
}

/// Runs a script on both sides; the first step in which they differ, if any, told to whoever mends it.
fn run(kind: &Kind, steps: &[Step]) -> Result<(), String> {
    let mut first = None;
    run_on(kind, steps, &mut |found| {
        first = Some(told(kind, steps, &found));
        false
    });
    first.map_or(Ok(()), Err)
}

fn told(kind: &Kind, steps: &[Step], (index, asked, unknown): &Found) -> String {
    let mut text = format!("{}, step {index} of\n", kind.name());
    for step in steps.iter().take(index + 1) {
        let Step { name, manager, fragments, .. } = step;
        let _ = writeln!(text, "  {} (name {name}, manager {manager}, fragments {fragments:?})", step.label());
    }
    let _ = writeln!(text, "asked: {asked}");
    for Difference { at, simulator, server } in unknown {
        let shown =
            |value: &Option<serde_json::Value>| value.as_ref().map_or("nothing".to_owned(), ToString::to_string);
        let _ = writeln!(text, "  {at}\n    simulator: {}\n    server:    {}", shown(simulator), shown(server));
    }
    text
}

fn seed() -> u64 {
    let asked = std::env::var("SCONE_OPERATOR_SEED").ok().filter(|seed| !seed.is_empty());
    asked.map_or(SEED, |seed| seed.parse().unwrap())
}

/// Generated scripts for a kind; one that fails is made as short as can be.
fn generated(kind: &Kind, seed: u64) {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    kind.name().bytes().enumerate().for_each(|(index, byte)| bytes[8 + index % 24] ^= byte);
    let config = Config { cases: SCRIPTS, max_shrink_iters: 300, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let outcome =
        runner.run(&vec(any_step(kind.has_status), 1..=STEPS), |steps| run(kind, &steps).map_err(TestCaseError::fail));
    if let Err(TestError::Fail(reason, _)) = outcome {
        panic!("with seed {seed}: {reason}");
    }
}

/// All differences of all kinds, how often, and an example of each.
fn survey(kinds: &[Kind], seed: u64) {
    use proptest::strategy::{Strategy, ValueTree};
    let mut all: BTreeMap<String, (usize, String)> = BTreeMap::new();
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[u8::try_from(seed % 256).unwrap(); 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    for kind in kinds {
        let mut scripts = vec![tour(kind), additions(kind)];
        let any = vec(any_step(kind.has_status), 1..=STEPS);
        scripts.extend((0..SCRIPTS).map(|_| any.new_tree(&mut runner).unwrap().current()));
        for steps in scripts {
            run_on(kind, &steps, &mut |(index, asked, unknown)| {
                for difference in unknown {
                    let entry = all.entry(format!("{} {}", kind.kind, difference.at)).or_default();
                    entry.0 += 1;
                    if entry.1.is_empty() {
                        let first = index.saturating_sub(3);
                        entry.1 = told(kind, &steps[first..], &(index - first, asked.clone(), vec![difference]));
                    }
                }
                true
            });
        }
    }
    for (at, (count, example)) in all {
        println!("#### {count} x {at}\n{example}");
    }
}

#[test]
fn every_verb_on_every_kind_is_answered_as_the_api_server_answers_it() {
    let (kinds, seed) = (kinds(), seed());
    println!("seed {seed}");
    if std::env::var_os("SCONE_OPERATOR_SURVEY").is_some() {
        survey(&kinds, seed);
    } else {
        for kind in &kinds {
            for steps in [tour(kind), additions(kind)] {
                run(kind, &steps).unwrap_or_else(|found| panic!("{found}"));
            }
            generated(kind, seed);
        }
    }
    let sent: usize = known::counts().values().map(|count| count.sent).sum();
    println!("{sent} requests to {} kinds", kinds.len());
    let missing = coverage::missing(&kinds);
    assert!(missing.is_empty(), "these requests are missing:\n{}", missing.join("\n"));
    assert!(known::unseen().is_empty(), "these differences are gone; take them off the list: {:#?}", known::unseen());
}

#[test]
fn few_differences_stay_and_each_has_its_reason() {
    assert!(known::KNOWN.len() <= known::MOST, "{} differences", known::KNOWN.len());
    assert!(known::KNOWN.iter().all(|known| known.reason.len() > 20), "each says why it stays");
}

#[test]
fn every_kind_that_modules_emit_is_compared() {
    let compared: Vec<String> = kinds().iter().map(Kind::name).collect();
    let folder = test_support::artefact("SCONE_OPERATOR_MODULES");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "wasm") {
            continue;
        }
        let manifest = Package::read(std::fs::read(&path).unwrap()).unwrap().manifest;
        let own = manifest.kinds.iter().map(|kind| format!("{} {}", kind.api_version, kind.kind));
        let children = manifest.grants.children.iter().chain(&manifest.grants.delete);
        let children = children.map(|rule| format!("{} {}", rule.api_version, rule.kind));
        let partials = manifest.grants.partials.iter().map(|rule| format!("{} {}", rule.api_version, rule.kind));
        for kind in own.chain(children).chain(partials) {
            seen += 1;
            assert!(compared.contains(&kind), "{kind}, which {} writes, is not compared", manifest.name);
        }
    }
    assert!(seen > 20, "only {seen} kinds were found in modules");
}

#[test]
fn the_merge_table_is_what_the_server_says_of_its_types() {
    let path = test_support::checkout().join("host/simulator/src/cluster/merge-table.json");
    let table = table::of(Server::shared());
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &table).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    let line = committed.lines().zip(table.lines()).find(|(committed, said)| committed != said);
    assert!(
        committed == table,
        "the table is another than the server's; write it anew with UPDATE=1. First: {line:#?}"
    );
}
