//! What can be set from outside: flags, each with its environment variable.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

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
    /// Runs the operator until it gets SIGTERM. Of a flag that is given twice, the last one counts.
    #[command(args_override_self = true)]
    Run(Box<Run>),
    /// Takes the webhooks back before the operator is removed: both configurations, conversions that lead to it, and the certificates
    /// that it made. Without this, nothing that it guards could be changed any more.
    UninstallWebhooks(Uninstall),
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
    /// Folder of modules: NAME.wasm or NAME.wasm.gz, and their settings in NAME.json. It is looked at every two seconds: a changed
    /// file is swapped in, and a bad one leaves the version before it serving. Given more than once (in the variable: with colons),
    /// the last folder that has a file counts, for packages and settings each.
    #[arg(
        long,
        env = "SCONE_OPERATOR_MODULES",
        default_value = "/modules",
        value_delimiter = ':',
        value_name = "FOLDER"
    )]
    pub(crate) modules: Vec<PathBuf>,
    /// What modules may do, at most: JSON as `modctl grants` writes it, or the name of a file that holds it. A module that it names may do what it says there; one that
    /// it does not name, what that module asks for as it is shipped with the operator, and nothing if it is not shipped. A module that asks
    /// for more is refused. `as-asked` allows whatever modules ask for: for authors, on clusters of their own.
    #[arg(long, env = "SCONE_OPERATOR_GRANTS", value_name = "FILE|JSON|as-asked")]
    pub(crate) grants: Option<String>,
    /// The operator's own namespace: its lease, and the default place of what modules make. Without one, that of the kubeconfig's
    /// context or of the pod.
    #[arg(long, env = "SCONE_OPERATOR_NAMESPACE")]
    pub(crate) namespace: Option<String>,
    /// Folder for compiled modules; without one, each start compiles anew. It must be private to this user.
    #[arg(long, env = "SCONE_OPERATOR_CACHE")]
    pub(crate) cache: Option<PathBuf>,
    /// Where metrics are served, under /metrics.
    #[arg(long, value_parser = address, default_value = "0.0.0.0:8080")]
    pub(crate) metrics_bind_address: SocketAddr,
    /// Where /healthz, /livez and /readyz are served.
    #[arg(long, value_parser = address, default_value = "0.0.0.0:8081")]
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
    /// Requests to the API server a second, over a longer time; 0 for no limit. The server shares itself out among its clients; this
    /// bounds what a fault here could ask of it.
    #[arg(long, default_value_t = 1_000, value_name = "NUMBER")]
    pub(crate) kube_api_qps: u32,
    /// Requests to the API server that may be sent at once after a quiet time.
    #[arg(long, default_value_t = 2_000, value_name = "NUMBER")]
    pub(crate) kube_api_burst: u32,
    /// A server is reached at another address than its name says, such as `cas.prod.svc:8081=127.0.0.1:8081` where kubectl forwards that
    /// port: for an operator outside of the cluster, where names of Services lead nowhere. May be given more than once. Its certificate is
    /// judged by its name as ever.
    #[arg(long, value_name = "HOST:PORT=ADDRESS:PORT", value_parser = detour, action = clap::ArgAction::Append)]
    pub(crate) connect_to: Vec<(String, SocketAddr)>,
    /// A host that may give tokens for registries although it is not on their domain, such as `auth.example.org`: pull secrets are
    /// shown to it when a registry asks for that. May be given more than once.
    #[arg(long, value_name = "HOST", action = clap::ArgAction::Append)]
    pub(crate) token_realm: Vec<String>,
    /// Seconds after which the API server ends a watch, so that it is asked for anew; a connection that died silently is noticed a
    /// little later. For tests.
    #[arg(long, hide = true, default_value_t = 90)]
    pub(crate) watch_seconds: u32,
    #[command(flatten)]
    pub(crate) webhooks: Webhooks,
    #[command(flatten)]
    pub(crate) logging: Logging,
}

/// What is taken back.
#[derive(Debug, Args)]
pub(crate) struct Uninstall {
    /// The operator's own namespace. Without one, that of the kubeconfig's context or of the pod.
    #[arg(long, env = "SCONE_OPERATOR_NAMESPACE")]
    pub(crate) namespace: Option<String>,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) logging: Logging,
}

/// What is logged, and how.
#[derive(Debug, Args)]
pub(crate) struct Logging {
    /// What is logged, such as `info` or `info,operator_controller=debug`.
    #[arg(long, env = "RUST_LOG", default_value = "info", value_parser = filter)]
    pub(crate) log: String,
    /// How log lines are written.
    #[arg(long, value_enum, default_value_t = LogFormat::Json)]
    pub(crate) log_format: LogFormat,
}

/// `host:port`; `:port` is every address of the machine, as flags of controllers in Go have it.
fn address(text: &str) -> Result<SocketAddr, String> {
    let full = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_owned() };
    full.parse().map_err(|_| "write an address and a port, such as 0.0.0.0:8080 or :8080".to_owned())
}

/// `host:port=address:port`.
fn detour(text: &str) -> Result<(String, SocketAddr), String> {
    let parts = text.split_once('=').filter(|(server, _)| server.contains(':'));
    let parsed = parts.and_then(|(server, address)| Some((server.to_owned(), address.parse().ok()?)));
    parsed.ok_or_else(|| "write a server and an address, such as cas.prod.svc:8081=127.0.0.1:8081".to_owned())
}

/// A filter of log lines, as it is when it makes sense.
fn filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| format!("{error}, in {text:?}"))
}

/// Whether something is there at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    /// It is.
    On,
    /// It is not.
    Off,
}

/// Where the API server finds the webhooks.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The service in the operator's namespace that leads to the webhooks, on port 443.
    #[arg(long, env = "SCONE_OPERATOR_WEBHOOK_SERVICE", default_value = "scone-webhook-service")]
    pub(crate) webhook_service: String,
    /// The URL that leads to the webhooks, such as `https://10.0.0.1:9443`, instead of a service: for API servers that see none.
    #[arg(long, env = "SCONE_OPERATOR_WEBHOOK_URL")]
    pub(crate) webhook_url: Option<String>,
}

/// How admission and conversion are served.
#[derive(Debug, Args)]
pub(crate) struct Webhooks {
    /// Whether webhooks are served and registered. Without them the operator works, but nobody is told of a bad object when it is
    /// written, and nothing is converted.
    #[arg(long = "webhooks", env = "SCONE_OPERATOR_WEBHOOKS", value_enum, default_value_t = Switch::On)]
    pub(crate) served: Switch,
    /// Where webhooks are served, over HTTPS.
    #[arg(long, value_parser = address, default_value = "0.0.0.0:9443")]
    pub(crate) webhook_bind_address: SocketAddr,
    /// Folder with tls.crt, tls.key and ca.crt, as cert-manager writes and kubelet mounts them. Without one, the operator makes and
    /// rotates its own, in the Secret webhook-server-cert.
    #[arg(long, env = "SCONE_OPERATOR_WEBHOOK_CERT_DIR")]
    pub(crate) webhook_cert_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) place: Place,
    /// Seconds for which webhooks are answered after SIGTERM, while connections move to other replicas. The pod's grace period has to
    /// be ten seconds longer.
    #[arg(long, default_value_t = 10)]
    pub(crate) webhook_drain_seconds: u64,
    /// Lifetimes in seconds of the operator's own certificates: authority, certificate, from a new authority to its use, and from its
    /// use to the end of trust in the old one. For tests.
    #[arg(long, hide = true, value_delimiter = ',')]
    pub(crate) webhook_certificate_seconds: Option<Vec<u64>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_be_a_port_alone() {
        assert_eq!(address(":8080"), Ok("0.0.0.0:8080".parse().unwrap()));
        assert_eq!(address("127.0.0.1:0"), Ok("127.0.0.1:0".parse().unwrap()));
        assert!(address("8080").unwrap_err().contains(":8080"));
    }

    #[test]
    fn a_detour_is_a_server_and_an_address() {
        let (server, address) = detour("cas.prod.svc:8081=127.0.0.1:8081").unwrap();
        assert_eq!((server.as_str(), address.port()), ("cas.prod.svc:8081", 8081));
        for wrong in ["cas.prod.svc:8081", "cas=127.0.0.1:1", "cas:1=localhost", ""] {
            assert!(detour(wrong).unwrap_err().contains("such as"), "{wrong}");
        }
    }
}
