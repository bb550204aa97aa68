//! Defaults and refusals.
#![expect(clippy::unwrap_used, reason = "the helpers of tests may do what tests may")]

use insta::assert_snapshot;
use operator_guest::{Module, native, testing};
use sgxplugin::SGXPluginModule;

fn judge(spec: &str) -> String {
    let request = format!(
        "object: {{apiVersion: base.scone.cloud/v1beta1, kind: SGXPlugin, metadata: {{name: sgxplugin}}, spec: {spec}}}\nsettings: {{version: 6.0.6}}\n"
    );
    testing::admit::<SGXPluginModule>(&request).unwrap().to_string()
}

/// Only the causes.
fn causes(spec: &str) -> String {
    let request = format!(
        "phase: validate\nobject: {{apiVersion: base.scone.cloud/v1beta1, kind: SGXPlugin, metadata: {{name: sgxplugin}}, spec: {spec}}}"
    );
    let denied = testing::admit::<SGXPluginModule>(&request).unwrap().denied;
    let causes = denied.map(|denied| denied.causes).unwrap_or_default();
    causes
        .iter()
        .map(|cause| format!("{} {}: {}", cause.reason, cause.field, cause.message))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn every_default_is_written_into_the_spec() {
    assert_snapshot!(judge("{}"));
}

#[test]
fn what_is_given_stays() {
    assert_snapshot!(judge(
        "{image: r.example.com/plugin:5.8.1, capacitySGXPods: 10000, namespace: mine, imagePullPolicy: Never, reinstallOnFatal: true}"
    ));
}

#[test]
fn slots_out_of_range_are_refused() {
    assert_snapshot!(causes("{capacitySGXPods: 10001}"), @"FieldValueInvalid spec.capacitySGXPods: 10001 is out of range; write how many SGX devices each node offers, from 1 to 10000, or leave it out for as many as pods");
    assert!(causes("{capacitySGXPods: 0}").contains("spec.capacitySGXPods"));
    assert_eq!(causes("{capacitySGXPods: 1}"), "");
}

#[test]
fn every_wrong_field_is_named_with_its_path_and_a_fix() {
    assert_snapshot!(
        causes("{image: 'https://r.example.com/p', imagePullPolicy: Sometimes, namespace: A_B, imagePullSecrets: [{name: Not_Ok}], nodeSelector: {'a/b/c': x}, podAnnotations: {'-a': x}, tolerations: [{}]}"),
        @r##"
FieldValueNotSupported spec.imagePullPolicy: "Sometimes" is none of Always, Never, IfNotPresent
FieldValueInvalid spec.image: "https://r.example.com/p" is no image; write registry/repository:tag, without spaces or a scheme
FieldValueInvalid spec.namespace: "A_B" is no namespace; write lower-case letters, digits and dashes, at most 63
FieldValueInvalid spec.imagePullSecrets[0].name: "Not_Ok" is no name of a Secret; write one such as scone-operator-pull
FieldValueInvalid spec.nodeSelector[a/b/c]: is no label key; write [dns.name/]name with a name of at most 63 characters
FieldValueInvalid spec.podAnnotations[-a]: is no annotation key; write [dns.name/]name of 63 characters
FieldValueRequired spec.tolerations[0].key: is needed with operator Equal; write Exists to tolerate every taint
"##
    );
}

#[test]
fn amounts_follow_the_rules_of_the_api_server() {
    assert_snapshot!(
        causes("{resources: {limits: {memory: lots, cpu: 1}, requests: {memory: -1, cpu: 1500m}}}"),
        @r#"
FieldValueInvalid spec.resources.limits[memory]: "lots" is no quantity; write a number such as 500m or 128Mi
FieldValueInvalid spec.resources.requests[memory]: "-1" is no quantity; write a number such as 500m or 128Mi
FieldValueInvalid spec.resources.requests[cpu]: 1500m is more than the limit 1; lower it, or raise the limit
"#
    );
    assert_eq!(causes("{resources: {limits: {memory: 1Gi, cpu: 2}, requests: {memory: 1024Mi, cpu: 500m}}}"), "");
}

#[test]
fn what_is_not_done_is_said() {
    assert!(judge("{autoUpdate: true, imagePullPolicy: IfNotPresent}").contains("spec.autoUpdate"));
    assert!(!judge("{autoUpdate: true}").contains("warnings"));
}

#[test]
fn a_name_that_fits_no_label_is_refused() {
    let request = format!(
        "phase: validate\nobject: {{apiVersion: base.scone.cloud/v1beta1, kind: SGXPlugin, metadata: {{name: {}}}, spec: {{}}}}",
        "a".repeat(64)
    );
    let denied = testing::admit::<SGXPluginModule>(&request).unwrap().denied.unwrap();
    assert_eq!(denied.causes[0].field, "metadata.name");
}

#[test]
fn a_deletion_is_nobodys_business() {
    let request = "operation: DELETE\nphase: validate\noldObject: {apiVersion: base.scone.cloud/v1beta1, kind: SGXPlugin, metadata: {name: s}, spec: {capacitySGXPods: 0}}";
    assert!(testing::admit::<SGXPluginModule>(request).unwrap().allowed());
}

#[test]
fn an_unknown_setting_is_refused_by_name() {
    let causes = native::validate_settings::<SGXPluginModule>(br#"{"namspace":"x"}"#.to_vec()).unwrap_err();
    assert_eq!(causes[0].field, "namspace");
}

#[test]
fn the_manifest_asks_for_what_is_used_and_no_more() {
    let mut manifest = serde_json::to_value(SGXPluginModule::manifest()).unwrap();
    manifest["kinds"][0]["crd"] = "the CRD".into();
    assert_snapshot!(serde_json::to_string_pretty(&manifest).unwrap());
}
