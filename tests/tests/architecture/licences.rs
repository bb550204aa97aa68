//! deny.toml without cargo-deny: licences, sources and banned crates of the whole tree.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::metadata::Package;

/// What deny.toml says.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    allowed: BTreeSet<String>,
    banned: BTreeSet<String>,
    registries: BTreeSet<String>,
}

impl Rules {
    pub(crate) fn parse(text: &str) -> Self {
        let value: Value = toml::from_str(text).unwrap();
        let strings = |pointer: &str| -> BTreeSet<String> {
            let list = value.pointer(pointer).and_then(Value::as_array).unwrap();
            list.iter().map(|entry| entry.as_str().or_else(|| entry["crate"].as_str()).unwrap().to_owned()).collect()
        };
        Self {
            allowed: strings("/licenses/allow"),
            banned: strings("/bans/deny"),
            registries: strings("/sources/allow-registry"),
        }
    }
}

pub(crate) fn violations(rules: &Rules, package: &Package) -> Vec<String> {
    judge(rules, &package.name, package.license.as_deref(), package.source.as_deref())
}

fn judge(rules: &Rules, name: &str, licence: Option<&str>, source: Option<&str>) -> Vec<String> {
    let mut found = Vec::new();
    if rules.banned.contains(name) {
        found.push(format!("{name} is banned"));
    }
    match licence {
        Some(expression) if is_allowed(expression, &rules.allowed) => {}
        Some(expression) => found.push(format!("{name}: licence {expression} is not allowed")),
        None => found.push(format!("{name} names no licence")),
    }
    // Without a source it is a member of this workspace.
    if let Some(source) = source {
        let registry = source.strip_prefix("registry+").unwrap_or(source);
        if !rules.registries.contains(registry) {
            found.push(format!("{name} comes from {source}"));
        }
    }
    found
}

/// Whether an SPDX expression can be met by the allowed licences. `/` is the old way to write OR.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let text = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = text.split_whitespace().collect();
    let (fits, rest) = either(&words, allowed);
    fits && rest.is_empty()
}

fn either<'a>(words: &'a [&'a str], allowed: &BTreeSet<String>) -> (bool, &'a [&'a str]) {
    let (mut fits, mut rest) = both(words, allowed);
    while let ["OR", more @ ..] = rest {
        let (next, left) = both(more, allowed);
        (fits, rest) = (fits | next, left);
    }
    (fits, rest)
}

fn both<'a>(words: &'a [&'a str], allowed: &BTreeSet<String>) -> (bool, &'a [&'a str]) {
    let (mut fits, mut rest) = one(words, allowed);
    while let ["AND", more @ ..] = rest {
        let (next, left) = one(more, allowed);
        (fits, rest) = (fits & next, left);
    }
    (fits, rest)
}

fn one<'a>(words: &'a [&'a str], allowed: &BTreeSet<String>) -> (bool, &'a [&'a str]) {
    match words {
        ["(", inner @ ..] => {
            let (fits, rest) = either(inner, allowed);
            match rest {
                [")", rest @ ..] => (fits, rest),
                _ => (false, rest),
            }
        }
        [name, "WITH", exception, rest @ ..] => (allowed.contains(&format!("{name} WITH {exception}")), rest),
        [name, rest @ ..] => (allowed.contains(*name), rest),
        [] => (false, words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

    fn rules() -> Rules {
        Rules::parse(
            "[licenses]\nallow = [\"MIT\", \"Apache-2.0 WITH LLVM-exception\", \"Unicode-3.0\"]\n\
             [bans]\ndeny = [{ crate = \"openssl\", reason = \"x\" }]\n\
             [sources]\nallow-registry = [\"https://github.com/rust-lang/crates.io-index\"]\n",
        )
    }

    #[test]
    fn of_an_or_one_suffices_and_of_an_and_all_are_needed() {
        let allowed = &rules().allowed;
        for fine in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-3.0 OR MIT",
            "(MIT OR GPL-3.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(is_allowed(fine, allowed), "{fine}");
        }
        for bad in ["GPL-3.0", "MIT AND GPL-3.0", "Apache-2.0", "(MIT", "", "MIT MIT", "MIT WITH Other-exception"] {
            assert!(!is_allowed(bad, allowed), "{bad}");
        }
    }

    #[test]
    fn a_banned_crate_is_found() {
        assert_eq!(judge(&rules(), "openssl", Some("MIT"), Some(CRATES_IO)), ["openssl is banned"]);
    }

    #[test]
    fn a_crate_without_a_licence_or_from_elsewhere_is_found() {
        assert_eq!(judge(&rules(), "a", None, Some(CRATES_IO)).len(), 1);
        assert_eq!(judge(&rules(), "a", Some("MIT"), Some("git+https://example.com/a")).len(), 1);
        assert_eq!(judge(&rules(), "ours", Some("MIT"), None).len(), 0);
    }
}
