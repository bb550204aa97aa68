//! What the server writes into objects of built-in kinds: defaults, and the loss of what says nothing. A comparison that
//! takes these for drift would write for ever, so they are here for it to meet.

mod pods;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::{quantity, types::Type};
use pods::{new_pod, pod};

pub(crate) use pods::keep_pod;

/// Gives an object of a built-in kind the form in which a server stores it.
pub(crate) fn apply(kind: &str, object: &mut Value, of: Type<'_>) {
    // A schema says things by empty values.
    if kind == "CustomResourceDefinition" {
        return;
    }
    drop_empty(object, "", of);
    match kind {
        "DaemonSet" => {
            defaults(
                object.get_mut("spec"),
                &json!({
                    "revisionHistoryLimit": 10,
                    "updateStrategy": {"type": "RollingUpdate"},
                }),
            );
            rolling(object, "updateStrategy", &json!({"maxUnavailable": 1, "maxSurge": 0}));
            defaults(object.get_mut("metadata"), &json!({"annotations": {TEMPLATE_GENERATION: "0"}}));
        }
        "Deployment" => {
            defaults(
                object.get_mut("spec"),
                &json!({
                    "replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
                    "strategy": {"type": "RollingUpdate"},
                }),
            );
            rolling(object, "strategy", &json!({"maxUnavailable": "25%", "maxSurge": "25%"}));
        }
        "StatefulSet" => {
            defaults(
                object.get_mut("spec"),
                &json!({
                    "replicas": 1, "revisionHistoryLimit": 10, "podManagementPolicy": "OrderedReady",
                    "updateStrategy": {"type": "RollingUpdate"},
                    "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
                }),
            );
            rolling(object, "updateStrategy", &json!({"partition": 0}));
            each(object.pointer_mut("/spec/volumeClaimTemplates"), |template| {
                defaults(Some(template), &json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim"}));
                claim(template);
            });
        }
        "PersistentVolumeClaim" => claim(object),
        "NetworkPolicy" => network_policy(object),
        "Service" => service(object),
        "Secret" => secret(object),
        "Namespace" => {
            let name = object.pointer("/metadata/name").cloned().unwrap_or_default();
            defaults(object.get_mut("metadata"), &json!({"labels": {"kubernetes.io/metadata.name": name}}));
            defaults(Some(object), &json!({"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}));
        }
        "Pod" => {
            pod(object.get_mut("spec"), true);
            defaults(object.get_mut("spec"), &json!({"enableServiceLinks": true}));
            for list in ["/spec/containers", "/spec/initContainers"] {
                each(object.pointer_mut(list), |container| {
                    if let Some(limits) = container.pointer("/resources/limits").cloned() {
                        defaults(container.get_mut("resources"), &json!({ "requests": limits }));
                    }
                });
            }
        }
        _ => others(kind, object),
    }
    pod(object.pointer_mut("/spec/template/spec"), false);
}

fn others(kind: &str, object: &mut Value) {
    match kind {
        "ReplicaSet" => defaults(object.get_mut("spec"), &json!({"replicas": 1})),
        "StorageClass" => defaults(Some(object), &json!({"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"})),
        "Node" => {
            if let Some(capacity) = object.pointer("/status/capacity").cloned() {
                defaults(object.get_mut("status"), &json!({ "allocatable": capacity }));
            }
        }
        "RoleBinding" | "ClusterRoleBinding" => {
            defaults(object.get_mut("roleRef"), &json!({ "apiGroup": RBAC }));
            each(object.get_mut("subjects"), |subject| {
                if subject.get("kind").and_then(Value::as_str) != Some("ServiceAccount") {
                    defaults(Some(subject), &json!({ "apiGroup": RBAC }));
                }
            });
        }
        "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => {
            each(object.get_mut("webhooks"), |webhook| {
                defaults(
                    Some(webhook),
                    &json!({
                        "failurePolicy": "Fail", "matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {},
                        "timeoutSeconds": 10,
                    }),
                );
                if kind.starts_with("Mutating") {
                    defaults(Some(webhook), &json!({"reinvocationPolicy": "Never"}));
                }
                each(webhook.get_mut("rules"), |rule| defaults(Some(rule), &json!({"scope": "*"})));
            });
        }
        _ => {}
    }
}

const RBAC: &str = "rbac.authorization.k8s.io";

/// Gives the metadata of a custom resource that form; the rest of it is as its schema says.
pub(crate) fn metadata(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata") {
        drop_empty(metadata, "metadata", Type::of("", "", None));
    }
}

/// Adds what is missing, at every depth of `wanted`.
fn defaults(object: Option<&mut Value>, wanted: &Value) {
    let (Some(Value::Object(map)), Value::Object(wanted)) = (object, wanted) else { return };
    for (key, value) in wanted {
        match map.get_mut(key) {
            Some(there) => defaults(Some(there), value),
            None => {
                map.insert(key.clone(), value.clone());
            }
        }
    }
}

fn rolling(object: &mut Value, field: &str, wanted: &Value) {
    let strategy = object.get_mut("spec").and_then(|spec| spec.get_mut(field));
    if let Some(strategy) = strategy.filter(|s| s.get("type").and_then(Value::as_str) == Some("RollingUpdate")) {
        defaults(Some(strategy), &json!({ "rollingUpdate": wanted }));
    }
}

fn service(object: &mut Value) {
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        spec.retain(|key, value| key != "selector" || value.as_object().is_none_or(|selector| !selector.is_empty()));
    }
    defaults(
        object.get_mut("spec"),
        &json!({
            "type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
        }),
    );
    match object.pointer("/spec/type").and_then(Value::as_str) {
        Some("NodePort") => defaults(object.get_mut("spec"), &json!({"externalTrafficPolicy": "Cluster"})),
        Some("LoadBalancer") => {
            let wanted = json!({"externalTrafficPolicy": "Cluster", "allocateLoadBalancerNodePorts": true});
            defaults(object.get_mut("spec"), &wanted);
        }
        _ => {}
    }
    if object.pointer("/spec/sessionAffinity").and_then(Value::as_str) == Some("ClientIP") {
        defaults(object.get_mut("spec"), &json!({"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10_800}}}));
    } else if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("sessionAffinityConfig");
    }
    each(object.pointer_mut("/status/loadBalancer/ingress"), |ingress| {
        if ingress.get("ip").is_some() {
            defaults(Some(ingress), &json!({"ipMode": "VIP"}));
        }
    });
    each(object.pointer_mut("/spec/ports"), |port| {
        let target = port.get("port").cloned().unwrap_or_default();
        defaults(Some(port), &json!({"protocol": "TCP", "targetPort": target}));
    });
}

fn claim(claim: &mut Value) {
    defaults(Some(claim), &json!({"spec": {"volumeMode": "Filesystem"}, "status": {"phase": "Pending"}}));
    quantities(claim.pointer_mut("/spec/resources/requests"));
}

fn network_policy(object: &mut Value) {
    let egress = object.pointer("/spec/egress").is_some();
    let types = if egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
    defaults(object.get_mut("spec"), &json!({ "policyTypes": types }));
    for direction in ["ingress", "egress"] {
        each(object.pointer_mut(&format!("/spec/{direction}")), |rule| {
            each(rule.get_mut("ports"), |port| defaults(Some(port), &json!({"protocol": "TCP"})));
        });
    }
}

/// What an object gets only once, when it is made.
pub(crate) fn on_creation(kind: &str, object: &mut Value) {
    match kind {
        "PersistentVolumeClaim" => {
            // A claim that a pod uses is not deleted before the pod is.
            let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
            let finalizers = metadata.map(|metadata| metadata.entry("finalizers").or_insert_with(|| json!([])));
            if let Some(finalizers) = finalizers.and_then(Value::as_array_mut)
                && !finalizers.iter().any(|finalizer| finalizer == CLAIM_IN_USE)
            {
                finalizers.push(CLAIM_IN_USE.into());
            }
        }
        "Pod" => new_pod(object),
        "StorageClass" => {
            // Of one that is there, even this counts as a change.
            if let Some(map) = object.as_object_mut() {
                map.retain(|key, value| key != "parameters" || value.as_object().is_none_or(|p| !p.is_empty()));
            }
        }
        _ => {}
    }
}

/// Counts the changes of a DaemonSet's template, in the annotation in which the server shows that.
pub(crate) fn count_templates(object: &mut Value, old: Option<&Value>) {
    let pointer = format!("/metadata/annotations/{}", TEMPLATE_GENERATION.replace('/', "~1"));
    let before = old.and_then(|old| old.pointer(&pointer)?.as_str()?.parse::<u64>().ok());
    let template = |object: &Value| object.pointer("/spec/template").cloned();
    let changed = old.is_none_or(|old| template(old) != template(object));
    if let Some(count) = object.pointer_mut(&pointer) {
        *count = (before.unwrap_or_default() + u64::from(changed)).to_string().into();
    }
}

const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// The finalizer of claims.
pub(crate) const CLAIM_IN_USE: &str = "kubernetes.io/pvc-protection";

/// `stringData` is how data is written, never how it is stored.
fn secret(object: &mut Value) {
    defaults(Some(object), &json!({"type": "Opaque"}));
    let Some(map) = object.as_object_mut() else { return };
    let Some(Value::Object(texts)) = map.remove("stringData") else { return };
    let data = map.entry("data").or_insert_with(|| Value::Object(Map::new()));
    if let Some(data) = data.as_object_mut() {
        data.extend(
            texts.into_iter().map(|(key, text)| (key, STANDARD.encode(text.as_str().unwrap_or_default()).into())),
        );
    }
}

fn quantities(amounts: Option<&mut Value>) {
    for (_, amount) in amounts.and_then(Value::as_object_mut).into_iter().flatten() {
        *amount = quantity::canonical(amount);
    }
}

fn each(list: Option<&mut Value>, change: impl FnMut(&mut Value)) {
    list.and_then(Value::as_array_mut).into_iter().flatten().for_each(change);
}

/// Maps that are dropped when empty, and switches that are dropped when off: their types omit what is empty.
const MAPS: [&str; 9] =
    ["labels", "annotations", "nodeSelector", "matchLabels", "limits", "requests", "data", "capacity", "allocatable"];
const SWITCHES: [&str; 7] = ["hostNetwork", "hostPID", "hostIPC", "readOnly", "stdin", "stdinOnce", "tty"];

/// Drops nulls everywhere, and the empty lists, maps and switches that Kubernetes' own types omit.
fn drop_empty(value: &mut Value, field: &str, of: Type<'_>) {
    match value {
        Value::Object(map) => {
            // Values of these maps are the user's own.
            let free = matches!(field, "data" | "stringData" | "labels" | "annotations");
            for (key, inner) in map.iter_mut().filter(|_| !free) {
                drop_empty(inner, key, of.field(key));
            }
            map.retain(|key, inner| match inner {
                Value::Null => false,
                Value::Array(elements) => !elements.is_empty() || of.keeps_empty(key),
                Value::Object(inner) => !inner.is_empty() || !MAPS.contains(&key.as_str()),
                Value::Bool(on) => *on || !SWITCHES.contains(&key.as_str()),
                _ => true,
            });
        }
        Value::Array(elements) => elements.iter_mut().for_each(|element| drop_empty(element, "", of.element())),
        _ => {}
    }
}
