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

use std::path::Path;

use clap::ValueEnum;

pub(crate) use self::admission::{constant, native};
use crate::{
    Error,
    cluster::stage::Stage,
    measure::{Figure, Scale},
};

/// The module that most figures are taken with, and its kind.
const MODULE: &str = "three_children";

/// Figures that are taken together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    /// New parents, by the operator and by others.
    Parents,
    /// Validations, by the operator and by others.
    Admission,
    /// Validations while all threads for reconciles are busy.
    Loaded,
    /// A replica that takes over.
    Failover,
    /// An operator that starts, looks at settled parents, and hears of edits.
    Settled,
}

/// All of them, or one group, each figure reported as soon as it is known.
pub(crate) fn run(only: Option<Group>, scale: Scale, report: &mut impl FnMut(Figure)) -> Result<(), Error> {
    let compiled = tempfile::tempdir()?;
    // As many threads as the operator has.
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        for group in Group::value_variants().iter().filter(|group| only.is_none_or(|only| only == **group)) {
            self::group(*group, compiled.path(), scale, report).await?;
        }
        Ok(())
    })
}

async fn group(group: Group, compiled: &Path, scale: Scale, report: &mut impl FnMut(Figure)) -> Result<(), Error> {
    let stage = async |modules: &[&str]| Stage::with(modules, compiled).await;
    match group {
        Group::Parents => parents::run(compiled, scale, report).await,
        Group::Admission => admission::run(&stage(&["las"]).await?, scale, report).await,
        Group::Loaded => {
            let modules = [MODULE, "las", "encrypted-policy", "endless_loop_reconcile"];
            admission::run_loaded(&stage(&modules).await?, scale, report).await
        }
        Group::Failover => failover::run(&stage(&[MODULE]).await?, scale, report).await,
        Group::Settled => {
            let stage = stage(&[MODULE, "las", "sgxplugin"]).await?;
            let operator = settled::run(&stage, scale, report).await?;
            edit::run(&stage, &operator, scale, report).await
        }
    }
}

/// The figures about kinds that need many of them.
pub(crate) fn run_kinds(scale: Scale, report: &mut impl FnMut(Figure)) -> Result<(), Error> {
    let compiled = tempfile::tempdir()?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        cases::run(&Stage::with(&["cas"], compiled.path()).await?, scale, report).await?;
        namespaces::run(&Stage::with(&["pull-secret"], compiled.path()).await?, scale, report).await
    })
}
