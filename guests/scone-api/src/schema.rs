//! What CRDs say about fields beyond their type, so that the API server refuses the same as the webhooks, also while no
//! operator runs. Rules are in the Common Expression Language; of lists, only what its cost limit lets through.

use serde_json::{Value, json};

/// The characters of an image. Its grammar is checked on admission, with a message that says what to write.
pub(crate) const IMAGE: &str = "^([A-Za-z0-9][A-Za-z0-9._/:@-]*)?$";
/// A DNS label, or nothing for the default.
pub(crate) const NAMESPACE: &str = "^([a-z0-9]([a-z0-9-]*[a-z0-9])?)?$";
/// A number with the suffixes of Kubernetes.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) const QUANTITY: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";

/// 32 hexadecimal digits or nothing.
pub(crate) fn dcap_key() -> Value {
    let message = "must be 32 hexadecimal digits, as shown by the Intel PCS portal; on Azure write 32 zeros";
    json!([rule("self == '' || self.matches('^[0-9a-fA-F]{32}$')", message)])
}

/// An address with TLS. No pattern: the API server repeats what does not match one, and this may hold a password by mistake.
pub(crate) fn https() -> Value {
    json!([rule(
        "self.startsWith('https://')",
        "must start with https://: write the URL of CAS, such as https://cas.default:8081"
    )])
}

/// The rules of the API server for tolerations of pods.
pub(crate) fn tolerations() -> Value {
    let exists = "has(t.operator) && t.operator == 'Exists'";
    json!([
        rule(
            "self.all(t, !has(t.operator) || t.operator in ['', 'Exists', 'Equal'])",
            "an operator is none of Exists, Equal",
        ),
        rule(
            "self.all(t, !has(t.effect) || t.effect in ['', 'NoSchedule', 'PreferNoSchedule', 'NoExecute'])",
            "an effect is none of NoSchedule, PreferNoSchedule, NoExecute; leave it out for all of them",
        ),
        rule(
            &format!("self.all(t, !({exists}) || !has(t.value) || t.value == '')"),
            "a value must be empty with operator Exists; remove it or write Equal",
        ),
        rule(
            &format!("self.all(t, ({exists}) || (has(t.key) && t.key != ''))"),
            "a key is needed with operator Equal; write Exists to tolerate every taint",
        ),
        rule(
            "self.all(t, !has(t.tolerationSeconds) || (has(t.effect) && t.effect == 'NoExecute'))",
            "an effect must be NoExecute when tolerationSeconds is set",
        ),
    ])
}

fn rule(rule: &str, message: &str) -> Value {
    json!({"rule": rule, "message": message})
}
