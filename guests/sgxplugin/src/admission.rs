//! What an administrator may leave out, and what is refused: defaults and validation of the spec.

use operator_guest::{Cause, Request, Verdict};
use scone_api::{
    SconeSettings, auto_update,
    rules::{self, Common},
    sgxplugin::{SGXPlugin, SGXPluginSpec},
};

/// The most device slots of one node, as published.
const MOST_SLOTS: i32 = 10_000;

/// Writes every default into the spec. Reconciling starts with the same, so that it needs no webhook. The slots depend on
/// the nodes, so they are not among them.
pub(crate) fn fill(spec: &mut SGXPluginSpec, settings: &SconeSettings) {
    settings.fill_image(&mut spec.image, "sgx-plugin");
    spec.auto_update.get_or_insert(false);
    spec.reinstall_on_fatal.get_or_insert(false);
    spec.image_pull_policy.get_or_insert_with(|| "Always".to_owned());
    if spec.namespace.as_deref().is_none_or(str::is_empty) {
        spec.namespace = Some(settings.namespace.clone());
    }
}

/// Judges a spec.
pub(crate) fn judge(request: &Request<SGXPlugin>) -> Verdict {
    let Some(plugin) = &request.object else { return Verdict::accept() };
    let spec = &plugin.spec;
    let mut causes = causes(spec);
    if request.identity.name.len() > 63 {
        causes.push(Cause::invalid("metadata.name", "must have at most 63 characters: it becomes a label of the pods"));
    }
    auto_update::warn(Verdict::invalid(causes), spec.auto_update, spec.image_pull_policy.as_deref())
}

fn causes(spec: &SGXPluginSpec) -> Vec<Cause> {
    let mut causes = rules::causes(&Common {
        image: spec.image.as_deref(),
        image_pull_policy: spec.image_pull_policy.as_deref(),
        namespace: spec.namespace.as_deref(),
        image_pull_secrets: spec.image_pull_secrets.as_deref(),
        node_selector: spec.node_selector.as_ref(),
        pod_annotations: spec.pod_annotations.as_ref(),
        resources: spec.resources.as_ref(),
        tolerations: spec.tolerations.as_deref(),
    });
    if let Some(slots) = spec.capacity_sgx_pods.filter(|slots| !(1..=MOST_SLOTS).contains(slots)) {
        let message = format!(
            "{slots} is out of range; write how many SGX devices each node offers, from 1 to {MOST_SLOTS}, or leave it out \
             for as many as pods"
        );
        causes.push(Cause::invalid("spec.capacitySGXPods", message));
    }
    causes
}
