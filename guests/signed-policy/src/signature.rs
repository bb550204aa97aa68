//! Signatures: their shape, and whether they fit, as far as that can be known.
//!
//! What the CLI signs is not published ("generate-message-to-be-signed" makes it). So nothing is verified unless an annotation
//! says which message it is; then a signature that does not fit is found before anything is sent.

use ed25519_dalek::VerifyingKey;
use kube::ResourceExt;
use operator_guest::{Cause, Condition};
use p384::ecdsa::signature::Verifier;
use scone_api::{
    problem::Problem,
    signed_policy::{PolicySignature, SignedPolicy},
};

use crate::signer::{Key, key};

/// The annotation that says which message is signed.
pub(crate) const MESSAGE: &str = "cas.scone.cloud/signed-message";
/// Its only value: the bytes of `spec.policy`.
const POLICY: &str = "policy";
/// The condition.
const VERIFIED: &str = "SignaturesVerified";

/// What is wrong with the annotation.
pub(crate) fn message_fault(policy: &SignedPolicy) -> Option<Cause> {
    let said = policy.annotations().get(MESSAGE)?;
    (said != POLICY).then(|| {
        let message = "is none of: policy; leave it out where another message is signed, and CAS alone verifies";
        Cause::not_supported(format!("metadata.annotations[{MESSAGE}]"), message)
    })
}

/// What is wrong with the shape of one signature.
pub(crate) fn faults(at: usize, given: &PolicySignature) -> Vec<Cause> {
    let field = |name: &str| format!("spec.signatures[{at}].{name}");
    let signer = key(&given.signer);
    let signature = bytes(&given.signature, signer.as_ref().unwrap_or(&Key::Other));
    let signer = signer.err().map(|fault| Cause::invalid(field("signer"), fault));
    signer.into_iter().chain(signature.err().map(|fault| Cause::invalid(field("signature"), fault))).collect()
}

/// The bytes of a signature of this key: 64 for Ed25519; for P-384 96, or as many as they are in DER.
fn bytes(text: &str, key: &Key) -> Result<Vec<u8>, &'static str> {
    let bytes = hex::decode(text)
        .map_err(|_| "must be hexadecimal digits, as the CLI prints them, without spaces or line breaks")?;
    match key {
        Key::Ed25519(_) if bytes.len() != 64 => {
            Err("must be 128 hexadecimal digits: a signature with Ed25519 has 64 bytes")
        }
        Key::P384(_) => halves(&bytes)
            .map(|halves| halves.to_vec())
            .ok_or("is no signature with P-384: that has 96 bytes, or is a sequence of two numbers in DER"),
        Key::Other if bytes.len() != 64 && halves(&bytes).is_none() => {
            Err("is neither a signature with Ed25519 (64 bytes) nor with P-384 (96 bytes, or DER)")
        }
        _ => Ok(bytes),
    }
}

/// The two numbers of a signature with P-384, one behind the other.
fn halves(bytes: &[u8]) -> Option<[u8; 96]> {
    if let Ok(halves) = bytes.try_into() {
        return Some(halves);
    }
    let [0x30, length, rest @ ..] = bytes else { return None };
    let (first, rest) = number(rest)?;
    let (second, rest) = number(rest)?;
    let whole = usize::from(*length) + 2 == bytes.len() && rest.is_empty();
    let halves: Vec<u8> = first.into_iter().chain(second).collect();
    halves.try_into().ok().filter(|_| whole)
}

/// One number in DER of at most 48 bytes.
fn number(bytes: &[u8]) -> Option<([u8; 48], &[u8])> {
    let [0x02, length, rest @ ..] = bytes else { return None };
    let (digits, rest) = rest.split_at_checked(usize::from(*length))?;
    // A zero in front keeps a number from looking negative.
    let digits = digits.strip_prefix(&[0]).unwrap_or(digits);
    let mut number = [0; 48];
    let start = number.len().checked_sub(digits.len())?;
    number.get_mut(start..)?.copy_from_slice(digits);
    Some((number, rest))
}

/// What is known of the signatures.
#[derive(Debug, PartialEq)]
pub(crate) enum Verification {
    /// Nobody said what is signed.
    Unasked,
    /// All of them fit.
    Fits,
    /// This one cannot be verified: its key is of no known kind.
    Unable(usize),
    /// This one does not fit.
    Wrong(usize),
}

/// Verifies the signatures, if somebody said what is signed.
pub(crate) fn verification(policy: &SignedPolicy) -> Verification {
    if policy.annotations().get(MESSAGE).map(String::as_str) != Some(POLICY) {
        return Verification::Unasked;
    }
    let message = policy.spec.policy.as_bytes();
    let judged: Vec<_> = policy.spec.signatures.iter().map(|signed| fits(signed, message)).collect();
    let at = |outcome| judged.iter().position(|found| *found == outcome);
    if let Some(wrong) = at(Some(false)) {
        return Verification::Wrong(wrong);
    }
    at(None).map_or(Verification::Fits, Verification::Unable)
}

/// Whether a signature fits; none when that cannot be told.
fn fits(signed: &PolicySignature, message: &[u8]) -> Option<bool> {
    let key = key(&signed.signer).ok()?;
    let signature = bytes(&signed.signature, &key).ok()?;
    Some(match &key {
        Key::Ed25519(key) => ed25519(key, &signature, message).is_some(),
        Key::P384(point) => p384(point, &signature, message).is_some(),
        Key::Other => return None,
    })
}

fn ed25519(key: &[u8; 32], signature: &[u8], message: &[u8]) -> Option<()> {
    let signature = ed25519_dalek::Signature::from_slice(signature).ok()?;
    VerifyingKey::from_bytes(key).ok()?.verify_strict(message, &signature).ok()
}

fn p384(point: &[u8], signature: &[u8], message: &[u8]) -> Option<()> {
    let signature = p384::ecdsa::Signature::from_slice(signature).ok()?;
    p384::ecdsa::VerifyingKey::from_sec1_bytes(point).ok()?.verify(message, &signature).ok()
}

impl Verification {
    /// The field and what is wrong with it, when a signature does not fit.
    pub(crate) fn fault(&self) -> Option<Cause> {
        let Self::Wrong(at) = self else { return None };
        let message = format!(
            "does not fit spec.policy, which the annotation {MESSAGE} says is what was signed: sign it again, or take the annotation \
             away if another message is signed"
        );
        Some(Cause::invalid(format!("spec.signatures[{at}].signature"), message))
    }

    /// The same as a problem.
    pub(crate) fn problem(&self) -> Option<Problem> {
        let fault = self.fault()?;
        Some(Problem::new("SignatureInvalid", format!("{} {}", fault.field, fault.message)))
    }

    /// What is known.
    pub(crate) fn condition(&self) -> Condition {
        match self {
            Self::Unasked => {
                let message = format!(
                    "the format of the message that is signed is not published, so CAS alone verifies; where it is the policy itself, \
                     annotation {MESSAGE}=policy verifies here too"
                );
                Condition::unknown(VERIFIED, "MessageUnknown", message)
            }
            Self::Fits => Condition::true_(VERIFIED, "Verified", "all signatures fit spec.policy"),
            Self::Unable(at) => {
                let message = format!("the key in spec.signatures[{at}].signer is neither of Ed25519 nor of P-384");
                Condition::unknown(VERIFIED, "SignerUnknown", message)
            }
            Self::Wrong(at) => Condition::false_(
                VERIFIED,
                "SignatureInvalid",
                format!("spec.signatures[{at}] does not fit spec.policy"),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_in_der_is_two_numbers() {
        // 3 and 2^383: the second needs a zero in front.
        let mut der = vec![0x30, 54, 0x02, 1, 3, 0x02, 49, 0, 0x80];
        der.extend([0; 47]);
        let both = halves(&der).unwrap();
        assert_eq!((both[47], both[48]), (3, 0x80));
        assert!(halves(&der[..55]).is_none(), "it ends too early");
        der.push(0);
        assert!(halves(&der).is_none(), "something follows");
    }

    #[test]
    fn a_number_that_is_too_long_for_p384_is_none() {
        let der = [vec![0x30, 54, 0x02, 49, 1], vec![0; 48], vec![0x02, 1, 1]].concat();
        assert!(halves(&der).is_none());
    }
}
