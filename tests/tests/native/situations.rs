//! The situations that the tests of modules make up, where they have a table of them.

use crate::{
    cases::{State, state},
    twins::Twin,
};

#[path = "../../../guests/cas/tests/support/mod.rs"]
mod of_cas;
#[path = "../../../guests/pull-secret/tests/support/mod.rs"]
mod of_pull_secret;
#[path = "../../../guests/vault/tests/support/mod.rs"]
mod of_vault;

/// The situations of a module; none where its tests have no table.
pub(crate) fn of(twin: &Twin) -> Vec<State> {
    let all = match twin.name {
        "cas" => of_cas::cases::CASES.iter().map(|case| (case.name, of_cas::with(case.edits).to_string())).collect(),
        "pull-secret" => of_pull_secret::situations(),
        "vault" => of_vault::situations(),
        _ => Vec::new(),
    };
    let named = |(name, text): (&str, String)| state(twin, format!("guests/{}/tests, {name:?}", twin.name), &text);
    all.into_iter().map(named).collect()
}
