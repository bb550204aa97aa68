//! Makes certificates, and reads when they are valid.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use time::OffsetDateTime;

/// The name of each authority. All have the same: verifiers tell them apart by their keys.
const AUTHORITY: &str = "scone-operator webhooks";
/// Clocks that differ by so much must not matter.
const SKEW: Duration = Duration::from_hours(1);

/// A certificate and its key, in PEM.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// Printed without the key.
impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair").field("validity", &validity(&self.certificate)).finish_non_exhaustive()
    }
}

/// An authority that is valid from now on.
pub(crate) fn authority(now: i64, validity: Duration) -> Result<Pair, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = authority_params();
    lasting(&mut params, now, validity);
    let certificate = params.self_signed(&key)?.pem();
    Ok(Pair { certificate, key: key.serialize_pem() })
}

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, AUTHORITY);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// A server's certificate for these names and addresses.
pub(crate) fn leaf(authority: &Pair, names: &[String], now: i64, validity: Duration) -> Result<Pair, rcgen::Error> {
    let issuer = Issuer::new(authority_params(), KeyPair::from_pem(&authority.key)?);
    let mut params = CertificateParams::default();
    for name in names {
        params.subject_alt_names.push(match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(name.as_str().try_into()?),
        });
    }
    // The common name is for people, and has at most 64 characters.
    params.distinguished_name.push(DnType::CommonName, "webhooks");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    lasting(&mut params, now, validity);
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?.pem();
    Ok(Pair { certificate, key: key.serialize_pem() })
}

fn lasting(params: &mut CertificateParams, now: i64, validity: Duration) {
    let skew = SKEW.min(validity / 10);
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    let at = |seconds: i64| OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    params.not_before = at(now.saturating_sub(seconds(skew)));
    params.not_after = at(now.saturating_add(seconds(validity)));
}

/// From when to when the first certificate of a PEM text is valid, in Unix seconds; none when it cannot be read.
pub(crate) fn validity(pem: &str) -> Option<(i64, i64)> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    // Certificate ::= SEQUENCE { tbsCertificate SEQUENCE { [0] version?, serial, algorithm, issuer, validity, .. }, .. }
    let (_, certificate, _) = element(&der)?;
    let (_, mut rest, _) = element(certificate)?;
    if rest.first() == Some(&0xa0) {
        rest = element(rest)?.2;
    }
    for _ in 0..3 {
        rest = element(rest)?.2;
    }
    let (_, validity, _) = element(rest)?;
    let (kind, from, rest) = element(validity)?;
    let from = moment(kind, from)?;
    let (kind, until, _) = element(rest)?;
    Some((from, moment(kind, until)?))
}

/// The first element of DER: its tag, its content, and what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = if length < 0x80 {
        (usize::from(length), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
        if bytes.len() > 4 {
            return None;
        }
        (bytes.iter().fold(0, |length, byte| (length << 8) | usize::from(*byte)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `UTCTime` (years 1950 to 2049 in two digits) or `GeneralizedTime`, both in UTC, as certificates have it.
fn moment(kind: u8, text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let digits = if kind == 0x17 { 2 } else { 4 };
    let (year, rest) = text.split_at_checked(digits)?;
    let year: i32 = year.parse().ok()?;
    let year = match (kind, year) {
        (0x17, 50..) => 1900 + year,
        (0x17, _) => 2000 + year,
        _ => year,
    };
    let part = |at: usize| rest.get(at..at + 2)?.parse::<u8>().ok();
    let month = time::Month::try_from(part(0)?).ok()?;
    let date = time::Date::from_calendar_date(year, month, part(2)?).ok()?;
    Some(date.with_hms(part(4)?, part(6)?, part(8)?).ok()?.assume_utc().unix_timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_says_when_it_is_valid() {
        let authority = authority(1_700_000_000, Duration::from_secs(100_000)).unwrap();
        assert_eq!(validity(&authority.certificate), Some((1_700_000_000 - 3600, 1_700_100_000)));
        let leaf = leaf(&authority, &["a.b.svc".into()], 1_700_000_000, Duration::from_secs(100)).unwrap();
        assert_eq!(validity(&leaf.certificate), Some((1_700_000_000 - 10, 1_700_000_100)));
    }

    #[test]
    fn years_beyond_2049_are_read_too() {
        let authority = authority(2_600_000_000, Duration::from_secs(1000)).unwrap();
        assert_eq!(validity(&authority.certificate), Some((2_599_999_900, 2_600_001_000)));
    }

    #[test]
    fn what_is_no_certificate_has_no_validity() {
        for text in ["", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"] {
            assert_eq!(validity(text), None);
        }
    }

    #[test]
    fn a_pair_is_printed_without_its_key() {
        let authority = authority(1_700_000_000, Duration::from_secs(1000)).unwrap();
        assert!(!format!("{authority:?}").contains("PRIVATE"));
    }
}
