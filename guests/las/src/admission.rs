//! What an administrator may leave out, and what is refused: defaults and validation of the spec.

use k8s_openapi::api::core::v1::{PodSecurityContext, SeccompProfile, SecurityContext};
use operator_guest::{Cause, Request, Verdict};

use scone_api::{
    auto_update,
    rules::{self, Common},
};

use crate::{
    api::{LAS, LASSpec, SconeSettings},
    nodes,
    workload::{ENCLAVE, PORT, dcap_key, enclave},
};

pub(crate) use scone_api::SGX_CAPABLE;

/// Writes every default into the spec. Reconciling starts with the same, so that it needs no webhook.
pub(crate) fn fill(spec: &mut LASSpec, settings: &SconeSettings) {
    settings.fill_image(&mut spec.image, "las");
    spec.auto_update.get_or_insert(false);
    spec.dcap_key.get_or_insert_default();
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
    let resources = spec.resources.get_or_insert_default();
    resources.limits.get_or_insert_default().extend(enclave());
    // Kubernetes refuses a request for a device that differs from its limit.
    if let Some(request) = resources.requests.as_mut().and_then(|requests| requests.get_mut(ENCLAVE)) {
        "1".clone_into(&mut request.0);
    }
    let root = spec.image.as_deref().is_some_and(|image| nodes::version(image).starts_with("5.8."));
    fill_pod_security_context(spec.pod_security_context.get_or_insert_default(), !root);
    fill_security_context(spec.container_security_context_las.get_or_insert_default());
    fill_security_context(spec.container_security_context_probe.get_or_insert_default());
}

/// Field by field: a user who sets a group still runs as somebody else than root. 5.8 images run as root.
fn fill_pod_security_context(context: &mut PodSecurityContext, non_root: bool) {
    context.run_as_non_root.get_or_insert(non_root);
    context
        .seccomp_profile
        .get_or_insert_with(|| SeccompProfile { type_: "RuntimeDefault".to_owned(), ..SeccompProfile::default() });
}

fn fill_security_context(context: &mut SecurityContext) {
    // A privileged container may escalate by definition: Kubernetes refuses it otherwise.
    context.allow_privilege_escalation.get_or_insert(context.privileged == Some(true));
    context.capabilities.get_or_insert_default().drop.get_or_insert_with(|| vec!["ALL".to_owned()]);
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
    auto_update::warn(verdict, spec.auto_update, spec.image_pull_policy.as_deref())
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
    causes.extend(rules::causes(&Common {
        image: spec.image.as_deref(),
        image_pull_policy: spec.image_pull_policy.as_deref(),
        namespace: spec.namespace.as_deref(),
        image_pull_secrets: spec.image_pull_secrets.as_deref(),
        node_selector: spec.node_selector.as_ref(),
        pod_annotations: spec.pod_annotations.as_ref(),
        resources: spec.resources.as_ref(),
        tolerations: spec.tolerations.as_deref(),
    }));
    causes
}
