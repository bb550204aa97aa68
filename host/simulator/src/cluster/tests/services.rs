//! Addresses and ports of Services, and what else stays for life.

use serde_json::json;

use super::*;

const SERVICES: &str = "/api/v1/namespaces/a/services";

fn service(name: &str, spec: Value) -> Value {
    let mut service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"selector": {"app": "d"}, "ports": [{"port": 80}]}});
    for (key, value) in spec.as_object().unwrap() {
        service["spec"][key] = value.clone();
    }
    service
}

fn put_service(cluster: &FakeCluster, name: &str, spec: Value) -> (u16, Value) {
    apply(cluster, &format!("{SERVICES}/{name}"), "one", &service(name, spec))
}

#[test]
fn every_service_gets_an_address_of_its_own_unless_it_wants_none() {
    let cluster = cluster();
    let address = |answer: (u16, Value)| answer.1["spec"]["clusterIP"].as_str().unwrap().to_owned();
    assert_eq!(address(put_service(&cluster, "s", json!({}))), "10.96.0.10");
    assert_eq!(address(put_service(&cluster, "t", json!({}))), "10.96.0.11");
    assert_eq!(address(put_service(&cluster, "u", json!({"clusterIP": "None"}))), "None");
    let external = put_service(&cluster, "v", json!({"type": "ExternalName", "externalName": "x.example"}));
    assert_eq!(external.1["spec"].get("clusterIP"), None);
}

#[test]
fn an_address_that_was_given_stays() {
    let cluster = cluster();
    put_service(&cluster, "s", json!({}));
    let (code, status) = put_service(&cluster, "s", json!({"clusterIP": "10.96.0.99"}));
    assert_eq!(code, 422);
    assert_eq!(status["message"], r#"Service "s" is invalid: spec.clusterIPs[0]: may not change once set"#);
    let (code, stored) = put(&cluster, &format!("{SERVICES}/s"), &service("s", json!({})));
    assert_eq!((code, &stored["spec"]["clusterIP"]), (200, &json!("10.96.0.10")), "who says nothing keeps it");
}

#[test]
fn node_ports_are_given_or_taken_as_asked_for() {
    let cluster = cluster();
    let ports = |answer: (u16, Value)| -> Vec<i64> {
        let ports = answer.1["spec"]["ports"].as_array().cloned().unwrap_or_else(|| panic!("{}", answer.1));
        ports.iter().map(|port| port["nodePort"].as_i64().unwrap()).collect()
    };
    let asked = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30_000}]});
    assert_eq!(ports(put_service(&cluster, "s", asked)), [30_000]);
    let open = json!({"type": "NodePort", "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]});
    assert_eq!(ports(put_service(&cluster, "t", open.clone())), [30_001, 30_002]);
    assert_eq!(ports(put_service(&cluster, "t", open)), [30_001, 30_002], "they stay");
}

#[test]
fn node_ports_that_cannot_be_had_are_refused() {
    let cluster = cluster();
    let asked = |port: i64, type_: &str| json!({"type": type_, "ports": [{"port": 80, "nodePort": port}]});
    put_service(&cluster, "s", asked(30_000, "NodePort"));
    for (number, type_, message) in [
        (30_000, "NodePort", "provided port is already allocated"),
        (80, "NodePort", "provided port is not in the valid range. The range of valid ports is 30000-32767"),
        (30_001, "ClusterIP", "may not be used when `type` is 'ClusterIP'"),
    ] {
        let (code, status) = put_service(&cluster, "t", asked(number, type_));
        let cause = &status["details"]["causes"][0];
        assert_eq!((code, &cause["field"]), (422, &json!("spec.ports[0].nodePort")), "{status}");
        assert_eq!(cause["message"], message);
    }
}

#[test]
fn what_is_made_once_is_refused_another_value() {
    let cluster = cluster();
    let role = |name: &str| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "b"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}})
    };
    let secret = |type_: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "type": type_});
    let pod = |command: &str| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
            "spec": {"containers": [{"name": "main", "image": "x:1", "command": [command]}]}})
    };
    let cases = [
        ("/apis/rbac.authorization.k8s.io/v1/namespaces/a/rolebindings/b", role("one"), role("two"), "roleRef"),
        ("/api/v1/namespaces/a/secrets/s", secret("Opaque"), secret("kubernetes.io/tls"), "type"),
        ("/api/v1/namespaces/a/pods/p", pod("one"), pod("two"), "spec"),
    ];
    for (path, first, second, field) in cases {
        assert_eq!(apply(&cluster, path, "one", &first).0, 201);
        let (code, status) = apply(&cluster, path, "one", &second);
        assert_eq!((code, &status["details"]["causes"][0]["field"]), (422, &json!(field)), "{status}");
    }
    let mut newer = pod("one");
    newer["spec"]["containers"][0]["image"] = "x:2".into();
    assert_eq!(apply(&cluster, "/api/v1/namespaces/a/pods/p", "one", &newer).0, 200, "an image may change");
}

#[test]
fn the_selector_of_a_deployment_and_of_a_numbered_set_stays() {
    for (kind, plural, field) in
        [("Deployment", "deployments", "spec.selector"), ("StatefulSet", "statefulsets", "spec")]
    {
        let cluster = cluster();
        let of = |app: &str| {
            let mut workload = daemon_set(json!([{"name": "main", "image": "x:1"}]));
            workload["kind"] = kind.into();
            workload["spec"]["selector"] = json!({"matchLabels": {"app": app}});
            workload["spec"]["template"]["metadata"]["labels"] = json!({"app": app});
            workload
        };
        let path = format!("/apis/apps/v1/namespaces/a/{plural}/d");
        assert_eq!(apply(&cluster, &path, "one", &of("d")).0, 201);
        let (code, status) = apply(&cluster, &path, "one", &of("e"));
        assert_eq!((code, &status["details"]["causes"][0]["field"]), (422, &json!(field)), "{kind}");
    }
}

#[test]
fn a_policy_says_which_directions_it_is_for() {
    let cluster = cluster();
    let policy = |spec: Value| {
        let body = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "n"}, "spec": spec});
        let path = "/apis/networking.k8s.io/v1/namespaces/a/networkpolicies/n";
        delete(&cluster, path, &Value::Null);
        apply(&cluster, path, "one", &body).1["spec"].clone()
    };
    let stored = policy(json!({"podSelector": {}, "ingress": [{"ports": [{"port": 80}]}]}));
    assert_eq!(stored["policyTypes"], json!(["Ingress"]));
    assert_eq!(stored["ingress"][0]["ports"][0]["protocol"], "TCP");
    assert_eq!(policy(json!({"podSelector": {}, "egress": [{}]}))["policyTypes"], json!(["Ingress", "Egress"]));
}
