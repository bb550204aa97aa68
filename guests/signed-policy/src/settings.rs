//! What an administrator of the operator sets for this module.

use operator_guest::Cause;
use scone_api::upload::SIGNED_SESSIONS;
use serde::{Deserialize, de::IgnoredAny};

/// The settings. Those of all SCONE kinds are accepted; none of them matters here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PolicySettings {
    /// The path that signed policies are sent to.
    #[serde(default = "published")]
    pub(crate) upload_path: String,
    #[serde(default, rename = "namespace")]
    _namespace: IgnoredAny,
    #[serde(default, rename = "registry")]
    _registry: IgnoredAny,
    #[serde(default, rename = "version")]
    _version: IgnoredAny,
}

fn published() -> String {
    SIGNED_SESSIONS.to_owned()
}

impl PolicySettings {
    pub(crate) fn check(&self) -> Result<(), Vec<Cause>> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.' | b'~');
        if self.upload_path.starts_with('/') && self.upload_path.bytes().all(fits) {
            return Ok(());
        }
        Err(vec![Cause::invalid("uploadPath", "must be a path on CAS, such as /v1/signed_sessions")])
    }
}
