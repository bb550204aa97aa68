//! Ring api: the Helm chart, as Helm renders it. Nothing is installed here.
#![cfg(test)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "helpers of tests fail as tests do"
)]

mod helm;
mod objects;
mod pods;
mod rights;
mod values;

/// Values that turn on what is off, and off what is on: what has to be true of all of them is tried on each.
const VARIANTS: [&[&str]; 7] = [
    &[],
    &["replicas=2", "networkPolicy.enabled=true", "serviceMonitor.enabled=true"],
    &["cert-manager.enabled=true"],
    &["webhook.enabled=false"],
    &["rbac.create=false", "crds.install=false"],
    &["hostNetwork=true", "runAsUser=null", "modules.configMaps=[]", "metrics.annotations=false"],
    &[
        "replicas=3",
        "webhook.port=10250",
        r#"listenAddress="[::]""#,
        r#"priorityClassName="high""#,
        r#"nodeSelector={"a":"b"}"#,
        r#"tolerations=[{"operator":"Exists"}]"#,
        r#"affinity={"nodeAffinity":{}}"#,
        r#"podAnnotations={"a":"b"}"#,
        r#"podLabels={"a":"b"}"#,
        r#"extraArgs=["--log=debug"]"#,
        r#"extraEnv=[{"name":"A","value":"b"}]"#,
        "imagePullSecrets=[]",
        r#"rbac.extraRules=[{"apiGroups":[""],"resources":["pods"],"verbs":["get"]}]"#,
        r#"networkPolicy={"enabled":true,"metricsFrom":[{"podSelector":{}}]}"#,
        r#"modules.configMaps=["one","two"]"#,
        r#"cert-manager={"enabled":true,"issuerRef":{"name":"mine","kind":"ClusterIssuer"}}"#,
        "shutdown.sleepSeconds=0",
    ],
];
