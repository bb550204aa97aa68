//! Of the pod template of a workload as it stands, the fields that tell whether it is the one that is wanted.
//!
//! Only such fields as the API server leaves as they are written, and quantities, which mean the same afterwards.

use k8s_openapi::api::core::v1::{Container, PodTemplateSpec};
use serde::Deserialize;
use serde_json::{Value, to_value};

use crate::{observe::or_default, quantity};

/// A pod template. What is not there is null.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Template {
    #[serde(deserialize_with = "or_default")]
    metadata: TemplateMeta,
    #[serde(deserialize_with = "or_default")]
    spec: TemplatePod,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TemplateMeta {
    labels: Value,
    annotations: Value,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct TemplatePod {
    node_selector: Value,
    tolerations: Value,
    image_pull_secrets: Value,
    security_context: Value,
    #[serde(deserialize_with = "or_default")]
    containers: Vec<TemplateContainer>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct TemplateContainer {
    name: String,
    image: Value,
    image_pull_policy: Value,
    ports: Value,
    env: Value,
    #[serde(deserialize_with = "or_default")]
    resources: Resources,
    security_context: Value,
    liveness_probe: Value,
    readiness_probe: Value,
    startup_probe: Value,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Resources {
    limits: Value,
    requests: Value,
}

impl Template {
    /// Only what is compared: a template has many times more.
    fn of(wanted: &PodTemplateSpec) -> serde_json::Result<Self> {
        let metadata = wanted.metadata.as_ref();
        let metadata = TemplateMeta {
            labels: to_value(metadata.map(|metadata| &metadata.labels))?,
            annotations: to_value(metadata.map(|metadata| &metadata.annotations))?,
        };
        let Some(pod) = &wanted.spec else { return Ok(Self { metadata, spec: TemplatePod::default() }) };
        let spec = TemplatePod {
            node_selector: to_value(&pod.node_selector)?,
            tolerations: to_value(&pod.tolerations)?,
            image_pull_secrets: to_value(&pod.image_pull_secrets)?,
            security_context: to_value(&pod.security_context)?,
            containers: pod.containers.iter().map(TemplateContainer::of).collect::<serde_json::Result<_>>()?,
        };
        Ok(Self { metadata, spec })
    }

    /// The first field in which this template contradicts the wanted one. What others have added is no contradiction, but for
    /// the node selector, which is one thing.
    pub fn difference(&self, wanted: &PodTemplateSpec) -> Option<&'static str> {
        // Types of Kubernetes can always be written; if not, it is better to wait than to call it equal.
        let Ok(wanted) = Self::of(wanted) else { return Some("template") };
        let selector = |template: &Self| Some(template.spec.node_selector.clone()).filter(|value| !is_empty(value));
        let (pod, there) = (&wanted.spec, &self.spec);
        [
            ("labels", holds(&wanted.metadata.labels, &self.metadata.labels)),
            ("annotations", holds(&wanted.metadata.annotations, &self.metadata.annotations)),
            ("nodeSelector", selector(&wanted) == selector(self)),
            ("tolerations", holds(&pod.tolerations, &there.tolerations)),
            ("imagePullSecrets", holds(&pod.image_pull_secrets, &there.image_pull_secrets)),
            ("securityContext", holds(&pod.security_context, &there.security_context)),
        ]
        .into_iter()
        .chain(pod.containers.iter().flat_map(|container| container.compared(self.container(&container.name))))
        .find_map(|(field, same)| (!same).then_some(field))
    }

    /// The value of a variable of a container.
    pub fn variable(&self, container: &str, name: &str) -> Option<&str> {
        let variables = self.container(container)?.env.as_array()?;
        let found = variables.iter().find(|variable| variable.get("name").and_then(Value::as_str) == Some(name))?;
        found.get("value")?.as_str()
    }

    /// One annotation of the pods.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata.annotations.get(key)?.as_str()
    }

    /// The image of a container.
    pub fn image(&self, container: &str) -> Option<&str> {
        self.container(container)?.image.as_str()
    }

    fn container(&self, name: &str) -> Option<&TemplateContainer> {
        self.spec.containers.iter().find(|container| container.name == name)
    }
}

impl TemplateContainer {
    fn of(wanted: &Container) -> serde_json::Result<Self> {
        let resources = wanted.resources.as_ref();
        Ok(Self {
            name: wanted.name.clone(),
            image: to_value(&wanted.image)?,
            image_pull_policy: to_value(&wanted.image_pull_policy)?,
            ports: to_value(&wanted.ports)?,
            env: to_value(&wanted.env)?,
            resources: Resources {
                limits: to_value(resources.map(|resources| &resources.limits))?,
                requests: to_value(resources.map(|resources| &resources.requests))?,
            },
            security_context: to_value(&wanted.security_context)?,
            liveness_probe: to_value(&wanted.liveness_probe)?,
            readiness_probe: to_value(&wanted.readiness_probe)?,
            startup_probe: to_value(&wanted.startup_probe)?,
        })
    }

    fn compared(&self, there: Option<&Self>) -> [(&'static str, bool); 9] {
        let same = |field: fn(&Self) -> &Value| there.is_some_and(|there| holds(field(self), field(there)));
        // One that is not wanted and yet there is a contradiction: nobody but who makes the template adds probes.
        let alike = |field: fn(&Self) -> &Value| {
            there.is_some_and(|there| {
                let (wanted, there) = (without_zeros(field(self)), field(there));
                holds(&wanted, there) && is_empty(&wanted) == is_empty(there)
            })
        };
        [
            ("image", same(|container| &container.image)),
            ("imagePullPolicy", same(|container| &container.image_pull_policy)),
            ("ports", same(|container| &container.ports)),
            ("env", same(|container| &container.env)),
            ("resources", there.is_some_and(|there| self.resources.hold(&there.resources))),
            ("securityContext", same(|container| &container.security_context)),
            ("livenessProbe", alike(|container| &container.liveness_probe)),
            ("readinessProbe", alike(|container| &container.readiness_probe)),
            ("startupProbe", alike(|container| &container.startup_probe)),
        ]
    }
}

impl Resources {
    fn hold(&self, there: &Self) -> bool {
        let hold = |wanted: &Value, there: &Value| {
            wanted.as_object().into_iter().flatten().all(|(name, amount)| {
                let there = there.get(name).and_then(Value::as_str);
                there.zip(amount.as_str()).is_some_and(|(there, amount)| quantity::is_same(there, amount))
            })
        };
        hold(&self.limits, &there.limits) && hold(&self.requests, &there.requests)
    }
}

/// The first of these fields, as JSON pointers, in which an object contradicts the wanted one. What others have added is no
/// contradiction.
pub fn contradiction(wanted: &Value, there: &Value, fields: &[(&'static str, &str)]) -> Option<&'static str> {
    let found = fields.iter().find(|(_, pointer)| contradicts(wanted.pointer(pointer), there.pointer(pointer)));
    found.map(|(name, _)| *name)
}

/// Whether a field contradicts the wanted one.
pub fn contradicts(wanted: Option<&Value>, there: Option<&Value>) -> bool {
    !holds(wanted.unwrap_or(&Value::Null), there.unwrap_or(&Value::Null))
}

/// A probe as the API server keeps it: it drops numbers that are nothing.
fn without_zeros(probe: &Value) -> Value {
    let mut probe = probe.clone();
    if let Some(fields) = probe.as_object_mut() {
        fields.retain(|_, value| value.as_i64() != Some(0));
    }
    probe
}

/// Whether everything that is wanted is there.
fn holds(wanted: &Value, there: &Value) -> bool {
    match (wanted, there) {
        (wanted, _) if is_empty(wanted) => true,
        (Value::Object(wanted), Value::Object(there)) => {
            wanted.iter().all(|(key, value)| holds(value, there.get(key).unwrap_or(&Value::Null)))
        }
        (Value::Array(wanted), Value::Array(there)) => {
            wanted.iter().all(|value| there.iter().any(|other| holds(value, other)))
        }
        (wanted, there) => wanted == there,
    }
}

/// The server drops what says nothing.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}
