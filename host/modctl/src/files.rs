//! The user's own files.

use std::path::Path;

use operator_simulator::{manifest::Manifest, misfit};

use crate::failure::Failure;

/// Largest file of manifests, in bytes.
const LIMIT: u64 = 16 * 1024 * 1024;

/// The documents of a YAML or JSON file.
pub(crate) fn documents(path: &Path) -> Result<Vec<Manifest>, Failure> {
    let name = path.display().to_string();
    misfit::read(&name, &text(path)?).map_err(|misfit| Failure::Input(misfit.to_string()))
}

/// The text of a file.
pub(crate) fn text(path: &Path) -> Result<String, Failure> {
    let name = path.display();
    let size = std::fs::metadata(path)
        .map_err(|error| Failure::Input(format!("{name} cannot be read: {error}; check the path")))?
        .len();
    if size > LIMIT {
        return Err(Failure::Input(format!("{name} has {size} bytes, at most {LIMIT} are read; split it")));
    }
    let bytes = std::fs::read(path)
        .map_err(|error| Failure::Input(format!("{name} cannot be read: {error}; check the path")))?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Failure::Input(format!("{name} is no UTF-8 from byte {at} on; save it as UTF-8"))
    })
}

/// A new file, or an old one emptied.
pub(crate) fn create(path: &Path) -> Result<std::fs::File, Failure> {
    let name = path.display();
    std::fs::File::create(path)
        .map_err(|error| Failure::Input(format!("{name} cannot be written: {error}; check the path")))
}
