//! Rights as roles say them: groups, resources, verbs. The same modules give the same roles, whatever order they come in.

use std::collections::{BTreeMap, BTreeSet};

use operator_contract::Manifest;
use serde::Serialize;

use crate::rights::{Right, needed};

/// One rule of a role.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// API groups; `""` is the one without a name.
    pub api_groups: Vec<String>,
    /// Resources, with their subresources.
    pub resources: Vec<String>,
    /// Which of them; all when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    /// Verbs.
    pub verbs: Vec<String>,
}

/// What several modules need together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Roles {
    /// In the whole cluster.
    pub cluster: Vec<Rule>,
    /// In one namespace, by its name: what is not needed in the whole cluster.
    pub namespaces: BTreeMap<String, Vec<Rule>>,
}

/// A kind whose resource is not known: modules name kinds, roles name resources, and no rule leads from one to the other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{module}: the resource of {api_version} {kind} is not known; name it with --resource {kind}=PLURAL, or name the module that serves the kind as well"
)]
pub struct UnknownResource {
    /// Which module.
    pub module: String,
    /// Group and version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
}

/// Group and resource → verbs.
type Sum = BTreeMap<(String, String), BTreeSet<String>>;

/// The least that these modules need. `resources` names plurals of kinds that neither Kubernetes nor one of the modules serves.
///
/// # Errors
/// When the resource of a kind is not known.
pub fn least(manifests: &[&Manifest], resources: &BTreeMap<String, String>) -> Result<Roles, UnknownResource> {
    let served = manifests.iter().flat_map(|manifest| &manifest.kinds);
    let known: BTreeMap<(&str, &str), &str> =
        served.map(|kind| ((group(&kind.api_version), kind.kind.as_str()), kind.plural.as_str())).collect();
    let (mut cluster, mut namespaces) = (Sum::new(), BTreeMap::<String, Sum>::new());
    for manifest in manifests {
        for right in needed(manifest, &manifest.grants) {
            let group = group(&right.api_version);
            let given = resources.get(&right.kind).map(String::as_str);
            let plural = given.or_else(|| known.get(&(group, right.kind.as_str())).copied()).map(str::to_owned);
            let plural = plural.or_else(|| builtin(group, &right.kind)).ok_or_else(|| UnknownResource {
                module: manifest.name.clone(),
                api_version: right.api_version.clone(),
                kind: right.kind.clone(),
            })?;
            add(&mut cluster, &mut namespaces, &right, (group.to_owned(), plural));
        }
        // Nobody can hand on what he lacks.
        for rule in &manifest.grants.roles {
            for (group, resource) in rule.api_groups.iter().flat_map(|g| rule.resources.iter().map(move |r| (g, r))) {
                cluster.entry((group.clone(), resource.clone())).or_default().extend(rule.verbs.iter().cloned());
            }
        }
    }
    let bound: BTreeSet<&String> = manifests.iter().flat_map(|manifest| &manifest.grants.binds).collect();
    let beyond = |sum: Sum| {
        let left = sum.into_iter().map(|(key, verbs)| {
            let everywhere = cluster.get(&key).cloned().unwrap_or_default();
            (key, verbs.difference(&everywhere).cloned().collect::<BTreeSet<_>>())
        });
        rules(left.filter(|(_, verbs)| !verbs.is_empty()).collect())
    };
    let namespaces = namespaces.into_iter().map(|(name, sum)| (name, beyond(sum)));
    Ok(Roles {
        namespaces: namespaces.filter(|(_, rules)| !rules.is_empty()).collect(),
        cluster: rules(cluster.clone()).into_iter().chain(binding(&bound)).collect(),
    })
}

fn add(cluster: &mut Sum, namespaces: &mut BTreeMap<String, Sum>, right: &Right, (group, plural): (String, String)) {
    let sub = right.subresource.as_ref().map(|sub| format!("/{sub}")).unwrap_or_default();
    let key = (group, format!("{plural}{sub}"));
    let verbs = || right.verbs.iter().map(|&verb| verb.to_owned());
    match &right.namespaces {
        None => cluster.entry(key).or_default().extend(verbs()),
        Some(names) => {
            for name in names {
                namespaces.entry(name.clone()).or_default().entry(key.clone()).or_default().extend(verbs());
            }
        }
    }
}

/// Resources of one group with the same verbs share a rule.
fn rules(sum: Sum) -> Vec<Rule> {
    let mut shared = BTreeMap::<(String, Vec<String>), Vec<String>>::new();
    for ((group, resource), verbs) in sum {
        shared.entry((group, verbs.into_iter().collect())).or_default().push(resource);
    }
    let rule =
        |((group, verbs), resources)| Rule { api_groups: vec![group], resources, resource_names: Vec::new(), verbs };
    let mut rules: Vec<Rule> = shared.into_iter().map(rule).collect();
    rules.sort();
    rules
}

/// The right to bind to roles without holding what they allow.
fn binding(names: &BTreeSet<&String>) -> Option<Rule> {
    (!names.is_empty()).then(|| Rule {
        api_groups: vec!["rbac.authorization.k8s.io".to_owned()],
        resources: vec!["clusterroles".to_owned()],
        resource_names: names.iter().map(|&name| name.clone()).collect(),
        verbs: vec!["bind".to_owned()],
    })
}

fn group(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// The resource of a kind of Kubernetes' own, whose plurals keep to one rule with one exception.
fn builtin(group: &str, kind: &str) -> Option<String> {
    if group.contains('.') && !group.ends_with(".k8s.io") {
        return None;
    }
    let singular = kind.to_ascii_lowercase();
    let hisses = ["s", "x", "ch", "sh"].iter().any(|end| singular.ends_with(end));
    Some(match singular.strip_suffix('y') {
        _ if kind == "Endpoints" => singular,
        _ if hisses => format!("{singular}es"),
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{stem}ies"),
        _ => format!("{singular}s"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn manifest(name: &str, grants: Value) -> Manifest {
        serde_json::from_value(json!({
            "name": name, "version": "1.0.0", "contract": "1.0.0", "codec": "json/1", "grants": grants,
            "kinds": [{"apiVersion": "example.org/v1", "kind": "Goose", "plural": "geese", "scope": "Namespaced", "crd": {}}],
        }))
        .unwrap()
    }

    fn of(manifests: &[&Manifest]) -> Value {
        serde_json::to_value(least(manifests, &BTreeMap::new()).unwrap()).unwrap()
    }

    #[test]
    fn a_module_gets_what_its_kind_and_its_grants_need() {
        let module = manifest("m", json!({"children": [{"apiVersion": "apps/v1", "kind": "DaemonSet"}]}));
        assert_eq!(
            of(&[&module])["cluster"],
            json!([
                {"apiGroups": ["apps"], "resources": ["daemonsets"],
                    "verbs": ["create", "delete", "get", "list", "patch", "watch"]},
                {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]},
                {"apiGroups": ["example.org"], "resources": ["geese"], "verbs": ["get", "list", "patch", "watch"]},
                {"apiGroups": ["example.org"], "resources": ["geese/finalizers"], "verbs": ["update"]},
                {"apiGroups": ["example.org"], "resources": ["geese/status"], "verbs": ["patch"]},
            ])
        );
    }

    #[test]
    fn what_a_module_hands_on_the_operator_has_to_hold() {
        let module = manifest(
            "m",
            json!({
                "roles": [{"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["update"]}],
                "binds": ["view"],
            }),
        );
        let rules = of(&[&module])["cluster"].clone();
        let held = json!({"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["update"]});
        let bound = json!({
            "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "resourceNames": ["view"], "verbs": ["bind"],
        });
        assert!(rules.as_array().unwrap().contains(&held), "{rules}");
        assert!(rules.as_array().unwrap().contains(&bound), "{rules}");
    }

    #[test]
    fn the_order_of_modules_changes_nothing() {
        let one = manifest("one", json!({"objects": [{"apiVersion": "v1", "kind": "Pod"}]}));
        let two = manifest("two", json!({"partials": [{"apiVersion": "v1", "kind": "Node", "labels": ["a"]}]}));
        assert_eq!(of(&[&one, &two]), of(&[&two, &one]));
    }

    #[test]
    fn what_is_needed_in_one_namespace_only_is_granted_there_only() {
        let grants = json!({"children": [{"apiVersion": "v1", "kind": "Secret", "namespaces": {"named": ["own"]}}]});
        let roles = of(&[&manifest("m", grants)]);
        assert_eq!(
            roles["namespaces"],
            json!({"own": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["create", "delete", "patch"]}]})
        );
        assert_eq!(roles["cluster"][0]["verbs"], json!(["get", "list", "watch"]), "watches are for all namespaces");
    }

    #[test]
    fn plurals_of_kubernetes_own_kinds_are_right() {
        for (group, kind, plural) in [
            ("", "Endpoints", "endpoints"),
            ("", "Pod", "pods"),
            ("networking.k8s.io", "NetworkPolicy", "networkpolicies"),
            ("networking.k8s.io", "Ingress", "ingresses"),
            ("storage.k8s.io", "StorageClass", "storageclasses"),
            ("gateway.networking.k8s.io", "Gateway", "gateways"),
            ("policy", "PodDisruptionBudget", "poddisruptionbudgets"),
        ] {
            assert_eq!(builtin(group, kind).as_deref(), Some(plural));
        }
    }

    #[test]
    fn the_resource_of_a_strangers_kind_is_asked_for() {
        let module = manifest("m", json!({"objects": [{"apiVersion": "cert.example.com/v1", "kind": "Ox"}]}));
        let error = least(&[&module], &BTreeMap::new()).unwrap_err();
        assert!(error.to_string().contains("--resource Ox=PLURAL"), "{error}");
        let named = least(&[&module], &[("Ox".to_owned(), "oxen".to_owned())].into()).unwrap();
        assert!(named.cluster.iter().any(|rule| rule.resources == ["oxen"]));
    }
}
