//! What a module may do. Denied unless granted, checked when a module is loaded and again in every plan.

use std::collections::BTreeMap;

use operator_contract::{Grants, HttpRule, KindRule, NamespaceRule, PartialRule, PodRule, SecretRule};
use serde_json::Value;

use crate::{Deed, HttpRequest, ObjectQuery, ObjectRef, Question, Server};

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

/// Whether children of this kind may be made somewhere.
pub fn child_kind(grants: &Grants, identity: &ObjectRef) -> bool {
    grants.children.iter().any(|rule| rule.api_version == identity.api_version && rule.kind == identity.kind)
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

/// Whether these fields of an object that the module does not own may be set: those that are granted, nothing else.
pub fn partial(grants: &Grants, identity: &ObjectRef, document: &Value, place: Place<'_>) -> Result<(), Ungranted> {
    let namespace = identity.namespace.as_deref();
    let rules = || {
        partial_rules(grants, identity)
            .filter(|rule| rule.namespaces.as_ref().is_none_or(|rule| in_namespace(rule, namespace, place)))
    };
    for path in leaf_paths(document) {
        let granted = match path.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["apiVersion" | "kind"] | ["metadata", "name" | "namespace"] => true,
            ["metadata", "labels", key] => rules().any(|rule| rule.labels.iter().any(|p| key_matches(p, key))),
            ["metadata", "annotations", key] => {
                rules().any(|rule| rule.annotations.iter().any(|p| key_matches(p, key)))
            }
            _ => rules().any(|rule| rule.fields.contains(&path.join("."))),
        };
        if !granted {
            return Err(Ungranted {
                what: format!("{} of {identity}", path.join(".")),
                fix: format!("let grants.partials of its manifest cover the field of {}", identity.kind),
            });
        }
    }
    Ok(())
}

/// The rules about fields of a kind.
pub(crate) fn partial_rules<'a>(grants: &'a Grants, identity: &ObjectRef) -> impl Iterator<Item = &'a PartialRule> {
    let (api_version, kind) = (identity.api_version.clone(), identity.kind.clone());
    grants.partials.iter().filter(move |rule| rule.api_version == api_version && rule.kind == kind)
}

fn key_matches(pattern: &str, key: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == key, |prefix| key.starts_with(prefix))
}

/// Whether a pattern of label keys covers all that another one does.
pub(crate) fn key_covers(pattern: &str, other: &str) -> bool {
    // A `*` of the other one at its end only makes it longer.
    pattern == other || (pattern.ends_with('*') && key_matches(pattern, other.trim_end_matches('*')))
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

/// The labels of which a pod must carry one set, so that a question about it may be asked that is granted otherwise; none when any pod
/// may be asked. Only who knows the pod can tell.
pub fn pod_labels<'a>(
    grants: &'a Grants,
    question: &Question,
    place: Place<'_>,
) -> Option<Vec<&'a BTreeMap<String, String>>> {
    let (rules, namespace, container, program) = match question {
        Question::PodLog(query) => (&grants.pod_logs, &query.namespace, &query.container, None),
        Question::Command(query) => {
            let program = query.command.first().map_or("", String::as_str);
            (&grants.commands, &query.namespace, &query.container, Some(program))
        }
        Question::Objects(_) | Question::Http(_) => return None,
    };
    let covering = rules.iter().filter(|rule| covers(rule, namespace, container, program, place));
    let sets: Vec<_> = covering.map(|rule| &rule.labels).collect();
    sets.iter().all(|labels| !labels.is_empty()).then_some(sets)
}

/// The labels of which a Secret must carry one set, so that its values may be used in requests to a host. Only who knows the Secret can
/// tell whether it does.
///
/// # Errors
/// When no rule covers this name and this host.
pub fn secret<'a>(
    rules: &'a [SecretRule],
    name: &str,
    host: &str,
) -> Result<Vec<&'a BTreeMap<String, String>>, Ungranted> {
    let covers = |rule: &&SecretRule| {
        rule.names.iter().any(|pattern| key_matches(pattern, name))
            && rule.hosts.iter().any(|pattern| host_matches(pattern, host))
    };
    let sets: Vec<_> = rules.iter().filter(covers).map(|rule| &rule.labels).collect();
    if sets.is_empty() {
        let what = format!("Secret {name} for requests to {host}");
        return Err(Ungranted { what, fix: "let grants.secrets of its manifest cover name and host".into() });
    }
    Ok(sets)
}

/// What is wrong with an object that must carry one of these sets of labels and carries none; none when it does.
pub fn lacks_labels(sets: &[&BTreeMap<String, String>], labels: &BTreeMap<String, String>) -> Option<String> {
    let carries = |set: &&BTreeMap<String, String>| set.iter().all(|(key, value)| labels.get(key) == Some(value));
    if sets.iter().any(carries) {
        return None;
    }
    let shown = |set: &&BTreeMap<String, String>| {
        set.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ")
    };
    let sets = sets.iter().map(shown).collect::<Vec<_>>().join(" or ");
    Some(format!("lacks the labels of the grant ({sets})"))
}

/// Whether an action may be done.
pub fn deed(grants: &Grants, deed: &Deed, place: Place<'_>) -> Result<(), Ungranted> {
    match deed {
        Deed::Delete { identity, .. } => deletion(grants, identity, place),
        Deed::Http(request) => http(&grants.http, request),
    }
}

/// Whether a dotted path is a granted one, or leads into it. A dot after a backslash is part of a key, and leads nowhere.
pub(crate) fn lies_in(field: &str, granted: &str) -> bool {
    let rest = field.strip_prefix(granted);
    rest.is_some_and(|rest| rest.is_empty() || (rest.starts_with('.') && !granted.ends_with('\\')))
}

fn objects(grants: &Grants, query: &ObjectQuery, place: Place<'_>) -> Result<(), Ungranted> {
    let covers_fields = |granted: &[String]| {
        granted.is_empty()
            || (!query.fields.is_empty()
                && query.fields.iter().all(|field| granted.iter().any(|granted| lies_in(field, granted))))
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
    if rules.iter().any(|rule| covers(rule, namespace, container, program, place)) {
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

/// Whether a rule covers a container of pods with its labels.
fn covers(rule: &PodRule, namespace: &str, container: &str, program: Option<&str>, place: Place<'_>) -> bool {
    in_namespace(&rule.namespaces, Some(namespace), place)
        && rule.containers.iter().any(|c| c == container)
        && program.is_none_or(|program| rule.programs.iter().any(|p| p == program))
}

fn http(rules: &[HttpRule], request: &HttpRequest) -> Result<(), Ungranted> {
    let refused = |fix: &str| Ungranted { what: format!("{} {}", request.method, request.url), fix: fix.into() };
    let Server { host, port, .. } = request.server().map_err(refused)?;
    let granted = rules.iter().any(|rule| {
        host_matches(&rule.host, &host)
            && (rule.ports.is_empty() || rule.ports.contains(&port))
            && rule.methods.contains(&request.method)
    });
    if granted { Ok(()) } else { Err(refused("let grants.http of its manifest cover host, port and method")) }
}

/// Whether a pattern of hosts covers all that another one does.
pub(crate) fn host_covers(pattern: &str, other: &str) -> bool {
    match (pattern.strip_prefix('*'), other.strip_prefix('*')) {
        (Some(suffix), Some(of_other)) => of_other.ends_with(suffix),
        (None, Some(_)) => false,
        (_, None) => host_matches(pattern, other),
    }
}

fn host_matches(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some("") => true,
        Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
        None => pattern.eq_ignore_ascii_case(host),
    }
}

#[cfg(test)]
mod tests {
    use operator_contract::ObjectRule;
    use serde_json::json;

    use super::*;
    use crate::{CommandQuery, PodLogQuery, Trust};

    const PLACE: Place<'static> = Place { parent: Some("team"), target: "sys" };

    fn of_kind(namespaces: NamespaceRule) -> Grants {
        let rule = KindRule { api_version: "v1".into(), kind: "Secret".into(), namespaces };
        Grants { children: vec![rule.clone()], delete: vec![rule], ..Grants::default() }
    }

    fn secret(namespace: &str) -> ObjectRef {
        ObjectRef::namespaced("v1", "Secret", namespace, "s")
    }

    #[test]
    fn each_namespace_rule_covers_its_namespaces_and_no_others() {
        let allowed = |rule: NamespaceRule| {
            ["team", "sys", "other"].map(|namespace| child(&of_kind(rule.clone()), &secret(namespace), PLACE).is_ok())
        };
        assert_eq!(allowed(NamespaceRule::Parent), [true, false, false]);
        assert_eq!(allowed(NamespaceRule::Target), [false, true, false]);
        assert_eq!(allowed(NamespaceRule::Named(vec!["other".into()])), [false, false, true]);
        assert_eq!(allowed(NamespaceRule::All), [true, true, true]);
    }

    #[test]
    fn only_a_rule_for_all_covers_cluster_scoped_objects() {
        let object = ObjectRef::cluster("v1", "Secret", "s");
        assert!(child(&of_kind(NamespaceRule::Target), &object, PLACE).is_err());
        assert!(child(&of_kind(NamespaceRule::All), &object, PLACE).is_ok());
    }

    #[test]
    fn a_label_grant_with_a_star_covers_its_prefix_and_nothing_else_of_the_object() {
        let rule = PartialRule {
            api_version: "v1".into(),
            kind: "Node".into(),
            labels: vec!["example.org/*".into(), "exact".into()],
            annotations: vec![],
            fields: vec![],
            namespaces: None,
        };
        let grants = Grants { partials: vec![rule], ..Grants::default() };
        let node = ObjectRef::cluster("v1", "Node", "n");
        let allowed = |document: Value| partial(&grants, &node, &document, PLACE).is_ok();
        assert!(allowed(json!({"metadata": {"labels": {"example.org/ok": "true", "exact": "1"}}})));
        assert!(!allowed(json!({"metadata": {"labels": {"exactly": "1"}}})));
        assert!(!allowed(json!({"metadata": {"annotations": {"example.org/ok": "true"}}})));
        assert!(!allowed(json!({"spec": {"unschedulable": true}})));
        assert!(!allowed(json!({"metadata": {"labels": null}})));
    }

    #[test]
    fn a_field_grant_covers_this_field_where_it_says_and_nothing_beside_it() {
        let rule = PartialRule {
            api_version: "v1".into(),
            kind: "PersistentVolumeClaim".into(),
            labels: vec![],
            annotations: vec![],
            fields: vec!["spec.resources.requests.storage".into()],
            namespaces: Some(NamespaceRule::Target),
        };
        let grants = Grants { partials: vec![rule], ..Grants::default() };
        let claim = |namespace: &str| ObjectRef {
            namespace: Some(namespace.into()),
            ..ObjectRef::cluster("v1", "PersistentVolumeClaim", "c")
        };
        let size = json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}});
        assert!(partial(&grants, &claim(PLACE.target), &size, PLACE).is_ok());
        assert!(partial(&grants, &claim("elsewhere"), &size, PLACE).is_err());
        for other in [
            json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}, "volumeName": "v"}}),
            json!({"spec": {"resources": {"requests": null}}}),
            json!({"metadata": {"finalizers": []}}),
        ] {
            assert!(partial(&grants, &claim(PLACE.target), &other, PLACE).is_err(), "{other}");
        }
    }

    fn objects_query(fields: &[&str]) -> Question {
        Question::Objects(ObjectQuery {
            api_version: "v1".into(),
            kind: "Pod".into(),
            namespace: None,
            name: None,
            labels: vec![],
            fields: fields.iter().map(|f| (*f).to_owned()).collect(),
        })
    }

    #[test]
    fn a_query_may_see_granted_fields_and_what_is_below_them() {
        let rule = ObjectRule {
            api_version: "v1".into(),
            kind: "Pod".into(),
            namespaces: NamespaceRule::All,
            fields: vec!["status".into()],
        };
        let grants = Grants { objects: vec![rule], ..Grants::default() };
        let allowed = |fields: &[&str]| question(&grants, &objects_query(fields), PLACE).is_ok();
        assert!(allowed(&["status.phase"]));
        assert!(!allowed(&["status.phase", "spec"]));
        assert!(!allowed(&["statusless"]));
        assert!(!allowed(&[]), "no fields means the whole object");
    }

    #[test]
    fn a_secret_is_used_where_one_rule_covers_its_name_and_the_host_together() {
        let rule = |name: &str, host: &str, labels: &[(&str, &str)]| SecretRule {
            names: vec![name.into()],
            labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            hosts: vec![host.into()],
        };
        let rules = [rule("cas-*", "*.svc", &[("for", "cas")]), rule("pull", "registry.example.org", &[])];
        let labels = |name: &str, host: &str| super::secret(&rules, name, host);
        assert!(labels("pull", "registry.example.org").unwrap().iter().all(|set| set.is_empty()));
        let sets = labels("cas-ca", "cas.team.svc").unwrap();
        assert_eq!(
            lacks_labels(&sets, &BTreeMap::from([("for".into(), "cas".into()), ("a".into(), "b".into())])),
            None
        );
        assert!(lacks_labels(&sets, &BTreeMap::from([("for".into(), "las".into())])).is_some());
        let refused = [("pull", "evil.org"), ("cas-ca", "registry.example.org"), ("other", "cas.team.svc")];
        for (name, host) in refused {
            let why = labels(name, host).unwrap_err().to_string();
            assert!(why.contains(name) && why.contains(host) && why.contains("grants.secrets"), "{why}");
        }
    }

    #[test]
    fn a_dot_after_a_backslash_is_part_of_a_key_and_leads_nowhere() {
        let allowed = |granted: &str, asked: &str| {
            let rule = ObjectRule {
                api_version: "v1".into(),
                kind: "Pod".into(),
                namespaces: NamespaceRule::All,
                fields: vec![granted.into()],
            };
            let grants = Grants { objects: vec![rule], ..Grants::default() };
            question(&grants, &objects_query(&[asked]), PLACE).is_ok()
        };
        assert!(allowed(r"data.ca\.crt", r"data.ca\.crt") && allowed("data", r"data.ca\.crt"));
        assert!(!allowed(r"data.ca\.crt", r"data.tls\.key") && !allowed(r"data.ca\.crt", "data"));
        assert!(!allowed("data.tls", r"data.tls\.key") && !allowed(r"data.tls\", r"data.tls\.key"));
    }

    #[test]
    fn logs_and_commands_are_granted_by_container_and_program() {
        let rule = |programs: &[&str]| PodRule {
            namespaces: NamespaceRule::Target,
            labels: BTreeMap::default(),
            containers: vec!["main".into()],
            programs: programs.iter().map(|p| (*p).to_owned()).collect(),
        };
        let grants = Grants { pod_logs: vec![rule(&[])], commands: vec![rule(&["probe"])], ..Grants::default() };
        let log = |namespace: &str, container: &str| {
            Question::PodLog(PodLogQuery {
                namespace: namespace.into(),
                pod: "p".into(),
                container: container.into(),
                contains: "x".into(),
                limit: 1,
            })
        };
        assert_eq!(pod_labels(&grants, &log("sys", "main"), PLACE), None, "any pod");
        assert!(question(&grants, &log("sys", "main"), PLACE).is_ok());
        assert!(question(&grants, &log("sys", "other"), PLACE).is_err());
        assert!(question(&grants, &log("team", "main"), PLACE).is_err());
        let command = |program: &str| {
            Question::Command(CommandQuery {
                namespace: "sys".into(),
                pod: "p".into(),
                container: "main".into(),
                command: vec![program.into(), "arg".into()],
            })
        };
        assert!(question(&grants, &command("probe"), PLACE).is_ok());
        assert!(question(&grants, &command("sh"), PLACE).is_err());
    }

    fn request(method: &str, url: &str) -> HttpRequest {
        HttpRequest { method: method.into(), url: url.into(), headers: vec![], body: vec![], trust: Trust::System }
    }

    #[test]
    fn requests_are_granted_by_host_port_and_method() {
        let rule = HttpRule { host: "*.svc".into(), ports: vec![8081, 443], methods: vec!["GET".into(), "PUT".into()] };
        let grants = Grants { http: vec![rule], ..Grants::default() };
        let allowed = |method: &str, url: &str| http(&grants.http, &request(method, url)).is_ok();
        assert!(allowed("GET", "https://cas.default.svc:8081/v1/version"));
        assert!(allowed("GET", "https://cas.default.svc/"), "https means port 443");
        assert!(!allowed("GET", "http://cas.default.svc/"), "http means port 80");
        assert!(!allowed("DELETE", "https://cas.default.svc:8081/"));
        assert!(!allowed("GET", "https://cas.default.svc.evil.org:8081/"));
        assert!(!allowed("GET", "https://x.svc:8081@evil.org:8081/"));
        assert!(!allowed("GET", "https://evil.org:8081/?a=.svc"));
    }

    #[test]
    fn a_query_never_changes_anything() {
        let rule = HttpRule { host: "*".into(), ports: vec![], methods: vec!["PUT".into()] };
        let grants = Grants { http: vec![rule], ..Grants::default() };
        assert!(question(&grants, &Question::Http(request("PUT", "https://a.svc/")), PLACE).is_err());
        assert!(deed(&grants, &Deed::Http(request("PUT", "https://a.svc/")), PLACE).is_ok());
    }
}
