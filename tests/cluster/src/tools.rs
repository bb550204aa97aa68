//! Kubernetes' programs: found where `KUBEBUILDER_ASSETS` says, or built once from pinned Go modules and kept.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};

use crate::{Error, go};

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
/// Without these, programs and clients see a version of zero.
const FLAGS: &str = "-s -w -X k8s.io/component-base/version.gitVersion=v1.34.4 -X k8s.io/component-base/version.gitMajor=1 -X \
                     k8s.io/component-base/version.gitMinor=34";

/// The API server's store.
pub const ETCD: Tool = Tool { name: "etcd", module: "etcd", package: "go.etcd.io/etcd/server/v3", version: "v3.6.16" };
/// The API server.
pub const KUBE_APISERVER: Tool = kubernetes("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver");
/// Garbage collection, namespaces, service accounts, workloads.
pub const KUBE_CONTROLLER_MANAGER: Tool =
    kubernetes("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager");
/// Gives pods their node.
pub const KUBE_SCHEDULER: Tool = kubernetes("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler");
/// Services.
pub const KUBE_PROXY: Tool = kubernetes("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy");
/// Runs pods.
pub const KUBELET: Tool = kubernetes("kubelet", "k8s.io/kubernetes/cmd/kubelet");
/// The command line.
pub const KUBECTL: Tool = kubernetes("kubectl", "k8s.io/kubernetes/cmd/kubectl");
/// Installs charts.
pub const HELM: Tool = Tool { name: "helm", module: "helm", package: "helm.sh/helm/v4/cmd/helm", version: "v4.3.1" };
/// Our own: waits and reaps.
pub const PAUSE: Tool = own("pause");
/// Our own: gives images to containerd.
pub const REGISTRY: Tool = own("registry");
/// Our own: stands in for SCONE's images.
pub const STANDIN: Tool = own("standin");

/// What the api ring needs, and what tests in it use.
pub const API_RING: [Tool; 4] = [ETCD, KUBE_APISERVER, KUBE_CONTROLLER_MANAGER, HELM];
/// What the node ring needs, and what tests on it use.
pub const NODE_RING: [Tool; 11] = [
    ETCD,
    KUBE_APISERVER,
    KUBE_CONTROLLER_MANAGER,
    KUBE_SCHEDULER,
    KUBE_PROXY,
    KUBELET,
    KUBECTL,
    HELM,
    PAUSE,
    REGISTRY,
    STANDIN,
];

/// The version of programs whose source is here.
const OWN: &str = "own";

const fn kubernetes(name: &'static str, package: &'static str) -> Tool {
    Tool { name, module: "kubernetes", package, version: KUBERNETES }
}

const fn own(name: &'static str) -> Tool {
    Tool { name, module: name, package: ".", version: OWN }
}

/// Whether this is one of the programs whose source is here: when it does not build, somebody has broken it.
pub fn is_own(name: &str) -> bool {
    NODE_RING.iter().any(|tool| tool.name == name && tool.version == OWN)
}

impl Tool {
    /// Where the program is; builds it when it is nowhere, or was built from something else. `tell` hears what takes a while.
    ///
    /// # Errors
    /// When there is no Go, or the build fails.
    pub fn ensure(&self, tell: &mut dyn FnMut(&str)) -> Result<PathBuf, Error> {
        let given = std::env::var_os("KUBEBUILDER_ASSETS").map(|folder| PathBuf::from(folder).join(self.name));
        if let Some(given) = given.filter(|path| path.is_file()) {
            return Ok(given);
        }
        let place = self.place()?;
        let origin = place.with_file_name(format!(".{}.origin", self.name));
        let go = match go::find(tell) {
            Ok(go) => go,
            // What was built elsewhere and brought here is good enough.
            Err(_) if place.is_file() => return Ok(place),
            Err(why) => return Err(Error::NoGo { tool: self.name, why }),
        };
        let wanted = self.origin(&go)?;
        let is_built = || place.is_file() && fs::read_to_string(&origin).is_ok_and(|built| built == wanted);
        if is_built() {
            return Ok(place);
        }
        let _alone = self.lock(&place, tell)?;
        if !is_built() {
            let started = Instant::now();
            self.build(&go, &place, tell)?;
            fs::write(&origin, &wanted).map_err(|source| Error::io(&origin, source))?;
            tell(&format!("built {} {} in {} s", self.name, self.version, started.elapsed().as_secs()));
        }
        Ok(place)
    }

    /// The right to build it: two processes that build the same would each take twice the time. It ends with the file.
    fn lock(&self, place: &Path, tell: &mut dyn FnMut(&str)) -> Result<fs::File, Error> {
        let path = place.with_file_name(format!(".{}.lock", self.name));
        let broken = |source| Error::io(&path, source);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).map_err(broken)?;
        let file = fs::File::create(&path).map_err(broken)?;
        if file.try_lock().is_err() {
            tell(&format!("waiting for another process that builds {} {}", self.name, self.version));
            file.lock().map_err(broken)?;
        }
        Ok(file)
    }

    fn build(&self, go: &go::Go, place: &Path, tell: &mut dyn FnMut(&str)) -> Result<(), Error> {
        let folder = place.parent().unwrap_or(Path::new("."));
        let broken = |source| Error::Io { what: format!("{} cannot be used", folder.display()), source };
        tell(&format!("building {} {} from source (minutes, the first time)", self.name, self.version));
        let unfinished = folder.join(format!(".{}.{}", self.name, std::process::id()));
        let mut command = Command::new(&go.program);
        command
            .current_dir(self.sources())
            .args(["build", "-trimpath", "-buildvcs=false", "-ldflags", FLAGS, "-o"])
            .arg(&unfinished)
            .arg(self.package)
            .env("CGO_ENABLED", "0")
            .env("GOFLAGS", "-mod=readonly")
            .stdin(Stdio::null());
        let (send, ended) = mpsc::channel();
        std::thread::spawn(move || send.send(command.output()));
        let started = Instant::now();
        let output = loop {
            match ended.recv_timeout(Duration::from_secs(30)) {
                Ok(output) => break output.map_err(broken)?,
                Err(RecvTimeoutError::Timeout) => {
                    tell(&format!("still building {} ({} s)", self.name, started.elapsed().as_secs()));
                }
                Err(RecvTimeoutError::Disconnected) => return Err(broken(std::io::ErrorKind::BrokenPipe.into())),
            }
        };
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Error::NotBuilt { tool: self.name, said });
        }
        // Complete before it has its name: an interrupted build leaves nothing that looks like a program.
        fs::rename(&unfinished, place).map_err(broken)
    }

    fn sources(&self) -> PathBuf {
        test_support::find().unwrap_or_default().join("tests/cluster/tools").join(self.module)
    }

    /// What a build of it is made from: Go, flags, and all files of its module.
    fn origin(&self, go: &go::Go) -> Result<String, Error> {
        let folder = self.sources();
        let broken = |source| Error::Io { what: format!("{} cannot be read", folder.display()), source };
        let mut files: Vec<PathBuf> =
            fs::read_dir(&folder).map_err(broken)?.filter_map(Result::ok).map(|entry| entry.path()).collect();
        files.sort();
        let mut digest = Sha256::new();
        for path in files {
            digest.update(fs::read(path).map_err(broken)?);
        }
        let digest = hex::encode(digest.finalize());
        Ok(format!("{}\n{} {}\n{FLAGS}\n{digest}\n", go.version, self.package, self.version))
    }

    fn place(&self) -> Result<PathBuf, Error> {
        Ok(cache()?.join("tools").join(format!("{}-{}", self.module, self.version)).join(self.name))
    }
}

/// What outlives a checkout.
///
/// # Errors
/// When no variable says where.
pub fn cache() -> Result<PathBuf, Error> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("SCONE_OPERATOR_CACHE")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("scone-operator")))
        .or_else(|| Some(set("HOME")?.join(".cache/scone-operator")))
        .ok_or(Error::NoHome)
}
