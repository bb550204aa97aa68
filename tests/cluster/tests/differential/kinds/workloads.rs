//! Workloads, pods, and what belongs to them.

use serde_json::{Value, json};

use super::{Kind, condition};

/// A container list, and others that differ from it in ways that matter for merging.
fn containers() -> Vec<Value> {
    let port = |number: u16| json!({"containerPort": number});
    vec![
        json!([{"name": "main", "image": "x:1"}]),
        json!([{"name": "main", "image": "x:2", "args": ["-v"]}]),
        json!([{"name": "main", "image": "x:1"}, {"name": "side", "image": "s"}]),
        json!([{"name": "side", "image": "s:latest", "ports": [port(80), {"containerPort": 80, "protocol": "UDP"}]},
               {"name": "main", "image": "x:1", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}]),
        json!([{"name": "main", "image": "x:1", "env": [{"name": "B", "value": "3"}, {"name": "P", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                "ports": [{"containerPort": 80, "protocol": "TCP", "name": "web"}, port(81)],
                "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}]}]),
        json!([{"name": "main", "image": "x:1", "resources": {"limits": {"cpu": "500m", "memory": "1024Mi"}},
                "readinessProbe": {"httpGet": {"path": "/", "port": 80}}, "livenessProbe": {"exec": {"command": ["true"]}},
                "securityContext": {"privileged": false}}]),
    ]
}

/// What pods may say, below `spec`.
fn pod_fragments() -> Vec<Value> {
    let mut all: Vec<Value> = containers().into_iter().map(|list| json!({ "containers": list })).collect();
    all.extend([
        json!({"nodeSelector": {"n": "1"}}),
        json!({"nodeSelector": {"n": "2", "m": "1"}}),
        json!({"tolerations": [{"key": "a", "operator": "Exists", "effect": "NoSchedule"}]}),
        json!({"imagePullSecrets": [{"name": "p"}]}),
        json!({"imagePullSecrets": [{"name": "q"}, {"name": "p"}]}),
        json!({"terminationGracePeriodSeconds": 5}),
        json!({"hostNetwork": true}),
        json!({"initContainers": [{"name": "init", "image": "i:1"}]}),
        json!({"serviceAccountName": "some"}),
        json!({"securityContext": {"runAsUser": 5}}),
        json!({"volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "s", "secret": {"secretName": "s"}}]}),
        json!({"volumes": [{"name": "h", "hostPath": {"path": "/h"}}, {"name": "tmp", "emptyDir": {"medium": "Memory"}}]}),
    ]);
    all
}

fn template() -> Value {
    // The volume is there because some of the containers mount it.
    json!({"metadata": {"labels": {"app": "d"}},
           "spec": {"containers": [{"name": "main", "image": "x:1"}], "volumes": [{"name": "tmp", "emptyDir": {}}]}})
}

fn of_template() -> Vec<Value> {
    let in_template = |spec: Value| json!({"spec": {"template": {"spec": spec}}});
    let mut all: Vec<Value> = pod_fragments().into_iter().map(in_template).collect();
    all.push(json!({"spec": {"template": {"metadata": {"annotations": {"t": "1"}}}}}));
    all
}

/// What makes pods.
pub(super) fn workloads() -> Vec<Kind> {
    let selector = || json!({"matchLabels": {"app": "d"}});
    let spec = || json!({"spec": {"selector": selector(), "template": template()}});
    let conditions = json!({"conditions": [condition("Some", "True")]});
    let other_conditions = json!({"conditions": [condition("Some", "False"), condition("Other", "True")]});
    let with_update = |status: &Value| {
        let mut status = status.clone();
        for condition in status["conditions"].as_array_mut().unwrap() {
            condition["lastUpdateTime"] = "2026-01-01T00:00:00Z".into();
        }
        status
    };
    let of_deployment = [
        with_update(&conditions),
        with_update(&other_conditions),
        json!({"observedGeneration": 1}),
        json!({"conditions": [{"type": "Empty", "status": "True", "message": ""}]}),
    ];
    let common = [conditions.clone(), other_conditions.clone(), json!({"observedGeneration": 1})];
    let with = |more: &[Value]| [of_template(), more.to_vec()].concat();
    let mut stateful = spec();
    stateful["spec"]["serviceName"] = "s".into();
    let claim = |name: &str, size: &str| json!({"metadata": {"name": name}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}});
    vec![
        Kind::new("apps/v1", "Deployment", "deployments", spec())
            .says(&with(&[
                json!({"spec": {"replicas": 2}}),
                json!({"spec": {"replicas": 0}}),
                json!({"spec": {"strategy": {"rollingUpdate": {"maxSurge": 1}}}}),
                json!({"spec": {"minReadySeconds": 5, "paused": true}}),
                json!({"spec": {"selector": {"matchLabels": {"app": "e"}}}}),
            ]))
            .status(&of_deployment)
            .parts(json!({"spec": {"unknown": 1}})),
        Kind::new("apps/v1", "DaemonSet", "daemonsets", spec())
            .says(&with(&[
                json!({"spec": {"updateStrategy": {"type": "OnDelete"}}}),
                json!({"spec": {"updateStrategy": {"rollingUpdate": {"maxUnavailable": 2}}}}),
                json!({"spec": {"minReadySeconds": 5}}),
            ]))
            .status(&[conditions.clone(), other_conditions.clone(), json!({"numberReady": 1})]),
        Kind::new("apps/v1", "StatefulSet", "statefulsets", stateful)
            .says(&with(&[
                json!({"spec": {"replicas": 2}}),
                json!({"spec": {"podManagementPolicy": "Parallel"}}),
                json!({"spec": {"serviceName": "t"}}),
                json!({"spec": {"volumeClaimTemplates": [claim("v", "1Gi")]}}),
                json!({"spec": {"volumeClaimTemplates": [claim("v", "2048Mi")]}}),
                json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 1}}}}),
            ]))
            .status(&common),
        Kind::new("apps/v1", "ReplicaSet", "replicasets", spec())
            .says(&with(&[json!({"spec": {"replicas": 2}})]))
            .status(&common),
    ]
}

/// Pods, what they keep, and what keeps them.
pub(super) fn pods() -> Vec<Kind> {
    vec![
        Kind::new(
            "v1",
            "Pod",
            "pods",
            json!({"spec": {"containers": [{"name": "main", "image": "x:1"}],
            "volumes": [{"name": "tmp", "emptyDir": {}}], "automountServiceAccountToken": false}}),
        )
        .says(&pod_fragments().into_iter().map(|spec| json!({ "spec": spec })).collect::<Vec<_>>())
        .status(&[
            json!({"phase": "Running", "conditions": [condition("Ready", "False")]}),
            json!({"conditions": [condition("Ready", "True"), condition("Other", "True")]}),
        ]),
        Kind::new(
            "v1",
            "PersistentVolumeClaim",
            "persistentvolumeclaims",
            json!({"spec": {"accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}}}}),
        )
        .says(&[
            json!({"spec": {"storageClassName": "fast"}}),
            json!({"spec": {"resources": {"requests": {"storage": "2048Mi"}}}}),
            json!({"spec": {"volumeName": "v"}}),
        ])
        .status(&[json!({"phase": "Bound", "capacity": {"storage": "1Gi"}}), json!({"phase": "Lost"})]),
        Kind::new(
            "policy/v1",
            "PodDisruptionBudget",
            "poddisruptionbudgets",
            json!({"spec": {"selector": {"matchLabels": {"app": "d"}}}}),
        )
        .says(&[
            json!({"spec": {"minAvailable": 1}}),
            json!({"spec": {"maxUnavailable": "50%"}}),
            json!({"spec": {"selector": {"matchLabels": {"app": "e"}}}}),
        ])
        .status(&[json!({"currentHealthy": 1, "desiredHealthy": 1, "disruptionsAllowed": 0, "expectedPods": 1})]),
    ]
}
