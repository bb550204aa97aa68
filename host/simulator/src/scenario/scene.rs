//! Verbs that set the scene: nodes, devices, modules, and what goes wrong.

use operator_core::{Document, ObjectRef};
use serde_json::{Value, json};

use super::{
    show,
    steps::{Run, Stop},
};
use crate::{actors::Device, misfit};

impl Run<'_> {
    pub(super) fn node(&mut self, name: &str, rest: &[&str]) -> Result<(), Stop> {
        let mut labels = json!({"kubernetes.io/hostname": name});
        let mut taints = Vec::new();
        let mut words = rest.iter();
        while let Some(word) = words.next() {
            let argument = words.next().and_then(|argument| argument.split_once('='));
            match (*word, argument) {
                ("label", Some((key, value))) => {
                    if let Some(labels) = labels.as_object_mut() {
                        labels.insert(key.to_owned(), value.into());
                    }
                }
                ("taint", Some((key, effect))) => taints.push(json!({"key": key, "effect": effect})),
                _ => return Err(Stop::Impossible("write: node NAME [label KEY=VALUE] [taint KEY=EFFECT]".into())),
            }
        }
        self.world.cluster.put(json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": {"taints": taints},
            "status": {
                "capacity": {"cpu": "8", "memory": "32Gi", "pods": "110"},
                "allocatable": {"cpu": "8", "memory": "32Gi", "pods": "110"},
                "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
            },
        }));
        Ok(())
    }

    pub(super) fn device(&mut self, node: &str, device: &str, label: &str) -> Result<(), Stop> {
        let wrong = || Stop::Impossible("write: device NODE RESOURCE=COUNT when LABEL=VALUE".into());
        let (resource, count) = device.split_once('=').ok_or_else(wrong)?;
        let (key, value) = label.split_once('=').ok_or_else(wrong)?;
        self.world.actors.devices.push(Device {
            node: node.to_owned(),
            resource: resource.to_owned(),
            count: count.parse().map_err(|_| wrong())?,
            label: (key.to_owned(), value.to_owned()),
        });
        Ok(())
    }

    pub(super) fn device_lost(&mut self, node: &str, resource: &str) -> Result<(), Stop> {
        let devices = &mut self.world.actors.devices;
        let before = devices.len();
        devices.retain(|device| !(device.node == node && device.resource == resource));
        if devices.len() == before {
            return Err(Stop::Impossible(format!("node {node} has no device {resource}")));
        }
        Ok(())
    }

    pub(super) fn node_ready(&mut self, node: &str, ready: bool) -> Result<(), Stop> {
        let identity = ObjectRef::cluster("v1", "Node", node);
        let status = if ready { "True" } else { "False" };
        let found = self.world.cluster.object(&identity).is_some();
        let now = self.world.cluster.time();
        self.world.cluster.edit(&identity, |node| {
            let condition = node.pointer_mut("/status/conditions/0").and_then(Value::as_object_mut);
            if let Some(condition) = condition.filter(|c| c.get("status").and_then(Value::as_str) != Some(status)) {
                condition.insert("status".into(), status.into());
                condition.insert("lastTransitionTime".into(), now.into());
            }
        });
        if found { Ok(()) } else { Err(Stop::Impossible(format!("there is no node {node}"))) }
    }

    pub(super) fn crd(&mut self, file: &str) -> Result<(), Stop> {
        let text = self.files.read(file)?;
        for document in misfit::read(file, &text).map_err(|misfit| misfit.to_string())? {
            self.world.cluster.put(document.value);
        }
        Ok(())
    }

    pub(super) fn settings(&mut self, module: &str, json: Option<(&str, &str)>) -> Result<(), Stop> {
        let json = json.map_or("{}", |(_, json)| json.trim());
        serde_json::from_str::<serde_json::Map<String, Value>>(json)
            .map_err(|error| format!("the settings of {module} are no JSON object: {error}"))?;
        self.settings.insert(module.to_owned(), Document::new(json.as_bytes().to_vec()));
        Ok(())
    }

    pub(super) fn module(&mut self, name: &str, package: &str) -> Result<(), Stop> {
        let module = self.modules.load(package)?;
        let settings = self.settings.get(name).cloned().unwrap_or_else(|| Document::new(&b"{}"[..]));
        let judged = pollster::block_on(module.validate_settings(settings.clone())).map_err(|f| f.to_string())?;
        judged.map_err(|causes| {
            let causes: Vec<String> = causes.iter().map(|c| format!("{}: {}", c.field, c.message)).collect();
            format!("the settings of {name} are refused: {}", causes.join("; "))
        })?;
        let generation = module.generation();
        self.lines.push(format!(
            "{} {} serves {}",
            generation.name,
            generation.version,
            show::kinds(module.manifest())
        ));
        self.world.serve(name, module, settings);
        Ok(())
    }

    pub(super) fn swap(&mut self, name: &str, package: &str) -> Result<(), Stop> {
        let module = self.modules.load(package)?;
        let version = module.generation().version.to_string();
        if !self.world.swap(name, module) {
            return Err(Stop::Impossible(format!("no module serves as {name}; load it first with `module {name}`")));
        }
        self.lines.push(format!("{name} is {version} now; calls under way end on the old version"));
        Ok(())
    }

    /// From now on, containers of this image log this line.
    pub(super) fn log(&mut self, image: &str, rest: &str) {
        let line = rest.split_once(char::is_whitespace).map(|(_, line)| line.trim()).unwrap_or_default();
        self.world.add_log(image, line.trim_matches('"'));
    }

    /// Whether a container's probe fails on a node.
    pub(super) fn probe(&mut self, node: &str, container: &str, fails: bool) {
        let probes = &mut self.world.actors.failing_probes;
        probes.retain(|(n, c)| (n.as_str(), c.as_str()) != (node, container));
        if fails {
            probes.push((node.into(), container.into()));
        }
    }
}
