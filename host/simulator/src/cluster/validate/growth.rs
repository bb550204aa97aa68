//! Whether a claim may grow, which its storage class decides.

use operator_core::ObjectRef;
use serde_json::Value;

use crate::cluster::{Refused, quantity, refused::refused};

/// Why a claim that would grow may not.
pub(crate) fn refusal(identity: &ObjectRef, claim: &Value, old: &Value, classes: &[Value]) -> Option<Refused> {
    let size = |claim: &Value| quantity::parse(claim.pointer("/spec/resources/requests/storage")?);
    let bound = old.pointer("/status/phase").and_then(Value::as_str) == Some("Bound");
    let name = claim.pointer("/spec/storageClassName");
    let class = classes.iter().find(|class| class.pointer("/metadata/name") == name);
    let expands = class.and_then(|class| class.get("allowVolumeExpansion")) == Some(&Value::Bool(true));
    (bound && size(claim) > size(old) && !expands).then(|| {
        let message = format!(
            "persistentvolumeclaims {:?} is forbidden: only dynamically provisioned pvc can be resized and the \
             storageclass that provisions the pvc must support resize",
            identity.name
        );
        refused(403, "Forbidden", message)
    })
}
