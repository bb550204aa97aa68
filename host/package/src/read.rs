//! Reading a package without running anything of it.

use bytes::Bytes;
use operator_contract::{MANIFEST_LIMIT, MANIFEST_SECTION, Manifest};
use sha2::{Digest, Sha256};
use wasmparser::{ComponentExportSectionReader, ComponentImportSectionReader};

use crate::{
    PackageError, check,
    sections::{CUSTOM, Format, Section, format, sections},
};

/// Largest package, in bytes: a module in Python fits; one of the SDK's has less than 1 MiB.
pub const PACKAGE_LIMIT: u64 = 64 * 1024 * 1024;

/// Section ids of the component model's binary format.
const IMPORTS: u8 = 10;
const EXPORTS: u8 = 11;

/// A component with its manifest, checked as far as that goes without compiling it.
#[derive(Clone, Debug)]
pub struct Package {
    /// What the module says about itself.
    pub manifest: Manifest,
    /// SHA-256 of the whole file, in lower-case hex.
    pub digest: String,
    /// The whole file.
    pub component: Bytes,
    /// Names of what the component exports, such as `scone:operator/admission@1.0.0`.
    pub exports: Vec<String>,
    /// Names of what the component imports.
    pub imports: Vec<String>,
}

impl Package {
    /// Reads a package: size, header, structure of the top level, manifest. Nothing in it is compiled or run.
    ///
    /// # Errors
    /// For each way in which bytes are no package of this host's contract; see [`PackageError`].
    pub fn read(bytes: impl Into<Bytes>) -> Result<Self, PackageError> {
        let component = bytes.into();
        let size = component.len() as u64;
        if size > PACKAGE_LIMIT {
            return Err(PackageError::TooLarge { size, limit: PACKAGE_LIMIT });
        }
        if format(&component)? == Format::Core {
            return Err(PackageError::CoreModule);
        }
        let sections = sections(&component)?;
        let manifest = manifest(&component, &sections)?;
        let (imports, exports) = interfaces(&component, &sections)?;
        let digest = hex::encode(Sha256::digest(&component));
        Ok(Self { manifest, digest, component, exports, imports })
    }
}

fn manifest(bytes: &[u8], sections: &[Section]) -> Result<Manifest, PackageError> {
    let mut found = sections.iter().filter(|s| s.id == CUSTOM && s.name.as_deref() == Some(MANIFEST_SECTION));
    let section = found.next().ok_or(PackageError::NoManifest)?;
    let others = found.count();
    if others > 0 {
        return Err(PackageError::SeveralManifests { count: others + 1 });
    }
    let json = bytes.get(section.body.clone()).unwrap_or_default();
    if json.len() > MANIFEST_LIMIT {
        return Err(PackageError::ManifestTooLarge { size: json.len(), limit: MANIFEST_LIMIT });
    }
    check::manifest(json)
}

fn interfaces(bytes: &[u8], sections: &[Section]) -> Result<(Vec<String>, Vec<String>), PackageError> {
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    for section in sections {
        let body = || {
            let body = bytes.get(section.body.clone()).unwrap_or_default();
            wasmparser::BinaryReader::new(body, section.body.start)
        };
        let broken = |error: wasmparser::BinaryReaderError| PackageError::Malformed {
            at: section.body.start,
            why: error.message().to_owned(),
        };
        match section.id {
            IMPORTS => {
                for import in ComponentImportSectionReader::new(body()).map_err(broken)? {
                    imports.push(import.map_err(broken)?.name.name.to_owned());
                }
            }
            EXPORTS => {
                for export in ComponentExportSectionReader::new(body()).map_err(broken)? {
                    exports.push(export.map_err(broken)?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok((imports, exports))
}
