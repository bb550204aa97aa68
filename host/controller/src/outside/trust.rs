//! Which server is believed: the host's public roots, one authority, or exactly one certificate.

use std::sync::{Arc, OnceLock};

use operator_core::QueryFailure;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use sha2::{Digest, Sha256};

/// Says whether a server's certificate is good enough.
pub(super) type Verifier = Arc<dyn ServerCertVerifier>;

/// The certificate that a server showed, trusted or not: its SHA-256 in hexadecimal digits.
pub(super) type Shown = Arc<OnceLock<String>>;

/// The public roots of the host.
pub(super) fn system() -> Result<Verifier, QueryFailure> {
    let verifier = rustls_platform_verifier::Verifier::new(provider());
    let verifier = verifier.map_err(|error| QueryFailure::Failed(format!("the host has no public roots: {error}")))?;
    Ok(Arc::new(verifier))
}

/// Whoever one of these authorities vouches for. `place` says where the PEM text is. What is wrong with it is said in fixed words: the
/// readers of PEM quote the lines that they cannot read, and a key that was mistaken for a certificate must not end in a condition.
pub(super) fn authority(pem: &[u8], place: &str) -> Result<Verifier, QueryFailure> {
    let wrong = || {
        QueryFailure::Failed(format!("{place} holds no certificate of an authority; put its certificate there, in PEM"))
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.map_err(|_| wrong())?).map_err(|_| wrong())?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
    Ok(verifier.map_err(|_| wrong())?)
}

/// Only the server with exactly this certificate, whatever name and dates it says.
pub(super) fn pinned(digest: &str) -> Result<Verifier, QueryFailure> {
    if digest.len() != 64 || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(QueryFailure::Failed("a pinned certificate is 64 hexadecimal digits: its SHA-256".to_owned()));
    }
    let algorithms = provider().signature_verification_algorithms;
    Ok(Arc::new(Pinned { digest: digest.to_ascii_lowercase(), algorithms }))
}

/// A connection to servers that `verifier` believes; keeps what they show.
pub(super) fn configuration(verifier: Verifier, shown: Shown) -> Result<ClientConfig, QueryFailure> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| QueryFailure::Failed(error.to_string()))?;
    // "Dangerous" is any verifier of one's own; this one asks another, and only remembers.
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(Watched { verifier, shown }));
    Ok(builder.with_no_client_auth())
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(ring::default_provider())))
}

fn sha256(certificate: &CertificateDer<'_>) -> String {
    hex::encode(Sha256::digest(certificate))
}

/// Keeps what a server shows before it is judged.
#[derive(Debug)]
struct Watched {
    verifier: Verifier,
    shown: Shown,
}

impl ServerCertVerifier for Watched {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.shown.get_or_init(|| sha256(end_entity));
        self.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        self.verifier.root_hint_subjects()
    }
}

#[derive(Debug)]
struct Pinned {
    digest: String,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if sha256(end_entity) == self.digest {
            return Ok(ServerCertVerified::assertion());
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    // That the server holds the key of the certificate is shown by these signatures: without them a pin is worth nothing.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
