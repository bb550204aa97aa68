//! What the API server is told, derived from manifests: a pure function.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine, engine::general_purpose::STANDARD};
use operator_core::contract::{Manifest, ParentKind, Phase, Scope, WebhookRule};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::{Value, json};

use crate::{Target, bindings::is_converted, certificates::secret::OWNER, judge::CONVERT, probe, scope};

/// The API server waits so long for an answer.
const TIMEOUT_SECONDS: u32 = 5;

/// One object with a `caBundle` for our server. [`places`] names all of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// The configuration of the mutating webhooks.
    Mutating,
    /// The configuration of the validating ones.
    Validating,
    /// The conversion of this CRD.
    Conversion(String),
}

/// What is the same for all places.
pub(crate) struct Site<'a> {
    pub(crate) target: &'a Target,
    pub(crate) namespace: &'a str,
}

/// All objects with a `caBundle` for our server. No other code lists them, so that none is forgotten when the bundle changes.
pub(crate) fn places(manifests: &[Manifest]) -> Vec<Place> {
    let crds = manifests.iter().flat_map(|manifest| &manifest.kinds).filter(|kind| is_converted(kind));
    let crds: BTreeSet<String> = crds.map(|kind| format!("{}.{}", kind.plural, scope::group(kind))).collect();
    [Place::Mutating, Place::Validating].into_iter().chain(crds.into_iter().map(Place::Conversion)).collect()
}

impl Place {
    pub(crate) fn path(&self, namespace: &str) -> String {
        const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";
        match self {
            Self::Mutating => format!("{ADMISSION}/mutatingwebhookconfigurations/{}", self.name(namespace)),
            Self::Validating => format!("{ADMISSION}/validatingwebhookconfigurations/{}", self.name(namespace)),
            Self::Conversion(name) => format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}"),
        }
    }

    fn name(&self, namespace: &str) -> String {
        match self {
            Self::Mutating => format!("scone-mutating-webhook-configuration-{namespace}"),
            Self::Validating => format!("scone-validating-webhook-configuration-{namespace}"),
            Self::Conversion(name) => name.clone(),
        }
    }

    /// What is to be there: the fields that are ours, for server-side apply.
    pub(crate) fn wanted(&self, manifests: &[Manifest], site: &Site<'_>, bundle: &str) -> Value {
        let bundle = STANDARD.encode(bundle);
        let (kind, phase) = match self {
            Self::Mutating => ("MutatingWebhookConfiguration", Phase::Mutate),
            Self::Validating => ("ValidatingWebhookConfiguration", Phase::Validate),
            Self::Conversion(name) => {
                let config = site.target.client_config(CONVERT, &bundle);
                return json!({
                    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name},
                    "spec": {"conversion": {"strategy": "Webhook",
                        "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": config}}},
                });
            }
        };
        let rules = manifests.iter().flat_map(|manifest| manifest.webhooks.iter().map(move |rule| (manifest, rule)));
        let mut webhooks: Vec<Value> = rules
            .filter(|(_, rule)| rule.phase == phase)
            .filter_map(|(manifest, rule)| webhook(manifest, rule, site, &bundle))
            .collect();
        if phase == Phase::Validate {
            webhooks.push(probe_webhook(site, &bundle));
        }
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
            "metadata": {"name": self.name(site.namespace), "labels": {OWNER.0: OWNER.1}},
            "webhooks": webhooks,
        })
    }
}

fn webhook(manifest: &Manifest, rule: &WebhookRule, site: &Site<'_>, bundle: &str) -> Option<Value> {
    let kinds: Vec<&ParentKind> =
        manifest.kinds.iter().filter(|kind| kind.kind == rule.kind && scope::is_guarded(kind)).collect();
    let mut versions: BTreeMap<(&str, &str, &str), Vec<&str>> = BTreeMap::new();
    for kind in &kinds {
        let version = kind.api_version.rsplit('/').next().unwrap_or_default();
        let scope = if kind.scope == Scope::Cluster { "Cluster" } else { "Namespaced" };
        versions.entry((scope::group(kind), &kind.plural, scope)).or_default().push(version);
    }
    let rules: Vec<Value> = versions
        .into_iter()
        .map(|((group, plural, scope), versions)| {
            json!({"apiGroups": [group], "apiVersions": versions, "resources": [plural], "scope": scope,
                "operations": rule.operations})
        })
        .collect();
    let selector = scope::selector(kinds.first()?, site.namespace);
    let mut webhook = json!({
        "name": rule.name, "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail",
        "matchPolicy": "Equivalent", "timeoutSeconds": TIMEOUT_SECONDS, "rules": rules,
        "namespaceSelector": selector, "objectSelector": {},
        "clientConfig": site.target.client_config(&rule.path, bundle),
    });
    // Another webhook may add what wants defaults too.
    if let (Phase::Mutate, Some(map)) = (rule.phase, webhook.as_object_mut()) {
        map.insert("reinvocationPolicy".to_owned(), "IfNeeded".into());
    }
    Some(webhook)
}

/// The webhook that the self-test goes through. It fails closed, so that the API server says why it does not get through; it concerns
/// nobody but the probes, which are never stored.
fn probe_webhook(site: &Site<'_>, bundle: &str) -> Value {
    json!({
        "name": probe::WEBHOOK, "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail",
        "matchPolicy": "Exact", "timeoutSeconds": TIMEOUT_SECONDS,
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "scope": "Namespaced",
            "operations": ["CREATE"]}],
        "namespaceSelector": scope::only(site.namespace),
        "objectSelector": {"matchLabels": {probe::LABEL: "true"}},
        "clientConfig": site.target.client_config(probe::PATH, bundle),
    })
}

/// Whether `live` already says what is wanted: nothing of it is missing or different, and no entry leads to us that is not wanted.
pub(crate) fn is_there(live: &Value, wanted: &Value, target: &Target) -> bool {
    const LIST: &str = "webhooks";
    let named = |value: &Value| value.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let entries = |value: &Value| -> BTreeMap<String, Value> {
        let list = value.get(LIST).and_then(Value::as_array);
        list.into_iter().flatten().map(|entry| (named(entry), entry.clone())).collect()
    };
    let (there, here) = (entries(live), entries(wanted));
    let leads_here = |entry: &Value| entry.get("clientConfig").is_some_and(|config| target.is(config));
    let stale = there.iter().any(|(name, entry)| !here.contains_key(name) && leads_here(entry));
    let complete = here.iter().all(|(name, entry)| there.get(name).is_some_and(|there| covers(there, entry)));
    let rest = |value: &Value| {
        let mut value = value.clone();
        value.as_object_mut().map(|map| map.remove(LIST));
        value
    };
    !stale && complete && covers(&rest(live), &rest(wanted))
}

/// Adds those webhooks of `live` to what is wanted that lead to us and that nobody asks for: nobody knows whose they are, and dropping them
/// would let through what a module is to judge. They trust what the others trust.
pub(crate) fn keep_ours(live: &Value, wanted: &mut Value, target: &Target) {
    let list = |value: &Value| value.get("webhooks").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut entries = list(wanted);
    let bundle = entries.first().and_then(|entry| entry.pointer("/clientConfig/caBundle")).cloned();
    let leads_here = |entry: &Value| entry.get("clientConfig").is_some_and(|config| target.is(config));
    let name = |entry: &Value| entry.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let named: BTreeSet<String> = entries.iter().map(name).collect();
    for mut entry in list(live).into_iter().filter(leads_here) {
        if named.contains(&name(&entry)) {
            continue;
        }
        if let (Some(bundle), Some(config)) = (&bundle, entry.get_mut("clientConfig").and_then(Value::as_object_mut)) {
            config.insert("caBundle".to_owned(), bundle.clone());
        }
        entries.push(entry);
    }
    if let (Some(map), false) = (wanted.as_object_mut(), entries.is_empty()) {
        map.insert("webhooks".to_owned(), entries.into());
    }
}

/// Whether everything in `wanted` is in `live`, with the same value. Lists are compared whole.
fn covers(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => {
            wanted.iter().all(|(key, wanted)| live.get(key).is_some_and(|live| covers(live, wanted)))
        }
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len() && live.iter().zip(wanted).all(|(live, wanted)| covers(live, wanted))
        }
        (live, wanted) => live == wanted,
    }
}

/// Whether every `caBundle` for our server in this object holds all these certificates; false when it has none.
pub(crate) fn trusts(live: &Value, target: &Target, pem: &str) -> bool {
    let webhooks = live.get("webhooks").and_then(Value::as_array).into_iter().flatten();
    let configs = webhooks.filter_map(|webhook| webhook.get("clientConfig"));
    let configs: Vec<&Value> = configs.chain(live.pointer("/spec/conversion/webhook/clientConfig")).collect();
    let wanted = certificates(pem.as_bytes());
    let mut ours = configs.into_iter().filter(|config| target.is(config)).peekable();
    ours.peek().is_some()
        && ours.all(|config| {
            let bundle = config.get("caBundle").and_then(Value::as_str).and_then(|text| STANDARD.decode(text).ok());
            wanted.is_subset(&certificates(&bundle.unwrap_or_default()))
        })
}

fn certificates(pem: &[u8]) -> BTreeSet<Vec<u8>> {
    CertificateDer::pem_slice_iter(pem).filter_map(|found| Some(found.ok()?.to_vec())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stub::manifest;

    fn target() -> Target {
        Target::Service { namespace: "own".into(), name: "s".into() }
    }

    fn wanted(place: &Place, manifests: &[Manifest], bundle: &str) -> Value {
        place.wanted(manifests, &Site { target: &target(), namespace: "own" }, bundle)
    }

    /// The module that asked for it cannot be read: dropping its webhooks would let through what it is to judge.
    #[test]
    fn webhooks_that_lead_here_and_that_nobody_asks_for_can_be_kept_and_those_of_others_are_not_ours() {
        let bundle = |value: &Value| value["webhooks"][0]["clientConfig"]["caBundle"].clone();
        let before = wanted(&Place::Validating, &[manifest("m"), manifest("n")], "old");
        let mut now = wanted(&Place::Validating, &[manifest("m")], "new");
        let fresh = bundle(&now);
        let mut live = before.clone();
        live["webhooks"]
            .as_array_mut()
            .unwrap()
            .push(json!({"name": "other", "clientConfig": {"url": "https://other"}}));
        keep_ours(&live, &mut now, &target());
        let names: Vec<&str> = now["webhooks"].as_array().unwrap().iter().filter_map(|w| w["name"].as_str()).collect();
        assert!(names.contains(&"vn.example.org") && !names.contains(&"other"), "{names:?}");
        assert_eq!(names.len(), before["webhooks"].as_array().unwrap().len());
        let all = now["webhooks"].as_array().unwrap();
        assert!(
            all.iter().all(|webhook| webhook["clientConfig"]["caBundle"] == fresh),
            "they trust what the others trust"
        );
    }

    #[test]
    fn a_mutating_webhook_is_registered_as_its_manifest_says() {
        let value = wanted(&Place::Mutating, &[manifest("m")], "pem");
        assert_eq!(value["metadata"]["name"], "scone-mutating-webhook-configuration-own");
        assert_eq!(
            value["webhooks"],
            json!([{"name": "mm.example.org", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                "failurePolicy": "Fail", "matchPolicy": "Equivalent", "timeoutSeconds": 5, "reinvocationPolicy": "IfNeeded",
                "rules": [{"apiGroups": ["m.example.org"], "apiVersions": ["v1", "v2"], "resources": ["things"],
                    "scope": "Namespaced", "operations": ["CREATE", "UPDATE", "DELETE"]}],
                "namespaceSelector": {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "NotIn",
                    "values": ["kube-system"]}]},
                "objectSelector": {},
                "clientConfig": {"service": {"namespace": "own", "name": "s", "path": "/mutate-m", "port": 443},
                    "caBundle": "cGVt"}}])
        );
    }

    #[test]
    fn the_validating_configuration_ends_with_the_probe() {
        let value = wanted(&Place::Validating, &[manifest("m")], "pem");
        let names: Vec<&str> =
            value["webhooks"].as_array().unwrap().iter().map(|w| w["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["vm.example.org", probe::WEBHOOK]);
    }

    #[test]
    fn a_module_that_wants_to_guard_leases_gets_no_webhook() {
        let mut greedy = manifest("m");
        for kind in &mut greedy.kinds {
            kind.api_version = "coordination.k8s.io/v1".into();
        }
        assert_eq!(wanted(&Place::Mutating, &[greedy], "pem")["webhooks"], json!([]));
    }

    #[test]
    fn every_place_with_a_bundle_is_listed_once() {
        let crd = |name: &str| Place::Conversion(format!("things.{name}.example.org"));
        let places = places(&[manifest("m"), manifest("n")]);
        assert_eq!(places, [Place::Mutating, Place::Validating, crd("m"), crd("n")]);
        for place in &places {
            assert!(trusts(&wanted(place, &[manifest("m")], ""), &target(), ""), "{place:?} has a bundle");
        }
    }

    #[test]
    fn a_crd_of_one_version_or_without_conversion_is_no_place() {
        let mut single = manifest("m");
        for kind in &mut single.kinds {
            kind.crd["spec"]["conversion"] = Value::Null;
        }
        assert_eq!(places(&[single]), [Place::Mutating, Place::Validating]);
    }

    #[test]
    fn what_the_server_defaults_and_reorders_is_no_difference() {
        let wanted = wanted(&Place::Validating, &[manifest("m")], "pem");
        let mut live = wanted.clone();
        live["metadata"]["generation"] = 3.into();
        live["webhooks"][0]["matchConditions"] = json!([]);
        live["webhooks"].as_array_mut().unwrap().reverse();
        assert!(is_there(&live, &wanted, &target()));
    }

    #[test]
    fn another_bundle_a_missing_webhook_and_a_stale_one_are_differences() {
        let both = wanted(&Place::Validating, &[manifest("m"), manifest("n")], "pem");
        let one = wanted(&Place::Validating, &[manifest("m")], "pem");
        assert!(!is_there(&one, &wanted(&Place::Validating, &[manifest("m")], "other"), &target()));
        assert!(!is_there(&one, &both, &target()), "one is missing");
        assert!(!is_there(&both, &one, &target()), "one is stale");
    }

    #[test]
    fn a_webhook_of_somebody_else_in_the_same_configuration_is_left_alone() {
        let wanted = wanted(&Place::Validating, &[manifest("m")], "pem");
        let mut live = wanted.clone();
        live["webhooks"].as_array_mut().unwrap().push(json!({"name": "x", "clientConfig": {"url": "https://x"}}));
        assert!(is_there(&live, &wanted, &target()));
    }
}
