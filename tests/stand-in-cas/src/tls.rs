//! The certificates of the stand-in, and those that clients show.

use std::sync::Arc;

use rcgen::{CertificateParams, DnType, KeyPair, SanType};
use rustls::{
    DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime},
    server::{
        ClientHello, ResolvesServerCert,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};
use sha2::{Digest, Sha256};

use crate::{Error, server::Shared};

/// A certificate that nobody but its holder has signed.
pub(crate) struct Identity {
    pub(crate) pem: String,
    /// SHA-256 of the DER, in lower-case hex.
    pub(crate) sha256: String,
    key: Arc<CertifiedKey>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.sha256)
    }
}

impl Identity {
    /// For a server of these names and addresses.
    pub(crate) fn new(names: &[String]) -> Result<Self, Error> {
        let broken = |why: String| Error::Certificate { names: names.join(", "), why };
        let key = KeyPair::generate().map_err(|error| broken(error.to_string()))?;
        let mut params = CertificateParams::default();
        for name in names {
            params.subject_alt_names.push(match name.parse() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => {
                    SanType::DnsName(name.as_str().try_into().map_err(|error: rcgen::Error| broken(error.to_string()))?)
                }
            });
        }
        params.distinguished_name.push(DnType::CommonName, "stand-in for CAS");
        let now = time::OffsetDateTime::now_utc();
        (params.not_before, params.not_after) = (now - time::Duration::hours(1), now + time::Duration::days(365));
        let certificate = params.self_signed(&key).map_err(|error| broken(error.to_string()))?;
        let der = certificate.der().clone();
        let secret = PrivateKeyDer::try_from(key.serialize_der()).map_err(|why| broken(why.to_owned()))?;
        let signer = ring::sign::any_supported_type(&secret).map_err(|error| broken(error.to_string()))?;
        Ok(Self {
            pem: certificate.pem(),
            sha256: hex::encode(Sha256::digest(&der)),
            key: Arc::new(CertifiedKey::new(vec![der], signer)),
        })
    }
}

/// The configuration of the server: its certificate is chosen for each connection, and clients may show one.
pub(crate) fn config(shared: Arc<Shared>) -> Result<Arc<ServerConfig>, Error> {
    let provider = Arc::new(ring::default_provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let config = config.map_err(|error| Error::Certificate { names: String::new(), why: error.to_string() })?;
    let config =
        config.with_client_cert_verifier(Arc::new(AnyClient(provider))).with_cert_resolver(Arc::new(Chosen(shared)));
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct Chosen(Arc<Shared>);

impl ResolvesServerCert for Chosen {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.identity().key))
    }
}

/// Takes any certificate, or none: who a client is, its certificate tells, and nobody has to vouch for it.
#[derive(Debug)]
struct AnyClient(Arc<CryptoProvider>);

impl ClientCertVerifier for AnyClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
