//! What an administrator may leave out, and what is refused: defaults and validation of the spec.

use k8s_openapi::{
    api::core::v1::{Capabilities, PodSecurityContext, SeccompProfile, SecurityContext, Toleration},
    apimachinery::pkg::api::resource::Quantity,
};
use operator_guest::{Cause, Request, Verdict};

use crate::{
    api::{LAS, LASSpec, SconeSettings},
    nodes,
    syntax::{is_dns_label, is_dns_name, is_image, is_label_key, is_label_name},
    workload::{ENCLAVE, PORT, dcap_key},
};

/// The node label of the SGX plugin.
pub(crate) const SGX_CAPABLE: &str = "sgx.intel.com/capable";

/// Writes every default into the spec. Reconciling starts with the same, so that it needs no webhook.
pub(crate) fn fill(spec: &mut LASSpec, settings: &SconeSettings) {
    fill_image(&mut spec.image, settings);
    spec.host_port.get_or_insert(PORT);
    spec.image_pull_policy.get_or_insert_with(|| "Always".to_owned());
    let namespace_is_missing = spec.namespace.as_deref().is_none_or(str::is_empty);
    if namespace_is_missing {
        spec.namespace = Some(settings.namespace.clone());
    }
    let selector = spec.node_selector.get_or_insert_default();
    if !selector.contains_key(SGX_CAPABLE) {
        selector.insert(SGX_CAPABLE.to_owned(), "true".to_owned());
    }
    // Always injected, as published: without the device LAS cannot work.
    let limits = spec.resources.get_or_insert_default().limits.get_or_insert_default();
    limits.insert(ENCLAVE.to_owned(), Quantity("1".to_owned()));
    let root = spec.image.as_deref().is_some_and(|image| nodes::version(image).starts_with("5.8."));
    spec.pod_security_context.get_or_insert_with(|| pod_security_context(!root));
    spec.container_security_context_las.get_or_insert_with(container_security_context);
    spec.container_security_context_probe.get_or_insert_with(container_security_context);
}

/// An image without tag or digest gets the version of the settings.
fn fill_image(image: &mut Option<String>, settings: &SconeSettings) {
    let image = image.get_or_insert_default();
    if image.is_empty() {
        *image = format!("{}/las", settings.registry.trim_end_matches('/'));
    }
    let tagged = image.contains('@') || image.rsplit('/').next().is_some_and(|last| last.contains(':'));
    if !tagged && !settings.version.is_empty() {
        *image = format!("{image}:{}", settings.version);
    }
}

/// 5.8 images run as root.
fn pod_security_context(non_root: bool) -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(non_root),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), ..SeccompProfile::default() }),
        ..PodSecurityContext::default()
    }
}

fn container_security_context() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), ..Capabilities::default() }),
        ..SecurityContext::default()
    }
}

/// Judges a spec.
pub(crate) fn judge(request: &Request<LAS>) -> Verdict {
    let Some(las) = &request.object else { return Verdict::accept() };
    let spec = &las.spec;
    let mut causes = causes(spec);
    if request.identity.name.len() > 63 {
        causes.push(Cause::invalid("metadata.name", "must have at most 63 characters: it becomes a label of the pods"));
    }
    let verdict = Verdict::invalid(causes);
    let verdict = if dcap_key(spec).is_some() {
        verdict
    } else {
        verdict.warn("spec.dcapKey is not set, so the health checks are incomplete: set it to your Intel PCS key")
    };
    if spec.auto_update != Some(true) {
        return verdict;
    }
    // Contract v1 has no question to a registry.
    verdict.warn("spec.autoUpdate: the registry is not watched; change spec.image to roll out, or restart the pods")
}

fn causes(spec: &LASSpec) -> Vec<Cause> {
    let mut causes = Vec::new();
    if let Some(port) = spec.host_port.filter(|port| !(1..=65_535).contains(port)) {
        causes.push(Cause::invalid(
            "spec.hostPort",
            format!("{port} is no port; write one from 1 to 65535, usually {PORT}"),
        ));
    }
    // The value stays out of the message: it may be a real key with a typing error.
    if dcap_key(spec).is_some_and(|key| key.len() != 32 || !key.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        let message = "must be 32 hexadecimal digits, as shown by the Intel PCS portal; on Azure write 32 zeros";
        causes.push(Cause::invalid("spec.dcapKey", message));
    }
    if let Some(policy) = spec.image_pull_policy.as_deref().filter(|p| !["Always", "Never", "IfNotPresent"].contains(p))
    {
        let message = format!("{policy:?} is none of Always, Never, IfNotPresent");
        causes.push(Cause::not_supported("spec.imagePullPolicy", message));
    }
    if let Some(image) = spec.image.as_deref().filter(|image| !is_image(image)) {
        let message = format!("{image:?} is no image; write registry/repository:tag, without spaces or a scheme");
        causes.push(Cause::invalid("spec.image", message));
    }
    if let Some(namespace) = spec.namespace.as_deref().filter(|name| !name.is_empty() && !is_dns_label(name)) {
        let message = format!("{namespace:?} is no namespace; write lower-case letters, digits and dashes, at most 63");
        causes.push(Cause::invalid("spec.namespace", message));
    }
    causes.extend(secrets(spec));
    causes.extend(spec.node_selector.iter().flatten().filter_map(|(key, value)| label(key, value)));
    causes.extend(spec.pod_annotations.iter().flatten().filter(|(key, _)| !is_label_key(key)).map(|(key, _)| {
        Cause::invalid(
            format!("spec.podAnnotations[{key}]"),
            "is no annotation key; write [dns.name/]name of 63 characters",
        )
    }));
    causes.extend(spec.tolerations.iter().flatten().enumerate().flat_map(|(at, toleration)| tolerates(at, toleration)));
    causes
}

fn secrets(spec: &LASSpec) -> impl Iterator<Item = Cause> {
    let secrets = spec.image_pull_secrets.iter().flatten().enumerate();
    secrets.filter(|(_, secret)| !is_dns_name(&secret.name)).map(|(at, secret)| {
        let message = format!("{:?} is no name of a Secret; write one such as scone-operator-pull", secret.name);
        Cause::invalid(format!("spec.imagePullSecrets[{at}].name"), message)
    })
}

fn label(key: &str, value: &str) -> Option<Cause> {
    let field = format!("spec.nodeSelector[{key}]");
    if !is_label_key(key) {
        return Some(Cause::invalid(
            field,
            "is no label key; write [dns.name/]name with a name of at most 63 characters",
        ));
    }
    let fine = value.is_empty() || is_label_name(value);
    (!fine).then(|| {
        Cause::invalid(field, format!("{value:?} is no label value; at most 63 letters, digits, '-', '_', '.'"))
    })
}

/// The rules of the API server for tolerations, so that they are named here and not when the `DaemonSet` is refused.
fn tolerates(at: usize, toleration: &Toleration) -> Vec<Cause> {
    let field = |name: &str| format!("spec.tolerations[{at}].{name}");
    let mut causes = Vec::new();
    let operator = toleration.operator.as_deref().filter(|operator| !operator.is_empty()).unwrap_or("Equal");
    if !["Exists", "Equal"].contains(&operator) {
        causes.push(Cause::not_supported(field("operator"), format!("{operator:?} is none of Exists, Equal")));
    }
    let effect = toleration.effect.as_deref().unwrap_or_default();
    if !["", "NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect) {
        let message =
            format!("{effect:?} is none of NoSchedule, PreferNoSchedule, NoExecute; leave it out for all of them");
        causes.push(Cause::not_supported(field("effect"), message));
    }
    if operator == "Exists" && toleration.value.as_deref().is_some_and(|value| !value.is_empty()) {
        causes.push(Cause::invalid(field("value"), "must be empty with operator Exists; remove it or write Equal"));
    }
    let key = toleration.key.as_deref().unwrap_or_default();
    if key.is_empty() && operator == "Equal" {
        causes
            .push(Cause::required(field("key"), "is needed with operator Equal; write Exists to tolerate every taint"));
    }
    if !key.is_empty() && !is_label_key(key) {
        causes.push(Cause::invalid(field("key"), format!("{key:?} is no taint key; write [dns.name/]name")));
    }
    if toleration.toleration_seconds.is_some() && effect != "NoExecute" {
        causes.push(Cause::invalid(field("effect"), "must be NoExecute when tolerationSeconds is set"));
    }
    causes
}
