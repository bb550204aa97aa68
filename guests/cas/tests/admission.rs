//! Defaults, refusals, warnings.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "the helpers of tests may do what tests may")]

use cas::CasModule;
use insta::assert_snapshot;
use operator_guest::{
    Module, native,
    testing::{self, Judgement},
};
use serde_json::{Value, json};

fn request(name: &str, spec: &str) -> String {
    format!(
        "object: {{apiVersion: services.scone.cloud/v1beta1, kind: CAS, metadata: {{name: {name}, namespace: prod}}, spec: {spec}}}\nsettings: {{version: 6.0.6}}\n"
    )
}

fn judge(spec: &str) -> Judgement {
    testing::admit::<CasModule>(&request("cas", spec)).unwrap()
}

/// The spec with its defaults.
fn filled(spec: &str) -> Value {
    judge(spec).object.unwrap()["spec"].clone()
}

fn causes(spec: &str) -> String {
    let denied = testing::admit::<CasModule>(&request("cas", spec)).unwrap().denied;
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
fn defaults_written_once_stay_as_they_are() {
    let first = filled("{backup-controller: {enabled: true, session: a/b}, imagePullSecrets: [{name: s}]}");
    let again = judge(&first.to_string());
    assert!(again.object.is_none(), "{:?}", again.object);
}

#[test]
fn the_backup_controller_brings_the_safety_service_along_unless_it_is_named() {
    assert!(filled("{}").get("safetyService").is_none(), "it could not follow the backup controller later");
    let backed = filled("{backup-controller: {enabled: true, session: a/b}}");
    assert_snapshot!(serde_json::to_string_pretty(&backed["safetyService"]).unwrap());
    let named = "{backup-controller: {enabled: true, session: a/b}, safetyService: {podAntiAffinityTopologyKey: zone}}";
    assert_eq!(filled(named)["safetyService"]["enabled"], false);
}

#[test]
fn variables_of_the_backup_controller_win_by_name() {
    let spec =
        filled("{backup-controller: {env: [{name: BACKUP_CAS_CLIENT_PORT, value: '1'}, {name: MINE, value: x}]}}");
    let env = spec["backup-controller"]["env"].as_array().unwrap();
    let named = |name: &str| env.iter().filter(|variable| variable["name"] == name).collect::<Vec<_>>();
    assert_eq!(named("BACKUP_CAS_CLIENT_PORT"), [&json!({"name": "BACKUP_CAS_CLIENT_PORT", "value": "1"})]);
    assert_eq!(named("MINE").len(), 1);
    assert_eq!(named("BACKUP_CAS_IMAGE")[0]["value"], "registry.scontain.com/scone.cloud/cas:6.0.6");
    assert_eq!(named("SCONE_LAS_ADDR")[0]["valueFrom"]["fieldRef"]["fieldPath"], "status.hostIP");
    assert_eq!(
        serde_json::from_str::<Value>(named("SELECTOR_LABELS")[0]["value"].as_str().unwrap()).unwrap(),
        json!({"las.scontain.com/capable": "true", "las.scontain.com/ok": "true", "sgx.intel.com/capable": "true"})
    );
    assert_eq!(env.len(), 7);
}

#[test]
fn pull_secrets_of_cas_are_those_of_its_backup_controller_unless_it_has_its_own() {
    assert_eq!(filled("{imagePullSecrets: [{name: s}]}")["backup-controller"]["imagePullSecrets"][0]["name"], "s");
    let own = filled("{imagePullSecrets: [{name: s}], backup-controller: {imagePullSecrets: [{name: o}]}}");
    assert_eq!(own["backup-controller"]["imagePullSecrets"][0]["name"], "o");
}

#[test]
fn what_the_plugin_replaces_is_there_to_be_replaced() {
    let spec = filled("{}");
    for path in [
        "/livenessProbe/enabled",
        "/livenessProbe/initialDelaySeconds",
        "/startupProbe/failureThreshold",
        "/attestedCLIProbes",
        "/backup-controller/session",
        "/backup-controller/image",
        "/podSecurityContext/runAsNonRoot",
        "/podSecurityContext/fsGroup",
        "/containerSecurityContextCAS",
        "/backup-controller/podSecurityContext/runAsNonRoot",
        "/service/clientPort",
    ] {
        assert!(spec.pointer(path).is_some(), "{path}");
    }
}

#[test]
fn images_of_5_8_may_run_as_root() {
    let old = filled("{image: 'r.example.com/cas:5.8.1'}");
    assert_eq!(
        (&old["podSecurityContext"]["runAsNonRoot"], &old["podSecurityContext"]["fsGroup"]),
        (&json!(false), &json!(0))
    );
    let new = filled("{image: 'r.example.com/cas:5.9.0'}");
    assert_eq!(
        (&new["podSecurityContext"]["runAsNonRoot"], &new["podSecurityContext"]["fsGroup"]),
        (&json!(true), &json!(1000))
    );
}

/// As their tools wrote them, in short.
const WRITTEN: [(&str, &str); 6] = [
    (
        "5.8.0",
        "{image: 'r/cas:5.8.0', imagePullPolicy: Always, imagePullSecrets: [{name: sconeapps}], autoUpdate: false, podAnnotations: {sconeapps/inject-pull-secret: 'true'}, persistence: {enabled: true}, \
         databaseSnapshots: {enabled: true, interval: 24h0m0s, persistence: {enabled: true}}, service: {type: NodePort}, backup-controller: {enabled: true, session: cas-owner/primary-backup/register, cas: cas, debug: true}}",
    ),
    (
        "5.9.0",
        "{nodeSelector: {las.scontain.com/ok: 'true'}, tolerations: [{key: a, operator: Exists}], podSecurityContext: {fsGroup: 1000}, containerSecurityContextAudit: {}, enclaveMetrics: {enabled: true}, \
         safetyService: {enabled: true, podAntiAffinityTopologyKey: kubernetes.io/hostname, desiredReplicas: 3, minReplicas: 2}}",
    ),
    (
        "5.10.1",
        "{edmmMode: auto, safetyService: {enabled: false, podAntiAffinityTopologyKey: kubernetes.io/hostname, tolerations: []}}",
    ),
    ("6.0.0", "{backup-controller: {enabled: false, cas: cas.prod}, nonce: 0123456789abcdef0123456789ABCDEF}"),
    (
        "6.0.6",
        "{backup-controller: {enabled: true, session: cas-owner/primary-backup/upgrade, env: [{name: BACKUP_CAS_IMAGE, value: 'r/cas:6.0.6'}]}, networkPolicy: {enabled: true}}",
    ),
    (
        "7.0-alpha",
        "{persistence: {enabled: true, dynamicResize: {enabled: true, increaseStep: 1Gi, thresholdPercent: 80}}, pccsConfig: {enabled: true, address: 'https://pccs:8081'}, \
         databaseSnapshots: {enabled: true, persistence: {enabled: true, dynamicResize: {enabled: false, increaseStep: 1Gi, thresholdPercent: 50}}}}",
    ),
];

#[test]
fn a_cas_written_for_any_version_is_accepted() {
    for (version, spec) in WRITTEN {
        let judgement = judge(spec);
        assert!(judgement.allowed(), "{version}: {judgement}");
    }
}

#[test]
fn what_is_wrong_is_refused_with_its_path_and_the_fix() {
    assert_snapshot!(causes(
        "{image: 'a b', imagePullPolicy: Sometimes, nonce: xyz, nodeSelector: {a/b/c: x}, \
          livenessProbe: {enabled: true, periodSeconds: 0}, startupProbe: {enabled: true, initialDelaySeconds: -1}, \
          persistence: {mountPath: db, size: lots, accessModes: [], dynamicResize: {enabled: true, increaseStep: '0', thresholdPercent: 10}}, \
          databaseSnapshots: {enabled: true, interval: 5 days, targetDirectory: /etc/cas}, \
          service: {type: ExternalName, clientPort: 0, enclavePort: 70000, nodePorts: {clientPort: 3, enclavePort: 3}, annotations: {'-a': b}}, \
          networkPolicy: {enabled: true, ingressNSMatchLabels: {a: 'b c'}, ingressPodMatchLabels: {'/': x}}, \
          enclaveMetrics: {enabled: true, port: 8081}, \
          backup-controller: {enabled: true, image: 'a b', env: [{name: ''}, {name: A}, {name: A}, {name: BACKUP_CAS_IMAGE, value: 'x y'}], tolerations: [{}]}, \
          safetyService: {enabled: true, image: 'a b', desiredReplicas: 1, minReplicas: 5, podAntiAffinityTopologyKey: 'a b'}, \
          pccsConfig: {enabled: true}}"
    ));
}

#[test]
fn snapshots_do_not_go_where_the_database_is() {
    let refused = causes("{databaseSnapshots: {enabled: true, targetDirectory: /etc/cas/db}}");
    assert!(refused.contains("spec.databaseSnapshots.targetDirectory: is where the database is"), "{refused}");
}

#[test]
fn a_name_names_a_service_and_pods() {
    let longest = format!("c{}", "a".repeat(51));
    for (name, fits) in
        [("cas", true), ("0cas", false), (&longest, true), (&format!("{longest}a"), false), ("a.b", false)]
    {
        let judgement = testing::admit::<CasModule>(&request(name, "{}")).unwrap();
        assert_eq!(judgement.allowed(), fits, "{name}");
        assert!(fits || judgement.denied.unwrap().causes[0].field == "metadata.name");
    }
}

#[test]
fn what_is_accepted_and_yet_without_effect_is_said() {
    let judgement = testing::admit::<CasModule>(&request(
        "a-very-long-name",
        "{autoUpdate: true, edmmMode: maybe, configuration: '[x]', ownerCertificate: pem, service: {loadBalancerIP: 1.2.3.4, nodePorts: {clientPort: 30000}}, \
         tolerations: [{operator: Exists}], persistence: {enabled: false, dynamicResize: {enabled: true, increaseStep: 1Gi, thresholdPercent: 80}}, \
         backup-controller: {enabled: true, session: a/b, cas: other}}",
    ))
    .unwrap();
    assert!(judgement.allowed(), "{judgement}");
    assert!(judgement.warnings.iter().all(|warning| warning.len() <= 120), "{:#?}", judgement.warnings);
    assert_snapshot!(judgement.warnings.join("\n"));
}

#[test]
fn no_secret_of_the_spec_is_in_a_refusal_or_a_warning() {
    let spec = "{ownerConfig: hunter2, ownerCertificate: hunter2, nonce: short, backup-controller: {enabled: true, env: [{name: A, value: hunter2}, {name: A, value: hunter2}]}}";
    let judgement = judge(spec);
    let said = format!("{:?} {:?}", judgement.denied, judgement.warnings);
    assert!(judgement.denied.is_some() && !said.contains("hunter2"), "{said}");
}

#[test]
fn a_deletion_is_nobodys_business() {
    let request = "operation: DELETE\nphase: validate\noldObject: {apiVersion: services.scone.cloud/v1beta1, kind: CAS, metadata: {name: cas, namespace: prod}, spec: {nonce: x}}";
    assert!(testing::admit::<CasModule>(request).unwrap().allowed());
}

#[test]
fn an_unknown_setting_is_refused_by_name() {
    let causes = native::validate_settings::<CasModule>(br#"{"namspace":"x"}"#.to_vec()).unwrap_err();
    assert_eq!(causes[0].field, "namspace");
}

#[test]
fn the_manifest_asks_for_what_is_used_and_no_more() {
    let mut manifest = serde_json::to_value(CasModule::manifest()).unwrap();
    manifest["kinds"][0]["crd"] = "the CRD".into();
    assert_snapshot!(serde_json::to_string_pretty(&manifest).unwrap());
}
