//! What is refused in the fields that the specs of all SCONE workloads have.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{LocalObjectReference, ResourceRequirements, Toleration},
    apimachinery::pkg::api::resource::Quantity,
};
use operator_guest::Cause;

use crate::{
    quantity::number,
    syntax::{is_dns_label, is_dns_name, is_image, is_label_key, is_label_name},
};

/// The fields that the specs of all workloads have.
#[derive(Clone, Copy, Debug, Default)]
pub struct Common<'a> {
    /// `spec.image`
    pub image: Option<&'a str>,
    /// `spec.imagePullPolicy`
    pub image_pull_policy: Option<&'a str>,
    /// `spec.namespace`
    pub namespace: Option<&'a str>,
    /// `spec.imagePullSecrets`
    pub image_pull_secrets: Option<&'a [LocalObjectReference]>,
    /// `spec.nodeSelector`
    pub node_selector: Option<&'a BTreeMap<String, String>>,
    /// `spec.podAnnotations`
    pub pod_annotations: Option<&'a BTreeMap<String, String>>,
    /// `spec.resources`
    pub resources: Option<&'a ResourceRequirements>,
    /// `spec.tolerations`
    pub tolerations: Option<&'a [Toleration]>,
}

/// Everything that is wrong with them, each with its path and the fix.
pub fn causes(spec: &Common<'_>) -> Vec<Cause> {
    let mut causes = Vec::new();
    if let Some(policy) = spec.image_pull_policy.filter(|p| !["Always", "Never", "IfNotPresent"].contains(p)) {
        let message = format!("{policy:?} is none of Always, Never, IfNotPresent");
        causes.push(Cause::not_supported("spec.imagePullPolicy", message));
    }
    if let Some(image) = spec.image.filter(|image| !is_image(image)) {
        let message = format!("{image:?} is no image; write registry/repository:tag, without spaces or a scheme");
        causes.push(Cause::invalid("spec.image", message));
    }
    if let Some(namespace) = spec.namespace.filter(|name| !name.is_empty() && !is_dns_label(name)) {
        let message = format!("{namespace:?} is no namespace; write lower-case letters, digits and dashes, at most 63");
        causes.push(Cause::invalid("spec.namespace", message));
    }
    causes.extend(secrets(spec));
    causes.extend(spec.node_selector.into_iter().flatten().filter_map(|(key, value)| label(key, value)));
    causes.extend(spec.pod_annotations.into_iter().flatten().filter(|(key, _)| !is_label_key(key)).map(|(key, _)| {
        Cause::invalid(
            format!("spec.podAnnotations[{key}]"),
            "is no annotation key; write [dns.name/]name of 63 characters",
        )
    }));
    causes.extend(spec.resources.into_iter().flat_map(amounts));
    causes.extend(
        spec.tolerations.into_iter().flatten().enumerate().flat_map(|(at, toleration)| tolerates(at, toleration)),
    );
    causes
}

fn secrets(spec: &Common<'_>) -> Vec<Cause> {
    let secrets = spec.image_pull_secrets.into_iter().flatten().enumerate();
    secrets
        .filter(|(_, secret)| !is_dns_name(&secret.name))
        .map(|(at, secret)| {
            let message = format!("{:?} is no name of a Secret; write one such as scone-operator-pull", secret.name);
            Cause::invalid(format!("spec.imagePullSecrets[{at}].name"), message)
        })
        .collect()
}

fn label(key: &str, value: &str) -> Option<Cause> {
    let field = || format!("spec.nodeSelector[{key}]");
    if !is_label_key(key) {
        return Some(Cause::invalid(
            field(),
            "is no label key; write [dns.name/]name with a name of at most 63 characters",
        ));
    }
    let fine = value.is_empty() || is_label_name(value);
    (!fine).then(|| {
        Cause::invalid(field(), format!("{value:?} is no label value; at most 63 letters, digits, '-', '_', '.'"))
    })
}

/// The rules of the API server for resources.
fn amounts(resources: &ResourceRequirements) -> Vec<Cause> {
    let mut causes = unreadable("limits", resources.limits.as_ref());
    causes.extend(unreadable("requests", resources.requests.as_ref()));
    let limit = |name: &str| resources.limits.as_ref().and_then(|limits| limits.get(name));
    causes.extend(resources.requests.iter().flatten().filter_map(|(name, request)| {
        let limit = limit(name)?;
        let more = number(&request.0)? > number(&limit.0)?;
        more.then(|| {
            let message = format!("{} is more than the limit {}; lower it, or raise the limit", request.0, limit.0);
            Cause::invalid(format!("spec.resources.requests[{name}]"), message)
        })
    }));
    causes
}

fn unreadable(list: &str, amounts: Option<&BTreeMap<String, Quantity>>) -> Vec<Cause> {
    let cause = |(name, amount): (&String, &Quantity)| {
        let is_bad = number(&amount.0).is_none_or(|number| number < 0.0);
        is_bad.then(|| {
            let message = format!("{:?} is no quantity; write a number such as 500m or 128Mi", amount.0);
            Cause::invalid(format!("spec.resources.{list}[{name}]"), message)
        })
    };
    amounts.into_iter().flatten().filter_map(cause).collect()
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
