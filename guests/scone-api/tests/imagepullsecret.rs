//! `ImagePullSecret` says what is published.
#![expect(clippy::indexing_slicing, reason = "the helpers of tests may do what tests may")]

use crate::support::{assert_table, columns, crd, schema};
use serde_json::Value;

fn at(schema: &Value, path: &[&str]) -> Value {
    path.iter().fold(schema.clone(), |schema, name| match *name {
        "[]" => schema["items"].clone(),
        name => schema["properties"][name].clone(),
    })
}

#[test]
fn its_names_are_published() {
    let crd = crd("ImagePullSecret");
    assert_eq!(crd["metadata"]["name"], "imagepullsecrets.images.banzaicloud.io");
    assert_eq!(crd["spec"]["scope"], "Cluster");
    assert_eq!(crd["spec"]["names"]["shortNames"][0], "imps");
    let version = &crd["spec"]["versions"][0];
    assert_eq!((version["name"].as_str(), version["storage"].as_bool()), (Some("v1alpha1"), Some(true)));
    assert!(version["subresources"]["status"].is_object());
}

#[test]
fn its_spec_has_every_published_field() {
    let spec = schema("ImagePullSecret", "spec");
    assert_table(&spec, &["registry object required", "target object required"]);
    assert_table(&at(&spec, &["registry"]), &["credentials array of object required"]);
    assert_table(&at(&spec, &["registry", "credentials", "[]"]), &["name string required", "namespace string"]);
    assert_table(
        &at(&spec, &["target"]),
        &["namespaces object", "namespacesWithPods object", "secret object default {}"],
    );
    assert_table(
        &at(&spec, &["target", "secret"]),
        &["annotations object of string", "labels object of string", "name string"],
    );
    assert_table(
        &at(&spec, &["target", "namespaces"]),
        &["annotations array of object", "labels array of object", "names array of string"],
    );
    assert_table(
        &at(&spec, &["target", "namespacesWithPods"]),
        &["annotations array of object", "labels array of object"],
    );
    for place in ["namespaces", "namespacesWithPods"] {
        let selectors = at(&spec, &["target", place]);
        let of = |list: &str| at(&selectors, &[list, "[]"]);
        assert_table(&of("annotations"), &["matchAnnotations object of string", "matchExpressions array of object"]);
        assert_table(&of("labels"), &["matchLabels object of string", "matchExpressions array of object"]);
    }
}

#[test]
fn its_status_has_every_published_field() {
    assert_table(
        &schema("ImagePullSecret", "status"),
        &[
            "status string one of Ready|Failed",
            "reason string",
            "lastSuccessfulReconciliation string",
            "validitySeconds integer",
            "managedNamespaces array of string",
            "sourceSecretStatus object of string",
            "conditions array of object by type",
            "observedGeneration integer",
        ],
    );
}

#[test]
fn it_has_every_published_column() {
    assert_eq!(
        columns("ImagePullSecret"),
        [
            "State string .status.status",
            "Reconciled date .status.lastSuccessfulReconciliation",
            "Validity seconds integer .status.validitySeconds",
            "Secret Name string .spec.target.secret.name",
            "Namespaces string .status.managedNamespaces",
        ]
    );
}
