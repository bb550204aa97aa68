//! `cargo xtask image`: the operator as a container image, written without Docker, the same bytes each time.
//!
//! Three layers, from what changes seldom to what changes often: what programs run on, the programs, the modules. No shell, no
//! package manager, nothing that may be written to.

mod oci;
mod rootfs;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::json;

use crate::{
    Format, cargo,
    failure::Failure,
    image::oci::{Image, Layer},
    modules,
    progress::{self, Plan},
    toolchain::Toolchain,
    workspace::Workspace,
};

/// What to write.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where the image goes: an OCI layout as a tar file, for `ctr --namespace k8s.io images import FILE`, `podman load` and
    /// `docker load`.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The image's full name, such as that in your registry; the chart is told it with `--set image=…`. Without one,
    /// `localhost/scone-operator` with the version as its tag, for nodes into which the image is loaded.
    #[arg(long, value_name = "REFERENCE")]
    name: Option<String>,
    /// Text for people, or one JSON line.
    #[arg(short = 'o', long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Takes programs and modules as they were built last.
    #[arg(long)]
    no_build: bool,
    /// Builds modules in a second folder and writes the image twice; fails when a byte differs.
    #[arg(long)]
    check_reproducible: bool,
}

/// Builds what goes in, writes the image, and says what it is.
pub(crate) fn command(workspace: &Workspace, arguments: &Arguments) -> Result<(), Failure> {
    let output = arguments.output.clone().unwrap_or_else(|| place(workspace));
    if !arguments.no_build {
        let check_reproducible = arguments.check_reproducible;
        let modules = modules::Arguments { check_reproducible, ..modules::Arguments::default() };
        let mut plan =
            Plan::new([modules::steps(&modules), vec!["the operator, with all optimisations".to_owned()]].concat());
        modules::make(workspace, &modules, &mut plan)?;
        plan.next();
        build(workspace)?;
    }
    let (image, size) = write(workspace, arguments, "release", &output)?;
    match arguments.format {
        Format::Text => tell(&image, &output, size),
        Format::Json => progress::result(
            &json!({"image": image.name, "digest": image.digest(), "file": output, "size": size,
                "layers": image.sizes().map(|(name, size)| json!({"name": name, "size": size})).collect::<Vec<_>>()})
            .to_string(),
        ),
    }
    Ok(())
}

/// Where the programs are that have the features of the image, and are not optimised: a folder of its own, since a build of everything puts
/// others in their place.
pub(crate) const SHIPPED: &str = "shipped";

/// The image under its own name, for tests, with the programs in [`SHIPPED`]. Optimising them as well would take many minutes. Gives where
/// it is.
pub(crate) fn for_tests(workspace: &Workspace) -> Result<PathBuf, Failure> {
    let (output, format) = (workspace.target.join("image/scone-operator-for-tests.tar"), Format::Text);
    let arguments = Arguments { output: None, name: None, format, no_build: true, check_reproducible: false };
    write(workspace, &arguments, SHIPPED, &output)?;
    Ok(output)
}

fn place(workspace: &Workspace) -> PathBuf {
    workspace.target.join("image/scone-operator.tar")
}

fn write(
    workspace: &Workspace,
    arguments: &Arguments,
    profile: &str,
    output: &Path,
) -> Result<(Image, usize), Failure> {
    let step = progress::Step::start("writing the image");
    let time = time(env::var("SOURCE_DATE_EPOCH").ok().as_deref())?;
    let name = arguments.name.clone().unwrap_or_else(name);
    let made = || Image::new(&name, labels(), layers(workspace, profile)?, time);
    let image = made()?;
    let archive = image.archive()?;
    if arguments.check_reproducible && made()?.archive()? != archive {
        return Err(Failure::Bad("not reproducible: writing the image twice gave different bytes".to_owned()));
    }
    if let Some(folder) = output.parent() {
        fs::create_dir_all(folder).map_err(|error| Failure::file("create", folder, &error))?;
    }
    fs::write(output, &archive).map_err(|error| Failure::file("write", output, &error))?;
    step.done();
    Ok((image, archive.len()))
}

fn tell(image: &Image, output: &Path, size: usize) {
    progress::result(&format!("{} {}", image.name, image.digest()));
    for (name, size) in image.sizes() {
        progress::result(&format!("  {name}: {} KiB", size.div_ceil(1024)));
    }
    progress::result(&format!("{}: {} KiB", output.display(), size.div_ceil(1024)));
    progress::note(&format!("load or push it, and install with: helm install … --set image={}", image.name));
}

/// The two programs, each by a command of its own: cargo would unite their features, and the compiler would become part of the
/// program that is connected to the cluster.
fn build(workspace: &Workspace) -> Result<(), Failure> {
    for (_, words) in PROGRAMS {
        let arguments = [&["build", "--release", "--locked"], words].concat();
        cargo::build(workspace, "building the programs with all optimisations (minutes, the first time)", &arguments)?;
    }
    Ok(())
}

/// The programs of the image, and what names each to cargo.
const PROGRAMS: [(&str, &[&str]); 2] =
    [("operator-compiler", &["-p", "operator-engine", "--features", "compiler", "--bin", "operator-compiler"]), HOST];
const HOST: (&str, &[&str]) = ("scone-operator", &["-p", "scone-operator", "--bin", "scone-operator"]);

/// The same programs for tests, in [`SHIPPED`]. The compiler is that of the build of everything, which has no other features that matter: the
/// code generator once more would take minutes.
pub(crate) fn shipped(workspace: &Workspace) -> Result<(), Failure> {
    let (host, words) = HOST;
    let arguments = [&["build", "--locked"], words].concat();
    cargo::build(workspace, "building the operator with the features of the image", &arguments)?;
    let folder = workspace.target.join(SHIPPED);
    fs::create_dir_all(&folder).map_err(|error| Failure::file("create", &folder, &error))?;
    for name in [host, "operator-compiler"] {
        let (built, kept) = (workspace.program("debug", name), workspace.program(SHIPPED, name));
        // Under another name first: a program that runs cannot be written to.
        let unfinished = kept.with_extension("unfinished");
        fs::copy(&built, &unfinished)
            .and_then(|_| fs::rename(&unfinished, &kept))
            .map_err(|error| Failure::file("copy to", &kept, &error))?;
    }
    Ok(())
}

fn layers(workspace: &Workspace, profile: &str) -> Result<Vec<Layer>, Failure> {
    let toolchain = Toolchain::find(workspace)?;
    let programs = ["scone-operator", "operator-compiler"].map(|name| workspace.program(profile, name));
    let [base, own] = rootfs::programs(&toolchain, &workspace.target, &programs, &workspace.root.join("LICENSE"))?;
    let names: Vec<_> = workspace.guests()?.iter().filter_map(|path| path.file_name().map(ToOwned::to_owned)).collect();
    let modules = rootfs::modules(&workspace.modules(), &names)?;
    Ok(vec![base, own, modules])
}

/// The image's name where nobody says another one. It is in no registry: it is for nodes into which it is loaded.
fn name() -> String {
    format!("localhost/scone-operator:{}", env!("CARGO_PKG_VERSION"))
}

fn labels() -> Vec<(&'static str, &'static str)> {
    vec![
        ("org.opencontainers.image.title", "scone-operator"),
        ("org.opencontainers.image.description", "Kubernetes operator host that runs sandboxed WebAssembly modules"),
        ("org.opencontainers.image.version", env!("CARGO_PKG_VERSION")),
        ("org.opencontainers.image.licenses", "Apache-2.0"),
    ]
}

/// The time of everything in the image, in Unix seconds: 0, or what reproducible builds agree on.
fn time(epoch: Option<&str>) -> Result<u64, Failure> {
    epoch.filter(|text| !text.is_empty()).map_or(Ok(0), |text| {
        text.parse().map_err(|_| {
            Failure::Bad(format!(
                "SOURCE_DATE_EPOCH={text} is no number of seconds since 1970; unset it, or correct it"
            ))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_is_none_is_named() {
        assert_eq!(time(None).unwrap(), 0);
        assert_eq!(time(Some("1700000000")).unwrap(), 1_700_000_000);
        assert!(time(Some("yesterday")).unwrap_err().to_string().contains("SOURCE_DATE_EPOCH=yesterday"));
    }

    #[test]
    fn the_chart_and_the_image_have_the_workspaces_version() {
        let workspace = Workspace::find().unwrap();
        let chart = fs::read_to_string(workspace.root.join("deploy/chart/scone-operator/Chart.yaml")).unwrap();
        let version = env!("CARGO_PKG_VERSION");
        assert!(chart.contains(&format!("\nversion: {version}\nappVersion: {version}\n")), "{chart}");
        let readme = fs::read_to_string(workspace.root.join("README.md")).unwrap();
        assert!(
            readme.contains(&format!("--set image={}\n", name())),
            "the README installs what `cargo xtask image` makes"
        );
    }
}
