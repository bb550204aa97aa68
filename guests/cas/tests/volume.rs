//! No change of a spec takes a volume away.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "the helpers of tests may do what tests may")]

use crate::support::{answer, child, set, settled, with};
use cas::CasModule;
use operator_guest::{Deed, Module, testing};
use serde_json::{Value, json};

/// Every optional field, with another value than the settled one; `-` removes what is there.
const CHANGES: &[(&str, &str)] = &[
    ("image", "registry.example.com/cas:7"),
    ("imagePullPolicy", "Never"),
    ("imagePullSecrets", "[{name: other}]"),
    ("autoUpdate", "true"),
    ("nodeSelector", "{zone: b}"),
    ("tolerations", "[{operator: Exists}]"),
    ("podAnnotations", "{a: b}"),
    ("resources", "{limits: {memory: 4Gi}}"),
    ("podSecurityContext", "{runAsUser: 5}"),
    ("containerSecurityContextCAS", "{privileged: true}"),
    ("containerSecurityContextAudit", "{runAsUser: 5}"),
    ("reinstallOnFatal", "true"),
    ("configuration", "'[database]'"),
    ("ownerConfig", "'[dcap]'"),
    ("ownerCertificate", "pem"),
    ("nonce", "'00112233445566778899aabbccddeeff'"),
    ("edmmMode", "auto"),
    ("attestedCLIProbes", "false"),
    ("livenessProbe", "-"),
    ("startupProbe", "-"),
    ("persistence", "{enabled: false}"),
    ("persistence", "{mountPath: /other}"),
    ("persistence", "{size: 5Gi}"),
    ("persistence", "{size: 1Mi}"),
    ("persistence", "{storageClass: other}"),
    ("persistence", "{storageClass: '-'}"),
    ("persistence", "{accessModes: [ReadWriteMany]}"),
    ("persistence", "{dynamicResize: {enabled: true, increaseStep: 1Gi, thresholdPercent: 80}}"),
    ("databaseSnapshots", "-"),
    ("databaseSnapshots", "{enabled: false}"),
    ("databaseSnapshots", "{enabled: true}"),
    ("databaseSnapshots", "{enabled: true, interval: 1h}"),
    ("databaseSnapshots", "{enabled: true, targetDirectory: /snap, persistence: {enabled: true}}"),
    (
        "databaseSnapshots",
        "{enabled: true, persistence: {enabled: true, size: 9Gi, storageClass: x, accessModes: [ReadWriteMany]}}",
    ),
    ("service", "{type: LoadBalancer, loadBalancerIP: 10.0.0.1}"),
    ("service", "{clientPort: 443, enclavePort: 444, annotations: {a: b}}"),
    ("service", "{type: NodePort, nodePorts: {clientPort: 30000, enclavePort: 30001}}"),
    ("networkPolicy", "{enabled: true, ingressNSMatchLabels: {a: b}, ingressPodMatchLabels: {c: d}}"),
    ("enclaveMetrics", "{enabled: true, port: 9000}"),
    ("backup-controller", "-"),
    ("backup-controller", "{enabled: false}"),
    ("backup-controller", "{enabled: true, session: x/y, debug: true, cas: other, image: b:1, imagePullPolicy: Never}"),
    ("backup-controller", "{enabled: true, session: x/y, env: [{name: A, value: b}], imagePullSecrets: [{name: o}]}"),
    (
        "backup-controller",
        "{enabled: true, session: x/y, tolerations: [{operator: Exists}], podSecurityContext: {runAsUser: 5}, containerSecurityContext: {runAsUser: 5}}",
    ),
    ("safetyService", "-"),
    ("safetyService", "{enabled: false}"),
    (
        "safetyService",
        "{enabled: true, image: s:1, desiredReplicas: 5, minReplicas: 4, podAntiAffinityTopologyKey: zone}",
    ),
    (
        "safetyService",
        "{enabled: true, tolerations: [{operator: Exists}], podSecurityContext: {runAsUser: 5}, containerSecurityContext: {runAsUser: 5}}",
    ),
    ("pccsConfig", "{enabled: true, address: 'https://pccs'}"),
];

/// What no answer may do: name a claim among the children, delete one, tie one to an object that goes, or let Kubernetes do it.
fn assert_volumes_stay(tree: &Value, change: &str) {
    let answer = answer(tree);
    let desired = answer.desired().unwrap();
    for child in &desired.children {
        assert_ne!(
            child.identity.kind, "PersistentVolumeClaim",
            "{change}: a child is pruned, and goes with its owner"
        );
    }
    for action in &desired.actions {
        let Deed::Delete(deletion) = &action.deed else { continue };
        assert!(
            ["Pod", "StatefulSet", "Deployment"].contains(&deletion.identity.kind.as_str()),
            "{change}: {deletion:?}"
        );
    }
    for partial in &desired.partials {
        let fields: Value = serde_json::from_slice(&partial.document).unwrap();
        let size = fields["spec"]["resources"]["requests"]["storage"].as_str().unwrap();
        assert_eq!(fields, json!({"spec": {"resources": {"requests": {"storage": size}}}}), "{change}");
    }
    if desired.finalized {
        return;
    }
    let set = child(&answer, "StatefulSet", "cas");
    let policy = &set["spec"]["persistentVolumeClaimRetentionPolicy"];
    assert_eq!(policy, &json!({"whenDeleted": "Retain", "whenScaled": "Retain"}), "{change}");
    assert_eq!(set["spec"]["replicas"], 1, "{change}");
    for template in set["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten() {
        // Labels and owners of a template would be those of the claim, and the label of the operator's set would have it pruned.
        let keys: Vec<_> = template["metadata"].as_object().unwrap().keys().collect();
        assert_eq!(keys, ["name"], "{change}");
    }
}

#[test]
fn every_field_of_the_spec_is_among_the_changes() {
    let crd: Value = serde_json::from_str(scone_api::CAS_CRD).unwrap();
    let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    let mut missing: Vec<_> = spec.as_object().unwrap().keys().collect();
    missing.retain(|field| !CHANGES.iter().any(|(changed, _)| changed == field));
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn no_change_of_one_field_takes_a_volume_away() {
    for (field, value) in CHANGES {
        let change = format!("{field}: {value}");
        let mut tree = settled();
        set(&mut tree, &format!("parent/spec/{field}"), value);
        assert_volumes_stay(&tree, &change);
        // The same once the cluster has refused it for long, with leave to make workloads again.
        set(&mut tree, "parent/spec/reinstallOnFatal", "true");
        set(&mut tree, "condition:statefulset.cas~1EqualSpecs/status", "'False'");
        assert_volumes_stay(&tree, &change);
        // And when it is made again.
        set(&mut tree, "children", "[]");
        assert_volumes_stay(&tree, &change);
    }
}

#[test]
fn a_deletion_takes_no_volume_away() {
    assert_volumes_stay(&with(&[("finalizing", "true")]), "deletion");
    assert!(answer(&with(&[("finalizing", "true")])).desired().unwrap().children.is_empty());
}

#[test]
fn the_module_may_neither_make_nor_delete_claims() {
    let grants = CasModule::manifest().grants;
    let kinds = grants.children.iter().chain(&grants.delete).map(|rule| rule.kind.as_str());
    assert_eq!(kinds.filter(|kind| *kind == "PersistentVolumeClaim").count(), 0);
    let set: Vec<_> = grants.partials.iter().flat_map(|rule| &rule.fields).collect();
    assert_eq!(set, ["spec.resources.requests.storage"]);
    assert!(grants.partials.iter().all(|rule| rule.labels.is_empty() && rule.annotations.is_empty()));
}

/// A class that lets claims grow, and one that does not.
const CLASSES: (&str, &str) = (
    "answers/storage-classes",
    "{objects: [{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: grows}, allowVolumeExpansion: true}, \
      {apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: fixed}}]}",
);
const GROWS: (&str, &str) = ("claim:database/spec/storageClassName", "grows");
const LARGER: (&str, &str) = ("parent/spec/persistence", "{size: 5Gi}");
const FILLS: (&str, &str) =
    ("parent/spec/persistence", "{dynamicResize: {enabled: true, increaseStep: 512Mi, thresholdPercent: 80}}");

/// A measurement of the volume of the database, while it has this size.
fn used(size: &str, percent: u32) -> (String, String) {
    let line = format!(
        "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/sdb 999320 800000 130504 {percent}% /etc/cas/db\n"
    );
    (format!("answers/usage-database-{size}"), json!({"command": {"code": 0, "stdout": line}}).to_string())
}

/// The size that the claim of the database should ask for, and what is told of the volumes.
fn growth(edits: &[(&str, &str)]) -> (Option<String>, String) {
    let answer = answer(&with(edits));
    let size = answer.desired().unwrap().partials.first().map(|partial| {
        assert_eq!(partial.identity.name, "database-cas-0");
        let fields: Value = serde_json::from_slice(&partial.document).unwrap();
        fields["spec"]["resources"]["requests"]["storage"].as_str().unwrap().to_owned()
    });
    (size, crate::support::condition(&answer, "VolumesAsWanted"))
}

#[test]
fn a_volume_grows_to_the_size_of_the_spec_where_its_class_allows_it() {
    let (size, told) = growth(&[LARGER, GROWS, CLASSES]);
    assert_eq!(size.as_deref(), Some("5Gi"));
    assert!(told.contains("grows from 1Gi to 5Gi"), "{told}");
    let asked = ("claim:database/spec/resources/requests/storage", "5Gi");
    let (size, told) = growth(&[LARGER, GROWS, CLASSES, asked]);
    assert_eq!(size, None, "it asks for it already");
    assert!(told.contains("grows from 1Gi to 5Gi"), "{told}");
    let (_, told) = growth(&[LARGER, GROWS, CLASSES, asked, ("claim:database/status/capacity/storage", "5Gi")]);
    assert!(told.contains("AsWanted"), "{told}");
}

#[test]
fn nothing_is_asked_for_that_the_api_server_would_refuse() {
    let (size, told) = growth(&[LARGER, GROWS]);
    assert_eq!(size, None, "the classes are not known yet");
    assert!(told.contains("Growing"), "{told}");
    let (size, told) = growth(&[LARGER, ("claim:database/spec/storageClassName", "fixed"), CLASSES]);
    assert_eq!(size, None);
    assert!(told.contains("CannotGrow") && told.contains("kubectl patch storageclass fixed"), "{told}");
    let (size, told) = growth(&[LARGER, CLASSES]);
    assert_eq!(size, None);
    assert!(told.contains("it has no storage class"), "{told}");
    let (size, _) = growth(&[LARGER, GROWS, CLASSES, ("claim:database/status/phase", "Pending")]);
    assert_eq!(size, None, "a claim without a volume cannot grow");
}

#[test]
fn a_volume_that_fills_up_grows_by_a_step_when_the_spec_says_so() {
    let grown = |size: &str, percent: u32, more: &[(&str, &str)]| {
        let (place, value) = used(size, percent);
        growth(&[&[FILLS, GROWS, CLASSES, (&*place, &*value)], more].concat()).0
    };
    assert_eq!(grown("1Gi", 79, &[]), None);
    assert_eq!(grown("1Gi", 80, &[]).as_deref(), Some("1536Mi"));
    let asked = ("claim:database/spec/resources/requests/storage", "1536Mi");
    assert_eq!(grown("1Gi", 95, &[asked]), None, "one step at a time");
    let grew = ("claim:database/status/capacity/storage", "1536Mi");
    assert_eq!(grown("1Gi", 95, &[asked, grew]), None, "what was measured before says nothing now");
    assert_eq!(grown("1536Mi", 81, &[asked, grew]).as_deref(), Some("2Gi"));
}

#[test]
fn how_full_a_volume_is_is_asked_only_where_the_spec_says_so() {
    let asks = |edits: &[(&str, &str)]| -> Vec<String> {
        let answer = answer(&with(edits));
        let queries = &answer.desired().unwrap().queries;
        queries
            .iter()
            .map(|query| query.id.clone())
            .filter(|id| id.starts_with("usage-") || id == "storage-classes")
            .collect()
    };
    assert!(asks(&[]).is_empty());
    assert_eq!(asks(&[FILLS]), ["usage-database-1Gi", "storage-classes"]);
    assert_eq!(asks(&[LARGER]), ["storage-classes"]);
}

fn templates(tree: &Value) -> Value {
    child(&answer(tree), "StatefulSet", "cas")["spec"]["volumeClaimTemplates"].clone()
}

#[test]
fn a_larger_size_does_not_have_the_stateful_set_made_again_while_its_claim_exists() {
    assert_eq!(templates(&with(&[("parent/spec/persistence", "{size: 5Gi}")])), templates(&settled()));
    let other = with(&[("parent/spec/persistence", "{storageClass: other, accessModes: [ReadWriteMany]}")]);
    assert_eq!(templates(&other), templates(&settled()));
}

#[test]
fn a_claim_that_is_gone_is_made_anew_as_the_spec_wants_it() {
    let gone = with(&[("parent/spec/persistence", "{size: 5Gi}"), ("answers/claim-database/objects", "[]")]);
    assert_eq!(templates(&gone)[0]["spec"]["resources"]["requests"]["storage"], "5Gi");
}

#[test]
fn while_nobody_knows_whether_a_claim_exists_it_may() {
    for unknown in ["-", "{pending: }", "{denied: missing grant}"] {
        let tree = with(&[("parent/spec/persistence", "{size: 5Gi}"), ("answers/claim-database", unknown)]);
        assert_eq!(templates(&tree), templates(&settled()), "{unknown}");
    }
}

#[test]
fn a_volume_for_snapshots_comes_and_goes_without_that_of_the_database() {
    let off = templates(&with(&[("parent/spec/databaseSnapshots", "{enabled: true}")]));
    assert_eq!(off.as_array().unwrap().len(), 1);
    assert_eq!(off[0], templates(&settled())[0]);
}

#[test]
fn a_database_that_is_told_to_be_ephemeral_keeps_its_claim() {
    let off = with(&[("parent/spec/persistence", "{enabled: false}"), ("parent/spec/databaseSnapshots", "-")]);
    assert_volumes_stay(&off, "off");
    assert!(templates(&off).is_null());
    let on = with(&[("parent/spec/persistence", "{enabled: true}")]);
    assert_eq!(templates(&on), templates(&settled()));
}

#[test]
fn every_change_that_could_lose_a_volume_is_refused_with_what_to_do_instead() {
    let change = |old: &str, new: &str| {
        let object = |spec: &str| {
            format!(
                "{{apiVersion: services.scone.cloud/v1beta1, kind: CAS, metadata: {{name: cas, namespace: prod}}, spec: {spec}}}"
            )
        };
        let request = format!("object: {}\noldObject: {}\n", object(new), object(old));
        let denied = testing::admit::<CasModule>(&request).unwrap().denied;
        denied
            .map(|denied| denied.causes)
            .unwrap_or_default()
            .iter()
            .map(|c| format!("{} {}", c.field, c.message))
            .collect::<Vec<_>>()
    };
    for (old, new, field, fix) in [
        ("{}", "{persistence: {enabled: false}}", "spec.persistence.enabled", "create another"),
        ("{persistence: {size: 2Gi}}", "{persistence: {size: 1Gi}}", "spec.persistence.size", "make it larger"),
        ("{persistence: {size: 2Gi}}", "{}", "spec.persistence.size", "make it larger"),
        (
            "{}",
            "{persistence: {storageClass: x}}",
            "spec.persistence.storageClass",
            "kubectl delete pvc database-cas-0",
        ),
        (
            "{}",
            "{persistence: {accessModes: [ReadOnlyMany]}}",
            "spec.persistence.accessModes",
            "restore it into another CAS",
        ),
        (
            "{databaseSnapshots: {enabled: true, persistence: {enabled: true, size: 2Gi}}}",
            "{databaseSnapshots: {enabled: true, persistence: {enabled: true}}}",
            "spec.databaseSnapshots.persistence.size",
            "make it larger",
        ),
    ] {
        let refused = change(old, new);
        assert!(refused.iter().any(|cause| cause.starts_with(field) && cause.contains(fix)), "{new}: {refused:?}");
    }
    for (old, new) in [
        ("{}", "{persistence: {size: 2Gi}}"),
        ("{persistence: {size: 1024Mi}}", "{persistence: {size: 1Gi}}"),
        ("{persistence: {enabled: false}}", "{persistence: {enabled: true, storageClass: x}}"),
        ("{databaseSnapshots: {enabled: true, persistence: {enabled: true}}}", "{}"),
    ] {
        assert!(change(old, new).is_empty(), "{new}: {:?}", change(old, new));
    }
}
