//! What each verb does.

use std::{io::Write, time::Instant};

use http::Method;
use operator_core::{Document, ObjectRef};
use serde_json::{Value, json};

use super::{
    Files, Format, ModuleSource, Scenario, ScenarioError, Summary, expect, parse::Step, settle, show, traffic::Traffic,
};
use crate::{World, actors::Device, manifest::Manifest, misfit};

/// One run of a script.
pub(super) struct Run<'a> {
    pub(super) world: World,
    pub(super) traffic: Option<Traffic>,
    /// Number of writes when the last `settle` began.
    pub(super) mark: usize,
    /// What the current step prints.
    pub(super) lines: Vec<String>,
    /// Events that were published, for `show events`.
    pub(super) events: Vec<String>,
    /// The latest samples of each parent, for `show metrics`.
    pub(super) samples: std::collections::BTreeMap<ObjectRef, Vec<operator_core::Sample>>,
    modules: &'a dyn ModuleSource,
    files: &'a dyn Files,
    settings: std::collections::BTreeMap<String, Document>,
    expectations: usize,
}

/// Why a step cannot go on.
pub(super) enum Stop {
    /// It cannot be done.
    Impossible(String),
    /// Something is not as expected.
    Unexpected(String),
}

impl From<String> for Stop {
    fn from(message: String) -> Self {
        Self::Impossible(message)
    }
}

impl Scenario {
    /// Runs the script in a world of its own, and writes the transcript to `out`.
    ///
    /// # Errors
    /// At the first step that cannot be done, or that finds something else than expected.
    pub fn run(
        &self,
        modules: &dyn ModuleSource,
        files: &dyn Files,
        format: Format,
        out: &mut dyn Write,
    ) -> Result<Summary, ScenarioError> {
        let mut run = Run {
            world: World::new("operator-system")?,
            traffic: None,
            mark: 0,
            lines: Vec::new(),
            events: Vec::new(),
            samples: std::collections::BTreeMap::new(),
            modules,
            files,
            settings: std::collections::BTreeMap::new(),
            expectations: 0,
        };
        for step in &self.steps {
            let started = Instant::now();
            let result = run.step(step);
            write_step(out, format, step, &std::mem::take(&mut run.lines), started)?;
            result.map_err(|stop| {
                let (file, line) = (self.file.clone(), step.line);
                match stop {
                    Stop::Impossible(message) => ScenarioError::Step { file, line, message },
                    Stop::Unexpected(message) => ScenarioError::Unexpected { file, line, message },
                }
            })?;
        }
        let writes = run.world.cluster.writes().len();
        Ok(Summary { steps: self.steps.len(), expectations: run.expectations, writes })
    }
}

fn write_step(
    out: &mut dyn Write,
    format: Format,
    step: &Step,
    lines: &[String],
    started: Instant,
) -> Result<(), ScenarioError> {
    match format {
        Format::Json => {
            let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            let line = json!({"line": step.line, "step": step.verb, "arguments": step.rest, "output": lines, "ms": ms});
            writeln!(out, "{line}")?;
        }
        Format::Text => match step.verb.as_str() {
            "note" => writeln!(out, "\n── {}", step.rest)?,
            "expect" if !lines.is_empty() => writeln!(out, "  ✓ {}", step.rest)?,
            verb => {
                // Steps that only set the scene stand close together.
                let scene =
                    matches!(verb, "namespace" | "node" | "device" | "log" | "settings" | "module" | "crd" | "advance");
                writeln!(out, "{}$ {}", if scene { "" } else { "\n" }, format!("{verb} {}", step.rest).trim_end())?;
                for line in lines {
                    writeln!(out, "  {line}")?;
                }
            }
        },
    }
    Ok(())
}

impl Run<'_> {
    fn step(&mut self, step: &Step) -> Result<(), Stop> {
        let words = step.words();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match (step.verb.as_str(), words.as_slice()) {
            ("note", _) => Ok(()),
            ("namespace", [name]) => Ok(self.world.add_namespace(name)),
            ("node", [name, rest @ ..]) => self.node(name, rest),
            ("device", [node, device, "when", label]) => self.device(node, device, label),
            ("device-lost", [node, resource]) => self.device_lost(node, resource),
            ("node-lost", [node]) => self.node_ready(node, false),
            ("node-back", [node]) => self.node_ready(node, true),
            ("crd", [file]) => self.crd(file),
            ("settings", [module, ..]) => self.settings(module, step.rest.split_once(char::is_whitespace)),
            ("module", [name]) => self.module(name, name),
            ("module", [name, "from", package]) => self.module(name, package),
            ("swap", [name, package]) => self.swap(name, package),
            ("apply", [file]) => self.apply(file, false),
            ("try-apply", [file]) => self.apply(file, true),
            ("delete", [kind, name]) => self.delete(kind, name),
            ("patch", [kind, name, ..]) => self.patch(kind, name, &step.rest),
            ("log", [image, ..]) => self.log(image, &step.rest),
            ("bad-image", [part, message @ ..]) => self.bad_image(part, &message.join(" ")),
            ("good-image", [part]) => Ok(self.world.actors.bad_images.retain(|(bad, _)| bad != part)),
            ("fail-probe", [node, container]) => {
                Ok(self.world.actors.failing_probes.push(((*node).into(), (*container).into())))
            }
            ("pass-probe", [node, container]) => {
                Ok(self.world.actors.failing_probes.retain(|(n, c)| (n.as_str(), c.as_str()) != (*node, *container)))
            }
            ("advance", [seconds]) => {
                let seconds = seconds.parse().map_err(|_| format!("{seconds:?} is no number of seconds"))?;
                Ok(self.world.cluster.advance(seconds))
            }
            ("settle", rest) => settle::settle(self, rest.first().copied()),
            ("reconcile", []) => settle::once(self),
            ("show", what) => Ok(show::show(self, what)?),
            ("expect", what) => {
                expect::expect(self, what)?;
                self.expectations += 1;
                self.lines.push("holds".into());
                Ok(())
            }
            ("traffic", ["start"]) => Ok(self.traffic = Some(Traffic::start(&self.world)?)),
            ("traffic", ["stop"]) => self.stop_traffic(),
            (verb, _) => Err(Stop::Impossible(format!("{verb} takes other arguments; see tests/scenarios/README.md"))),
        }
    }

    fn node(&mut self, name: &str, rest: &[&str]) -> Result<(), Stop> {
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

    fn device(&mut self, node: &str, device: &str, label: &str) -> Result<(), Stop> {
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

    fn device_lost(&mut self, node: &str, resource: &str) -> Result<(), Stop> {
        let devices = &mut self.world.actors.devices;
        let before = devices.len();
        devices.retain(|device| !(device.node == node && device.resource == resource));
        if devices.len() == before {
            return Err(Stop::Impossible(format!("node {node} has no device {resource}")));
        }
        Ok(())
    }

    fn node_ready(&mut self, node: &str, ready: bool) -> Result<(), Stop> {
        let identity = ObjectRef::cluster("v1", "Node", node);
        let status = if ready { "True" } else { "False" };
        let found = self.world.cluster.object(&identity).is_some();
        self.world.cluster.edit(&identity, |node| {
            if let Some(condition) = node.pointer_mut("/status/conditions/0/status") {
                *condition = status.into();
            }
        });
        if found { Ok(()) } else { Err(Stop::Impossible(format!("there is no node {node}"))) }
    }

    fn crd(&mut self, file: &str) -> Result<(), Stop> {
        let text = self.files.read(file)?;
        for document in misfit::read(file, &text).map_err(|misfit| misfit.to_string())? {
            self.world.cluster.put(document.value);
        }
        Ok(())
    }

    fn settings(&mut self, module: &str, json: Option<(&str, &str)>) -> Result<(), Stop> {
        let json = json.map_or("{}", |(_, json)| json.trim());
        serde_json::from_str::<serde_json::Map<String, Value>>(json)
            .map_err(|error| format!("the settings of {module} are no JSON object: {error}"))?;
        self.settings.insert(module.to_owned(), Document::new(json.as_bytes().to_vec()));
        Ok(())
    }

    fn module(&mut self, name: &str, package: &str) -> Result<(), Stop> {
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

    fn swap(&mut self, name: &str, package: &str) -> Result<(), Stop> {
        let module = self.modules.load(package)?;
        let version = module.generation().version.to_string();
        if !self.world.swap(name, module) {
            return Err(Stop::Impossible(format!("no module serves as {name}; load it first with `module {name}`")));
        }
        self.lines.push(format!("{name} is {version} now; calls under way end on the old version"));
        Ok(())
    }

    fn apply(&mut self, file: &str, denied: bool) -> Result<(), Stop> {
        let text = self.files.read(file)?;
        for document in misfit::read(file, &text).map_err(|misfit| misfit.to_string())? {
            let (name, refused) = self.apply_one(file, &document)?;
            match (denied, refused) {
                (true, false) => return Err(Stop::Unexpected(format!("{name} was accepted"))),
                (false, true) => return Err(Stop::Unexpected(format!("{name} was refused"))),
                _ => {}
            }
        }
        Ok(())
    }

    /// Applies one document with strict field validation, as kubectl does; tells its name and whether it was refused.
    fn apply_one(&mut self, file: &str, document: &Manifest) -> Result<(String, bool), Stop> {
        let text =
            |pointer: &str| document.value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (api_version, kind, name) = (text("/apiVersion"), text("/kind"), text("/metadata/name"));
        let cluster = &self.world.cluster;
        let Some((_, namespaced)) = operator_controller::Cache::resource(cluster, &api_version, &kind) else {
            return Err(misfit::unknown_kind(file, document, &cluster.kind_names()).to_string().into());
        };
        let unknown = cluster
            .schema(&api_version, &kind)
            .map_or_else(Vec::new, |schema| operator_core::schema::unknown_fields(&schema, &document.value));
        if !unknown.is_empty() {
            self.lines.push(format!("{kind} {name} refused: unknown fields"));
            let schema = self.world.cluster.schema(&api_version, &kind).unwrap_or_default();
            let misfits = misfit::misfits(file, document, &schema);
            self.lines.extend(misfits.iter().map(ToString::to_string));
            return Ok((format!("{kind} {name}"), true));
        }
        let namespace = Some(text("/metadata/namespace")).filter(|n| !n.is_empty()).unwrap_or_else(|| "default".into());
        let namespace = namespaced.then_some(namespace);
        let identity = ObjectRef { api_version, kind: kind.clone(), namespace, name: name.clone() };
        let (code, answer) = self.world.apply(&identity, &document.value);
        if code >= 400 {
            self.told(file, document, &kind, &name, &answer);
        } else {
            self.lines.push(format!("{kind} {name} {}", if code == 201 { "created" } else { "configured" }));
        }
        Ok((format!("{kind} {name}"), code >= 400))
    }

    /// Prints a refusal, each cause with its place in the file.
    fn told(&mut self, file: &str, document: &Manifest, kind: &str, name: &str, answer: &Value) {
        let reason = answer.get("reason").and_then(Value::as_str).unwrap_or("Invalid");
        self.lines.push(format!("{kind} {name} refused: {reason}"));
        let causes = answer.pointer("/details/causes").and_then(Value::as_array).cloned().unwrap_or_default();
        if causes.is_empty() {
            self.lines.extend(answer.get("message").and_then(Value::as_str).map(str::to_owned));
        }
        for cause in causes {
            let text = |key: &str| cause.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            self.lines.push(misfit::Misfit::at(file, document, &text("field"), &text("message")).to_string());
        }
    }

    fn delete(&mut self, kind: &str, name: &str) -> Result<(), Stop> {
        let identity = self.world.named(kind, name)?;
        match self.world.send(
            Method::DELETE,
            &format!("{}?fieldManager=kubectl", self.world.path_of(&identity)),
            "application/json",
            &json!({}),
        ) {
            (code, answer) if code >= 400 => {
                Err(Stop::Impossible(answer.get("message").and_then(Value::as_str).unwrap_or("refused").to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn patch(&mut self, kind: &str, name: &str, rest: &str) -> Result<(), Stop> {
        let identity = self.world.named(kind, name)?;
        let json = rest.find('{').and_then(|start| rest.get(start..)).unwrap_or_default();
        let patch: Value = serde_json::from_str(json).map_err(|error| format!("the patch is no JSON: {error}"))?;
        let (code, answer) = self.world.send(
            Method::PATCH,
            &format!("{}?fieldManager=kubectl", self.world.path_of(&identity)),
            "application/merge-patch+json",
            &patch,
        );
        if code < 400 {
            return Ok(());
        }
        Err(Stop::Impossible(answer.get("message").and_then(Value::as_str).unwrap_or("refused").to_owned()))
    }

    fn log(&mut self, image: &str, rest: &str) -> Result<(), Stop> {
        let line = rest.split_once(char::is_whitespace).map(|(_, line)| line.trim()).unwrap_or_default();
        self.world.add_log(image, line.trim_matches('"'));
        Ok(())
    }

    fn bad_image(&mut self, part: &str, message: &str) -> Result<(), Stop> {
        self.world.actors.bad_images.push((part.to_owned(), message.to_owned()));
        Ok(())
    }

    fn stop_traffic(&mut self) -> Result<(), Stop> {
        let traffic =
            self.traffic.take().ok_or_else(|| "there is no traffic; begin with `traffic start`".to_owned())?;
        let report = traffic.stop();
        self.lines.push(report.to_string());
        if report.failed > 0 {
            return Err(Stop::Unexpected(format!("{} calls failed", report.failed)));
        }
        Ok(())
    }
}
