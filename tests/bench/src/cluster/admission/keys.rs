//! Keys of the servers that are yardsticks: one certificate that vouches for itself.

use std::{fs, net::SocketAddr, path::Path, sync::Arc};

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tempfile::TempDir;

use crate::Error;

const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// A folder with a certificate for this machine, and its key.
pub(super) struct Folder(TempDir);

impl Folder {
    pub(super) fn new() -> Result<Self, Error> {
        let no_keys = |error| Error::Unexpected(format!("there are no keys: {error}"));
        // As the operator's own.
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(no_keys)?;
        let certificate =
            CertificateParams::new(["127.0.0.1".to_owned()]).and_then(|it| it.self_signed(&key)).map_err(no_keys)?;
        let folder = TempDir::new()?;
        fs::write(folder.path().join(CERTIFICATE), certificate.pem())?;
        fs::write(folder.path().join(KEY), key.serialize_pem())?;
        Ok(Self(folder))
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Who vouches for the certificate: itself.
    pub(super) fn authorities(&self) -> Result<Vec<u8>, Error> {
        Ok(fs::read(self.path().join(CERTIFICATE))?)
    }
}

/// How a server proves who it is, with what lies in a folder.
pub(super) fn server(folder: &Path) -> Result<ServerConfig, Error> {
    let unreadable = |error| Error::Unexpected(format!("a key or certificate is unreadable: {error}"));
    let certificate = CertificateDer::from_pem_file(folder.join(CERTIFICATE)).map_err(unreadable)?;
    let key = PrivateKeyDer::from_pem_file(folder.join(KEY)).map_err(unreadable)?;
    Ok(ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?)
}

/// The URL of a path on a server.
pub(super) fn url(address: SocketAddr, path: &str) -> String {
    format!("https://{address}{path}")
}
