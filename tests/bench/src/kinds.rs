//! `bench kinds`: each module in the sandbox against the same code in this program, and two kinds of which there are many.

use operator_engine::Engine;
use operator_guest::Module;

use crate::{
    Error, cluster,
    engine::{Until, admitted, beside, engine, in_sandbox, load},
    measure::{Figure, Scale},
    subject::{self, LAS_4K},
};

const SGXPLUGIN: &str = include_str!("../../../guests/sgxplugin/tests/settled.yaml");
const CAS: &str = include_str!("../../../guests/cas/tests/bench-4k.yaml");
const SIGNED_POLICY: &str = include_str!("../../../guests/signed-policy/tests/bench-4k.yaml");
const ENCRYPTED_POLICY: &str = include_str!("../../../guests/encrypted-policy/tests/bench-4k.yaml");
const PULL_SECRET: &str = include_str!("../../../guests/pull-secret/tests/bench-30.yaml");
const VAULT: &str = include_str!("../../../guests/vault/tests/bench-4k.yaml");

/// All of them, each reported as soon as it is known.
pub(crate) fn run(scale: Scale, report: &mut impl FnMut(Figure)) -> Result<(), Error> {
    let folder = tempfile::tempdir()?;
    let engine = engine(Some(folder.path()))?;
    // What a call costs whose module does nothing, with the smallest snapshot and against that one's native twin: of the ratio of a
    // module, this much is used up before it has done anything.
    let nothing = load(&engine, &subject::package("reconciler_only")?)?;
    report(beside::<encrypted_policy::EncryptedPolicyModule>(
        "nothing-reconcile",
        &nothing,
        ENCRYPTED_POLICY,
        Until::End,
        scale,
    )?);
    one::<sgxplugin::SGXPluginModule>(&engine, "sgxplugin", SGXPLUGIN, scale, report)?;
    one::<las::LasModule>(&engine, "las", LAS_4K, scale, report)?;
    one::<cas::CasModule>(&engine, "cas", CAS, scale, report)?;
    one::<signed_policy::SignedPolicyModule>(&engine, "signed-policy", SIGNED_POLICY, scale, report)?;
    one::<encrypted_policy::EncryptedPolicyModule>(&engine, "encrypted-policy", ENCRYPTED_POLICY, scale, report)?;
    one::<pull_secret::PullSecretModule>(&engine, "pull-secret", PULL_SECRET, scale, report)?;
    one::<vault::VaultModule>(&engine, "vault", VAULT, scale, report)?;
    cluster::run_kinds(scale, report)
}

/// One module: a reconcile, and what the sandbox adds to a validation; each as a whole, and until its answer is there.
fn one<M: Module>(
    engine: &Engine,
    name: &str,
    yaml: &str,
    scale: Scale,
    report: &mut impl FnMut(Figure),
) -> Result<(), Error> {
    let module = load(engine, &subject::package(name)?)?;
    for (suffix, until) in [("", Until::End), ("-answer", Until::Answer)] {
        report(in_sandbox::<M>(format!("{name}-reconcile{suffix}"), &module, yaml, until, scale)?);
        report(admitted::<M>(format!("{name}-admit{suffix}"), &module, yaml, until, scale)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use operator_guest::native;

    use super::*;

    /// A module that does not find what it asked for takes another way, and another time.
    fn answers_all<M: Module>(yaml: &str) {
        let snapshot = subject::native_snapshot::<M>(yaml).unwrap();
        let answered: BTreeSet<_> = snapshot.answers.iter().map(|answer| answer.id.clone()).collect();
        let asked: BTreeSet<_> =
            native::reconcile::<M>(snapshot).unwrap().queries.into_iter().map(|query| query.id).collect();
        assert_eq!(asked, answered);
    }

    #[test]
    fn each_snapshot_answers_what_its_module_asks() {
        answers_all::<sgxplugin::SGXPluginModule>(SGXPLUGIN);
        answers_all::<las::LasModule>(LAS_4K);
        answers_all::<cas::CasModule>(CAS);
        answers_all::<signed_policy::SignedPolicyModule>(SIGNED_POLICY);
        answers_all::<encrypted_policy::EncryptedPolicyModule>(ENCRYPTED_POLICY);
        answers_all::<pull_secret::PullSecretModule>(PULL_SECRET);
        answers_all::<vault::VaultModule>(VAULT);
    }
}
