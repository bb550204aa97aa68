//! What a module may do. Denied unless granted, checked when a module is loaded and again in every plan.

use operator_contract::{Grants, HttpRule, KindRule, NamespaceRule, PodRule};
use serde_json::Value;

use crate::{Deed, HttpRequest, ObjectQuery, ObjectRef, Question};

/// The namespaces that the rules `Parent` and `Target` stand for.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The parent's namespace; none for cluster-scoped parents.
    pub parent: Option<&'a str>,
    /// What the parent's `spec.namespace` names, or else the operator's own namespace.
    pub target: &'a str,
}

/// Something that is not granted: what, and the rule that would allow it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is not granted; {fix}")]
pub struct Ungranted {
    /// What was asked.
    pub what: String,
    /// Which grant to add.
    pub fix: String,
}

/// Whether a child may be made.
pub fn child(grants: &Grants, identity: &ObjectRef, place: Place<'_>) -> Result<(), Ungranted> {
    kind_rule(&grants.children, identity, place, "children")
}

/// Whether an object may be deleted by an action.
fn deletion(grants: &Grants, identity: &ObjectRef, place: Place<'_>) -> Result<(), Ungranted> {
    kind_rule(&grants.delete, identity, place, "delete")
}

fn kind_rule(rules: &[KindRule], identity: &ObjectRef, place: Place<'_>, list: &str) -> Result<(), Ungranted> {
    let of_kind = || rules.iter().filter(|r| r.api_version == identity.api_version && r.kind == identity.kind);
    if of_kind().next().is_none() {
        return Err(Ungranted {
            what: identity.to_string(),
            fix: format!("add {} {} to grants.{list} of its manifest", identity.api_version, identity.kind),
        });
    }
    if of_kind().any(|rule| in_namespace(&rule.namespaces, identity.namespace.as_deref(), place)) {
        return Ok(());
    }
    let namespace = identity.namespace.as_deref().unwrap_or("the cluster");
    Err(Ungranted {
        what: format!("{identity} in {namespace}"),
        fix: format!("let grants.{list} of its manifest cover that namespace, or make it elsewhere"),
    })
}

fn in_namespace(rule: &NamespaceRule, namespace: Option<&str>, place: Place<'_>) -> bool {
    match (rule, namespace) {
        (NamespaceRule::All, _) => true,
        (_, None) => false,
        (NamespaceRule::Parent, Some(namespace)) => place.parent == Some(namespace),
        (NamespaceRule::Target, Some(namespace)) => place.target == namespace,
        (NamespaceRule::Named(names), Some(namespace)) => names.iter().any(|name| name == namespace),
    }
}

/// Whether these fields of an object that the module does not own may be set: granted labels and annotations, nothing else.
pub fn partial(grants: &Grants, identity: &ObjectRef, document: &Value) -> Result<(), Ungranted> {
    let rules = || grants.partials.iter().filter(|r| r.api_version == identity.api_version && r.kind == identity.kind);
    for path in leaf_paths(document) {
        let granted = match path.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["apiVersion" | "kind"] | ["metadata", "name" | "namespace"] => true,
            ["metadata", "labels", key] => rules().any(|rule| rule.labels.iter().any(|p| key_matches(p, key))),
            ["metadata", "annotations", key] => {
                rules().any(|rule| rule.annotations.iter().any(|p| key_matches(p, key)))
            }
            _ => false,
        };
        if !granted {
            return Err(Ungranted {
                what: format!("{} of {identity}", path.join(".")),
                fix: format!(
                    "only labels and annotations can be granted; add the key to grants.partials for {}",
                    identity.kind
                ),
            });
        }
    }
    Ok(())
}

fn key_matches(pattern: &str, key: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == key, |prefix| key.starts_with(prefix))
}

fn leaf_paths(value: &Value) -> Vec<Vec<String>> {
    fn walk(value: &Value, at: &mut Vec<String>, out: &mut Vec<Vec<String>>) {
        match value {
            Value::Object(map) if !map.is_empty() => {
                for (key, inner) in map {
                    at.push(key.clone());
                    walk(inner, at, out);
                    at.pop();
                }
            }
            _ => out.push(at.clone()),
        }
    }
    let mut out = Vec::new();
    walk(value, &mut Vec::new(), &mut out);
    out
}

/// Whether a question may be asked.
pub fn question(grants: &Grants, question: &Question, place: Place<'_>) -> Result<(), Ungranted> {
    match question {
        Question::Objects(query) => objects(grants, query, place),
        Question::PodLog(query) => pod(&grants.pod_logs, &query.namespace, &query.container, None, place, "podLogs"),
        Question::Command(query) => {
            let program = query.command.first().map_or("", String::as_str);
            pod(&grants.commands, &query.namespace, &query.container, Some(program), place, "commands")
        }
        Question::Http(request) if matches!(request.method.as_str(), "GET" | "HEAD") => http(&grants.http, request),
        Question::Http(request) => Err(Ungranted {
            what: format!("{} as a query", request.method),
            fix: "queries only read (GET, HEAD); send it as an action".into(),
        }),
    }
}

/// Whether an action may be done.
pub fn deed(grants: &Grants, deed: &Deed, place: Place<'_>) -> Result<(), Ungranted> {
    match deed {
        Deed::Delete { identity, .. } => deletion(grants, identity, place),
        Deed::Http(request) => http(&grants.http, request),
    }
}

fn objects(grants: &Grants, query: &ObjectQuery, place: Place<'_>) -> Result<(), Ungranted> {
    let covers_fields = |granted: &[String]| {
        granted.is_empty()
            || (!query.fields.is_empty()
                && query
                    .fields
                    .iter()
                    .all(|field| granted.iter().any(|g| field == g || field.starts_with(&format!("{g}.")))))
    };
    let granted = grants.objects.iter().any(|rule| {
        rule.api_version == query.api_version
            && rule.kind == query.kind
            && (in_namespace(&rule.namespaces, query.namespace.as_deref(), place)
                || (rule.namespaces == NamespaceRule::All))
            && covers_fields(&rule.fields)
    });
    if granted {
        return Ok(());
    }
    Err(Ungranted {
        what: format!("a query for {} {}", query.api_version, query.kind),
        fix: "let grants.objects of its manifest cover the kind, the namespace and all the fields".into(),
    })
}

fn pod(
    rules: &[PodRule],
    namespace: &str,
    container: &str,
    program: Option<&str>,
    place: Place<'_>,
    list: &str,
) -> Result<(), Ungranted> {
    let granted = rules.iter().any(|rule| {
        in_namespace(&rule.namespaces, Some(namespace), place)
            && rule.containers.iter().any(|c| c == container)
            && program.is_none_or(|program| rule.programs.iter().any(|p| p == program))
    });
    if granted {
        return Ok(());
    }
    Err(Ungranted {
        what: format!(
            "container {container} in namespace {namespace}{}",
            program.map(|p| format!(", program {p}")).unwrap_or_default()
        ),
        fix: format!("let grants.{list} of its manifest cover it"),
    })
}

fn http(rules: &[HttpRule], request: &HttpRequest) -> Result<(), Ungranted> {
    let refused = |fix: &str| Ungranted { what: format!("{} {}", request.method, request.url), fix: fix.into() };
    let (scheme, rest) = request.url.split_once("://").ok_or_else(|| refused("write an absolute URL"))?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(refused("a URL must not carry a user name"));
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, port.parse::<u16>().ok()),
        None => (authority, if scheme == "https" { Some(443) } else { Some(80) }),
    };
    let port = port.ok_or_else(|| refused("write a port between 1 and 65535"))?;
    let granted = rules.iter().any(|rule| {
        host_matches(&rule.host, host)
            && (rule.ports.is_empty() || rule.ports.contains(&port))
            && rule.methods.contains(&request.method)
    });
    if granted { Ok(()) } else { Err(refused("let grants.http of its manifest cover host, port and method")) }
}

fn host_matches(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some("") => true,
        Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
        None => pattern.eq_ignore_ascii_case(host),
    }
}

/// What is asked but not granted; empty when `asked` ⊆ `granted`. Each entry names one rule.
pub fn missing(granted: &Grants, asked: &Grants) -> Vec<String> {
    fn lacking<T: PartialEq + std::fmt::Debug>(list: &str, granted: &[T], asked: &[T]) -> Vec<String> {
        asked.iter().filter(|rule| !granted.contains(rule)).map(|rule| format!("{list}: {rule:?}")).collect()
    }
    [
        lacking("children", &granted.children, &asked.children),
        lacking("partials", &granted.partials, &asked.partials),
        lacking("objects", &granted.objects, &asked.objects),
        lacking("podLogs", &granted.pod_logs, &asked.pod_logs),
        lacking("commands", &granted.commands, &asked.commands),
        lacking("http", &granted.http, &asked.http),
        lacking("delete", &granted.delete, &asked.delete),
    ]
    .concat()
}
