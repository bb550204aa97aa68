//! The certificate that is served, changed while connections are open.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::keys::validity;
use crate::Error;

/// The certificate that is served, if there is one. Handshakes before the first fail.
#[derive(Debug, Default)]
pub struct Resolver(ArcSwapOption<CertifiedKey>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}

impl Resolver {
    /// Serves this certificate from the next handshake on, and gives when it ends, in Unix seconds.
    pub(crate) fn serve(&self, place: &str, certificate: &str, key: &str) -> Result<i64, Error> {
        // In fixed words: the readers of PEM quote the lines that they cannot read, and those may be of a key.
        let wrong = |why: &str| Error::Certificate { place: place.to_owned(), why: why.to_owned() };
        let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|_| wrong("tls.crt is no PEM; put a certificate there"))?;
        let (_, ends) = validity(certificate).ok_or_else(|| wrong("tls.crt has no certificate; put one there"))?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|_| wrong("tls.key has no private key; put the certificate's own there"))?;
        let provider = rustls::crypto::ring::default_provider();
        let certified = CertifiedKey::from_der(chain, key, &provider)
            .map_err(|_| wrong("key and certificate do not fit together; put a key and its own certificate there"))?;
        self.0.store(Some(Arc::new(certified)));
        Ok(ends)
    }

    /// Whether there is a certificate.
    pub fn is_loaded(&self) -> bool {
        self.0.load().is_some()
    }

    /// How TLS is spoken: HTTP/1.1, the only thing that API servers speak to webhooks, and no client certificates.
    pub(crate) fn config(self: &Arc<Self>) -> Result<ServerConfig, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}
