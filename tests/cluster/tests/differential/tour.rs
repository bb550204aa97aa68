//! Scripts that are written down: each verb comes to its turn on each kind.
//!
//! Of the fragments, 0 to 2 are labels, 3 and 4 annotations, 5 and 6 finalizers, 7 and 8 owners; 9 and so on are the kind's own.

use super::{
    kinds::Kind,
    script::{Patch, SELECTORS, Step, Verb, Version},
};

/// A script in which everything that a kind may say is said to an object that says nothing, the last first.
pub(crate) fn additions(kind: &Kind) -> Vec<Step> {
    let shared = kind.fragments.len() - kind.parting.len();
    let mut all = vec![step(Verb::Create)];
    all.extend((0..shared).rev().map(|fragment| patch(Patch::Merge, false, &[fragment])));
    all.extend((0..shared).map(|fragment| patch(Patch::Strategic, false, &[fragment])));
    all
}

/// A script in which every verb comes to its turn, most of them on an object that is there.
pub(crate) fn tour(kind: &Kind) -> Vec<Step> {
    let mut all = applies();
    all.extend(creations_and_updates());
    all.extend([Patch::Merge, Patch::Json, Patch::Strategic].into_iter().flat_map(patches));
    let own = || 9..kind.fragments.len() - kind.parting.len();
    all.extend(own().map(|fragment| apply(0, &[fragment], true)));
    all.extend(own().map(|fragment| patch(Patch::Merge, false, &[fragment])));
    all.extend(SELECTORS.map(|selector| step(Verb::List(selector))));
    if kind.has_status {
        all.extend(statuses(kind));
    }
    all.extend(deletions());
    all.extend(partings(kind));
    all
}

fn step(verb: Verb) -> Step {
    Step::new(verb)
}

fn apply(manager: usize, fragments: &[usize], force: bool) -> Step {
    Step { manager, fragments: fragments.to_vec(), ..step(Verb::Apply { force }) }
}

fn update(fragments: &[usize]) -> Step {
    Step { fragments: fragments.to_vec(), ..step(Verb::Update) }
}

fn patch(how: Patch, remove: bool, fragments: &[usize]) -> Step {
    Step { manager: 1, fragments: fragments.to_vec(), ..step(Verb::Patch { how, remove }) }
}

fn delete(propagation: Option<&'static str>) -> Step {
    step(Verb::Delete { propagation, other_uid: false })
}

fn dry(step: Step) -> Step {
    Step { dry_run: true, ..step }
}

fn at(version: Version, step: Step) -> Step {
    Step { version, ..step }
}

/// The same about another object.
fn second(step: Step) -> Step {
    Step { name: 1, ..step }
}

fn status(step: Step) -> Step {
    Step { status: true, ..step }
}

fn applies() -> Vec<Step> {
    vec![
        step(Verb::Get),
        dry(apply(0, &[0], false)),
        apply(0, &[0, 3, 9], false),
        apply(1, &[0, 2], false),
        apply(2, &[1], false),
        apply(2, &[1, 10], true),
        apply(0, &[3], false),
        dry(apply(1, &[4], true)),
        at(Version::Current, apply(1, &[4, 8], true)),
        at(Version::Stale, apply(1, &[4], true)),
    ]
}

fn creations_and_updates() -> Vec<Step> {
    vec![
        step(Verb::Create),
        dry(second(step(Verb::Create))),
        second(Step { fragments: vec![1, 9], ..step(Verb::Create) }),
        Step { fragments: vec![0, 3], ..step(Verb::Generate) },
        dry(step(Verb::Generate)),
        at(Version::Current, update(&[2, 11])),
        dry(at(Version::Current, update(&[4]))),
        at(Version::Stale, update(&[])),
        second(step(Verb::Get)),
        second(at(Version::Current, update(&[2, 9]))),
        dry(second(at(Version::Current, update(&[1, 9])))),
        Step { manager: 2, ..update(&[3]) },
    ]
}

fn patches(how: Patch) -> [Step; 7] {
    [
        // A JSON patch adds only to what is there.
        patch(Patch::Merge, false, &[0, 3]),
        patch(how, false, &[3, 9]),
        patch(how, false, &[4]),
        dry(patch(how, false, &[0])),
        at(Version::Stale, patch(how, false, &[1])),
        patch(how, true, &[4]),
        patch(how, true, &[0]),
    ]
}

fn statuses(kind: &Kind) -> Vec<Step> {
    let mut all: Vec<Step> = [
        step(Verb::Get),
        apply(0, &[0], false),
        apply(1, &[1], false),
        apply(1, &[1], true),
        dry(apply(2, &[1], true)),
        patch(Patch::Merge, false, &[0]),
        patch(Patch::Json, false, &[1]),
        patch(Patch::Strategic, false, &[1]),
        at(Version::Current, update(&[1])),
        at(Version::Stale, update(&[1])),
        patch(Patch::Merge, false, &[1]),
        patch(Patch::Merge, true, &[0]),
    ]
    .map(status)
    .into();
    all.push(apply(0, &[0], true));
    // Each status once, whatever there was before.
    all.extend((0..kind.statuses.len()).map(|fragment| status(apply(0, &[fragment], true))));
    all
}

fn deletions() -> Vec<Step> {
    vec![
        step(Verb::Delete { propagation: None, other_uid: true }),
        dry(delete(None)),
        delete(None),
        delete(None),
        apply(0, &[0], true),
        delete(Some("Background")),
        apply(0, &[5], true),
        apply(1, &[6], true),
        delete(None),
        apply(1, &[0], true),
        patch(Patch::Merge, false, &[6]),
        apply(0, &[], true),
        patch(Patch::Merge, true, &[5]),
        step(Verb::Get),
        apply(0, &[1], true),
        delete(Some("Foreground")),
        step(Verb::Get),
        delete(Some("Foreground")),
        patch(Patch::Merge, true, &[5]),
        apply(0, &[1], true),
        delete(Some("Orphan")),
        patch(Patch::Merge, false, &[6]),
        patch(Patch::Merge, true, &[5]),
        step(Verb::Get),
        apply(0, &[0], true),
    ]
}

/// What only one side takes comes last.
fn partings(kind: &Kind) -> Vec<Step> {
    let parting = || kind.fragments.len() - kind.parting.len()..kind.fragments.len();
    let mut all: Vec<Step> = parting().map(|fragment| patch(Patch::Merge, false, &[fragment])).collect();
    all.extend(parting().map(|fragment| apply(0, &[fragment], true)));
    if kind.kind == "Service" {
        all.extend([delete(None), status(update(&[0]))]);
    }
    all
}
