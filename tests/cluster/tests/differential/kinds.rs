//! The kinds that are compared, and of what their objects are put together: a base, which a server takes, and fragments, which are
//! laid over it.

mod workloads;

use serde_json::{Value, json};

/// One kind.
#[derive(Clone, Debug)]
#[expect(clippy::struct_field_names, reason = "kind is the word of the Kubernetes API")]
pub(crate) struct Kind {
    pub(crate) api_version: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) namespaced: bool,
    pub(crate) has_status: bool,
    /// What every object of this kind says.
    pub(crate) base: Value,
    /// What an object may say.
    pub(crate) fragments: Vec<Value>,
    /// What only one of the sides takes: no script goes on after it.
    pub(crate) parting: Vec<Value>,
    /// What its status may say.
    pub(crate) statuses: Vec<Value>,
}

impl Kind {
    fn new(api_version: &'static str, kind: &'static str, plural: &'static str, base: Value) -> Self {
        Self {
            api_version,
            kind,
            plural,
            namespaced: true,
            has_status: false,
            base,
            fragments: metadata(),
            parting: Vec::new(),
            statuses: Vec::new(),
        }
    }

    fn cluster(mut self) -> Self {
        self.namespaced = false;
        self
    }

    fn says(mut self, fragments: &[Value]) -> Self {
        self.fragments.extend_from_slice(fragments);
        self
    }

    /// Says something that only one of the sides takes.
    fn parts(mut self, fragment: Value) -> Self {
        self.parting.push(fragment);
        self
    }

    fn status(mut self, statuses: &[Value]) -> Self {
        self.has_status = true;
        self.statuses = statuses.iter().map(|status| json!({ "status": status })).collect();
        self
    }

    pub(crate) fn is_custom(&self) -> bool {
        self.api_version.contains("scone.cloud") || self.api_version.contains("banzaicloud")
    }

    /// `apps/v1 Deployment`.
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.api_version, self.kind)
    }
}

/// What objects of all kinds may say.
fn metadata() -> Vec<Value> {
    let owner = |uid: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": uid});
    [
        json!({"labels": {"a": "x"}}),
        json!({"labels": {"a": "y"}}),
        json!({"labels": {"b": "x", "c.example/d": "z"}}),
        json!({"annotations": {"n": "1"}}),
        json!({"annotations": {"n": "2", "m": "1"}}),
        json!({"finalizers": ["x.example/one"]}),
        json!({"finalizers": ["x.example/two", "x.example/one"]}),
        json!({"ownerReferences": [owner("11111111-1111-1111-1111-111111111111")]}),
        json!({"ownerReferences": [owner("22222222-2222-2222-2222-222222222222"), owner("11111111-1111-1111-1111-111111111111")]}),
    ]
    .into_iter()
    .map(|metadata| json!({ "metadata": metadata }))
    .collect()
}

/// All of them.
pub(crate) fn kinds() -> Vec<Kind> {
    let mut all = plain();
    all.extend(workloads::workloads());
    all.extend(workloads::pods());
    all.extend(network());
    all.extend(rights());
    all.extend(of_the_cluster());
    all.extend(custom());
    for kind in &mut all {
        kind.fragments.push(json!({"metadata": {"annotations": {}}}));
        kind.fragments.extend(kind.parting.clone());
    }
    all
}

fn plain() -> Vec<Kind> {
    vec![
        Kind::new("v1", "ConfigMap", "configmaps", json!({})).says(&[
            json!({"data": {"k": "v"}}),
            json!({"data": {"k": "w", "l": ""}}),
            json!({"binaryData": {"b": "AAEC"}}),
            json!({"immutable": true}),
        ]),
        Kind::new("v1", "Secret", "secrets", json!({})).says(&[
            json!({"data": {"k": "dg=="}}),
            json!({"data": {"k": "dw==", "l": ""}}),
            json!({"stringData": {"s": "text"}}),
            json!({"type": "example.org/some"}),
            json!({"immutable": true}),
        ]),
        Kind::new("v1", "ServiceAccount", "serviceaccounts", json!({})).says(&[
            json!({"imagePullSecrets": [{"name": "a"}]}),
            json!({"imagePullSecrets": [{"name": "b"}, {"name": "a"}]}),
            json!({"automountServiceAccountToken": false}),
            json!({"secrets": [{"name": "s"}]}),
        ]),
        Kind::new("coordination.k8s.io/v1", "Lease", "leases", json!({"spec": {}})).says(&[
            json!({"spec": {"holderIdentity": "a"}}),
            json!({"spec": {"holderIdentity": "b", "leaseDurationSeconds": 15}}),
        ]),
        Kind::new(
            "apps/v1",
            "ControllerRevision",
            "controllerrevisions",
            json!({"revision": 1, "data": {"spec": {"a": [1]}}}),
        )
        .says(&[json!({"revision": 2}), json!({"revision": 3})]),
    ]
}

/// A condition of an object.
fn condition(kind: &str, status: &str) -> Value {
    json!({"type": kind, "status": status, "lastTransitionTime": "2026-01-01T00:00:00Z", "reason": "Tested", "message": "m"})
}

fn network() -> Vec<Kind> {
    vec![
        Kind::new("v1", "Service", "services", json!({"spec": {"ports": [{"port": 80}]}}))
            .says(&[
                json!({"spec": {"selector": {"app": "d"}}}),
                json!({"spec": {"selector": {"app": "e", "x": "y"}}}),
                json!({"spec": {"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81, "targetPort": "web"}]}}),
                json!({"spec": {"ports": [{"name": "b", "port": 81}, {"name": "u", "port": 80, "protocol": "UDP"}]}}),
                json!({"spec": {"clusterIP": "None"}}),
                json!({"spec": {"type": "NodePort"}}),
                json!({"spec": {"type": "LoadBalancer"}}),
                json!({"spec": {"sessionAffinity": "ClientIP"}}),
                json!({"spec": {"publishNotReadyAddresses": true}}),
            ])
            .status(&[
                json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}),
                json!({"conditions": [condition("Some", "True")]}),
            ]),
        Kind::new("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies", json!({"spec": {"podSelector": {}}}))
            .says(&[
                json!({"spec": {"podSelector": {"matchLabels": {"app": "d"}}}}),
                json!({"spec": {"ingress": [{"ports": [{"port": 80}], "from": [{"podSelector": {}}]}]}}),
                json!({"spec": {"egress": [{}]}}),
                json!({"spec": {"policyTypes": ["Egress"]}}),
            ]),
    ]
}

fn rights() -> Vec<Kind> {
    const RBAC: &str = "rbac.authorization.k8s.io/v1";
    let rule = |verb: &str| json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": [verb]});
    let rules = [json!({"rules": [rule("get")]}), json!({"rules": [rule("list"), rule("get")]}), json!({"rules": []})];
    let subject = |name: &str| json!({"kind": "ServiceAccount", "name": name, "namespace": "default"});
    let subjects = [
        json!({"subjects": [subject("a")]}),
        json!({"subjects": [subject("b"), {"kind": "User", "name": "u"}]}),
        json!({"roleRef": {"name": "other"}}),
    ];
    let of = |kind: &str| json!({"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": "r"}});
    vec![
        Kind::new(RBAC, "Role", "roles", json!({"rules": []})).says(&rules),
        Kind::new(RBAC, "RoleBinding", "rolebindings", of("Role")).says(&subjects),
        Kind::new(RBAC, "ClusterRole", "clusterroles", json!({"rules": []})).says(&rules).cluster(),
        Kind::new(RBAC, "ClusterRoleBinding", "clusterrolebindings", of("ClusterRole")).says(&subjects).cluster(),
    ]
}

fn of_the_cluster() -> Vec<Kind> {
    const WEBHOOKS: &str = "admissionregistration.k8s.io/v1";
    let webhook = |name: &str, path: &str| {
        json!({"name": name, "clientConfig": {"url": format!("https://localhost:1{path}")}, "sideEffects": "None", "admissionReviewVersions": ["v1"],
               "rules": [{"apiGroups": ["none.example"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["nothings"]}]})
    };
    let webhooks = [
        json!({"webhooks": [webhook("a.x.example", "/a")]}),
        json!({"webhooks": [webhook("b.x.example", "/b"), webhook("a.x.example", "/c")]}),
        json!({"webhooks": []}),
    ];
    let of_node = |kind: &str, status: &str| {
        let mut condition = condition(kind, status);
        condition["lastHeartbeatTime"] = "2026-01-01T00:00:00Z".into();
        condition
    };
    vec![
        Kind::new("v1", "Node", "nodes", json!({}))
            .says(&[
                json!({"spec": {"unschedulable": true}}),
                json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}}),
            ])
            .status(&[
                json!({"conditions": [of_node("Ready", "True")]}),
                json!({"conditions": [of_node("Ready", "False"), of_node("Other", "True")], "capacity": {"cpu": "2"}}),
                json!({"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]}),
            ])
            .cluster(),
        Kind::new("storage.k8s.io/v1", "StorageClass", "storageclasses", json!({"provisioner": "example.org/p"}))
            .says(&[
                json!({"allowVolumeExpansion": true}),
                json!({"parameters": {"a": "b"}}),
                json!({"mountOptions": ["ro"]}),
            ])
            .cluster(),
        Kind::new(WEBHOOKS, "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", json!({}))
            .says(&webhooks)
            .cluster(),
        Kind::new(WEBHOOKS, "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", json!({}))
            .says(&webhooks)
            .cluster(),
    ]
}

fn custom() -> Vec<Kind> {
    let states = [
        json!({"state": "PENDING", "conditions": [condition("Ready", "False")]}),
        json!({"conditions": [condition("Ready", "True"), condition("Other", "True")]}),
        json!({"conditions": [condition("Other", "False")]}),
    ];
    let image = |tag: &str| json!({"spec": {"image": format!("registry.example/x:{tag}")}});
    let secrets = |names: &[&str]| {
        let list: Vec<Value> = names.iter().map(|name| json!({ "name": name })).collect();
        json!({"spec": {"imagePullSecrets": list}})
    };
    let common = [
        image("2"),
        secrets(&["p"]),
        secrets(&["q", "p"]),
        json!({"spec": {"podAnnotations": {"a": "b"}}}),
        json!({"spec": {"podAnnotations": {"a": "c", "d": "e"}}}),
        json!({"spec": {"podAnnotations": {}}}),
        json!({"spec": {"nodeSelector": {"n": "1"}}}),
        json!({"spec": {"image": 5}}),
        json!({"spec": {"unknown": 1}}),
    ];
    let signature = json!([{"signer": "s", "signature": "x"}]);
    let policies =
        [json!({"spec": {"policy": "name: other"}}), json!({"spec": {"casAddress": "https://cas.other:8081"}})];
    let nowhere = || json!({"spec": {"casAddress": "cas.other"}});
    vec![
        Kind::new("base.scone.cloud/v1beta1", "LAS", "las", image("1")).says(&common).status(&states).cluster(),
        Kind::new("base.scone.cloud/v1beta1", "SGXPlugin", "sgxplugins", image("1")).says(&common).status(&states).cluster(),
        Kind::new("services.scone.cloud/v1beta1", "CAS", "cas", image("1"))
            .says(&common)
            .says(&[
                json!({"spec": {"service": {"type": "NodePort"}}}),
                json!({"spec": {"persistence": {"enabled": true}}}),
                json!({"spec": {"backup-controller": {"enabled": false, "env": [{"name": "A", "value": "b"}]}}}),
            ])
            .status(&states),
        Kind::new("services.scone.cloud/v1beta1", "Vault", "vaults", json!({"spec": {"server": {"image": {"repository": "r", "tag": "1"}}, "global": {}, "injector": {}}}))
            .says(&[
                json!({"spec": {"server": {"dataStorage": {"enabled": true}}}}),
                json!({"spec": {"server": {"extraEnvironmentVars": {"A": "b"}}}}),
                json!({"spec": {"injector": {"enabled": true}}}),
            ])
            .status(&states),
        Kind::new(
            "cas.scone.cloud/v1beta1",
            "SignedPolicy",
            "signedpolicies",
            json!({"spec": {"casAddress": "https://cas.default:8081", "policy": "name: p", "signatures": signature}}),
        )
        .says(&policies)
        .parts(nowhere())
        .status(&states),
        Kind::new(
            "cas.scone.cloud/v1beta1",
            "EncryptedPolicy",
            "encryptedpolicies",
            json!({"spec": {"casAddress": "https://cas.default:8081", "policy": "name: p", "encryptionKey": "k"}}),
        )
        .says(&policies)
        .parts(nowhere())
        .status(&states),
        Kind::new(
            "images.banzaicloud.io/v1alpha1",
            "ImagePullSecret",
            "imagepullsecrets",
            json!({"spec": {"registry": {"credentials": [{"name": "c", "namespace": "default"}]}, "target": {"secret": {"name": "t"}}}}),
        )
        .says(&[json!({"spec": {"target": {"secret": {"name": "u"}}}})])
        .status(&states)
        .cluster(),
    ]
}
