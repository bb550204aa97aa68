//! The rules of `guests/las/src/admission.rs` for a LAS, as a policy that the API server judges itself: what a user would write who wants no
//! webhook.
//!
//! It refuses what the module refuses: host port, DCAP key, pull policy, image, namespace, pull secrets, node selector, annotations,
//! amounts and their limits, tolerations, the length of the name. It warns of what the module warns of. What it cannot: name all faults of
//! an object at once, each with its path and its value in the message.

use serde_json::{Value, json};

const DNS_NAME: &str = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$";
const LABEL_KEY: &str = r"^([a-z0-9]([a-z0-9-]*[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$";
const LABEL_VALUE: &str = r"^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$";
const IMAGE: &str = r"^([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?/)?[a-z0-9]([a-z0-9._-]*[a-z0-9])?(/[a-z0-9]([a-z0-9._-]*[a-z0-9])?)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@[^:@]+:[0-9A-Fa-f]{32,})?$";

/// The policies and their bindings.
pub(super) fn objects(rule: &Value) -> Vec<(String, Value)> {
    [("bench", refused(), "Deny"), ("bench-warns", warned(), "Warn")]
        .into_iter()
        .flat_map(|(name, validations, action)| {
            let root = "/apis/admissionregistration.k8s.io/v1";
            let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
                "metadata": {"name": name}, "spec": {"failurePolicy": "Fail", "matchConstraints": {"resourceRules": [rule]},
                    "variables": [{"name": "spec", "expression": "object.spec"}], "validations": validations}});
            let binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
                "metadata": {"name": name}, "spec": {"policyName": name, "validationActions": [action]}});
            [
                (format!("{root}/validatingadmissionpolicies/{name}"), policy),
                (format!("{root}/validatingadmissionpolicybindings/{name}"), binding),
            ]
        })
        .collect()
}

/// What must hold of a field when it is there.
fn field(name: &str, rule: &str, message: &str) -> Value {
    let at = format!("variables.spec.{name}");
    let rule = rule.replace("self", &at);
    json!({"expression": format!("!has({at}) || ({rule})"), "message": format!("spec.{name} {message}")})
}

fn refused() -> Value {
    let operator = "(has(t.operator) && t.operator != '' ? t.operator : 'Equal')";
    let effect = "(has(t.effect) ? t.effect : '')";
    let key = "(has(t.key) ? t.key : '')";
    let mut validations = vec![
        json!({"expression": "size(object.metadata.name) <= 63", "message": "metadata.name must have at most 63 characters"}),
        field("hostPort", "self >= 1 && self <= 65535", "is no port"),
        field("dcapKey", "self == '' || self.matches('^[0-9a-fA-F]{32}$')", "must be 32 hexadecimal digits"),
        field(
            "imagePullPolicy",
            "self in ['Always', 'Never', 'IfNotPresent']",
            "is none of Always, Never, IfNotPresent",
        ),
        field("image", &format!("self.matches('{IMAGE}')"), "is no image"),
        field(
            "namespace",
            "self == '' || (size(self) <= 63 && self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$'))",
            "is no namespace",
        ),
        field(
            "imagePullSecrets",
            &format!("self.all(s, has(s.name) && size(s.name) <= 253 && s.name.matches('{DNS_NAME}'))"),
            "has a name that is none",
        ),
        field(
            "nodeSelector",
            &format!("self.all(k, k.matches('{LABEL_KEY}') && self[k].matches('{LABEL_VALUE}'))"),
            "has a label that is none",
        ),
        field("podAnnotations", &format!("self.all(k, k.matches('{LABEL_KEY}'))"), "has a key that is none"),
        field(
            "tolerations",
            &format!("self.all(t, {operator} in ['Exists', 'Equal'])"),
            "has an operator that is none",
        ),
        field(
            "tolerations",
            &format!("self.all(t, {effect} in ['', 'NoSchedule', 'PreferNoSchedule', 'NoExecute'])"),
            "has an effect that is none",
        ),
        field(
            "tolerations",
            &format!("self.all(t, {operator} != 'Exists' || !has(t.value) || t.value == '')"),
            "has a value with operator Exists",
        ),
        field(
            "tolerations",
            &format!("self.all(t, {key} == '' ? {operator} != 'Equal' : {key}.matches('{LABEL_KEY}'))"),
            "has a key that is none",
        ),
        field(
            "tolerations",
            &format!("self.all(t, !has(t.tolerationSeconds) || {effect} == 'NoExecute')"),
            "has seconds without NoExecute",
        ),
        field(
            "resources",
            "!has(self.limits) || !has(self.requests) || self.requests.all(k, !(k in self.limits) || \
            quantity(string(self.requests[k])).compareTo(quantity(string(self.limits[k]))) <= 0)",
            "has a request above its limit",
        ),
    ];
    for list in ["limits", "requests"] {
        let rule = format!(
            "!has(self.{list}) || self.{list}.all(k, isQuantity(string(self.{list}[k])) && \
            !quantity(string(self.{list}[k])).isLessThan(quantity('0')))"
        );
        // Before the comparison, which fails on what is no quantity.
        validations.insert(0, field("resources", &rule, "has an amount that is none"));
    }
    Value::Array(validations)
}

fn warned() -> Value {
    json!([
        {"expression": "has(variables.spec.dcapKey) && variables.spec.dcapKey != ''",
            "message": "spec.dcapKey is not set, so the health checks are incomplete"},
        {"expression": "!has(variables.spec.autoUpdate) || !variables.spec.autoUpdate || !has(variables.spec.imagePullPolicy) || \
            variables.spec.imagePullPolicy == 'Always'", "message": "spec.autoUpdate needs imagePullPolicy Always"},
    ])
}
