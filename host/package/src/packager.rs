//! What packages are made with. Who keeps packages and makes only those anew whose core module has changed needs to know.

use sha2::{Digest, Sha256};

/// All that decides what becomes of a core module: this crate, the manifest's form, and the versions of what writes WebAssembly.
const SOURCES: [(&str, &str); 9] = [
    ("check.rs", include_str!("check.rs")),
    ("error.rs", include_str!("error.rs")),
    ("folder.rs", include_str!("folder.rs")),
    ("lib.rs", include_str!("lib.rs")),
    ("make.rs", include_str!("make.rs")),
    ("packager.rs", include_str!("packager.rs")),
    ("read.rs", include_str!("read.rs")),
    ("sections.rs", include_str!("sections.rs")),
    ("manifest.rs", include_str!("../../../wit/src/manifest.rs")),
];
const VERSIONS: &str = include_str!("../../../Cargo.lock");

/// A digest, 64 hexadecimal digits, that differs whenever the same core module could become another package.
pub fn packager() -> String {
    let mut digest = Sha256::new();
    for text in SOURCES.iter().map(|(_, text)| *text).chain([VERSIONS]) {
        digest.update(text.len().to_le_bytes());
        digest.update(text);
    }
    hex::encode(digest.finalize())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, env, fs, path::PathBuf};

    use super::*;

    #[test]
    fn every_file_of_this_crate_is_counted() {
        let folder = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("src");
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut counted: BTreeSet<&str> = SOURCES.iter().map(|(name, _)| *name).collect();
        assert!(counted.remove("manifest.rs"));
        assert_eq!(files.collect::<BTreeSet<_>>(), counted.into_iter().map(str::to_owned).collect());
    }
}
