//! What the server writes into objects of built-in kinds: defaults, and the loss of what says nothing. A comparison that
//! takes these for drift would write for ever, so they are here for it to meet.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::quantity;

/// Gives an object of a built-in kind the form in which a server stores it.
pub(crate) fn apply(kind: &str, object: &mut Value) {
    // A schema says things by empty values.
    if kind == "CustomResourceDefinition" {
        return;
    }
    drop_empty(object, "");
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
        "Pod" => pod(object.get_mut("spec")),
        _ => {}
    }
    pod(object.pointer_mut("/spec/template/spec"));
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
    defaults(
        object.get_mut("spec"),
        &json!({
            "type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
            "ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"],
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
    if kind == "PersistentVolumeClaim" {
        // A claim that a pod uses is not deleted before the pod is.
        defaults(object.get_mut("metadata"), &json!({ "finalizers": [CLAIM_IN_USE] }));
    }
}

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

fn pod(spec: Option<&mut Value>) {
    let Some(spec) = spec.filter(|spec| spec.is_object()) else { return };
    defaults(
        Some(spec),
        &json!({
            "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler",
            "terminationGracePeriodSeconds": 30, "securityContext": {},
        }),
    );
    if let Some(account) = spec.get("serviceAccountName").cloned() {
        defaults(Some(spec), &json!({ "serviceAccount": account }));
    }
    let host_network = spec.get("hostNetwork") == Some(&Value::Bool(true));
    for list in ["containers", "initContainers"] {
        each(spec.get_mut(list), |container| self::container(container, host_network));
    }
    each(spec.get_mut("volumes"), |volume| {
        defaults(volume.get_mut("hostPath"), &json!({"type": ""}));
        for source in ["secret", "configMap", "projected", "downwardAPI"] {
            defaults(volume.get_mut(source), &json!({"defaultMode": 420}));
        }
    });
}

fn container(container: &mut Value, host_network: bool) {
    let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
    let last = image.rsplit('/').next().unwrap_or_default();
    let fixed = last.contains('@') || last.contains(':') && !last.ends_with(":latest");
    defaults(
        Some(container),
        &json!({
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File", "resources": {},
            "imagePullPolicy": if fixed { "IfNotPresent" } else { "Always" },
        }),
    );
    each(container.get_mut("ports"), |port| {
        defaults(Some(port), &json!({"protocol": "TCP"}));
        if let (true, Some(number)) = (host_network, port.get("containerPort").cloned()) {
            defaults(Some(port), &json!({ "hostPort": number }));
        }
    });
    each(container.get_mut("env"), |variable| {
        defaults(variable.pointer_mut("/valueFrom/fieldRef"), &json!({"apiVersion": "v1"}));
    });
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        defaults(
            container.get_mut(probe),
            &json!({
                "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3,
            }),
        );
        defaults(container.get_mut(probe).and_then(|probe| probe.get_mut("httpGet")), &json!({"scheme": "HTTP"}));
    }
    for resources in ["/resources/limits", "/resources/requests"] {
        quantities(container.pointer_mut(resources));
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
const MAPS: [&str; 7] = ["labels", "annotations", "nodeSelector", "matchLabels", "limits", "requests", "data"];
const SWITCHES: [&str; 7] = ["hostNetwork", "hostPID", "hostIPC", "readOnly", "stdin", "stdinOnce", "tty"];

/// Drops nulls everywhere, and the empty lists, maps and switches that Kubernetes' own types omit.
fn drop_empty(value: &mut Value, field: &str) {
    match value {
        Value::Object(map) => {
            // Values of these maps are the user's own.
            let free = matches!(field, "data" | "stringData" | "labels" | "annotations");
            for (key, inner) in map.iter_mut().filter(|_| !free) {
                drop_empty(inner, key);
            }
            map.retain(|key, inner| match inner {
                Value::Null => false,
                Value::Array(elements) => !elements.is_empty(),
                Value::Object(inner) => !inner.is_empty() || !MAPS.contains(&key.as_str()),
                Value::Bool(on) => *on || !SWITCHES.contains(&key.as_str()),
                _ => true,
            });
        }
        Value::Array(elements) => elements.iter_mut().for_each(|element| drop_empty(element, "")),
        _ => {}
    }
}
