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

/// Items of a list that has no bound of its own: more than anybody lists by hand, and few enough for a call.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) const MOST_ITEMS: i64 = 256;

/// A duration as Go writes it: `24h0m0s`, `60s`, `1.5h`. Not nothing and not negative.
pub(crate) const DURATION: &str = r"^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$";
/// A label key, or nothing for the default.
pub(crate) const LABEL_KEY: &str =
    "^(([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$";

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

/// What may not be changed of a volume with data on it. `name` is that of its claim template.
pub(crate) fn volume(name: &str) -> Value {
    let made_anew = format!(
        "cannot be changed, since a volume keeps it: to move the data, restore it into another CAS; without data to keep, delete \
         the CAS and its claim {name}-NAME-0, and create it again"
    );
    let was_off = "(has(oldSelf.enabled) && !oldSelf.enabled)";
    let kept = |field: &str| {
        format!("{was_off} || !has(oldSelf.{field}) || !has(self.{field}) || self.{field} == oldSelf.{field}")
    };
    let grows = format!(
        "{was_off} || !has(oldSelf.size) || !has(self.size) || !isQuantity(string(self.size)) || \
         !isQuantity(string(oldSelf.size)) || \
         quantity(string(self.size)).compareTo(quantity(string(oldSelf.size))) >= 0"
    );
    let mut rules = vec![
        rule(&kept("storageClass"), &format!("storageClass {made_anew}")),
        rule(&kept("accessModes"), &format!("accessModes {made_anew}")),
        rule(&grows, "size cannot shrink: volumes only grow; leave it as it was, or make it larger"),
    ];
    if name == "database" {
        let stays = format!("{was_off} || !has(self.enabled) || self.enabled");
        rules.push(rule(&stays, DATABASE_STAYS));
    }
    Value::Array(rules)
}

/// Why a database does not become ephemeral.
pub(crate) const DATABASE_STAYS: &str = "persistence cannot be switched off: CAS would start with an empty database; for a CAS \
                                         without a volume create another one";

/// What may not be changed of a CAS beyond its parts.
pub(crate) fn cas() -> Value {
    let kept = "has(oldSelf.persistence) || !has(self.persistence) || !has(self.persistence.enabled) || self.persistence.enabled";
    json!([rule(kept, DATABASE_STAYS)])
}

/// A backup controller needs the policy under which it runs.
pub(crate) fn backup_controller() -> Value {
    let needs = "!has(self.enabled) || !self.enabled || (has(self.session) && self.session != '')";
    json!([rule(
        needs,
        "session must be set when the backup controller is enabled, such as cas-owner/primary-backup/upgrade"
    )])
}

/// A budget that its Deployment can keep.
pub(crate) fn safety_service() -> Value {
    let fits =
        "(has(self.minReplicas) ? self.minReplicas : 2) <= (has(self.desiredReplicas) ? self.desiredReplicas : 3)";
    json!([rule(fits, "minReplicas is more than desiredReplicas (3 unless given); lower it, or raise desiredReplicas")])
}

/// A PCCS is somewhere.
pub(crate) fn pccs() -> Value {
    json!([rule(
        "!self.enabled || (has(self.address) && self.address != '')",
        "address must be set when enabled: write the URL of the PCCS, such as https://pccs.example.com:8081"
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
