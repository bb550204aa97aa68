//! Which names may stand where.

use crate::sources::{Source, has_word};

/// The files that may allow `unsafe`. ARCHITECTURE.md names each of them.
pub(crate) const UNSAFE: [&str; 3] =
    ["host/engine/src/code.rs", "guests/sdk/src/bump.rs", "tests/bench/src/twin/arena.rs"];

/// I1: what reads the clock, the environment, randomness or the machine.
pub(crate) fn ambient(source: &Source) -> Vec<String> {
    const NAMES: [&str; 14] = [
        "SystemTime",
        "Instant",
        "env::var",
        "env::vars",
        "env::args",
        "env::current_dir",
        "rand",
        "getrandom",
        "fs",
        "net",
        "thread",
        "process",
        // Their order is random.
        "HashMap",
        "HashSet",
    ];
    const PATHS: [&str; 4] = ["fs", "net", "thread", "process"];
    let used = |code: &str, name: &str| {
        if PATHS.contains(&name) { has_word(code, &format!("{name}::")) } else { has_word(code, name) }
    };
    if !source.is_rust() || source.is_test() {
        return Vec::new();
    }
    let code = source.code();
    NAMES.iter().filter(|name| used(&code, name)).map(|name| format!("{} uses {name}", source.path)).collect()
}

/// I2: the engine and what is generated for it.
pub(crate) fn engine(source: &Source) -> Option<String> {
    let host = source.is_rust() && !source.is_under("host/engine") && !source.is_under("tests/tests");
    let code = host.then(|| source.code())?;
    has_word(&code, "wasmtime").then(|| format!("{} names wasmtime", source.path))
}

/// I5: making a plan from its fields.
pub(crate) fn plans(source: &Source) -> Vec<String> {
    const OTHERWISE: [&str; 7] = ["struct ", "impl ", " for ", "-> ", "let ", "enum ", "match "];
    let maker = source.path == "host/core/src/plan.rs" || source.is_under("host/core/src/plan");
    if !source.is_rust() || maker || source.is_under("tests/tests/architecture") {
        return Vec::new();
    }
    let code = source.code();
    let made =
        code.lines().filter(|line| has_word(line, "Plan {") && !OTHERWISE.iter().any(|word| line.contains(word)));
    made.map(|line| format!("{} makes a Plan: {}", source.path, line.trim())).collect()
}

/// I5: the compiler keeps others from making one when a field has a private type.
pub(crate) fn is_sealed(plan: &str) -> bool {
    let body = plan.split_once("pub struct Plan {").and_then(|(_, rest)| rest.split_once("\n}"));
    body.is_some_and(|(fields, _)| fields.lines().any(|line| line.trim().starts_with("sealed:")))
}

/// I6: what belongs to SCONE. The project's own name and group (`operator.scone.cloud`) do not.
pub(crate) fn scone(source: &Source) -> Vec<String> {
    const WORDS: [&str; 17] = [
        "SGXPlugin",
        "SgxPlugin",
        "sgxplugin",
        "sgxplugins",
        "LAS",
        "CAS",
        "Cas",
        "SignedPolicy",
        "EncryptedPolicy",
        "base.scone.cloud",
        "services.scone.cloud",
        "sgx.intel.com",
        "las.scontain.com",
        "scontain",
        "scone-system",
        "GLOBAL_SCONE_VERSION",
        "/dev/sgx_enclave",
    ];
    if !source.is_under("host") || source.is_test() {
        return Vec::new();
    }
    let shipped = source.shipped();
    WORDS.iter().filter(|word| has_word(&shipped, word)).map(|word| format!("{} names {word}", source.path)).collect()
}

/// I7: attributes that allow unsafe code. Fixtures may: misbehaving is what they are for.
pub(crate) fn unsafe_code(source: &Source) -> Option<String> {
    let free = !source.is_rust()
        || UNSAFE.contains(&source.path.as_str())
        || source.is_under("tests/fixtures")
        || source.is_under("tests/tests/architecture");
    let code = (!free).then(|| source.code())?;
    has_word(&code, "unsafe_code").then(|| format!("{} allows unsafe code", source.path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_in_core_is_found_and_a_duration_is_fine() {
        let bad = Source::sample("host/core/src/a.rs", "use std::time::SystemTime;\nlet a = std::env::var(\"X\");");
        assert_eq!(ambient(&bad).len(), 2);
        let fine = Source::sample("host/core/src/a.rs", "use std::time::Duration; // not an Instant");
        assert!(ambient(&fine).is_empty());
    }

    #[test]
    fn a_map_with_random_order_in_core_is_found() {
        assert_eq!(ambient(&Source::sample("host/core/src/a.rs", "let m = HashMap::new();")).len(), 1);
    }

    #[test]
    fn wasmtime_outside_the_engine_is_found() {
        let text = "use wasmtime::Engine;";
        assert!(engine(&Source::sample("host/package/src/a.rs", text)).is_some());
        assert!(engine(&Source::sample("host/engine/src/a.rs", text)).is_none());
        assert!(engine(&Source::sample("host/package/src/a.rs", "// as wasmtime does")).is_none());
    }

    #[test]
    fn a_plan_made_elsewhere_is_found() {
        let text = "let plan = 1;\nrun(Plan { parent, steps });\n";
        assert_eq!(plans(&Source::sample("host/controller/src/a.rs", text)).len(), 1);
        assert!(plans(&Source::sample("host/core/src/plan.rs", text)).is_empty());
        assert!(plans(&Source::sample("host/modctl/src/a.rs", "impl Show for Plan {\nfn f() -> Plan {")).is_empty());
    }

    #[test]
    fn a_plan_without_a_seal_is_found() {
        assert!(is_sealed("pub struct Plan {\n    pub a: u8,\n    sealed: Sealed,\n}"));
        assert!(!is_sealed("pub struct Plan {\n    pub a: u8,\n}\nstruct B { sealed: Sealed }"));
    }

    #[test]
    fn a_scone_kind_in_the_host_is_found_even_in_a_comment() {
        assert_eq!(scone(&Source::sample("host/core/src/a.rs", "// like LAS\n\"sgx.intel.com/epc\"")).len(), 2);
    }

    #[test]
    fn the_projects_own_name_and_tests_are_fine() {
        assert!(
            scone(&Source::sample("host/core/src/a.rs", "\"operator.scone.cloud/digest\" scone-operator CLASS"))
                .is_empty()
        );
        assert!(scone(&Source::sample("host/core/src/a.rs", "#[cfg(test)]\nmod tests {\n LAS }")).is_empty());
        assert!(scone(&Source::sample("guests/las/src/lib.rs", "LAS")).is_empty());
    }

    #[test]
    fn unsafe_in_a_new_file_is_found() {
        let text = "#![expect(\n    unsafe_code,\n    reason = \"x\"\n)]";
        assert!(unsafe_code(&Source::sample("host/package/src/a.rs", text)).is_some());
        assert!(unsafe_code(&Source::sample(UNSAFE[0], text)).is_none());
    }
}
