//! Pods with a number each.

use serde_json::json;

use super::*;

fn with_claims(replicas: i64, policy: Value) -> Value {
    let mut set = workload("StatefulSet", replicas, "x:1");
    set["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "data", "mountPath": "/d"}]);
    set["spec"]["persistentVolumeClaimRetentionPolicy"] = policy;
    set["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}]);
    set
}

fn retain() -> Value {
    json!({"whenDeleted": "Retain", "whenScaled": "Retain"})
}

#[test]
fn pods_come_in_order_each_when_the_one_before_it_is_ready() {
    let stage = Stage::new(&["n"]);
    stage.apply(&workload("StatefulSet", 2, "x:1"));
    stage.until(|stage| stage.find("Pod", "x-0").is_some());
    while stage.find("Pod", "x-1").is_none() {
        let before = stage.object("Pod", "x-0");
        assert!(stage.step());
        let ready = before["status"]["conditions"].as_array().is_some_and(|all| {
            all.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
        });
        assert_eq!(stage.find("Pod", "x-1").is_some(), ready, "{before}");
    }
    stage.settle();
    assert_eq!(stage.names("Pod"), ["x-0", "x-1"]);
}

#[test]
fn pods_that_need_no_order_come_together() {
    let stage = Stage::new(&["n"]);
    let mut set = workload("StatefulSet", 3, "x:1");
    set["spec"]["podManagementPolicy"] = "Parallel".into();
    stage.apply(&set);
    stage.step();
    assert_eq!(stage.names("Pod"), ["x-0", "x-1", "x-2"]);
}

#[test]
fn a_set_reports_as_its_controller_does() {
    let stage = Stage::new(&["n"]);
    stage.apply(&workload("StatefulSet", 1, "x:1"));
    stage.step();
    let status = &stage.object("StatefulSet", "x")["status"];
    assert_eq!((&status["replicas"], &status["availableReplicas"]), (&json!(1), &json!(0)));
    assert_eq!(status.get("readyReplicas"), None, "nought is left out");
    stage.settle();
    let status = stage.object("StatefulSet", "x")["status"].clone();
    let revision = stage.object("Pod", "x-0")["metadata"]["labels"]["controller-revision-hash"].clone();
    let expected = json!({"observedGeneration": 1, "replicas": 1, "readyReplicas": 1, "availableReplicas": 1,
        "currentReplicas": 1, "updatedReplicas": 1, "currentRevision": revision, "updateRevision": revision,
        "collisionCount": 0});
    assert_eq!(status, expected);
}

#[test]
fn a_new_template_replaces_pods_from_the_highest_down_and_the_revision_follows() {
    let stage = Stage::new(&["n"]);
    stage.apply(&workload("StatefulSet", 2, "x:1"));
    stage.settle();
    stage.apply(&workload("StatefulSet", 2, "x:2"));
    stage.until(|stage| stage.find("Pod", "x-1").is_some_and(|_| stage.image("x-1") == "x:2"));
    assert_eq!(stage.image("x-0"), "x:1");
    let status = stage.object("StatefulSet", "x")["status"].clone();
    assert_ne!(status["currentRevision"], status["updateRevision"]);
    stage.settle();
    assert_eq!(stage.image("x-0"), "x:2");
    let status = stage.object("StatefulSet", "x")["status"].clone();
    assert_eq!((&status["currentRevision"], &status["updatedReplicas"]), (&status["updateRevision"], &json!(2)));
}

#[test]
fn a_pod_that_never_gets_ready_is_not_replaced_by_a_better_template_until_somebody_deletes_it() {
    let mut stage = Stage::new(&["n"]);
    stage.world.actors.bad_images.push(("x:bad".into(), "no such image".into()));
    stage.apply(&workload("StatefulSet", 1, "x:bad"));
    stage.settle();
    stage.apply(&workload("StatefulSet", 1, "x:2"));
    stage.settle();
    assert_eq!(stage.image("x-0"), "x:bad");
    stage.delete("Pod", "x-0");
    stage.settle();
    assert_eq!(stage.image("x-0"), "x:2");
}

#[test]
fn pods_below_the_partition_stay_what_they_were_also_when_made_again() {
    let stage = Stage::new(&["n"]);
    stage.apply(&workload("StatefulSet", 2, "x:1"));
    stage.settle();
    let mut set = workload("StatefulSet", 2, "x:2");
    set["spec"]["updateStrategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 1}});
    stage.apply(&set);
    stage.settle();
    stage.delete("Pod", "x-0");
    stage.settle();
    assert_eq!((stage.image("x-0"), stage.image("x-1")), ("x:1".into(), "x:2".into()));
}

#[test]
fn a_set_that_is_updated_by_hand_waits_for_its_pods_to_be_deleted() {
    let stage = Stage::new(&["n"]);
    let mut set = workload("StatefulSet", 1, "x:1");
    set["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
    stage.apply(&set);
    stage.settle();
    set["spec"]["template"] = template("x:2");
    stage.apply(&set);
    stage.settle();
    assert_eq!(stage.image("x-0"), "x:1");
    stage.delete("Pod", "x-0");
    stage.settle();
    assert_eq!(stage.image("x-0"), "x:2");
}

#[test]
fn the_highest_pods_go_first_when_a_set_shrinks() {
    let stage = Stage::new(&["n"]);
    stage.apply(&workload("StatefulSet", 3, "x:1"));
    stage.settle();
    stage.apply(&workload("StatefulSet", 1, "x:1"));
    stage.step();
    assert_eq!(stage.names("Pod"), ["x-0", "x-1"]);
    stage.settle();
    assert_eq!(stage.names("Pod"), ["x-0"]);
}

#[test]
fn each_pod_has_claims_of_its_own_that_outlive_it_and_the_set() {
    let stage = Stage::new(&["n"]);
    stage.apply(&with_claims(2, retain()));
    stage.settle();
    assert_eq!(stage.names("PersistentVolumeClaim"), ["data-x-0", "data-x-1"]);
    let volumes = stage.object("Pod", "x-1")["spec"]["volumes"].clone();
    assert_eq!(volumes, json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data-x-1"}}]));
    let uid = stage.object("PersistentVolumeClaim", "data-x-0")["metadata"]["uid"].clone();
    stage.delete("StatefulSet", "x");
    stage.settle();
    assert_eq!(stage.names("Pod"), Vec::<String>::new());
    assert_eq!(stage.names("PersistentVolumeClaim"), ["data-x-0", "data-x-1"]);
    stage.apply(&with_claims(1, retain()));
    stage.settle();
    let claim = stage.object("PersistentVolumeClaim", "data-x-0");
    assert_eq!(claim["metadata"]["uid"], uid, "the claim that is there is used again");
}

#[test]
fn claims_go_with_the_set_or_with_its_pods_when_it_says_so() {
    let stage = Stage::new(&["n"]);
    let policy = json!({"whenDeleted": "Delete", "whenScaled": "Delete"});
    stage.apply(&with_claims(2, policy.clone()));
    stage.settle();
    stage.apply(&with_claims(1, policy));
    stage.settle();
    assert_eq!(stage.names("PersistentVolumeClaim"), ["data-x-0"]);
    stage.delete("StatefulSet", "x");
    stage.settle();
    assert_eq!(stage.names("PersistentVolumeClaim"), Vec::<String>::new());
}

#[test]
fn a_policy_that_changes_later_holds_for_the_claims_that_are_there() {
    let stage = Stage::new(&["n"]);
    stage.apply(&with_claims(1, retain()));
    stage.settle();
    stage.apply(&with_claims(1, json!({"whenDeleted": "Delete", "whenScaled": "Retain"})));
    stage.settle();
    stage.delete("StatefulSet", "x");
    stage.settle();
    assert_eq!(stage.names("PersistentVolumeClaim"), Vec::<String>::new());
}

#[test]
fn the_claim_templates_of_a_set_are_for_life() {
    let stage = Stage::new(&["n"]);
    stage.apply(&with_claims(1, retain()));
    let mut set = with_claims(1, retain());
    set["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] = "2Gi".into();
    let (code, answer) = stage.try_apply(&set);
    assert_eq!((code, answer["reason"].as_str()), (422, Some("Invalid")));
    let cause = &answer["details"]["causes"][0];
    assert_eq!((&cause["field"], &cause["reason"]), (&json!("spec"), &json!("FieldValueForbidden")));
}

#[test]
fn a_mount_of_neither_volume_nor_claim_is_told_before_it_can_hang() {
    let stage = Stage::new(&["n"]);
    let mut set = with_claims(1, retain());
    set["spec"]["volumeClaimTemplates"][0]["metadata"]["name"] = "other".into();
    let (code, answer) = stage.try_apply(&set);
    assert_eq!(code, 422);
    assert!(answer["message"].as_str().unwrap().contains("there is no volume \"data\""), "{answer}");
}

#[test]
fn history_is_kept_as_long_as_the_set_says() {
    let stage = Stage::new(&["n"]);
    for version in 1..6 {
        let mut set = workload("StatefulSet", 1, &format!("x:{version}"));
        set["spec"]["revisionHistoryLimit"] = 2.into();
        stage.apply(&set);
        stage.settle();
    }
    assert_eq!(stage.names("ControllerRevision").len(), 3, "the current one and two before it");
}
