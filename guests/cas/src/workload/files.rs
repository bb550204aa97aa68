//! The files that CAS reads: its configuration, and its owner's when it provisions itself.

use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
};
use scone_api::cas::CASSpec;
use sha2::{Digest, Sha256};

use super::{CLIENT_PORT, ENCLAVE_PORT, Site, part};
use crate::{cli, spec};

/// The key of the configuration.
pub(super) const CAS_TOML: &str = "cas.toml";

/// The configuration of CAS.
pub(super) fn config(site: &Site<'_>, spec: &CASSpec) -> ConfigMap {
    ConfigMap {
        metadata: site.metadata(site.config(), part::CAS),
        data: Some([(CAS_TOML.to_owned(), toml(spec))].into()),
        ..ConfigMap::default()
    }
}

/// The user's configuration, or the one that the other fields of the spec make.
pub(super) fn toml(spec: &CASSpec) -> String {
    if let Some(given) = spec.configuration.as_deref().filter(|text| !text.is_empty()) {
        return given.to_owned();
    }
    format!(
        "[database]\npath = {}\n\n[api]\napi_listen = \"0.0.0.0:{CLIENT_PORT}\"\nenclave_listen = \"0.0.0.0:{ENCLAVE_PORT}\"\n",
        quoted(&format!("{}/cas.db", spec::database_path(spec).trim_end_matches('/')))
    )
}

/// A basic string of TOML: paths are checked on admission, but reconciling must not depend on that.
fn quoted(text: &str) -> String {
    let safe: String = text.chars().filter(|c| !c.is_control() && !matches!(c, '"' | '\\')).collect();
    format!("\"{safe}\"")
}

/// The owner's files, when CAS provisions itself. A Secret, since they hold keys.
pub(super) fn owner(site: &Site<'_>, spec: &CASSpec) -> Option<Secret> {
    let config = spec::owner_config(spec)?;
    let certificate = spec::owner_certificate(spec).map(|text| (cli::OWNER_CERTIFICATE, text));
    let files = [(cli::OWNER_CONFIG, config)].into_iter().chain(certificate);
    Some(Secret {
        metadata: site.metadata(site.owner(), part::CAS),
        type_: Some("Opaque".to_owned()),
        // Not `stringData`: the server never shows it, so it would always look changed.
        data: Some(files.map(|(name, text)| (name.to_owned(), ByteString(text.as_bytes().to_vec()))).collect()),
        ..Secret::default()
    })
}

/// 64 bits of a cryptographic hash of everything that CAS reads at its start: enough to see a change.
pub(super) fn hash(spec: &CASSpec) -> String {
    let mut digest = Sha256::new();
    for text in
        [toml(spec).as_str(), spec::owner_config(spec).unwrap_or(""), spec::owner_certificate(spec).unwrap_or("")]
    {
        // Of one width everywhere: `usize` has another one in a module than in its native tests.
        digest.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        digest.update(text);
    }
    digest.finalize().first_chunk::<8>().map(hex::encode).unwrap_or_default()
}
