//! The top level of a WebAssembly binary: a header and sections, each with its size.

use std::ops::Range;

use wasmparser::BinaryReader;

use crate::PackageError;

/// Id of custom sections.
pub(crate) const CUSTOM: u8 = 0;

const MAGIC: &[u8] = b"\0asm";
const CORE: &[u8] = &[1, 0, 0, 0];
const COMPONENT: &[u8] = &[0x0d, 0, 1, 0];

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// A core module.
    Core,
    /// A component.
    Component,
}

/// One section at the top level.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    /// Its kind.
    pub(crate) id: u8,
    /// The name of a custom section.
    pub(crate) name: Option<String>,
    /// All of it, header included.
    pub(crate) whole: Range<usize>,
    /// Its content; of a custom section, what follows the name.
    pub(crate) body: Range<usize>,
}

/// What the header says the bytes are.
pub(crate) fn format(bytes: &[u8]) -> Result<Format, PackageError> {
    match (bytes.get(..4), bytes.get(4..8)) {
        (Some(magic), _) if magic != MAGIC => Err(PackageError::NotWasm),
        (Some(_), Some(CORE)) => Ok(Format::Core),
        (Some(_), Some(COMPONENT)) => Ok(Format::Component),
        (Some(_), Some(_)) => Err(PackageError::Malformed { at: 4, why: "an unknown version of WebAssembly".into() }),
        (Some(_), None) => Err(PackageError::Truncated { at: bytes.len() }),
        (None, _) => Err(PackageError::NotWasm),
    }
}

/// The sections in order. Their contents are not looked at.
pub(crate) fn sections(bytes: &[u8]) -> Result<Vec<Section>, PackageError> {
    let mut sections = Vec::new();
    let mut at = 8;
    while at < bytes.len() {
        let section = section(bytes, at)?;
        at = section.whole.end;
        sections.push(section);
    }
    Ok(sections)
}

fn section(bytes: &[u8], at: usize) -> Result<Section, PackageError> {
    let cut = |_| PackageError::Truncated { at };
    let mut reader = BinaryReader::new(bytes.get(at..).unwrap_or_default(), at);
    let id = reader.read_u8().map_err(cut)?;
    let size = reader.read_var_u32().map_err(cut)? as usize;
    let start = reader.original_position();
    let end = start.checked_add(size).filter(|end| *end <= bytes.len()).ok_or(PackageError::Truncated { at })?;
    if id != CUSTOM {
        return Ok(Section { id, name: None, whole: at..end, body: start..end });
    }
    let mut reader = BinaryReader::new(bytes.get(start..end).unwrap_or_default(), start);
    let name = reader.read_string().map_err(|error| PackageError::Malformed { at: start, why: error.to_string() })?;
    let name = Some(name.to_owned());
    Ok(Section { id, name, whole: at..end, body: reader.original_position()..end })
}

/// A custom section as bytes.
pub(crate) fn custom(name: &str, body: &[u8]) -> Vec<u8> {
    let mut content = leb128(name.len());
    content.extend_from_slice(name.as_bytes());
    content.extend_from_slice(body);
    let mut section = vec![CUSTOM];
    section.extend(leb128(content.len()));
    section.extend(content);
    section
}

fn leb128(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or_default();
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}
