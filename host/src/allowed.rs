//! What the administrator allows modules: what is written for them, or else what the shipped modules ask for.

use std::{collections::BTreeSet, time::Duration};

use operator_core::{
    allowance::{Allowance, Allowances},
    contract::Manifest,
};

/// What the shipped modules ask for. A command keeps it up to date, and a test says when it is not.
const SHIPPED: &str = include_str!("../../deploy/chart/scone-operator/files/grants.json");
/// The value of the flag that allows what modules ask for.
const AS_ASKED: &str = "as-asked";

/// What modules may do.
pub(crate) enum Allowed {
    /// Whatever they ask for: for authors, on clusters of their own.
    AsAsked,
    /// What is written.
    Written {
        /// By the module's name.
        allowed: Allowances,
        /// The modules that are not only allowed what is shipped.
        named: BTreeSet<String>,
    },
}

impl Allowed {
    /// What the shipped modules ask for, with what is written put in its place, module by module. It is the name of a file, or the JSON
    /// itself: a flag of a Deployment can only be changed by who may change the operator, and a `ConfigMap` by many.
    ///
    /// # Errors
    /// What cannot be used, why, and what to do.
    pub(crate) fn read(written: Option<&str>) -> Result<Self, String> {
        if written == Some(AS_ASKED) {
            return Ok(Self::AsAsked);
        }
        let mut allowed: Allowances =
            serde_json::from_str(SHIPPED).map_err(|error| format!("the grants of the shipped modules: {error}"))?;
        let mut named = BTreeSet::new();
        if let Some(written) = written {
            let inline = written.trim_start().starts_with('{');
            let place = if inline { "--grants".to_owned() } else { format!("--grants {written}") };
            let text = if inline { Ok(written.to_owned()) } else { std::fs::read_to_string(written) };
            let text = text.map_err(|error| {
                format!("{place}: {error}; name a file, such as one that `modctl grants` wrote, or write {AS_ASKED}")
            })?;
            let own: Allowances =
                serde_json::from_str(&text).map_err(|error| format!("{place}: {error}; `modctl grants` writes it"))?;
            named = own.keys().cloned().collect();
            allowed.extend(own);
        }
        Ok(Self::Written { allowed, named })
    }

    /// What a module asks for and is not allowed, as one sentence; none when it may do all of it.
    pub(crate) fn lacks(&self, manifest: &Manifest) -> Option<String> {
        let Self::Written { allowed, .. } = self else { return None };
        let none = Allowance::default();
        let lacks = allowed.get(&manifest.name).unwrap_or(&none).lacks(manifest);
        (!lacks.is_empty()).then(|| {
            format!(
                "module {} asks for more than the grants allow it: {}; add it to --grants (the chart's value grants), or use another version",
                manifest.name,
                lacks.join("; ")
            )
        })
    }

    /// The modules that an administrator has named, with what they may do: they are expected to be there.
    pub(crate) fn expected(&self) -> impl Iterator<Item = (&str, &Allowance)> {
        let (allowed, named) = match self {
            Self::AsAsked => (None, None),
            Self::Written { allowed, named } => (Some(allowed), Some(named)),
        };
        let named = named.into_iter().flatten();
        named.filter_map(move |name| Some((name.as_str(), allowed?.get(name)?)))
    }

    /// After which time objects are let go that a module does not clean up after.
    pub(crate) fn release_after(&self, module: &str) -> Option<Duration> {
        let Self::Written { allowed, .. } = self else { return None };
        let seconds = allowed.get(module)?.finalizers.release_after?;
        Some(Duration::from_secs(seconds.into()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn manifest(name: &str, kind: &str) -> Manifest {
        serde_json::from_value(json!({
            "name": name, "version": "1.0.0", "contract": "1.0.0", "codec": "json/1",
            "kinds": [{"apiVersion": "example.org/v1", "kind": kind, "plural": "things", "scope": "Namespaced", "crd": {}}],
        }))
        .unwrap()
    }

    fn read(text: &str) -> Result<Allowed, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("grants.json");
        std::fs::write(&file, text).unwrap();
        Allowed::read(file.to_str())
    }

    #[test]
    fn a_module_that_nobody_allows_anything_is_told_what_to_add() {
        let allowed = Allowed::read(None).unwrap();
        assert_eq!(allowed.expected().count(), 0, "shipped modules may be left out");
        let why = allowed.lacks(&manifest("mine", "Thing")).unwrap();
        assert!(
            why.contains(r#"kinds: {"apiVersion":"example.org/v1","kind":"Thing"}"#) && why.contains("--grants"),
            "{why}"
        );
    }

    #[test]
    fn a_file_adds_modules_and_puts_its_word_in_the_place_of_what_is_shipped() {
        let text = r#"{"mine": {"kinds": [{"apiVersion": "example.org/v1", "kind": "Thing"}], "finalizers": {"releaseAfter": 60}},
            "las": {}}"#;
        for allowed in [read(text).unwrap(), Allowed::read(Some(text)).unwrap()] {
            assert!(allowed.lacks(&manifest("mine", "Thing")).is_none());
            assert!(allowed.lacks(&manifest("mine", "Other")).is_some());
            assert!(allowed.lacks(&manifest("las", "Thing")).is_some());
            assert_eq!(allowed.release_after("mine"), Some(Duration::from_mins(1)));
            assert_eq!(allowed.release_after("las"), None);
            let expected: Vec<&str> = allowed.expected().map(|(name, _)| name).collect();
            assert_eq!(expected, ["las", "mine"]);
        }
    }

    #[test]
    fn a_file_that_is_no_good_is_named_with_what_to_do() {
        let wrong = [r#"{"mine": {"kind": []}}"#, "[]", "no json"];
        for text in wrong {
            let why = read(text).err().unwrap();
            assert!(why.contains("grants.json: ") && why.contains("modctl grants"), "{why}");
        }
        assert!(Allowed::read(Some("/nowhere")).err().unwrap().contains("as-asked"));
    }
}
