//! What the module answers: one rule each, from a settled cluster with one line changed.

use crate::support::{LAS_RUNS, PROBE_READY, SETTLED, answer, labels, pod_spec, status, verdict, with};
use insta::assert_snapshot;
use k8s_openapi::api::{apps::v1::DaemonSet, core::v1::Secret};
use operator_guest::ConditionStatus;

#[test]
fn a_settled_las_on_three_nodes_is_healthy() {
    assert_snapshot!(answer(include_str!("bench-4k.yaml")));
}

#[test]
fn a_las_alone_gets_its_daemon_set_from_nothing_but_the_list_of_las() {
    let yaml = "
now: 1700003580
settings: {}
parent: {apiVersion: base.scone.cloud/v1beta1, kind: LAS, metadata: {name: las}, spec: {}}
answers: {las: {objects: [{apiVersion: base.scone.cloud/v1beta1, kind: LAS, metadata: {name: las}}]}}
";
    assert_snapshot!(answer(yaml));
}

#[test]
fn nothing_is_made_until_it_is_known_that_no_other_las_exists() {
    let yaml = "
settings: {}
parent: {apiVersion: base.scone.cloud/v1beta1, kind: LAS, metadata: {name: las}, spec: {}}
";
    let desired = answer(yaml).outcome.unwrap();
    assert!(desired.children.is_empty() && desired.status.is_none());
    assert_eq!(desired.queries.len(), 1);
}

#[test]
fn a_second_las_is_unhealthy_and_makes_nothing() {
    let own = r#"metadata: {name: las, creationTimestamp: "2023-11-14T22:00:00Z"}}"#;
    let first = r#"metadata: {name: old, creationTimestamp: "2023-11-14T21:00:00Z"}}"#;
    let both = format!("{own}\n    - {{apiVersion: base.scone.cloud/v1beta1, kind: LAS, {first}");
    let answer = answer(&with(own, &both));
    assert_snapshot!(verdict(&answer), @"UNHEALTHY AnotherLASExists: LAS old is there already, and a cluster has one; delete one of them: kubectl delete las las");
    assert!(answer.desired().unwrap().children.is_empty());
    assert!(answer.desired().unwrap().partials.is_empty());
}

#[test]
fn the_first_of_two_las_goes_on() {
    let own = r#"metadata: {name: las, creationTimestamp: "2023-11-14T22:00:00Z"}}"#;
    let second = r#"metadata: {name: a, creationTimestamp: "2023-11-14T23:00:00Z"}}"#;
    let both = format!("{own}\n    - {{apiVersion: base.scone.cloud/v1beta1, kind: LAS, {second}");
    assert_eq!(status(&answer(&with(own, &both)))["state"], "HEALTHY");
}

#[test]
fn without_an_sgx_node_it_waits_and_says_what_is_missing() {
    let answer = answer(
        &with("sgx.intel.com/capable: \"true\", ", "")
            .replace("desiredNumberScheduled: 1", "desiredNumberScheduled: 0")
            .replace("nodeName: node-1", "nodeName: ''")
            .replace("metadata: {name: las-x7k2p", "metadata: {deletionTimestamp: now, name: las-x7k2p"),
    );
    assert_snapshot!(verdict(&answer), @"PENDING NoSGXNode: no node has label sgx.intel.com/capable=true, which the SGX plugin sets: create an SGXPlugin (kubectl apply, or operator_controller), and see kubectl get sgxplugin if there is one");
}

#[test]
fn a_selector_of_ones_own_for_the_sgx_label_needs_no_plugin() {
    let own = "hostPort: 18766\n    nodeSelector: {sgx.intel.com/capable: \"yes\"}";
    let made =
        with("nodeSelector: {sgx.intel.com/capable: \"true\"}", "nodeSelector: {sgx.intel.com/capable: \"yes\"}");
    let answer = answer(&made.replace("sgx.intel.com/capable: \"true\", ", "").replace("hostPort: 18766", own));
    assert_eq!(status(&answer)["state"], "HEALTHY");
    assert_eq!(pod_spec(&answer)["nodeSelector"]["sgx.intel.com/capable"], "yes");
}

#[test]
fn an_image_that_cannot_be_pulled_names_the_pull_secret() {
    let waiting = r#"{name: las, ready: false, restartCount: 0, state: {waiting: {reason: ImagePullBackOff, message: "Back-off pulling image: ErrImagePull: 401 Unauthorized"}}}"#;
    let answer = answer(&with(LAS_RUNS, waiting));
    assert_snapshot!(verdict(&answer), @"UNHEALTHY ImagePullFailed: node node-1: container las of pod las-x7k2p cannot pull its image (401 Unauthorized); check spec.image and spec.imagePullSecrets, and renew the pull secret with: operator_controller --update");
    assert_eq!(status(&answer)["lasReplicaAlert"], 1);
    assert_eq!(status(&answer)["lasProbeAlert"], -1);
}

#[test]
fn an_image_that_neither_container_can_pull_is_one_problem() {
    let [las, probe] =
        ["las", "probe"].map(|name| format!("{{name: {name}, state: {{waiting: {{reason: ErrImagePull}}}}}}"));
    let answer = answer(&with(LAS_RUNS, &las).replace(PROBE_READY, &probe));
    assert_eq!(verdict(&answer).matches("cannot pull its image").count(), 1, "{}", verdict(&answer));
    assert_eq!(status(&answer)["nodes"]["node-1"]["errorMessages"].as_array().unwrap().len(), 1);
}

#[test]
fn both_faces_of_a_failing_pull_read_the_same() {
    let faces = [
        ("ErrImagePull", "401 Unauthorized"),
        ("ImagePullBackOff", "Back-off pulling image: ErrImagePull: 401 Unauthorized"),
    ];
    let [one, other] = faces.map(|(reason, message)| {
        let waiting = format!("{{name: las, state: {{waiting: {{reason: {reason}, message: '{message}'}}}}}}");
        verdict(&answer(&with(LAS_RUNS, &waiting)))
    });
    assert_eq!(one, other);
}

#[test]
fn a_crashing_container_says_how_it_ended_also_between_two_crashes() {
    let last = "lastState: {terminated: {exitCode: 1, reason: Error}}";
    let waits = format!("{{name: las, restartCount: 4, {last}, state: {{waiting: {{reason: CrashLoopBackOff}}}}}}");
    let runs =
        format!("{{name: las, restartCount: 4, {last}, state: {{running: {{startedAt: \"2023-11-14T23:12:50Z\"}}}}}}");
    let [waits, runs] = [waits, runs].map(|state| verdict(&answer(&with(LAS_RUNS, &state))));
    assert_snapshot!(waits, @"UNHEALTHY ContainerCrashes: node node-1: container las of pod las-x7k2p keeps crashing, last with exit code 1 (Error); see: kubectl logs --previous las-x7k2p -c las, and make sure that /dev/sgx_enclave has mode 0666 on the host");
    assert_eq!(waits, runs);
}

#[test]
fn a_container_that_its_security_context_forbids_is_named() {
    let waiting = r#"{name: probe, state: {waiting: {reason: CreateContainerConfigError, message: "container has runAsNonRoot and image will run as root"}}}"#;
    assert_snapshot!(verdict(&answer(&with(PROBE_READY, waiting))), @"UNHEALTHY ContainerCannotStart: node node-1: container probe of pod las-x7k2p cannot start (container has runAsNonRoot and image will run as root); check spec.podSecurityContext, spec.containerSecurityContextLAS and spec.containerSecurityContextProbe");
}

#[test]
fn a_pod_without_a_place_is_told_under_the_node_that_it_is_for() {
    let affinity = "affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchFields: [{key: metadata.name, operator: In, values: [node-1]}]}]}}}";
    let scheduled = r#"{type: PodScheduled, status: "True"}"#;
    let unscheduled = r#"{type: PodScheduled, status: "False", reason: Unschedulable, message: "0/1 nodes are available: 1 Insufficient sgx.intel.com/enclave."}"#;
    let yaml = with("nodeName: node-1", affinity)
        .replace(scheduled, unscheduled)
        .replace(LAS_RUNS, "{name: x}")
        .replace(PROBE_READY, "{name: z}");
    let answer = answer(&yaml);
    assert_snapshot!(verdict(&answer), @"UNHEALTHY Unschedulable: node node-1: pod las-x7k2p cannot be scheduled (0/1 nodes are available: 1 Insufficient sgx.intel.com/enclave.); the node has no free SGX device: raise spec.capacitySGXPods of the SGXPlugin, or end other enclaves there");
    assert_eq!(status(&answer)["nodes"]["node-1"]["errorMessages"].as_array().unwrap().len(), 1);
}

#[test]
fn a_probe_that_failed_names_the_device_and_keeps_the_node_capable() {
    let answer = answer(&with(PROBE_READY, &PROBE_READY.replace("ready: true", "ready: false")));
    assert_snapshot!(verdict(&answer), @"UNHEALTHY ProbeFailed: node node-1: the probe of pod las-x7k2p failed; set mode 0666 on /dev/sgx_enclave (on the host, and in the virtual machine if there is one) and delete the pod; see: kubectl describe pod las-x7k2p");
    assert_eq!(status(&answer)["lasProbeAlert"], 1);
    assert_eq!(status(&answer)["lasReplicaAlert"], 0);
    assert_eq!(status(&answer)["nodes"]["node-1"]["hasDCAPQuote"], false);
    assert_snapshot!(labels(&answer).join("\n"), @r#"Node node-1: {"metadata":{"labels":{"las.scontain.com/capable":"true"}}}"#);
}

#[test]
fn failed_probes_are_counted_and_one_that_could_not_run_makes_the_count_unknown() {
    let three = include_str!("bench-4k.yaml");
    let unready = |name: &str| {
        (format!("- name: {name}\n          ready: true"), format!("- name: {name}\n          ready: false"))
    };
    let ((probe, failed), (las, away)) = (unready("probe"), unready("las"));
    let two = three.replacen(&probe, &failed, 2);
    assert_eq!(status(&answer(&two))["lasProbeAlert"], 2);
    assert_eq!(status(&answer(&two.replacen(&las, &away, 1)))["lasProbeAlert"], -1);
}

#[test]
fn a_probe_that_has_just_started_has_not_failed() {
    let young = PROBE_READY.replace("ready: true", "ready: false").replace("22:00:13", "23:12:40");
    let answer = answer(&with(PROBE_READY, &young));
    assert_snapshot!(verdict(&answer), @"PENDING PodsStarting: LAS works on 0 of 1 selected nodes so far");
    assert_eq!(status(&answer)["nodes"]["node-1"]["lasProbeAlert"], -1);
}

#[test]
fn a_pod_that_had_five_minutes_and_is_not_ready_is_a_problem() {
    assert_snapshot!(verdict(&answer(&with(LAS_RUNS, &LAS_RUNS.replace("ready: true", "ready: false")))), @"UNHEALTHY PodNotReady: node node-1: pod las-x7k2p is not ready, and nothing says why; see: kubectl describe pod las-x7k2p");
}

#[test]
fn a_pod_that_starts_is_pending_and_its_node_has_no_labels() {
    let young = LAS_RUNS.replace("ready: true", "ready: false").replace("22:00:12", "23:12:40");
    let answer = answer(&with(LAS_RUNS, &young));
    assert!(verdict(&answer).starts_with("PENDING PodsStarting"), "{}", verdict(&answer));
    assert_eq!(answer.condition("IsHealthy").unwrap().status, ConditionStatus::Unknown);
    assert!(labels(&answer).is_empty());
}

#[test]
fn an_update_that_rolls_out_is_pending() {
    let answer = answer(&with("updatedNumberScheduled: 1", "updatedNumberScheduled: 0"));
    assert!(verdict(&answer).starts_with("PENDING"), "{}", verdict(&answer));
    assert!(
        verdict(&self::answer(&with("observedGeneration: 3", "observedGeneration: 2")))
            .starts_with("PENDING RollingOut")
    );
}

#[test]
fn pods_that_cannot_be_listed_keep_the_labels_that_were_there() {
    let pods = SETTLED.split("  pods:\n").next().unwrap();
    let first = status(&answer(SETTLED));
    let yaml = format!("{pods}  pods: {{denied: missing grant}}\n")
        .replace("children:\n", &format!("  status: {first}\nchildren:\n"));
    let answer = answer(&yaml);
    assert_snapshot!(verdict(&answer), @"UNHEALTHY ClusterUnreadable: pods cannot be listed: not granted: missing grant; let the operator list them");
    assert_eq!(labels(&answer).len(), 1);
    assert_eq!(status(&answer)["lasReplicaAlert"], -1);
}

#[test]
fn the_leaving_pod_of_a_rolling_update_yields_to_its_successor() {
    let pod =
        SETTLED.split("    - apiVersion: v1\n      kind: Pod\n").nth(1).unwrap().split("  log-las").next().unwrap();
    let old = pod
        .replace("las-x7k2p", "las-old")
        .replace("las:6.0.6", "las:5.9.0")
        .replace("metadata: {", "metadata: {deletionTimestamp: \"2023-11-14T23:00:00Z\", ");
    let marker = "    - apiVersion: v1\n      kind: Pod\n";
    let answer = answer(&with(marker, &format!("{marker}{old}{marker}")));
    assert_eq!(status(&answer)["version"], "6.0.6");
    assert_eq!(status(&answer)["state"], "HEALTHY");
}

#[test]
fn the_key_is_in_the_secret_and_nowhere_else() {
    let answer = answer(SETTLED);
    let secret: Secret = answer.child("las-dcap").unwrap();
    assert_eq!(secret.data.unwrap()["dcap-key"].0, b"0123456789abcdef0123456789abcdef");
    let printed = answer.to_string().replace("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "");
    assert!(!printed.contains("0123456789abcdef0123456789abcdef"), "{printed}");
}

#[test]
fn another_key_rolls_the_pods() {
    let hash = |yaml: &str| {
        let set: DaemonSet = answer(yaml).child("las").unwrap();
        set.spec.unwrap().template.metadata.unwrap().annotations.unwrap()["las.scontain.com/dcap-key-hash"].clone()
    };
    let other = with("0123456789abcdef0123456789abcdef", "'00000000000000000000000000000000'");
    assert_ne!(hash(SETTLED), hash(&other));
}

#[test]
fn without_a_key_there_is_no_secret_and_a_condition_says_what_is_not_checked() {
    let answer = answer(&with("    dcapKey: 0123456789abcdef0123456789abcdef\n", ""));
    assert_eq!(answer.desired().unwrap().children.len(), 1);
    assert_eq!(status(&answer)["state"], "PENDING", "its probe is another one, so the pods are rolled");
    let checks = answer.condition("ChecksComplete").unwrap();
    assert_snapshot!(format!("{:?} {}: {}", checks.status, checks.reason, checks.message), @"ConditionStatus::False DCAPKeyMissing: without spec.dcapKey the probe asks for no DCAP quotes: set it to your key of the Intel PCS API, or to 32 zeros on Azure");
    assert_eq!(pod_spec(&answer)["containers"][1]["readinessProbe"]["exec"]["command"][0], "scone");
    assert!(pod_spec(&answer)["containers"][1].get("env").is_none());
}

#[test]
fn the_enclave_limit_cannot_be_taken_away() {
    let zero = "hostPort: 18766\n    resources: {limits: {sgx.intel.com/enclave: \"0\", memory: 1Gi}}";
    let containers = pod_spec(&answer(&with("hostPort: 18766", zero)))["containers"].clone();
    assert_eq!(
        containers[0]["resources"]["limits"],
        serde_json::json!({"memory": "1Gi", "sgx.intel.com/enclave": "1"})
    );
    assert_eq!(containers[1]["resources"]["limits"]["sgx.intel.com/enclave"], "1");
}

#[test]
fn images_of_5_8_may_run_as_root() {
    let non_root = |yaml: &str| pod_spec(&answer(yaml))["securityContext"]["runAsNonRoot"].clone();
    assert_eq!(non_root(SETTLED), true);
    assert_eq!(non_root(&with("las:6.0.6", "las:5.8.0")), false);
}

#[test]
fn what_the_answer_says_of_itself_is_stable() {
    let first = status(&answer(SETTLED));
    let later =
        with("now: 1700003580", "now: 1700007180").replace("children:\n", &format!("  status: {first}\nchildren:\n"));
    let second = answer(&later);
    assert_eq!(status(&second), first, "times move only with the facts");
    assert!(second.desired().unwrap().events.is_empty());
}

#[test]
fn an_event_tells_a_change_of_state() {
    let before = "  status: {state: HEALTHY, version: 6.0.6}\nchildren:\n";
    let failing = with(PROBE_READY, &PROBE_READY.replace("ready: true", "ready: false")).replace("children:\n", before);
    let events = answer(&failing).outcome.unwrap().events;
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].reason.as_str(), events[0].action.as_str()), ("ProbeFailed", "Check"));
}

#[test]
fn a_key_outlives_the_line_that_told_it() {
    let key = status(&answer(SETTLED))["nodes"]["node-1"]["publicKey"].clone();
    assert_eq!(key, "4f1e2d3c5b6a79880716253443526170f0e1d2c3b4a5968778695a4b3c2d1e0f");
    let first = status(&answer(SETTLED));
    let rotated = SETTLED.split("    lines:").next().unwrap().to_owned() + "    lines: []\n";
    let answer = answer(&rotated.replace("children:\n", &format!("  status: {first}\nchildren:\n")));
    assert_eq!(status(&answer)["nodes"]["node-1"]["publicKey"], key);
}

#[test]
fn a_log_that_may_not_be_read_costs_the_key_and_nothing_else() {
    let denied = SETTLED.split("    lines:").next().unwrap().to_owned() + "    denied: missing grant\n";
    let answer = answer(&denied);
    assert_eq!(status(&answer)["state"], "HEALTHY");
    assert_snapshot!(status(&answer)["nodes"]["node-1"]["errorMessages"][0].as_str().unwrap(), @"the log of pod las-x7k2p cannot be read (not granted: missing grant), so its public key is not known; let the operator read pods/log in the namespace of the pods");
}
