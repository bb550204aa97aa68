//! What the chart makes: names, CRDs, certificates, what happens at the end.

use std::{collections::BTreeSet, fs};

use serde_json::{Value, json};

use crate::{
    VARIANTS,
    helm::{NAMESPACE, Rendered, checkout, lint, string, text},
};

#[test]
fn helm_finds_nothing_to_complain_about() {
    for set in VARIANTS {
        let said = lint(set);
        assert!(said.contains("0 chart(s) failed") && !said.contains("WARNING"), "{set:?}: {said}");
    }
}

#[test]
fn all_objects_have_the_published_names_and_no_name_comes_twice() {
    let rendered = Rendered::with(&["replicas=2", "serviceMonitor.enabled=true", "cert-manager.enabled=true"]);
    let names = rendered.names();
    for name in [
        "Deployment/scone-controller-manager",
        "ServiceAccount/scone-controller-manager",
        "ConfigMap/scone-manager-config",
        "Service/scone-webhook-service",
        "Service/scone-controller-manager-metrics-service",
        "Certificate/scone-serving-cert",
        "Issuer/scone-selfsigned-issuer",
        "ClusterRole/scone-manager-role",
        "ClusterRoleBinding/scone-manager-rolebinding",
        "ClusterRole/scone-proxy-role",
        "ClusterRoleBinding/scone-proxy-rolebinding",
        "ClusterRole/scone-metrics-reader",
        "ClusterRole/scone-cas-backup-las",
        "ClusterRole/scone-cas-backup-nodes",
        "ClusterRole/scone-cas-backup-workloads",
        "Role/scone-manager-role",
        "RoleBinding/scone-manager-rolebinding",
        "Role/scone-leader-election-role",
        "RoleBinding/scone-leader-election-rolebinding",
        "ServiceMonitor/scone-controller-manager-metrics-monitor",
        "PodDisruptionBudget/scone-controller-manager",
    ] {
        assert!(names.iter().any(|there| there == name), "there is no {name}");
    }
    let different: BTreeSet<&String> = names.iter().collect();
    assert_eq!(different.len(), names.len(), "{names:#?}");
}

#[test]
fn services_lead_to_the_pods_by_the_published_label() {
    let rendered = Rendered::with(&[]);
    let selector = json!({"control-plane": "controller-manager"});
    let webhook = rendered.get("Service", "scone-webhook-service");
    assert_eq!(
        (&webhook["spec"]["ports"][0]["port"], &webhook["spec"]["ports"][0]["targetPort"]),
        (&json!(443), &json!(9443))
    );
    assert_eq!(webhook["spec"]["selector"], selector);
    let metrics = rendered.get("Service", "scone-controller-manager-metrics-service");
    assert_eq!(
        (&metrics["spec"]["ports"][0]["name"], &metrics["spec"]["ports"][0]["port"]),
        (&json!("http"), &json!(8080))
    );
    assert_eq!(metrics["metadata"]["labels"]["control-plane"], "controller-manager");
    assert_eq!(metrics["spec"]["selector"], selector);
    let jobs = rendered.of("Job");
    assert_ne!(
        jobs[0]["spec"]["template"]["metadata"]["labels"]["control-plane"], "controller-manager",
        "requests would go to a Job"
    );
}

#[test]
fn the_configuration_holds_what_the_published_one_says_and_the_settings_of_modules() {
    let data =
        Rendered::with(&[r#"modules.settings.las.version="6.0.6""#]).get("ConfigMap", "scone-manager-config")["data"]
            .clone();
    let config: Value = serde_saphyr::from_str(string(&data["controller_manager_config.yaml"])).unwrap();
    assert_eq!(config["leaderElection"]["resourceName"], "61d57791.scone.cloud");
    assert_eq!(config["webhook"]["port"], 9443);
    assert_eq!(config["metrics"]["bindAddress"], "0.0.0.0:8080");
    assert_eq!(config["health"]["healthProbeBindAddress"], "0.0.0.0:8081");
    let las: Value = serde_json::from_str(string(&data["las.json"])).unwrap();
    assert_eq!(las, json!({"namespace": NAMESPACE, "version": "6.0.6"}));
}

#[test]
fn no_authority_no_secret_and_no_webhook_is_in_the_chart() {
    for set in VARIANTS {
        let rendered = Rendered::with(set);
        assert!(!rendered.text.contains("caBundle") && !rendered.text.contains("BEGIN CERTIFICATE"), "{set:?}");
        for kind in ["Secret", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
            assert!(
                rendered.of(kind).is_empty(),
                "{set:?}: the operator writes each {kind} itself, and Helm would fight with it"
            );
        }
    }
}

/// Whether two values are the same; Helm writes `1.0` as `1`.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, one)| other.get(key).is_some_and(|other| same(one, other)))
        }
        _ => one == other,
    }
}

#[test]
fn crds_are_templates_that_stay_and_equal_what_is_generated() {
    let rendered = Rendered::with(&[]);
    let crds = rendered.of("CustomResourceDefinition");
    let mut sources = 0;
    for entry in fs::read_dir(checkout("deploy/crds")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        sources += 1;
        let (name, source) = (path.file_name().unwrap().to_str().unwrap(), fs::read_to_string(&path).unwrap());
        assert!(text(&format!("files/crds/{name}")) == source, "the chart's {name} is stale; run cargo xtask chart");
        let source: Value = serde_saphyr::from_str(&source).unwrap();
        let crd = rendered.get("CustomResourceDefinition", string(&source["metadata"]["name"]));
        assert!(same(&crd["spec"], &source["spec"]), "{name} is rendered differently");
        assert_eq!(crd["metadata"]["annotations"]["helm.sh/resource-policy"], "keep", "{name}");
    }
    assert_eq!(crds.len(), sources, "the chart has CRDs that deploy/crds has not; run cargo xtask chart");
    assert!(Rendered::with(&["crds.install=false"]).of("CustomResourceDefinition").is_empty());
}

#[test]
fn cert_manager_makes_the_published_certificate_and_the_operator_makes_none() {
    let rendered = Rendered::with(&["cert-manager.enabled=true"]);
    let certificate = &rendered.get("Certificate", "scone-serving-cert")["spec"];
    assert_eq!(
        certificate["dnsNames"],
        json!(["scone-webhook-service.scone-system.svc", "scone-webhook-service.scone-system.svc.cluster.local"])
    );
    assert_eq!(certificate["secretName"], "webhook-server-cert");
    assert_eq!(certificate["issuerRef"], json!({"kind": "Issuer", "name": "scone-selfsigned-issuer"}));
    assert_eq!(rendered.get("Issuer", "scone-selfsigned-issuer")["spec"], json!({"selfSigned": {}}));
    let place = "/tmp/k8s-webhook-server/serving-certs";
    assert_eq!(rendered.flag("webhook-cert-dir").as_deref(), Some(place));
    let mounts = rendered.container()["volumeMounts"].as_array().unwrap();
    let mount = mounts.iter().find(|mount| mount["mountPath"] == place).unwrap();
    let volumes = rendered.pod()["spec"]["volumes"].as_array().unwrap();
    let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]).unwrap();
    assert_eq!(volume["secret"]["secretName"], "webhook-server-cert");

    let own = Rendered::with(&[r#"cert-manager={"enabled":true,"issuerRef":{"name":"mine"}}"#]);
    assert_eq!(own.get("Certificate", "scone-serving-cert")["spec"]["issuerRef"], json!({"name": "mine"}));
    assert!(own.of("Issuer").is_empty());
    assert!(Rendered::with(&[]).flag("webhook-cert-dir").is_none());
}

#[test]
fn what_the_operator_made_is_taken_back_before_it_goes_and_its_leases_after() {
    let rendered = Rendered::with(&[]);
    let hook = |object: &Value| string(&object["metadata"]["annotations"]["helm.sh/hook"]).to_owned();
    let weight =
        |object: &Value| string(&object["metadata"]["annotations"]["helm.sh/hook-weight"]).parse::<i32>().unwrap();
    let job = rendered.get("Job", "scone-webhook-uninstall");
    let container = &job["spec"]["template"]["spec"]["containers"][0];
    assert_eq!((&container["command"], &container["args"][0]), (&json!(["/manager"]), &json!("uninstall-webhooks")));
    assert_eq!(container["image"], rendered.container()["image"]);
    for kind in ["ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"] {
        let object = rendered.get(kind, "scone-webhook-uninstall");
        assert_eq!(hook(object), "pre-delete", "{kind}");
        assert!(weight(object) < weight(job), "{kind} has to be there before the Job");
    }
    assert_eq!(hook(job), "pre-delete");
    for lease in ["61d57791.scone.cloud", "scone-webhooks-withdrawn"] {
        assert_eq!(hook(rendered.get("Lease", lease)), "post-delete");
    }
    for object in rendered.objects.iter().filter(|object| !hook(object).is_empty()) {
        let policy = &object["metadata"]["annotations"]["helm.sh/hook-delete-policy"];
        assert_eq!(
            policy, "before-hook-creation,hook-succeeded",
            "Helm forgets its hooks: {}",
            object["metadata"]["name"]
        );
    }
}

#[test]
fn webhooks_that_are_turned_off_by_an_upgrade_are_taken_back() {
    let rendered = Rendered::with(&["webhook.enabled=false"]);
    let hook = &rendered.get("Job", "scone-webhook-uninstall")["metadata"]["annotations"]["helm.sh/hook"];
    assert_eq!(hook, "post-upgrade,pre-delete");
    assert_eq!(rendered.flag("webhooks").as_deref(), Some("off"));
    assert!(rendered.find("Service", "scone-webhook-service").is_none());
}

#[test]
fn a_network_policy_lets_in_what_has_to_come_in() {
    assert!(Rendered::with(&[]).of("NetworkPolicy").is_empty());
    let peers = r#"networkPolicy={"enabled":true,"metricsFrom":[{"namespaceSelector":{}}]}"#;
    let rendered = Rendered::with(&[peers, "webhook.port=10250"]);
    let policy = &rendered.get("NetworkPolicy", "scone-controller-manager")["spec"];
    let ports =
        |rule: &Value| rule["ports"].as_array().unwrap().iter().map(|port| port["port"].clone()).collect::<Vec<_>>();
    let [open, metrics] = policy["ingress"].as_array().unwrap().as_slice() else { panic!("{policy}") };
    assert_eq!((ports(open), &open["from"]), (vec![json!(10250), json!(8081)], &Value::Null));
    assert_eq!((ports(metrics), &metrics["from"]), (vec![json!(8080)], &json!([{"namespaceSelector": {}}])));
    assert_eq!(policy["policyTypes"], json!(["Ingress"]));
}
