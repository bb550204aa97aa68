//! Certificates and keys of one cluster; made anew for each.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};

use crate::Error;

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// An authority.
pub(crate) struct Authority {
    pub(crate) certificate: String,
    pub(crate) key: String,
    issuer: Issuer<'static, KeyPair>,
}

fn broken(error: rcgen::Error) -> Error {
    Error::Keys { why: error.to_string() }
}

/// Clocks that differ a little must not matter.
fn lasting(params: &mut CertificateParams) {
    let now = time::OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = (now - time::Duration::hours(1), now + time::Duration::days(30));
}

/// The number of `DnType::OrganizationName`.
const ORGANISATION: [u64; 4] = [2, 5, 4, 10];

impl Authority {
    pub(crate) fn new(name: &str) -> Result<Self, Error> {
        let key = KeyPair::generate().map_err(broken)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        lasting(&mut params);
        let certificate = params.self_signed(&key).map_err(broken)?.pem();
        let text = key.serialize_pem();
        Ok(Self { certificate, key: text, issuer: Issuer::new(params, key) })
    }

    /// A server's certificate for these names and addresses.
    pub(crate) fn server(&self, names: &[&str]) -> Result<Pair, Error> {
        let mut params = CertificateParams::default();
        for name in names {
            params.subject_alt_names.push(match name.parse() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName((*name).try_into().map_err(broken)?),
            });
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params, names.first().copied().unwrap_or_default())
    }

    /// A client's certificate: user and at most two groups, as the API server reads them.
    pub(crate) fn client(&self, user: &str, groups: &[&str]) -> Result<Pair, Error> {
        let mut params = CertificateParams::default();
        // Groups are organisations, and a name holds each type once: the second one has its type by number.
        let types = [DnType::OrganizationName, DnType::CustomDnType(ORGANISATION.to_vec())];
        if groups.len() > types.len() {
            return Err(Error::Keys { why: format!("{user} has more than {} groups", types.len()) });
        }
        for (type_, group) in types.into_iter().zip(groups) {
            params.distinguished_name.push(type_, *group);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params, user)
    }

    fn sign(&self, mut params: CertificateParams, name: &str) -> Result<Pair, Error> {
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        lasting(&mut params);
        let key = KeyPair::generate().map_err(broken)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(broken)?.pem();
        Ok(Pair { certificate, key: key.serialize_pem() })
    }
}
