//! What an administrator allows each module. A module asks in its manifest; what it asks for beyond this, it does not get, and is not
//! loaded. Who may only put another package into a folder can so widen nothing.

use std::collections::{BTreeMap, BTreeSet};

use operator_contract::{
    Grants, HttpRule, KindRule, Manifest, NamespaceRule, ObjectRule, PartialRule, PodRule, RoleRule, SecretRule,
};
use serde::{Deserialize, Serialize};

use crate::grants::{host_covers, key_covers, lies_in};

/// What each module may do, by the module's name. One that is not named may do nothing.
pub type Allowances = BTreeMap<String, Allowance>;

/// What one module may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Allowance {
    /// The kinds whose objects it may serve: it writes their status, and reads them.
    pub kinds: Vec<ServedKind>,
    /// What its manifest may ask for.
    pub grants: Grants,
    /// What becomes of objects that it cannot clean up after.
    #[serde(skip_serializing_if = "Finalizers::is_default")]
    pub finalizers: Finalizers,
}

/// A kind that a module may serve.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServedKind {
    /// Group and version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
}

/// What becomes of objects that a module cannot clean up after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Finalizers {
    /// Seconds after which an object is let go that is being deleted, when its module always fails, is refused, or is gone. What belongs to
    /// it may then be left behind. Never when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release_after: Option<u32>,
}

impl Finalizers {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "that is how serde calls it")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Allowance {
    /// Exactly what a manifest asks for.
    pub fn of(manifest: &Manifest) -> Self {
        let kinds = manifest.kinds.iter();
        let kinds: BTreeSet<ServedKind> =
            kinds.map(|k| ServedKind { api_version: k.api_version.clone(), kind: k.kind.clone() }).collect();
        Self { kinds: kinds.into_iter().collect(), grants: manifest.grants.clone(), finalizers: Finalizers::default() }
    }

    /// What a manifest asks for and this does not allow, one line for each rule, as it would have to be added; empty when all is allowed.
    pub fn lacks(&self, manifest: &Manifest) -> Vec<String> {
        let (asked, granted) = (Self::of(manifest), &self.grants);
        let mut lacking = lines("kinds", &asked.kinds, |kind| self.kinds.contains(kind));
        let asked = &asked.grants;
        lacking
            .extend(lines("grants.children", &asked.children, |rule| granted.children.iter().any(|by| kind(rule, by))));
        lacking.extend(lines("grants.partials", &asked.partials, |rule| partial(rule, &granted.partials)));
        lacking
            .extend(lines("grants.objects", &asked.objects, |rule| granted.objects.iter().any(|by| object(rule, by))));
        lacking
            .extend(lines("grants.podLogs", &asked.pod_logs, |rule| granted.pod_logs.iter().any(|by| pod(rule, by))));
        lacking
            .extend(lines("grants.commands", &asked.commands, |rule| granted.commands.iter().any(|by| pod(rule, by))));
        lacking.extend(lines("grants.http", &asked.http, |rule| granted.http.iter().any(|by| http(rule, by))));
        lacking
            .extend(lines("grants.secrets", &asked.secrets, |rule| granted.secrets.iter().any(|by| secret(rule, by))));
        lacking.extend(lines("grants.delete", &asked.delete, |rule| granted.delete.iter().any(|by| kind(rule, by))));
        lacking.extend(lines("grants.roles", &asked.roles, |rule| role(rule, &granted.roles)));
        lacking.extend(lines("grants.binds", &asked.binds, |name| granted.binds.contains(name)));
        lacking
    }
}

fn lines<T: Serialize>(list: &str, asked: &[T], granted: impl Fn(&T) -> bool) -> Vec<String> {
    let text = |rule: &T| serde_json::to_string(rule).unwrap_or_default();
    asked.iter().filter(|rule| !granted(rule)).map(|rule| format!("{list}: {}", text(rule))).collect()
}

fn namespaces(asked: &NamespaceRule, by: &NamespaceRule) -> bool {
    match (asked, by) {
        (_, NamespaceRule::All) => true,
        (NamespaceRule::Named(asked), NamespaceRule::Named(by)) => asked.iter().all(|name| by.contains(name)),
        (asked, by) => asked == by,
    }
}

fn kind(asked: &KindRule, by: &KindRule) -> bool {
    (&asked.api_version, &asked.kind) == (&by.api_version, &by.kind) && namespaces(&asked.namespaces, &by.namespaces)
}

/// Each label, annotation and field by some rule: two narrow ones may cover what one asks for.
fn partial(asked: &PartialRule, granted: &[PartialRule]) -> bool {
    let all = NamespaceRule::All;
    let here = |by: &&PartialRule| {
        let (wanted, there) = (asked.namespaces.as_ref().unwrap_or(&all), by.namespaces.as_ref().unwrap_or(&all));
        (&asked.api_version, &asked.kind) == (&by.api_version, &by.kind) && namespaces(wanted, there)
    };
    let by: Vec<&PartialRule> = granted.iter().filter(here).collect();
    let keys = |asked: &[String], granted: fn(&PartialRule) -> &Vec<String>| {
        asked.iter().all(|key| by.iter().any(|rule| granted(rule).iter().any(|pattern| key_covers(pattern, key))))
    };
    keys(&asked.labels, |rule| &rule.labels)
        && keys(&asked.annotations, |rule| &rule.annotations)
        && asked.fields.iter().all(|field| by.iter().any(|rule| rule.fields.contains(field)))
        && !by.is_empty()
}

fn object(asked: &ObjectRule, by: &ObjectRule) -> bool {
    let fields = by.fields.is_empty()
        || (!asked.fields.is_empty() && asked.fields.iter().all(|field| by.fields.iter().any(|by| lies_in(field, by))));
    let same = (&asked.api_version, &asked.kind) == (&by.api_version, &by.kind);
    same && fields && namespaces(&asked.namespaces, &by.namespaces)
}

fn pod(asked: &PodRule, by: &PodRule) -> bool {
    namespaces(&asked.namespaces, &by.namespaces)
        && by.labels.iter().all(|(key, value)| asked.labels.get(key) == Some(value))
        && asked.containers.iter().all(|container| by.containers.contains(container))
        && asked.programs.iter().all(|program| by.programs.contains(program))
}

fn http(asked: &HttpRule, by: &HttpRule) -> bool {
    let ports =
        by.ports.is_empty() || (!asked.ports.is_empty() && asked.ports.iter().all(|port| by.ports.contains(port)));
    host_covers(&by.host, &asked.host) && ports && asked.methods.iter().all(|method| by.methods.contains(method))
}

fn secret(asked: &SecretRule, by: &SecretRule) -> bool {
    asked.names.iter().all(|name| by.names.iter().any(|pattern| key_covers(pattern, name)))
        && asked.hosts.iter().all(|host| by.hosts.iter().any(|pattern| host_covers(pattern, host)))
        && by.labels.iter().all(|(key, value)| asked.labels.get(key) == Some(value))
}

/// Each verb on each resource by some rule.
fn role(asked: &RoleRule, granted: &[RoleRule]) -> bool {
    let covered = |group: &String, resource: &String, verb: &String| {
        let by = |rule: &RoleRule| {
            rule.api_groups.contains(group) && rule.resources.contains(resource) && rule.verbs.contains(verb)
        };
        granted.iter().any(by)
    };
    asked.api_groups.iter().all(|group| {
        asked.resources.iter().all(|resource| asked.verbs.iter().all(|verb| covered(group, resource, verb)))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn manifest(grants: &Value) -> Manifest {
        serde_json::from_value(json!({
            "name": "m", "version": "1.0.0", "contract": "1.0.0", "codec": "json/1", "grants": grants,
            "kinds": [{"apiVersion": "example.org/v1", "kind": "Thing", "plural": "things", "scope": "Namespaced", "crd": {}}],
        }))
        .unwrap()
    }

    /// Whether a module that asks for `asked` is allowed it by `granted`.
    fn allows(granted: &Value, asked: &Value) -> bool {
        Allowance::of(&manifest(granted)).lacks(&manifest(asked)).is_empty()
    }

    #[test]
    fn what_a_manifest_asks_for_is_what_it_needs() {
        let asked = json!({"children": [{"apiVersion": "v1", "kind": "Secret", "namespaces": "all"}]});
        assert!(allows(&asked, &asked));
    }

    #[test]
    fn what_is_missing_is_told_as_it_would_have_to_be_added() {
        let asked = manifest(&json!({"children": [{"apiVersion": "v1", "kind": "Secret", "namespaces": "all"}]}));
        assert_eq!(
            Allowance::default().lacks(&asked),
            [
                r#"kinds: {"apiVersion":"example.org/v1","kind":"Thing"}"#,
                r#"grants.children: {"apiVersion":"v1","kind":"Secret","namespaces":"all"}"#,
            ]
        );
    }

    #[test]
    fn a_wider_rule_allows_a_narrower_one_and_never_the_other_way_round() {
        let named = |names: &[&str]| json!({"named": names});
        let child = |rule: Value| json!({"children": [{"apiVersion": "v1", "kind": "Secret", "namespaces": rule}]});
        let object = |fields: &[&str]| json!({"objects": [{"apiVersion": "v1", "kind": "Pod", "namespaces": "all", "fields": fields}]});
        let labels = |keys: &[&str]| json!({"partials": [{"apiVersion": "v1", "kind": "Node", "labels": keys}]});
        let pod = |labels: Value, containers: &[&str]| json!({"podLogs": [{"namespaces": "target", "labels": labels, "containers": containers}]});
        let http = |host: &str, ports: &[u16], methods: &[&str]| json!({"http": [{"host": host, "ports": ports, "methods": methods}]});
        let secret = |name: &str, labels: Value, host: &str| json!({"secrets": [{"names": [name], "labels": labels, "hosts": [host]}]});
        let role = |resources: &[&str], verbs: &[&str]| json!({"roles": [{"apiGroups": [""], "resources": resources, "verbs": verbs}]});
        let wider_and_narrower = [
            (child("all".into()), child("parent".into())),
            (child(named(&["a", "b"])), child(named(&["a"]))),
            (object(&[]), object(&["status"])),
            (object(&["status"]), object(&["status.phase"])),
            (labels(&["example.org/*"]), labels(&["example.org/a", "example.org/b*"])),
            (pod(json!({}), &["a", "b"]), pod(json!({"app": "x"}), &["a"])),
            (http("*.svc", &[], &["GET", "PUT"]), http("cas.svc", &[8081], &["GET"])),
            (http("*", &[443], &["GET"]), http("*.example.org", &[443], &["GET"])),
            (secret("*", json!({}), "*"), secret("pull-*", json!({}), "*.svc")),
            (secret("a", json!({}), "*"), secret("a", json!({"for": "cas"}), "*")),
            (role(&["pods", "nodes"], &["get", "list"]), role(&["pods"], &["list"])),
            (json!({"binds": ["a", "b"]}), json!({"binds": ["b"]})),
        ];
        for (wider, narrower) in wider_and_narrower {
            assert!(allows(&wider, &narrower), "{wider} allows {narrower}");
            assert!(!allows(&narrower, &wider), "{narrower} does not allow {wider}");
        }
    }

    #[test]
    fn rules_of_other_kinds_and_other_lists_allow_nothing() {
        let rule = json!([{"apiVersion": "v1", "kind": "Secret", "namespaces": "all"}]);
        assert!(!allows(&json!({"delete": rule}), &json!({"children": rule})));
        assert!(!allows(&json!({"objects": rule}), &json!({"children": rule})));
        let other = json!([{"apiVersion": "v1", "kind": "ConfigMap", "namespaces": "all"}]);
        assert!(!allows(&json!({"children": other}), &json!({"children": rule})));
    }

    #[test]
    fn a_file_of_an_administrator_can_be_read_and_a_typo_is_no_silent_loss() {
        let text = r#"{"las": {"kinds": [{"apiVersion": "base.scone.cloud/v1", "kind": "LAS"}], "finalizers": {"releaseAfter": 3600}}}"#;
        let allowances: Allowances = serde_json::from_str(text).unwrap();
        assert_eq!(allowances["las"].finalizers.release_after, Some(3600));
        assert!(serde_json::from_str::<Allowances>(r#"{"las": {"finalizer": {}}}"#).is_err());
    }
}
