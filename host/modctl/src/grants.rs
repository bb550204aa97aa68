//! `modctl grants`: what modules ask for, as the administrator's file of grants.

use std::{collections::BTreeMap, path::PathBuf};

use operator_core::allowance::Allowance;

use crate::{failure::Failure, load, output::Report};

/// Prints what these modules ask for, as a file for the operator's `--grants`, or for the chart's value `grants`. Read it before you use
/// it: each line is something that the module may do in your cluster.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The packages, such as target/modules/las.wasm.
    #[arg(required = true)]
    packages: Vec<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    let internal = |error: serde_json::Error| Failure::Internal(error.to_string());
    let mut allowances = BTreeMap::new();
    for path in &arguments.packages {
        let manifest = load::package(path)?.manifest;
        allowances.insert(manifest.name.clone(), Allowance::of(&manifest));
    }
    let lines = serde_json::to_string_pretty(&allowances).map_err(internal)?.lines().map(str::to_owned).collect();
    Ok(Report { lines, value: serde_json::to_value(&allowances).map_err(internal)?, bad: false })
}
