//! `modctl admit`: defaults and verdict for the user's own file, as the webhooks would give them.

use std::path::PathBuf;

use clap::ValueEnum;
use operator_core::{
    Document, ObjectRef, Request, User,
    contract::{Manifest, Operation, ParentKind, Phase, WebhookRule},
    diff, patch, schema,
};
use operator_engine::Loaded;
use operator_simulator::{manifest::Manifest as FileDocument, misfit, misfit::Misfit};
use serde_json::{Value, json};

use crate::{failure::Failure, files, load, output::Report};

/// Judges the objects of a file: schema, defaults, validation. Exit code 1 when one is refused.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The module's package.
    #[arg(long)]
    module: PathBuf,
    /// YAML or JSON with one or more objects of the module's kinds.
    object: PathBuf,
    /// The object as it is stored, for an update or a deletion.
    #[arg(long)]
    old: Option<PathBuf>,
    /// What is being done; update when --old is given, else create.
    #[arg(long, value_enum)]
    operation: Option<Done>,
    /// The module's settings, as JSON.
    #[arg(long, default_value = "{}")]
    settings: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Done {
    Create,
    Update,
    Delete,
}

/// What came out for one object.
struct Judged {
    name: String,
    lines: Vec<String>,
    value: Value,
    refused: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    let package = load::package(&arguments.module)?;
    let documents = files::documents(&arguments.object)?;
    let old = arguments.old.as_deref().map(files::documents).transpose()?.and_then(|old| old.into_iter().next());
    let engine = load::engine(false, None)?;
    let module = load::load(&engine, &package)?;
    let settings = load::settings(&module, &arguments.settings)?;
    let asked = Asking { arguments, manifest: &package.manifest, module: &module, settings, old: old.as_ref() };
    let mut report = Report::default();
    let mut values = Vec::new();
    for document in &documents {
        let judged = asked.judge(document)?;
        report.lines.push(format!("{}: {}", judged.name, if judged.refused { "refused" } else { "allowed" }));
        report.lines.extend(judged.lines.iter().map(|line| format!("  {line}")));
        report.bad |= judged.refused;
        values.push(judged.value);
    }
    report.value = json!({"objects": values});
    Ok(report)
}

/// What is the same for all objects of the file.
struct Asking<'a> {
    arguments: &'a Arguments,
    manifest: &'a Manifest,
    module: &'a Loaded,
    settings: Document,
    old: Option<&'a FileDocument>,
}

impl Asking<'_> {
    fn operation(&self) -> Operation {
        match (self.arguments.operation, self.old) {
            (Some(Done::Delete), _) => Operation::Delete,
            (Some(Done::Update), _) | (None, Some(_)) => Operation::Update,
            _ => Operation::Create,
        }
    }

    /// Judges one object as the API server would: its schema, its schema's defaults, then the webhooks.
    fn judge(&self, document: &FileDocument) -> Result<Judged, Failure> {
        let file = self.arguments.object.display().to_string();
        let kind = self.kind(&file, document)?;
        let version = kind.api_version.rsplit('/').next().unwrap_or_default();
        let schema = schema::of_crd(&kind.crd, version);
        let mut misfits = schema.map_or_else(Vec::new, |schema| misfit::misfits(&file, document, schema));
        let mut object = document.value.clone();
        if let Some(schema) = schema {
            schema::apply_defaults(schema, &mut object);
        }
        let mut warnings = Vec::new();
        if misfits.is_empty() {
            for phase in [Phase::Mutate, Phase::Validate] {
                let mut hooks = self.manifest.webhooks.iter();
                let hook =
                    hooks.find(|h| h.kind == kind.kind && h.phase == phase && h.operations.contains(&self.operation()));
                if let Some(hook) = hook {
                    let (found, warned) = self.ask(hook, &file, document, &mut object)?;
                    misfits.extend(found);
                    warnings.extend(warned);
                }
            }
        }
        let changes = diff::changes(&object, &document.value);
        let mut lines: Vec<String> = misfits.iter().map(ToString::to_string).collect();
        if misfits.is_empty() {
            lines.extend(changes.iter().map(|change| format!("default {change}")));
        }
        lines.extend(warnings.iter().map(|warning| format!("warning: {warning}")));
        let name = document.value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("without a name");
        let causes: Vec<Value> = misfits
            .iter()
            .map(|m| json!({"file": m.file, "line": m.line, "field": m.path, "message": m.message}))
            .collect();
        let value = json!({
            "kind": kind.kind, "name": name, "allowed": misfits.is_empty(), "causes": causes, "warnings": warnings,
            "patch": patch::json_patch(&document.value, &object), "object": object,
        });
        Ok(Judged { name: format!("{} {name}", kind.kind), lines, value, refused: !misfits.is_empty() })
    }

    fn kind(&self, file: &str, document: &FileDocument) -> Result<&ParentKind, Failure> {
        let text = |key: &str| document.value.get(key).and_then(Value::as_str).unwrap_or_default();
        let kinds = &self.manifest.kinds;
        let served = kinds.iter().find(|kind| kind.kind == text("kind") && kind.api_version == text("apiVersion"));
        served.ok_or_else(|| {
            let known: Vec<String> = kinds.iter().map(|kind| kind.kind.clone()).collect();
            Failure::Input(misfit::unknown_kind(file, document, &known).to_string())
        })
    }

    /// Asks the module in one of its webhooks; changes `object` by the verdict, and gives what is wrong with it and the warnings.
    fn ask(
        &self,
        hook: &WebhookRule,
        file: &str,
        document: &FileDocument,
        object: &mut Value,
    ) -> Result<(Vec<Misfit>, Vec<String>), Failure> {
        let identity = Document::from_value(object).identity().map(|identity| identity.object_ref());
        let identity = identity.unwrap_or_else(|_| ObjectRef::cluster("", "", ""));
        let deleted = self.operation() == Operation::Delete;
        let old = self.old.map(|old| Document::from_value(&old.value));
        let request = Request {
            phase: hook.phase,
            operation: self.operation(),
            identity,
            subresource: None,
            object: (!deleted).then(|| Document::from_value(object)),
            old_object: old.or_else(|| deleted.then(|| Document::from_value(object))),
            user: User { name: "modctl".into(), groups: vec!["system:authenticated".into()] },
            dry_run: true,
            settings: self.settings.clone(),
        };
        let verdict = self
            .module
            .admit_now(&request.clone().seen(hook.status))
            .map_err(|failure| Failure::Bad(failure.to_string()))?;
        if let Some(denial) = &verdict.denied {
            let causes = denial.causes.iter().map(|cause| Misfit::at(file, document, &cause.field, &cause.message));
            let mut misfits: Vec<Misfit> = causes.collect();
            if misfits.is_empty() {
                misfits.push(Misfit::at(file, document, "", &denial.message));
            }
            return Ok((misfits, verdict.warnings));
        }
        let changed = patch::mutated(&request, &verdict).map_err(|error| Failure::Bad(error.to_string()))?;
        if let Some(changed) = changed {
            *object = changed;
        }
        Ok((Vec::new(), verdict.warnings))
    }
}
