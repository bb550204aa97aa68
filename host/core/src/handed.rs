//! Rights that a module hands on: what the roles among its children may allow, and what its bindings may bind to.
//!
//! The API server lets the host hand on whatever the host holds, which is what all modules need together. One module gets no further
//! than its own manifest says.

use std::collections::BTreeSet;

use operator_contract::{Grants, RoleRule};
use serde_json::Value;

use crate::{Child, ObjectRef, grants::Ungranted};

const GROUP: &str = "rbac.authorization.k8s.io/";

/// Whether an object is a role.
pub(crate) fn is_role(identity: &ObjectRef) -> bool {
    identity.api_version.starts_with(GROUP) && identity.kind.ends_with("Role")
}

/// Whether an object is a binding, which may rest on roles of the same answer.
pub(crate) fn is_binding(identity: &ObjectRef) -> bool {
    identity.api_version.starts_with(GROUP) && identity.kind.ends_with("Binding")
}

/// Whether a child hands on no more than is granted. `all` are the children of the answer, to whose roles bindings may refer.
pub(crate) fn check(grants: &Grants, identity: &ObjectRef, document: &Value, all: &[Child]) -> Result<(), Ungranted> {
    if !identity.api_version.starts_with(GROUP) {
        return Ok(());
    }
    match identity.kind.as_str() {
        "Role" | "ClusterRole" => role(grants, identity, document),
        _ if is_binding(identity) => binding(grants, identity, document, all),
        _ => Ok(()),
    }
}

fn role(grants: &Grants, identity: &ObjectRef, document: &Value) -> Result<(), Ungranted> {
    if document.get("aggregationRule").is_some_and(|rule| !rule.is_null()) {
        return Err(Ungranted {
            what: format!("the aggregation of {identity}"),
            fix: "name its rules one by one".into(),
        });
    }
    for rule in document.get("rules").and_then(Value::as_array).into_iter().flatten() {
        if let Some(path) = words(rule, "nonResourceURLs").first() {
            let fix = "no grant covers URLs; leave them out".into();
            return Err(Ungranted { what: format!("{path} in {identity}"), fix });
        }
        for (group, resource, verb) in rights(rule) {
            let covers = |granted: &RoleRule| {
                let has = |list: &[String], word: &str| list.iter().any(|other| other == word);
                has(&granted.api_groups, group) && has(&granted.resources, resource) && has(&granted.verbs, verb)
            };
            if !grants.roles.iter().any(covers) {
                let group = if group.is_empty() { String::new() } else { format!(" of {group}") };
                return Err(Ungranted {
                    what: format!("{verb} on {resource}{group} in {identity}"),
                    fix: "let grants.roles of its manifest cover it".into(),
                });
            }
        }
    }
    Ok(())
}

fn rights(rule: &Value) -> BTreeSet<(&str, &str, &str)> {
    let (groups, resources, verbs) = (words(rule, "apiGroups"), words(rule, "resources"), words(rule, "verbs"));
    let pairs = groups.iter().flat_map(|group| resources.iter().map(move |resource| (*group, *resource)));
    pairs.flat_map(|(group, resource)| verbs.iter().map(move |verb| (group, resource, *verb))).collect()
}

fn words<'a>(rule: &'a Value, list: &str) -> Vec<&'a str> {
    rule.get(list).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

fn binding(grants: &Grants, identity: &ObjectRef, document: &Value, all: &[Child]) -> Result<(), Ungranted> {
    let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (kind, name) = (text("/roleRef/kind"), text("/roleRef/name"));
    let own = all.iter().map(|child| &child.identity).any(|child| {
        child.api_version.starts_with(GROUP)
            && child.kind == kind
            && child.name == name
            && (kind == "ClusterRole" || child.namespace == identity.namespace)
    });
    if own || (kind == "ClusterRole" && grants.binds.iter().any(|granted| granted == name)) {
        return Ok(());
    }
    Err(Ungranted {
        what: format!("{identity} to {kind} {name}"),
        fix: "bind to a role of the same answer, or name the ClusterRole in grants.binds of its manifest".into(),
    })
}

#[cfg(test)]
mod tests {
    use operator_contract::Manifest;
    use serde_json::json;

    use super::*;
    use crate::{Document, Readiness, Strategy};

    fn grants() -> Grants {
        let manifest: Manifest = serde_json::from_value(json!({
            "name": "m", "version": "1.0.0", "contract": "1.0.0", "codec": "json/1", "kinds": [],
            "grants": {
                "roles": [{"apiGroups": ["", "apps"], "resources": ["pods", "pods/log"], "verbs": ["get", "list"]}],
                "binds": ["view"],
            },
        }))
        .unwrap();
        manifest.grants
    }

    fn object(kind: &str, namespace: Option<&str>) -> ObjectRef {
        let identity = ObjectRef::cluster("rbac.authorization.k8s.io/v1", kind, "r");
        ObjectRef { namespace: namespace.map(str::to_owned), ..identity }
    }

    fn allowed(rules: Value) -> Result<(), String> {
        let document = json!({"rules": rules});
        check(&grants(), &object("Role", Some("a")), &document, &[]).map_err(|error| error.to_string())
    }

    #[test]
    fn a_role_may_allow_what_is_granted_and_less() {
        let all = json!([{"apiGroups": ["", "apps"], "resources": ["pods", "pods/log"], "verbs": ["get", "list"]}]);
        assert_eq!(allowed(all), Ok(()));
        let less = json!([{"apiGroups": [""], "resources": ["pods"], "resourceNames": ["one"], "verbs": ["get"]}]);
        assert_eq!(allowed(less), Ok(()));
        assert_eq!(allowed(json!([])), Ok(()));
    }

    #[test]
    fn what_a_role_may_not_allow_is_named() {
        for (rule, named) in [
            (json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "delete"]}), "delete on pods in"),
            (json!({"apiGroups": [""], "resources": ["*"], "verbs": ["get"]}), "get on * in"),
            (json!({"apiGroups": ["batch"], "resources": ["pods"], "verbs": ["get"]}), "get on pods of batch in"),
            (json!({"nonResourceURLs": ["/metrics"], "verbs": ["get"]}), "/metrics in"),
        ] {
            let error = allowed(json!([rule])).unwrap_err();
            assert!(error.starts_with(named), "{error}");
        }
        let gathered = json!({"aggregationRule": {"clusterRoleSelectors": []}});
        assert!(check(&grants(), &object("ClusterRole", None), &gathered, &[]).is_err());
    }

    #[test]
    fn a_binding_names_a_role_of_the_same_answer_or_a_granted_one() {
        let own = |namespace: &str| Child {
            identity: object("Role", Some(namespace)),
            document: Document::from_value(&json!({})),
            strategy: Strategy::Apply,
            stage: 0,
            readiness: Readiness::Exists,
        };
        let bound = |kind: &str, name: &str, all: &[Child]| {
            let document = json!({"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}});
            check(&grants(), &object("RoleBinding", Some("a")), &document, all).is_ok()
        };
        assert!(bound("Role", "r", &[own("a")]));
        assert!(!bound("Role", "r", &[own("b")]), "that of another namespace");
        assert!(!bound("Role", "view", &[]), "a Role is no ClusterRole");
        assert!(bound("ClusterRole", "view", &[]));
        assert!(!bound("ClusterRole", "cluster-admin", &[]));
    }
}
