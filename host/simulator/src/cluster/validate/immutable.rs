//! What stays as it was when the object was made. A server refuses such a change with the same code as any other mistake, so
//! whoever wants it must make the object again.

use serde_json::{Map, Value};

use super::{Cause, forbidden, invalid, quantity};

/// What a change touches that must not change.
pub(super) fn causes(kind: &str, object: &Value, old: &Value, found: &mut Vec<Cause>) {
    match kind {
        "DaemonSet" | "Deployment" | "ReplicaSet" | "Job" => keep(object, old, &["spec.selector"], found),
        "StatefulSet" => stateful_set(object, old, found),
        "PersistentVolumeClaim" => claim(object, old, found),
        "Service" => service(object, old, found),
        "Pod" => pod(object, old, found),
        "Secret" => {
            // A stored one has a type, unless it was put there as it stands in somebody's file.
            if old.get("type").is_some() {
                keep(object, old, &["type"], found);
            }
            frozen(object, old, found);
        }
        "ConfigMap" => frozen(object, old, found),
        "ControllerRevision" => keep(object, old, &["data"], found),
        "RoleBinding" | "ClusterRoleBinding" if object.get("roleRef") != old.get("roleRef") => {
            found.push(invalid("roleRef", "cannot change roleRef"));
        }
        "StorageClass" => {
            for field in ["provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"] {
                if object.get(field) != old.get(field) {
                    found.push(forbidden(field, "updates are forbidden"));
                }
            }
        }
        _ => {}
    }
    if kind == "Job" {
        keep(object, old, &["spec.template", "spec.completions"], found);
    }
}

fn keep(object: &Value, old: &Value, fields: &[&str], found: &mut Vec<Cause>) {
    for field in fields {
        let pointer = format!("/{}", field.replace('.', "/"));
        if old.pointer(&pointer) != object.pointer(&pointer) {
            found.push(invalid(field, "field is immutable"));
        }
    }
}

fn frozen(object: &Value, old: &Value, found: &mut Vec<Cause>) {
    for field in ["immutable", "data", "binaryData"] {
        if old.get("immutable") == Some(&Value::Bool(true)) && old.get(field) != object.get(field) {
            found.push(forbidden(field, "field is immutable when `immutable` is set"));
        }
    }
}

/// The specification without these fields.
fn rest(object: &Value, without: &[&str]) -> Map<String, Value> {
    let mut spec = object.get("spec").and_then(Value::as_object).cloned().unwrap_or_default();
    spec.retain(|field, _| !without.contains(&field.as_str()));
    spec
}

fn stateful_set(object: &Value, old: &Value, found: &mut Vec<Cause>) {
    let free = [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ];
    if rest(object, &free) != rest(old, &free) {
        let listed = free.map(|field| format!("'{field}'")).join(", ");
        let message = format!("updates to statefulset spec for fields other than {listed} are forbidden");
        found.push(forbidden("spec", &message));
    }
}

/// A bound claim may grow; nothing else of a claim changes.
fn claim(object: &Value, old: &Value, found: &mut Vec<Cause>) {
    let bound = old.pointer("/status/phase").and_then(Value::as_str) == Some("Bound");
    let free: &[&str] = if bound { &["resources", "volumeAttributesClassName"] } else { &[] };
    let (before, after) = (rest(old, free), rest(object, free));
    // Who binds the claim fills these in.
    let filled =
        |field: &String| matches!(field.as_str(), "storageClassName" | "volumeName") && !before.contains_key(field);
    let after: Map<String, Value> = after.into_iter().filter(|(field, _)| !filled(field)).collect();
    if before != after {
        let message =
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        found.push(forbidden("spec", message));
        return;
    }
    let size = |object: &Value| quantity::parse(object.pointer("/spec/resources/requests/storage")?);
    if bound && size(object) < size(old) {
        found.push(forbidden("spec.resources.requests.storage", "field can not be less than previous value"));
    }
}

/// An address that was given stays for as long as the Service has one.
fn service(object: &Value, old: &Value, found: &mut Vec<Cause>) {
    let text = |object: &Value, field: &str| {
        object.pointer(&format!("/spec/{field}")).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let before = text(old, "clusterIP");
    let external = [object, old].iter().any(|service| text(service, "type") == "ExternalName");
    if !before.is_empty() && !external && text(object, "clusterIP") != before {
        found.push(invalid("spec.clusterIPs[0]", "may not change once set"));
    }
}

/// Of a pod's specification only images and tolerations change, and the node is given once.
fn pod(object: &Value, old: &Value, found: &mut Vec<Cause>) {
    let fixed = |pod: &Value| {
        let mut spec = rest(pod, &["tolerations", "activeDeadlineSeconds"]);
        for list in ["containers", "initContainers"] {
            for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                if let Some(container) = container.as_object_mut() {
                    container.remove("image");
                }
            }
        }
        if old.pointer("/spec/nodeName").is_none() {
            spec.remove("nodeName");
        }
        spec
    };
    for list in ["containers", "initContainers"] {
        let count = |pod: &Value| pod.pointer(&format!("/spec/{list}")).and_then(Value::as_array).map_or(0, Vec::len);
        if count(object) != count(old) {
            let message = "pod updates may not add or remove containers";
            found.push(forbidden(&format!("spec.{list}"), message));
            return;
        }
    }
    let tolerations =
        |pod: &Value| pod.pointer("/spec/tolerations").and_then(Value::as_array).cloned().unwrap_or_default();
    let after = tolerations(object);
    if tolerations(old).iter().any(|toleration| !after.contains(toleration)) {
        found.push(forbidden("spec.tolerations", "existing toleration can not be modified"));
    }
    if fixed(object) != fixed(old) {
        let message = "pod updates may not change fields other than `spec.containers[*].image`, \
                       `spec.initContainers[*].image`, `spec.activeDeadlineSeconds`, `spec.tolerations` and \
                       `spec.terminationGracePeriodSeconds`";
        found.push(forbidden("spec", message));
    }
}
