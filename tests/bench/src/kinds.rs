//! `bench kinds`: each module in the sandbox against the same code in this program, and two kinds of which there are many.

use operator_engine::Engine;
use operator_guest::Module;

use crate::{
    Error, cluster,
    engine::{Until, admitted, engine, in_sandbox, load},
    measure::Figure,
    subject::{self, LAS_4K},
};

/// All of them, each reported as soon as it is known.
pub(crate) fn run(report: &mut impl FnMut(Figure)) -> Result<(), Error> {
    let folder = tempfile::tempdir()?;
    let engine = engine(Some(folder.path()))?;
    one::<sgxplugin::SGXPluginModule>(
        &engine,
        "sgxplugin",
        include_str!("../../../guests/sgxplugin/tests/settled.yaml"),
        report,
    )?;
    one::<las::LasModule>(&engine, "las", LAS_4K, report)?;
    one::<cas::CasModule>(&engine, "cas", include_str!("../../../guests/cas/tests/bench-4k.yaml"), report)?;
    one::<signed_policy::SignedPolicyModule>(
        &engine,
        "signed-policy",
        include_str!("../../../guests/signed-policy/tests/bench-4k.yaml"),
        report,
    )?;
    one::<encrypted_policy::EncryptedPolicyModule>(
        &engine,
        "encrypted-policy",
        include_str!("../../../guests/encrypted-policy/tests/bench-4k.yaml"),
        report,
    )?;
    one::<pull_secret::PullSecretModule>(
        &engine,
        "pull-secret",
        include_str!("../../../guests/pull-secret/tests/bench-30.yaml"),
        report,
    )?;
    one::<vault::VaultModule>(&engine, "vault", include_str!("../../../guests/vault/tests/bench-4k.yaml"), report)?;
    cluster::run_kinds(report)
}

/// One module: a reconcile, and what the sandbox adds to a validation; each as a whole, and until its answer is there.
fn one<M: Module>(engine: &Engine, name: &str, yaml: &str, report: &mut impl FnMut(Figure)) -> Result<(), Error> {
    let module = load(engine, &subject::package(name)?)?;
    for (suffix, until) in [("", Until::End), ("-answer", Until::Answer)] {
        report(in_sandbox::<M>(format!("{name}-reconcile{suffix}"), &module, yaml, until)?);
        report(admitted::<M>(format!("{name}-admit{suffix}"), &module, yaml, until)?.beyond());
    }
    Ok(())
}
