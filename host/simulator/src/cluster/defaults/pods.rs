//! Defaults of pods and of templates of pods, and what controllers inside the server give to pods.

use serde_json::{Value, json};

use super::{defaults, each, quantities};

/// A template is given less than a pod.
pub(super) fn pod(spec: Option<&mut Value>, is_pod: bool) {
    let Some(spec) = spec.filter(|spec| spec.is_object()) else { return };
    defaults(
        Some(spec),
        &json!({
            "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler",
            "terminationGracePeriodSeconds": 30, "securityContext": {},
        }),
    );
    // The same under its old name.
    for (from, to) in [("serviceAccountName", "serviceAccount"), ("serviceAccount", "serviceAccountName")] {
        if let Some(account) = spec.get(from).cloned() {
            defaults(Some(spec), &json!({ to: account }));
        }
    }
    let host_network = is_pod && spec.get("hostNetwork") == Some(&Value::Bool(true));
    for list in ["containers", "initContainers"] {
        each(spec.get_mut(list), |container| self::container(container, host_network));
    }
    each(spec.get_mut("volumes"), |volume| {
        if volume.as_object().is_some_and(|volume| volume.keys().all(|key| key == "name")) {
            defaults(Some(volume), &json!({"emptyDir": {}}));
        }
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

/// What controllers inside the server give to a new pod.
pub(super) fn new_pod(object: &mut Value) {
    let status = json!({"phase": "Pending", "qosClass": quality(object)});
    if let Some(map) = object.as_object_mut() {
        map.insert("status".into(), status);
    }
    let account = object.pointer("/spec/serviceAccountName").cloned().unwrap_or_else(|| "default".into());
    defaults(
        object.get_mut("spec"),
        &json!({
            "serviceAccountName": account, "serviceAccount": account, "priority": 0,
            "preemptionPolicy": "PreemptLowerPriority",
        }),
    );
    tolerate(object);
}

/// What a pod keeps, whoever writes it.
pub(crate) fn keep_pod(object: &mut Value, old: Option<&Value>) {
    tolerate(object);
    if let Some(quality) = old.and_then(|old| old.pointer("/status/qosClass")) {
        defaults(object.get_mut("status"), &json!({ "qosClass": quality }));
    }
}

/// Pods stay for a while on a node of which nothing is heard.
fn tolerate(object: &mut Value) {
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let Some(tolerations) = spec.entry("tolerations").or_insert_with(|| json!([])).as_array_mut() else { return };
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        if !tolerations.iter().any(|toleration| toleration.get("key").is_none_or(|there| there == key)) {
            let wanted = json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300});
            tolerations.push(wanted);
        }
    }
}

/// How much a pod is promised.
fn quality(pod: &Value) -> &'static str {
    let containers =
        ["/spec/containers", "/spec/initContainers"].map(|list| pod.pointer(list).and_then(Value::as_array));
    let containers: Vec<&Value> = containers.into_iter().flatten().flatten().collect();
    let of =
        |container: &Value, kind: &str, what: &str| container.pointer(&format!("/resources/{kind}/{what}")).cloned();
    let says = |container: &&Value| {
        ["requests", "limits"]
            .iter()
            .any(|kind| ["cpu", "memory"].iter().any(|what| of(container, kind, what).is_some()))
    };
    let is_fixed = |container: &&Value| {
        ["cpu", "memory"].iter().all(|what| {
            let limit = of(container, "limits", what);
            limit.is_some() && limit == of(container, "requests", what)
        })
    };
    if !containers.iter().any(says) {
        "BestEffort"
    } else if containers.iter().all(is_fixed) {
        "Guaranteed"
    } else {
        "Burstable"
    }
}
