//! How the API server is reached.

pub(crate) mod manners;

use std::time::Duration;

use kube::{
    Client, Config,
    client::ClientBuilder,
    config::{KubeConfigOptions, KubeconfigError},
};

use self::manners::Manners;
use crate::failure::Failure;

/// One answer of the API server may take so long; watches apart.
pub(crate) const ANSWER: Duration = Duration::from_secs(30);
/// A connection for watches that is silent for so much longer than a watch lasts is dead.
const SILENCE: Duration = Duration::from_secs(10);
/// A command in a container may print nothing for as long as a module may ask it to run, and a little longer.
const COMMAND: Duration = Duration::from_secs(70);

/// What talks to the API server. Nothing repeats requests by itself: kube would for minutes, the lease's included.
pub(crate) struct Clients {
    /// For watches, which may be silent for long.
    pub(crate) watching: Client,
    /// For commands in containers, which may be silent for a while.
    pub(crate) commands: Client,
    /// For everything else, which may not.
    pub(crate) usual: Client,
    /// For the lease alone: it waits for nobody's turn, and its writes are what opens the fence.
    pub(crate) lease: Client,
    /// Where the API server is.
    pub(crate) server: String,
    /// The same as host and port.
    pub(crate) address: Option<(String, u16)>,
}

impl Clients {
    /// Finds the cluster; nothing is asked of it yet. The server ends a watch after so many seconds.
    pub(crate) async fn new(watch_seconds: u32, manners: &Manners) -> Result<Self, Failure> {
        let mut config = configuration().await?;
        let server = config.cluster_url.to_string();
        let usual = if config.cluster_url.scheme_str() == Some("http") { 80 } else { 443 };
        let host = config.cluster_url.host().map(|host| host.trim_matches(['[', ']']).to_owned());
        let address = host.map(|host| (host, config.cluster_url.port_u16().unwrap_or(usual)));
        let wrong = |error: kube::Error| {
            Failure::Cluster(format!("{server} cannot be used as it is configured: {error}; correct the kubeconfig"))
        };
        config.default_retry = false;
        config.connect_timeout = Some(Duration::from_secs(10));
        config.write_timeout = Some(ANSWER);
        let client = |silence: Duration| {
            let mut config = config.clone();
            config.read_timeout = Some(silence);
            ClientBuilder::try_from(config).map_err(wrong)
        };
        let mannerly = |silence| Ok::<_, Failure>(client(silence)?.with_layer(manners).build());
        Ok(Self {
            // A watch that the server lets run to its end is never silent for so long; one that never began is.
            watching: mannerly(Duration::from_secs(watch_seconds.into()) + SILENCE)?,
            commands: mannerly(COMMAND)?,
            usual: mannerly(ANSWER)?,
            lease: client(ANSWER)?.build(),
            server: server.clone(),
            address,
        })
    }
}

/// From a kubeconfig, or else from the pod around us. One that is named has to be good: another cluster is not meant.
async fn configuration() -> Result<Config, Failure> {
    let named = std::env::var("KUBECONFIG").ok().filter(|paths| !paths.is_empty());
    let from_file = Config::from_kubeconfig(&KubeConfigOptions::default()).await;
    let why = match (from_file, &named) {
        (Ok(config), _) => return Ok(config),
        (Err(error), Some(paths)) => format!("KUBECONFIG={paths}: {}", told(&error)),
        (Err(error), None) => match Config::incluster() {
            Ok(config) => return Ok(config),
            Err(pod) => format!("{}, and this is no pod with a service account ({pod})", told(&error)),
        },
    };
    Err(Failure::Cluster(format!(
        "no cluster is configured: {why}; set KUBECONFIG to a good kubeconfig, or run in a pod with a service account"
    )))
}

/// What is wrong with a kubeconfig, without its content, which may be secret.
fn told(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::Parse(_) => "it is no kubeconfig: its YAML cannot be read".to_owned(),
        other => other.to_string(),
    }
}
