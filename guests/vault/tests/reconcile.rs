//! What the module answers: one rule each, from a settled cluster with one line changed.
#![expect(clippy::indexing_slicing, reason = "the helpers of tests may do what tests may")]

use std::collections::BTreeSet;

use crate::support::{
    SETTLED, answer, child, children, condition, fresh, replaced, server, since, situation, status, stored, verdict,
    with, without_pod,
};
use insta::assert_snapshot;
use k8s_openapi::api::{
    admissionregistration::v1::MutatingWebhookConfiguration,
    apps::v1::{Deployment, StatefulSet},
    core::v1::Service,
    rbac::v1::ClusterRoleBinding,
};
use operator_guest::{ConditionStatus, Question, Strategy};
use serde_json::{Value, json};

fn container(yaml: &str) -> Value {
    child::<StatefulSet>(&answer(yaml), "vault")["spec"]["template"]["spec"]["containers"][0].clone()
}

#[test]
fn a_settled_vault_with_its_injector_is_healthy() {
    assert_snapshot!(answer(SETTLED));
}

#[test]
fn a_settled_vault_has_no_condition_that_speaks_against_it() {
    let answer = answer(SETTLED);
    for condition in &answer.desired().unwrap().conditions {
        let good =
            if condition.type_.ends_with("DeletionPresent") { ConditionStatus::False } else { ConditionStatus::True };
        assert_eq!(condition.status, good, "{}: {}", condition.type_, condition.message);
    }
}

#[test]
fn what_the_server_adds_to_objects_changes_nothing() {
    let answer = answer(include_str!("bench-4k.yaml"));
    assert!(verdict(&answer).starts_with("HEALTHY"), "{}", verdict(&answer));
    assert_eq!(children(&answer), children(&crate::support::answer(SETTLED)));
}

#[test]
fn a_vault_alone_gets_everything_that_it_is_made_of() {
    let answer = answer(&fresh());
    assert_snapshot!(children(&answer).join("\n"), @r"
StatefulSet default/vault
Service default/vault
Service default/vault-internal
ServiceAccount default/vault
ServiceAccount default/vault-agent-injector
Service default/vault-agent-injector-svc
Deployment default/vault-agent-injector
");
    assert_snapshot!(verdict(&answer), @"PENDING RollingOut: the StatefulSet is not there yet, or its latest change has not been seen");
}

#[test]
fn without_an_injector_nothing_of_it_is_made() {
    let answer = answer(&situation("no injector"));
    assert_eq!(
        children(&answer),
        [
            "StatefulSet default/vault",
            "Service default/vault",
            "Service default/vault-internal",
            "ServiceAccount default/vault"
        ]
    );
    assert_eq!(status(&answer)["state"], "HEALTHY", "{}", verdict(&answer));
    assert!(answer.desired().unwrap().queries.iter().all(|query| query.id != "injectors"));
}

/// "Known defect: not passed on to the Helm values."
#[test]
fn an_injector_that_is_not_asked_for_is_not_made() {
    let said = replaced(&fresh(), "injector: {enabled: true}", "injector: {}");
    assert!(!children(&answer(&said)).iter().any(|child| child.contains("injector")));
}

#[test]
fn the_data_stays_whatever_becomes_of_the_stateful_set() {
    let set = child::<StatefulSet>(&answer(SETTLED), "vault");
    assert_eq!(
        set["spec"]["persistentVolumeClaimRetentionPolicy"],
        json!({"whenDeleted": "Retain", "whenScaled": "Retain"})
    );
    assert_eq!(set["spec"]["volumeClaimTemplates"][0]["metadata"]["name"], "data");
    assert!(!children(&answer(SETTLED)).iter().any(|child| child.contains("Claim")), "no claim is a child");
    assert_eq!(container(SETTLED)["volumeMounts"], json!([{"mountPath": "/mnt/vault/data", "name": "data"}]));
}

#[test]
fn without_data_storage_the_data_is_in_the_pod() {
    let set = child::<StatefulSet>(&answer(&server("dataStorage: {enabled: false}")), "vault");
    assert!(set["spec"].get("volumeClaimTemplates").is_none());
    assert_eq!(set["spec"]["template"]["spec"]["volumes"], json!([{"emptyDir": {}, "name": "data"}]));
}

#[test]
fn a_vault_for_a_trial_keeps_nothing_and_speaks_plainly() {
    let yaml = server("dev: {enabled: true}");
    let set = child::<StatefulSet>(&answer(&yaml), "vault");
    assert!(set["spec"].get("volumeClaimTemplates").is_none());
    let container = container(&yaml);
    assert_eq!(container["args"], json!(["server", "-dev"]));
    assert_eq!(container["readinessProbe"]["httpGet"]["scheme"], "HTTP");
    let address =
        container["env"].as_array().unwrap().iter().find(|variable| variable["name"] == "VAULT_ADDR").unwrap();
    assert_eq!(address["value"], "http://vault.default.svc:8200");
}

#[test]
fn two_scripts_in_sequence_are_one_command() {
    let hook = container(SETTLED)["lifecycle"]["postStart"]["exec"]["command"].clone();
    assert_eq!(hook, json!(["/bin/sh", "-c", "/provision.sh && /bootstrap.sh"]));
    let without = replaced(SETTLED, "      postStart: [/bin/sh, -c, /provision.sh && /bootstrap.sh]\n", "");
    assert!(container(&without).get("lifecycle").is_none());
    assert!(
        verdict(&answer(&without)).contains("postStart"),
        "a hook that goes is a change: {}",
        verdict(&answer(&without))
    );
}

#[test]
fn variables_of_the_spec_count_before_those_of_the_module_and_may_refer_to_them() {
    let yaml = with("SCONE_CAS_ADDR: cas.default}", "SCONE_CAS_ADDR: cas.default, VAULT_ADDR: mine, HOST_IP: x}");
    let names: Vec<_> = container(&yaml)["env"]
        .as_array()
        .unwrap()
        .iter()
        .map(|variable| variable["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        names,
        [
            "POD_IP",
            "HOSTNAME",
            "VAULT_CLUSTER_ADDR",
            "HOST_IP",
            "OWNER_ID",
            "SCONE_CAS_ADDR",
            "SCONE_HEAP",
            "SCONE_LAS_ADDR",
            "VAULT_ADDR"
        ]
    );
}

#[test]
fn the_device_is_asked_for_whatever_the_spec_says() {
    let limits = |line: &str| container(&server(line))["resources"].clone();
    assert_eq!(
        limits("resources: {limits: {memory: 1G}, requests: {sgx.intel.com/enclave: '0'}}"),
        json!({"limits": {"memory": "1G", "sgx.intel.com/enclave": "1"}, "requests": {"sgx.intel.com/enclave": "1"}})
    );
    assert_eq!(container(SETTLED)["resources"]["limits"]["memory"], "12G");
}

#[test]
fn the_probe_is_what_the_spec_says() {
    let probe = container(&server("path: /v1/x\n      initialdelaySeconds: 60"))["readinessProbe"].clone();
    assert_eq!((probe["httpGet"]["path"].as_str(), probe["initialDelaySeconds"].as_i64()), (Some("/v1/x"), Some(60)));
    assert!(container(&server("readinessProbe: {enabled: false}")).get("readinessProbe").is_none());
}

#[test]
fn services_answer_before_vault_is_ready_since_it_is_initialised_through_them() {
    for (name, cluster_ip) in [("vault", Value::Null), ("vault-internal", "None".into())] {
        let service = child::<Service>(&answer(SETTLED), name);
        assert_eq!(service["spec"]["publishNotReadyAddresses"], true);
        assert_eq!(service["spec"].get("clusterIP").cloned().unwrap_or_default(), cluster_ip);
        let ports: Vec<_> =
            service["spec"]["ports"].as_array().unwrap().iter().map(|port| port["port"].as_i64().unwrap()).collect();
        assert_eq!(ports, [8200, 8201, 8300]);
    }
}

#[test]
fn an_injector_that_no_administrator_allows_is_not_made_and_told() {
    let mut told = BTreeSet::new();
    for yaml in [situation("not allowed"), with("settings: {injector: own-namespace}", "settings: {}")] {
        let answer = answer(&yaml);
        let made = children(&answer);
        assert!(!made.iter().any(|child| child.contains("injector") || child.contains("Cluster")), "{made:?}");
        assert!(answer.desired().unwrap().queries.iter().all(|query| !query.id.starts_with("injector")));
        assert_eq!(status(&answer)["state"], "HEALTHY", "Vault works without it: {}", verdict(&answer));
        told.insert(condition(&answer, "InjectorWorks"));
    }
    assert_snapshot!(told.into_iter().collect::<Vec<_>>().join("\n"), @"False NotAllowed: spec.injector.enabled has no effect: an administrator sets the setting injector of module vault to own-namespace");
}

#[test]
fn the_webhook_sees_the_pods_of_its_own_namespace_unless_an_administrator_allows_more() {
    let selector = |yaml: &str| {
        let webhooks = child::<MutatingWebhookConfiguration>(&answer(yaml), "vault-agent-injector.default");
        webhooks["webhooks"][0]["namespaceSelector"].clone()
    };
    assert_eq!(selector(SETTLED), json!({"matchLabels": {"kubernetes.io/metadata.name": "default"}}));
    let all = with("injector: own-namespace", "injector: all-namespaces");
    let others = json!([{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"]}]);
    assert_eq!(selector(&all), json!({"matchExpressions": others}));
}

#[test]
fn the_injector_has_no_rights() {
    for scope in ["off", "own-namespace", "all-namespaces"] {
        let answer = answer(&with("injector: own-namespace", &format!("injector: {scope}, authDelegator: true")));
        let of_roles: Vec<_> = children(&answer).into_iter().filter(|child| child.contains("Role")).collect();
        assert_eq!(of_roles, ["ClusterRoleBinding vault-auth-delegator.default"]);
        let binding = child::<ClusterRoleBinding>(&answer, "vault-auth-delegator.default");
        assert_eq!(binding["subjects"], json!([{"kind": "ServiceAccount", "name": "vault", "namespace": "default"}]));
    }
}

#[test]
fn the_certificate_is_a_secret_and_its_ca_what_the_api_server_is_told() {
    let other = replaced(SETTLED, "data: {ca.crt: Q0E=}", "data: {ca.crt: T3RoZXI=}");
    let answer = answer(&other);
    let webhooks = child::<MutatingWebhookConfiguration>(&answer, "vault-agent-injector.default");
    assert_eq!(webhooks["webhooks"][0]["clientConfig"]["caBundle"], "T3RoZXI=");
    assert_snapshot!(verdict(&answer), @"PENDING RollingOut: the MutatingWebhookConfiguration does not have the webhooks of the spec yet");
    let pod = child::<Deployment>(&answer, "vault-agent-injector")["spec"]["template"]["spec"].clone();
    assert_eq!(
        pod["volumes"],
        json!([{"name": "certs", "secret": {"secretName": "vault-agent-injector-certs", "defaultMode": 288}}])
    );
    let mount = json!([{"name": "certs", "mountPath": "/etc/webhook/certs", "readOnly": true}]);
    assert_eq!(pod["containers"][0]["volumeMounts"], mount);
    let variables = pod["containers"][0]["env"].to_string();
    assert!(variables.contains("/etc/webhook/certs/tls.crt") && variables.contains("/etc/webhook/certs/tls.key"));
    assert!(!variables.contains("TLS_AUTO"), "{variables}");
}

#[test]
fn only_the_ca_of_the_certificate_is_read() {
    let answer = answer(SETTLED);
    let query = answer.desired().unwrap().queries.iter().find(|query| query.id == "injector-certificate").unwrap();
    let Question::Objects(query) = &query.question else { panic!("{query:?}") };
    assert_eq!((query.kind.as_str(), query.namespace.as_deref()), ("Secret", Some("default")));
    assert_eq!(query.name.as_deref(), Some("vault-agent-injector-certs"));
    assert_eq!(query.fields, [r"data.ca\.crt"]);
}

#[test]
fn without_a_certificate_all_but_the_webhook_is_made_and_the_way_out_is_told() {
    let webhook = "MutatingWebhookConfiguration vault-agent-injector.default";
    let absent = with(
        "    objects:\n    - {apiVersion: v1, kind: Secret, metadata: {name: vault-agent-injector-certs, namespace: default}, data: {ca.crt: Q0E=}}\n",
        "    objects: []\n",
    );
    let mut told = BTreeSet::new();
    for yaml in [absent, situation("no certificate"), crate::support::certificate("data: {ca.crt: ''}")] {
        let answer = answer(&yaml);
        let made = children(&answer);
        assert!(!made.iter().any(|child| child == webhook), "a webhook that worked goes too: {made:?}");
        assert!(made.iter().any(|child| child == "Deployment default/vault-agent-injector"));
        told.extend([condition(&answer, "InjectorWorks"), verdict(&answer)]);
    }
    assert_snapshot!(told.into_iter().collect::<Vec<_>>().join("\n"), @r"
False CertificateMissing: Secret vault-agent-injector-certs in namespace default is missing, or has no ca.crt; it must hold tls.crt and tls.key for the DNS name vault-agent-injector-svc.default.svc, and ca.crt, which signed them: make it with a Certificate of cert-manager or with openssl, as the README of module vault shows
PENDING InjectorStarting: Vault serves, and its injector vault-agent-injector does not yet, for want of a certificate: Secret vault-agent-injector-certs in namespace default is missing, or has no ca.crt; it must hold tls.crt and tls.key for the DNS name vault-agent-injector-svc.default.svc, and ca.crt, which signed them: make it with a Certificate of cert-manager or with openssl, as the README of module vault shows
");
    assert_snapshot!(verdict(&answer(&situation("certificate late"))), @"UNHEALTHY InjectorNotReady: Vault serves, and its injector vault-agent-injector does not yet, after 5 minutes, for want of a certificate: Secret vault-agent-injector-certs in namespace default is missing, or has no ca.crt; it must hold tls.crt and tls.key for the DNS name vault-agent-injector-svc.default.svc, and ca.crt, which signed them: make it with a Certificate of cert-manager or with openssl, as the README of module vault shows");
}

#[test]
fn a_ca_that_cannot_be_used_is_told_without_what_it_is() {
    let key = "LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0t";
    let long = "Q0FD".repeat(16 * 1024 + 1);
    let mut told = String::new();
    for value in ["-----BEGIN", "Q0E", "Q 0E", key, &long] {
        let answer = answer(&crate::support::certificate(&format!("data: {{ca.crt: '{value}'}}")));
        told += &format!("{}\n", condition(&answer, "InjectorWorks"));
        assert!(verdict(&answer).starts_with("PENDING InjectorStarting"), "{}", verdict(&answer));
        assert!(!format!("{answer}").contains(value), "{value}");
        assert!(!children(&answer).iter().any(|child| child.contains("Webhook")));
    }
    assert_snapshot!(told, @r"
False CertificateUnusable: Secret vault-agent-injector-certs in namespace default has a ca.crt that is not base64; it must hold tls.crt and tls.key for the DNS name vault-agent-injector-svc.default.svc, and ca.crt, which signed them: make it with a Certificate of cert-manager or with openssl, as the README of module vault shows
False CertificateUnusable: Secret vault-agent-injector-certs in namespace default has a ca.crt that is not base64; it must hold tls.crt and tls.key for the DNS name vault-agent-injector-svc.default.svc, and ca.crt, which signed them: make it with a Certificate of cert-manager or with openssl, as the README of module vault shows
False CertificateUnusable: Secret vault-agent-injector-certs in namespace default has a ca.crt that is not base64; it must hold tls.crt and tls.key for the DNS name vault-agent-injector-svc.default.svc, and ca.crt, which signed them: make it with a Certificate of cert-manager or with openssl, as the README of module vault shows
False CertificateUnusable: Secret vault-agent-injector-certs in namespace default has a ca.crt that is a private key; it must hold tls.crt and tls.key for the DNS name vault-agent-injector-svc.default.svc, and ca.crt, which signed them: make it with a Certificate of cert-manager or with openssl, as the README of module vault shows
False CertificateUnusable: Secret vault-agent-injector-certs in namespace default has a ca.crt that is longer than 64 KiB; it must hold tls.crt and tls.key for the DNS name vault-agent-injector-svc.default.svc, and ca.crt, which signed them: make it with a Certificate of cert-manager or with openssl, as the README of module vault shows
");
    let longest = "Q0FD".repeat(16 * 1024);
    let answer = answer(&crate::support::certificate(&format!("data: {{ca.crt: {longest}}}")));
    assert!(children(&answer).iter().any(|child| child.contains("Webhook")));
}

/// Kubelet does not start a pod whose Secret is missing.
#[test]
fn a_pod_of_the_injector_that_waits_for_its_certificate_is_no_riddle() {
    let ready = "conditions: [{type: PodScheduled, status: \"True\"}, {type: Ready, status: \"True\"}]\n        containerStatuses:\n        - ";
    let waits = |yaml: &str| {
        replaced(
            yaml,
            &format!("{ready}{}", crate::support::INJECTOR_RUNS),
            "conditions: [{type: Ready, status: \"False\"}]\n        containerStatuses:\n        - {name: sidecar-injector, restartCount: 0, state: {waiting: {reason: ContainerCreating}}}",
        )
    };
    let told = |yaml: &str| verdict(&answer(&waits(yaml)));
    assert!(told(&situation("no certificate")).starts_with("PENDING InjectorStarting"));
    let late = told(&situation("certificate late"));
    assert!(late.starts_with("UNHEALTHY InjectorNotReady") && late.contains("vault-agent-injector-certs"), "{late}");
    assert!(told(SETTLED).starts_with("UNHEALTHY PodNotReady"), "with its certificate it must start");
}

#[test]
fn while_the_certificate_is_not_known_a_webhook_that_works_stays() {
    let unknown = replaced(SETTLED, "  injector-certificate:\n", "  other:\n");
    let denied = replaced(
        SETTLED,
        "  injector-certificate:\n    objects:\n",
        "  injector-certificate:\n    denied: add it\n  other:\n    objects:\n",
    );
    for yaml in [&unknown, &denied] {
        let webhooks = child::<MutatingWebhookConfiguration>(&answer(yaml), "vault-agent-injector.default");
        assert_eq!(webhooks["webhooks"][0]["clientConfig"]["caBundle"], "Q0E=");
    }
    assert_snapshot!(verdict(&answer(&unknown)), @"PENDING Observing: the certificate of the injector is not known yet");
    assert_snapshot!(verdict(&answer(&denied)), @"UNHEALTHY ClusterUnreadable: the injector's certificate cannot be listed: not granted: add it; let the operator list them");
    let never = answer(&situation("certificate unknown"));
    assert!(!children(&never).iter().any(|child| child.contains("Webhook")), "there is nothing to keep");
}

#[test]
fn two_namespaces_may_have_a_vault_of_one_name() {
    let other = replaced(&fresh(), "namespace: default", "namespace: other");
    let names = |yaml: &str| {
        let yaml = replaced(yaml, "injector: own-namespace", "injector: own-namespace, authDelegator: true");
        let certificate = SETTLED.split_once("  injector-certificate:\n").unwrap().1;
        let certificate = certificate.split_once("  log-").unwrap().0.replace("namespace: default", "namespace: other");
        children(&answer(&format!("{yaml}answers:\n  injector-certificate:\n{certificate}")))
            .into_iter()
            .filter(|child| child.contains("Cluster") || child.contains("Webhook"))
            .collect::<Vec<_>>()
    };
    let (one, two) = (names(&fresh()), names(&other));
    assert!(one.len() == 2 && one.iter().all(|name| !two.contains(name)), "{one:?} {two:?}");
}

#[test]
fn a_stateful_set_is_made_anew_only_where_that_is_allowed() {
    let strategy = |yaml: &str| answer(yaml).desired().unwrap().children[0].strategy;
    assert_eq!(strategy(SETTLED), Strategy::Apply);
    assert_eq!(
        strategy(&with("    injector: {enabled: true}", "    injector: {enabled: true}\n    reinstallOnFatal: true")),
        Strategy::RecreateOnImmutable
    );
}

#[test]
fn an_administrator_lets_vaults_ask_whose_a_token_is() {
    let answer =
        answer(&with("settings: {", "settings: {authDelegator: true, injectorImage: 'r/i:1', agentImage: 'r/a:1', "));
    let binding = child::<ClusterRoleBinding>(&answer, "vault-auth-delegator.default");
    assert_eq!(binding["roleRef"]["name"], "system:auth-delegator");
    let deployment =
        child::<Deployment>(&answer, "vault-agent-injector")["spec"]["template"]["spec"]["containers"][0].clone();
    assert_eq!(deployment["image"], "r/i:1");
    assert!(deployment["env"].to_string().contains("r/a:1"));
}

#[test]
fn every_problem_is_told_with_its_place_and_fix() {
    let names = [
        "image",
        "init image",
        "init crashes",
        "crashes",
        "cannot start",
        "hook",
        "no device",
        "no volume",
        "silent node",
        "late",
        "injector image",
        "injector crashes",
        "pods denied",
    ];
    let told: Vec<_> = names.iter().map(|name| verdict(&answer(&situation(name)))).collect();
    assert!(told.iter().all(|told| told.starts_with("UNHEALTHY")), "{told:#?}");
    assert_snapshot!(told.join("\n"), @r"
UNHEALTHY ImagePullFailed: node node-1: container vault of pod vault-0 cannot pull its image (why); check spec.server.image and spec.global.imagePullSecrets, and renew the pull secret with: operator_controller --update
UNHEALTHY ImagePullFailed: node node-1: container vault-init of pod vault-0 cannot pull its image (why); check spec.server.extraInitContainers and spec.global.imagePullSecrets, and renew the pull secret with: operator_controller --update
UNHEALTHY ContainerCrashes: node node-1: container vault-init of pod vault-0 keeps crashing, last with exit code 3 (Error); see: kubectl logs --previous vault-0 -c vault-init, and make sure that /dev/sgx_enclave has mode 0666 on the host
UNHEALTHY ContainerCrashes: node node-1: container vault of pod vault-0 keeps crashing; see: kubectl logs --previous vault-0 -c vault, and make sure that /dev/sgx_enclave has mode 0666 on the host
UNHEALTHY ContainerCannotStart: node node-1: container vault of pod vault-0 cannot start (why); check spec.server, the Secrets and ConfigMaps that it names, and the pod security level of the namespace
UNHEALTHY PostStartFailed: spec.server.postStart fails in pod vault-0; see: kubectl describe pod vault-0, and make sure that the policies of this OWNER_ID are in CAS (kubectl provision vault uploads them)
UNHEALTHY Unschedulable: pod vault-0 cannot be scheduled (0/1 nodes are available: 1 Insufficient sgx.intel.com/enclave.); the node has no free SGX device: raise spec.capacitySGXPods of the SGXPlugin, or end other enclaves there
UNHEALTHY Unschedulable: pod vault-0 cannot be scheduled (pod has unbound immediate PersistentVolumeClaims); its claim has no volume: see kubectl get pvc, and give the cluster a default StorageClass
UNHEALTHY NodeNotReady: node node-1 is not ready, so Vault there is not either; repair the node or delete it; see: kubectl describe node node-1; node node-1 is not ready, so the injector of Vault there is not either; repair the node or delete it; see: kubectl describe node node-1
UNHEALTHY PodNotReady: node node-1: pod vault-0 is not ready, and nothing says why; see: kubectl describe pod vault-0
UNHEALTHY ImagePullFailed: node node-1: container sidecar-injector of pod vault-agent-injector-5d cannot pull its image (why); check the setting injectorImage of module vault and spec.global.imagePullSecrets, and renew the pull secret with: operator_controller --update
UNHEALTHY ContainerCrashes: node node-1: container sidecar-injector of pod vault-agent-injector-5d keeps crashing; see: kubectl logs --previous vault-agent-injector-5d -c sidecar-injector
UNHEALTHY ClusterUnreadable: pods cannot be listed: not granted: add it; let the operator list them
");
}

#[test]
fn both_faces_of_an_init_container_that_crashes_read_the_same() {
    let waits = "{name: vault-init, ready: false, restartCount: 4, lastState: {terminated: {exitCode: 3, reason: Error}}, state: {waiting: {reason: CrashLoopBackOff}}}";
    assert_eq!(
        verdict(&answer(&with(crate::support::INIT_ENDED, waits))),
        verdict(&answer(&situation("init crashes")))
    );
}

#[test]
fn what_is_on_its_way_is_pending() {
    let names = ["fresh", "unknown", "rolling out", "starting", "injector starts", "no CA", "going"];
    let told: Vec<_> = names.iter().map(|name| verdict(&answer(&situation(name)))).collect();
    assert!(told.iter().all(|told| told.starts_with("PENDING")), "{told:#?}");
    assert_snapshot!(told.join("\n"), @r"
PENDING RollingOut: the StatefulSet is not there yet, or its latest change has not been seen
PENDING Observing: the pods are not known yet
PENDING RollingOut: the StatefulSet does not have the image of the spec yet
PENDING PodsStarting: pod vault-0 is not ready yet: Vault starts, is initialised and unsealed
PENDING InjectorStarting: Vault serves, and its injector vault-agent-injector does not yet
PENDING RollingOut: the MutatingWebhookConfiguration does not have the webhooks of the spec yet
PENDING Deleting: the Vault is being deleted, and its objects with it
");
}

#[test]
fn what_has_had_its_time_is_unhealthy() {
    for (yaml, type_, reason) in [
        (situation("rolling out"), "statefulset.vault/EqualSpecs", "RolloutStuck"),
        (without_pod(), "AllPodsPresent", "PodsMissing"),
        (crate::support::injector_starts(), "InjectorWorks", "InjectorNotReady"),
    ] {
        let told = |time: &str| verdict(&answer(&since(&yaml, type_, "False", time)));
        let (late, early) = (told("2023-11-14T23:08:00Z"), told("2023-11-14T23:08:01Z"));
        assert!(late.starts_with(&format!("UNHEALTHY {reason}")), "{late}");
        assert!(early.starts_with("PENDING"), "{early}");
    }
    assert_snapshot!(verdict(&answer(&situation("injector late"))), @"UNHEALTHY InjectorNotReady: Vault serves, and its injector vault-agent-injector does not yet, after 5 minutes; see: kubectl logs deployment/vault-agent-injector");
}

#[test]
fn a_change_of_any_field_of_the_pod_is_waited_for() {
    let post_start = "      postStart: [/bin/sh, -c, /provision.sh && /bootstrap.sh]\n";
    let init = SETTLED.split_once("      extraInitContainers:\n").unwrap().1.split_once("    global:").unwrap().0;
    let init = format!("      extraInitContainers:\n{init}");
    for (yaml, field) in [
        (with(&init, ""), "extraInitContainers"),
        (with("        args: [register]\n", "        args: [other]\n"), "extraInitContainers"),
        (with(post_start, "      postStart: [/bin/true]\n"), "postStart"),
        (with(post_start, ""), "postStart"),
        (with("{OWNER_ID: \"1234\", SCONE_CAS_ADDR", "{OWNER_ID: \"1235\", SCONE_CAS_ADDR"), "env"),
        (server("path: /x"), "readinessProbe"),
        (server("readinessProbe: {enabled: false}"), "readinessProbe"),
        (server("dataStorage: {enabled: false}"), "dataStorage"),
        (server("resources: {limits: {memory: 13G}}"), "resources"),
    ] {
        let told = verdict(&answer(&yaml));
        assert_eq!(told, format!("PENDING RollingOut: the StatefulSet does not have the {field} of the spec yet"));
    }
}

#[test]
fn counts_and_the_alert_are_those_of_the_one_pod() {
    let counts = |name: &str| {
        let status = status(&answer(&situation(name)));
        ["desiredReplicas", "readyReplicas", "sgxReplicaAlert"].map(|field| status[field].as_i64().unwrap())
    };
    assert_eq!(counts("settled"), [1, 1, 0]);
    assert_eq!(counts("starting"), [1, 0, 1]);
    assert_eq!(counts("no pod"), [1, 0, 1]);
    assert_eq!(counts("silent node"), [1, 0, 1], "what it said last does not count");
    assert_eq!(counts("unknown"), [1, -1, -1]);
}

#[test]
fn the_statement_is_read_from_the_log_and_kept() {
    let statement = status(&answer(SETTLED))["initStatement"].as_str().unwrap().to_owned();
    assert!(statement.starts_with("LS0tLS1CRUdJTiBQR1A"));
    let rotated = stored(&situation("no statement"), &json!({"state": "HEALTHY", "initStatement": statement}));
    assert_eq!(status(&answer(&rotated))["initStatement"], statement.as_str());
    assert_eq!(status(&answer(&situation("no statement")))["initStatement"], "");
    assert_snapshot!(condition(&answer(&situation("no statement")), "InitStatementKnown"), @"False NotSeen: no log holds it yet; Vault writes it once, when it is initialised");
    assert_snapshot!(condition(&answer(&situation("log denied")), "InitStatementKnown"), @"False LogUnreadable: the log of container vault of pod vault-0 cannot be read: not granted: add it; let the operator read pods/log");
    assert_eq!(status(&answer(&situation("no statement")))["state"], "HEALTHY", "Vault works without it");
}

#[test]
fn the_log_of_the_init_container_counts_too() {
    let line = SETTLED.lines().find(|line| line.contains("init statement")).unwrap();
    let swapped = SETTLED
        .replace(line, "    lines: []")
        .replace("  log-vault-0-vault-init:\n    lines: []", &format!("  log-vault-0-vault-init:\n{line}"));
    assert!(status(&answer(&swapped))["initStatement"].as_str().unwrap().starts_with("LS0t"));
}

#[test]
fn an_event_is_told_when_the_state_changes_and_not_again() {
    let events = |yaml: &str| {
        answer(yaml).desired().unwrap().events.iter().map(|event| event.reason.clone()).collect::<Vec<_>>()
    };
    assert_eq!(events(SETTLED), ["Healthy"]);
    assert_eq!(events(&stored(SETTLED, &status(&answer(SETTLED)))), Vec::<String>::new());
}

#[test]
fn while_not_healthy_it_asks_to_be_called_again() {
    assert_eq!(answer(SETTLED).desired().unwrap().requeue, None);
    for name in ["starting", "crashes"] {
        assert_eq!(answer(&situation(name)).desired().unwrap().requeue, Some(60), "{name}");
    }
}

#[test]
fn a_quiet_cluster_is_told_nothing_new_as_time_goes_by() {
    let settled = stored(SETTLED, &status(&answer(SETTLED)));
    let later = answer(&replaced(&settled, "now: 1700003580", "now: 1700103580"));
    assert_eq!(status(&later), status(&answer(&settled)));
    assert_eq!(later.desired().unwrap().conditions, answer(&settled).desired().unwrap().conditions);
}

#[test]
fn a_vault_that_goes_is_pending_and_keeps_nothing() {
    let first = status(&answer(SETTLED));
    let going = answer(&format!("finalizing: true\n{}", stored(SETTLED, &first)));
    let mut expected = first;
    expected["state"] = "PENDING".into();
    assert_eq!(status(&going), expected, "what was known stays");
    assert!(going.desired().unwrap().finalized && going.desired().unwrap().children.is_empty());
}
