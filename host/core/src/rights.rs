//! What the host must be allowed to do in the cluster so that a module works: for roles, and for the check at start.

use std::collections::{BTreeMap, BTreeSet};

use operator_contract::{Grants, Manifest, NamespaceRule};

/// Verbs on objects of one kind. Ordered, so that roles made from it are the same each time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// Group and version, such as `apps/v1`.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Subresource, such as `status`.
    pub subresource: Option<String>,
    /// Namespaces; none when it is needed in all of them, or the kind has none.
    pub namespaces: Option<Vec<String>>,
    /// Verbs, as roles name them.
    pub verbs: BTreeSet<&'static str>,
}

const SEE: [&str; 3] = ["get", "list", "watch"];

type Key = (String, String, Option<String>, Option<Vec<String>>);

/// The least that a module needs, one entry for each kind, subresource and set of namespaces.
///
/// Watches are for all namespaces, whatever a rule says: one watch a kind serves all modules.
pub fn needed(manifest: &Manifest, grants: &Grants) -> Vec<Right> {
    let mut rights: BTreeMap<Key, BTreeSet<&'static str>> = BTreeMap::new();
    let mut add =
        |api_version: &str, kind: &str, sub: Option<&str>, namespaces: Option<Vec<String>>, verbs: &[&'static str]| {
            let key = (api_version.to_owned(), kind.to_owned(), sub.map(str::to_owned), namespaces);
            rights.entry(key).or_default().extend(verbs);
        };
    for parent in &manifest.kinds {
        let (api_version, kind) = (&parent.api_version, &parent.kind);
        // The set's label, the inventory and the finalizer are the parent's metadata.
        add(api_version, kind, None, None, &SEE);
        add(api_version, kind, None, None, &["patch"]);
        add(api_version, kind, Some("status"), None, &["patch"]);
        // Owner references that block deletion ask for it where that admission is on.
        add(api_version, kind, Some("finalizers"), None, &["update"]);
    }
    for rule in &grants.children {
        add(&rule.api_version, &rule.kind, None, None, &SEE);
        add(&rule.api_version, &rule.kind, None, named(&rule.namespaces), &["create", "patch", "delete"]);
    }
    for rule in &grants.partials {
        add(&rule.api_version, &rule.kind, None, None, &SEE);
        add(&rule.api_version, &rule.kind, None, None, &["patch"]);
    }
    for rule in &grants.objects {
        add(&rule.api_version, &rule.kind, None, None, &SEE);
    }
    for rule in &grants.delete {
        add(&rule.api_version, &rule.kind, None, named(&rule.namespaces), &["delete"]);
    }
    for rule in &grants.pod_logs {
        add("v1", "Pod", Some("log"), named(&rule.namespaces), &["get"]);
    }
    for rule in &grants.commands {
        add("v1", "Pod", Some("exec"), named(&rule.namespaces), &["create", "get"]);
    }
    if !grants.secrets.is_empty() {
        // Values of headers, certificates of authorities, credentials for registries.
        add("v1", "Secret", None, None, &["get"]);
    }
    add("events.k8s.io/v1", "Event", None, None, &["create"]);
    let right = |((api_version, kind, subresource, namespaces), verbs)| Right {
        api_version,
        kind,
        subresource,
        namespaces,
        verbs,
    };
    rights.into_iter().map(right).collect()
}

/// Only names are known before there is a parent.
fn named(rule: &NamespaceRule) -> Option<Vec<String>> {
    match rule {
        NamespaceRule::Named(names) => Some(names.clone()),
        NamespaceRule::Parent | NamespaceRule::Target | NamespaceRule::All => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lines(grants: &serde_json::Value) -> Vec<String> {
        let manifest: Manifest = serde_json::from_value(json!({
            "name": "m", "version": "1.0.0", "contract": "1.0.0", "codec": "json/1", "kinds": [], "grants": grants,
        }))
        .unwrap();
        let line = |right: &Right| {
            let sub = right.subresource.as_ref().map(|sub| format!("/{sub}")).unwrap_or_default();
            let place = right.namespaces.as_ref().map(|names| format!(" in {}", names.join(","))).unwrap_or_default();
            format!("{}{sub}{place}: {}", right.kind, right.verbs.iter().copied().collect::<Vec<_>>().join(" "))
        };
        needed(&manifest, &manifest.grants).iter().map(line).collect()
    }

    #[test]
    fn a_child_is_seen_everywhere_and_written_where_the_grant_says() {
        let grants = json!({"children": [{"apiVersion": "v1", "kind": "ConfigMap", "namespaces": {"named": ["a"]}}]});
        assert_eq!(
            lines(&grants),
            ["Event: create", "ConfigMap: get list watch", "ConfigMap in a: create delete patch"]
        );
    }

    #[test]
    fn what_a_module_only_asks_about_is_never_written() {
        let grants = json!({"objects": [{"apiVersion": "v1", "kind": "Node"}], "podLogs": [{"namespaces": "target", "containers": ["main"]}]});
        assert_eq!(lines(&grants), ["Event: create", "Node: get list watch", "Pod/log: get"]);
    }

    #[test]
    fn only_requests_that_may_name_secrets_need_to_read_them() {
        let http = json!([{"host": "*", "methods": ["HEAD"]}]);
        assert_eq!(lines(&json!({"http": http})), ["Event: create"]);
        let secrets = json!([{"names": ["*"], "hosts": ["*"]}]);
        assert_eq!(lines(&json!({"http": http, "secrets": secrets})), ["Event: create", "Secret: get"]);
    }

    #[test]
    fn labels_on_objects_of_others_need_patch_and_nothing_more() {
        let grants = json!({"partials": [{"apiVersion": "v1", "kind": "Node", "labels": ["a/*"]}]});
        assert_eq!(lines(&grants), ["Event: create", "Node: get list patch watch"]);
    }
}
