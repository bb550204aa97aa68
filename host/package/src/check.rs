//! What a manifest must keep to.

use std::collections::BTreeSet;

use operator_contract::{CONTRACT_VERSION, Manifest, ParentKind, Scope, WebhookRule};
use serde_json::Value;

use crate::PackageError;

/// Reads and checks a manifest.
pub(crate) fn manifest(json: &[u8]) -> Result<Manifest, PackageError> {
    // The contract first: another one may have other keys, and its version is what its author must hear about.
    let head: Value = serde_json::from_slice(json).map_err(|error| wrong("the whole of it", error.to_string()))?;
    contract(head.get("contract").and_then(Value::as_str).unwrap_or_default())?;
    let reader = &mut serde_json::Deserializer::from_slice(json);
    let manifest: Manifest = serde_path_to_error::deserialize(reader).map_err(|error| {
        let place = error.path().to_string();
        let why = error.into_inner().to_string();
        let hint = nearest(&why).map(|name| format!("; did you mean {name}?")).unwrap_or_default();
        wrong(&place, format!("{why}{hint}"))
    })?;
    if !label(&manifest.name, 40) {
        return Err(wrong("name", "write lower-case letters, digits and dashes, at most 40 characters".into()));
    }
    if !version(&manifest.version) {
        return Err(wrong(
            "version",
            format!("{:?} is no semantic version; write one such as 1.0.0", manifest.version),
        ));
    }
    if manifest.kinds.is_empty() {
        return Err(wrong("kinds", "a module serves at least one kind; add it with its CRD".into()));
    }
    for (index, kind) in manifest.kinds.iter().enumerate() {
        parent_kind(&format!("kinds[{index}]"), kind)?;
    }
    webhooks(&manifest)?;
    Ok(manifest)
}

/// The host serves its own major version, up to its own minor: what came later it cannot know.
fn contract(wanted: &str) -> Result<(), PackageError> {
    let parts = |text: &str| -> Option<(u32, u32)> {
        let mut parts = text.split('.').map(|part| part.parse().ok());
        Some((parts.next()??, parts.next()??))
    };
    let refused = |fix| PackageError::Contract { wanted: wanted.to_owned(), host: CONTRACT_VERSION, fix };
    match (parts(wanted), parts(CONTRACT_VERSION)) {
        (Some(wanted), Some(host)) if wanted.0 == host.0 && wanted.1 <= host.1 => Ok(()),
        (Some(wanted), Some(host)) if wanted > host => {
            Err(refused("update the host, or build the module with an older SDK"))
        }
        (Some(_), _) => Err(refused("build the module with the SDK of this host")),
        (None, _) => Err(refused("name the contract in the manifest as in 1.0.0")),
    }
}

fn parent_kind(place: &str, kind: &ParentKind) -> Result<(), PackageError> {
    let at = |key: &str| format!("{place}.{key}");
    let Some((group, version)) = kind.api_version.split_once('/') else {
        return Err(wrong(&at("apiVersion"), "write group/version, such as example.org/v1".into()));
    };
    let crd = &kind.crd;
    let spelt = |key: &str| crd.pointer("/spec/names")?.get(key)?.as_str();
    let scope = if kind.scope == Scope::Cluster { "Cluster" } else { "Namespaced" };
    let versions = crd.pointer("/spec/versions").and_then(Value::as_array);
    let serves = versions.is_some_and(|all| all.iter().any(|v| v.get("name").and_then(Value::as_str) == Some(version)));
    for (holds, key) in [
        (crd.pointer("/spec/group").and_then(Value::as_str) == Some(group), "spec.group"),
        (serves, "spec.versions"),
        (spelt("kind") == Some(&kind.kind), "spec.names.kind"),
        (spelt("plural") == Some(&kind.plural), "spec.names.plural"),
        (crd.pointer("/spec/scope").and_then(Value::as_str) == Some(scope), "spec.scope"),
    ] {
        if !holds {
            return Err(wrong(
                &at("crd"),
                format!("{key} of the CRD and the kind in the manifest differ; make them agree"),
            ));
        }
    }
    Ok(())
}

fn webhooks(manifest: &Manifest) -> Result<(), PackageError> {
    let mut paths = BTreeSet::new();
    for (index, WebhookRule { path, kind, operations, .. }) in manifest.webhooks.iter().enumerate() {
        let at = |key: &str| format!("webhooks[{index}].{key}");
        if !manifest.kinds.iter().any(|known| known.kind == *kind) {
            let known: Vec<&str> = manifest.kinds.iter().map(|known| known.kind.as_str()).collect();
            return Err(wrong(&at("kind"), format!("{kind} is none of the module's kinds ({})", known.join(", "))));
        }
        if !path.starts_with('/') || !paths.insert(path) {
            return Err(wrong(&at("path"), format!("{path:?} must start with / and be there once")));
        }
        if operations.is_empty() {
            return Err(wrong(&at("operations"), "name at least one operation".into()));
        }
    }
    Ok(())
}

fn wrong(place: &str, why: String) -> PackageError {
    PackageError::Manifest { place: place.to_owned(), why }
}

/// A DNS label (RFC 1123) of limited length.
fn label(text: &str, limit: usize) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.len() <= limit && text.chars().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

fn version(text: &str) -> bool {
    let core = text.split(['-', '+']).next().unwrap_or_default();
    let parts: Vec<&str> = core.split('.').collect();
    parts.len() == 3 && parts.iter().all(|part| part.parse::<u64>().is_ok())
}

/// The known name nearest to an unknown one, both taken from serde's message.
fn nearest(message: &str) -> Option<&str> {
    let mut quoted = message.strip_prefix("unknown field")?.split('`').skip(1).step_by(2);
    let unknown = quoted.next()?;
    quoted
        .map(|known| (strsim::damerau_levenshtein(unknown, known), known))
        .min()
        .filter(|(distance, _)| *distance <= 3)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    pub(crate) fn good() -> Value {
        json!({
            "name": "thing", "version": "1.0.0", "contract": CONTRACT_VERSION, "codec": "json/1",
            "kinds": [{
                "apiVersion": "example.org/v1", "kind": "Thing", "plural": "things", "scope": "Namespaced",
                "crd": {"spec": {"group": "example.org", "scope": "Namespaced", "versions": [{"name": "v1"}],
                    "names": {"kind": "Thing", "plural": "things"}}},
            }],
            "webhooks": [{"name": "v.kb.io", "path": "/v", "kind": "Thing", "phase": "validate", "operations": ["CREATE"]}],
        })
    }

    fn refusal(change: impl FnOnce(&mut Value)) -> String {
        let mut manifest = good();
        change(&mut manifest);
        super::manifest(&serde_json::to_vec(&manifest).unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn a_good_manifest_is_read() {
        assert_eq!(manifest(&serde_json::to_vec(&good()).unwrap()).unwrap().name, "thing");
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_known_one() {
        let text = refusal(|m| m["webhoks"] = json!([]));
        assert!(text.contains("webhoks") && text.contains("did you mean webhooks?"), "{text}");
    }

    #[test]
    fn another_contract_is_refused_before_anything_else_and_both_versions_are_named() {
        let text = refusal(|m| {
            m["contract"] = "9.0.0".into();
            m["new"] = true.into();
        });
        assert_eq!(
            text,
            format!(
                "it was built for contract 9.0.0, this host speaks {CONTRACT_VERSION}; update the host, or build the module with an older SDK"
            )
        );
        let older = refusal(|m| m["contract"] = "0.9.0".into());
        assert!(older.ends_with("build the module with the SDK of this host"), "{older}");
    }

    #[test]
    fn names_and_versions_keep_to_their_rules() {
        assert!(refusal(|m| m["name"] = "Thing".into()).contains("wrong at name"));
        assert!(refusal(|m| m["version"] = "1".into()).contains("wrong at version"));
    }

    #[test]
    fn a_kind_and_its_crd_must_agree() {
        let text = refusal(|m| m["kinds"][0]["plural"] = "thinges".into());
        assert!(text.contains("kinds[0].crd") && text.contains("spec.names.plural"), "{text}");
    }

    #[test]
    fn webhooks_are_about_the_modules_own_kinds() {
        let text = refusal(|m| m["webhooks"][0]["kind"] = "Other".into());
        assert!(text.contains("webhooks[0].kind") && text.contains("(Thing)"), "{text}");
    }
}
