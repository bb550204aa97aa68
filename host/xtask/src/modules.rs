//! `cargo xtask modules`: every module under `guests/`, compiled, made a component, packaged. `modctl` does the work, as it
//! does for a module author; this command builds `modctl`, brings the standard library and names the folders.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use clap::Args;

use crate::{
    cargo::{self, cargo},
    digests::{self, Deed},
    failure::Failure,
    progress::{self, Plan},
    setup::{self, Std},
    workspace::Workspace,
};

/// What to build.
#[derive(Debug, Default, Args)]
pub(crate) struct Arguments {
    /// Also the fixtures that tests use, into target/fixtures. Most of them misbehave.
    #[arg(long)]
    pub(crate) fixtures: bool,
    /// Builds everything a second time in another folder, and fails when a byte differs.
    #[arg(long)]
    pub(crate) check_reproducible: bool,
    /// Checks or records the modules' digests, in guests/modules.sha256.
    #[arg(long, value_enum, value_name = "DEED")]
    pub(crate) digests: Option<Deed>,
}

/// Which packages and features every build of ours names. One choice for all of them, so that nothing is compiled twice:
/// cargo unites the features of what one command names.
pub(crate) const WHOLE: [&str; 3] = ["--workspace", "--features", "operator-engine/compiler"];

/// The module of tests that stands for a next version.
const NEXT: &str = "las-next";

/// Modules that only tests use are not optimised as a whole: that took a minute each.
const FIXTURE: [&str; 2] = ["--profile", "fixture"];

/// And those of whoever changes one.
const QUICK: [&str; 2] = ["--profile", "quick"];

/// Builds, and says where the modules are.
pub(crate) fn command(workspace: &Workspace, arguments: &Arguments) -> Result<(), Failure> {
    make(workspace, arguments, &mut Plan::new(steps(arguments)))?;
    match arguments.digests {
        Some(Deed::Check) => digests::check(workspace, &setup::ensure(workspace)?)?,
        Some(Deed::Record) => digests::record(workspace, &setup::ensure(workspace)?)?,
        None => {}
    }
    let count = packages(&workspace.modules())?.len();
    progress::result(&format!("{count} modules in {}", workspace.modules().display()));
    Ok(())
}

/// What [`make`] does, for the plan of a command.
pub(crate) fn steps(arguments: &Arguments) -> Vec<String> {
    let mut steps = vec![
        "the sources of what we stand on",
        "Rust's standard library for WebAssembly",
        "modctl and the compiler of modules",
        "the modules",
    ];
    steps.extend(arguments.fixtures.then_some("the modules of tests"));
    steps.extend(arguments.check_reproducible.then_some("all modules once more, in another folder"));
    steps.into_iter().map(str::to_owned).collect()
}

/// Builds the tools and the modules; quick when they are up to date.
pub(crate) fn make(workspace: &Workspace, arguments: &Arguments, plan: &mut Plan) -> Result<(), Failure> {
    let std = begin(workspace, plan)?;
    package(workspace, &std, workspace)?;
    if arguments.fixtures {
        plan.next();
        fixtures(workspace, &std, workspace)?;
    }
    if arguments.check_reproducible {
        plan.next();
        let target = workspace.target.join("reproducible");
        let second = Workspace { root: target.join("checkout"), target, ..workspace.clone() };
        progress::note("copying the sources to another folder ...");
        // Without what a checkout before this one had.
        if second.root.exists() {
            fs::remove_dir_all(&second.root).map_err(|error| Failure::file("remove", &second.root, &error))?;
        }
        copy(&workspace.root, &second.root)?;
        package(workspace, &std, &second)?;
        compare(&workspace.modules(), &second.modules())?;
        if arguments.fixtures {
            fixtures(workspace, &std, &second)?;
            compare(&workspace.fixtures(), &second.fixtures())?;
        }
        progress::result("reproducible: two builds in two folders gave the same bytes");
    }
    Ok(())
}

/// Builds the tools, and these modules without optimising them as a whole, into a folder of their own; gives the folder. What else lies
/// there is from earlier, and nobody asks for it.
pub(crate) fn quick(workspace: &Workspace, names: &BTreeSet<String>, plan: &mut Plan) -> Result<PathBuf, Failure> {
    let std = begin(workspace, plan)?;
    let out = workspace.target.join("modules-quick");
    let is_named = |path: &PathBuf| path.file_name().is_some_and(|name| names.contains(&*name.to_string_lossy()));
    let guests: Vec<PathBuf> = workspace.guests()?.into_iter().filter(is_named).collect();
    if !guests.is_empty() {
        modctl_build(workspace, &std, &guests, &out, &workspace.target, &QUICK)?;
    }
    if names.contains(NEXT) {
        next(workspace, &std, workspace, &out)?;
    }
    Ok(out)
}

/// Where tests and benchmarks find what was built.
pub(crate) fn environment(workspace: &Workspace, profile: &str) -> [(&'static str, PathBuf); 5] {
    [
        ("SCONE_OPERATOR_MODULES", workspace.modules()),
        ("SCONE_OPERATOR_FIXTURES", workspace.fixtures()),
        ("SCONE_OPERATOR_MODCTL", workspace.program("debug", "modctl")),
        ("SCONE_OPERATOR_COMPILER", workspace.program(profile, "operator-compiler")),
        ("SCONE_OPERATOR_PROGRAM", workspace.program(profile, "scone-operator")),
    ]
}

/// All that comes before the modules.
fn begin(workspace: &Workspace, plan: &mut Plan) -> Result<Std, Failure> {
    plan.next();
    cargo::fetch(workspace)?;
    plan.next();
    let std = setup::ensure(workspace)?;
    plan.next();
    tools(workspace)?;
    plan.next();
    Ok(std)
}

fn tools(workspace: &Workspace) -> Result<(), Failure> {
    let mut tools = vec!["build"];
    tools.extend(WHOLE);
    tools.extend(["--bin", "modctl", "--bin", "operator-compiler"]);
    cargo::show("building modctl and the compiler of modules", cargo(workspace).args(tools))
}

/// The module that stands for a next version of another. It needs the crate of `las` with another feature, and in the folder of one
/// profile both would write the same file.
fn next(tools: &Workspace, std: &Std, into: &Workspace, out: &Path) -> Result<(), Failure> {
    let folder = into.root.join("tests/fixtures").join(NEXT);
    modctl_build(tools, std, &[folder], out, &into.target, &FIXTURE)
}

/// Runs modctl with the tools of one workspace, into the build folder of another.
fn package(tools: &Workspace, std: &Std, into: &Workspace) -> Result<(), Failure> {
    let guests = into.guests()?;
    if guests.is_empty() {
        return Err(Failure::Bad(format!("{} holds no module", into.root.join("guests").display())));
    }
    modctl_build(tools, std, &guests, &into.modules(), &into.target, &[])?;
    next(tools, std, into, &into.modules())
}

/// Those that only tests use, most of which misbehave.
fn fixtures(tools: &Workspace, std: &Std, into: &Workspace) -> Result<(), Failure> {
    let folder = into.root.join("tests/fixtures");
    let more = [&FIXTURE[..], &["--examples"]].concat();
    modctl_build(tools, std, &[folder], &into.fixtures(), &into.target, &more)
}

fn modctl_build(
    tools: &Workspace,
    std: &Std,
    sources: &[PathBuf],
    out: &Path,
    target: &Path,
    more: &[&str],
) -> Result<(), Failure> {
    let names: Vec<_> = sources.iter().filter_map(|path| path.file_name()).map(|name| name.to_string_lossy()).collect();
    let what = format!("building modules: {}", names.join(", "));
    let mut command = Command::new(tools.program("debug", "modctl"));
    command
        .current_dir(&tools.root)
        .env("CARGO_TARGET_DIR", target)
        .arg("build")
        .args(sources)
        .arg("-o")
        .arg(out)
        .args(more);
    if let Std::Sysroot(path) = std {
        command.arg("--sysroot").arg(path);
    }
    cargo::clean(&mut command);
    // Standard output belongs to the command that asked for the modules.
    cargo::show(&what, command.stdout(Stdio::null()))
}

/// Fails when two folders of packages differ in a name or a byte.
fn compare(first: &Path, second: &Path) -> Result<(), Failure> {
    let (one, two) = (packages(first)?, packages(second)?);
    let differing: Vec<&str> = one
        .keys()
        .chain(two.keys().filter(|name| !one.contains_key(*name)))
        .filter(|name| one.get(*name) != two.get(*name))
        .map(String::as_str)
        .collect();
    if differing.is_empty() {
        return Ok(());
    }
    Err(Failure::Bad(format!(
        "not reproducible: {} differ between {} and {}",
        differing.join(", "),
        first.display(),
        second.display()
    )))
}

/// Copies the sources, with their times, so that what has not changed is not compiled again. Build folders and the history stay.
fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::create_dir_all(to).map_err(|error| Failure::file("make", to, &error))?;
    for entry in fs::read_dir(from).map_err(|error| Failure::file("list", from, &error))?.filter_map(Result::ok) {
        let (source, copied) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            let left_out = entry.file_name() == ".git" || source.join("CACHEDIR.TAG").exists();
            if !left_out {
                copy(&source, &copied)?;
            }
            continue;
        }
        let wrong = |error: io::Error| Failure::file("copy", &source, &error);
        fs::copy(&source, &copied).map_err(wrong)?;
        let time = fs::metadata(&source).and_then(|metadata| metadata.modified()).map_err(wrong)?;
        fs::File::options().write(true).open(&copied).and_then(|file| file.set_modified(time)).map_err(wrong)?;
    }
    Ok(())
}

/// The files of a folder of packages: name and bytes.
pub(crate) fn packages(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
    let entries = fs::read_dir(folder).map_err(|error| Failure::file("list", folder, &error))?;
    let mut found = BTreeMap::new();
    for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        if let (true, Some(name)) = (path.extension().is_some_and(|extension| extension == "wasm"), path.file_name()) {
            let bytes = fs::read(&path).map_err(|error| Failure::file("read", &path, &error))?;
            found.insert(name.to_string_lossy().into_owned(), bytes);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_the_times_of_its_source_and_no_build_folders() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        for (path, text) in [("a/b.rs", "x"), (".git/HEAD", "ref"), ("target/CACHEDIR.TAG", "tag"), ("target/big", "x")]
        {
            fs::create_dir_all(from.join(path).parent().unwrap()).unwrap();
            fs::write(from.join(path), text).unwrap();
        }
        let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
        fs::File::options().write(true).open(from.join("a/b.rs")).unwrap().set_modified(time).unwrap();
        copy(&from, &to).unwrap();
        assert_eq!(fs::metadata(to.join("a/b.rs")).unwrap().modified().unwrap(), time);
        let names: Vec<_> = fs::read_dir(&to).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["a"]);
    }

    #[test]
    fn a_module_that_differs_in_one_byte_or_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        for (place, bytes) in [(&one, b"same"), (&two, b"same")] {
            fs::create_dir_all(place).unwrap();
            fs::write(place.join("a.wasm"), bytes).unwrap();
        }
        compare(&one, &two).unwrap();
        fs::write(two.join("a.wasm"), b"sane").unwrap();
        fs::write(two.join("b.wasm"), b"more").unwrap();
        let text = compare(&one, &two).unwrap_err().to_string();
        assert!(text.contains("a.wasm, b.wasm differ"), "{text}");
    }
}
