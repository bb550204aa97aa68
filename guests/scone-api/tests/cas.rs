//! CAS says what was published.

#![expect(clippy::indexing_slicing, reason = "the helpers of tests may do what tests may")]

use crate::support::{assert_table, columns, crd, schema};
use serde_json::Value;

#[test]
fn cas_has_its_published_names() {
    let crd = crd("CAS");
    assert_eq!(crd["metadata"]["name"], "cas.services.scone.cloud");
    assert_eq!((&crd["spec"]["group"], &crd["spec"]["scope"]), (&"services.scone.cloud".into(), &"Namespaced".into()));
    assert_eq!((&crd["spec"]["names"]["plural"], &crd["spec"]["names"]["singular"]), (&"cas".into(), &"cas".into()));
    for none in ["shortNames", "categories"] {
        let names = crd["spec"]["names"].get(none).and_then(Value::as_array);
        assert!(names.is_none_or(Vec::is_empty), "{none}");
    }
    assert_eq!(
        columns("CAS"),
        [
            "Status string .status.state",
            "Phase string .status.phase",
            "PROVISIONED string .status.provisioned",
            "ATTESTABLE string .status.attestable",
            "SNAPSHOTS string .status.snapshotStatus",
            "MIGRATION string .status.migrationNodeRatio",
            "VERSION string .status.version",
            "AGE date .metadata.creationTimestamp",
        ]
    );
}

#[test]
fn cas_has_every_published_field() {
    assert_table(
        &schema("CAS", "spec"),
        &[
            "attestedCLIProbes boolean",
            "autoUpdate boolean",
            "backup-controller object",
            "configuration string",
            "containerSecurityContextAudit object",
            "containerSecurityContextCAS object",
            "databaseSnapshots object",
            "edmmMode string",
            "enclaveMetrics object",
            "image string",
            "imagePullPolicy string one of Always|Never|IfNotPresent",
            "imagePullSecrets array of object",
            "livenessProbe object",
            "networkPolicy object",
            "nodeSelector object of string",
            "nonce string",
            "ownerCertificate string",
            "ownerConfig string",
            "pccsConfig object",
            "persistence object",
            "podAnnotations object of string",
            "podSecurityContext object",
            "reinstallOnFatal boolean",
            "resources object",
            "safetyService object",
            "service object",
            "startupProbe object",
            "tolerations array of object",
        ],
    );
    assert_table(
        &schema("CAS", "status"),
        &[
            "attestable string default \"Failure\" one of Yes|Failure|Failed|No",
            "conditions array of object by type",
            "databasePvcStatus string one of NotBound|Bound|Resizing|FileSystemResizePending",
            "dcapReport string",
            "desiredNumMigratableNodes integer >= 0",
            "mainPodDeletionAttemptBackoffTime string",
            "migrationControllerReplicaAlert integer >= -1",
            "migrationNodeAlert integer >= -1",
            "migrationNodeRatio string",
            "nonce string",
            "numMigratableNodes integer >= 0",
            "observedGeneration integer",
            "pccsEnabled boolean",
            "phase string one of Deleted|Uninitialized|Unprovisioned|AttestationFailure|Provisioned|EnablingMigration|SnapshotFailure|Upgrading|UNHEALTHY|HEALTHY",
            "podDisruptionBudgetAlert integer >= 0 <= 1",
            "provisioned string default \"Unknown\" one of Unknown|No|Yes",
            "readyReplicas integer >= -1",
            "replicaAlert integer >= -1",
            "safetyServiceActiveStatus boolean",
            "safetyServiceDeploymentStatus string one of Disabled|Healthy|Alert|Unknown|Unhealthy",
            "safetyServicePDBStatus string one of Disabled|Healthy|Alert|Unknown|Unhealthy",
            "safetyServiceStatus string one of Disabled|Healthy|Alert|Unknown|Unhealthy",
            "snapshotCheckupTimestamp string",
            "snapshotConfiguredInterval integer",
            "snapshotPvcStatus string one of NotBound|Bound|Resizing|FileSystemResizePending",
            "snapshotStatus string one of Failed|Initializing|Ephemeral|Persisted|Disabled",
            "snapshotTimestamp string",
            "state string one of HEALTHY|PENDING|UNHEALTHY",
            "version string default \"unknown\"",
        ],
    );
}

/// A part of the spec of a CAS, by its path.
fn cas_part(path: &str) -> Value {
    path.split('.').fold(schema("CAS", "spec"), |schema, name| schema["properties"][name].clone())
}

#[test]
fn cas_has_every_published_field_of_probes_and_volumes() {
    let probe = [
        "enabled boolean required",
        "failureThreshold integer >= 1",
        "initialDelaySeconds integer >= 0",
        "periodSeconds integer >= 1",
        "timeoutSeconds integer >= 1",
    ];
    assert_table(&cas_part("livenessProbe"), &probe);
    assert_table(&cas_part("startupProbe"), &probe);
    let volume = |enabled: &'static str| {
        vec![enabled, "accessModes array of string", "dynamicResize object", "size ?", "storageClass string"]
    };
    assert_table(&cas_part("persistence"), &[volume("enabled boolean"), vec!["mountPath string"]].concat());
    assert_table(&cas_part("databaseSnapshots.persistence"), &volume("enabled boolean required"));
    let resize =
        ["enabled boolean required", "increaseStep ? required", "thresholdPercent integer >= 50 <= 100 required"];
    assert_table(&cas_part("persistence.dynamicResize"), &resize);
    assert_table(&cas_part("databaseSnapshots.persistence.dynamicResize"), &resize);
    assert_table(
        &cas_part("databaseSnapshots"),
        &["enabled boolean required", "interval string", "persistence object", "targetDirectory string"],
    );
}

#[test]
fn cas_has_every_published_field_of_its_services() {
    assert_table(
        &cas_part("service"),
        &[
            "annotations object of string",
            "clientPort integer >= 1 <= 65535",
            "enclavePort integer >= 1 <= 65535",
            "loadBalancerIP string",
            "nodePorts object",
            "type string one of ClusterIP|NodePort|LoadBalancer",
        ],
    );
    assert_table(
        &cas_part("service.nodePorts"),
        &["clientPort integer >= 0 <= 65535", "enclavePort integer >= 0 <= 65535"],
    );
    assert_table(
        &cas_part("networkPolicy"),
        &[
            "enabled boolean required",
            "ingressNSMatchLabels object of string",
            "ingressPodMatchLabels object of string",
        ],
    );
    assert_table(
        &cas_part("enclaveMetrics"),
        &["enabled boolean default false required", "port integer >= 1 <= 65535 default 8080"],
    );
    assert_table(
        &cas_part("backup-controller"),
        &[
            "cas string",
            "containerSecurityContext object",
            "debug boolean",
            "enabled boolean",
            "env array of object",
            "image string",
            "imagePullPolicy string one of Always|Never|IfNotPresent",
            "imagePullSecrets array of object",
            "podSecurityContext object",
            "session string",
            "tolerations array of object",
        ],
    );
    assert_table(
        &cas_part("safetyService"),
        &[
            "containerSecurityContext object",
            "desiredReplicas integer >= 2",
            "enabled boolean default false required",
            "image string",
            "minReplicas integer >= 2",
            "podAntiAffinityTopologyKey string default \"kubernetes.io/hostname\" required",
            "podSecurityContext object",
            "tolerations array of object",
        ],
    );
    assert_table(&cas_part("pccsConfig"), &["address string", "enabled boolean required"]);
}

#[test]
fn what_would_lose_a_database_is_refused_by_the_schema_too() {
    let persistence = schema("CAS", "spec")["properties"]["persistence"]["x-kubernetes-validations"].clone();
    let messages: Vec<_> =
        persistence.as_array().unwrap().iter().map(|rule| rule["message"].as_str().unwrap()).collect();
    for field in
        ["storageClass cannot be changed", "accessModes cannot be changed", "size cannot shrink", "persistence cannot"]
    {
        assert!(messages.iter().any(|message| message.starts_with(field)), "{field}");
    }
}

#[test]
fn what_a_later_version_removed_is_marked() {
    let spec = schema("CAS", "spec");
    for field in [&spec["properties"]["edmmMode"], &spec["properties"]["backup-controller"]["properties"]["cas"]] {
        assert!(field["description"].as_str().unwrap().starts_with("Deprecated"), "{field}");
    }
}
