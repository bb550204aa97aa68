//! Defaults and refusals.
#![expect(clippy::unwrap_used, reason = "the helpers of tests may do what tests may")]

use insta::assert_snapshot;
use operator_guest::{Module, native, testing};
use pull_secret::PullSecretModule;

const CREDENTIALS: &str = "registry: {credentials: [{name: a}]}";

fn request(spec: &str, settings: &str) -> String {
    format!(
        "object: {{apiVersion: images.banzaicloud.io/v1alpha1, kind: ImagePullSecret, metadata: {{name: pull}}, spec: {spec}}}\nsettings: {settings}\n"
    )
}

fn judge(spec: &str) -> String {
    testing::admit::<PullSecretModule>(&request(spec, "{namespace: sys}")).unwrap().to_string()
}

/// Only the causes.
fn causes_with(spec: &str, settings: &str) -> String {
    let denied = testing::admit::<PullSecretModule>(&request(spec, settings)).unwrap().denied;
    let causes = denied.map(|denied| denied.causes).unwrap_or_default();
    let line = |cause: &operator_guest::Cause| format!("{} {}: {}", cause.reason, cause.field, cause.message);
    causes.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn causes(spec: &str) -> String {
    causes_with(spec, "{}")
}

fn target(target: &str) -> String {
    causes(&format!("{{{CREDENTIALS}, target: {target}}}"))
}

fn warnings(target: &str) -> Vec<String> {
    let spec = format!("{{{CREDENTIALS}, target: {target}}}");
    testing::admit::<PullSecretModule>(&request(&spec, "{}")).unwrap().warnings
}

#[test]
fn every_default_is_written_into_the_spec() {
    assert_snapshot!(judge(&format!("{{{CREDENTIALS}, target: {{namespaces: {{names: [x]}}}}}}")));
}

#[test]
fn what_is_given_stays() {
    let judgement = judge(
        "{registry: {credentials: [{name: a, namespace: b}]}, target: {secret: {name: c}, namespaces: {names: [x]}}}",
    );
    assert!(!judgement.contains("object"), "{judgement}");
}

#[test]
fn without_credentials_it_is_refused() {
    assert_snapshot!(causes("{registry: {credentials: []}, target: {}}"), @"FieldValueRequired spec.registry.credentials: name at least one Secret with registry credentials");
}

#[test]
fn credentials_need_names_and_are_named_once() {
    assert_snapshot!(
        causes("{registry: {credentials: [{name: A}, {name: a, namespace: b.c}, {name: x}, {name: x, namespace: scone-system}]}, target: {}}"),
        @r#"
FieldValueInvalid spec.registry.credentials[0].name: "A" is no name of a Secret; write one such as scone-operator-pull
FieldValueInvalid spec.registry.credentials[1].namespace: "b.c" is no namespace; write lower-case letters, digits and dashes, at most 63
FieldValueDuplicate spec.registry.credentials[3]: scone-system/x is there twice; name it once
"#
    );
}

#[test]
fn an_administrator_narrows_where_credentials_may_come_from() {
    let spec = "{registry: {credentials: [{name: a, namespace: team}]}, target: {}}";
    assert_snapshot!(causes_with(spec, "{sourceNamespaces: [sys, vault]}"), @"FieldValueForbidden spec.registry.credentials[0].namespace: credentials may come from sys, vault only: so says the setting sourceNamespaces of module pull-secret");
    assert_eq!(causes_with(spec, "{sourceNamespaces: [sys, team]}"), "");
}

#[test]
fn the_secret_has_a_name_labels_and_annotations_as_kubernetes_takes_them() {
    assert_snapshot!(
        target("{secret: {name: Not_Ok, labels: {'a b': x, ok: 'not ok', images.banzaicloud.io/owner-uid: x}, annotations: {'-a': x, operator.scone.cloud/digest: x}}}"),
        @r#"
FieldValueInvalid spec.target.secret.name: "Not_Ok" is no name of a Secret; write one such as scone-operator-pull
FieldValueInvalid spec.target.secret.labels[a b]: is no label key; write [dns.name/]name with a name of at most 63 characters
FieldValueInvalid spec.target.secret.labels[ok]: "not ok" is no label value; at most 63 letters, digits, '-', '_', '.'
FieldValueInvalid spec.target.secret.annotations[-a]: is no annotation key; write [dns.name/]name of 63 characters
FieldValueForbidden spec.target.secret.labels[images.banzaicloud.io/owner-uid]: is written by the operator; remove it
FieldValueForbidden spec.target.secret.annotations[operator.scone.cloud/digest]: is written by the operator; remove it
"#
    );
}

#[test]
fn names_of_namespaces_are_names_and_there_once() {
    assert_snapshot!(target("{namespaces: {names: [a, B, a]}}"), @r#"
FieldValueInvalid spec.target.namespaces.names[1]: "B" is no namespace; write lower-case letters, digits and dashes, at most 63
FieldValueDuplicate spec.target.namespaces.names[2]: "a" is there twice; name it once
"#);
}

#[test]
fn expressions_follow_the_rules_of_kubernetes() {
    let expressions = "[{key: a, operator: Near}, {key: a, operator: In}, {key: a, operator: Exists, values: [x]}, {key: 'a b', operator: Exists}, {key: a, operator: NotIn, values: ['not ok']}]";
    assert_snapshot!(target(&format!("{{namespaces: {{labels: [{{matchExpressions: {expressions}}}]}}}}")), @r#"
FieldValueNotSupported spec.target.namespaces.labels[0].matchExpressions[0].operator: "Near" is none of In, NotIn, Exists, DoesNotExist
FieldValueRequired spec.target.namespaces.labels[0].matchExpressions[1].values: operator In needs at least one value
FieldValueInvalid spec.target.namespaces.labels[0].matchExpressions[2].values: must be empty with operator Exists; remove them, or write In
FieldValueInvalid spec.target.namespaces.labels[0].matchExpressions[3].key: is no label key; write [dns.name/]name with a name of at most 63 characters
FieldValueInvalid spec.target.namespaces.labels[0].matchExpressions[4].values: "not ok" is no label value; at most 63 letters, digits, '-', '_', '.'
"#);
    let of_pods = target(&format!("{{namespacesWithPods: {{annotations: [{{matchExpressions: {expressions}}}]}}}}"));
    assert!(!of_pods.contains("not ok"), "values of annotations may be any text: {of_pods}");
    assert!(
        of_pods.contains("spec.target.namespacesWithPods.annotations[0].matchExpressions[0].operator"),
        "{of_pods}"
    );
    assert_snapshot!(target("{namespaces: {labels: [{matchLabels: {a: 'not ok'}}], annotations: [{matchAnnotations: {a: 'is ok', 'b c': x}}]}}"), @r#"
FieldValueInvalid spec.target.namespaces.labels[0].matchLabels[a]: "not ok" is no label value; at most 63 letters, digits, '-', '_', '.'
FieldValueInvalid spec.target.namespaces.annotations[0].matchAnnotations[b c]: is no label key; write [dns.name/]name with a name of at most 63 characters
"#);
}

#[test]
fn a_target_without_a_selector_is_warned_of() {
    assert_snapshot!(warnings("{}").join("\n"), @"spec.target has no selector, so no namespace gets the Secret: add names, labels or annotations");
    assert_eq!(warnings("{namespaces: {names: [a]}}"), Vec::<String>::new());
}

#[test]
fn a_selector_that_fits_everything_is_warned_of() {
    let warnings = warnings(
        "{namespaces: {labels: [{}], annotations: [{matchAnnotations: {}}]}, namespacesWithPods: {labels: [{matchLabels: {a: b}}], annotations: [{}]}}",
    );
    assert_snapshot!(warnings.join("\n"), @r"
spec.target.namespaces.labels[0] is empty: every namespace gets the credentials
spec.target.namespaces.annotations[0] is empty: every namespace gets the credentials
spec.target.namespacesWithPods.annotations[0] is empty: every namespace with a pod gets the credentials
");
    assert!(warnings.iter().all(|warning| warning.len() <= 120));
}

#[test]
fn a_generated_name_is_not_known_when_defaults_are_written() {
    let request = format!(
        "operation: CREATE\nobject: {{apiVersion: images.banzaicloud.io/v1alpha1, kind: ImagePullSecret, metadata: {{name: '', generateName: pull-}}, spec: {{{CREDENTIALS}, target: {{namespaces: {{names: [x]}}}}}}}}"
    );
    assert!(testing::admit::<PullSecretModule>(&request).unwrap().allowed());
}

#[test]
fn an_unknown_setting_is_refused_by_name() {
    let causes = native::validate_settings::<PullSecretModule>(br#"{"sourceNamespace":"x"}"#.to_vec()).unwrap_err();
    assert_eq!(causes[0].field, "sourceNamespace");
    let all = br#"{"namespace":"a","registry":"b","version":"c","sourceNamespaces":["d"]}"#;
    assert!(native::validate_settings::<PullSecretModule>(all.to_vec()).is_ok());
}

#[test]
fn the_manifest_asks_for_what_is_used_and_no_more() {
    let mut manifest = serde_json::to_value(PullSecretModule::manifest()).unwrap();
    manifest["kinds"][0]["crd"] = "the CRD".into();
    assert_snapshot!(serde_json::to_string_pretty(&manifest).unwrap());
}
