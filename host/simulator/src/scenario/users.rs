//! Verbs that do what users do: apply files, delete, patch.

use http::Method;
use operator_core::ObjectRef;
use serde_json::{Value, json};

use super::steps::{Run, Stop};
use crate::{manifest::Manifest, misfit};

impl Run<'_> {
    pub(super) fn apply(&mut self, file: &str, denied: bool) -> Result<(), Stop> {
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
            let reason = answer.get("reason").and_then(Value::as_str).unwrap_or("Invalid");
            self.lines.push(format!("{kind} {name} refused: {reason}"));
            let refusal = misfit::refusal(file, document, &answer);
            self.lines.extend(refusal.iter().map(ToString::to_string));
        } else {
            self.lines.push(format!("{kind} {name} {}", if code == 201 { "created" } else { "configured" }));
        }
        Ok((format!("{kind} {name}"), code >= 400))
    }

    pub(super) fn delete(&mut self, kind: &str, name: &str) -> Result<(), Stop> {
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

    pub(super) fn patch(&mut self, kind: &str, name: &str, rest: &str) -> Result<(), Stop> {
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
}
