//! Public keys of signers, in the forms that are published: `Base58Check`, or a `SubjectPublicKeyInfo` in PEM or base64.

use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

/// A signer's public key.
#[derive(Debug, PartialEq)]
pub(crate) enum Key {
    /// Ed25519.
    Ed25519([u8; 32]),
    /// A point on P-384, as SEC1 writes it.
    P384(Vec<u8>),
    /// A key whose kind cannot be told by its length.
    Other,
}

/// What stands before the key in the DER of a `SubjectPublicKeyInfo`; the rest of it is fixed for each of the two.
const ED25519_INFO: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const P384_INFO: [u8; 23] = [
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00,
    0x22, 0x03, 0x62, 0x00,
];
/// A P-384 key in `Base58Check` has some 140 characters; decoding costs the square of the length.
const LONGEST: usize = 256;

/// Reads a key. The error says what to do about it.
pub(crate) fn key(text: &str) -> Result<Key, &'static str> {
    let text = text.trim();
    if let Some(body) = text.strip_prefix("-----BEGIN PUBLIC KEY-----") {
        let body: String = body.split("-----").next().unwrap_or_default().split_whitespace().collect();
        let der = STANDARD.decode(body).map_err(|_| "is PEM, and its content is no base64: copy it again")?;
        return info(&der).ok_or("is a public key of another kind: CAS takes Ed25519 and P-384");
    }
    if let Some(key) = STANDARD.decode(text).ok().as_deref().and_then(info) {
        return Ok(key);
    }
    let Some(bytes) = (text.len() <= LONGEST).then(|| base58(text)).flatten() else {
        return Err(
            "is no public key: write the one that the CLI prints (Base58Check), or a SubjectPublicKeyInfo in PEM or base64",
        );
    };
    match bytes.split_last_chunk::<4>() {
        Some((payload, sum)) if !payload.is_empty() && checksum(payload) == *sum => Ok(bare(payload)),
        _ => Err("has a wrong checksum: a character was lost or changed on its way; copy it again"),
    }
}

fn info(der: &[u8]) -> Option<Key> {
    if let Some(key) = der.strip_prefix(ED25519_INFO.as_slice()) {
        return key.try_into().ok().map(Key::Ed25519);
    }
    let point = der.strip_prefix(P384_INFO.as_slice())?;
    (point.len() == 97).then(|| Key::P384(point.to_vec()))
}

fn bare(payload: &[u8]) -> Key {
    if let Ok(key) = payload.try_into() {
        return Key::Ed25519(key);
    }
    match (payload.len(), payload.first()) {
        (97, Some(4)) | (49, Some(2 | 3)) => Key::P384(payload.to_vec()),
        _ => info(payload).unwrap_or(Key::Other),
    }
}

fn checksum(payload: &[u8]) -> [u8; 4] {
    Sha256::digest(Sha256::digest(payload)).first_chunk().copied().unwrap_or_default()
}

/// Base58 with the alphabet of Bitcoin, the only one that `Base58Check` has.
fn base58(text: &str) -> Option<Vec<u8>> {
    const ALPHABET: &str = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    // The number, its least byte first.
    let mut bytes: Vec<u8> = Vec::new();
    for letter in text.chars() {
        let mut carry = ALPHABET.find(letter)?;
        for byte in &mut bytes {
            carry += usize::from(*byte) * 58;
            *byte = u8::try_from(carry & 0xff).ok()?;
            carry >>= 8;
        }
        while carry > 0 {
            bytes.push(u8::try_from(carry & 0xff).ok()?);
            carry >>= 8;
        }
    }
    let zeros = text.chars().take_while(|letter| *letter == '1').count();
    Some([vec![0; zeros], bytes.into_iter().rev().collect()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The other direction, for tests: what `Base58Check` makes of a key.
    fn encode(payload: &[u8]) -> String {
        const ALPHABET: &[u8] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
        let mut number = [payload, &checksum(payload)].concat();
        let mut digits = Vec::new();
        while number.iter().any(|byte| *byte > 0) {
            let mut rest = 0_usize;
            for byte in &mut number {
                rest = rest * 256 + usize::from(*byte);
                *byte = u8::try_from(rest / 58).unwrap();
                rest %= 58;
            }
            digits.push(ALPHABET[rest] as char);
        }
        let zeros = payload.iter().take_while(|byte| **byte == 0).count();
        "1".repeat(zeros) + &digits.into_iter().rev().collect::<String>()
    }

    #[test]
    fn a_known_address_of_bitcoin_is_base58check() {
        // The address of the first block, as published with Bitcoin.
        assert_eq!(key("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"), Ok(Key::Other));
    }

    #[test]
    fn a_key_in_base58check_is_told_by_its_length() {
        assert_eq!(key(&encode(&[7; 32])), Ok(Key::Ed25519([7; 32])));
        assert_eq!(key(&encode(&[0; 32])), Ok(Key::Ed25519([0; 32])));
        let point = [vec![4], vec![9; 96]].concat();
        assert_eq!(key(&encode(&point)), Ok(Key::P384(point)));
        assert_eq!(key(&encode(&[ED25519_INFO.as_slice(), &[7; 32]].concat())), Ok(Key::Ed25519([7; 32])));
    }

    #[test]
    fn a_changed_character_is_seen_by_the_checksum() {
        let good = encode(&[7; 32]);
        let bad = if good.ends_with('2') { good.replace('2', "3") } else { format!("{}2", &good[..good.len() - 1]) };
        assert!(key(&bad).unwrap_err().contains("checksum"), "{bad}");
    }

    #[test]
    fn a_public_key_info_is_read_in_pem_and_in_base64() {
        let der = STANDARD.encode([ED25519_INFO.as_slice(), &[7; 32]].concat());
        assert_eq!(key(&der), Ok(Key::Ed25519([7; 32])));
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n");
        assert_eq!(key(&pem), Ok(Key::Ed25519([7; 32])));
        let point = [vec![4], vec![9; 96]].concat();
        let der = STANDARD.encode([P384_INFO.as_slice(), &point].concat());
        assert_eq!(key(&der), Ok(Key::P384(point)));
    }

    #[test]
    fn what_is_no_key_is_refused_with_what_to_write() {
        for bad in
            ["", "not a key", "0OIl", &"z".repeat(300), "-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----"]
        {
            assert!(key(bad).is_err(), "{bad}");
        }
        let other = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----";
        assert!(key(other).unwrap_err().contains("Ed25519 and P-384"));
    }
}
