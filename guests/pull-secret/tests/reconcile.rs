//! What the module answers: one rule each, from a settled cluster with one line changed.
#![expect(clippy::unwrap_used, reason = "the helpers of tests may do what tests may")]

use crate::support::{
    SETTLED, another_namespace, answer, child, children, condition, config, encoded, many, replaced, since, situation,
    situations, source, status, verdict, with,
};
use insta::assert_snapshot;
use serde_json::{Value, json};

#[test]
fn a_settled_cluster_stays_as_it_is() {
    assert_snapshot!(answer(SETTLED));
}

#[test]
fn credentials_of_two_sources_are_in_thirty_namespaces() {
    let answer = answer(include_str!("bench-30.yaml"));
    assert_snapshot!(verdict(&answer), @"Ready Reconciled: Secret sconeapps is in all namespaces that fit, 30 of them");
    assert_eq!(children(&answer).len(), 30);
    assert!(answer.desired().unwrap().events.is_empty());
}

#[test]
fn a_namespace_that_comes_to_fit_gets_the_secret() {
    let answer = answer(&another_namespace());
    assert_eq!(children(&answer), ["apps/sconeapps", "batch/sconeapps", "dev/sconeapps"]);
    assert_snapshot!(verdict(&answer), @"Ready Distributing: Secret sconeapps is not in every namespace as it should be yet");
    assert_eq!(status(&answer)["managedNamespaces"], json!(["apps", "batch"]), "told once it is there");
}

#[test]
fn a_namespace_that_no_longer_fits_loses_it() {
    let answer = answer(&situation("withdrawing"));
    assert_eq!(children(&answer), ["apps/sconeapps"]);
    assert_snapshot!(verdict(&answer), @"Ready Withdrawing: Secrets that are no longer wanted go: batch/sconeapps");
}

#[test]
fn a_namespace_on_its_way_out_gets_nothing() {
    assert!(!children(&answer(SETTLED)).iter().any(|child| child.starts_with("old/")));
    let staying = answer(&with(", deletionTimestamp: \"2023-11-14T23:00:00Z\"", ""));
    assert!(children(&staying).contains(&"old/sconeapps".to_owned()));
}

#[test]
fn the_namespace_of_the_source_keeps_the_source_itself() {
    assert!(!children(&answer(SETTLED)).iter().any(|child| child.starts_with("scone-system/")));
    let renamed = answer(&with("secret: {name: sconeapps", "secret: {name: copied"));
    assert!(children(&renamed).contains(&"scone-system/copied".to_owned()));
}

#[test]
fn a_secret_of_somebody_else_is_left_alone_and_named() {
    let answer = answer(&situation("foreign"));
    assert_eq!(children(&answer), ["apps/sconeapps", "batch/sconeapps"]);
    assert_snapshot!(verdict(&answer), @"Failed SecretReconciliationError: a Secret sconeapps that this ImagePullSecret has not made is in dev (belongs to nobody), and is left alone; delete it there, or choose another spec.target.secret.name");
    assert_snapshot!(condition(&answer, "NoForeignSecrets"), @"False Found: namespaces: 1");
}

#[test]
fn whose_a_foreign_secret_is_is_told() {
    let whose = |metadata: &str| {
        let yaml =
            replaced(&situation("foreign"), "namespace: dev, labels: {}", &format!("namespace: dev, {metadata}"));
        verdict(&answer(&yaml))
    };
    let owner = "ownerReferences: [{kind: ImagePullSecret, name: other, uid: '77', controller: true}]";
    assert!(whose(owner).contains("dev (belongs to ImagePullSecret other)"), "{}", whose(owner));
    let set = "labels: {applyset.kubernetes.io/part-of: x}";
    assert!(whose(set).contains("dev (belongs to the set x)"), "{}", whose(set));
    let other = "labels: {images.banzaicloud.io/owner-uid: '77'}";
    assert!(whose(other).contains("dev (belongs to nobody)"), "{}", whose(other));
}

/// The published operator marks its Secrets with the uid of their `ImagePullSecret`.
#[test]
fn a_secret_that_the_published_operator_made_for_this_resource_is_taken_over() {
    let made = "namespace: dev, labels: {images.banzaicloud.io/owner-uid: 5f6c}";
    let answer = answer(&replaced(&situation("foreign"), "namespace: dev, labels: {}", made));
    assert!(children(&answer).contains(&"dev/sconeapps".to_owned()));
    assert!(verdict(&answer).contains("Distributing"));
}

#[test]
fn a_secret_of_this_resource_that_its_cache_shows_early_is_not_foreign() {
    let early = "namespace: dev, labels: {applyset.kubernetes.io/part-of: applyset-of-sconeapps}";
    let answer = answer(&replaced(&situation("foreign"), "namespace: dev, labels: {}", early));
    assert!(children(&answer).contains(&"dev/sconeapps".to_owned()));
}

#[test]
fn sources_are_merged_and_of_two_for_one_registry_the_later_counts() {
    let second =
        config(&json!({"auths": {"registry.scontain.com": {"auth": "bmV3"}, "b.example.com": {"auth": "eA=="}}}));
    let yaml = with(
        "{name: sconeapps, namespace: scone-system}]",
        "{name: sconeapps, namespace: scone-system}, {name: late}]",
    );
    let late = format!(
        "answers:\n  credential-1:\n    objects:\n    - {{apiVersion: v1, kind: Secret, metadata: {{name: late, namespace: scone-system}}, type: kubernetes.io/dockerconfigjson, data: {{.dockerconfigjson: {second}}}}}\n"
    );
    let answer = answer(&replaced(&yaml, "answers:\n", &late));
    let merged = child(&answer, "apps")["data"][".dockerconfigjson"].as_str().unwrap().to_owned();
    let expected = json!({"auths": {"b.example.com": {"auth": "eA=="}, "registry.scontain.com": {"auth": "bmV3"}}});
    assert_eq!(merged, config(&expected));
    assert_eq!(
        status(&answer)["sourceSecretStatus"],
        json!({"scone-system/late": "Available", "scone-system/sconeapps": "Available"})
    );
}

#[test]
fn the_secret_has_the_labels_and_annotations_of_the_spec() {
    let answer = answer(&with("labels: {team: a}}", "labels: {team: b}, annotations: {note: hello}}"));
    let metadata = child(&answer, "apps")["metadata"].clone();
    assert_eq!(metadata["labels"], json!({"team": "b", "images.banzaicloud.io/owner-uid": "5f6c"}));
    assert_eq!(metadata["annotations"], json!({"note": "hello"}));
    assert!(verdict(&answer).contains("Distributing"), "what is there differs: {}", verdict(&answer));
}

#[test]
fn new_credentials_go_everywhere_and_then_the_time_moves() {
    let new = config(&json!({"auths": {"r": {"auth": "eA=="}}}));
    let first = answer(&source(&new));
    assert_eq!(child(&first, "batch")["data"][".dockerconfigjson"], new.as_str());
    assert_eq!(status(&first)["lastSuccessfulReconciliation"], "2023-11-14T22:00:00Z");
    assert!(first.desired().unwrap().events.is_empty());
    let written = since(&with(crate::support::DATA, &new), "SecretsDistributed", "2023-11-14T23:12:00Z");
    let second = answer(&written);
    assert_eq!(status(&second)["lastSuccessfulReconciliation"], "2023-11-14T23:13:00Z");
    assert_eq!(second.desired().unwrap().events[0].reason, "Reconciled");
}

#[test]
fn a_quiet_cluster_is_told_nothing_new_as_time_goes_by() {
    let later = answer(&with("now: 1700003580", "now: 1700103580"));
    assert_eq!(status(&later), status(&answer(SETTLED)));
    assert!(later.desired().unwrap().events.is_empty() && later.desired().unwrap().requeue.is_none());
}

#[test]
fn bad_sources_are_told_with_their_fix_and_what_was_distributed_stays() {
    let mut told = String::new();
    for name in [
        "missing source",
        "wrong type",
        "no key",
        "broken",
        "no base64",
        "no credentials",
        "expired",
        "own copy",
        "source denied",
        "source unreadable",
    ] {
        let answer = answer(&situation(name));
        assert_eq!(children(&answer), ["apps/sconeapps kept", "batch/sconeapps kept"], "{name}");
        assert_eq!(status(&answer)["managedNamespaces"], json!(["apps", "batch"]), "{name}");
        let event = &answer.desired().unwrap().events[0];
        assert_eq!(event.reason, "SourceCredentialsError", "{name}");
        let word = status(&answer)["sourceSecretStatus"]["scone-system/sconeapps"].clone();
        told += &format!("{}: {}\n", word.as_str().unwrap(), verdict(&answer));
    }
    assert_snapshot!(told, @r#"
Missing: Failed SourceCredentialsError: Secret scone-system/sconeapps does not exist; make it: kubectl create secret docker-registry --help, type kubernetes.io/dockerconfigjson. What was distributed stays
WrongType: Failed SourceCredentialsError: Secret scone-system/sconeapps has type "Opaque"; make it again with type kubernetes.io/dockerconfigjson. What was distributed stays
Broken: Failed SourceCredentialsError: Secret scone-system/sconeapps has no key .dockerconfigjson; make it again: kubectl create secret docker-registry --help. What was distributed stays
Broken: Failed SourceCredentialsError: Secret scone-system/sconeapps has a .dockerconfigjson that is no Docker configuration (line 1, column 19); make it again: kubectl create secret docker-registry --help. What was distributed stays
Broken: Failed SourceCredentialsError: Secret scone-system/sconeapps has a .dockerconfigjson that is no base64; make it again: kubectl create secret docker-registry --help. What was distributed stays
Broken: Failed SourceCredentialsError: Secret scone-system/sconeapps has a .dockerconfigjson without credentials in auths; make it again: kubectl create secret docker-registry --help. What was distributed stays
Expired: Failed SourceCredentialsError: Secret scone-system/sconeapps has expired credentials; renew them. What was distributed stays
OwnCopy: Failed SourceCredentialsError: Secret scone-system/sconeapps is a copy that this ImagePullSecret has made; name its source in spec.registry.credentials. What was distributed stays
Unreadable: Failed SourceCredentialsError: Secret scone-system/sconeapps cannot be read (not granted: add it); let the operator read it. What was distributed stays
Unreadable: Failed SourceCredentialsError: Secret scone-system/sconeapps cannot be read; see the log of the operator. What was distributed stays
"#);
}

#[test]
fn what_is_kept_would_come_back_with_its_content() {
    let kept = child(&answer(&situation("broken")), "apps");
    assert_eq!(kept["data"][".dockerconfigjson"], crate::support::DATA);
    assert_eq!(kept["metadata"]["labels"], json!({"team": "a", "images.banzaicloud.io/owner-uid": "5f6c"}));
}

#[test]
fn without_credentials_a_namespace_that_no_longer_fits_loses_the_secret_all_the_same() {
    let answer =
        answer(&replaced(&situation("broken"), "name: job-1, namespace: batch", "name: job-1, namespace: dev-2"));
    assert_eq!(children(&answer), ["apps/sconeapps kept"]);
}

#[test]
fn one_bad_source_of_two_holds_back_both() {
    let yaml = with(
        "{name: sconeapps, namespace: scone-system}]",
        "{name: sconeapps, namespace: scone-system}, {name: late}]",
    );
    let answer = answer(&replaced(&yaml, "answers:\n", "answers:\n  credential-1: {objects: []}\n"));
    assert_eq!(children(&answer), ["apps/sconeapps kept", "batch/sconeapps kept"]);
    assert_eq!(status(&answer)["sourceSecretStatus"]["scone-system/late"], "Missing");
    assert_eq!(status(&answer)["sourceSecretStatus"]["scone-system/sconeapps"], "Available");
}

/// Nothing of what the sources hold appears in what is said.
#[test]
fn no_situation_tells_a_secret() {
    for (name, yaml) in situations() {
        let answer = answer(&yaml);
        let desired = answer.desired().unwrap();
        let mut said = format!("{:?} {:?} {:?}", desired.conditions, desired.events, answer.logs);
        said += &String::from_utf8_lossy(desired.status.as_deref().unwrap());
        for secret in ["hunter2", "aHVudGVyMg", "robot", "cm9ib3Q"] {
            assert!(!said.contains(secret), "{name}: {said}");
        }
    }
}

#[test]
fn until_everything_is_known_nothing_is_taken_away() {
    let answer = answer(&situation("unknown"));
    assert_eq!(children(&answer), ["apps/sconeapps kept", "batch/sconeapps kept"]);
    assert_eq!(status(&answer)["status"], "Ready", "what was known stays");
    assert_snapshot!(verdict(&answer), @"Ready Observing: namespaces and Secrets are not known yet");
}

#[test]
fn what_cannot_be_listed_is_told_and_nothing_is_taken_away() {
    for (name, what) in
        [("namespaces denied", "namespaces"), ("pods denied", "pods"), ("secrets unreadable", "Secrets")]
    {
        let answer = answer(&situation(name));
        assert_eq!(children(&answer), ["apps/sconeapps kept", "batch/sconeapps kept"], "{name}");
        assert!(
            verdict(&answer).starts_with(&format!("Failed ReconciliationFailed: {what} cannot be listed")),
            "{name}"
        );
    }
}

#[test]
fn a_selector_that_fits_no_namespace_is_fine_and_told() {
    let answer = answer(&situation("none"));
    assert_snapshot!(condition(&answer, "NamespacesSelected"), @"False None: namespaces that fit: 0");
    assert!(children(&answer).is_empty());
}

#[test]
fn a_namespace_that_is_named_and_not_there_is_told() {
    let answer = answer(&with(
        "      namespaces:\n        annotations",
        "      namespaces:\n        names: [dev, ghost]\n        annotations",
    ));
    assert_snapshot!(condition(&answer, "NamespacesSelected"), @"True Selected: namespaces that fit: 3; named, but not there: ghost");
    assert!(children(&answer).contains(&"dev/sconeapps".to_owned()));
}

#[test]
fn what_the_cluster_has_not_done_for_five_minutes_it_refuses() {
    for (name, type_) in [("new namespace", "SecretsDistributed"), ("withdrawing", "SecretsWithdrawn")] {
        let told = |time: &str| verdict(&answer(&since(&situation(name), type_, time)));
        assert!(told("2023-11-14T23:08:00Z").starts_with("Failed Secret"), "{}", told("2023-11-14T23:08:00Z"));
        assert!(told("2023-11-14T23:08:01Z").starts_with("Ready "), "{}", told("2023-11-14T23:08:01Z"));
    }
    assert_snapshot!(verdict(&answer(&situation("stuck"))), @"Failed SecretReconciliationError: Secret sconeapps is not in every namespace as it should be yet, after 5 minutes; the condition Stalled says what the cluster refuses");
    assert_snapshot!(verdict(&answer(&situation("not withdrawn"))), @"Failed SecretDeletionError: Secrets that are no longer wanted are still there after 5 minutes: batch/sconeapps; the condition Stalled says what the cluster refuses, and a finalizer on the Secret holds it too");
}

#[test]
fn the_same_failure_is_one_event() {
    let first = answer(&situation("expired"));
    let reason = status(&first)["reason"].as_str().unwrap().to_owned();
    let said = format!("    status: Failed\n    reason: '{reason}'\n");
    let second = answer(&replaced(&situation("expired"), "    status: Ready\n", &said));
    assert_eq!(first.desired().unwrap().events.len(), 1);
    assert!(second.desired().unwrap().events.is_empty());
}

fn with_password(password: &str) -> operator_guest::testing::Answer {
    answer(&source(&config(&json!({"auths": {"r": {"auth": encoded(format!("user:{password}").as_bytes())}}}))))
}

#[test]
fn the_end_of_credentials_is_read_from_tokens_and_an_annotation() {
    let left = |answer: &operator_guest::testing::Answer| answer.desired().unwrap().requeue;
    let jwt = |exp: i64| {
        format!(
            "e30.{}.sig",
            encoded(format!("{{\"exp\":{exp},\"x\":\"??>>\"}}").as_bytes())
                .trim_end_matches('=')
                .replace('+', "-")
                .replace('/', "_")
        )
    };
    assert_eq!(status(&with_password(&jwt(1_700_003_580)))["sourceSecretStatus"]["scone-system/sconeapps"], "Expired");
    assert_eq!(
        status(&with_password(&jwt(1_700_003_581)))["sourceSecretStatus"]["scone-system/sconeapps"],
        "Available"
    );
    assert_eq!(status(&with_password("a.b.c"))["sourceSecretStatus"]["scone-system/sconeapps"], "Available");
    let annotated = |time: &str| {
        let metadata = "metadata: {name: sconeapps, namespace: scone-system}\n";
        let until = format!(
            "metadata: {{name: sconeapps, namespace: scone-system, annotations: {{pull-secret.scone.cloud/valid-until: \"{time}\"}}}}\n"
        );
        answer(&with(metadata, &until))
    };
    let valid = annotated("2023-11-14T23:20:00Z");
    assert_eq!(left(&valid), Some(420), "it is computed again when they end");
    assert_eq!(status(&valid)["validitySeconds"], 4_800, "from the last change to their end");
    assert_eq!(left(&annotated("2033-11-14T23:20:00Z")), Some(3_600));
    assert!(verdict(&annotated("2023-11-14T23:13:00Z")).starts_with("Failed SourceCredentialsError"));
}

#[test]
fn selectors_mean_what_they_mean_in_kubernetes() {
    let chosen = |selectors: &str| -> Vec<String> {
        let namespaces = json!([
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a", "labels": {"tier": "x"}, "annotations": {"dotted.key/b": "1"}}},
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "b", "labels": {"tier": "y"}}},
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "c", "labels": null}},
        ]);
        let mut file: Value = serde_json::from_str(&many(0, "x")).unwrap();
        file["answers"]["namespaces"]["objects"] = namespaces;
        let pods = json!([{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "b", "labels": {"app": "z"}}}]);
        file["answers"]["pods-by-label-0"]["objects"] = pods;
        file["parent"]["spec"]["target"] = serde_json::from_str(selectors).unwrap();
        let answer = answer(&file.to_string());
        answer.desired().unwrap().children.iter().map(|c| c.identity.namespace.clone().unwrap()).collect()
    };
    let labels = |expression: &str| {
        chosen(&format!(r#"{{"namespaces": {{"labels": [{{"matchExpressions": [{expression}]}}]}}}}"#))
    };
    assert_eq!(labels(r#"{"key": "tier", "operator": "In", "values": ["x", "z"]}"#), ["a"]);
    assert_eq!(labels(r#"{"key": "tier", "operator": "NotIn", "values": ["x", "z"]}"#), ["b", "c"]);
    assert_eq!(labels(r#"{"key": "tier", "operator": "Exists"}"#), ["a", "b"]);
    assert_eq!(labels(r#"{"key": "tier", "operator": "DoesNotExist"}"#), ["c"]);
    assert_eq!(chosen(r#"{"namespaces": {"labels": [{}]}}"#), ["a", "b", "c"]);
    assert_eq!(
        chosen(r#"{"namespaces": {"names": ["c"], "annotations": [{"matchAnnotations": {"dotted.key/b": "1"}}]}}"#),
        ["a", "c"]
    );
    assert_eq!(chosen(r#"{"namespacesWithPods": {"labels": [{"matchLabels": {"app": "z"}}]}}"#), ["b"]);
    assert_eq!(
        chosen(
            r#"{"namespacesWithPods": {"labels": [{"matchExpressions": [{"key": "app", "operator": "In", "values": ["q"]}]}]}}"#
        ),
        Vec::<String>::new()
    );
    assert_eq!(chosen("{}"), Vec::<String>::new());
}

#[test]
fn only_what_selectors_name_is_asked_for_and_pods_only_where_they_matter() {
    let fields = |target: &str| {
        let mut file: Value = serde_json::from_str(&many(0, "x")).unwrap();
        file["parent"]["spec"]["target"] = serde_json::from_str(target).unwrap();
        let answer = answer(&file.to_string());
        let queries = answer.desired().unwrap().queries.clone();
        let line = |query: &operator_guest::Query| match &query.question {
            operator_guest::Question::Objects(objects) => {
                let labels: Vec<_> = objects.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
                format!("{} {} [{}]", query.id, objects.fields.join(" "), labels.join(" "))
            }
            other => format!("{other:?}"),
        };
        queries
            .iter()
            .map(line)
            .filter(|line| !line.starts_with("credential") && !line.starts_with("named"))
            .collect::<Vec<_>>()
    };
    assert_eq!(fields(r#"{"namespaces": {"names": ["a"]}}"#), ["namespaces metadata.deletionTimestamp []"]);
    assert_eq!(
        fields(
            r#"{"namespaces": {"labels": [{"matchLabels": {"x": "1"}}, {"matchExpressions": [{"key": "y/z", "operator": "Exists"}]}], "annotations": [{"matchAnnotations": {"a.b/c": "1"}}]}}"#
        ),
        ["namespaces metadata.annotations metadata.deletionTimestamp metadata.labels.x metadata.labels.y/z []"]
    );
    assert_eq!(
        fields(
            r#"{"namespacesWithPods": {"labels": [{"matchLabels": {"x": "1"}}], "annotations": [{"matchAnnotations": {"y": "1"}}]}}"#
        ),
        [
            "namespaces metadata.deletionTimestamp []",
            "pods-by-label-0 metadata.labels.x metadata.namespace [x=1]",
            "pods-by-annotation-0 metadata.annotations.y metadata.namespace []",
        ]
    );
}

fn size(answer: &operator_guest::testing::Answer) -> usize {
    let desired = answer.desired().unwrap();
    let refs = |r: &operator_guest::ObjectRef| r.name.len() + r.kind.len() + r.api_version.len() + 64;
    desired.children.iter().map(|child| child.document.len() + refs(&child.identity) + 16).sum::<usize>()
        + 64 * desired.children.len()
}

#[test]
fn two_thousand_namespaces_fit_with_five_kibibytes_of_credentials() {
    let answer = answer(&many(2_000, &"p".repeat(5 * 1024)));
    assert_eq!(children(&answer).len(), 2_000);
    assert!(size(&answer) < 16 * 1024 * 1024, "{}", size(&answer));
    assert!(verdict(&answer).contains("Distributing"), "{}", verdict(&answer));
}

#[test]
fn what_does_not_fit_into_one_answer_is_told_and_the_rest_is_served() {
    let many_small = answer(&situation("too many"));
    assert_eq!(children(&many_small).len(), 3_000);
    assert_snapshot!(verdict(&many_small), @"Failed ReconciliationFailed: 3100 namespaces fit, and one ImagePullSecret serves 3000 with credentials of this size; the others get nothing: select fewer, or make a second one with other selectors and another spec.target.secret.name");
    let large = answer(&many(2_000, &"p".repeat(12 * 1024)));
    assert!(children(&large).len() < 2_000 && size(&large) < 16 * 1024 * 1024);
    assert!(verdict(&large).contains("2000 namespaces fit, and one ImagePullSecret serves"));
}

/// A namespace whose name comes first must not take the place of one that works.
#[test]
fn where_there_is_no_room_those_that_have_the_secret_keep_it() {
    let mut file: Value = serde_json::from_str(&many(3_100, "x")).unwrap();
    file["children"] =
        json!([{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "team-3099"}}]);
    assert!(children(&answer(&file.to_string())).contains(&"team-3099/s".to_owned()));
}

#[test]
fn a_spec_that_was_stored_without_a_webhook_and_is_wrong_is_refused_by_field() {
    let answer = answer(&SETTLED.replace(
        "matchAnnotations: {sconeapps/inject-pull-secret: \"true\"}}]\n      namespacesWithPods",
        "matchExpressions: [{key: a, operator: Near}]}]\n      namespacesWithPods",
    ));
    assert!(
        format!("{:?}", answer.failure())
            .contains("spec.target.namespaces.annotations[0].matchExpressions[0].operator")
    );
}

#[test]
fn a_source_outside_of_the_allowed_namespaces_is_refused() {
    let answer = answer(&with("settings: {namespace: scone-system}", "settings: {sourceNamespaces: [vaults]}"));
    assert!(format!("{:?}", answer.failure()).contains("sourceNamespaces"), "{answer}");
}
