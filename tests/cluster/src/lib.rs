//! A real Kubernetes on this machine, as ordinary processes, without Docker.
//!
//! [`ApiRing`] is etcd, an API server and a controller manager on loopback, with keys and data of its own: enough for custom
//! resources, server-side apply, webhooks, RBAC, leases, events and finalizers. Nodes are API objects, and pods stay pending
//! unless a test plays kubelet. It needs no root.
//!
//! [`NodeRing`] has a scheduler, containerd, kubelet and kube-proxy as well, in namespaces of its own: pods run, probes probe, Services
//! lead to pods, charts can be installed. It needs root; [`obstacle`] says why there can be none on a machine.
//!
//! Everything ends with the process that made it, also by kill -9.

mod api;
mod audit;
pub mod ending;
mod exec;
mod forward;
pub mod go;
mod image;
mod keys;
mod kubeconfig;
mod node;
mod process;
mod proxy;
pub mod stage;
mod standin;
pub mod tools;

pub use api::ApiRing;
pub use forward::Forward;
pub use image::Image;
pub use kubeconfig::{Identity, client_of as client};
pub use node::{NodeRing, inside, missing_packages, obstacle};
pub use process::{end_with_parent, logging};
pub use proxy::{Decide, Fate, Proxy};

/// Why there is no cluster. Each text ends with what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no place for built programs.
    #[error("there is no folder for built programs; set HOME or SCONE_OPERATOR_CACHE")]
    NoHome,
    /// There is no Go.
    #[error(
        "{tool} has to be built, and there is no Go ({why}); install 1.26 or newer (https://go.dev/dl), or set KUBEBUILDER_ASSETS to \
         a folder with etcd and kube-apiserver"
    )]
    NoGo {
        /// What has to be built.
        tool: &'static str,
        /// Why none was brought.
        why: String,
    },
    /// A variable asks for a version that has no Go module here.
    #[error("{name} is {asked}, and there are {known}; unset it for the usual version")]
    NoSuchVersion {
        /// The variable.
        name: &'static str,
        /// What it says.
        asked: String,
        /// What it may say.
        known: String,
    },
    /// This machine cannot have a node.
    #[error("{why}")]
    Obstacle {
        /// Why, and what to do.
        why: String,
    },
    /// containerd does not take an image.
    #[error("the node does not take the image: {0}")]
    Image(String),
    /// A program does not build.
    #[error("{tool} does not build:\n{said}")]
    NotBuilt {
        /// Which program.
        tool: &'static str,
        /// What Go said.
        said: String,
    },
    /// A file, folder or process cannot be used.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// Keys cannot be made.
    #[error("keys cannot be made: {why}")]
    Keys {
        /// What went wrong.
        why: String,
    },
    /// A program ended.
    #[error("{program} ended; it said last:\n{log}")]
    Ended {
        /// Which program.
        program: String,
        /// The end of its log.
        log: String,
    },
    /// It does not become ready.
    #[error("{what} is not ready after {seconds} s; it said last:\n{log}")]
    NotReady {
        /// What.
        what: &'static str,
        /// How long it was waited for.
        seconds: u64,
        /// The end of its log.
        log: String,
    },
    /// No client can be made.
    #[error("there is no client: {0}")]
    Client(String),
}

impl Error {
    /// Whether a program ended because another one has its port.
    pub(crate) fn is_about_a_taken_port(&self) -> bool {
        matches!(self, Self::Ended { log, .. } if log.contains("address already in use"))
    }

    /// A file or folder that cannot be used.
    pub(crate) fn io(path: &std::path::Path, source: std::io::Error) -> Self {
        Self::Io { what: format!("{} cannot be used", path.display()), source }
    }
}
