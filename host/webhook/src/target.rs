//! Where the API server finds the webhooks.

use serde_json::{Value, json};

/// Where the API server finds the webhooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A service in the operator's namespace, on port 443.
    Service {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A URL without a path, such as `https://127.0.0.1:9443`: for API servers that do not see services.
    Url(String),
}

impl Target {
    /// The `clientConfig` of one path. `bundle` is the base64 of the certificates to trust.
    pub(crate) fn client_config(&self, path: &str, bundle: &str) -> Value {
        match self {
            Self::Service { namespace, name } => json!({
                "service": {"namespace": namespace, "name": name, "path": path, "port": 443}, "caBundle": bundle,
            }),
            Self::Url(base) => json!({"url": format!("{}{path}", base.trim_end_matches('/')), "caBundle": bundle}),
        }
    }

    /// Whether a `clientConfig` leads here, on whatever path.
    pub(crate) fn is(&self, client_config: &Value) -> bool {
        match self {
            Self::Service { namespace, name } => {
                client_config.pointer("/service/namespace").and_then(Value::as_str) == Some(namespace)
                    && client_config.pointer("/service/name").and_then(Value::as_str) == Some(name)
            }
            Self::Url(base) => {
                client_config.get("url").and_then(Value::as_str).is_some_and(|url| url.starts_with(base.as_str()))
            }
        }
    }

    /// The names that the certificate has to carry.
    pub fn names(&self) -> Vec<String> {
        match self {
            Self::Service { namespace, name } => {
                let short = format!("{name}.{namespace}.svc");
                vec![short.clone(), format!("{short}.cluster.local")]
            }
            Self::Url(base) => {
                let host = base.split_once("://").map_or(base.as_str(), |(_, rest)| rest);
                let host = host.split('/').next().unwrap_or_default();
                let host = match host.strip_prefix('[') {
                    Some(rest) => rest.split(']').next().unwrap_or_default(),
                    None => host.split(':').next().unwrap_or_default(),
                };
                vec![host.to_owned()]
            }
        }
    }
}

/// As people write it.
impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Service { namespace, name } => write!(f, "service {namespace}/{name}"),
            Self::Url(base) => f.write_str(base),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_called_by_the_name_that_the_api_server_expects() {
        let target = Target::Service { namespace: "n".into(), name: "s".into() };
        assert_eq!(target.names(), ["s.n.svc", "s.n.svc.cluster.local"]);
        assert!(target.is(&target.client_config("/a", "")));
        assert!(!target.is(&json!({"service": {"namespace": "n", "name": "other"}})));
    }

    #[test]
    fn a_url_is_called_by_its_host() {
        assert_eq!(Target::Url("https://127.0.0.1:9443".into()).names(), ["127.0.0.1"]);
        assert_eq!(Target::Url("https://[::1]:9443/".into()).names(), ["::1"]);
        let config = Target::Url("https://h:1/".into()).client_config("/p", "Yg==");
        assert_eq!(config, json!({"url": "https://h:1/p", "caBundle": "Yg=="}));
    }
}
