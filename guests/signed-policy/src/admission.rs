//! What is refused before it is stored. The policy and its signatures are never changed: there is nothing to default.

use operator_guest::{Cause, Request, Verdict};
use scone_api::{
    policy_text::{self, Head},
    signed_policy::SignedPolicy,
    upload,
};

use crate::{KIND, signature};

/// Judges a policy.
pub(crate) fn judge(request: &Request<SignedPolicy>) -> Verdict {
    let Some(policy) = &request.object else { return Verdict::accept() };
    let head = Head::of(&policy.spec.policy);
    let mut causes = causes(policy, &head);
    if causes.is_empty() {
        causes.extend(signature::verification(policy).fault());
    }
    causes.extend(request.old_object.as_ref().and_then(|old| unsigned(old, policy)));
    let warnings = upload::warnings(&policy.spec.cas_address).map(str::to_owned);
    let long = head
        .name
        .is_some_and(|name| name.len() > policy_text::OLD_LONGEST_NAME)
        .then(|| "spec.policy: its name has more than 128 characters, which CAS takes from version 5.9".to_owned());
    warnings.into_iter().chain(long).fold(Verdict::invalid(causes), Verdict::warn)
}

/// Everything that is wrong with its shape.
pub(crate) fn causes(policy: &SignedPolicy, head: &Head) -> Vec<Cause> {
    let spec = &policy.spec;
    let mut causes = upload::causes(KIND, policy, &spec.cas_address);
    causes.extend(signature::message_fault(policy));
    causes.extend(name(head));
    if head.predecessor.as_deref().is_some_and(|hash| !is_hash(hash)) {
        let message =
            "its predecessor is no hash: write the 64 hexadecimal digits that CAS tells, or ~, and sign it again";
        causes.push(Cause::invalid("spec.policy", message));
    }
    if spec.signatures.is_empty() {
        causes.push(Cause::required("spec.signatures", "needs at least one: sign the policy with scone session sign"));
    }
    causes.extend(spec.signatures.iter().enumerate().flat_map(|(at, signed)| signature::faults(at, signed)));
    let repeated = spec.signatures.iter().enumerate().filter(|(at, signed)| {
        spec.signatures.iter().take(*at).any(|earlier| earlier.signer.trim() == signed.signer.trim())
    });
    causes.extend(repeated.map(|(at, _)| {
        Cause::duplicate(format!("spec.signatures[{at}].signer"), "has signed already; one signature each is enough")
    }));
    causes
}

/// The published length of a hash: 32 bytes.
fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn name(head: &Head) -> Option<Cause> {
    let message = match head.name.as_deref() {
        None => "has no name at its top level: write the policy to the letter as it was signed",
        Some(name) if !policy_text::is_name(name) => {
            "has a name that CAS does not take: letters, digits, - . _ ~ and / between parts, at most 512, and sign it again"
        }
        Some(_) => return None,
    };
    Some(Cause::invalid("spec.policy", message))
}

/// A changed policy under the old signatures: they cannot fit both.
fn unsigned(old: &SignedPolicy, new: &SignedPolicy) -> Option<Cause> {
    let kept = new.spec.signatures.iter().any(|signed| old.spec.signatures.contains(signed));
    (old.spec.policy != new.spec.policy && kept).then(|| {
        let message =
            "must change with spec.policy: a signature of the policy before does not fit; sign it again and apply both";
        Cause::forbidden("spec.signatures", message)
    })
}
