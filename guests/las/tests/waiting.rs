//! What is waited for, and for how long: silent nodes, pods that nobody makes, objects that are not the wanted ones.
#![expect(clippy::unwrap_used, reason = "the helpers of tests may do what tests may")]

use crate::support::{LAS_RUNS, SETTLED, after, answer, condition, labels, pod_spec, status, verdict, with};
use insta::assert_snapshot;
use operator_guest::testing::Answer;
use serde_json::json;

/// The settled cluster without pods.
fn without_pods() -> String {
    without_pods_of(SETTLED)
}

fn without_pods_of(yaml: &str) -> String {
    format!("{}  pods: {{objects: []}}\n", yaml.split("  pods:\n").next().unwrap())
}

/// A list of conditions with this one, which the host has written.
fn since(type_: &str, status: &str, time: &str) -> String {
    json!([{"type": type_, "status": status, "reason": "R", "message": "m", "lastTransitionTime": time}]).to_string()
}

/// The types of all conditions that speak against a healthy resource.
fn doubts(answer: &Answer) -> Vec<String> {
    let good = |type_: &str| if type_.ends_with("DeletionPresent") { "False" } else { "True" };
    let conditions = &answer.desired().unwrap().conditions;
    let bad = conditions.iter().filter(|c| !format!("{:?}", c.status).ends_with(good(&c.type_)));
    bad.map(|c| c.type_.clone()).collect()
}

#[test]
fn a_healthy_las_has_no_condition_that_speaks_against_it() {
    assert_eq!(doubts(&answer(SETTLED)), Vec::<String>::new());
}

#[test]
fn a_silent_node_is_named_and_loses_its_labels() {
    let silent = with(r#"{type: Ready, status: "True"}"#, r#"{type: Ready, status: "Unknown"}"#);
    let answer = answer(&silent.replace("numberAvailable: 1", "numberAvailable: 0"));
    assert_snapshot!(verdict(&answer), @"UNHEALTHY NodeNotReady: node node-1 is not ready, so LAS there is not either; repair the node or delete it; see: kubectl describe node node-1");
    assert!(labels(&answer).is_empty());
    assert_eq!(status(&answer)["nodes"]["node-1"]["isReady"], false);
    assert_eq!(status(&answer)["lasReplicaAlert"], 1);
    assert_eq!(status(&answer)["lasProbeAlert"], -1);
}

#[test]
fn a_node_that_does_not_say_how_it_is_counts_as_ready() {
    let quiet = with(r#", status: {conditions: [{type: Ready, status: "True"}]}"#, "");
    assert_eq!(status(&answer(&quiet))["state"], "HEALTHY");
}

#[test]
fn while_pending_it_asks_to_be_called_again() {
    let young = LAS_RUNS.replace("ready: true", "ready: false").replace("22:00:12", "23:12:40");
    assert_eq!(answer(&with(LAS_RUNS, &young)).desired().unwrap().requeue, Some(60));
    assert_eq!(answer(SETTLED).desired().unwrap().requeue, None);
}

/// On another node a pod may have had its time meanwhile.
#[test]
fn while_unhealthy_it_asks_to_be_called_again() {
    let failed = answer(&with("name: probe, ready: true", "name: probe, ready: false"));
    assert!(verdict(&failed).starts_with("UNHEALTHY ProbeFailed"));
    assert_eq!(failed.desired().unwrap().requeue, Some(60));
}

/// The label of a node is seen before the controller of the `DaemonSet` has counted it.
#[test]
fn a_node_that_is_selected_in_this_moment_is_no_problem() {
    let none = with("desiredNumberScheduled: 1", "desiredNumberScheduled: 0");
    assert_snapshot!(verdict(&answer(&none)), @"PENDING NoNodeSelected: the DaemonSet selects no node: check spec.nodeSelector against kubectl get nodes --show-labels, and spec.tolerations against the nodes' taints");
    assert_snapshot!(condition(&answer(&none), "NodesSelected"), @"False None: the DaemonSet selects no node");
    assert_eq!(status(&answer(&none))["lasReplicaAlert"], -1);
    assert_snapshot!(condition(&answer(SETTLED), "NodesSelected"), @"True Selected: the DaemonSet selects at least one node");
}

#[test]
fn a_selector_that_fits_no_node_for_five_minutes_is_unhealthy() {
    let none = with("desiredNumberScheduled: 1", "desiredNumberScheduled: 0");
    let since = |time: &str| {
        let first = since("NodesSelected", "False", time);
        verdict(&answer(&after(&answer(SETTLED), &first, &none)))
    };
    assert!(since("2023-11-14T23:08:00Z").starts_with("UNHEALTHY NoNodeSelected"), "{}", since("2023-11-14T23:08:00Z"));
    assert!(since("2023-11-14T23:08:01Z").starts_with("PENDING NoNodeSelected"), "{}", since("2023-11-14T23:08:01Z"));
}

/// "-1: no pod expected, which also counts as an error".
#[test]
fn no_node_with_sgx_for_five_minutes_is_unhealthy() {
    let none =
        with("sgx.intel.com/capable: \"true\", ", "").replace("desiredNumberScheduled: 1", "desiredNumberScheduled: 0");
    let since = |time: &str| {
        let first = since("NodesSelected", "False", time);
        verdict(&answer(&after(&answer(SETTLED), &first, &without_pods_of(&none))))
    };
    assert!(since("2023-11-14T23:08:00Z").starts_with("UNHEALTHY NoSGXNode"), "{}", since("2023-11-14T23:08:00Z"));
    assert!(since("2023-11-14T23:08:01Z").starts_with("PENDING NoSGXNode"), "{}", since("2023-11-14T23:08:01Z"));
}

#[test]
fn what_the_cluster_has_not_done_for_five_minutes_it_refuses() {
    let image = "    image: registry.scontain.com/scone.cloud/las:6.0.6\n    dcapKey";
    let newer = with(image, &image.replace("6.0.6", "6.1.0"));
    let (head, rest) = SETTLED.split_once("- apiVersion: apps/v1").unwrap();
    let (_, secret) = rest.split_once("- apiVersion: v1\n  kind: Secret").unwrap();
    let absent = format!("{head}- apiVersion: v1\n  kind: Secret{secret}");
    let set = "metadata: {name: las, namespace: scone-system, generation: 3";
    let leaving = with(set, &format!("{set}, deletionTimestamp: \"2023-11-14T22:00:00Z\""));
    for (yaml, condition, status) in [
        (&newer, "daemonset.las/EqualSpecs", "False"),
        (&absent, "daemonset.las/OwnedObjectPresent", "False"),
        (&leaving, "daemonset.las/OwnedObjectDeletionPresent", "True"),
    ] {
        let told = |time: &str| {
            let first = since(condition, status, time);
            verdict(&answer(&after(&answer(SETTLED), &first, yaml)))
        };
        assert!(told("2023-11-14T23:08:00Z").starts_with("UNHEALTHY RolloutStuck"), "{}", told("2023-11-14T23:08:00Z"));
        assert!(told("2023-11-14T23:08:01Z").starts_with("PENDING RollingOut"), "{}", told("2023-11-14T23:08:01Z"));
    }
    let first = since("daemonset.las/EqualSpecs", "False", "2023-11-14T22:00:00Z");
    assert_snapshot!(verdict(&answer(&after(&answer(SETTLED), &first, &newer))), @"UNHEALTHY RolloutStuck: the DaemonSet does not have the image of the spec yet, after 5 minutes; the condition Stalled says what the cluster refuses; if it is a field that cannot be changed, delete the DaemonSet, and it is made again");
}

#[test]
fn a_daemon_set_that_has_not_counted_its_pods_yet_is_what_is_waited_for() {
    let answer = answer(&with("numberAvailable: 1", "numberAvailable: 0"));
    assert_snapshot!(verdict(&answer), @"PENDING PodsStarting: LAS works on all 1 selected nodes, and the DaemonSet does not count all of them yet");
}

#[test]
fn a_pod_on_a_node_that_is_gone_labels_nothing() {
    assert_eq!(labels(&answer(SETTLED)).len(), 1);
    assert!(
        labels(&answer(&with("kind: Node, metadata: {name: node-1", "kind: Node, metadata: {name: node-2"))).is_empty()
    );
}

#[test]
fn pods_that_nobody_makes_are_a_problem_five_minutes_after_they_were_first_missed() {
    let first = answer(SETTLED);
    let missed =
        |time: &str| verdict(&answer(&after(&first, &since("AllPodsPresent", "False", time), &without_pods())));
    assert_snapshot!(missed("2023-11-14T23:08:00Z"), @"UNHEALTHY PodsMissing: 1 of 1 pods have not been made for 5 minutes; see: kubectl describe daemonset, and let quotas and the pod security level of the namespace allow them");
    assert_snapshot!(missed("2023-11-14T23:08:01Z"), @"PENDING PodsStarting: LAS works on 0 of 1 selected nodes so far");
}

#[test]
fn pods_that_were_not_missed_before_have_their_five_minutes_however_old_the_daemon_set_is() {
    assert!(verdict(&answer(&without_pods())).starts_with("PENDING PodsStarting"));
    let first = answer(SETTLED);
    let present = answer(&after(&first, &since("AllPodsPresent", "True", "2023-11-14T22:00:00Z"), &without_pods()));
    assert!(verdict(&present).starts_with("PENDING PodsStarting"));
    assert_snapshot!(condition(&present, "AllPodsPresent"), @"False Missing: 0 of 1 pods are there");
}

#[test]
fn a_pod_missing_on_one_of_several_nodes_is_a_problem_too() {
    let two = with("desiredNumberScheduled: 1", "desiredNumberScheduled: 2");
    let missed = since("AllPodsPresent", "False", "2023-11-14T22:30:00Z");
    let answer = answer(&after(&answer(SETTLED), &missed, &two));
    assert_snapshot!(verdict(&answer), @"UNHEALTHY PodsMissing: 1 of 2 pods have not been made for 5 minutes; see: kubectl describe daemonset, and let quotas and the pod security level of the namespace allow them");
    assert_snapshot!(condition(&answer, "AllPodsPresent"), @"False Missing: 1 of 2 pods are there");
}

#[test]
fn a_pod_that_leaves_counts_as_there_for_five_minutes() {
    let leaving = |time: &str| {
        let pod =
            with("metadata: {name: las-x7k2p", &format!("metadata: {{deletionTimestamp: \"{time}\", name: las-x7k2p"));
        condition(&answer(&pod), "AllPodsPresent")
    };
    assert_snapshot!(leaving("2023-11-14T23:12:00Z"), @"True Present: 1 of 1 pods are there");
    assert_snapshot!(leaving("2023-11-14T23:00:00Z"), @"False Missing: 0 of 1 pods are there");
}

#[test]
fn while_pending_the_health_of_what_it_owns_is_unknown_and_not_bad() {
    let starting = answer(&with("numberAvailable: 1", "numberAvailable: 0"));
    assert!(verdict(&starting).starts_with("PENDING"), "{}", verdict(&starting));
    assert_snapshot!(condition(&starting, "daemonset.las/OwnedObjectHealthy"), @"Unknown InProgress: 0 of 1 pods are available");
    let waiting = LAS_RUNS.replace("running: {startedAt: \"2023-11-14T22:00:12Z\"}", "waiting: {reason: ErrImagePull}");
    let failing = answer(&with("numberAvailable: 1", "numberAvailable: 0").replace(LAS_RUNS, &waiting));
    assert!(verdict(&failing).starts_with("UNHEALTHY ImagePullFailed"), "{}", verdict(&failing));
    assert_snapshot!(condition(&failing, "daemonset.las/OwnedObjectHealthy"), @"False NotAvailable: 0 of 1 pods are available");
}

#[test]
fn without_its_secret_a_las_with_a_key_is_pending() {
    let secret = SETTLED.split("- apiVersion: v1\n  kind: Secret\n").nth(1).unwrap().split("answers:").next().unwrap();
    let missing = answer(&with(&format!("- apiVersion: v1\n  kind: Secret\n{secret}"), ""));
    assert_snapshot!(verdict(&missing), @"PENDING RollingOut: the Secret is not there yet");
    assert_snapshot!(condition(&missing, "secret.las-dcap/OwnedObjectPresent"), @"False Missing: it does not exist yet");
}

#[test]
fn a_secret_with_another_key_is_not_the_wanted_one() {
    let other = answer(&with("data: {dcap-key: MDEy", "data: {dcap-key: MDEz"));
    assert_snapshot!(verdict(&other), @"PENDING RollingOut: the Secret does not have the dcapKey of the spec yet");
    assert_snapshot!(condition(&other, "secret.las-dcap/EqualSpecs"), @"False Different: it does not have the dcapKey of the spec yet");
}

#[test]
fn a_las_is_not_healthy_in_the_answer_that_changes_its_daemon_set() {
    let parent = "namespace: scone-system\n    image: registry.scontain.com/scone.cloud/las:6.0.6";
    let answer = answer(&with(parent, &parent.replace("6.0.6", "6.1.0")));
    assert_snapshot!(verdict(&answer), @"PENDING RollingOut: the DaemonSet does not have the image of the spec yet");
    assert_snapshot!(condition(&answer, "daemonset.las/EqualSpecs"), @"False Different: it does not have the image of the spec yet");
    assert_eq!(labels(&answer).len(), 1, "labels stay while it rolls out");
}

#[test]
fn a_change_of_any_field_of_the_pods_is_waited_for() {
    let spec = |line: &str| verdict(&answer(&with("    hostPort: 18766\n", &format!("    {line}\n"))));
    for (line, field) in [
        ("hostPort: 18767", "ports"),
        ("imagePullPolicy: Never", "imagePullPolicy"),
        ("podAnnotations: {a: b}", "annotations"),
        ("nodeSelector: {zone: a}", "nodeSelector"),
        ("tolerations: [{operator: Exists}]", "tolerations"),
        ("imagePullSecrets: [{name: mine}]", "imagePullSecrets"),
        ("podSecurityContext: {runAsUser: 1000}", "securityContext"),
        ("resources: {limits: {memory: 1Gi}}", "resources"),
        ("resources: {requests: {cpu: 1}}", "resources"),
    ] {
        assert_eq!(spec(line), format!("PENDING RollingOut: the DaemonSet does not have the {field} of the spec yet"));
    }
}

#[test]
fn an_amount_that_the_server_writes_in_another_way_is_no_change() {
    let asked = "hostPort: 18766\n    resources: {limits: {memory: 1024Mi}, requests: {cpu: 1000m, memory: 0.5Gi}}";
    let made = "{limits: {sgx.intel.com/enclave: \"1\", memory: 1Gi}, requests: {cpu: \"1\", memory: 512Mi}}";
    let limits = "resources: {limits: {sgx.intel.com/enclave: \"1\"}}";
    let yaml = with("hostPort: 18766\n", &format!("{asked}\n")).replacen(limits, &format!("resources: {made}"), 1);
    assert_eq!(status(&answer(&yaml))["state"], "HEALTHY", "{}", verdict(&answer(&yaml)));
}

#[test]
fn an_object_that_is_being_deleted_is_waited_for() {
    let set = "metadata: {name: las, namespace: scone-system, generation: 3";
    let leaving = answer(&with(set, &format!("{set}, deletionTimestamp: \"2023-11-14T23:12:00Z\"")));
    assert_snapshot!(verdict(&leaving), @"PENDING RollingOut: the DaemonSet is being deleted, and is made again when it is gone");
    assert_snapshot!(condition(&leaving, "daemonset.las/OwnedObjectDeletionPresent"), @"True Deleting: it is being deleted");
    assert_snapshot!(condition(&answer(SETTLED), "daemonset.las/OwnedObjectDeletionPresent"), @"False NotDeleting: nobody has asked for its deletion");
}

#[test]
fn objects_in_another_namespace_are_those_of_an_earlier_spec() {
    let moved = answer(&with("    namespace: scone-system\n    image", "    namespace: elsewhere\n    image"));
    assert_snapshot!(verdict(&moved), @"PENDING RollingOut: the DaemonSet is not there yet, or its latest change has not been seen");
    assert_snapshot!(condition(&moved, "AllOwnedObjectsPresent"), @"False Missing: not all of them exist yet");
    assert_snapshot!(condition(&moved, "secret.las-dcap/OwnedObjectPresent"), @"False Missing: it does not exist yet");
}

#[test]
fn a_request_for_no_enclave_does_not_contradict_the_limit() {
    let zero = "hostPort: 18766\n    resources: {requests: {sgx.intel.com/enclave: \"0\", cpu: 50m}}";
    let resources = pod_spec(&answer(&with("hostPort: 18766", zero)))["containers"][0]["resources"].clone();
    assert_eq!(resources["requests"], json!({"cpu": "50m", "sgx.intel.com/enclave": "1"}));
}

#[test]
fn a_las_that_goes_is_pending_and_keeps_nothing() {
    let first = answer(SETTLED);
    let going = answer(&format!("finalizing: true\n{}", after(&first, "[]", SETTLED)));
    let mut expected = status(&first);
    expected["state"] = "PENDING".into();
    assert_eq!(status(&going), expected, "what was known stays");
    assert!(going.desired().unwrap().finalized && going.desired().unwrap().children.is_empty());
    assert_snapshot!(verdict(&going), @"PENDING Deleting: the LAS is being deleted, and its objects with it");
    assert_snapshot!(condition(&going, "DeletionPresent"), @"True Deleting: the LAS is being deleted, and its objects with it");
}

#[test]
fn a_las_that_goes_before_it_had_a_status_has_a_whole_one() {
    let going = answer(&format!("finalizing: true\n{SETTLED}"));
    assert_eq!(status(&going), json!({"state": "PENDING", "version": "unknown"}));
}
