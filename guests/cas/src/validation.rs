//! What is refused, with its path and what to do instead; and what is said although it is accepted.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Arguments,
};

use k8s_openapi::{api::core::v1::EnvVar, apimachinery::pkg::api::resource::Quantity};
use operator_guest::{Cause, Request, Verdict};
use scone_api::{
    cas::{BackupController, CAS, CASSpec, DynamicResize, NAME_RULE, Probe, SafetyService, ServiceOptions},
    quantity,
    rules::{self, Common},
    syntax::{is_dns_label, is_image, is_label_key, is_label_name},
};

use crate::{
    admission, changes, duration,
    settings::CasSettings,
    spec, warnings,
    workload::{CLIENT_PORT, ENCLAVE_PORT},
};

/// The longest name: a hash of ten characters and a dash go behind it in a label of the pods.
const LONGEST_NAME: usize = 52;

/// Judges a spec, and the change from the one that is stored.
pub(crate) fn judge(request: &Request<CAS>) -> Verdict {
    let Some(cas) = &request.object else { return Verdict::accept() };
    let mut causes = causes(&cas.spec);
    let name = &request.identity.name;
    let is_name =
        is_dns_label(name) && name.len() <= LONGEST_NAME && name.starts_with(|c: char| c.is_ascii_lowercase());
    if !is_name {
        causes.push(Cause::invalid("metadata.name", NAME_RULE.1));
    }
    let settings: CasSettings = request.settings.decode().unwrap_or_default();
    let shared = settings.shared();
    // What was stored while no webhook ran has no defaults written into it, and means the same.
    let filled = |cas: &CAS| {
        let mut spec = cas.spec.clone();
        admission::fill(&mut spec, &shared);
        spec
    };
    let (old, new) = (request.old_object.as_ref().map(filled), filled(cas));
    causes.extend(old.as_ref().map(|old| changes::causes(old, &new, name)).unwrap_or_default());
    let verdict = Verdict::invalid(causes);
    warnings::of(&new, old.as_ref(), name, &settings).into_iter().fold(verdict, Verdict::warn)
}

fn causes(spec: &CASSpec) -> Vec<Cause> {
    let mut causes = rules::causes(&Common {
        image: spec.image.as_deref(),
        image_pull_policy: spec.image_pull_policy.as_deref(),
        namespace: None,
        image_pull_secrets: spec.image_pull_secrets.as_deref(),
        node_selector: spec.node_selector.as_ref(),
        pod_annotations: spec.pod_annotations.as_ref(),
        resources: spec.resources.as_ref(),
        tolerations: spec.tolerations.as_deref(),
    });
    let nonce = spec.nonce.as_deref();
    if nonce.is_some_and(|nonce| nonce.len() != 32 || !nonce.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        causes.push(Cause::invalid("spec.nonce", "must be 32 hexadecimal digits, such as openssl rand -hex 16 prints"));
    }
    causes.extend(probe("livenessProbe", spec.liveness_probe.as_ref()));
    causes.extend(probe("startupProbe", spec.startup_probe.as_ref()));
    causes.extend(volumes(spec));
    causes.extend(spec.service.as_ref().map(service).unwrap_or_default());
    if let Some(access) = &spec.network_policy {
        causes.extend(labels("spec.networkPolicy.ingressNSMatchLabels", access.ingress_ns_match_labels.as_ref()));
        causes.extend(labels("spec.networkPolicy.ingressPodMatchLabels", access.ingress_pod_match_labels.as_ref()));
    }
    causes.extend(spec.enclave_metrics.as_ref().and_then(|metrics| {
        let port = metrics.port;
        let field = "spec.enclaveMetrics.port";
        if !(1..=65_535).contains(&port) {
            return Some(no_port(field, port, 8080));
        }
        let taken = metrics.enabled && [CLIENT_PORT, ENCLAVE_PORT].contains(&port);
        taken.then(|| Cause::invalid(field, format!("{port} is a port of CAS itself; write another one, such as 8080")))
    }));
    causes.extend(spec.backup_controller.as_ref().map(backup).unwrap_or_default());
    causes.extend(spec.safety_service.as_ref().map(safety).unwrap_or_default());
    let pccs = spec.pccs_config.as_ref().filter(|pccs| pccs.enabled).map(|pccs| pccs.address.as_deref().unwrap_or(""));
    if pccs.is_some_and(|address| !address.starts_with("https://") && !address.starts_with("http://")) {
        let message = "must be the URL of the PCCS when enabled, such as https://pccs.example.com:8081";
        causes.push(Cause::invalid("spec.pccsConfig.address", message));
    }
    causes
}

fn no_port(field: &str, port: i32, usual: i32) -> Cause {
    Cause::invalid(field, format!("{port} is no port; write one from 1 to 65535, usually {usual}"))
}

fn probe(name: &str, probe: Option<&Probe>) -> Vec<Cause> {
    let Some(probe) = probe else { return Vec::new() };
    [
        ("initialDelaySeconds", probe.initial_delay_seconds, 0),
        ("periodSeconds", probe.period_seconds, 1),
        ("timeoutSeconds", probe.timeout_seconds, 1),
        ("failureThreshold", probe.failure_threshold, 1),
    ]
    .into_iter()
    .filter(|(_, value, least)| value.is_some_and(|value| value < *least))
    .map(|(field, _, least)| Cause::invalid(format!("spec.{name}.{field}"), format!("must be at least {least}")))
    .collect()
}

fn volumes(spec: &CASSpec) -> Vec<Cause> {
    let mut causes = Vec::new();
    if let Some(persistence) = &spec.persistence {
        causes.extend(path(format_args!("spec.persistence.mountPath"), persistence.mount_path.as_deref()));
        causes.extend(size(format_args!("spec.persistence.size"), persistence.size.as_ref()));
        causes.extend(modes(
            format_args!("spec.persistence.accessModes"),
            persistence.access_modes.as_ref().map(Vec::len),
        ));
        causes.extend(resize(format_args!("spec.persistence"), persistence.dynamic_resize.as_ref()));
    }
    let Some(snapshots) = &spec.database_snapshots else { return causes };
    causes.extend(path(format_args!("spec.databaseSnapshots.targetDirectory"), snapshots.target_directory.as_deref()));
    let interval = snapshots.interval.as_deref();
    if interval.is_some_and(|interval| duration::seconds(interval).is_none_or(|seconds| seconds < 1)) {
        let message = "is no duration of a second or more; write one such as 24h0m0s or 60s";
        causes.push(Cause::invalid("spec.databaseSnapshots.interval", message));
    }
    if snapshots.enabled && spec::snapshot_path(snapshots) == spec::database_path(spec) {
        let message = "is where the database is; write another directory, such as /var/mnt/cas-database-snapshots";
        causes.push(Cause::invalid("spec.databaseSnapshots.targetDirectory", message));
    }
    if let Some(persistence) = &snapshots.persistence {
        causes.extend(size(format_args!("spec.databaseSnapshots.persistence.size"), persistence.size.as_ref()));
        causes.extend(modes(
            format_args!("spec.databaseSnapshots.persistence.accessModes"),
            persistence.access_modes.as_ref().map(Vec::len),
        ));
        causes.extend(resize(format_args!("spec.databaseSnapshots.persistence"), persistence.dynamic_resize.as_ref()));
    }
    causes
}

/// A directory of its own. That of the configuration is none, nor one that hides what the image holds.
fn path(field: Arguments<'_>, path: Option<&str>) -> Option<Cause> {
    let path = path?;
    let is_path = path.starts_with('/')
        && !path.contains(':')
        && !path.contains(|c: char| c.is_control() || matches!(c, '"' | '\\'))
        && path.split('/').all(|part| part != "..");
    let is_free = !["", "/etc", "/etc/cas", "/tmp", "/tmp/healthcheck", "/var/log/cas/audit"]
        .contains(&path.trim_end_matches('/'));
    (!is_path || !is_free).then(|| {
        Cause::invalid(
            field.to_string(),
            format!("{path:?} is no directory of its own; write an absolute path such as /etc/cas/db"),
        )
    })
}

fn size(field: Arguments<'_>, size: Option<&Quantity>) -> Option<Cause> {
    let size = &size?.0;
    let is_size = quantity::number(size).is_some_and(|number| number >= 1.0);
    (!is_size)
        .then(|| Cause::invalid(field.to_string(), format!("{size:?} is no size of a volume; write one such as 1Gi")))
}

fn modes(field: Arguments<'_>, count: Option<usize>) -> Option<Cause> {
    (count == Some(0))
        .then(|| Cause::required(field.to_string(), "needs at least one; write ReadWriteOnce, or leave it out"))
}

fn resize(field: Arguments<'_>, resize: Option<&DynamicResize>) -> Vec<Cause> {
    let Some(resize) = resize else { return Vec::new() };
    let mut causes: Vec<_> =
        size(format_args!("{field}.dynamicResize.increaseStep"), Some(&resize.increase_step)).into_iter().collect();
    if !(50..=100).contains(&resize.threshold_percent) {
        let message = format!("{} is out of range; write 50 to 100, usually 80", resize.threshold_percent);
        causes.push(Cause::invalid(format!("{field}.dynamicResize.thresholdPercent"), message));
    }
    causes
}

fn service(service: &ServiceOptions) -> Vec<Cause> {
    let mut causes = Vec::new();
    let type_ = service.type_.as_deref().unwrap_or("ClusterIP");
    if !["ClusterIP", "NodePort", "LoadBalancer"].contains(&type_) {
        let message = format!("{type_:?} is none of ClusterIP, NodePort, LoadBalancer");
        causes.push(Cause::not_supported("spec.service.type", message));
    }
    let client = service.client_port.unwrap_or(CLIENT_PORT);
    let enclave = service.enclave_port.unwrap_or(ENCLAVE_PORT);
    let is_port = |port: &i32| (1..=65_535).contains(port);
    for (field, port, usual) in [("clientPort", client, CLIENT_PORT), ("enclavePort", enclave, ENCLAVE_PORT)] {
        causes.extend((!is_port(&port)).then(|| no_port(&format!("spec.service.{field}"), port, usual)));
    }
    if client == enclave {
        causes.push(Cause::duplicate(
            "spec.service.enclavePort",
            format!("{enclave} is the client port too; write another"),
        ));
    }
    if let Some(ports) = &service.node_ports {
        for (field, port) in [("clientPort", ports.client_port), ("enclavePort", ports.enclave_port)] {
            let bad = port.filter(|port| *port != 0 && !is_port(port));
            causes.extend(bad.map(|port| no_port(&format!("spec.service.nodePorts.{field}"), port, 30_000)));
        }
        if ports.client_port.is_some_and(|port| port != 0 && ports.enclave_port == Some(port)) {
            let message = "is the node port of the client port too; write another, or leave it out";
            causes.push(Cause::duplicate("spec.service.nodePorts.enclavePort", message));
        }
    }
    let annotations = service.annotations.iter().flatten().filter(|(key, _)| !is_label_key(key));
    causes.extend(annotations.map(|(key, _)| {
        Cause::invalid(format!("spec.service.annotations[{key}]"), "is no annotation key; write [dns.name/]name")
    }));
    causes
}

fn labels(field: &str, labels: Option<&BTreeMap<String, String>>) -> Vec<Cause> {
    let is_label = |(key, value): &(&String, &String)| is_label_key(key) && (value.is_empty() || is_label_name(value));
    let bad = labels.into_iter().flatten().filter(|label| !is_label(label));
    bad.map(|(key, value)| {
        let message =
            format!("{value:?} under this key is no label; write [dns.name/]name and at most 63 letters and digits");
        Cause::invalid(format!("{field}[{key}]"), message)
    })
    .collect()
}

/// Causes about `spec` as causes about a part of it.
fn within(part: &str, causes: Vec<Cause>) -> Vec<Cause> {
    let moved = |cause: Cause| {
        let field = cause.field.strip_prefix("spec.").map(|rest| format!("spec.{part}.{rest}")).unwrap_or_default();
        Cause { field, message: cause.message.replace("spec.", &format!("spec.{part}.")), ..cause }
    };
    causes.into_iter().map(moved).collect()
}

fn backup(backup: &BackupController) -> Vec<Cause> {
    let common = Common {
        image: backup.image.as_deref(),
        image_pull_policy: backup.image_pull_policy.as_deref(),
        image_pull_secrets: backup.image_pull_secrets.as_deref(),
        tolerations: backup.tolerations.as_deref(),
        ..Common::default()
    };
    let mut causes = within("backup-controller", rules::causes(&common));
    let session = backup.session.as_deref().unwrap_or_default();
    if backup.enabled == Some(true) && session.is_empty() {
        let message = "must be set when the backup controller is enabled: write the policy and its service, such as \
                       cas-owner/primary-backup/upgrade";
        causes.push(Cause::required("spec.backup-controller.session", message));
    }
    if session.contains(|c: char| c.is_whitespace() || c.is_control()) {
        let message = format!("{session:?} is no session; write namespace/policy/service without spaces");
        causes.push(Cause::invalid("spec.backup-controller.session", message));
    }
    causes.extend(variables(backup.env.as_deref().unwrap_or_default()));
    causes
}

/// Values stay out of messages: they may be secrets.
fn variables(env: &[EnvVar]) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut seen = BTreeSet::new();
    for (at, variable) in env.iter().enumerate() {
        let field = |name: &str| format!("spec.backup-controller.env[{at}].{name}");
        let name = &variable.name;
        if name.is_empty() || name.contains(|c: char| c == '=' || c.is_whitespace() || c.is_control()) {
            causes
                .push(Cause::invalid(field("name"), format!("{name:?} is no name of a variable; write letters and _")));
        } else if !seen.insert(name) {
            causes.push(Cause::duplicate(field("name"), format!("{name} is there twice; remove one of them")));
        }
        if variable.value.as_ref().is_some_and(|value| !value.is_empty()) && variable.value_from.is_some() {
            causes.push(Cause::invalid(field("valueFrom"), "must be absent beside value; remove one of them"));
        }
        let image = variable.value.as_deref().filter(|_| name == "BACKUP_CAS_IMAGE");
        if image.is_some_and(|image| !is_image(image)) {
            let message = "is no image; write registry/repository:tag, without spaces or a scheme";
            causes.push(Cause::invalid(field("value"), message));
        }
    }
    causes
}

fn safety(safety: &SafetyService) -> Vec<Cause> {
    let common =
        Common { image: safety.image.as_deref(), tolerations: safety.tolerations.as_deref(), ..Common::default() };
    let mut causes = within("safetyService", rules::causes(&common));
    let (desired, least) = spec::safety_replicas(safety);
    for (field, count) in [("desiredReplicas", desired), ("minReplicas", least)] {
        if count < 2 {
            causes.push(Cause::invalid(
                format!("spec.safetyService.{field}"),
                format!("{count} is too few; write 2 or more"),
            ));
        }
    }
    if least > desired {
        let message =
            format!("{least} is more than the {desired} that there should be; lower it, or raise desiredReplicas");
        causes.push(Cause::invalid("spec.safetyService.minReplicas", message));
    }
    if !is_label_key(&safety.pod_anti_affinity_topology_key) {
        let message = format!(
            "{:?} is no label key; write one that nodes have, such as kubernetes.io/hostname",
            safety.pod_anti_affinity_topology_key
        );
        causes.push(Cause::invalid("spec.safetyService.podAntiAffinityTopologyKey", message));
    }
    causes
}
