//! `bench cluster`: what the operator does with a real API server beside it on the same processors.

mod admit;
mod again;
mod audit;
mod cases;
mod converge;
mod edit;
mod load;
mod namespaces;
mod operator;
mod settled;
mod stage;
mod trios;

use crate::{Error, cluster::stage::Stage, measure::Figure};

/// The module that most figures are taken with, and its kind.
const MODULE: &str = "three_children";

/// All of them, each reported as soon as it is known.
pub(crate) fn run(report: &mut impl FnMut(Figure)) -> Result<(), Error> {
    // As many threads as the operator has.
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        // A cluster for what grows, and another for what is to be of one size.
        let stage = Stage::with(&[MODULE, "las"]).await?;
        converge::run(&stage, report).await?;
        admit::run(&stage, report).await?;
        drop(stage);
        let stage = Stage::with(&[MODULE, "las", "sgxplugin"]).await?;
        let operator = settled::run(&stage, report).await?;
        edit::run(&stage, &operator, report).await
    })
}

/// The figures about kinds that need many of them.
pub(crate) fn run_kinds(report: &mut impl FnMut(Figure)) -> Result<(), Error> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        cases::run(&Stage::with(&["cas"]).await?, report).await?;
        namespaces::run(&Stage::with(&["pull-secret"]).await?, report).await
    })
}
