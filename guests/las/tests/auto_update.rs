//! `spec.autoUpdate`: a tag that is moved rolls the pods, and nothing else does.
#![expect(clippy::unwrap_used, reason = "the helpers of tests may do what tests may")]

use crate::support::{LAS_RUNS, answer, condition, status, verdict, with};
use k8s_openapi::api::apps::v1::DaemonSet;
use operator_guest::{Question, testing::Answer};

const OLD: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
const NEW: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";

/// A settled LAS with `autoUpdate` whose pods run `OLD`, and this answer of the registry.
fn watched(registry: &str) -> String {
    let running = LAS_RUNS.replace(
        "name: las,",
        &format!("name: las, image: \"registry.scontain.com/scone.cloud/las:6.0.6\", imageID: \"registry.scontain.com/scone.cloud/las@{OLD}\","),
    );
    with(LAS_RUNS, &running)
        .replace(
            "    hostPort: 18766\nchildren",
            "    hostPort: 18766\n    autoUpdate: true\n    imagePullSecrets: [{name: pull}, {name: more}]\nchildren",
        )
        .replace("answers:\n", &format!("answers:\n  image: {registry}\n"))
        .replace(
            "        nodeSelector: {sgx",
            "        imagePullSecrets: [{name: pull}, {name: more}]\n        nodeSelector: {sgx",
        )
}

fn says(digest: &str) -> String {
    format!("{{http: {{status: 200, headers: {{docker-content-digest: '{digest}'}}, body: ''}}}}")
}

fn rolled_for(answer: &Answer) -> Option<String> {
    let set: DaemonSet = answer.child("las").unwrap();
    set.spec.unwrap().template.metadata.unwrap().annotations.unwrap().remove("scone.cloud/image-digest")
}

#[test]
fn the_registry_is_asked_with_the_pull_secrets_of_the_spec() {
    let answer = answer(&watched(&says(OLD)));
    let query = answer.desired().unwrap().queries.iter().find(|query| query.id == "image").unwrap();
    let Question::Http(request) = &query.question else { panic!("{query:?}") };
    assert_eq!(request.method, "HEAD");
    assert_eq!(request.url, "https://registry.scontain.com/v2/scone.cloud/las/manifests/6.0.6");
    assert_eq!(query.extensions, [("operator/registry-credentials".to_owned(), b"pull\nmore".to_vec())]);
}

#[test]
fn a_tag_that_still_means_what_runs_changes_nothing() {
    let answer = answer(&watched(&says(OLD)));
    assert_eq!(rolled_for(&answer), None);
    assert_eq!(status(&answer)["state"], "HEALTHY", "{}", verdict(&answer));
    assert_eq!(
        condition(&answer, "ImageWatched"),
        format!("True Known: registry.scontain.com/scone.cloud/las:6.0.6 is {OLD}")
    );
}

#[test]
fn a_tag_that_was_moved_rolls_the_pods() {
    assert_eq!(rolled_for(&answer(&watched(&says(NEW)))).as_deref(), Some(NEW));
}

#[test]
fn pods_that_were_rolled_are_not_rolled_again() {
    let hash = "annotations: {las.scontain.com/dcap-key-hash: 3eb1bd439947eb76";
    let rolled = watched(&says(NEW)).replace(hash, &format!("{hash}, scone.cloud/image-digest: '{NEW}'"));
    let after = answer(&rolled.replace(&format!("las@{OLD}"), &format!("las@{NEW}")));
    assert_eq!(rolled_for(&after).as_deref(), Some(NEW));
    assert_eq!(status(&after)["state"], "HEALTHY", "{}", verdict(&after));
}

#[test]
fn a_registry_that_refuses_is_told_and_makes_nobody_unhealthy() {
    let answer = answer(&watched("{http: {status: 401, headers: {}, body: ''}}"));
    assert!(condition(&answer, "ImageWatched").starts_with("False RegistryRefuses: the registry answers status 401"));
    assert_eq!(status(&answer)["state"], "HEALTHY");
    assert_eq!(rolled_for(&answer), None);
}

#[test]
fn without_auto_update_no_registry_is_asked() {
    let answer = answer(crate::support::SETTLED);
    assert!(answer.desired().unwrap().queries.iter().all(|query| query.id != "image"));
    assert!(answer.condition("ImageWatched").is_err());
}
