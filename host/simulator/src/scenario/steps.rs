//! From a script to a transcript: each verb finds what does it.

use std::{io::Write, time::Instant};

use operator_core::{Document, ObjectRef};
use serde_json::json;

use super::{
    Files, Format, ModuleSource, Scenario, ScenarioError, Summary, expect, parse::Step, settle, show, traffic::Traffic,
};
use crate::World;

/// One run of a script.
pub(super) struct Run<'a> {
    pub(super) world: World,
    pub(super) traffic: Option<Traffic>,
    /// Number of writes when the last `settle` began.
    pub(super) mark: usize,
    /// Number of requests that were sent when the last `settle` began.
    pub(super) sent: usize,
    /// What the current step prints.
    pub(super) lines: Vec<String>,
    /// The statuses that parents got in the current step, for programs.
    pub(super) statuses: Vec<serde_json::Value>,
    /// Events that were published, for `show events`.
    pub(super) events: Vec<String>,
    /// The latest samples of each parent, for `show metrics`.
    pub(super) samples: std::collections::BTreeMap<ObjectRef, std::sync::Arc<[operator_core::Sample]>>,
    pub(super) modules: &'a dyn ModuleSource,
    pub(super) files: &'a dyn Files,
    pub(super) settings: std::collections::BTreeMap<String, Document>,
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
    /// Runs the script in a world of its own, and writes the transcript to each of `outputs` in its format.
    ///
    /// # Errors
    /// At the first step that cannot be done, or that finds something else than expected.
    pub fn run(
        &self,
        modules: &dyn ModuleSource,
        files: &dyn Files,
        outputs: &mut [(Format, &mut dyn Write)],
    ) -> Result<Summary, ScenarioError> {
        let mut run = Run {
            world: World::new("operator-system")?,
            traffic: None,
            mark: 0,
            sent: 0,
            lines: Vec::new(),
            statuses: Vec::new(),
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
            let (lines, statuses) = (std::mem::take(&mut run.lines), std::mem::take(&mut run.statuses));
            for (format, out) in outputs.iter_mut() {
                write_step(*out, *format, step, (&lines, &statuses), started)?;
            }
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

/// Verbs that only set the scene.
const SCENE: [&str; 12] = [
    "advance",
    "answer",
    "certificate",
    "command",
    "crd",
    "device",
    "log",
    "module",
    "namespace",
    "no-answer",
    "node",
    "settings",
];

fn write_step(
    out: &mut dyn Write,
    format: Format,
    step: &Step,
    (lines, statuses): (&[String], &[serde_json::Value]),
    started: Instant,
) -> Result<(), ScenarioError> {
    match format {
        Format::Json => {
            let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            let line = json!({"line": step.line, "step": step.verb, "arguments": step.rest, "output": lines,
                "statuses": statuses, "ms": ms});
            writeln!(out, "{line}")?;
        }
        Format::Text => match step.verb.as_str() {
            "note" => writeln!(out, "\n── {}", step.rest)?,
            "expect" if !lines.is_empty() => writeln!(out, "  ✓ {}", step.rest)?,
            verb => {
                // Steps that only set the scene stand close together.
                let scene = SCENE.contains(&verb);
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
            ("note", _) => {}
            ("namespace", [name]) => self.world.add_namespace(name),
            ("node", [name, rest @ ..]) => self.node(name, rest)?,
            ("device", [node, device, "when", label]) => self.device(node, device, label)?,
            ("device-lost", [node, resource]) => self.device_lost(node, resource)?,
            ("node-lost", [node]) => self.node_ready(node, false)?,
            ("node-back", [node]) => self.node_ready(node, true)?,
            ("crd", [file]) => self.crd(file)?,
            ("settings", [module, ..]) => self.settings(module, step.rest.split_once(char::is_whitespace))?,
            ("module", [name]) => self.module(name, name)?,
            ("module", [name, "from", package]) => self.module(name, package)?,
            ("swap", [name, package]) => self.swap(name, package)?,
            ("apply", [file]) => self.apply(file, false)?,
            ("try-apply", [file]) => self.apply(file, true)?,
            ("delete", [kind, name]) => self.delete(kind, name)?,
            ("patch", [kind, name, ..]) => self.patch(kind, name, &step.rest)?,
            ("log", [image, ..]) => self.log(image, &step.rest),
            ("answer", [method, url, status, ..]) => self.answer(method, url, status, step.after(3))?,
            ("no-answer", [method, url, failure @ ..]) => self.no_answer(method, url, failure)?,
            ("certificate", [url, sha256, rest @ ..]) => self.certificate(url, sha256, rest)?,
            ("command", [image, program, code, ..]) => self.command(image, program, code, step.after(3))?,
            ("bad-image", [part, message @ ..]) => {
                self.world.actors.bad_images.push(((*part).to_owned(), message.join(" ")));
            }
            ("good-image", [part]) => self.world.actors.bad_images.retain(|(bad, _)| bad != part),
            ("fail-probe", [node, container]) => self.probe(node, container, true),
            ("pass-probe", [node, container]) => self.probe(node, container, false),
            ("advance", [seconds]) => {
                let seconds = seconds.parse().map_err(|_| format!("{seconds:?} is no number of seconds"))?;
                self.world.cluster.advance(seconds);
            }
            ("settle", rest) => settle::settle(self, rest.first().copied())?,
            ("reconcile", []) => settle::once(self)?,
            ("show", what) => show::show(self, what)?,
            ("expect", what) => {
                expect::expect(self, what, step)?;
                self.expectations += 1;
                self.lines.push("holds".into());
            }
            ("traffic", ["start"]) => self.traffic = Some(Traffic::start(&self.world)?),
            ("traffic", ["stop"]) => self.stop_traffic()?,
            (verb, _) => return Err(format!("{verb} takes other arguments; see tests/scenarios/README.md").into()),
        }
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
