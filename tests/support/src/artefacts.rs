//! What was built for test programs. `cargo xtask test` names it in variables.

use std::{env, fs, path::PathBuf};

/// The folder or program that a variable names.
///
/// # Panics
///
/// When it names nothing that exists: a test without what it tests fails, and says how to run it.
#[expect(clippy::panic, reason = "helpers of tests fail as tests do")]
pub fn artefact(variable: &str) -> PathBuf {
    let path = env::var_os(variable).map(PathBuf::from).filter(|path| path.exists());
    path.unwrap_or_else(|| panic!("{variable} names nothing that exists; run the tests with `cargo xtask test`"))
}

/// The file of a built module, or of a fixture.
///
/// # Panics
///
/// When there is none.
#[expect(clippy::panic, reason = "helpers of tests fail as tests do")]
pub fn module_file(name: &str) -> PathBuf {
    let folders = ["SCONE_OPERATOR_MODULES", "SCONE_OPERATOR_FIXTURES"].map(artefact);
    let found = folders.iter().map(|folder| folder.join(format!("{name}.wasm"))).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("there is no module {name} in {folders:?}"))
}

/// The bytes of a built module, or of a fixture.
///
/// # Panics
///
/// When there is none, or it cannot be read.
#[expect(clippy::panic, reason = "helpers of tests fail as tests do")]
pub fn module(name: &str) -> Vec<u8> {
    let path = module_file(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "SCONE_OPERATOR_NOT_BUILT names nothing that exists")]
    fn what_was_not_built_is_named_with_the_command_that_builds_it() {
        artefact("SCONE_OPERATOR_NOT_BUILT");
    }
}
