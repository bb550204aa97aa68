//! Sessions, and who may do what with them.

use std::{collections::BTreeSet, sync::Mutex};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::{names, policy::Policy};

/// Where the stand-in takes signed sessions. Not published for CAS.
pub const SIGNED_SESSIONS: &str = "/v1/signed_sessions";

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Nobody in particular.
    Anonymous,
    /// Whoever holds a client certificate with this SHA-256.
    Certificate(String),
    /// These signers.
    Signers(BTreeSet<String>),
    /// Whoever can encrypt for this CAS.
    Encrypter,
}

/// One version of a session.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) hash: String,
    pub(crate) predecessor: Option<String>,
    creator: Who,
}

/// Why something is not done.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// It is no such thing.
    #[error("{0}")]
    Malformed(String),
    /// Nobody of that name is there.
    #[error("{0}")]
    Missing(String),
    /// Not to whoever asks.
    #[error("{0}")]
    Forbidden(String),
    /// Another version is there.
    #[error("{0}")]
    Conflict(String),
}

impl Refusal {
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::Forbidden(_) => 403,
            Self::Missing(_) => 404,
            Self::Conflict(_) => 409,
        }
    }
}

/// What `PUT` of a signed session sends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    session: String,
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    signer: String,
    signature: String,
}

/// What `PUT` of an encrypted session sends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Encrypted {
    encrypted_session: String,
    encryption_key: String,
}

/// All versions in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Store(Mutex<Vec<Version>>);

impl Store {
    fn locked(&self) -> std::sync::MutexGuard<'_, Vec<Version>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// How many versions there are.
    pub(crate) fn len(&self) -> usize {
        self.locked().len()
    }

    /// Forgets all versions but the first so many.
    pub(crate) fn roll_back(&self, keep: usize) {
        self.locked().truncate(keep);
    }

    /// A session, at its latest version or at the one with this hash.
    pub(crate) fn read(&self, name: &str, hash: Option<&str>, who: &Who) -> Result<Version, Refusal> {
        let versions = self.locked();
        let mut found = versions.iter().rev().filter(|version| version.name == name);
        let current = found.clone().next().ok_or_else(|| Refusal::Missing(format!("there is no session {name}")))?;
        let allowed = current.creator == *who || Policy::read(&current.text)?.allows_any("read");
        if !allowed {
            return Err(Refusal::Forbidden(format!("session {name} is not for everybody to read")));
        }
        let wanted = found.find(|version| hash.is_none_or(|hash| version.hash == hash));
        wanted.cloned().ok_or_else(|| Refusal::Missing(format!("session {name} never had that hash")))
    }

    /// The values of a session that everybody may read.
    pub(crate) fn values(&self, name: &str) -> Result<serde_json::Value, Refusal> {
        let versions = self.locked();
        let current = versions.iter().rev().find(|version| version.name == name);
        let current = current.ok_or_else(|| Refusal::Missing(format!("there is no session {name}")))?;
        Ok(Policy::read(&current.text)?.public_values())
    }

    /// Takes a policy in clear.
    pub(crate) fn upload(&self, text: &str, who: Who) -> Result<Version, Refusal> {
        let policy = Policy::read(text)?;
        if !names::is_name(&policy.name) {
            return Err(Refusal::Malformed("the name is none".to_owned()));
        }
        let hash = hash(text);
        let mut versions = self.locked();
        if let Some(namespace) = names::namespace(&policy.name)
            && !versions.iter().any(|version| version.name == namespace)
        {
            return Err(Refusal::Missing(format!("there is no session {namespace} to lie in")));
        }
        let current = versions.iter().rev().find(|version| version.name == policy.name);
        match (current, &policy.predecessor) {
            (None, None) => {}
            (None, Some(_)) => return Err(Refusal::Conflict("there is nothing to replace".to_owned())),
            (Some(_), None) => return Err(Refusal::Conflict("a session of that name is there".to_owned())),
            (Some(current), Some(predecessor)) if current.hash != *predecessor => {
                return Err(Refusal::Conflict("the predecessor is not the current version".to_owned()));
            }
            (Some(current), Some(_)) => {
                let allowed = current.creator == who || Policy::read(&current.text)?.allows_any("update");
                if !allowed {
                    return Err(Refusal::Forbidden("only its creator may update the session".to_owned()));
                }
            }
        }
        let version =
            Version { name: policy.name, text: text.to_owned(), hash, predecessor: policy.predecessor, creator: who };
        versions.push(version.clone());
        Ok(version)
    }

    /// Takes what the CLI signs. The signatures are not verified: what is signed is not public.
    pub(crate) fn upload_signed(&self, body: &[u8]) -> Result<Version, Refusal> {
        let signed: Signed = read(body)?;
        if signed.signatures.is_empty()
            || signed.signatures.iter().any(|signed| hex::decode(&signed.signature).is_err())
        {
            return Err(Refusal::Malformed("a signature is missing or no hex".to_owned()));
        }
        let signers = signed.signatures.into_iter().map(|signed| signed.signer).collect();
        self.upload(&signed.session, Who::Signers(signers))
    }

    /// Takes what [`encrypt`] makes.
    pub(crate) fn upload_encrypted(&self, body: &[u8], key: &str) -> Result<Version, Refusal> {
        let encrypted: Encrypted = read(body)?;
        if encrypted.encryption_key != key {
            return Err(Refusal::Malformed("it is encrypted for another CAS".to_owned()));
        }
        let text = STANDARD.decode(encrypted.encrypted_session).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let text = text.ok_or_else(|| Refusal::Malformed("it cannot be decrypted".to_owned()))?;
        self.upload(&text, Who::Encrypter)
    }
}

fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::Malformed(format!("the body cannot be read: {error}")))
}

/// The hash of a session. That of CAS is not public; the stand-in takes SHA-256 of the text.
pub(crate) fn hash(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

/// What the stand-in takes for the ciphertext of a policy: its base64. Nothing is encrypted.
pub fn encrypt(policy: &str) -> String {
    STANDARD.encode(policy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signers(names: &[&str]) -> Who {
        Who::Signers(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn a_session_is_created_once_and_updated_with_its_hash() {
        let store = Store::default();
        let first = store.upload("name: a\n", signers(&["x"])).unwrap();
        assert_eq!(first.hash, hash("name: a\n"));
        assert_eq!(store.upload("name: a\nversion: 2\n", signers(&["x"])).unwrap_err().status(), 409);
        let second = format!("name: a\npredecessor: {}\n", first.hash);
        assert_eq!(store.upload(&second, signers(&["x"])).unwrap().predecessor, Some(first.hash));
        assert_eq!(store.upload(&second, signers(&["x"])).unwrap_err().status(), 409, "nothing comes twice");
    }

    #[test]
    fn only_its_creator_updates_a_session_unless_it_says_otherwise() {
        let store = Store::default();
        for (text, status) in [("name: a\n", Some(403)), ("name: b\naccess_policy: {update: [ANY]}\n", None)] {
            let first = store.upload(text, signers(&["x"])).unwrap();
            let update = format!("name: {}\npredecessor: {}\n", first.name, first.hash);
            assert_eq!(store.upload(&update, signers(&["y"])).err().map(|refusal| refusal.status()), status);
        }
    }

    #[test]
    fn a_session_lies_in_one_that_is_there() {
        let store = Store::default();
        assert_eq!(store.upload("name: a/b\n", Who::Anonymous).unwrap_err().status(), 404);
        store.upload("name: a\n", Who::Anonymous).unwrap();
        assert!(store.upload("name: a/b\n", Who::Anonymous).is_ok());
    }

    #[test]
    fn a_session_is_read_by_whom_it_allows_and_at_any_of_its_versions() {
        let store = Store::default();
        let open = "name: a\naccess_policy: {read: [ANY], update: [ANY]}\n";
        let first = store.upload(open, signers(&["x"])).unwrap();
        store.upload(&format!("{open}predecessor: {}\n", first.hash), Who::Anonymous).unwrap();
        assert_eq!(store.read("a", Some(&first.hash), &Who::Anonymous).unwrap().text, open);
        assert_ne!(store.read("a", None, &Who::Anonymous).unwrap().hash, first.hash);
        assert_eq!(store.read("a", Some("00"), &Who::Anonymous).unwrap_err().status(), 404);
        store.upload("name: secret\n", signers(&["x"])).unwrap();
        assert_eq!(store.read("secret", None, &Who::Anonymous).unwrap_err().status(), 403);
        assert!(store.read("secret", None, &signers(&["x"])).is_ok());
    }

    #[test]
    fn only_what_is_exported_is_public() {
        let store = Store::default();
        let text = "name: a\nsecrets:\n- {name: open, kind: ascii, value: x, export_public: true}\n- {name: kept, kind: ascii, value: y}\n";
        store.upload(text, Who::Anonymous).unwrap();
        assert_eq!(store.values("a").unwrap(), serde_json::json!({"open": {"value": "x"}}));
    }

    #[test]
    fn what_is_encrypted_for_another_is_refused() {
        let store = Store::default();
        let body = |key: &str| {
            serde_json::to_vec(&serde_json::json!({"encrypted_session": encrypt("name: a\n"), "encryption_key": key}))
                .unwrap()
        };
        assert_eq!(store.upload_encrypted(&body("00"), "ff").unwrap_err().status(), 400);
        assert_eq!(store.upload_encrypted(&body("ff"), "ff").unwrap().name, "a");
    }

    #[test]
    fn what_is_rolled_back_is_forgotten() {
        let store = Store::default();
        store.upload("name: a\n", Who::Anonymous).unwrap();
        store.upload("name: b\n", Who::Anonymous).unwrap();
        store.roll_back(1);
        assert_eq!(store.len(), 1);
        assert!(store.read("b", None, &Who::Anonymous).is_err());
    }
}
