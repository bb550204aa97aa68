//! The CRDs under `deploy/crds` and those that modules carry are the ones of the types, and the types say what is published.
//! To write the files again: `UPDATE=1 cargo test -p scone-api`.

use std::fs;

use crate::support::{assert_table, check, columns, crd, path, schema};
use serde_json::Value;

const KINDS: [&str; 7] = ["CAS", "LAS", "SGXPlugin", "SignedPolicy", "EncryptedPolicy", "ImagePullSecret", "Vault"];

#[test]
fn the_files_to_deploy_are_those_of_the_types() {
    for (file, crd) in scone_api::crds() {
        check(&format!("../../deploy/crds/{file}"), &serde_saphyr::to_string(&crd).unwrap());
    }
}

#[test]
fn the_texts_that_modules_carry_are_those_of_the_types() {
    for (file, kind, text) in [
        ("crds/cas.json", "CAS", scone_api::CAS_CRD),
        ("crds/encryptedpolicy.json", "EncryptedPolicy", scone_api::ENCRYPTED_POLICY_CRD),
        ("crds/imagepullsecret.json", "ImagePullSecret", scone_api::IMAGEPULLSECRET_CRD),
        ("crds/las.json", "LAS", scone_api::LAS_CRD),
        ("crds/sgxplugin.json", "SGXPlugin", scone_api::SGXPLUGIN_CRD),
        ("crds/signedpolicy.json", "SignedPolicy", scone_api::SIGNED_POLICY_CRD),
        ("crds/vault.json", "Vault", scone_api::VAULT_CRD),
    ] {
        check(file, &(serde_json::to_string_pretty(&crd(kind)).unwrap() + "\n"));
        if std::env::var_os("UPDATE").is_none() {
            assert_eq!(serde_json::from_str::<Value>(text).unwrap(), crd(kind));
        }
    }
}

#[test]
fn a_host_may_write_conditions_before_a_module_has_ever_answered() {
    for kind in KINDS {
        assert!(schema(kind, "status").get("required").is_none(), "{kind}");
    }
}

#[test]
fn a_resource_without_a_spec_gets_one() {
    for kind in ["CAS", "LAS", "SGXPlugin"] {
        assert_eq!(schema(kind, "spec")["default"], serde_json::json!({}), "{kind}");
        assert!(crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"].get("required").is_none(), "{kind}");
    }
}

#[test]
fn quantities_have_their_published_pattern() {
    for kind in ["CAS", "LAS", "SGXPlugin"] {
        let resources = schema(kind, "spec")["properties"]["resources"]["properties"].clone();
        for list in ["limits", "requests"] {
            let pattern = resources[list]["additionalProperties"]["pattern"].as_str().unwrap_or_default().to_owned();
            assert!(pattern.contains("[KMGTPE]i"), "{kind} {list}");
        }
    }
}

#[test]
fn every_list_that_users_write_is_bounded() {
    fn unbounded(schema: &Value, place: &str, found: &mut Vec<String>) {
        if schema["type"] == "array" && !schema["maxItems"].is_u64() {
            found.push(place.to_owned());
        }
        for (name, part) in schema["properties"].as_object().into_iter().flatten() {
            unbounded(part, &format!("{place}.{name}"), found);
        }
        for (name, key) in [("[]", "items"), ("*", "additionalProperties")] {
            if let Some(part) = schema.get(key) {
                unbounded(part, &format!("{place}.{name}"), found);
            }
        }
    }
    for kind in KINDS {
        let mut found = Vec::new();
        unbounded(&schema(kind, "spec"), kind, &mut found);
        assert_eq!(found, Vec::<String>::new());
    }
    assert_eq!(schema("SignedPolicy", "spec")["properties"]["signatures"]["maxItems"], 32);
}

/// The API server repeats a value that does not match a pattern, but not one that a rule refuses.
#[test]
fn a_key_that_is_refused_is_not_repeated() {
    let key = schema("LAS", "spec")["properties"]["dcapKey"].clone();
    assert!(key["x-kubernetes-validations"][0]["rule"].as_str().unwrap().contains("{32}"));
    assert!(key.get("pattern").is_none() && key.get("maxLength").is_none() && key.get("enum").is_none());
}

#[test]
fn the_files_to_deploy_read_back_as_crds() {
    for (file, crd) in scone_api::crds() {
        let text = fs::read_to_string(path(&format!("../../deploy/crds/{file}"))).unwrap();
        let read: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(read, serde_json::to_value(crd).unwrap(), "{file}");
    }
}

#[test]
fn the_names_are_published() {
    for (kind, name, short, scope) in [
        ("LAS", "las.base.scone.cloud", "las", "Cluster"),
        ("SGXPlugin", "sgxplugins.base.scone.cloud", "sgx", "Cluster"),
        ("SignedPolicy", "signedpolicies.cas.scone.cloud", "spol", "Namespaced"),
        ("EncryptedPolicy", "encryptedpolicies.cas.scone.cloud", "epol", "Namespaced"),
    ] {
        let crd = crd(kind);
        assert_eq!(crd["metadata"]["name"], name);
        assert_eq!(crd["spec"]["group"].as_str(), name.split_once('.').map(|(_, group)| group));
        assert_eq!(crd["spec"]["scope"], scope);
        assert_eq!(crd["spec"]["names"]["shortNames"][0], short);
        assert_eq!(crd["spec"]["names"]["singular"], kind.to_lowercase());
        assert!(crd["spec"]["names"].get("categories").is_none(), "none is published");
        let version = &crd["spec"]["versions"][0];
        assert_eq!((version["name"].as_str(), version["storage"].as_bool()), (Some("v1beta1"), Some(true)));
        assert!(version["subresources"]["status"].is_object());
    }
}

#[test]
fn sgxplugin_has_every_published_field() {
    assert_table(
        &schema("SGXPlugin", "spec"),
        &[
            "autoUpdate boolean",
            "capacitySGXPods integer >= 1 <= 10000",
            "image string",
            "imagePullPolicy string default \"Always\" one of Always|Never|IfNotPresent",
            "imagePullSecrets array of object",
            "namespace string",
            "nodeSelector object of string",
            "podAnnotations object of string",
            "reinstallOnFatal boolean",
            "resources object",
            "tolerations array of object",
        ],
    );
    assert_table(
        &schema("SGXPlugin", "status"),
        &[
            "state string one of HEALTHY|PENDING|UNHEALTHY",
            "servingReplicaRatio string",
            "desiredReplicas integer >= -1",
            "readyReplicas integer >= -1",
            "servingReplicas integer >= -1",
            "healthyServingReplicas integer >= -1",
            "capacitySGXDevices integer >= -1",
            "capacitySGXDevicesPerNode object of integer",
            "usedSGXDevices integer >= -1",
            "usedSGXDevicesPerNode object of integer",
            "availableSGXDevices integer >= -1",
            "availableSGXDevicesPerNode object of integer",
            "sgxReplicaAlert integer >= -1",
            "sgxDeviceAlert object of integer",
            "conditions array of object by type",
            "observedGeneration integer",
        ],
    );
}

#[test]
fn sgxplugin_has_every_published_column() {
    assert_eq!(
        columns("SGXPlugin"),
        [
            "Status string .status.state",
            "Serving string .status.servingReplicaRatio",
            "Selected integer .status.desiredReplicas",
            "Ready integer .status.readyReplicas",
            "Age date .metadata.creationTimestamp",
        ]
    );
}

#[test]
fn las_has_every_published_field() {
    assert_table(
        &schema("LAS", "spec"),
        &[
            "autoUpdate boolean",
            "containerSecurityContextLAS object",
            "containerSecurityContextProbe object",
            "dcapKey string",
            "hostPort integer >= 1 <= 65535 default 18766",
            "image string",
            "imagePullPolicy string default \"Always\" one of Always|Never|IfNotPresent",
            "imagePullSecrets array of object",
            "namespace string",
            "nodeSelector object of string",
            "podAnnotations object of string",
            "podSecurityContext object",
            "resources object",
            "tolerations array of object",
        ],
    );
    assert_table(
        &schema("LAS", "status"),
        &[
            "state string one of HEALTHY|PENDING|UNHEALTHY",
            "version string",
            "desiredNumberScheduled integer >= -1",
            "numberAvailable integer >= -1",
            "lasReplicaAlert integer >= -1",
            "lasProbeAlert integer >= -1",
            "nodes object of object",
            "conditions array of object by type",
            "observedGeneration integer",
        ],
    );
    assert_table(
        &schema("LAS", "status")["properties"]["nodes"]["additionalProperties"],
        &[
            "isReady boolean required",
            "hasDCAPQuote boolean required",
            "hasEPIDQuote boolean required",
            "publicKey string required",
            "lasProbeAlert integer >= -1 required",
            "lastProbedAt integer required",
            "lastComputedAt integer required",
            "lastRunningStartedAt integer required",
            "errorMessages array of string",
        ],
    );
}

#[test]
fn las_has_every_published_column() {
    assert_eq!(
        columns("LAS"),
        [
            "STATUS string .status.state",
            "AVAILABLE string .status.numberAvailable",
            "DESIRED string .status.desiredNumberScheduled",
            "VERSION string .status.version",
            "AGE date .metadata.creationTimestamp",
            "NODES string .status.nodes wide",
        ]
    );
}

#[test]
fn policies_have_every_published_field() {
    let spec = schema("SignedPolicy", "spec");
    assert_table(
        &spec,
        &["casAddress string required", "policy string required", "signatures array of object required"],
    );
    let signatures = &spec["properties"]["signatures"]["items"];
    assert_table(signatures, &["signer string required", "signature string required"]);
    assert_table(
        &schema("EncryptedPolicy", "spec"),
        &["casAddress string required", "policy string required", "encryptionKey string required"],
    );
}

/// Published are the first four, and no list of states; the others are what the operator has to remember.
#[test]
fn policies_have_every_published_field_of_the_status() {
    for kind in ["SignedPolicy", "EncryptedPolicy"] {
        assert_table(
            &schema(kind, "status"),
            &[
                "state string",
                "hash string default \"\"",
                "predecessor string",
                "revision string",
                "session string",
                "registeredUpload string",
                "failedUpload string",
                "conditions array of object by type",
                "observedGeneration integer",
            ],
        );
    }
}

#[test]
fn policies_have_every_published_column() {
    let (state, age) = ("STATE string .status.state", "AGE date .metadata.creationTimestamp");
    assert_eq!(columns("SignedPolicy"), [state, "HASH string .status.hash", age]);
    assert_eq!(columns("EncryptedPolicy"), [state, age]);
}

#[test]
fn a_policy_needs_its_spec() {
    for kind in ["SignedPolicy", "EncryptedPolicy"] {
        assert!(schema(kind, "spec").get("default").is_none(), "{kind}");
        let required = crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["required"].clone();
        assert_eq!(required, serde_json::json!(["spec"]), "{kind}");
    }
}

/// It may hold a password by mistake.
#[test]
fn an_address_that_is_refused_is_not_repeated() {
    for kind in ["SignedPolicy", "EncryptedPolicy"] {
        let address = schema(kind, "spec")["properties"]["casAddress"].clone();
        assert_eq!(address["x-kubernetes-validations"][0]["rule"], "self.startsWith('https://')");
        assert!(address.get("pattern").is_none() && address.get("maxLength").is_none(), "{kind}");
    }
}

/// The rules of structural schemas (`k8s.io/apiextensions-apiserver/pkg/apiserver/schema`): everything has a type, nothing is
/// a reference, and properties exclude values of any name.
#[test]
fn the_schemas_are_structural() {
    for kind in KINDS {
        structural(kind, &crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]);
    }
}

fn structural(place: &str, schema: &Value) {
    let int_or_string = schema["x-kubernetes-int-or-string"] == true;
    assert!(schema["type"].is_string() || int_or_string, "{place} has no type");
    for forbidden in ["$ref", "definitions", "$defs", "deprecated", "const", "patternProperties"] {
        assert!(schema.get(forbidden).is_none(), "{place} has {forbidden}");
    }
    let names = schema.get("properties").is_some();
    assert!(
        !(names && schema.get("additionalProperties").is_some()),
        "{place} has properties and additionalProperties"
    );
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        structural(&format!("{place}.{name}"), field);
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(schema) = schema.get(inner) {
            structural(&format!("{place}.{inner}"), schema);
        }
    }
}
