//! A pod of CAS that is stuck Pending is deleted, ever less often, when its successor has a place to go.
#![expect(clippy::unwrap_used, reason = "the helpers of tests may do what tests may")]

use crate::support::{answer, set, status, with};
use operator_guest::Deed;
use serde_json::Value;

/// A pod that has been pending since 22:00:10; it is 23:13:00.
fn pending() -> Value {
    with(&[
        ("pod:cas-0/status", "{phase: Pending, conditions: [{type: Ready, status: 'False'}]}"),
        ("pod:cas-0/metadata/creationTimestamp", "'2023-11-14T23:06:00Z'"),
    ])
}

/// The UID that is deleted, and the back-off that the status tells; empty without.
fn told(tree: &Value) -> [String; 2] {
    let answer = answer(tree);
    let deleted = answer.desired().unwrap().actions.iter().find_map(|action| match &action.deed {
        Deed::Delete(deletion) => {
            assert_eq!(deletion.identity.to_string(), "Pod prod/cas-0");
            Some(deletion.uid.clone())
        }
        Deed::Http(_) => None,
    });
    let backoff =
        status(&answer).get("mainPodDeletionAttemptBackoffTime").map(|text| text.as_str().unwrap().to_owned());
    [deleted.unwrap_or_default(), backoff.unwrap_or_default()]
}

#[test]
fn after_five_minutes_it_is_deleted() {
    assert_eq!(told(&pending()), ["uid-cas-0", "10m0s"], "and the next one has to wait for twice the time");
    let mut young = pending();
    set(&mut young, "pod:cas-0/metadata/creationTimestamp", "'2023-11-14T23:09:00Z'");
    assert_eq!(told(&young), ["", ""]);
}

#[test]
fn a_pod_that_provisions_cas_is_not_stuck() {
    let mut provisions = pending();
    let running = "[{name: provision, state: {running: {startedAt: '2023-11-14T23:06:30Z'}}}]";
    set(&mut provisions, "pod:cas-0/status/initContainerStatuses", running);
    assert_eq!(told(&provisions), ["", ""]);
}

#[test]
fn it_is_not_deleted_while_no_other_node_takes_it() {
    let mut nowhere = pending();
    for node in ["node-1", "node-2", "node-3"] {
        set(&mut nowhere, &format!("node:{node}/spec/unschedulable"), "true");
    }
    assert_eq!(told(&nowhere)[0], "");
    let mut unlabelled = pending();
    set(&mut unlabelled, "parent/spec/nodeSelector", "{zone: nowhere}");
    assert_eq!(told(&unlabelled)[0], "");
    let mut silent = pending();
    for node in ["node-1", "node-2"] {
        set(&mut silent, &format!("node:{node}/status/conditions/0/status"), "Unknown");
    }
    assert_eq!(told(&silent)[0], "uid-cas-0", "one node is enough");
    set(&mut silent, "node:node-3/status/conditions/0/status", "Unknown");
    assert_eq!(told(&silent)[0], "");
}

#[test]
fn each_try_doubles_the_time_until_the_next_whatever_came_of_it() {
    for outcome in ["-", "{deleted: true}", "{deleted: false}", "{failed: forbidden}", "{timedOut: }"] {
        let mut tried = pending();
        set(&mut tried, "parent/status/mainPodDeletionAttemptBackoffTime", "10m0s");
        set(&mut tried, "answers/delete-uid-cas-0", outcome);
        assert_eq!(told(&tried), ["", "10m0s"], "{outcome}");
    }
}

#[test]
fn a_try_that_is_under_way_is_asked_for_again() {
    let mut trying = pending();
    set(&mut trying, "parent/status/mainPodDeletionAttemptBackoffTime", "10m0s");
    set(&mut trying, "answers/delete-uid-cas-0", "{pending: }");
    assert_eq!(told(&trying), ["uid-cas-0", "10m0s"]);
}

#[test]
fn a_pod_that_waits_for_its_image_is_not_deleted() {
    let mut waits = pending();
    let waiting = "[{name: cas, state: {waiting: {reason: ImagePullBackOff, message: unauthorized}}}]";
    set(&mut waits, "pod:cas-0/status/containerStatuses", waiting);
    assert_eq!(told(&waits), ["", ""]);
}

#[test]
fn the_next_pod_has_to_be_stuck_for_as_long_as_the_status_says() {
    let mut next = pending();
    set(&mut next, "parent/status/mainPodDeletionAttemptBackoffTime", "10m0s");
    assert_eq!(told(&next), ["", "10m0s"]);
    set(&mut next, "now", "1700003820");
    assert_eq!(told(&next), ["uid-cas-0", "20m0s"]);
}

#[test]
fn the_back_off_ends_at_an_hour() {
    let mut late = pending();
    set(&mut late, "parent/status/mainPodDeletionAttemptBackoffTime", "1h0m0s");
    set(&mut late, "now", "1700010000");
    assert_eq!(told(&late), ["uid-cas-0", "1h0m0s"]);
}

#[test]
fn a_pod_that_runs_ends_the_back_off_and_one_that_is_missing_keeps_it() {
    let before = ("parent/status/mainPodDeletionAttemptBackoffTime", "20m0s");
    assert_eq!(told(&with(&[before])), ["", ""]);
    assert_eq!(told(&with(&[before, ("answers/pods/objects/0", "-")])), ["", "20m0s"]);
}

#[test]
fn a_pod_that_leaves_is_not_deleted_again() {
    let mut leaving = pending();
    set(&mut leaving, "pod:cas-0/metadata/deletionTimestamp", "'2023-11-14T23:12:00Z'");
    set(&mut leaving, "parent/status/mainPodDeletionAttemptBackoffTime", "10m0s");
    assert_eq!(told(&leaving), ["", "10m0s"]);
}

#[test]
fn an_event_tells_of_it() {
    let events = answer(&pending()).outcome.unwrap().events;
    assert!(events.iter().any(|event| event.reason == "MainPodStuck" && event.message.contains("cas-0")), "{events:?}");
}
