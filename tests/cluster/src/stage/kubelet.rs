//! Who plays scheduler, volumes and kubelets where there are none: pods get a node, run at once and are ready, claims get volumes. What
//! is asked of pods (logs, commands) the proxy answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use kube::Client;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::Fate;

const TURN: Duration = Duration::from_millis(100);
const SGX: &str = "sgx.intel.com/enclave";

/// What containers log, by the name of the container; `{node}` is filled in.
pub type Logs = Arc<Mutex<BTreeMap<String, String>>>;

/// The kubelets of these nodes. They end when this is dropped.
pub struct Kubelets {
    task: JoinHandle<()>,
    /// What containers log.
    pub logs: Logs,
    places: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Drop for Kubelets {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Kubelets {
    /// Makes nodes with SGX and lets them work.
    pub async fn start(client: Client, nodes: &[&str]) -> Self {
        for name in nodes {
            let labels = json!({"intel.feature.node.kubernetes.io/sgx": "true", "kubernetes.io/hostname": name});
            let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}});
            send(&client, "POST", "/api/v1/nodes", &node).await.unwrap();
        }
        let places = Arc::new(Mutex::new(BTreeMap::new()));
        let nodes = nodes.iter().map(|&name| name.to_owned()).collect();
        let actor = Actor { client, nodes, places: Arc::clone(&places), devices: BTreeSet::new() };
        Self { task: tokio::spawn(actor.work()), logs: Logs::default(), places }
    }

    /// What the proxy does with a request.
    pub fn decide(&self) -> impl Fn(&str, &str) -> Fate + Send + Sync + 'static {
        let (logs, places) = (Arc::clone(&self.logs), Arc::clone(&self.places));
        move |_: &str, path: &str| {
            let Some((pod, rest)) = path.split_once("/pods/").and_then(|(_, rest)| rest.split_once('/')) else {
                return Fate::Pass;
            };
            if rest.starts_with("exec") {
                return command(rest);
            }
            if !rest.starts_with("log") {
                return Fate::Pass;
            }
            let container = rest.split(['?', '&']).find_map(|part| part.strip_prefix("container=")).unwrap_or_default();
            let line = logs.lock().unwrap().get(container).cloned().unwrap_or_default();
            let node = places.lock().unwrap().get(pod).cloned().unwrap_or_default();
            Fate::Text(line.replace("{node}", &node))
        }
    }
}

/// CAS can be attested, has a report, and has just taken a snapshot.
fn command(query: &str) -> Fate {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let printed = if query.contains("show-dcap-report") {
        "a report".to_owned()
    } else if query.contains("command=stat&") {
        // Snapshots that moved all the time would be written all the time.
        format!("{}\n", now / 3600 * 3600)
    } else {
        String::new()
    };
    Fate::Command(0, printed)
}

async fn send(client: &Client, method: &str, path: &str, body: &Value) -> Result<Value, kube::Error> {
    let content = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let request = http::Request::builder().method(method).uri(path).header("content-type", content);
    client.request(request.body(body.to_string().into_bytes()).unwrap()).await
}

struct Actor {
    client: Client,
    nodes: Vec<String>,
    /// Pods and their nodes.
    places: Arc<Mutex<BTreeMap<String, String>>>,
    devices: BTreeSet<String>,
}

impl Actor {
    async fn work(mut self) {
        let mut poll = tokio::time::interval(TURN);
        for turn in 0_u64.. {
            poll.tick().await;
            if turn % 50 == 0 {
                self.beat().await;
            }
            // What fails, such as an object that changes meanwhile, is done in the next turn.
            self.pods().await;
            self.claims().await;
        }
    }

    async fn list(&self, path: &str) -> Vec<Value> {
        let request = http::Request::get(path).body(Vec::new()).unwrap();
        let list: Value = self.client.request(request).await.unwrap_or_default();
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// Nodes stay ready.
    async fn beat(&self) {
        for node in &self.nodes {
            let condition =
                json!({"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now()});
            let mut status = json!({"conditions": [condition]});
            if self.devices.contains(node) {
                status["capacity"] = json!({SGX: "20", "pods": "110"});
                status["allocatable"] = status["capacity"].clone();
            }
            let _ =
                send(&self.client, "PATCH", &format!("/api/v1/nodes/{node}/status"), &json!({"status": status})).await;
        }
    }

    async fn pods(&mut self) {
        let pods = self.list("/api/v1/pods").await;
        for pod in &pods {
            let (name, namespace) = (text(pod, "/metadata/name"), text(pod, "/metadata/namespace"));
            let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
            if pod.pointer("/metadata/deletionTimestamp").is_some() {
                let _ = send(&self.client, "DELETE", &path, &json!({"gracePeriodSeconds": 0})).await;
            } else if text(pod, "/spec/nodeName").is_empty() {
                if let Some(node) = self.place(pod, &pods).await {
                    let target = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
                        "target": {"apiVersion": "v1", "kind": "Node", "name": node}});
                    let _ = send(&self.client, "POST", &format!("{path}/binding"), &target).await;
                }
            } else if text(pod, "/status/phase") == "Pending" {
                self.run(pod, &path).await;
            }
        }
    }

    /// The node that a DaemonSet names; else of those that fit the one with the fewest pods of the kind.
    async fn place(&self, pod: &Value, pods: &[Value]) -> Option<String> {
        let named = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchFields/0/values/0";
        if let Some(node) = pod.pointer(named).and_then(Value::as_str) {
            return Some(node.to_owned());
        }
        let app = text(pod, "/metadata/labels/app.kubernetes.io~1name");
        let selector = pod["spec"]["nodeSelector"].as_object().cloned().unwrap_or_default();
        let nodes = self.list("/api/v1/nodes").await;
        let fits =
            nodes.iter().filter(|node| selector.iter().all(|(key, value)| node["metadata"]["labels"][key] == *value));
        let alike = |node: &str| {
            pods.iter()
                .filter(|pod| {
                    text(pod, "/spec/nodeName") == node && text(pod, "/metadata/labels/app.kubernetes.io~1name") == app
                })
                .count()
        };
        fits.map(|node| text(node, "/metadata/name")).min_by_key(|node| alike(node)).map(str::to_owned)
    }

    async fn run(&mut self, pod: &Value, path: &str) {
        let node = text(pod, "/spec/nodeName").to_owned();
        self.places.lock().unwrap().insert(text(pod, "/metadata/name").to_owned(), node.clone());
        if text(pod, "/metadata/labels/app.kubernetes.io~1name") == "sgxplugin" && self.devices.insert(node) {
            self.beat().await;
        }
        let statuses = |list: &str, state: Value, ready: bool| -> Vec<Value> {
            let containers = pod["spec"][list].as_array().into_iter().flatten();
            let status = |container: &Value| {
                json!({"name": container["name"], "image": container["image"], "imageID": "stand-in@sha256:00",
                    "ready": ready, "started": ready, "restartCount": 0, "state": state})
            };
            containers.map(status).collect()
        };
        let ended =
            json!({"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": now(), "finishedAt": now()}});
        let conditions = ["PodScheduled", "Initialized", "ContainersReady", "Ready"];
        let status = json!({"phase": "Running", "startTime": now(), "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}],
            "conditions": conditions.map(|type_| json!({"type": type_, "status": "True", "lastTransitionTime": now()})),
            "initContainerStatuses": statuses("initContainers", ended, true),
            "containerStatuses": statuses("containers", json!({"running": {"startedAt": now()}}), true)});
        let _ = send(&self.client, "PATCH", &format!("{path}/status"), &json!({"status": status})).await;
    }

    /// A volume for each claim, as a provisioner makes it.
    async fn claims(&self) {
        for claim in self.list("/api/v1/persistentvolumeclaims").await {
            if text(&claim, "/status/phase") != "Pending" {
                continue;
            }
            let spec = &claim["spec"];
            let (name, namespace) = (text(&claim, "/metadata/name"), text(&claim, "/metadata/namespace"));
            let volume = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": format!("{namespace}-{name}")},
                "spec": {"capacity": spec["resources"]["requests"], "accessModes": spec["accessModes"],
                    "storageClassName": spec["storageClassName"], "hostPath": {"path": "/nowhere"},
                    "claimRef": {"kind": "PersistentVolumeClaim", "apiVersion": "v1", "namespace": namespace, "name": name}}});
            let _ = send(&self.client, "POST", "/api/v1/persistentvolumes", &volume).await;
        }
    }
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn now() -> String {
    k8s_openapi::jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
