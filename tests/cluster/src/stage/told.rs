//! What scenarios say and ask, in few words.

use std::{path::PathBuf, time::Duration};

use futures::StreamExt;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::{APART, Operator, Stage, soon, until};
use crate::Identity;

impl Stage {
    /// A greeting, as the module `good` serves it.
    pub async fn greet(&self, name: &str, whom: &str) {
        self.apply_value(&greeting(name, whom), "example.com/v1", "greetings").await;
    }

    /// Many at once.
    pub async fn greet_all(&self, names: &[String]) {
        futures::stream::iter(names).for_each_concurrent(16, |name| self.greet(name, "you")).await;
    }

    /// What the module `good` made of a greeting, when it is this.
    pub async fn sentence(&self, name: &str, wanted: &str) -> Option<()> {
        let map = self.get("v1", "configmaps", Some("default"), name).await?;
        (map["data"]["sentence"] == wanted).then_some(())
    }

    /// Whether these, and no others, are the `ConfigMap`s that parents in the namespace own, with these values.
    pub async fn maps(&self, wanted: &[(&str, &str)]) -> Option<()> {
        let list = self.list("v1", "configmaps").await?;
        let owned = list["items"].as_array()?.iter().filter(|map| map["metadata"]["ownerReferences"].is_array());
        let mut found: Vec<(String, String)> = owned
            .map(|map| {
                (map["metadata"]["name"].as_str().unwrap_or_default(), map["data"]["k"].as_str().unwrap_or_default())
            })
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        found.sort();
        found.iter().map(|(name, value)| (name.as_str(), value.as_str())).eq(wanted.iter().copied()).then_some(())
    }

    /// A condition of an object.
    pub async fn condition(
        &self,
        api_version: &str,
        plural: &str,
        namespace: Option<&str>,
        name: &str,
        type_: &str,
    ) -> Option<Value> {
        let object = self.get(api_version, plural, namespace, name).await?;
        object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == type_).cloned()
    }

    /// An object whose status is about its latest version: what was written before the status is there too.
    pub async fn reported(
        &self,
        api_version: &str,
        plural: &str,
        namespace: Option<&str>,
        name: &str,
    ) -> Option<Value> {
        let object = self.get(api_version, plural, namespace, name).await?;
        (object["status"]["observedGeneration"] == object["metadata"]["generation"]).then_some(object)
    }

    /// Lets the user see and do everything that the modules of the tests need, but see nodes only with `nodes`.
    pub async fn grant(&self, user: &str, more: &[&str]) {
        let mut core = vec!["configmaps", "secrets", "services", "pods", "pods/log", "events"];
        core.extend(more);
        let allow =
            |groups: Value, resources: Value| json!({"apiGroups": groups, "resources": resources, "verbs": ["*"]});
        let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": user}, "rules": [
            allow(json!([""]), json!(core)),
            allow(json!(["apps", "example.com", "base.scone.cloud", "events.k8s.io", "coordination.k8s.io",
                "admissionregistration.k8s.io", "apiextensions.k8s.io"]), json!(["*"])),
        ]});
        self.apply_value(&role, "rbac.authorization.k8s.io/v1", "clusterroles").await;
        let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": user},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user},
            "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}]});
        self.apply_value(&binding, "rbac.authorization.k8s.io/v1", "clusterrolebindings").await;
    }

    /// For somebody who may do what roles allow.
    pub fn kubeconfig_of_user(&self, user: &str) -> PathBuf {
        self.ring().kubeconfig(&Identity::user(user).audited()).unwrap()
    }

    /// For somebody who may do everything.
    pub fn kubeconfig_of_admin(&self, user: &str) -> PathBuf {
        self.ring().kubeconfig(&Identity::admin(user).audited()).unwrap()
    }

    /// Who wrote what is no lease, in the order in which it was written.
    pub fn writers(&self) -> Vec<String> {
        let mut events = self.ring().audit();
        events.retain(|event| !APART.iter().any(|kind| event["objectRef"]["resource"] == *kind));
        events.sort_by_key(|event| event["requestReceivedTimestamp"].as_str().map(str::to_owned));
        events.iter().filter_map(|event| event["user"]["username"].as_str().map(str::to_owned)).collect()
    }

    /// How often the writer changes among replicas, once the last of these has written.
    pub async fn changes_of_writer(&self, last: &str) -> usize {
        let writers = async || -> Vec<String> {
            self.writers().into_iter().filter(|user| user.starts_with("replica-")).collect()
        };
        let writers = until("the last one's writes", writers, |writers| writers.iter().any(|user| user == last)).await;
        writers.windows(2).filter(|pair| pair[0] != pair[1]).count()
    }

    /// Who wrote what is no lease before a moment.
    pub fn wrote_before(&self, user: &str, moment: Timestamp) -> Vec<Value> {
        let mut events = self.ring().audit();
        let received =
            |event: &Value| event["requestReceivedTimestamp"].as_str().unwrap().parse::<Timestamp>().unwrap();
        events.retain(|event| event["user"]["username"] == user && received(event) < moment);
        events.retain(|event| !APART.iter().any(|kind| event["objectRef"]["resource"] == *kind));
        events
    }

    /// Lets a kind hold anything.
    pub async fn forget_schema(&self, crd: &str) {
        let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{crd}");
        let open = json!([{"op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema",
            "value": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}]);
        self.send("PATCH", &path, "application/json-patch+json", &open).await.unwrap();
        let anything = json!({"apiVersion": "example.com/v1", "kind": "Greeting", "metadata": {"name": "try", "namespace": "default"}, "spec": {"name": [1]}});
        let path = "/apis/example.com/v1/namespaces/default/greetings/try?fieldManager=tester&dryRun=All";
        soon("the open schema", || async {
            self.send("PATCH", path, "application/apply-patch+yaml", &anything).await.ok().map(drop)
        })
        .await;
    }

    /// Gives a kind that has none a status, which may hold anything.
    pub async fn add_status(&self, crd: &str) {
        let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{crd}");
        let status = json!([
            {"op": "add", "path": "/spec/versions/0/subresources", "value": {"status": {}}},
            {"op": "add", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/status",
                "value": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
        ]);
        self.send("PATCH", &path, "application/json-patch+json", &status).await.unwrap();
        let (plural, group) = crd.split_once('.').unwrap();
        soon("the status of the kind", || async {
            let kinds = self.read(&format!("/apis/{group}/v1")).await.ok()?;
            let name = format!("{plural}/status");
            kinds["resources"].as_array()?.iter().any(|kind| kind["name"] == name).then_some(())
        })
        .await;
    }

    /// Many objects of a size that is usual.
    pub async fn fill(&self, namespace: &str, numbers: std::ops::Range<usize>) {
        let filled = |number: usize| async move {
            let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("filler-{number}"), "namespace": namespace},
                "data": {"text": "x".repeat(1024)}});
            let path = format!("/api/v1/namespaces/{namespace}/configmaps");
            // Among so many, the server closes a connection now and then; what it had taken by then is there.
            soon("an object", || async {
                match self.send("POST", &path, "application/json", &map).await {
                    Err(kube::Error::Service(_)) => None,
                    Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Some(()),
                    made => made.map(|_: Value| Some(())).unwrap(),
                }
            })
            .await;
        };
        futures::stream::iter(numbers).for_each_concurrent(32, filled).await;
    }

    /// Time that has to pass, such as for something not to happen.
    pub async fn wait(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

fn greeting(name: &str, whom: &str) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Greeting", "metadata": {"name": name, "namespace": "default"}, "spec": {"name": whom}})
}

impl Operator {
    /// The sum of a counter over all its labels.
    pub async fn sum(&self, name: &str) -> u64 {
        let text = self.metrics().await;
        let lines = text.lines().filter(|line| line.starts_with(name));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }

    /// How often a module has looked at a parent, in a cache that is complete.
    pub async fn looks(&self, module: &str) -> u64 {
        let text = self.metrics().await;
        let of = format!("scone_operator_reconciles_total{{module=\"{module}\",");
        let looks = text.lines().filter(|line| line.starts_with(&of) && !line.contains("outcome=\"failed\""));
        looks.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }

    /// How many reconciles of a module came to their end and were not spared, since the parent was not as before.
    pub async fn worked(&self, module: &str) -> u64 {
        let text = self.metrics().await;
        let of = format!("scone_operator_reconciles_total{{module=\"{module}\",");
        let apart = ["failed", "spared"].map(|outcome| format!("outcome=\"{outcome}\""));
        let lines =
            text.lines().filter(|line| line.starts_with(&of) && !apart.iter().any(|outcome| line.contains(outcome)));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }

    /// Waits until each of these modules has looked at a parent: only then does it mean something that nothing is written.
    pub async fn has_looked(&self, modules: &[&str]) {
        for module in modules {
            soon(&format!("a look of {module}"), || async { (self.looks(module).await > 0).then_some(()) }).await;
        }
    }

    /// How many objects it keeps.
    pub async fn cached(&self) -> Option<usize> {
        let text = self.metrics().await;
        let line = text.lines().find_map(|line| line.strip_prefix("scone_operator_cached_objects "))?;
        line.trim().parse().ok()
    }
}
