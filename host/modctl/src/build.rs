//! `modctl build`: from crates to packages.

mod cargo;

use std::path::{Path, PathBuf};

use cap_std::{ambient_authority, fs::Dir};
use operator_contract::Manifest;
use operator_engine::Engine;
use operator_package::Package;
use sha2::{Digest, Sha256};

use crate::{failure::Failure, load, output};

/// Builds crates into packages.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Folders of crates; each `cdylib` target in them becomes a package.
    #[arg(required = true)]
    crates: Vec<PathBuf>,
    /// Where the packages go.
    #[arg(long, short, default_value = "target/modules")]
    out_dir: PathBuf,
    /// A folder with the standard library for wasm32-unknown-unknown, as `cargo xtask setup` makes it; without it the
    /// toolchain must have the target.
    #[arg(long, env = "SCONE_WASM_SYSROOT")]
    sysroot: Option<PathBuf>,
    /// Builds examples only, and goes on when one of them is no good module: for folders of fixtures that misbehave.
    #[arg(long)]
    examples: bool,
    /// The profile of cargo's; without it the workspace's own `module`, or else `release` with the settings that modules want. One
    /// without link-time optimisation builds quickly, and its modules run slowly.
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<output::Report, Failure> {
    // Cargo shows how far it is.
    let (sysroot, profile) = (arguments.sysroot.as_deref(), arguments.profile.as_deref());
    let artifacts = cargo::build(&arguments.crates, sysroot, arguments.examples, profile)?;
    let out = open(&arguments.out_dir)?;
    let engine = load::engine(false, None)?;
    let mut report = output::Report::default();
    let mut rows = Vec::new();
    for artifact in &artifacts {
        let _progress = output::progress(&format!("packaging {}", artifact.name));
        match package(&engine, &out, artifact) {
            Ok(Some(package)) => rows.push(vec![
                package.manifest.name.clone(),
                package.manifest.version.clone(),
                format!("{} KiB", package.component.len().div_ceil(1024)),
                package.digest.chars().take(12).collect(),
            ]),
            Ok(None) => {
                rows.push(vec![artifact.name.clone(), "unchanged".into(), String::new(), String::new()]);
            }
            // A fixture that cannot be packaged is one whose bad habit is to be no good package.
            Err(failure) if arguments.examples => {
                report.lines.push(format!("{} is not packaged: {failure}", artifact.name));
            }
            Err(failure) => return Err(failure),
        }
    }
    report.lines.extend(output::table(&["module", "version", "size", "sha256"], rows));
    Ok(report)
}

fn open(path: &Path) -> Result<Dir, Failure> {
    let refused = |error: std::io::Error| Failure::Input(format!("{} cannot be opened: {error}", path.display()));
    std::fs::create_dir_all(path).map_err(refused)?;
    Dir::open_ambient_dir(path, ambient_authority()).map_err(refused)
}

/// Makes a package of a core module; none when the same module was packaged before.
fn package(engine: &Engine, out: &Dir, artifact: &cargo::Artifact) -> Result<Option<Package>, Failure> {
    let bad = |error: &dyn std::fmt::Display| Failure::Bad(format!("{}: {error}", artifact.name));
    let core = std::fs::read(&artifact.path)
        .map_err(|error| Failure::Internal(format!("{} cannot be read: {error}", artifact.path.display())))?;
    let stamp_name = format!(".{}.source", artifact.name);
    let stamp = format!("{} {}", hex::encode(Sha256::digest(&core)), operator_package::packager());
    let packaged = out.exists(format!("{}.wasm", artifact.name));
    if packaged && out.read_to_string(&stamp_name).is_ok_and(|before| before == stamp) {
        return Ok(None);
    }
    let shrunk = operator_package::shrink(&core).map_err(|error| bad(&error))?;
    let component = operator_package::build(&shrunk).map_err(|error| bad(&error))?;
    let described = engine.describe(&component).map_err(|error| bad(&error))?;
    let manifest: Manifest = serde_json::from_slice(&described)
        .map_err(|error| bad(&format!("what it describes is no manifest: {error}")))?;
    let bytes = operator_package::with_manifest(&component, &manifest).map_err(|error| bad(&error))?;
    let package = Package::read(bytes).map_err(|error| bad(&error))?;
    // Loading it once here means that whoever loads it later does not find out first.
    load::load(engine, &package)?;
    write(out, &format!("{}.wasm", artifact.name), &package.component)?;
    write(out, &stamp_name, stamp.as_bytes())?;
    Ok(Some(package))
}

/// Writes under another name first, so that nobody ever reads half a package.
fn write(out: &Dir, name: &str, bytes: &[u8]) -> Result<(), Failure> {
    let refused = |error: std::io::Error| Failure::Internal(format!("{name} cannot be written: {error}"));
    let unfinished = format!(".{name}.unfinished");
    out.write(&unfinished, bytes).map_err(refused)?;
    out.rename(&unfinished, out, name).map_err(refused)
}
