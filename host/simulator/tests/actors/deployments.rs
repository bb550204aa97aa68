//! Pods that are all alike.

use serde_json::json;

use super::*;

fn images(stage: &Stage) -> Vec<String> {
    let mut images: Vec<String> = stage.names("Pod").iter().map(|pod| stage.image(pod)).collect();
    images.sort();
    images
}

fn condition(stage: &Stage, type_: &str) -> (String, String) {
    let deployment = stage.object("Deployment", "x");
    let all = deployment["status"]["conditions"].as_array().unwrap().clone();
    let found = all.iter().find(|condition| condition["type"] == type_).unwrap();
    (found["status"].as_str().unwrap().to_owned(), found["reason"].as_str().unwrap().to_owned())
}

fn told(status: &str, reason: &str) -> (String, String) {
    (status.to_owned(), reason.to_owned())
}

#[test]
fn a_deployment_gets_its_pods_and_says_so() {
    let stage = Stage::new(&["n"]);
    stage.apply(&workload("Deployment", 2, "x:1"));
    stage.settle();
    assert_eq!(images(&stage), ["x:1", "x:1"]);
    let mut status = stage.object("Deployment", "x")["status"].clone();
    status.as_object_mut().unwrap().remove("conditions");
    let expected = json!({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2,
        "availableReplicas": 2});
    assert_eq!(status, expected);
    assert_eq!(condition(&stage, "Available"), told("True", "MinimumReplicasAvailable"));
    assert_eq!(condition(&stage, "Progressing"), told("True", "NewReplicaSetAvailable"));
}

#[test]
fn a_new_template_rolls_out_without_a_gap() {
    let stage = Stage::new(&["n"]);
    stage.apply(&workload("Deployment", 3, "x:1"));
    stage.settle();
    stage.apply(&workload("Deployment", 3, "x:2"));
    while images(&stage) != ["x:2", "x:2", "x:2"] {
        assert!(stage.step(), "it came to rest: {:?}", images(&stage));
        let ready = stage.object("Deployment", "x")["status"]["availableReplicas"].as_i64().unwrap_or(0);
        assert!(ready >= 3, "only {ready} are available");
        assert!(stage.names("Pod").len() <= 4, "more than the surge: {:?}", images(&stage));
    }
    stage.settle();
    assert_eq!(condition(&stage, "Progressing"), told("True", "NewReplicaSetAvailable"));
}

#[test]
fn a_deployment_that_recreates_stops_all_old_pods_before_the_first_new_one() {
    let stage = Stage::new(&["n"]);
    let mut deployment = workload("Deployment", 2, "x:1");
    deployment["spec"]["strategy"] = json!({"type": "Recreate"});
    stage.apply(&deployment);
    stage.settle();
    deployment["spec"]["template"] = template("x:2");
    stage.apply(&deployment);
    while images(&stage) != ["x:2", "x:2"] {
        assert!(stage.step());
        let mut there = images(&stage);
        there.dedup();
        assert!(there.len() <= 1, "{there:?}");
    }
}

#[test]
fn a_rollout_that_cannot_go_on_keeps_the_old_pods_and_says_so_after_its_deadline() {
    let mut stage = Stage::new(&["n"]);
    stage.apply(&workload("Deployment", 2, "x:1"));
    stage.settle();
    stage.world.actors.bad_images.push(("x:bad".into(), "no such image".into()));
    stage.apply(&workload("Deployment", 2, "x:bad"));
    stage.settle();
    assert_eq!(images(&stage), ["x:1", "x:1", "x:bad"]);
    assert_eq!(condition(&stage, "Progressing").0, "True");
    stage.world.cluster.advance(601);
    stage.settle();
    assert_eq!(condition(&stage, "Progressing"), told("False", "ProgressDeadlineExceeded"));
    stage.apply(&workload("Deployment", 2, "x:2"));
    stage.settle();
    assert_eq!(images(&stage), ["x:2", "x:2"]);
    assert_eq!(condition(&stage, "Progressing"), told("True", "NewReplicaSetAvailable"));
}

#[test]
fn a_deployment_grows_and_shrinks() {
    let stage = Stage::new(&["n"]);
    for replicas in [1, 4, 2, 0] {
        stage.apply(&workload("Deployment", replicas, "x:1"));
        stage.settle();
        assert_eq!(i64::try_from(images(&stage).len()).unwrap(), replicas);
    }
}

#[test]
fn a_deleted_pod_is_replaced_under_another_name() {
    let stage = Stage::new(&["n"]);
    stage.apply(&workload("Deployment", 1, "x:1"));
    stage.settle();
    let first = stage.names("Pod");
    stage.delete("Pod", &first[0]);
    stage.settle();
    let second = stage.names("Pod");
    assert_eq!(second.len(), 1);
    assert_ne!(first, second);
}

#[test]
fn a_paused_deployment_does_nothing() {
    let stage = Stage::new(&["n"]);
    stage.apply(&workload("Deployment", 1, "x:1"));
    stage.settle();
    let mut deployment = workload("Deployment", 1, "x:2");
    deployment["spec"]["paused"] = true.into();
    stage.apply(&deployment);
    stage.settle();
    assert_eq!(images(&stage), ["x:1"]);
}

#[test]
fn everything_goes_with_a_deployment() {
    let stage = Stage::new(&["n"]);
    stage.apply(&workload("Deployment", 2, "x:1"));
    stage.settle();
    stage.delete("Deployment", "x");
    stage.settle();
    assert_eq!((stage.names("ReplicaSet"), stage.names("Pod")), (Vec::new(), Vec::new()));
}
