//! What may be left out, and what is refused: defaults and validation of the spec.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement;
use kube::ResourceExt;
use operator_guest::{Cause, Request, Verdict};
use scone_api::{
    imagepullsecret::{ImagePullSecret, ImagePullSecretSpec, TargetConfig, TargetSecret},
    syntax::{is_dns_label, is_dns_name, is_label_key, is_label_name},
};

use crate::{
    copies::OWNER,
    select::{Selector, selectors},
    settings::PullSecretSettings,
    source,
};

/// Labels and annotations that are the operator's own.
const RESERVED: [&str; 3] = [OWNER, "applyset.kubernetes.io/part-of", "operator.scone.cloud/digest"];
/// The operators of expressions.
const OPERATORS: [&str; 4] = ["In", "NotIn", "Exists", "DoesNotExist"];

/// Writes every default into the spec. Reconciling starts with the same, so that it needs no webhook.
pub(crate) fn fill(parent: &mut ImagePullSecret, settings: &PullSecretSettings) {
    for source in &mut parent.spec.registry.credentials {
        if source.namespace.as_deref().is_none_or(str::is_empty) {
            source.namespace = Some(settings.namespace.clone());
        }
    }
    let name = parent.name_any();
    let secret = &mut parent.spec.target.secret;
    if secret.name.as_deref().is_none_or(str::is_empty) && !name.is_empty() {
        secret.name = Some(name);
    }
}

/// Judges a spec.
pub(crate) fn judge(request: &Request<ImagePullSecret>) -> Verdict {
    let Some(parent) = &request.object else { return Verdict::accept() };
    let settings: PullSecretSettings = request.settings.decode().unwrap_or_default();
    let mut parent = parent.clone();
    fill(&mut parent, &settings);
    let target = &parent.spec.target;
    let mut verdict = Verdict::invalid(causes(&parent.spec, &settings));
    let all = all_selectors(target);
    let names = target.namespaces.as_ref().and_then(|found| found.names.as_ref());
    if all.is_empty() && names.is_none_or(Vec::is_empty) {
        verdict = verdict
            .warn("spec.target has no selector, so no namespace gets the Secret: add names, labels or annotations");
    }
    for (field, _) in all.iter().filter(|(_, selector)| selector.is_empty()) {
        let fits = if field.contains("WithPods") { "with a pod " } else { "" };
        verdict = verdict.warn(format!("{field} is empty: every namespace {fits}gets the credentials"));
    }
    verdict
}

/// Everything that is wrong with a spec that has its defaults, each with its path and the fix.
pub(crate) fn causes(spec: &ImagePullSecretSpec, settings: &PullSecretSettings) -> Vec<Cause> {
    let mut causes = credentials(spec, settings);
    causes.extend(secret(&spec.target.secret));
    let names = spec.target.namespaces.as_ref().and_then(|found| found.names.as_deref()).unwrap_or_default();
    let mut seen = BTreeSet::new();
    for (at, name) in names.iter().enumerate() {
        let field = format!("spec.target.namespaces.names[{at}]");
        if !is_dns_label(name) {
            let message = format!("{name:?} is no namespace; write lower-case letters, digits and dashes, at most 63");
            causes.push(Cause::invalid(field, message));
        } else if !seen.insert(name) {
            causes.push(Cause::duplicate(field, format!("{name:?} is there twice; name it once")));
        }
    }
    for (field, selector) in all_selectors(&spec.target) {
        causes.extend(selects(&field, selector));
    }
    causes
}

fn credentials(spec: &ImagePullSecretSpec, settings: &PullSecretSettings) -> Vec<Cause> {
    const LIST: &str = "spec.registry.credentials";
    let mut causes = Vec::new();
    if spec.registry.credentials.is_empty() {
        causes.push(Cause::required(LIST, "name at least one Secret with registry credentials"));
    }
    let mut seen = BTreeSet::new();
    for (at, reference) in spec.registry.credentials.iter().enumerate() {
        let field = |name: &str| format!("{LIST}[{at}]{name}");
        let namespace = source::namespace(reference);
        if !is_dns_name(&reference.name) {
            let message = format!("{:?} is no name of a Secret; write one such as scone-operator-pull", reference.name);
            causes.push(Cause::invalid(field(".name"), message));
        }
        if !is_dns_label(namespace) {
            let message =
                format!("{namespace:?} is no namespace; write lower-case letters, digits and dashes, at most 63");
            causes.push(Cause::invalid(field(".namespace"), message));
        } else if !settings.allows(namespace) {
            let message = format!(
                "credentials may come from {} only: so says the setting sourceNamespaces of module pull-secret",
                settings.source_namespaces.join(", ")
            );
            causes.push(Cause::forbidden(field(".namespace"), message));
        }
        if !seen.insert(reference) {
            let message = format!("{namespace}/{} is there twice; name it once", reference.name);
            causes.push(Cause::duplicate(field(""), message));
        }
    }
    causes
}

fn secret(secret: &TargetSecret) -> Vec<Cause> {
    const SECRET: &str = "spec.target.secret";
    let mut causes = Vec::new();
    let name = secret.name.as_deref().unwrap_or_default();
    // Without a name of its own it gets that of the resource, which is not known before the server has generated it.
    if !name.is_empty() && !is_dns_name(name) {
        let message = format!("{name:?} is no name of a Secret; write one such as scone-operator-pull");
        causes.push(Cause::invalid(format!("{SECRET}.name"), message));
    }
    for (key, value) in secret.labels.iter().flatten() {
        causes.extend(labels(&format!("{SECRET}.labels[{key}]"), key, Some(value)));
    }
    for key in secret.annotations.iter().flatten().map(|(key, _)| key).filter(|key| !is_label_key(key)) {
        let message = "is no annotation key; write [dns.name/]name of 63 characters";
        causes.push(Cause::invalid(format!("{SECRET}.annotations[{key}]"), message));
    }
    let keys = |list: &str, map: Option<&BTreeMap<String, String>>| {
        let reserved = map.into_iter().flatten().filter(|(key, _)| RESERVED.contains(&key.as_str()));
        let fields: Vec<_> = reserved.map(|(key, _)| format!("{SECRET}.{list}[{key}]")).collect();
        fields
    };
    let reserved = [keys("labels", secret.labels.as_ref()), keys("annotations", secret.annotations.as_ref())].concat();
    causes.extend(reserved.into_iter().map(|field| Cause::forbidden(field, "is written by the operator; remove it")));
    causes
}

fn labels(field: &str, key: &str, value: Option<&String>) -> Option<Cause> {
    if !is_label_key(key) {
        let message = "is no label key; write [dns.name/]name with a name of at most 63 characters";
        return Some(Cause::invalid(field, message));
    }
    let value = value.filter(|value| !value.is_empty() && !is_label_name(value))?;
    Some(Cause::invalid(field, format!("{value:?} is no label value; at most 63 letters, digits, '-', '_', '.'")))
}

/// Every selector of the target, with its path.
fn all_selectors(target: &TargetConfig) -> Vec<(String, Selector<'_>)> {
    let mut all = Vec::new();
    if let Some(found) = &target.namespaces {
        all.extend(named("namespaces", selectors(found.labels.as_ref(), found.annotations.as_ref())));
    }
    if let Some(found) = &target.namespaces_with_pods {
        all.extend(named("namespacesWithPods", selectors(found.labels.as_ref(), found.annotations.as_ref())));
    }
    all
}

/// The selectors of labels and of annotations, with their paths.
fn named<'a>(
    place: &str,
    (labels, annotations): (Vec<Selector<'a>>, Vec<Selector<'a>>),
) -> Vec<(String, Selector<'a>)> {
    let lists = [("labels", labels), ("annotations", annotations)];
    let in_list = |(list, selectors): (&str, Vec<Selector<'a>>)| -> Vec<_> {
        let path = |at: usize| format!("spec.target.{place}.{list}[{at}]");
        selectors.into_iter().enumerate().map(|(at, selector)| (path(at), selector)).collect()
    };
    lists.into_iter().flat_map(in_list).collect()
}

/// The rules of the API server for selectors. Values of annotations may be any text.
fn selects(field: &str, selector: Selector<'_>) -> Vec<Cause> {
    let of_labels = field.contains(".labels[");
    let list = if of_labels { "matchLabels" } else { "matchAnnotations" };
    let mut causes: Vec<_> = selector
        .exact()
        .filter_map(|(key, value)| labels(&format!("{field}.{list}[{key}]"), key, Some(value).filter(|_| of_labels)))
        .collect();
    for (at, expression) in selector.expressions().enumerate() {
        causes.extend(expresses(&format!("{field}.matchExpressions[{at}]"), expression, of_labels));
    }
    causes
}

fn expresses(field: &str, expression: &LabelSelectorRequirement, of_labels: bool) -> Vec<Cause> {
    let mut causes: Vec<_> = labels(&format!("{field}.key"), &expression.key, None).into_iter().collect();
    let values = expression.values.as_deref().unwrap_or_default();
    let (operator, place) = (expression.operator.as_str(), format!("{field}.values"));
    if !OPERATORS.contains(&operator) {
        let message = format!("{operator:?} is none of {}", OPERATORS.join(", "));
        causes.push(Cause::not_supported(format!("{field}.operator"), message));
    } else if operator.ends_with("In") && values.is_empty() {
        causes.push(Cause::required(place, format!("operator {operator} needs at least one value")));
    } else if !operator.ends_with("In") && !values.is_empty() {
        causes.push(Cause::invalid(place, format!("must be empty with operator {operator}; remove them, or write In")));
    } else if of_labels {
        let bad = values.iter().filter_map(|value| labels(&place, "key", Some(value)));
        causes.extend(bad);
    }
    causes
}
