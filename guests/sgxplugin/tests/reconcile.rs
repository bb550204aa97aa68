//! What the module answers: one rule each, from a settled cluster with one line changed.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "the helpers of tests may do what tests may")]

use insta::assert_snapshot;
use k8s_openapi::api::apps::v1::DaemonSet;
use operator_guest::{
    ConditionStatus, Strategy,
    testing::{self, Answer},
};
use serde_json::{Value, json};
use sgxplugin::SGXPluginModule;

const SETTLED: &str = include_str!("settled.yaml");
const SPEC: &str = "    image: registry.scontain.com/scone.cloud/sgx-plugin:6.0.6\n";
const READY: &str = r#"conditions: [{type: Ready, status: "True"}], containerStatuses: [{name: sgxplugin, ready: true, state: {running: {startedAt: "2023-11-14T22:00:13Z"}}}]"#;
const NODE_2: &str =
    r#"{allocatable: {pods: "250", sgx.intel.com/enclave: "20"}, capacity: {pods: "250", sgx.intel.com/enclave: "20"}"#;
const NODE_2_EMPTY: &str =
    r#"{allocatable: {pods: "250", sgx.intel.com/enclave: "0"}, capacity: {pods: "250", sgx.intel.com/enclave: "20"}"#;

fn answer(yaml: &str) -> Answer {
    testing::reconcile::<SGXPluginModule>(yaml).unwrap()
}

/// The settled cluster with `from` replaced; it must be there.
fn with(from: &str, to: &str) -> String {
    change(SETTLED, from, to)
}

fn change(yaml: &str, from: &str, to: &str) -> String {
    assert!(yaml.contains(from), "{from}");
    yaml.replace(from, to)
}

/// The settled cluster with one more line in the spec.
fn spec(line: &str) -> String {
    with(SPEC, &format!("{SPEC}    {line}\n"))
}

/// The settled cluster without the answer to a query, or with another one.
fn answered(query: &str, outcome: &str) -> String {
    let (before, rest) = SETTLED.split_once(&format!("  {query}:\n")).unwrap();
    let after = rest.lines().skip_while(|line| line.starts_with("    ")).collect::<Vec<_>>().join("\n");
    if outcome.is_empty() { format!("{before}{after}\n") } else { format!("{before}  {query}: {outcome}\n{after}\n") }
}

/// As if this answer's status were stored already.
fn after(first: &Answer, yaml: &str) -> String {
    change(yaml, "children:\n", &format!("  status: {}\nchildren:\n", status(first)))
}

fn status(answer: &Answer) -> Value {
    answer.status().unwrap()
}

/// State, reason and message.
fn verdict(answer: &Answer) -> String {
    let health = answer.condition("IsHealthy").unwrap();
    format!("{} {}: {}", status(answer)["state"].as_str().unwrap(), health.reason, health.message)
}

fn pod_spec(answer: &Answer) -> Value {
    let set: DaemonSet = answer.child("sgxplugin").unwrap();
    serde_json::to_value(set).unwrap()["spec"]["template"]["spec"].clone()
}

fn slots(yaml: &str) -> Value {
    pod_spec(&answer(yaml))["containers"][0]["env"][0]["value"].clone()
}

fn labelled(answer: &Answer) -> Vec<String> {
    answer.desired().unwrap().partials.iter().map(|partial| partial.identity.name.clone()).collect()
}

/// The second node, and its plug-in since when.
fn node_2(node: &str, pod: &str) -> String {
    change(&with(NODE_2, node), READY, pod)
}

const STARTING: &str =
    r#"conditions: [{type: Ready, status: "False"}], containerStatuses: [{name: sgxplugin, ready: false, state: {}}]"#;

fn young(pod: &str) -> String {
    change(pod, "22:00:13Z", "23:12:50Z")
}

#[test]
fn a_settled_plugin_on_three_nodes_of_which_two_have_sgx_is_healthy() {
    assert_snapshot!(answer(SETTLED));
}

#[test]
fn nothing_is_made_until_it_is_known_that_no_other_plugin_exists() {
    let yaml = "
settings: {}
parent: {apiVersion: base.scone.cloud/v1beta1, kind: SGXPlugin, metadata: {name: sgxplugin}, spec: {}}
";
    let answer = answer(yaml);
    assert!(answer.desired().unwrap().children.is_empty());
    assert_snapshot!(verdict(&answer), @"PENDING Observing: other SGXPlugins are not known yet");
    assert_eq!(answer.desired().unwrap().queries.len(), 4);
}

#[test]
fn a_plugin_that_is_there_stays_while_nothing_else_is_known() {
    let yaml = format!("{}answers: {{}}\n", SETTLED.split("answers:").next().unwrap());
    let first = answer(SETTLED);
    let answer = answer(&after(&first, &yaml));
    assert_snapshot!(verdict(&answer), @"PENDING Observing: the nodes and pods are not known yet");
    assert_eq!(answer.child::<DaemonSet>("sgxplugin").unwrap(), first.child::<DaemonSet>("sgxplugin").unwrap());
    assert_eq!(labelled(&answer), ["node-1", "node-2"]);
    assert_eq!(status(&answer)["readyReplicas"], -1);
    assert_eq!(status(&answer)["servingReplicaRatio"], "-1/-1");
    assert_eq!(status(&answer)["sgxDeviceAlert"], json!({"enclave": -1}));
}

#[test]
fn a_second_plugin_is_unhealthy_and_makes_nothing() {
    let own = r#"metadata: {name: sgxplugin, creationTimestamp: "2023-11-14T22:00:00Z"}}"#;
    let both = format!(
        "{own}\n    - {{apiVersion: base.scone.cloud/v1beta1, kind: SGXPlugin, metadata: {{name: old, creationTimestamp: \"2023-11-14T21:00:00Z\"}}}}"
    );
    let answer = answer(&with(own, &both));
    assert_snapshot!(verdict(&answer), @"UNHEALTHY AnotherSGXPluginExists: SGXPlugin old is there already, and a cluster has one; delete one of them: kubectl delete sgxplugin sgxplugin");
    assert!(answer.desired().unwrap().children.is_empty());
    assert!(answer.desired().unwrap().partials.is_empty());
}

#[test]
fn the_first_of_two_plugins_goes_on() {
    let own = r#"metadata: {name: sgxplugin, creationTimestamp: "2023-11-14T22:00:00Z"}}"#;
    let both = format!(
        "{own}\n    - {{apiVersion: base.scone.cloud/v1beta1, kind: SGXPlugin, metadata: {{name: a, creationTimestamp: \"2023-11-14T22:00:01Z\"}}}}"
    );
    assert_eq!(status(&answer(&with(own, &both)))["state"], "HEALTHY");
}

#[test]
fn slots_are_as_asked_for() {
    assert_eq!(slots(&spec("capacitySGXPods: 7")), "7");
}

#[test]
fn slots_that_nobody_asked_for_stay_as_they_were_made() {
    assert_eq!(slots(SETTLED), "20");
}

#[test]
fn slots_of_a_new_plugin_are_the_most_pods_that_a_node_takes() {
    let (before, rest) = SETTLED.split_once("children:\n").unwrap();
    let new = format!("{before}answers:{}", rest.split_once("answers:").unwrap().1);
    assert_eq!(slots(&new), "250");
    assert_snapshot!(verdict(&answer(&new)), @"PENDING RollingOut: the DaemonSet is not there yet, or its latest change has not been seen");
}

#[test]
fn without_slots_a_new_plugin_waits_for_the_nodes() {
    let yaml = answered("nodes", "");
    let (before, rest) = yaml.split_once("children:\n").unwrap();
    let new = format!("{before}answers:{}", rest.split_once("answers:").unwrap().1);
    assert!(answer(&new).desired().unwrap().children.is_empty());
    assert_eq!(slots(&change(&new, SPEC, &format!("{SPEC}    capacitySGXPods: 7\n"))), "7");
}

#[test]
fn a_plugin_made_by_another_release_keeps_its_daemon_set_while_the_nodes_are_unknown() {
    let yaml = change(&answered("nodes", ""), "CAPACITY_SGX_PODS", "OTHER");
    assert_eq!(slots(&yaml), "110");
}

#[test]
fn only_with_reinstall_on_fatal_the_daemon_set_may_be_made_again() {
    let strategy = |yaml: &str| answer(yaml).desired().unwrap().children[0].strategy;
    assert_eq!(strategy(SETTLED), Strategy::Apply);
    assert_eq!(strategy(&spec("reinstallOnFatal: true")), Strategy::RecreateOnImmutable);
}

#[test]
fn selectors_tolerations_resources_and_namespace_reach_the_pods() {
    let yaml = spec(
        "namespace: mine\n    nodeSelector: {zone: a}\n    tolerations: [{operator: Exists}]\n    resources: {limits: {memory: 64Mi}}",
    );
    let answer = answer(&yaml);
    let set: DaemonSet = answer.child("sgxplugin").unwrap();
    assert_eq!(set.metadata.namespace.as_deref(), Some("mine"));
    let pod = pod_spec(&answer);
    assert_eq!(pod["nodeSelector"], json!({"zone": "a"}));
    assert_eq!(pod["tolerations"], json!([{"operator": "Exists"}]));
    assert_eq!(pod["containers"][0]["resources"], json!({"limits": {"memory": "64Mi"}}));
}

#[test]
fn only_selected_nodes_count_as_serving() {
    let status = status(&answer(&spec("nodeSelector: {zone: a}")));
    assert_eq!(status["servingReplicas"], 1);
    assert_eq!(status["readyReplicas"], 1);
    assert_eq!(status["capacitySGXDevices"], 40, "slots are those of the cluster");
}

#[test]
fn a_tainted_node_is_selected_only_when_the_taint_is_tolerated() {
    let serving = |yaml: &str| status(&answer(yaml))["servingReplicas"].clone();
    let node = "      metadata: {name: node-2,";
    let tainted = |taint: &str| with(node, &format!("      spec: {{taints: [{taint}]}}\n{node}"));
    let sgx = "{key: sgx, value: only, effect: NoSchedule}";
    assert_eq!(serving(&tainted(sgx)), 1);
    for toleration in
        ["{key: sgx, value: only}", "{key: sgx, operator: Exists, effect: NoSchedule}", "{operator: Exists}"]
    {
        let yaml = change(&tainted(sgx), SPEC, &format!("{SPEC}    tolerations: [{toleration}]\n"));
        assert_eq!(serving(&yaml), 2, "{toleration}");
    }
    let yaml = change(&tainted(sgx), SPEC, &format!("{SPEC}    tolerations: [{{key: sgx, value: other}}]\n"));
    assert_eq!(serving(&yaml), 1);
    assert_eq!(serving(&tainted("{key: sgx, effect: PreferNoSchedule}")), 2);
    assert_eq!(serving(&tainted("{key: node.kubernetes.io/unschedulable, effect: NoSchedule}")), 2);
}

#[test]
fn devices_are_counted_by_container_and_only_of_pods_that_hold_them() {
    let status = status(&answer(SETTLED));
    assert_eq!(status["usedSGXDevicesPerNode"], json!({"node-1": 2, "node-2": 1}));
    assert_eq!(status["availableSGXDevicesPerNode"], json!({"node-1": 18, "node-2": 19}));
    assert_eq!(status["availableSGXDevices"], 37);
}

#[test]
fn init_containers_hold_devices_as_the_scheduler_counts_them() {
    let app = r#"{nodeName: node-2, containers: [{resources: {limits: {sgx.intel.com/enclave: "1", memory: 1Gi}}}]}"#;
    let used = |init: &str| {
        let spec = app.replace("containers:", &format!("initContainers: [{init}], containers:"));
        status(&answer(&with(app, &spec)))["usedSGXDevicesPerNode"]["node-2"].clone()
    };
    let container =
        |count: u8, more: &str| format!("{{resources: {{limits: {{sgx.intel.com/enclave: \"{count}\"}}}}{more}}}");
    assert_eq!(used(&container(3, "")), 3, "one after the other");
    assert_eq!(used(&format!("{}, {}", container(3, ""), container(2, ""))), 3);
    assert_eq!(used(&container(3, ", restartPolicy: Always")), 4, "beside the others");
    assert_eq!(used(&format!("{}, {}", container(3, ", restartPolicy: Always"), container(2, ""))), 5);
}

#[test]
fn what_is_null_reads_like_what_is_not_there() {
    let other = "{nodeName: node-3, containers: [{}]}";
    let nulls =
        change(SETTLED, other, "{nodeName: null, containers: [{resources: null}, {resources: {limits: null}}]}");
    let node = "      metadata: {name: node-3, labels: {zone: c}}\n";
    let nulls = change(&nulls, node, "      metadata: {name: node-3, labels: null}\n      spec: null\n");
    let nulls = change(
        &nulls,
        "status: {allocatable: {pods: \"110\"}, capacity: {pods: \"110\"}",
        "status: {allocatable: null, capacity: null",
    );
    assert_eq!(status(&answer(&nulls)), status(&answer(SETTLED)));
}

#[test]
fn a_node_without_a_free_device_is_an_alert() {
    let answer = answer(&with(NODE_2, &NODE_2.replace("\"20\"", "\"1\"")));
    assert_snapshot!(verdict(&answer), @"UNHEALTHY NoFreeDevice: all SGX devices are in use on node-2; raise spec.capacitySGXPods, end pods that hold a device, or add nodes with SGX");
    assert_eq!(status(&answer)["sgxDeviceAlert"], json!({"enclave": 1}));
    assert_eq!(status(&answer)["servingReplicaRatio"], "1/2");
}

#[test]
fn more_devices_in_use_than_there_are_leave_none_free() {
    let answer = answer(&with(r#"sgx.intel.com/enclave: "1", memory"#, r#"sgx.intel.com/enclave: "30", memory"#));
    assert_eq!(status(&answer)["availableSGXDevicesPerNode"]["node-2"], 0);
    assert_eq!(status(&answer)["availableSGXDevices"], 18);
}

#[test]
fn a_node_that_loses_sgx_loses_its_label_and_is_no_alert() {
    let answer = answer(&with(NODE_2, r#"{allocatable: {pods: "250"}, capacity: {pods: "250"}"#));
    assert_snapshot!(verdict(&answer), @"HEALTHY Healthy: the plug-in is ready on all 3 selected nodes; nodes with SGX devices: 1");
    assert_eq!(labelled(&answer), ["node-1"]);
    assert_eq!(status(&answer)["sgxReplicaAlert"], 0);
}

#[test]
fn a_node_whose_plugin_is_replaced_keeps_its_label() {
    let answer = answer(
        &node_2(NODE_2_EMPTY, STARTING.replace("state: {}", "state: {waiting: {reason: ContainerCreating}}").as_str())
            .replace(
                "name: sgxplugin-2, namespace: scone-system, creationTimestamp: \"2023-11-14T22:00:02Z\"",
                "name: sgxplugin-2, namespace: scone-system, creationTimestamp: \"2023-11-14T23:12:02Z\"",
            ),
    );
    assert_snapshot!(verdict(&answer), @"PENDING PodsStarting: the plug-in is ready on 2 of 3 selected nodes so far");
    assert_eq!(labelled(&answer), ["node-1", "node-2"]);
    assert_eq!(status(&answer)["sgxReplicaAlert"], 1);
}

#[test]
fn a_node_whose_plugin_has_just_become_ready_keeps_its_label_for_a_minute() {
    let fresh = answer(&node_2(NODE_2_EMPTY, &young(READY)));
    assert_snapshot!(verdict(&fresh), @"PENDING DevicesComing: the plug-in runs, and its devices are not listed yet by the nodes");
    assert_eq!(labelled(&fresh), ["node-1", "node-2"]);
    let old = answer(&node_2(NODE_2_EMPTY, READY));
    assert_eq!(status(&old)["state"], "HEALTHY");
    assert_eq!(labelled(&old), ["node-1"]);
}

#[test]
fn plugins_that_come_up_are_pending_and_not_an_alert() {
    let yaml = change(SETTLED, READY, &young(READY).replace("True", "False").replace("true", "false"));
    let answer = answer(&yaml);
    assert_snapshot!(verdict(&answer), @"PENDING PodsStarting: the plug-in is ready on 2 of 3 selected nodes so far");
    assert_eq!(answer.condition("IsHealthy").unwrap().status, ConditionStatus::Unknown);
    assert_eq!(answer.desired().unwrap().requeue, Some(60));
}

#[test]
fn devices_that_are_still_on_their_way_are_pending() {
    let none =
        SETTLED.replace(r#", sgx.intel.com/enclave: "20""#, "").replace(r#"sgx.intel.com/capable: "true", "#, "");
    assert_snapshot!(verdict(&answer(&none)), @"UNHEALTHY NoSGXDevice: the plug-in runs on 3 selected nodes, but none of them offers sgx.intel.com/enclave; switch on SGX in their firmware, load a driver that makes /dev/sgx_enclave, or select other nodes in spec.nodeSelector");
    assert_snapshot!(verdict(&answer(&change(&none, READY, &young(READY)))), @"PENDING DevicesComing: the plug-in runs, and its devices are not listed yet by the nodes");
}

#[test]
fn a_selector_that_fits_no_node_for_five_minutes_is_unhealthy() {
    let none = with("desiredNumberScheduled: 3", "desiredNumberScheduled: 0");
    let since = |time: &str| verdict(&answer(&since(&answer(SETTLED), "NodesSelected", "False", time, &none)));
    assert_snapshot!(since("2023-11-14T23:08:00Z"), @"UNHEALTHY NoNodeSelected: the DaemonSet selects no node: check spec.nodeSelector against kubectl get nodes --show-labels, and spec.tolerations against the nodes' taints");
    assert!(since("2023-11-14T23:08:01Z").starts_with("PENDING NoNodeSelected"), "a new label may not be counted yet");
    assert_eq!(answer(&none).condition("NodesSelected").unwrap().status, ConditionStatus::False);
}

/// Such as by another release, with another selector, which cannot be changed.
#[test]
fn a_daemon_set_that_cannot_be_changed_is_a_problem_after_five_minutes() {
    let other = with(
        "labels: {app.kubernetes.io/name: sgxplugin, app.kubernetes.io/instance: sgxplugin}",
        "labels: {app: sgx}",
    );
    let since = |time: &str| {
        verdict(&answer(&since(&answer(SETTLED), "daemonset.sgxplugin/EqualSpecs", "False", time, &other)))
    };
    assert_snapshot!(since("2023-11-14T23:08:00Z"), @"UNHEALTHY RolloutStuck: the DaemonSet does not have the labels of the spec yet, after 5 minutes; the condition Stalled says what the cluster refuses; if it is a field that cannot be changed, delete the DaemonSet, and it is made again");
    assert_snapshot!(since("2023-11-14T23:08:01Z"), @"PENDING RollingOut: the DaemonSet does not have the labels of the spec yet");
}

#[test]
fn while_anything_is_wrong_it_asks_to_be_called_again() {
    let full = answer(&with(NODE_2, &NODE_2.replace("\"20\"", "\"1\"")));
    assert_eq!(full.desired().unwrap().requeue, Some(60));
    assert_eq!(answer(SETTLED).desired().unwrap().requeue, None);
}

#[test]
fn a_daemon_set_that_has_not_counted_its_pods_yet_is_what_is_waited_for() {
    assert_snapshot!(verdict(&answer(&with("numberAvailable: 3", "numberAvailable: 2"))), @"PENDING PodsStarting: the plug-in is ready on all 3 selected nodes, and the DaemonSet does not count all of them yet");
}

#[test]
fn what_is_unknown_is_minus_one_in_the_metrics_too() {
    let metric = |answer: &Answer, name: &str| {
        let samples = &answer.desired().unwrap().samples;
        samples.iter().find(|sample| sample.name == format!("scone_sgxplugin_{name}")).map(|sample| sample.value)
    };
    let users = answer(&answered("users", "{denied: missing grant}"));
    assert_eq!(metric(&users, "state"), Some(-1.0));
    assert_eq!(metric(&users, "serving_replica_ratio"), Some(-1.0));
    assert_eq!(metric(&users, "used_sgx_devices"), Some(-1.0));
    assert_eq!(metric(&users, "capacity_sgx_devices"), Some(40.0));
    let pending = answer(&with("numberAvailable: 3", "numberAvailable: 2"));
    assert_eq!((metric(&pending, "state"), metric(&pending, "serving_replica_ratio")), (Some(0.0), Some(1.0)));
}

/// As if the first answer were stored already, with a condition that the host has dated.
fn since(first: &Answer, type_: &str, value: &str, time: &str, yaml: &str) -> String {
    let mut status = status(first);
    status["conditions"] =
        json!([{"type": type_, "status": value, "reason": "R", "message": "m", "lastTransitionTime": time}]);
    change(yaml, "children:\n", &format!("  status: {status}\nchildren:\n"))
}

#[test]
fn pods_that_nobody_makes_are_a_problem_five_minutes_after_they_were_first_missed() {
    let first = answer(SETTLED);
    let none = answered("pods", "{objects: []}");
    let missed = |time: &str| verdict(&answer(&since(&first, "AllPodsPresent", "False", time, &none)));
    assert_snapshot!(missed("2023-11-14T22:00:00Z"), @"UNHEALTHY PodsMissing: 3 of 3 pods have not been made for 5 minutes; see: kubectl describe daemonset, and let quotas and the pod security level of the namespace (privileged) allow them");
    assert!(missed("2023-11-14T23:12:00Z").starts_with("PENDING PodsStarting"));
    let new = answer(&since(&first, "AllPodsPresent", "True", "2023-11-14T22:00:00Z", &none));
    assert!(verdict(&new).starts_with("PENDING PodsStarting"), "a new node has its five minutes");
}

#[test]
fn a_pod_missing_on_one_of_several_nodes_is_a_problem_too() {
    let four = with("desiredNumberScheduled: 3", "desiredNumberScheduled: 4");
    let answer = answer(&since(&answer(SETTLED), "AllPodsPresent", "False", "2023-11-14T22:00:00Z", &four));
    assert!(verdict(&answer).starts_with("UNHEALTHY PodsMissing: 1 of 4 pods"), "{}", verdict(&answer));
}

#[test]
fn a_plugin_is_not_healthy_in_the_answer_that_changes_its_daemon_set() {
    let answer = answer(&with(SPEC, &SPEC.replace("6.0.6", "6.1.0")));
    assert_snapshot!(verdict(&answer), @"PENDING RollingOut: the DaemonSet does not have the image of the spec yet");
    assert_eq!(labelled(&answer), ["node-1", "node-2"], "labels stay while it rolls out");
}

#[test]
fn slots_that_were_asked_for_are_forgotten_when_the_spec_names_none() {
    let asked = with("base.scone.cloud/slots-from: nodes", "base.scone.cloud/slots-from: spec");
    assert_eq!(slots(&asked), "250", "as many as the largest node takes pods");
    assert_eq!(slots(SETTLED), "20", "as the DaemonSet was made");
}

#[test]
fn while_pending_the_health_of_the_daemon_set_is_unknown_and_not_bad() {
    let starting = answer(&with("numberAvailable: 3", "numberAvailable: 2"));
    assert!(verdict(&starting).starts_with("PENDING"), "{}", verdict(&starting));
    let health = starting.condition("daemonset.sgxplugin/OwnedObjectHealthy").unwrap();
    assert_eq!(health.status, ConditionStatus::Unknown);
}

#[test]
fn an_update_that_rolls_out_is_pending() {
    assert!(
        verdict(&answer(&with("updatedNumberScheduled: 3", "updatedNumberScheduled: 2")))
            .starts_with("PENDING PodsStarting")
    );
    let unseen = answer(&with("observedGeneration: 3", "observedGeneration: 2"));
    assert_snapshot!(verdict(&unseen), @"PENDING RollingOut: the DaemonSet is not there yet, or its latest change has not been seen");
    assert_eq!(status(&unseen)["desiredReplicas"], -1);
}

#[test]
fn an_image_that_cannot_be_pulled_names_the_pull_secret() {
    let waiting =
        r#"state: {waiting: {reason: ImagePullBackOff, message: "Back-off: ErrImagePull: 401 Unauthorized"}}"#;
    let answer = answer(&with(READY, &STARTING.replace("state: {}", waiting)));
    assert_snapshot!(verdict(&answer), @"UNHEALTHY ImagePullFailed: node node-2: container sgxplugin of pod sgxplugin-2 cannot pull its image (401 Unauthorized); check spec.image and spec.imagePullSecrets, and renew the pull secret with: operator_controller --update");
    assert_eq!(status(&answer)["sgxReplicaAlert"], 1);
}

#[test]
fn a_plugin_that_crashes_says_how_it_ended() {
    let crashing =
        "state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 1, reason: Error}}";
    assert_snapshot!(verdict(&answer(&with(READY, &STARTING.replace("state: {}", crashing)))), @"UNHEALTHY ContainerCrashes: node node-2: container sgxplugin of pod sgxplugin-2 keeps crashing, last with exit code 1 (Error); see: kubectl logs --previous sgxplugin-2 -c sgxplugin, and make sure that /dev/sgx_enclave has mode 0666 on the host");
}

#[test]
fn a_plugin_that_may_not_start_names_the_pod_security_level() {
    let forbidden = r#"state: {waiting: {reason: CreateContainerError, message: "no such device"}}"#;
    assert_snapshot!(verdict(&answer(&with(READY, &STARTING.replace("state: {}", forbidden)))), @"UNHEALTHY ContainerCannotStart: node node-2: container sgxplugin of pod sgxplugin-2 cannot start (no such device); check spec.resources, and that the pod security level of the namespace is privileged");
}

#[test]
fn a_silent_node_is_named_instead_of_its_pod() {
    // Its containers are still called ready: nobody is there to say otherwise.
    let silent = READY.replace("\"True\"", "\"False\"");
    let node = format!(r#"{NODE_2}, conditions: [{{type: Ready, status: "Unknown"}}]"#);
    let yaml =
        change(&with(READY, &silent), &format!(r#"{NODE_2}, conditions: [{{type: Ready, status: "True"}}]"#), &node);
    let answer = answer(&yaml);
    assert_snapshot!(verdict(&answer), @"UNHEALTHY NodeNotReady: node node-2 is not ready, so the plug-in there is not either; repair the node or delete it; see: kubectl describe node node-2");
    assert_eq!(status(&answer)["readyReplicas"], 2);
    assert_eq!(labelled(&answer), ["node-1", "node-2"]);
}

#[test]
fn a_pod_that_had_five_minutes_and_is_not_ready_is_a_problem() {
    assert_snapshot!(verdict(&answer(&with(READY, STARTING))), @"UNHEALTHY PodNotReady: node node-2: pod sgxplugin-2 is not ready, and nothing says why; see: kubectl describe pod sgxplugin-2");
}

#[test]
fn what_may_not_be_listed_is_said_and_keeps_the_labels() {
    let first = answer(SETTLED);
    let nodes = answer(&after(&first, &answered("nodes", "{denied: missing grant}")));
    assert_snapshot!(verdict(&nodes), @"UNHEALTHY ClusterUnreadable: nodes cannot be listed: not granted: missing grant; let the operator list them");
    assert_eq!(labelled(&nodes), ["node-1", "node-2"]);
    let users = answer(&answered("users", "{denied: missing grant}"));
    assert_snapshot!(verdict(&users), @"UNHEALTHY ClusterUnreadable: pods that use SGX cannot be listed: not granted: missing grant; let the operator list them");
    assert_eq!(status(&users)["usedSGXDevices"], -1);
    assert_eq!(status(&users)["capacitySGXDevices"], 40);
    assert_eq!(status(&users)["servingReplicaRatio"], "-1/2");
}

#[test]
fn an_event_tells_a_change_of_state_and_nothing_else() {
    let first = answer(SETTLED);
    assert_eq!(first.desired().unwrap().events.len(), 1);
    let second = answer(&after(&first, SETTLED));
    assert!(second.desired().unwrap().events.is_empty());
    assert_eq!(status(&second), status(&first));
    let failing = answer(&after(&first, &with(NODE_2, &NODE_2.replace("\"20\"", "\"1\""))));
    let events = &failing.desired().unwrap().events;
    assert_eq!((events[0].reason.as_str(), events[0].action.as_str()), ("NoFreeDevice", "Check"));
}

#[test]
fn a_plugin_that_goes_keeps_nothing() {
    let first = answer(SETTLED);
    let going = answer(&format!("finalizing: true\n{}", after(&first, SETTLED)));
    let mut expected = status(&first);
    expected["state"] = "PENDING".into();
    assert_eq!(status(&going), expected, "what was known stays");
    let desired = going.desired().unwrap();
    assert!(desired.finalized && desired.children.is_empty() && desired.partials.is_empty());
    assert_snapshot!(verdict(&going), @"PENDING Deleting: the SGXPlugin is being deleted, and its objects with it");
}

#[test]
fn with_auto_update_the_registry_is_asked_for_the_image() {
    let asked = answer(&spec("autoUpdate: true")).outcome.unwrap();
    assert!(asked.queries.iter().any(|query| query.id == "image"));
    assert!(asked.conditions.iter().any(|condition| condition.type_ == "ImageWatched"));
    assert!(answer(SETTLED).outcome.unwrap().queries.iter().all(|query| query.id != "image"));
}
