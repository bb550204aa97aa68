//! `bench cluster`: what the operator does with a real API server beside it on the same processors.

mod admission;
mod again;
mod audit;
mod cases;
mod contenders;
mod edit;
mod failover;
mod namespaces;
mod parents;
mod settled;
mod stage;
mod trios;

pub(crate) use self::admission::{constant, native};
use crate::{
    Error,
    cluster::stage::Stage,
    measure::{Figure, Scale},
};

/// The module that most figures are taken with, and its kind.
const MODULE: &str = "three_children";

/// All of them, each reported as soon as it is known.
pub(crate) fn run(scale: Scale, report: &mut impl FnMut(Figure)) -> Result<(), Error> {
    let compiled = tempfile::tempdir()?;
    // As many threads as the operator has.
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        parents::run(compiled.path(), scale, report).await?;
        admission::run(&Stage::with(&["las"], compiled.path()).await?, scale, report).await?;
        let loaded =
            Stage::with(&[MODULE, "las", "encrypted-policy", "endless_loop_reconcile"], compiled.path()).await?;
        admission::run_loaded(&loaded, scale, report).await?;
        drop(loaded);
        failover::run(&Stage::with(&[MODULE], compiled.path()).await?, scale, report).await?;
        let stage = Stage::with(&[MODULE, "las", "sgxplugin"], compiled.path()).await?;
        let operator = settled::run(&stage, scale, report).await?;
        edit::run(&stage, &operator, scale, report).await
    })
}

/// The figures about kinds that need many of them.
pub(crate) fn run_kinds(scale: Scale, report: &mut impl FnMut(Figure)) -> Result<(), Error> {
    let compiled = tempfile::tempdir()?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        cases::run(&Stage::with(&["cas"], compiled.path()).await?, scale, report).await?;
        namespaces::run(&Stage::with(&["pull-secret"], compiled.path()).await?, scale, report).await
    })
}
