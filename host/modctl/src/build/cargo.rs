//! Compiling crates for wasm32-unknown-unknown, so that the same source gives the same bytes in any folder.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::failure::Failure;

const TARGET: &str = "wasm32-unknown-unknown";

/// A stack of 256 KiB below the data, so that an overflow traps: with 64 KiB, finding the wrong field of a large resource was one. And 768 KiB of memory
/// from the start, so that an ordinary call never grows it: growing costs the host a system call. Pages that nobody writes cost nothing.
const LINK: [&str; 2] = ["-Clink-arg=-zstack-size=262144", "-Clink-arg=--initial-memory=786432"];

/// One core module that cargo built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Artifact {
    /// The name of its package: the crate's, or the example's.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) path: PathBuf,
}

/// What is known of one crate.
struct Crate {
    package: String,
    root: PathBuf,
    target_folder: PathBuf,
    library: Option<String>,
    examples: Vec<String>,
}

/// Builds the `cdylib` targets of these crates; one cargo call for each workspace they are in.
pub(crate) fn build(
    paths: &[PathBuf],
    sysroot: Option<&Path>,
    examples_only: bool,
    chosen: Option<&str>,
) -> Result<Vec<Artifact>, Failure> {
    let crates = paths.iter().map(|path| find(path)).collect::<Result<Vec<_>, _>>()?;
    let mut roots: Vec<&Path> = crates.iter().map(|found| found.root.as_path()).collect();
    roots.dedup();
    let mut artifacts = Vec::new();
    for root in roots {
        let here: Vec<&Crate> = crates.iter().filter(|found| found.root == root).collect();
        let profile = chosen.unwrap_or_else(|| profile(root));
        compile(root, &here, sysroot, examples_only, chosen)?;
        for found in here {
            let folder = found.target_folder.join(TARGET).join(profile);
            let library = found.library.iter().filter(|_| !examples_only);
            artifacts.extend(library.map(|library| Artifact {
                name: found.package.clone(),
                path: folder.join(library.replace('-', "_")).with_extension("wasm"),
            }));
            artifacts.extend(found.examples.iter().map(|example| Artifact {
                name: example.clone(),
                path: folder.join("examples").join(example).with_extension("wasm"),
            }));
        }
    }
    if artifacts.is_empty() {
        let message = "there is no cdylib target in these crates; add crate-type = [\"cdylib\", \"rlib\"] to [lib]";
        return Err(Failure::Input(message.into()));
    }
    Ok(artifacts)
}

fn find(path: &Path) -> Result<Crate, Failure> {
    let manifest = path.join("Cargo.toml");
    let manifest = manifest.canonicalize().map_err(|error| {
        Failure::Input(format!("{} cannot be read: {error}; name the folder of a crate", manifest.display()))
    })?;
    let output = Command::new(cargo())
        .args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"])
        .arg(&manifest)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Failure::Internal(format!("cargo cannot be run: {error}; install Rust with rustup")))?;
    let metadata: Value = serde_json::from_slice(&output.stdout)
        .map_err(|_| Failure::Input(format!("cargo cannot read {}; see above", manifest.display())))?;
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let packages = metadata.get("packages").and_then(Value::as_array).cloned().unwrap_or_default();
    let package = packages.iter().find(|package| Path::new(&text(package, "manifest_path")) == manifest);
    let package = package.ok_or_else(|| Failure::Input(format!("{} is no package", manifest.display())))?;
    let targets = package.get("targets").and_then(Value::as_array).cloned().unwrap_or_default();
    let of_kind = |kind: &str| -> Vec<String> {
        let list = |target: &Value, key: &str| target.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
        let library = |target: &&Value| list(target, "crate_types").contains(&Value::from("cdylib"));
        let matching = |target: &&Value| (kind == "example") == list(target, "kind").contains(&Value::from("example"));
        targets.iter().filter(library).filter(matching).map(|target| text(target, "name")).collect()
    };
    Ok(Crate {
        package: text(package, "name"),
        root: PathBuf::from(text(&metadata, "workspace_root")),
        target_folder: PathBuf::from(text(&metadata, "target_directory")),
        library: of_kind("lib").into_iter().next(),
        examples: of_kind("example"),
    })
}

fn cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// The workspace's own profile `module`, or else release with the settings that profile would have.
fn profile(root: &Path) -> &'static str {
    let own = std::fs::read_to_string(root.join("Cargo.toml")).is_ok_and(|text| text.contains("[profile.module]"));
    if own { "module" } else { "release" }
}

fn compile(
    root: &Path,
    crates: &[&Crate],
    sysroot: Option<&Path>,
    examples_only: bool,
    chosen: Option<&str>,
) -> Result<(), Failure> {
    let profile = chosen.unwrap_or_else(|| profile(root));
    let mut command = Command::new(cargo());
    command.current_dir(root).args(["build", "--profile", profile, "--target", TARGET]);
    for found in crates {
        command.args(["--package", &found.package]);
    }
    if !examples_only {
        command.arg("--lib");
    }
    if crates.iter().any(|found| !found.examples.is_empty()) {
        command.arg("--examples");
    }
    if chosen.is_none() && profile == "release" {
        let settings = [
            ("OPT_LEVEL", "3"),
            ("LTO", "fat"),
            ("CODEGEN_UNITS", "1"),
            ("PANIC", "abort"),
            ("STRIP", "debuginfo"),
            ("DEBUG", "false"),
        ];
        command.envs(settings.map(|(key, value)| (format!("CARGO_PROFILE_RELEASE_{key}"), value)));
    }
    command.env("CARGO_ENCODED_RUSTFLAGS", flags(sysroot).join("\u{1f}"));
    command.env_remove("RUSTFLAGS").stdout(Stdio::inherit()).stderr(Stdio::inherit());
    let status = command
        .status()
        .map_err(|error| Failure::Internal(format!("cargo cannot be run: {error}; install Rust with rustup")))?;
    if status.success() {
        return Ok(());
    }
    let hint = if sysroot.is_none() {
        "; when the target is what is missing: `rustup target add wasm32-unknown-unknown`, or `cargo xtask setup` and --sysroot"
    } else {
        ""
    };
    Err(Failure::Bad(format!("the modules do not compile, see above{hint}")))
}

/// Link arguments, and every path that would otherwise end up in the module. The workspace is not among them: cargo names its files from
/// its root on, and a flag that holds the path of a checkout would compile every dependency anew in the next one.
fn flags(sysroot: Option<&Path>) -> Vec<String> {
    let mut flags: Vec<String> = LINK.iter().map(|flag| (*flag).to_owned()).collect();
    let home = |name: &str, below: &str| {
        let set = std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        set.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(below)))
    };
    if let Some(cargo) = home("CARGO_HOME", ".cargo") {
        flags.push(format!("--remap-path-prefix={}=/cargo", cargo.display()));
    }
    if let Some(sysroot) = sysroot {
        flags.push(format!("--sysroot={}", sysroot.display()));
    }
    flags
}
