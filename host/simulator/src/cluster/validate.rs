//! What the server refuses in objects: the rules that operators break most often, and whatever the schema of a custom
//! resource says.

pub(crate) mod addresses;
pub(crate) mod growth;
mod immutable;

use operator_core::{ObjectRef, schema};
use serde_json::Value;

use super::quantity;

/// Field, reason and message.
pub(crate) type Cause = (String, String, String);

/// Everything that is wrong with an object that is about to be stored.
pub(crate) fn causes(identity: &ObjectRef, schema: Option<&Value>, object: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut found = Vec::new();
    if is_rbac(&identity.api_version) {
        if !is_path_segment(&identity.name) {
            found.push(invalid("metadata.name", "must be no . or .. and hold no / and no %"));
        }
    } else if !is_subdomain(&identity.name) {
        found.push(invalid("metadata.name", "must be lower-case letters, digits, - and . (RFC 1123), at most 253"));
    }
    labels(object.pointer("/metadata/labels"), "metadata.labels", &mut found);
    if let Some(old) = old {
        late_finalizers(object, old, &mut found);
    }
    match schema {
        Some(schema) => {
            let violations = schema::violations(schema, object).into_iter();
            found.extend(violations.map(|v| (v.path, v.reason.to_owned(), v.message)));
        }
        None => built_in(identity, object, old, &mut found),
    }
    found
}

fn built_in(identity: &ObjectRef, object: &Value, old: Option<&Value>, found: &mut Vec<Cause>) {
    let kind = identity.kind.as_str();
    if matches!(kind, "DaemonSet" | "Deployment" | "StatefulSet" | "ReplicaSet") {
        workload(object, found);
        let claims = object.pointer("/spec/volumeClaimTemplates").and_then(Value::as_array);
        let claims: Vec<&str> =
            claims.into_iter().flatten().filter_map(|claim| claim.pointer("/metadata/name")?.as_str()).collect();
        pod(object.pointer("/spec/template/spec"), "spec.template.spec", &claims, found);
    }
    match kind {
        "Pod" => pod(object.get("spec"), "spec", &[], found),
        "Service" => service(object, found),
        "RoleBinding" | "ClusterRoleBinding"
            if object.get("roleRef").is_none_or(|role| text(role, "name").is_empty()) =>
        {
            found.push(required("roleRef.name"));
        }
        "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => webhooks(object, found),
        "PodDisruptionBudget" => budget(object, found),
        "PersistentVolumeClaim" => claim(object, found),
        _ => {}
    }
    if let Some(old) = old {
        immutable::causes(kind, object, old, found);
    }
}

/// How many pods a budget keeps is said in one way.
fn budget(object: &Value, found: &mut Vec<Cause>) {
    let there = |field: &str| object.pointer(&format!("/spec/{field}")).is_some();
    if there("minAvailable") && there("maxUnavailable") {
        found.push(invalid("spec", "minAvailable and maxUnavailable cannot be both set"));
    }
}

/// What is being deleted waits for nobody new.
fn late_finalizers(object: &Value, old: &Value, found: &mut Vec<Cause>) {
    let of =
        |object: &Value| object.pointer("/metadata/finalizers").and_then(Value::as_array).cloned().unwrap_or_default();
    let before = of(old);
    let deleted = old.pointer("/metadata/deletionTimestamp").is_some();
    if deleted && of(object).iter().any(|finalizer| !before.contains(finalizer)) {
        let message = "no new finalizers can be added if the object is being deleted";
        found.push(forbidden("metadata.finalizers", message));
    }
}

/// A webhook is somewhere.
fn webhooks(object: &Value, found: &mut Vec<Cause>) {
    let webhooks = object.get("webhooks").and_then(Value::as_array).into_iter().flatten();
    let nowhere = |webhook: &Value| {
        let there = |field: &str| webhook.pointer(&format!("/clientConfig/{field}")).is_some();
        there("url") == there("service")
    };
    let nowhere = webhooks.enumerate().filter(|(_, webhook)| nowhere(webhook));
    found.extend(nowhere.map(|(index, _)| required(&format!("webhooks[{index}].clientConfig"))));
}

/// Ports of a Service are told apart by their names, and only a balancer has addresses.
fn service(object: &Value, found: &mut Vec<Cause>) {
    let ports = object.pointer("/spec/ports").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let of = |field: &str| object.pointer(&format!("/spec/{field}")).and_then(Value::as_str);
    if object.pointer("/status/loadBalancer/ingress").is_some() && of("type") != Some("LoadBalancer") {
        found.push(forbidden("status.loadBalancer.ingress", "may only be used when `spec.type` is 'LoadBalancer'"));
    }
    if ports.is_empty() && of("clusterIP") != Some("None") && of("type") != Some("ExternalName") {
        found.push(required("spec.ports"));
    }
    if ports.len() > 1 {
        let nameless = ports.iter().enumerate().filter(|(_, port)| text(port, "name").is_empty());
        found.extend(nameless.map(|(index, _)| required(&format!("spec.ports[{index}].name"))));
    }
}

/// A claim says how it is mounted and how large it is.
fn claim(object: &Value, found: &mut Vec<Cause>) {
    for field in ["accessModes", "resources"] {
        if object.pointer(&format!("/spec/{field}")).is_none() {
            found.push(required(&format!("spec.{field}")));
        }
    }
    let size = object.pointer("/spec/resources/requests/storage");
    if size.is_none() && object.pointer("/spec/resources").is_some() {
        found.push(required("spec.resources.requests.storage"));
    }
    if size.is_some_and(|size| quantity::parse(size).is_none_or(|size| size <= 0)) {
        found.push(invalid("spec.resources.requests.storage", "must be a size greater than zero, such as 10Gi"));
    }
}

/// The pods of workloads carry the labels that their selector asks for.
fn workload(object: &Value, found: &mut Vec<Cause>) {
    let wanted = object.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
    let Some(wanted) = wanted else {
        found.push(required("spec.selector"));
        return;
    };
    let there = object.pointer("/spec/template/metadata/labels");
    if wanted.iter().any(|(key, value)| there.and_then(|there| there.get(key)) != Some(value)) {
        found.push(invalid("spec.template.metadata.labels", "`selector` does not match template `labels`"));
    }
    labels(there, "spec.template.metadata.labels", found);
}

fn pod(spec: Option<&Value>, path: &str, claims: &[&str], found: &mut Vec<Cause>) {
    let list = |field: &str| spec.and_then(|spec| spec.get(field)).and_then(Value::as_array).into_iter().flatten();
    if list("containers").next().is_none() {
        found.push(required(&format!("{path}.containers")));
    }
    labels(spec.and_then(|spec| spec.get("nodeSelector")), &format!("{path}.nodeSelector"), found);
    let volumes: Vec<&str> = list("volumes").map(|volume| text(volume, "name")).chain(claims.iter().copied()).collect();
    let host_network = spec.and_then(|spec| spec.get("hostNetwork")) == Some(&Value::Bool(true));
    for field in ["initContainers", "containers"] {
        for (index, container) in list(field).enumerate() {
            self::container(container, &format!("{path}.{field}[{index}]"), &volumes, host_network, found);
        }
    }
}

fn container(container: &Value, path: &str, volumes: &[&str], host_network: bool, found: &mut Vec<Cause>) {
    let list = |field: &str| container.get(field).and_then(Value::as_array).into_iter().flatten();
    if !is_dns_label(text(container, "name")) {
        found.push(invalid(&format!("{path}.name"), "must be lower-case letters, digits and - (RFC 1123), at most 63"));
    }
    if text(container, "image").is_empty() {
        found.push(required(&format!("{path}.image")));
    }
    for (index, mount) in list("volumeMounts").enumerate().filter(|(_, m)| !volumes.contains(&text(m, "name"))) {
        let message = format!("there is no volume {:?}", text(mount, "name"));
        found.push((format!("{path}.volumeMounts[{index}].name"), "FieldValueNotFound".into(), message));
    }
    for (index, port) in list("ports").enumerate() {
        for field in ["containerPort", "hostPort"] {
            let number = port.get(field).and_then(Value::as_i64);
            if number.is_some_and(|number| !(1..=65535).contains(&number)) {
                found.push(invalid(&format!("{path}.ports[{index}].{field}"), "must be between 1 and 65535"));
            }
        }
        if host_network && port.get("hostPort").is_some_and(|host| Some(host) != port.get("containerPort")) {
            found.push(invalid(
                &format!("{path}.ports[{index}].containerPort"),
                "must match `hostPort` with `hostNetwork`",
            ));
        }
    }
    extended_resources(container, path, found);
}

/// Extended resources (`vendor.example/device`) cannot be overcommitted: a request must equal its limit.
fn extended_resources(container: &Value, path: &str, found: &mut Vec<Cause>) {
    let of = |field: &str| container.pointer(&format!("/resources/{field}")).and_then(Value::as_object);
    for (name, quantity) in of("requests").into_iter().flatten().filter(|(name, _)| name.contains('/')) {
        if of("limits").and_then(|limits| limits.get(name)) != Some(quantity) {
            found.push(invalid(&format!("{path}.resources.requests.{name}"), "must be equal to its limit"));
        }
    }
}

fn labels(labels: Option<&Value>, path: &str, found: &mut Vec<Cause>) {
    for (key, value) in labels.and_then(Value::as_object).into_iter().flatten() {
        let (prefix, name) = key.rsplit_once('/').map_or((None, key.as_str()), |(prefix, name)| (Some(prefix), name));
        if prefix.is_some_and(|prefix| !is_subdomain(prefix)) || name.is_empty() || !is_label_text(name) {
            found.push(invalid(path, &format!("{key:?} is no label key")));
        }
        match value.as_str() {
            Some(value) if is_label_text(value) => {}
            _ => found.push(invalid(
                &format!("{path}.{key}"),
                &format!("{value} is no label value: at most 63 of A-Z a-z 0-9 - _ ."),
            )),
        }
    }
}

fn is_label_text(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    text.len() <= 63 && text.chars().all(inner) && edge(text.chars().next()) && edge(text.chars().last())
}

fn is_dns_label(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    text.len() <= 63 && text.chars().all(inner) && edge(text.chars().next()) && edge(text.chars().last())
}

/// RFC 1123, but for the length of each label, which the server does not check.
fn is_subdomain(text: &str) -> bool {
    let label = |label: &str| label.split('.').all(|part| part.len() > 63 || is_dns_label(part));
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    !text.is_empty() && text.len() <= 253 && text.chars().all(inner) && label(text)
}

/// Roles and their bindings may have names such as `system:node`: whatever can be a part of a path.
fn is_rbac(api_version: &str) -> bool {
    api_version.starts_with("rbac.authorization.k8s.io/")
}

fn is_path_segment(text: &str) -> bool {
    !matches!(text, "" | "." | "..") && !text.contains(['/', '%'])
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn invalid(field: &str, message: &str) -> Cause {
    (field.to_owned(), "FieldValueInvalid".into(), message.to_owned())
}

fn forbidden(field: &str, message: &str) -> Cause {
    (field.to_owned(), "FieldValueForbidden".into(), message.to_owned())
}

fn required(field: &str) -> Cause {
    (field.to_owned(), "FieldValueRequired".into(), "is required".into())
}
