//! What a LAS is made of: one `DaemonSet` with two containers, and a Secret when there is a DCAP key.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::{
        apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetUpdateStrategy},
        core::v1::{
            Container, ContainerPort, EnvVar, EnvVarSource, ExecAction, PodSpec, PodTemplateSpec, Probe,
            ResourceRequirements, Secret, SecretKeySelector, TCPSocketAction,
        },
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use kube::core::ObjectMeta;
use operator_guest::{Child, Strategy};
use scone_api::owned::{Owned, Standing};
use sha2::{Digest, Sha256};

use crate::{api::LASSpec, observe::Observation};

/// The port that LAS listens on inside its pod (published; only the host port can be chosen).
pub(crate) const PORT: i32 = 18_766;
/// The container that attests.
pub(crate) const LAS: &str = "las";
/// The container that tells whether it works.
pub(crate) const PROBE: &str = "probe";
pub(crate) use scone_api::ENCLAVE;
/// The key in the Secret that holds the DCAP key.
pub(crate) const DCAP_KEY: &str = "dcap-key";
/// Changes with the DCAP key, so that the pods read the new one.
pub(crate) const KEY_HASH: &str = "las.scontain.com/dcap-key-hash";
/// Seconds from one probe to the next, and how long one may take (the CLI gives up after 10 s by itself).
pub(crate) const PROBE_PERIOD: i32 = 30;
pub(crate) const PROBE_TIMEOUT: i32 = 20;
/// A probe that fails so often in a row makes the container unready.
pub(crate) const PROBE_FAILURES: i32 = 2;

/// The main process of the probe container: nothing, ended at once by SIGTERM.
const IDLE: &str = "trap 'exit 0' TERM INT; while true; do sleep 3600 & wait $!; done";
/// Kubelet copies the output of a failing probe into an event, so the key is blotted out of it. Probes get no `$(NAME)`
/// expansion, hence the shell.
const PROBE_WITH_KEY: &str = r#"out=$(scone las probe --las localhost:18766 --dcap --dcap-api-key "$DCAP_API_KEY" 2>&1); code=$?; printf '%s\n' "$out" | sed "s/$DCAP_API_KEY/[key]/g"; exit $code"#;

/// Where and under which name things are made.
pub(crate) struct Site<'a> {
    /// The name of the LAS.
    pub(crate) name: &'a str,
    /// The namespace of its pods.
    pub(crate) namespace: &'a str,
}

impl Site<'_> {
    /// The name of the Secret with the DCAP key.
    pub(crate) fn secret(&self) -> String {
        format!("{}-dcap", self.name)
    }

    /// The labels by which pods are found; immutable in a `DaemonSet`.
    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        [("app.kubernetes.io/name", "las"), ("app.kubernetes.io/instance", self.name)]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    }

    fn metadata(&self, name: String) -> ObjectMeta {
        ObjectMeta {
            name: Some(name),
            namespace: Some(self.namespace.to_owned()),
            labels: Some(self.labels()),
            ..ObjectMeta::default()
        }
    }
}

/// The DCAP key, when there is one.
pub(crate) fn dcap_key(spec: &LASSpec) -> Option<&str> {
    spec.dcap_key.as_deref().filter(|key| !key.is_empty())
}

/// Everything that should exist. `spec` has its defaults already.
pub(crate) fn children(site: &Site<'_>, spec: &LASSpec, set: &DaemonSet) -> Vec<Child> {
    let mut children = Vec::with_capacity(2);
    if let Some(key) = dcap_key(spec) {
        children.push(Child::of(&secret(site, key)));
    }
    children.push(Child::of(set).strategy(Strategy::RecreateOnImmutable));
    children
}

/// How what exists stands to that.
pub(crate) fn owned(site: &Site<'_>, spec: &LASSpec, set: &DaemonSet, observation: &Observation) -> Vec<Owned> {
    let template = set.spec.as_ref().map(|spec| &spec.template);
    let mut owned = vec![Owned::daemon_set(site.name, observation.daemon_set.as_ref(), template)];
    if let Some(key) = dcap_key(spec) {
        let there = observation.secret.as_ref();
        let same = there.and_then(|secret| secret.data.get(DCAP_KEY)).is_some_and(|data| data.0 == key.as_bytes());
        let standing = Standing::of(there.map(|secret| &secret.metadata), (!same).then_some("dcapKey"));
        let prefix = format!("secret.{}", site.secret());
        owned.push(Owned::passive(prefix, "Secret", standing, "it holds the DCAP key"));
    }
    owned
}

fn secret(site: &Site<'_>, key: &str) -> Secret {
    Secret {
        metadata: site.metadata(site.secret()),
        type_: Some("Opaque".to_owned()),
        // Not `stringData`: the server never shows it, so it would always look changed.
        data: Some([(DCAP_KEY.to_owned(), ByteString(key.as_bytes().to_vec()))].into()),
        ..Secret::default()
    }
}

/// The `DaemonSet`. `spec` has its defaults already.
pub(crate) fn daemon_set(site: &Site<'_>, spec: &LASSpec) -> DaemonSet {
    DaemonSet {
        metadata: site.metadata(site.name.to_owned()),
        spec: Some(DaemonSetSpec {
            selector: LabelSelector { match_labels: Some(site.labels()), ..LabelSelector::default() },
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(site.labels()),
                    annotations: annotations(spec),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod(site, spec)),
            },
            update_strategy: Some(DaemonSetUpdateStrategy {
                type_: Some("RollingUpdate".to_owned()),
                ..DaemonSetUpdateStrategy::default()
            }),
            ..DaemonSetSpec::default()
        }),
        ..DaemonSet::default()
    }
}

fn annotations(spec: &LASSpec) -> Option<BTreeMap<String, String>> {
    let mut annotations = spec.pod_annotations.clone().unwrap_or_default();
    if let Some(key) = dcap_key(spec) {
        annotations.insert(KEY_HASH.to_owned(), key_hash(key));
    }
    Some(annotations).filter(|annotations| !annotations.is_empty())
}

/// 64 bits of a cryptographic hash: enough to see a change, useless for finding a 128-bit key.
fn key_hash(key: &str) -> String {
    Sha256::digest(key).first_chunk::<8>().map(hex::encode).unwrap_or_default()
}

fn pod(site: &Site<'_>, spec: &LASSpec) -> PodSpec {
    PodSpec {
        automount_service_account_token: Some(false),
        containers: vec![las_container(spec), probe_container(site, spec)],
        image_pull_secrets: spec.image_pull_secrets.clone().filter(|secrets| !secrets.is_empty()),
        node_selector: spec.node_selector.clone(),
        security_context: spec.pod_security_context.clone(),
        tolerations: spec.tolerations.clone().filter(|tolerations| !tolerations.is_empty()),
        ..PodSpec::default()
    }
}

fn las_container(spec: &LASSpec) -> Container {
    let listening = |failures| Probe {
        tcp_socket: Some(TCPSocketAction { port: IntOrString::Int(PORT), ..TCPSocketAction::default() }),
        period_seconds: Some(10),
        timeout_seconds: Some(3),
        failure_threshold: Some(failures),
        ..Probe::default()
    };
    Container {
        name: LAS.to_owned(),
        image: spec.image.clone(),
        image_pull_policy: spec.image_pull_policy.as_ref().map(ToString::to_string),
        ports: Some(vec![ContainerPort {
            name: Some("las".to_owned()),
            container_port: PORT,
            host_port: spec.host_port,
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        readiness_probe: Some(listening(3)),
        // Generous: the first start on a host may have to fetch certificates.
        liveness_probe: Some(listening(12)),
        resources: spec.resources.clone(),
        security_context: spec.container_security_context_las.clone(),
        ..Container::default()
    }
}

fn probe_container(site: &Site<'_>, spec: &LASSpec) -> Container {
    let keyed = dcap_key(spec).is_some();
    let command = if keyed {
        vec!["sh".to_owned(), "-c".to_owned(), PROBE_WITH_KEY.to_owned()]
    } else {
        ["scone", "las", "probe", "--las", "localhost:18766"].map(str::to_owned).to_vec()
    };
    Container {
        name: PROBE.to_owned(),
        image: spec.image.clone(),
        image_pull_policy: spec.image_pull_policy.as_ref().map(ToString::to_string),
        command: Some(["sh", "-c", IDLE].map(str::to_owned).to_vec()),
        env: keyed.then(|| vec![key_variable(site)]),
        readiness_probe: Some(Probe {
            exec: Some(ExecAction { command: Some(command) }),
            initial_delay_seconds: Some(5),
            period_seconds: Some(PROBE_PERIOD),
            timeout_seconds: Some(PROBE_TIMEOUT),
            failure_threshold: Some(PROBE_FAILURES),
            ..Probe::default()
        }),
        resources: Some(ResourceRequirements { limits: Some(enclave()), ..ResourceRequirements::default() }),
        security_context: spec.container_security_context_probe.clone(),
        ..Container::default()
    }
}

fn key_variable(site: &Site<'_>) -> EnvVar {
    EnvVar {
        name: "DCAP_API_KEY".to_owned(),
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: site.secret(),
                key: DCAP_KEY.to_owned(),
                optional: Some(false),
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

/// One slot of the SGX device.
pub(crate) fn enclave() -> BTreeMap<String, Quantity> {
    [(ENCLAVE.to_owned(), Quantity("1".to_owned()))].into()
}
