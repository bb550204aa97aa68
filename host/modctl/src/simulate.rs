//! `modctl simulate`: a script of many reconciles, with nodes and pods, and its transcript.

use std::{
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use cap_std::{ambient_authority, fs::Dir};
use operator_core::Module;
use operator_engine::Engine;
use operator_package::Folder;
use operator_simulator::scenario::{Files, Format, ModuleSource, Scenario, ScenarioError};
use serde_json::{Value, json};

use crate::{failure::Failure, files, load, output::Report};

/// Runs a scenario on an embedded cluster and prints what happens, step by step.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The script; its language is in tests/scenarios/README.md.
    scenario: PathBuf,
    /// Folder of packages from which the script loads modules by name.
    #[arg(long, default_value = "target/modules", env = "SCONE_OPERATOR_MODULES")]
    modules: PathBuf,
    /// Also writes one JSON object a step into this file, whatever is printed: line, verb, output, statuses, milliseconds.
    #[arg(long, value_name = "FILE")]
    steps_to: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments, json: bool) -> Result<Report, Failure> {
    let path = &arguments.scenario;
    let text = files::text(path)?;
    let scenario =
        Scenario::parse(&path.display().to_string(), &text).map_err(|error| Failure::Input(error.to_string()))?;
    let modules = Packages { folder: load::folder(&arguments.modules)?, engine: load::engine(false, None)? };
    let near = Near::open(path)?;
    let format = if json { Format::Json } else { Format::Text };
    let steps = arguments.steps_to.as_deref().map(files::create).transpose()?;
    let (mut printed, mut steps) = (io::stdout().lock(), steps.map(BufWriter::new));
    let mut outputs: Vec<(Format, &mut dyn Write)> = vec![(format, &mut printed)];
    outputs.extend(steps.as_mut().map(|file| (Format::Json, file as &mut dyn Write)));
    let summary = scenario.run(&modules, &near, &mut outputs).map_err(|error| match error {
        ScenarioError::Unexpected { .. } => Failure::Bad(error.to_string()),
        ScenarioError::Step { .. } => Failure::Input(error.to_string()),
        ScenarioError::World(_) | ScenarioError::Output(_) => Failure::Internal(error.to_string()),
    })?;
    drop(outputs);
    if let Some(steps) = &mut steps {
        steps.flush().map_err(|error| Failure::Internal(format!("the steps could not be written: {error}")))?;
    }
    let line = format!(
        "\n{} steps, {} expectations held, {} writes to the cluster",
        summary.steps, summary.expectations, summary.writes
    );
    let value: Value = json!({"steps": summary.steps, "expectations": summary.expectations, "writes": summary.writes});
    Ok(Report { lines: vec![line], value, bad: false })
}

/// Modules by the name of their package.
struct Packages {
    folder: Folder,
    engine: Engine,
}

impl ModuleSource for Packages {
    fn load(&self, name: &str) -> Result<Arc<dyn Module>, String> {
        let package = load::read(&self.folder, name).map_err(|failure| {
            let known = self.folder.names().unwrap_or_default().join(", ");
            format!("{failure} (there are {known})")
        })?;
        Ok(Arc::new(load::load(&self.engine, &package).map_err(|failure| failure.to_string())?))
    }
}

/// Files beside the script and below; nothing else.
struct Near(Dir);

impl Near {
    fn open(script: &Path) -> Result<Self, Failure> {
        let parent = script.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let dir = Dir::open_ambient_dir(parent, ambient_authority());
        dir.map(Self).map_err(|error| Failure::Input(format!("{} cannot be opened: {error}", parent.display())))
    }
}

impl Files for Near {
    fn read(&self, name: &str) -> Result<String, String> {
        self.0.read_to_string(name).map_err(|error| {
            format!("{name} cannot be read: {error}; files are looked for beside the script and below it")
        })
    }
}
