//! What is refused before it is stored. The policy is never changed: there is nothing to default.

use base64::{Engine, engine::general_purpose::STANDARD};
use kube::ResourceExt;
use operator_guest::{Cause, Request, Verdict};
use scone_api::{encrypted_policy::EncryptedPolicy, policy_text, upload};

use crate::{KIND, SESSION};

/// Judges a policy.
pub(crate) fn judge(request: &Request<EncryptedPolicy>) -> Verdict {
    let Some(policy) = &request.object else { return Verdict::accept() };
    let mut causes = causes(policy);
    causes.extend(request.old_object.as_ref().and_then(|old| unencrypted(old, policy)));
    let warnings = upload::warnings(&policy.spec.cas_address);
    let odd_key = (policy.spec.encryption_key.len() != 64)
        .then_some("spec.encryptionKey: the keys that CAS is known to print have 64 hexadecimal digits");
    warnings.into_iter().chain(odd_key).fold(Verdict::invalid(causes), Verdict::warn)
}

/// Everything that is wrong with its shape. Values stay out of the messages.
pub(crate) fn causes(policy: &EncryptedPolicy) -> Vec<Cause> {
    let spec = &policy.spec;
    let mut causes = upload::causes(KIND, policy, &spec.cas_address);
    if policy.annotations().get(SESSION).is_some_and(|name| !policy_text::is_name(name)) {
        let message = "is no name of a session: letters, digits, - . _ ~ and / between parts, at most 512";
        causes.push(Cause::invalid(format!("metadata.annotations[{SESSION}]"), message));
    }
    // CAS has read what it took.
    if upload::is_registered(policy) {
        return causes;
    }
    if spec.policy.is_empty() || STANDARD.decode(&spec.policy).is_err() {
        let message =
            "must be base64 without spaces or line breaks: write encrypted_session as scone session encrypt prints it";
        causes.push(Cause::invalid("spec.policy", message));
    }
    let is_hex = spec.encryption_key.bytes().all(|byte| byte.is_ascii_hexdigit());
    if spec.encryption_key.is_empty() || !spec.encryption_key.len().is_multiple_of(2) || !is_hex {
        let message = "must be hexadecimal digits: write encryption_key as scone session encrypt prints it";
        causes.push(Cause::invalid("spec.encryptionKey", message));
    }
    causes
}

/// Another key for what was encrypted before: no CAS could read it.
fn unencrypted(old: &EncryptedPolicy, new: &EncryptedPolicy) -> Option<Cause> {
    let (old, new) = (&old.spec, &new.spec);
    (old.policy == new.policy && old.encryption_key != new.encryption_key).then(|| {
        let message =
            "must not change alone: spec.policy is encrypted for the key before; encrypt it again and apply both";
        Cause::forbidden("spec.encryptionKey", message)
    })
}
