//! What may be left out, and what is refused: defaults and validation of the spec.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Arguments},
};

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
/// The parts of the spec that are named more than once.
const WITH_PODS: &str = "namespacesWithPods";
const LABELS: &str = "labels";
/// The operators of expressions.
const OPERATORS: [&str; 4] = ["In", "NotIn", "Exists", "DoesNotExist"];

/// Writes every default into the spec. Reconciling starts with the same, so that it needs no webhook.
/// `name` is that of the resource; empty when it is not known yet.
pub(crate) fn fill(spec: &mut ImagePullSecretSpec, name: &str, settings: &PullSecretSettings) {
    for source in &mut spec.registry.credentials {
        if source.namespace.as_deref().is_none_or(str::is_empty) {
            source.namespace = Some(settings.namespace.clone());
        }
    }
    let secret = &mut spec.target.secret;
    if secret.name.as_deref().is_none_or(str::is_empty) && !name.is_empty() {
        secret.name = Some(name.to_owned());
    }
}

/// Judges a spec.
pub(crate) fn judge(request: &Request<ImagePullSecret>) -> Verdict {
    let Some(parent) = &request.object else { return Verdict::accept() };
    let settings: PullSecretSettings = request.settings.decode().unwrap_or_default();
    let mut spec = parent.spec.clone();
    fill(&mut spec, &parent.name_any(), &settings);
    let target = &spec.target;
    let mut verdict = Verdict::invalid(causes(&spec, &settings));
    let all = all_selectors(target);
    let names = target.namespaces.as_ref().and_then(|found| found.names.as_ref());
    if all.is_empty() && names.is_none_or(Vec::is_empty) {
        verdict = verdict
            .warn("spec.target has no selector, so no namespace gets the Secret: add names, labels or annotations");
    }
    for (place, _) in all.iter().filter(|(_, selector)| selector.is_empty()) {
        let fits = if place.target == WITH_PODS { "with a pod " } else { "" };
        verdict = verdict.warn(format!("{place} is empty: every namespace {fits}gets the credentials"));
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
        let field = || format!("spec.target.namespaces.names[{at}]");
        if !is_dns_label(name) {
            let message = format!("{name:?} is no namespace; write lower-case letters, digits and dashes, at most 63");
            causes.push(Cause::invalid(field(), message));
        } else if !seen.insert(name) {
            causes.push(Cause::duplicate(field(), format!("{name:?} is there twice; name it once")));
        }
    }
    for (place, selector) in all_selectors(&spec.target) {
        causes.extend(selects(place, selector));
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
        causes.extend(labels(format_args!("{SECRET}.labels[{key}]"), key, Some(value)));
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

fn labels(field: Arguments<'_>, key: &str, value: Option<&String>) -> Option<Cause> {
    if !is_label_key(key) {
        let message = "is no label key; write [dns.name/]name with a name of at most 63 characters";
        return Some(Cause::invalid(field.to_string(), message));
    }
    let value = value.filter(|value| !value.is_empty() && !is_label_name(value))?;
    let message = format!("{value:?} is no label value; at most 63 letters, digits, '-', '_', '.'");
    Some(Cause::invalid(field.to_string(), message))
}

/// Where a selector stands. It is written only when there is something to say of it.
#[derive(Clone, Copy)]
struct Place {
    target: &'static str,
    list: &'static str,
    at: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spec.target.{}.{}[{}]", self.target, self.list, self.at)
    }
}

/// Every selector of the target.
fn all_selectors(target: &TargetConfig) -> Vec<(Place, Selector<'_>)> {
    let mut all = Vec::new();
    if let Some(found) = &target.namespaces {
        all.extend(placed("namespaces", selectors(found.labels.as_ref(), found.annotations.as_ref())));
    }
    if let Some(found) = &target.namespaces_with_pods {
        all.extend(placed(WITH_PODS, selectors(found.labels.as_ref(), found.annotations.as_ref())));
    }
    all
}

/// The selectors of labels and of annotations.
fn placed<'a>(
    target: &'static str,
    (labels, annotations): (Vec<Selector<'a>>, Vec<Selector<'a>>),
) -> impl Iterator<Item = (Place, Selector<'a>)> {
    let in_list = move |(list, selectors): (&'static str, Vec<Selector<'a>>)| {
        selectors.into_iter().enumerate().map(move |(at, selector)| (Place { target, list, at }, selector))
    };
    [(LABELS, labels), ("annotations", annotations)].into_iter().flat_map(in_list)
}

/// The rules of the API server for selectors. Values of annotations may be any text.
fn selects(place: Place, selector: Selector<'_>) -> Vec<Cause> {
    let of_labels = place.list == LABELS;
    let list = if of_labels { "matchLabels" } else { "matchAnnotations" };
    let value = |value| Some(value).filter(|_| of_labels);
    let exact = selector.exact();
    let mut causes: Vec<_> =
        exact.filter_map(|(key, text)| labels(format_args!("{place}.{list}[{key}]"), key, value(text))).collect();
    for (at, expression) in selector.expressions().enumerate() {
        causes.extend(expresses(format_args!("{place}.matchExpressions[{at}]"), expression, of_labels));
    }
    causes
}

fn expresses(field: Arguments<'_>, expression: &LabelSelectorRequirement, of_labels: bool) -> Vec<Cause> {
    let mut causes: Vec<_> = labels(format_args!("{field}.key"), &expression.key, None).into_iter().collect();
    let values = expression.values.as_deref().unwrap_or_default();
    let (operator, place) = (expression.operator.as_str(), || format!("{field}.values"));
    if !OPERATORS.contains(&operator) {
        let message = format!("{operator:?} is none of {}", OPERATORS.join(", "));
        causes.push(Cause::not_supported(format!("{field}.operator"), message));
    } else if operator.ends_with("In") && values.is_empty() {
        causes.push(Cause::required(place(), format!("operator {operator} needs at least one value")));
    } else if !operator.ends_with("In") && !values.is_empty() {
        let message = format!("must be empty with operator {operator}; remove them, or write In");
        causes.push(Cause::invalid(place(), message));
    } else if of_labels {
        let bad = values.iter().filter_map(|value| labels(format_args!("{field}.values"), "key", Some(value)));
        causes.extend(bad);
    }
    causes
}
