//! What each program of the node ring is told.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// The node's address inside its network.
pub(crate) const ADDRESS: &str = "10.123.0.1";
/// The node's name.
pub(crate) const NODE: &str = "node";
/// Where containerd listens, inside.
pub(crate) const CONTAINERD: &str = "/run/containerd/containerd.sock";
/// Where images come from, inside.
pub(crate) const REGISTRY: &str = "127.0.0.1:5000";
/// What waits in each pod's sandbox.
pub(crate) const PAUSE: &str = "scone-operator.test/pause:1";
/// The API server's port inside.
pub(crate) const API: u16 = 6443;
/// The address of the Service `kubernetes`.
pub(crate) const KUBERNETES: &str = "10.96.0.1";
/// What the API server's certificate is for.
pub(crate) const NAMES: [&str; 7] = [
    "127.0.0.1",
    "localhost",
    ADDRESS,
    KUBERNETES,
    "kubernetes",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
];

const STORE: &str = "http://127.0.0.1:2379";
const PODS: &str = "10.244.0.0/24";
const SERVICES: &str = "10.96.0.0/16";

/// A ring's files.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// Its folder.
    pub(crate) folder: PathBuf,
    /// The name of the groups of its processes.
    pub(crate) group: String,
    /// Where the network plug-ins are.
    pub(crate) plugins: PathBuf,
}

impl Files {
    /// A file in the ring's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn flag(&self, flag: &str, name: &str) -> String {
        format!("--{flag}={}", self.text(name))
    }

    pub(crate) fn etcd(&self) -> Vec<String> {
        vec![
            self.flag("data-dir", "etcd"),
            format!("--listen-client-urls={STORE}"),
            format!("--advertise-client-urls={STORE}"),
            "--listen-peer-urls=http://127.0.0.1:0".to_owned(),
            // A test's data need not survive the machine.
            "--unsafe-no-fsync=true".to_owned(),
        ]
    }

    pub(crate) fn api_server(&self) -> Vec<String> {
        let mut arguments = vec![
            format!("--etcd-servers={STORE}"),
            // Pods reach it too.
            "--bind-address=0.0.0.0".to_owned(),
            format!("--advertise-address={ADDRESS}"),
            format!("--secure-port={API}"),
            format!("--service-cluster-ip-range={SERVICES}"),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--enable-admission-plugins=NodeRestriction".to_owned(),
            "--allow-privileged=true".to_owned(),
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
            "--requestheader-allowed-names=front-proxy".to_owned(),
            "--requestheader-username-headers=X-Remote-User".to_owned(),
            "--requestheader-group-headers=X-Remote-Group".to_owned(),
            "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
        ];
        let files = [
            ("tls-cert-file", "server.crt"),
            ("tls-private-key-file", "server.key"),
            ("client-ca-file", "ca.crt"),
            ("service-account-key-file", "accounts.crt"),
            ("service-account-signing-key-file", "accounts.key"),
            ("kubelet-client-certificate", "kubelet-client.crt"),
            ("kubelet-client-key", "kubelet-client.key"),
            ("requestheader-client-ca-file", "ca.crt"),
            ("proxy-client-cert-file", "front-proxy.crt"),
            ("proxy-client-key-file", "front-proxy.key"),
            ("audit-policy-file", "audit.json"),
            ("audit-log-path", "audit.log"),
        ];
        arguments.extend(files.map(|(flag, name)| self.flag(flag, name)));
        arguments
    }

    pub(crate) fn controller_manager(&self) -> Vec<String> {
        vec![
            self.flag("kubeconfig", "system-kube-controller-manager.kubeconfig"),
            self.flag("service-account-private-key-file", "accounts.key"),
            self.flag("root-ca-file", "ca.crt"),
            self.flag("cluster-signing-cert-file", "ca.crt"),
            self.flag("cluster-signing-key-file", "ca.key"),
            self.flag("flex-volume-plugin-dir", "volume-plugins"),
            "--use-service-account-credentials=true".to_owned(),
            "--enable-hostpath-provisioner=true".to_owned(),
            "--leader-elect=false".to_owned(),
            "--secure-port=0".to_owned(),
        ]
    }

    pub(crate) fn scheduler(&self) -> Vec<String> {
        vec![
            self.flag("kubeconfig", "system-kube-scheduler.kubeconfig"),
            "--leader-elect=false".to_owned(),
            "--secure-port=0".to_owned(),
        ]
    }

    pub(crate) fn kubelet(&self) -> Vec<String> {
        vec![
            self.flag("config", "kubelet.json"),
            self.flag("kubeconfig", &format!("system-node-{NODE}.kubeconfig")),
            format!("--hostname-override={NODE}"),
            format!("--node-ip={ADDRESS}"),
        ]
    }

    pub(crate) fn proxy(&self) -> Vec<String> {
        vec![self.flag("config", "kube-proxy.json")]
    }

    pub(crate) fn containerd(&self) -> Vec<String> {
        vec!["--config".to_owned(), self.text("containerd.toml")]
    }

    /// The files that these arguments name, keys apart: name and text.
    pub(crate) fn configuration(&self) -> [(&'static str, String); 5] {
        [
            ("kubelet.json", self.kubelet_configuration().to_string()),
            ("kube-proxy.json", self.proxy_configuration().to_string()),
            ("containerd.toml", self.containerd_configuration()),
            ("cni/10-ring.conflist", network().to_string()),
            (
                "hosts/_default/hosts.toml",
                format!(
                    "server = \"http://{REGISTRY}\"\n[host.\"http://{REGISTRY}\"]\n  capabilities = [\"pull\", \"resolve\"]\n"
                ),
            ),
        ]
    }

    fn kubelet_configuration(&self) -> Value {
        json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": false}, "webhook": {"enabled": true}, "x509": {"clientCAFile": self.text("ca.crt")},
            },
            "authorization": {"mode": "Webhook"},
            "containerRuntimeEndpoint": format!("unix://{CONTAINERD}"),
            "cgroupDriver": "cgroupfs", "cgroupRoot": format!("/{}", self.group), "failCgroupV1": false,
            "failSwapOn": false,
            // Lowering it needs a capability that containers often lack.
            "oomScoreAdj": 0,
            // The disk belongs to the machine: its state must not evict pods.
            "evictionHard": {"memory.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%"},
            "imageGCHighThresholdPercent": 100,
            "clusterDNS": ["10.96.0.10"], "clusterDomain": "cluster.local", "resolvConf": "",
            // Devices of plug-ins and mounted ConfigMaps change while tests watch.
            "nodeStatusUpdateFrequency": "1s", "syncFrequency": "2s",
            "volumePluginDir": self.text("volume-plugins"),
        })
    }

    fn proxy_configuration(&self) -> Value {
        json!({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": self.text("system-kube-proxy.kubeconfig")},
            "mode": "nftables", "clusterCIDR": PODS, "hostnameOverride": NODE, "oomScoreAdj": 0,
            // These limits are the machine's.
            "conntrack": {"maxPerCore": 0},
            "nftables": {"minSyncPeriod": "100ms"},
        })
    }

    fn containerd_configuration(&self) -> String {
        let (root, opt) = (self.text("containerd"), self.text("opt"));
        let (cni, hosts) = (self.text("cni"), self.text("hosts"));
        let plugins = self.plugins.display();
        format!(
            r#"version = 2
root = "{root}"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]
[grpc]
  address = "{CONTAINERD}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{opt}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{cni}"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{hosts}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"#
        )
    }
}

fn network() -> Value {
    json!({"cniVersion": "0.4.0", "name": "ring", "plugins": [
        {
            "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": PODS}]], "routes": [{"dst": "0.0.0.0/0"}]},
        },
        {"type": "portmap", "capabilities": {"portMappings": true}},
    ]})
}

/// Where the network plug-ins are: where Debian, or everybody else, puts them.
pub(crate) fn plugins() -> Option<PathBuf> {
    let places = ["/usr/lib/cni", "/opt/cni/bin"].map(Path::new);
    places.into_iter().find(|path| path.join("bridge").exists()).map(Path::to_owned)
}
