//! What the chart lets the operator do.

use std::{ffi::OsStr, fs, process::Command};

use serde_json::{Value, json};
use test_support::artefact;

use crate::{
    VARIANTS,
    helm::{NAMESPACE, Rendered, checkout, string, strings, text},
};

/// All rules of all roles, each with its role.
fn rules(rendered: &Rendered) -> Vec<(&Value, &Value)> {
    let roles = ["ClusterRole", "Role"].into_iter().flat_map(|kind| rendered.of(kind));
    roles.flat_map(|role| role["rules"].as_array().unwrap().iter().map(move |rule| (role, rule))).collect()
}

/// Roles that a module binds accounts of its own to, by name.
const BOUND_BY_MODULES: [&str; 3] = ["scone-cas-backup-las", "scone-cas-backup-nodes", "scone-cas-backup-workloads"];

/// What the modules need, as the chart has it.
fn needed() -> Value {
    serde_json::from_str(&text("files/rights.json")).unwrap()
}

/// What `modctl` says about the packages of the modules in the image.
fn modctl(about: &str) -> Value {
    let mut command = Command::new(artefact("SCONE_OPERATOR_MODCTL"));
    command.args([about, "--output", "json"]);
    for guest in fs::read_dir(checkout("guests")).unwrap() {
        let guest = guest.unwrap().path();
        // The SDK and the shared types are no modules.
        let manifest = fs::read_to_string(guest.join("Cargo.toml")).unwrap_or_default();
        if manifest.contains("cdylib") {
            let name = guest.file_name().and_then(OsStr::to_str).unwrap().replace('_', "-");
            command.arg(artefact("SCONE_OPERATOR_MODULES").join(format!("{name}.wasm")));
        }
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_rights_of_modules_are_those_that_modctl_derives_from_their_packages() {
    assert_eq!(needed(), modctl("rbac"), "files/rights.json is stale; run cargo xtask chart");
}

/// The operator has them built in: what the modules of the image may do unless somebody says otherwise.
#[test]
fn the_grants_of_the_shipped_modules_are_what_their_packages_ask_for() {
    let committed: Value = serde_json::from_str(&text("files/grants.json")).unwrap();
    assert_eq!(committed, modctl("grants"), "files/grants.json is stale; run cargo xtask chart");
}

#[test]
fn grants_are_a_flag_of_the_deployment_and_none_without_a_value() {
    let flags = |set: &[&str]| {
        let rendered = Rendered::with(set);
        let container =
            rendered.get("Deployment", "scone-controller-manager")["spec"]["template"]["spec"]["containers"][0].clone();
        let flags: Vec<String> =
            strings(&container["args"]).into_iter().filter(|flag| flag.starts_with("--grants")).collect();
        flags
    };
    assert_eq!(flags(&[]), Vec::<String>::new());
    assert_eq!(
        flags(&["grants.mine.finalizers.releaseAfter=60"]),
        [r#"--grants={"mine":{"finalizers":{"releaseAfter":60}}}"#]
    );
}

#[test]
fn the_operators_role_has_every_right_of_its_modules() {
    let rendered = Rendered::with(&[]);
    let role = rendered.get("ClusterRole", "scone-manager-role")["rules"].as_array().unwrap();
    for rule in needed()["cluster"].as_array().unwrap() {
        assert!(role.contains(rule), "{rule} is missing");
    }
    for (namespace, rules) in needed()["namespaces"].as_object().unwrap() {
        assert_eq!(rendered.get("Role", "scone-modules-role")["rules"], *rules, "{namespace}");
    }
}

#[test]
fn no_rule_has_a_wildcard() {
    for set in VARIANTS {
        for (role, rule) in rules(&Rendered::with(set)) {
            for list in ["apiGroups", "resources", "verbs", "nonResourceURLs", "resourceNames"] {
                let wild = strings(&rule[list]).iter().any(|word| word.contains('*'));
                assert!(!wild, "{set:?}: {} allows {rule}", role["metadata"]["name"]);
            }
        }
    }
}

#[test]
fn beyond_its_modules_the_operator_writes_by_name_only() {
    let rendered = Rendered::with(&[]);
    let modules = needed();
    let all: Vec<_> = rules(&rendered);
    let all = all.into_iter().filter(|(role, _)| !BOUND_BY_MODULES.contains(&string(&role["metadata"]["name"])));
    let all: Vec<_> = all.collect();
    let own = all.iter().filter(|(_, rule)| !modules["cluster"].as_array().unwrap().contains(rule));
    for (role, rule) in own.filter(|(_, rule)| rule["nonResourceURLs"].is_null()) {
        // A right to create cannot be bound to a name, and neither can one to list.
        let unbound = strings(&rule["verbs"]).iter().all(|verb| verb == "create" || verb == "list");
        assert!(unbound || !strings(&rule["resourceNames"]).is_empty(), "{}: {rule}", role["metadata"]["name"]);
        let role_for_all = role["kind"] == "ClusterRole";
        let secret = strings(&rule["resources"]).contains(&"secrets".to_owned());
        assert!(!(secret && role_for_all), "secrets of all namespaces: {rule}");
    }
    let webhooks = |kind: &str| {
        let name = format!("scone-{kind}-webhook-configuration-{NAMESPACE}");
        json!({"apiGroups": ["admissionregistration.k8s.io"], "resources": [format!("{kind}webhookconfigurations")],
            "resourceNames": [name], "verbs": ["create", "get", "patch"]})
    };
    let role = rendered.get("ClusterRole", "scone-manager-role")["rules"].as_array().unwrap();
    assert!(role.contains(&webhooks("mutating")) && role.contains(&webhooks("validating")));
}

#[test]
fn roles_for_accounts_of_modules_are_bound_to_nobody_and_a_module_may_bind_no_others() {
    let rendered = Rendered::with(&[]);
    for name in BOUND_BY_MODULES {
        assert!(rendered.find("ClusterRole", name).is_some(), "there is no {name}");
    }
    for binding in [rendered.of("ClusterRoleBinding"), rendered.of("RoleBinding")].concat() {
        assert!(!BOUND_BY_MODULES.contains(&string(&binding["roleRef"]["name"])), "{binding}");
    }
    let needed = needed();
    let rules = needed["cluster"].as_array().unwrap();
    let binds = rules.iter().filter(|rule| strings(&rule["verbs"]).contains(&"bind".to_owned()));
    let mut bound: Vec<String> = binds.flat_map(|rule| strings(&rule["resourceNames"])).collect();
    bound.retain(|name| !BOUND_BY_MODULES.contains(&name.as_str()));
    assert_eq!(bound, ["system:auth-delegator"], "for Vaults that an administrator lets ask about tokens");
    let makes_pods = rules.iter().filter(|rule| strings(&rule["resources"]).contains(&"pods".to_owned()));
    for rule in makes_pods {
        assert!(!strings(&rule["verbs"]).contains(&"create".to_owned()), "the operator makes no pods itself: {rule}");
    }
    let about_roles =
        rules.iter().filter(|rule| strings(&rule["resources"]).iter().any(|name| name.ends_with("roles")));
    for rule in about_roles {
        assert_eq!(strings(&rule["verbs"]), ["bind"], "no module makes roles: {rule}");
    }
}

#[test]
fn what_is_not_used_is_not_allowed() {
    let resources = |set: &[&str], role: &str| {
        let rendered = Rendered::with(set);
        let rules = rendered.get("Role", role)["rules"].as_array().unwrap().clone();
        rules.iter().flat_map(|rule| strings(&rule["resources"])).collect::<Vec<_>>()
    };
    let role = "scone-manager-role";
    assert!(resources(&[], role).contains(&"secrets".to_owned()));
    assert!(!resources(&["cert-manager.enabled=true"], role).contains(&"secrets".to_owned()));
    assert_eq!(resources(&["webhook.enabled=false"], role), ["events"]);
    let none = Rendered::with(&["rbac.create=false"]);
    let roles =
        [none.of("ClusterRole"), none.of("Role"), none.of("ClusterRoleBinding"), none.of("RoleBinding")].concat();
    let kept = roles.iter().filter(|role| role["metadata"]["annotations"]["helm.sh/hook"].is_null());
    assert_eq!(kept.count(), 0, "only those that exist during an uninstallation");
}

#[test]
fn every_binding_leads_from_a_role_of_the_chart_to_an_account_of_the_chart() {
    let rendered = Rendered::with(&[]);
    let bindings = [rendered.of("ClusterRoleBinding"), rendered.of("RoleBinding")].concat();
    assert!(bindings.len() >= 6);
    for binding in bindings {
        let role = &binding["roleRef"];
        assert!(rendered.find(string(&role["kind"]), string(&role["name"])).is_some(), "{role}");
        let subject = &binding["subjects"][0];
        assert_eq!(subject["namespace"], NAMESPACE);
        assert!(rendered.find(string(&subject["kind"]), string(&subject["name"])).is_some(), "{subject}");
    }
}

#[test]
fn rules_for_modules_that_are_not_in_the_image_are_added() {
    let rule = json!({"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get"]});
    let rendered = Rendered::with(&[&format!("rbac.extraRules=[{rule}]")]);
    assert!(rendered.get("ClusterRole", "scone-manager-role")["rules"].as_array().unwrap().contains(&rule));
}
