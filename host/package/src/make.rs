//! From a core module to a package. The same bytes in give the same bytes out.

use operator_contract::{MANIFEST_SECTION, Manifest};
use wit_component::ComponentEncoder;

use crate::{
    PackageError,
    sections::{CUSTOM, custom, sections},
};

/// Makes a component of a core module that the SDK's `export!` (or wit-bindgen) left its types in.
pub fn build(core: &[u8]) -> Result<Vec<u8>, PackageError> {
    let encode = || ComponentEncoder::default().validate(true).module(core)?.encode();
    encode().map_err(|error| PackageError::NotComponentizable { why: format!("{error:#}") })
}

/// Drops what only debuggers need from a core module. Function names stay: without them a trap could not say where.
pub fn shrink(core: &[u8]) -> Result<Vec<u8>, PackageError> {
    let keep = |name: &str| name == "name" || name.starts_with("component-type");
    without(core, |name| !keep(name))
}

/// Puts a manifest into a component, in place of one that is there.
pub fn with_manifest(component: &[u8], manifest: &Manifest) -> Result<Vec<u8>, PackageError> {
    let mut package = without(component, |name| name == MANIFEST_SECTION)?;
    let json = serde_json::to_vec(manifest)
        .map_err(|error| PackageError::Manifest { place: "manifest".into(), why: error.to_string() })?;
    package.extend(custom(MANIFEST_SECTION, &json));
    Ok(package)
}

/// The binary without some of its custom sections.
fn without(bytes: &[u8], drop: impl Fn(&str) -> bool) -> Result<Vec<u8>, PackageError> {
    let mut out = bytes.get(..8).ok_or(PackageError::NotWasm)?.to_vec();
    for section in sections(bytes)? {
        let dropped = section.id == CUSTOM && section.name.as_deref().is_some_and(&drop);
        if !dropped {
            out.extend_from_slice(bytes.get(section.whole).unwrap_or_default());
        }
    }
    Ok(out)
}
