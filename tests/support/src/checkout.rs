//! Where the checkout is. Not where a program was built: checkouts that share a build folder share programs, and one of them would read
//! the files of another.

use std::{
    env,
    path::{Path, PathBuf},
};

/// What only the checkout has.
const SIGNS: [&str; 2] = ["wit/v1", "Cargo.lock"];

/// The checkout above the folder from which cargo runs this program, or else above the current folder; none elsewhere.
pub fn find() -> Option<PathBuf> {
    let above = |folder: PathBuf| folder.ancestors().find(|folder| is_checkout(folder)).map(Path::to_path_buf);
    env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).and_then(above).or_else(|| above(env::current_dir().ok()?))
}

/// The checkout.
///
/// # Panics
///
/// Outside of one.
#[expect(clippy::panic, reason = "helpers of tests fail as tests do")]
pub fn checkout() -> PathBuf {
    find().unwrap_or_else(|| panic!("there is no checkout above the current folder; run this within one"))
}

fn is_checkout(folder: &Path) -> bool {
    SIGNS.iter().all(|sign| folder.join(sign).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checkout_is_above_this_crate() {
        assert!(checkout().join("tests/support/src/checkout.rs").is_file());
    }
}
