//! What can be set from outside: flags, each with its environment variable.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Runs modules against a Kubernetes cluster.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 stopped when asked to, 1 a background task ended and the process has to be started again, \
                  2 wrong usage or configuration, 3 the cluster cannot be used."
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs the operator until it gets SIGTERM.
    Run(Box<Run>),
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people on a terminal.
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

/// How the operator runs.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Folder of modules: NAME.wasm, and their settings in NAME.json beside them. It is looked at every two seconds: a changed
    /// file is swapped in, and a bad one leaves the version before it serving.
    #[arg(long, env = "SCONE_OPERATOR_MODULES", default_value = "/modules")]
    pub(crate) modules: PathBuf,
    /// The operator's own namespace: its lease, and the default place of what modules make. Without one, that of the kubeconfig's
    /// context or of the pod.
    #[arg(long, env = "SCONE_OPERATOR_NAMESPACE")]
    pub(crate) namespace: Option<String>,
    /// Folder for compiled modules; without one, each start compiles anew. It must be private to this user.
    #[arg(long, env = "SCONE_OPERATOR_CACHE")]
    pub(crate) cache: Option<PathBuf>,
    /// Where metrics are served, under /metrics.
    #[arg(long, default_value = "0.0.0.0:8080")]
    pub(crate) metrics_bind_address: SocketAddr,
    /// Where /healthz, /livez and /readyz are served.
    #[arg(long, default_value = "0.0.0.0:8081")]
    pub(crate) health_probe_bind_address: SocketAddr,
    /// Writes only while this replica holds the lease; needed with more than one replica.
    #[arg(long)]
    pub(crate) leader_elect: bool,
    /// The lease's name.
    #[arg(long, default_value = "61d57791.scone.cloud")]
    pub(crate) lease_name: String,
    /// This replica's name in the lease: that of its pod, or else of its host and process.
    #[arg(long, env = "POD_NAME")]
    pub(crate) identity: Option<String>,
    /// What is logged, such as `info` or `info,operator_controller=debug`.
    #[arg(long, env = "RUST_LOG", default_value = "info")]
    pub(crate) log: String,
    /// How log lines are written.
    #[arg(long, value_enum, default_value_t = LogFormat::Json)]
    pub(crate) log_format: LogFormat,
}
