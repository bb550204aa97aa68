//! What the module makes and asks.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "the helpers of tests may do what tests may")]

use crate::support::{answer, asked, child, settled, status, with};
use insta::assert_snapshot;
use operator_guest::Strategy;
use serde_json::{Value, json};

#[test]
fn a_settled_cas_is_healthy() {
    assert_snapshot!(answer(&settled()));
}

#[test]
fn a_cas_with_nothing_said_gets_what_it_needs_and_no_more() {
    let yaml = json!({
        "now": 1_700_003_580, "settings": {"version": "6.0.6"},
        "parent": {"apiVersion": "services.scone.cloud/v1beta1", "kind": "CAS", "metadata": {"name": "cas", "namespace": "prod"}, "spec": {}},
    });
    assert_snapshot!(answer(&yaml));
}

fn kinds(tree: &Value) -> Vec<String> {
    let answer = answer(tree);
    answer.desired().unwrap().children.iter().map(|child| child.identity.to_string()).collect()
}

#[test]
fn the_backup_controller_takes_what_it_needs_with_it() {
    let gone = with(&[("parent/spec/backup-controller", "{enabled: false}"), ("parent/spec/safetyService", "-")]);
    let (with_it, without) = (kinds(&settled()), kinds(&gone));
    let mut brought: Vec<_> = with_it.into_iter().filter(|kind| !without.contains(kind)).collect();
    brought.sort();
    assert_snapshot!(brought.join("\n"), @r"
    ClusterRoleBinding scone:prod:cas-backup-controller
    Deployment prod/cas-backup-controller
    Deployment prod/cas-safety-service
    PodDisruptionBudget prod/cas-safety-service
    RoleBinding prod/cas-backup-controller
    RoleBinding scone-system/scone:prod:cas-backup-controller
    ServiceAccount prod/cas-backup-controller
    ");
}

#[test]
fn workloads_with_a_field_that_cannot_change_are_made_again() {
    let answer = answer(&settled());
    for child in &answer.desired().unwrap().children {
        let kind = child.identity.kind.as_str();
        let again = matches!(kind, "StatefulSet" | "Deployment" | "RoleBinding" | "ClusterRoleBinding");
        assert_eq!(child.strategy == Strategy::RecreateOnImmutable, again, "{}", child.identity);
    }
}

#[test]
fn probes_run_the_command_line_in_the_pod_attested_or_not() {
    let command = |attested: &str, probe: &str| {
        let set = child(&answer(&with(&[("parent/spec/attestedCLIProbes", attested)])), "StatefulSet", "cas");
        set["spec"]["template"]["spec"]["containers"][0][probe]["exec"]["command"].clone()
    };
    assert_eq!(command("true", "livenessProbe")[2], "attest");
    assert_eq!(command("false", "livenessProbe")[2], "show-certificate");
    assert_eq!(command("false", "startupProbe"), command("false", "livenessProbe"));
    let none = with(&[("parent/spec/livenessProbe", "{enabled: false}")]);
    let container = child(&answer(&none), "StatefulSet", "cas")["spec"]["template"]["spec"]["containers"][0].clone();
    assert!(container.get("livenessProbe").is_none() && container.get("startupProbe").is_some());
}

fn service(options: &str) -> Value {
    child(&answer(&with(&[("parent/spec/service", options)])), "Service", "cas")["spec"].clone()
}

#[test]
fn the_service_has_three_types() {
    let cluster = service("{loadBalancerIP: 10.0.0.1, nodePorts: {clientPort: 30000}}");
    assert_eq!((&cluster["type"], cluster.get("loadBalancerIP")), (&json!("ClusterIP"), None));
    assert!(cluster["ports"][0].get("nodePort").is_none());
    let node = service("{type: NodePort, nodePorts: {clientPort: 30000, enclavePort: 0}}");
    assert_eq!((&node["ports"][0]["nodePort"], node["ports"][1].get("nodePort")), (&json!(30000), None));
    let balanced = service("{type: LoadBalancer, loadBalancerIP: 10.0.0.1, clientPort: 443}");
    assert_eq!(balanced["loadBalancerIP"], "10.0.0.1");
    assert_eq!((&balanced["ports"][0]["port"], &balanced["ports"][0]["targetPort"]), (&json!(443), &json!(8081)));
}

#[test]
fn metrics_are_served_scraped_and_let_through() {
    let answer = answer(&with(&[
        ("parent/spec/enclaveMetrics", "{enabled: true, port: 9000}"),
        ("parent/spec/networkPolicy", "{enabled: true}"),
    ]));
    let set = child(&answer, "StatefulSet", "cas");
    let env = set["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
    assert!(env.contains(&json!({"name": "SCONE_METRICS", "value": "prometheus_port:9000"})));
    let service = child(&answer, "Service", "cas");
    assert_eq!(service["metadata"]["labels"]["collect-runtime-metrics.monitoring.scone.cloud"], "true");
    assert_eq!(service["spec"]["ports"][2]["port"], 9000);
    assert_eq!(child(&answer, "NetworkPolicy", "cas")["spec"]["ingress"][0]["ports"][2]["port"], 9000);
}

fn peers(policy: &str) -> Value {
    let tree = with(&[("parent/spec/networkPolicy", policy)]);
    child(&answer(&tree), "NetworkPolicy", "cas")["spec"]["ingress"][0]["from"].clone()
}

#[test]
fn a_network_policy_lets_its_own_pods_the_operator_and_the_named_in() {
    let all = peers("{enabled: true}");
    assert_eq!(all[0]["podSelector"]["matchLabels"]["app.kubernetes.io/instance"], "cas");
    assert_eq!(all[1]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"], "scone-system");
    assert_eq!(all[2], json!({"podSelector": {}}), "pods of this namespace");
    let both = peers("{enabled: true, ingressNSMatchLabels: {a: b}, ingressPodMatchLabels: {c: d}}");
    assert_eq!(
        both[2],
        json!({"namespaceSelector": {"matchLabels": {"a": "b"}}, "podSelector": {"matchLabels": {"c": "d"}}})
    );
    let namespaces = peers("{enabled: true, ingressNSMatchLabels: {a: b}}");
    assert_eq!(namespaces[2], json!({"namespaceSelector": {"matchLabels": {"a": "b"}}}));
}

#[test]
fn a_configuration_of_ones_own_is_taken_as_it_is_and_rolls_the_pod() {
    let own = with(&[("parent/spec/configuration", "'[database]'")]);
    let (before, after) = (answer(&settled()), answer(&own));
    assert_eq!(child(&after, "ConfigMap", "cas-config")["data"]["cas.toml"], "[database]");
    assert_snapshot!(child(&before, "ConfigMap", "cas-config")["data"]["cas.toml"].as_str().unwrap(), @r#"
    [database]
    path = "/etc/cas/db/cas.db"

    [api]
    api_listen = "0.0.0.0:8081"
    enclave_listen = "0.0.0.0:18765"
    "#);
    let hash = |answer| {
        child(answer, "StatefulSet", "cas")["spec"]["template"]["metadata"]["annotations"]["cas.scontain.com/config-hash"].clone()
    };
    assert_ne!(hash(&before), hash(&after));
}

#[test]
fn the_files_of_the_owner_are_in_a_secret_and_nowhere_else() {
    let tree = with(&[("parent/spec/ownerConfig", "hunter2"), ("parent/spec/ownerCertificate", "swordfish")]);
    let answer = answer(&tree);
    let secret = child(&answer, "Secret", "cas-owner");
    assert_eq!(secret["data"]["owner_config.toml"], "aHVudGVyMg==");
    assert_eq!(secret["data"]["owner_certificate.pem"], "c3dvcmRmaXNo");
    let pod = child(&answer, "StatefulSet", "cas")["spec"]["template"]["spec"].clone();
    assert_snapshot!(pod["initContainers"][0]["command"].to_string(), @r#"["cas","-c","/etc/cas/cas.toml","provision","--owner-config","/etc/cas/owner/owner_config.toml","--skip-if-already-provisioned","--owner-identity","/etc/cas/owner/owner_certificate.pem"]"#);
    let printed = answer.to_string();
    for secret in ["hunter2", "swordfish"] {
        assert!(!printed.contains(secret), "{secret}");
    }
}

#[test]
fn a_cas_that_provisions_itself_is_pending_until_it_should_have() {
    let young = ("condition:Listening/lastTransitionTime", "'2023-11-14T23:12:00Z'");
    let edits = [("parent/spec/ownerConfig", "hunter2"), ("answers/provisioned/http/status", "404"), young];
    let rolled = crate::support::carried_out(&with(&edits));
    let verdict = |tree: &Value| crate::support::verdict(&answer(tree));
    assert!(verdict(&rolled).starts_with("PENDING Provisioning"), "{}", verdict(&rolled));
    let mut later = rolled;
    later["now"] = json!(1_700_004_000);
    assert!(verdict(&later).starts_with("UNHEALTHY Unprovisioned"), "{}", verdict(&later));
}

#[test]
fn a_cas_that_was_upgraded_comes_back_without_its_database_being_asked_for_anew() {
    let mut tree = with(&[("parent/spec/image", "registry.scontain.com/scone.cloud/cas:6.0.7")]);
    assert_eq!(status(&answer(&tree))["phase"], "Upgrading");
    tree = crate::support::carried_out(&tree);
    assert_eq!(status(&answer(&tree))["phase"], "HEALTHY");
}

#[test]
fn a_changed_image_of_backups_goes_through_enabling_migration_until_all_nodes_are_registered_anew() {
    let image = "registry.scontain.com/scone.cloud/backup-controller:6.0.7";
    let mut tree = with(&[("parent/spec/backup-controller/image", image)]);
    let phase = |tree: &Value| status(&answer(tree))["phase"].as_str().unwrap().to_owned();
    assert_eq!(phase(&tree), "EnablingMigration", "before the Deployment has changed");
    tree = crate::support::carried_out(&tree);
    let started = "pod:cas-backup-controller-5d7c-x2x/status/containerStatuses/0/state/running/startedAt";
    crate::support::set(&mut tree, started, "'2023-11-14T23:12:30Z'");
    crate::support::set(&mut tree, "answers/backup-log/lines", "[]");
    assert_eq!(phase(&tree), "EnablingMigration", "before it has registered a node");
    tree = crate::support::carried_out(&tree);
    crate::support::set(&mut tree, "answers/backup-log/lines", r#"['{"node-1":true}']"#);
    assert_eq!(status(&answer(&tree))["migrationNodeRatio"], "1/3");
    assert_eq!(phase(&tree), "EnablingMigration");
    tree = crate::support::carried_out(&tree);
    crate::support::set(&mut tree, "answers/backup-log/lines", r#"['{"node-1":true,"node-2":true,"node-3":true}']"#);
    assert_eq!(phase(&tree), "HEALTHY");
}

#[test]
fn registered_nodes_are_remembered_while_the_same_controller_runs() {
    let rotated = with(&[("answers/backup-log/lines", "[]")]);
    assert_eq!(status(&answer(&rotated))["migrationNodeRatio"], "3/3");
}

#[test]
fn a_cordoned_node_needs_no_backup() {
    let cordoned = with(&[("node:node-3/spec/unschedulable", "true")]);
    assert_eq!(status(&answer(&cordoned))["migrationNodeRatio"], "2/2");
}

#[test]
fn what_is_not_ready_is_not_asked() {
    let unready = with(&[("pod:cas-0/status/conditions/1", "{type: Ready, status: 'False'}")]);
    let answer = answer(&unready);
    for id in ["certificate", "version", "provisioned", "attest", "newest-snapshot", "dcap-report"] {
        assert!(!asked(&answer).contains(&id), "{id}");
    }
}

#[test]
fn workloads_that_the_cluster_refuses_to_change_are_made_again_only_with_leave() {
    let stuck = [
        ("parent/spec/image", "registry.scontain.com/scone.cloud/cas:6.0.7"),
        ("condition:statefulset.cas~1EqualSpecs/status", "'False'"),
    ];
    assert!(answer(&with(&stuck)).desired().unwrap().actions.is_empty());
    let allowed = with(&[stuck[0], stuck[1], ("parent/spec/reinstallOnFatal", "true")]);
    let actions = answer(&allowed).outcome.unwrap().actions;
    assert_eq!(actions.len(), 1);
    assert_eq!(actions[0].id, "reinstall-uid-StatefulSet-cas");
}

#[test]
fn an_event_tells_a_change_of_state() {
    let events = answer(&with(&[("answers/attest/command/code", "1")])).outcome.unwrap().events;
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].reason.as_str(), events[0].action.as_str()), ("AttestationFailed", "Check"));
}
