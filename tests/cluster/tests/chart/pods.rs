//! What runs: containers, probes, flags, modules, security, several replicas.

use std::process::Command;

use serde_json::{Value, json};
use test_support::artefact;

use crate::{
    VARIANTS,
    helm::{Rendered, refusal, string, strings, text},
};

/// All pod templates.
fn templates(rendered: &Rendered) -> Vec<&Value> {
    ["Deployment", "Job"]
        .into_iter()
        .flat_map(|kind| rendered.of(kind))
        .map(|object| &object["spec"]["template"])
        .collect()
}

#[test]
fn the_deployment_has_labels_ports_environment_and_probes_of_the_published_one() {
    let rendered = Rendered::with(&[]);
    let deployment = rendered.get("Deployment", "scone-controller-manager");
    let labels = json!({"control-plane": "controller-manager", "app": "scone-controller", "app.kubernetes.io/name": "scone-controller"});
    for (name, value) in labels.as_object().unwrap() {
        assert_eq!(deployment["metadata"]["labels"][name], *value);
    }
    assert_eq!(deployment["spec"]["selector"]["matchLabels"], labels);
    assert_eq!(rendered.pod()["metadata"]["labels"], labels);
    assert_eq!(deployment["spec"]["replicas"], 1);

    let container = rendered.container();
    assert_eq!((&container["name"], &container["command"]), (&json!("manager"), &json!(["/manager"])));
    assert_eq!(container["imagePullPolicy"], "Always");
    let ports = [("webhook-server", 9443), ("http", 8080)];
    let ports = ports.map(|(name, port)| json!({"name": name, "containerPort": port, "protocol": "TCP"}));
    assert_eq!(container["ports"], json!(ports));
    let get = |path| json!({"path": path, "port": 8081});
    assert_eq!(
        container["livenessProbe"],
        json!({"httpGet": get("/healthz"), "initialDelaySeconds": 15, "periodSeconds": 20})
    );
    let startup = json!({"httpGet": get("/readyz"), "periodSeconds": 1, "failureThreshold": 600});
    assert_eq!(
        container["startupProbe"], startup,
        "not published: the first look comes as soon as there is something to see"
    );
    assert_eq!(
        container["readinessProbe"],
        json!({"httpGet": get("/readyz"), "initialDelaySeconds": 5, "periodSeconds": 10})
    );
    let resources = json!({"limits": {"cpu": "2", "memory": "4Gi"}, "requests": {"cpu": "10m", "memory": "64Mi"}});
    assert_eq!(container["resources"], resources);

    let variable =
        |name| container["env"].as_array().unwrap().iter().find(|variable| variable["name"] == name).unwrap();
    assert_eq!(variable("GLOBAL_SCONE_VERSION")["value"], env!("CARGO_PKG_VERSION"));
    assert_eq!(variable("SCONE_OPERATOR_NAMESPACE")["valueFrom"]["fieldRef"]["fieldPath"], "metadata.namespace");
    assert_eq!(variable("HELM_DRIVER")["value"], "secret");
    assert_eq!(variable("POD_NAME")["valueFrom"]["fieldRef"]["fieldPath"], "metadata.name");
    for (annotation, value) in [("scrape", "true"), ("path", "/metrics"), ("port", "8080"), ("scheme", "http")] {
        assert_eq!(rendered.pod()["metadata"]["annotations"][format!("prometheus.io/{annotation}")], value);
    }
    assert_eq!(rendered.pod()["spec"]["imagePullSecrets"], json!([{"name": "scone-operator-pull"}]));
}

#[test]
fn the_image_is_the_one_that_is_named_and_without_a_name_it_is_said_what_to_set() {
    assert_eq!(Rendered::with(&[r#"image="here:5000/mine""#]).container()["image"], "here:5000/mine");
    let why = refusal(&[r#"image="""#]);
    assert!(why.contains("cargo xtask image") && why.contains("--set image=REGISTRY/scone-operator:TAG"), "{why}");
    let values = text("values.yaml");
    assert!(!values.contains("registry.scontain.com"), "no default in a registry that is not ours");
}

#[test]
fn every_flag_and_variable_is_one_that_the_program_knows() {
    let program = artefact("SCONE_OPERATOR_PROGRAM");
    for set in VARIANTS {
        let rendered = Rendered::with(set);
        for template in templates(&rendered) {
            let container = &template["spec"]["containers"][0];
            let arguments = strings(&container["args"]);
            let help = Command::new(&program).args([arguments[0].as_str(), "--help"]).output().unwrap();
            let help = String::from_utf8(help.stdout).unwrap();
            for flag in &arguments[1..] {
                let name = flag.split('=').next().unwrap();
                assert!(
                    help.contains(&format!("{name} ")) || help.contains(&format!("{name}\n")),
                    "{set:?}: there is no {name}"
                );
            }
            for variable in ["SCONE_OPERATOR_NAMESPACE", "POD_NAME"] {
                let set = container["env"].as_array().unwrap().iter().any(|given| given["name"] == variable);
                assert!(!set || help.contains(&format!("[env: {variable}=")), "nobody reads {variable}");
            }
        }
    }
}

#[test]
fn addresses_are_those_of_the_ports() {
    let rendered =
        Rendered::with(&[r#"listenAddress="[::]""#, "webhook.port=10250", "metrics.port=9000", "health.port=9001"]);
    assert_eq!(rendered.flag("webhook-bind-address").as_deref(), Some("[::]:10250"));
    assert_eq!(rendered.flag("metrics-bind-address").as_deref(), Some("[::]:9000"));
    assert_eq!(rendered.flag("health-probe-bind-address").as_deref(), Some("[::]:9001"));
    assert_eq!(rendered.container()["readinessProbe"]["httpGet"]["port"], 9001);
    assert_eq!(rendered.get("Service", "scone-webhook-service")["spec"]["ports"][0]["targetPort"], 10250);
    assert_eq!(rendered.pod()["metadata"]["annotations"]["prometheus.io/port"], "9000");
}

#[test]
fn a_config_map_that_need_not_exist_puts_modules_in_the_place_of_the_images() {
    let rendered = Rendered::with(&[r#"modules.configMaps=["one","two"]"#]);
    assert_eq!(rendered.flag("modules").as_deref(), Some("/modules:/settings:/modules-extra"));
    let volumes = rendered.pod()["spec"]["volumes"].as_array().unwrap();
    let volume = volumes.iter().find(|volume| volume["name"] == "modules").unwrap();
    let sources = ["one", "two"].map(|name| json!({"configMap": {"name": name, "optional": true}}));
    assert_eq!(volume["projected"]["sources"], json!(sources));
    let default = Rendered::with(&[]).text;
    assert!(default.contains("name: scone-modules"), "modctl configmap makes one of that name");

    let image = Rendered::with(&["modules.configMaps=[]"]);
    assert_eq!(image.flag("modules").as_deref(), Some("/modules:/settings"));
    let mounted = Rendered::with(&["modules.fromImage=false"]);
    assert_eq!(mounted.flag("modules").as_deref(), Some("/settings:/modules-extra"));
}

#[test]
fn two_replicas_are_protected_and_spread_and_one_is_not() {
    let one = Rendered::with(&[]);
    assert!(one.of("PodDisruptionBudget").is_empty(), "nobody could drain the node of the only replica");
    assert!(one.pod()["spec"]["topologySpreadConstraints"].is_null());
    let two = Rendered::with(&["replicas=2"]);
    assert_eq!(two.get("Deployment", "scone-controller-manager")["spec"]["replicas"], 2);
    let budget = &two.get("PodDisruptionBudget", "scone-controller-manager")["spec"];
    assert_eq!(budget["maxUnavailable"], 1);
    assert_eq!(budget["selector"], two.get("Deployment", "scone-controller-manager")["spec"]["selector"]);
    let spread = &two.pod()["spec"]["topologySpreadConstraints"][0];
    assert_eq!(
        (&spread["topologyKey"], &spread["whenUnsatisfiable"]),
        (&json!("kubernetes.io/hostname"), &json!("ScheduleAnyway"))
    );
    assert!(strings(&two.container()["args"]).contains(&"--leader-elect".to_owned()));
}

#[test]
fn somebody_answers_during_a_rollout_and_a_pod_has_the_time_to_end() {
    for (sleep, drain) in [(0, 0), (5, 10), (30, 60)] {
        let set = [format!("shutdown.sleepSeconds={sleep}"), format!("shutdown.drainSeconds={drain}")];
        let rendered = Rendered::with(&set.each_ref().map(String::as_str));
        let strategy = &rendered.get("Deployment", "scone-controller-manager")["spec"]["strategy"]["rollingUpdate"];
        assert_eq!(*strategy, json!({"maxUnavailable": 0, "maxSurge": 1}));
        let grace = rendered.pod()["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap();
        assert!(grace > sleep + drain + 10, "{grace}");
        assert_eq!(rendered.flag("webhook-drain-seconds"), Some(drain.to_string()));
        let seconds = &rendered.container()["lifecycle"]["preStop"]["sleep"]["seconds"];
        assert_eq!(*seconds, if sleep == 0 { Value::Null } else { json!(sleep) });
    }
}

#[test]
fn every_pod_brings_a_token_that_ends_and_no_account_gives_one_away() {
    for set in VARIANTS {
        let rendered = Rendered::with(set);
        for account in rendered.of("ServiceAccount") {
            assert_eq!(account["automountServiceAccountToken"], false, "{set:?}");
        }
        for template in templates(&rendered) {
            let spec = &template["spec"];
            assert_eq!(spec["automountServiceAccountToken"], false);
            let volumes = spec["volumes"].as_array().unwrap();
            let token = volumes.iter().find(|volume| volume["name"] == "token").unwrap();
            let sources = token["projected"]["sources"].as_array().unwrap();
            assert!(sources.iter().any(|source| source["serviceAccountToken"]["expirationSeconds"] == 3607));
            let mount = json!({"name": "token", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": true});
            assert!(spec["containers"][0]["volumeMounts"].as_array().unwrap().contains(&mount));
            let account = string(&spec["serviceAccountName"]);
            assert!(rendered.find("ServiceAccount", account).is_some(), "{account}");
        }
    }
}

#[test]
fn every_pod_keeps_to_the_restricted_pod_security_standard() {
    for set in VARIANTS {
        let rendered = Rendered::with(set);
        for template in templates(&rendered) {
            let pod = &template["spec"]["securityContext"];
            assert_eq!(
                (&pod["runAsNonRoot"], &pod["seccompProfile"]["type"]),
                (&json!(true), &json!("RuntimeDefault"))
            );
            let user = if set.contains(&"runAsUser=null") { Value::Null } else { json!(65532) };
            assert_eq!(pod["runAsUser"], user);
            let container = &template["spec"]["containers"][0]["securityContext"];
            let expected = json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}});
            assert_eq!(*container, expected);
        }
    }
    assert!(Rendered::with(&[]).pod()["spec"]["hostNetwork"].is_null());
}

#[test]
fn what_is_written_goes_to_a_folder_of_the_pod() {
    let rendered = Rendered::with(&[]);
    let cache = rendered.flag("cache").unwrap();
    let mounts = rendered.container()["volumeMounts"].as_array().unwrap();
    let mount = mounts.iter().find(|mount| mount["mountPath"] == cache.as_str()).unwrap();
    let volumes = rendered.pod()["spec"]["volumes"].as_array().unwrap();
    let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]).unwrap();
    assert!(volume["emptyDir"].is_object() && mount["readOnly"].is_null());
}
