//! Defaults and refusals.
#![expect(clippy::unwrap_used, reason = "the helpers of tests may do what tests may")]

use insta::assert_snapshot;
use las::LasModule;
use operator_guest::{Module, Settings, native, testing};

fn judge(spec: &str) -> String {
    let request = format!(
        "object: {{apiVersion: base.scone.cloud/v1beta1, kind: LAS, metadata: {{name: las}}, spec: {spec}}}\nsettings: {{version: 6.0.6}}\n"
    );
    testing::admit::<LasModule>(&request).unwrap().to_string()
}

/// Only the causes.
fn causes(spec: &str) -> String {
    let request = format!(
        "phase: validate\nobject: {{apiVersion: base.scone.cloud/v1beta1, kind: LAS, metadata: {{name: las}}, spec: {spec}}}"
    );
    let denied = testing::admit::<LasModule>(&request).unwrap().denied;
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
        "{image: r.example.com/las:5.8.1, hostPort: 1, namespace: mine, imagePullPolicy: Never, nodeSelector: {sgx.intel.com/capable: x}, \
         dcapKey: '00000000000000000000000000000000', podSecurityContext: {}, containerSecurityContextLAS: {}, containerSecurityContextProbe: {}}"
    ));
}

#[test]
fn a_security_context_of_ones_own_keeps_the_defaults_of_what_it_does_not_say() {
    let judgement = judge("{podSecurityContext: {runAsUser: 1000}, containerSecurityContextLAS: {runAsUser: 7}}");
    assert_snapshot!(judgement);
}

#[test]
fn an_image_without_a_tag_gets_the_version_of_the_settings() {
    assert!(judge("{image: r.example.com:5000/las}").contains("r.example.com:5000/las:6.0.6"));
    assert!(!judge("{image: 'r.example.com/las@sha256:00000000000000000000000000000000'}").contains(":6.0.6"));
}

#[test]
fn a_port_out_of_range_is_refused() {
    assert_snapshot!(causes("{hostPort: 65536}"), @"FieldValueInvalid spec.hostPort: 65536 is no port; write one from 1 to 65535, usually 18766");
    assert!(causes("{hostPort: 0}").contains("spec.hostPort"));
    assert_eq!(causes("{hostPort: 65535}"), "");
}

#[test]
fn a_malformed_key_is_refused_and_not_repeated() {
    let refused = causes("{dcapKey: 0123456789abcdeg0123456789abcdef}");
    assert_snapshot!(refused, @"FieldValueInvalid spec.dcapKey: must be 32 hexadecimal digits, as shown by the Intel PCS portal; on Azure write 32 zeros");
    assert!(!judge("{dcapKey: 0123456789abcdeg0123456789abcdef}").contains("denied: \"0123"));
    assert_eq!(causes("{dcapKey: '00000000000000000000000000000000'}"), "");
}

#[test]
fn an_image_that_is_none_is_refused() {
    assert_snapshot!(causes("{image: 'https://r.example.com/las'}"), @r#"FieldValueInvalid spec.image: "https://r.example.com/las" is no image; write registry/repository:tag, without spaces or a scheme"#);
    for bad in ["r.example.com/LAS", "a b", "r.example.com/las:", "las@sha256"] {
        assert!(causes(&format!("{{image: '{bad}'}}")).contains("spec.image"), "{bad}");
    }
    for good in [
        "las",
        "las:1",
        "localhost:5000/a/b_c:v1.0-rc.9",
        "Reg.example.com/las@sha256:0123456789abcdef0123456789abcdef",
    ] {
        assert_eq!(causes(&format!("{{image: '{good}'}}")), "", "{good}");
    }
}

#[test]
fn a_namespace_that_is_no_label_is_refused() {
    assert_snapshot!(causes("{namespace: Scone_System}"), @r#"FieldValueInvalid spec.namespace: "Scone_System" is no namespace; write lower-case letters, digits and dashes, at most 63"#);
}

#[test]
fn a_pull_policy_that_does_not_exist_is_refused() {
    assert_snapshot!(causes("{imagePullPolicy: Sometimes}"), @r#"FieldValueNotSupported spec.imagePullPolicy: "Sometimes" is none of Always, Never, IfNotPresent"#);
}

#[test]
fn a_pull_secret_without_a_proper_name_is_refused() {
    assert_snapshot!(causes("{imagePullSecrets: [{name: ok}, {name: Not_Ok}]}"), @r#"FieldValueInvalid spec.imagePullSecrets[1].name: "Not_Ok" is no name of a Secret; write one such as scone-operator-pull"#);
}

#[test]
fn labels_and_annotations_must_have_their_syntax() {
    assert_snapshot!(causes("{nodeSelector: {'a/b/c': x, ok: 'not ok'}, podAnnotations: {'-a': x}}"), @r##"
FieldValueInvalid spec.nodeSelector[a/b/c]: is no label key; write [dns.name/]name with a name of at most 63 characters
FieldValueInvalid spec.nodeSelector[ok]: "not ok" is no label value; at most 63 letters, digits, '-', '_', '.'
FieldValueInvalid spec.podAnnotations[-a]: is no annotation key; write [dns.name/]name of 63 characters
"##);
}

#[test]
fn tolerations_follow_the_rules_of_the_api_server() {
    assert_snapshot!(
        causes("{tolerations: [{operator: Maybe, key: a}, {operator: Exists, key: a, value: b}, {}, {key: a, effect: Never}, {key: a, tolerationSeconds: 3}]}"),
        @r##"
FieldValueNotSupported spec.tolerations[0].operator: "Maybe" is none of Exists, Equal
FieldValueInvalid spec.tolerations[1].value: must be empty with operator Exists; remove it or write Equal
FieldValueRequired spec.tolerations[2].key: is needed with operator Equal; write Exists to tolerate every taint
FieldValueNotSupported spec.tolerations[3].effect: "Never" is none of NoSchedule, PreferNoSchedule, NoExecute; leave it out for all of them
FieldValueInvalid spec.tolerations[4].effect: must be NoExecute when tolerationSeconds is set
"##
    );
    assert_eq!(causes("{tolerations: [{operator: Exists}, {key: a, value: b, effect: NoSchedule}]}"), "");
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
    let judgement = judge("{autoUpdate: true, imagePullPolicy: IfNotPresent}");
    assert!(judgement.contains("spec.autoUpdate"), "{judgement}");
    assert!(judgement.contains("spec.dcapKey is not set"), "{judgement}");
    assert!(!judge("{dcapKey: '00000000000000000000000000000000'}").contains("warnings"));
}

#[test]
fn a_name_that_fits_no_label_is_refused() {
    let request = format!(
        "phase: validate\nobject: {{apiVersion: base.scone.cloud/v1beta1, kind: LAS, metadata: {{name: {}}}, spec: {{}}}}",
        "a".repeat(64)
    );
    let denied = testing::admit::<LasModule>(&request).unwrap().denied.unwrap();
    assert_eq!(denied.causes[0].field, "metadata.name");
}

#[test]
fn a_deletion_is_nobodys_business() {
    let request = "operation: DELETE\nphase: validate\noldObject: {apiVersion: base.scone.cloud/v1beta1, kind: LAS, metadata: {name: las}, spec: {hostPort: 0}}";
    assert!(testing::admit::<LasModule>(request).unwrap().allowed());
}

#[test]
fn an_unknown_setting_is_refused_by_name() {
    let causes = native::validate_settings::<LasModule>(br#"{"namspace":"x"}"#.to_vec()).unwrap_err();
    assert_eq!(causes[0].field, "namspace");
    let _: fn(&Settings) -> _ = LasModule::validate_settings;
}

#[test]
fn the_manifest_asks_for_what_is_used_and_no_more() {
    let mut manifest = serde_json::to_value(LasModule::manifest()).unwrap();
    manifest["kinds"][0]["crd"] = "the CRD".into();
    assert_snapshot!(serde_json::to_string_pretty(&manifest).unwrap());
}
