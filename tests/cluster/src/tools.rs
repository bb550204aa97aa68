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

/// Other versions of what the rings run, each with a Go module of its own: the variable and its value, the module that is replaced, the one
/// that replaces it, and the version. The chart's `kubeVersion` is the lowest; README names both.
const OTHERS: [(&str, &str, &str, &str, &str); 3] = [
    (KUBERNETES_VARIABLE, "lowest", "kubernetes", "kubernetes-lowest", "v1.33.13"),
    (KUBERNETES_VARIABLE, "newest", "kubernetes", "kubernetes-newest", "v1.37.2"),
    (HELM_VARIABLE, "3", "helm", "helm3", "v3.22.0"),
];
const KUBERNETES_VARIABLE: &str = "SCONE_OPERATOR_KUBERNETES";
const HELM_VARIABLE: &str = "SCONE_OPERATOR_HELM";
/// What the variables may also say: what runs without them.
const USUAL: [(&str, &str); 1] = [(HELM_VARIABLE, "4")];

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
/// Our own, with controller-runtime: what benchmarks compare the operator with. No ring has it.
pub const TRIO_OPERATOR: Tool = own("trio-operator");

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
    NODE_RING.iter().chain([&TRIO_OPERATOR]).any(|tool| tool.name == name && tool.version == OWN)
}

impl Tool {
    /// Where the program is; builds it when it is nowhere, or was built from something else. `tell` hears what takes a while.
    ///
    /// # Errors
    /// When there is no Go, or the build fails.
    pub fn ensure(&self, tell: &mut dyn FnMut(&str)) -> Result<PathBuf, Error> {
        self.wanted(|name| std::env::var(name).ok())?.ensure_this(tell)
    }

    /// The version of it that the environment asks for.
    fn wanted(self, variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        for name in [KUBERNETES_VARIABLE, HELM_VARIABLE] {
            let Some(asked) = variable(name).filter(|value| !value.is_empty()) else { continue };
            let known = OTHERS.iter().filter(|(of, ..)| *of == name);
            let Some((.., module, replacement, version)) = known.clone().find(|(_, value, ..)| *value == asked) else {
                if USUAL.contains(&(name, asked.as_str())) {
                    continue;
                }
                let words: Vec<&str> = known.map(|(_, value, ..)| *value).collect();
                return Err(Error::NoSuchVersion { name, asked, known: words.join(", ") });
            };
            if self.module == *module {
                // Helm's command has its version in its path.
                let package = if name == HELM_VARIABLE { "helm.sh/helm/v3/cmd/helm" } else { self.package };
                return Ok(Self { module: replacement, version, package, ..self });
            }
        }
        Ok(self)
    }

    fn ensure_this(&self, tell: &mut dyn FnMut(&str)) -> Result<PathBuf, Error> {
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
            .args(["build", "-trimpath", "-buildvcs=false", "-ldflags", &self.flags(), "-o"])
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
        Ok(format!("{}\n{} {}\n{}\n{digest}\n", go.version, self.package, self.version, self.flags()))
    }

    /// Without these, programs of Kubernetes and their clients see a version of zero; to others they mean nothing.
    fn flags(&self) -> String {
        let version = if self.module.starts_with("kubernetes") { self.version } else { KUBERNETES };
        let minor = version.split('.').nth(1).unwrap_or_default();
        let package = "k8s.io/component-base/version";
        format!("-s -w -X {package}.gitVersion={version} -X {package}.gitMajor=1 -X {package}.gitMinor={minor}")
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

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(tool: Tool, name: &str, value: &str) -> Result<Tool, Error> {
        tool.wanted(|variable| (variable == name).then(|| value.to_owned()))
    }

    #[test]
    fn the_environment_chooses_the_version_of_what_it_names_and_of_nothing_else() {
        let lowest = asked(KUBE_APISERVER, KUBERNETES_VARIABLE, "lowest").unwrap();
        assert_eq!((lowest.module, lowest.version), ("kubernetes-lowest", "v1.33.13"));
        assert!(lowest.flags().ends_with("gitMinor=33"), "{}", lowest.flags());
        assert_eq!(asked(ETCD, KUBERNETES_VARIABLE, "lowest").unwrap(), ETCD);
        assert_eq!(asked(HELM, HELM_VARIABLE, "3").unwrap().package, "helm.sh/helm/v3/cmd/helm");
        assert_eq!(asked(HELM, HELM_VARIABLE, "4").unwrap(), HELM);
        assert_eq!(asked(HELM, HELM_VARIABLE, "").unwrap(), HELM);
    }

    #[test]
    fn a_version_that_is_not_there_is_refused_with_those_that_are() {
        let said = asked(KUBE_APISERVER, KUBERNETES_VARIABLE, "v1.20").unwrap_err().to_string();
        assert!(said.contains("v1.20") && said.contains("lowest, newest"), "{said}");
    }

    #[test]
    fn the_lowest_version_is_the_one_that_the_chart_claims() {
        let chart = test_support::checkout().join("deploy/chart/scone-operator/Chart.yaml");
        let (.., lowest) = OTHERS[0];
        let minor = lowest.split('.').nth(1).unwrap();
        let claim = format!("kubeVersion: \">=1.{minor}.0-0\"");
        assert!(fs::read_to_string(&chart).unwrap().contains(&claim), "{} does not say {claim}", chart.display());
    }
}
