//! Vault says what was published.

use crate::support::{assert_table, columns, crd, schema};

#[test]
fn its_names_are_published() {
    let crd = crd("Vault");
    assert_eq!(crd["metadata"]["name"], "vaults.services.scone.cloud");
    assert_eq!(crd["spec"]["scope"], "Namespaced");
    assert_eq!(crd["spec"]["names"]["singular"], "vault");
    assert!(crd["spec"]["names"]["shortNames"].as_array().is_none_or(Vec::is_empty), "none is published");
    let version = &crd["spec"]["versions"][0];
    assert_eq!((version["name"].as_str(), version["storage"].as_bool()), (Some("v1beta1"), Some(true)));
    assert!(version["subresources"]["status"].is_object());
}

/// Whoever uses it is told: the kind is gone from 6.0.1.
#[test]
fn it_is_marked_as_deprecated() {
    let version = crd("Vault")["spec"]["versions"][0].clone();
    assert_eq!(version["deprecated"], true);
    assert!(version["deprecationWarning"].as_str().unwrap().contains("6.0.0"));
}

#[test]
fn its_spec_has_every_published_field() {
    let spec = schema("Vault", "spec");
    assert_table(
        &spec,
        &[
            "server object required",
            "global object required",
            "injector object required",
            "autoUpdate boolean",
            "nodeSelector object of string",
            "reinstallOnFatal boolean",
        ],
    );
    let part = |name: &str| spec["properties"][name].clone();
    assert_table(
        &part("server"),
        &[
            "image object",
            "dev object of boolean",
            "dataStorage object of boolean",
            "readinessProbe object of boolean",
            "initialdelaySeconds integer >= 0",
            "path string",
            "postStart array of string",
            "resources object",
            "extraEnvironmentVars object of string",
            "extraInitContainers array of object",
        ],
    );
    assert_table(
        &part("server")["properties"]["image"],
        &["repository string", "tag string", "pullPolicy string one of Always|Never|IfNotPresent"],
    );
    assert_table(&part("global"), &["imagePullSecrets array of object"]);
    assert_table(&part("injector"), &["enabled boolean"]);
}

#[test]
fn its_status_has_every_published_field() {
    assert_table(
        &schema("Vault", "status"),
        &[
            "state string one of HEALTHY|PENDING|UNHEALTHY",
            "initStatement string",
            "desiredReplicas integer >= -1",
            "readyReplicas integer >= -1",
            "sgxReplicaAlert integer >= -1",
            "conditions array of object by type",
            "observedGeneration integer",
        ],
    );
}

#[test]
fn it_has_every_published_column() {
    assert_eq!(
        columns("Vault"),
        [
            "Status string .status.state",
            "Desired integer .status.desiredReplicas",
            "Ready integer .status.readyReplicas",
            "Age date .metadata.creationTimestamp",
        ]
    );
}
