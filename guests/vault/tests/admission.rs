//! Defaults and refusals.
#![expect(clippy::unwrap_used, reason = "the helpers of tests may do what tests may")]

use insta::assert_snapshot;
use operator_guest::{Module, native, testing, testing::Judgement};
use vault::VaultModule;

fn spec(server: &str, rest: &str) -> String {
    format!("{{server: {server}, global: {{}}, injector: {{}}{rest}}}")
}

fn object(name: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: services.scone.cloud/v1beta1, kind: Vault, metadata: {{name: {name}, namespace: default}}, spec: {spec}}}"
    )
}

fn judged(spec: &str) -> Judgement {
    let request = format!("object: {}\nsettings: {{version: 5.8.0}}\n", object("vault", spec));
    testing::admit::<VaultModule>(&request).unwrap()
}

fn listed(judgement: Judgement) -> String {
    let causes = judgement.denied.map(|denied| denied.causes).unwrap_or_default();
    let line = |cause: &operator_guest::Cause| format!("{} {}: {}", cause.reason, cause.field, cause.message);
    causes.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn causes(server: &str) -> String {
    listed(judged(&spec(server, "")))
}

fn change(old: &str, new: &str) -> String {
    let request =
        format!("oldObject: {}\nobject: {}\n", object("vault", &spec(old, "")), object("vault", &spec(new, "")));
    listed(testing::admit::<VaultModule>(&request).unwrap())
}

#[test]
fn every_default_is_written_into_the_spec() {
    assert_snapshot!(judged(&spec("{}", "")).to_string());
}

#[test]
fn what_is_given_stays() {
    assert_snapshot!(judged(&spec(
        "{image: {repository: r/v, tag: '1', pullPolicy: Always}, dev: {enabled: true}, dataStorage: {enabled: false}, readinessProbe: {enabled: false}, \
         initialdelaySeconds: 0, path: /x, postStart: [a], resources: {limits: {memory: 1G}}, extraEnvironmentVars: {SCONE_HEAP: 1G, OWNER_ID: '7'}}",
        ", autoUpdate: true, nodeSelector: {a: b}, reinstallOnFatal: true"
    )).to_string());
}

#[test]
fn a_repository_that_has_a_tag_gets_no_other() {
    let judgement = judged(&spec("{image: {repository: 'r.example.com:5000/v:1'}}", "")).to_string();
    assert!(!judgement.contains("tag:"), "{judgement}");
    let untagged = judged(&spec("{image: {repository: 'r.example.com:5000/v'}}", "")).to_string();
    assert!(untagged.contains(r#"tag: "5.8.0""#), "{untagged}");
}

#[test]
fn parts_that_are_missing_are_named() {
    let request = |spec: &str| format!("phase: validate\nobject: {}\n", object("vault", spec));
    for (spec, field) in [
        ("{global: {}, injector: {}}", "spec.server"),
        ("{server: {}, injector: {}}", "spec.global"),
        ("{server: {}, global: {}}", "spec.injector"),
    ] {
        let denied = testing::admit::<VaultModule>(&request(spec)).unwrap().denied.unwrap();
        assert_eq!(denied.causes[0].field, field);
    }
}

#[test]
fn a_name_that_is_too_long_for_a_service_is_refused() {
    let judge = |name: &str| {
        let request = format!("phase: validate\nobject: {}\n", object(name, &spec("{}", "")));
        listed(testing::admit::<VaultModule>(&request).unwrap())
    };
    assert_eq!(judge(&"a".repeat(44)), "");
    assert_snapshot!(judge(&"a".repeat(45)), @"FieldValueInvalid metadata.name: must be lower-case letters, digits and dashes, starting with a letter, at most 44: Services are named after it");
    assert!(judge("a.b").contains("metadata.name") && judge("1a").contains("metadata.name"));
}

#[test]
fn what_all_workloads_have_is_judged_under_its_own_path() {
    assert_snapshot!(
        listed(judged("{server: {image: {repository: 'https://x', pullPolicy: Sometimes}, resources: {limits: {memory: lots}}}, global: {imagePullSecrets: [{name: Not_Ok}]}, injector: {}, nodeSelector: {'a b': x}}")),
        @r#"
FieldValueNotSupported spec.server.image.pullPolicy: "Sometimes" is none of Always, Never, IfNotPresent
FieldValueInvalid spec.server.image: "https://x:5.8.0" is no image; write registry/repository:tag, without spaces or a scheme
FieldValueInvalid spec.global.imagePullSecrets[0].name: "Not_Ok" is no name of a Secret; write one such as scone-operator-pull
FieldValueInvalid spec.nodeSelector[a b]: is no label key; write [dns.name/]name with a name of at most 63 characters
FieldValueInvalid spec.server.resources.limits[memory]: "lots" is no quantity; write a number such as 500m or 128Mi
"#
    );
}

#[test]
fn switches_have_one_key() {
    assert_snapshot!(causes("{dev: {enable: true}, dataStorage: {size: true}, readinessProbe: {enabled: true}}"), @r"
FieldValueNotSupported spec.server.dev[enable]: is no key of it; there is only enabled
FieldValueNotSupported spec.server.dataStorage[size]: is no key of it; there is only enabled
");
}

#[test]
fn what_the_server_is_told_is_judged() {
    let server = "{initialdelaySeconds: -1, path: health, postStart: [''], \
                  extraEnvironmentVars: {'a b': x, '1a': v, ok_1: z}}";
    assert_snapshot!(causes(server), @r"
FieldValueInvalid spec.server.initialdelaySeconds: must not be negative; write seconds, such as 5
FieldValueInvalid spec.server.path: must start with a slash, such as /v1/sys/health?standbyok=true
FieldValueInvalid spec.server.postStart[0]: must begin with a program, such as /bin/sh; for several scripts write [/bin/sh, -c, first && second]
FieldValueInvalid spec.server.extraEnvironmentVars[1a]: is no name of a variable; write letters, digits and _
FieldValueInvalid spec.server.extraEnvironmentVars[a b]: is no name of a variable; write letters, digits and _
");
}

#[test]
fn init_containers_have_names_of_their_own_and_images() {
    assert_snapshot!(
        causes("{extraInitContainers: [{name: vault, image: i}, {name: A, image: i}, {name: a}, {name: b, image: i}, {name: b, image: i}]}"),
        @r#"
FieldValueDuplicate spec.server.extraInitContainers[0].name: "vault" is there twice; name it otherwise
FieldValueInvalid spec.server.extraInitContainers[1].name: "A" is no name of a container; write lower-case letters, digits, dashes
FieldValueRequired spec.server.extraInitContainers[2].image: is needed; write registry/repository:tag
FieldValueDuplicate spec.server.extraInitContainers[4].name: "b" is there twice; name it otherwise
"#
    );
}

#[test]
fn what_cannot_be_changed_says_what_to_do_instead() {
    let stored = "{extraEnvironmentVars: {OWNER_ID: '1'}}";
    let mut told = String::new();
    for (old, new) in [
        (stored, "{dataStorage: {enabled: false}, extraEnvironmentVars: {OWNER_ID: '1'}}"),
        ("{dataStorage: {enabled: false}}", "{dataStorage: {enabled: true}}"),
        (stored, "{dev: {enabled: true}, extraEnvironmentVars: {OWNER_ID: '1'}}"),
        (stored, "{extraEnvironmentVars: {OWNER_ID: '2'}}"),
        (stored, "{}"),
    ] {
        told += &format!("{}\n", change(old, new));
    }
    assert_snapshot!(told, @r"
FieldValueForbidden spec.server.dataStorage.enabled: cannot be switched off: the data would be out of reach; delete the Vault and create it again (its claim stays)
FieldValueForbidden spec.server.dataStorage.enabled: cannot be switched on: the data is in the pod only; delete the Vault and create it again, which starts empty
FieldValueForbidden spec.server.dev.enabled: cannot be changed: a trial keeps nothing, and a real one must not become a trial; create another Vault
FieldValueForbidden spec.server.extraEnvironmentVars[OWNER_ID]: cannot be changed: the data is bound to the owner; write the earlier one, or create another Vault
FieldValueForbidden spec.server.extraEnvironmentVars[OWNER_ID]: cannot be changed: the data is bound to the owner; write the earlier one, or create another Vault
");
    assert_eq!(change(stored, "{path: /x, extraEnvironmentVars: {OWNER_ID: '1'}}"), "");
    assert_eq!(change("{}", stored), "", "an owner may be named later");
}

#[test]
fn what_may_surprise_is_warned_of() {
    let warnings = judged(&spec("{dev: {enabled: true}}", ", autoUpdate: true")).warnings;
    assert_snapshot!(warnings.join("\n"), @r"
spec.server.dev.enabled: for a trial only; it keeps nothing and is not protected
spec.server.extraEnvironmentVars.OWNER_ID is missing; kubectl provision vault sets it
spec.autoUpdate: the registry is not watched; change spec.server.image, or delete the pod
");
    assert!(warnings.iter().all(|warning| warning.len() <= 120));
    assert!(judged(&spec("{extraEnvironmentVars: {OWNER_ID: '1'}}", "")).warnings.is_empty());
}

#[test]
fn an_injector_that_no_administrator_allows_is_warned_of_and_never_refused() {
    let judged = |settings: &str| {
        let spec = "{server: {extraEnvironmentVars: {OWNER_ID: '1'}}, global: {}, injector: {enabled: true}}";
        let request = format!("object: {}\nsettings: {settings}\n", object("vault", spec));
        let judgement = testing::admit::<VaultModule>(&request).unwrap();
        assert!(judgement.denied.is_none(), "{judgement}");
        judgement.warnings
    };
    assert_snapshot!(judged("{}").join("\n"), @"spec.injector.enabled has no effect: an administrator sets the setting injector of module vault to own-namespace");
    assert_eq!(judged("{injector: off}"), judged("{}"), "which is false");
    assert_eq!(judged("{injector: 'off'}"), judged("{}"));
    assert!(judged("{}").iter().all(|warning| warning.len() <= 120));
    assert_eq!(judged("{injector: own-namespace}"), Vec::<String>::new());
    assert_eq!(judged("{injector: all-namespaces}"), Vec::<String>::new());
}

#[test]
fn the_manifest_hands_on_no_right() {
    let grants = VaultModule::manifest().grants;
    assert!(grants.roles.is_empty(), "{:?}", grants.roles);
    assert!(!grants.children.iter().any(|rule| rule.kind.ends_with("Role")));
    assert_eq!(grants.binds, ["system:auth-delegator"]);
}

#[test]
fn a_scope_of_injectors_that_does_not_exist_is_refused_with_those_that_do() {
    let causes = native::validate_settings::<VaultModule>(br#"{"injector":"cluster"}"#.to_vec()).unwrap_err();
    assert_eq!(causes[0].field, "injector");
    assert!(causes[0].message.contains("own-namespace"), "{}", causes[0].message);
}

#[test]
fn an_unknown_setting_is_refused_by_name() {
    let causes = native::validate_settings::<VaultModule>(br#"{"injectorImagge":"x"}"#.to_vec()).unwrap_err();
    assert_eq!(causes[0].field, "injectorImagge");
}

#[test]
fn the_manifest_asks_for_what_is_used_and_no_more() {
    let mut manifest = serde_json::to_value(VaultModule::manifest()).unwrap();
    manifest["kinds"][0]["crd"] = "the CRD".into();
    assert_snapshot!(serde_json::to_string_pretty(&manifest).unwrap());
}
