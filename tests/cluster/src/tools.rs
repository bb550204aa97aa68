//! Kubernetes' programs: found where `KUBEBUILDER_ASSETS` says, or built once from pinned Go modules and kept.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::Error;

/// A program of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tool {
    /// Its name as a file.
    pub name: &'static str,
    /// The folder under `tools/` with its Go module.
    module: &'static str,
    /// What to build.
    package: &'static str,
    version: &'static str,
}

const KUBERNETES: &str = "v1.34.4";

/// The API server's store.
pub const ETCD: Tool = Tool { name: "etcd", module: "etcd", package: "go.etcd.io/etcd/server/v3", version: "v3.6.16" };
/// The API server.
pub const KUBE_APISERVER: Tool = kubernetes("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver");
/// Garbage collection, namespaces, service accounts, workloads.
pub const KUBE_CONTROLLER_MANAGER: Tool =
    kubernetes("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager");
/// The command line.
pub const KUBECTL: Tool = kubernetes("kubectl", "k8s.io/kubernetes/cmd/kubectl");

/// What the api ring needs.
pub const API_RING: [Tool; 3] = [ETCD, KUBE_APISERVER, KUBE_CONTROLLER_MANAGER];

const fn kubernetes(name: &'static str, package: &'static str) -> Tool {
    Tool { name, module: "kubernetes", package, version: KUBERNETES }
}

impl Tool {
    /// Where the program is, or none when it has to be built first.
    pub fn find(&self) -> Option<PathBuf> {
        let given = std::env::var_os("KUBEBUILDER_ASSETS").map(|folder| PathBuf::from(folder).join(self.name));
        given.into_iter().chain(self.place().ok()).find(|path| path.is_file())
    }

    /// Where the program is; builds it when it is nowhere. `tell` hears what takes a while.
    ///
    /// # Errors
    /// When there is no Go, or the build fails.
    pub fn ensure(&self, tell: &mut dyn FnMut(&str)) -> Result<PathBuf, Error> {
        if let Some(found) = self.find() {
            return Ok(found);
        }
        let place = self.place()?;
        let folder = place.parent().unwrap_or(Path::new(".")).to_owned();
        let broken = |source| Error::Io { what: format!("{} cannot be used", folder.display()), source };
        fs::create_dir_all(&folder).map_err(broken)?;
        tell(&format!("building {} {} from source (minutes, the first time)", self.name, self.version));
        let unfinished = folder.join(format!(".{}.{}", self.name, std::process::id()));
        let flags = format!(
            "-s -w -X k8s.io/component-base/version.gitVersion={KUBERNETES} -X k8s.io/component-base/version.gitMajor=1 \
             -X k8s.io/component-base/version.gitMinor=34"
        );
        let output = Command::new("go")
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tools").join(self.module))
            .args(["build", "-trimpath", "-buildvcs=false", "-ldflags", &flags, "-o"])
            .arg(&unfinished)
            .arg(self.package)
            .env("CGO_ENABLED", "0")
            .env("GOFLAGS", "-mod=readonly")
            .output()
            .map_err(|_| Error::NoGo { tool: self.name })?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Error::NotBuilt { tool: self.name, said });
        }
        // Complete before it has its name: an interrupted build leaves nothing that looks like a program.
        fs::rename(&unfinished, &place).map_err(broken)?;
        Ok(place)
    }

    fn place(&self) -> Result<PathBuf, Error> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let cache = set("SCONE_OPERATOR_CACHE")
            .or_else(|| Some(set("XDG_CACHE_HOME")?.join("scone-operator")))
            .or_else(|| Some(set("HOME")?.join(".cache/scone-operator")))
            .ok_or(Error::NoHome)?;
        Ok(cache.join("tools").join(format!("{}-{}", self.module, self.version)).join(self.name))
    }
}
