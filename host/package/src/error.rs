//! Why bytes are no package.

/// Why bytes are no package, or no package can be made of them. Each text names the place and the fix; who reads a file puts its
/// name in front.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The file cannot be read.
    #[error("{name} cannot be read: {source}; check that it is there and may be read")]
    Unreadable {
        /// Which file.
        name: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is larger than any module.
    #[error("it has {size} bytes, a package has at most {limit}; build it in release mode and strip it")]
    TooLarge {
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// Its compressed form holds more than any module.
    #[error(
        "it holds more than {limit} bytes once it is decompressed, a package has at most that; build it in release mode and strip it"
    )]
    TooLargeInside {
        /// The limit.
        limit: u64,
    },
    /// Its compressed form is broken.
    #[error("it cannot be decompressed: {why}; compress it again, such as with `gzip -9`, or give the package itself")]
    CompressionBroken {
        /// What the decoder says.
        why: String,
    },
    /// It is there twice.
    #[error("{name}.wasm and {name}.wasm.gz are both in {folder}; remove one of them")]
    Repeated {
        /// The name of both.
        name: String,
        /// Where.
        folder: String,
    },
    /// It does not start like WebAssembly.
    #[error("it is no WebAssembly; a package is a component in binary form, made by `modctl build`")]
    NotWasm,
    /// It is a core module.
    #[error("it is a core module, not a component; make a package of it with `modctl build`")]
    CoreModule,
    /// It ends too early.
    #[error("it ends too early, at byte {at} of a section; copy or download it again")]
    Truncated {
        /// Where.
        at: usize,
    },
    /// Its structure is broken.
    #[error("it is broken at byte {at}: {why}; build it again with `modctl build`")]
    Malformed {
        /// Where.
        at: usize,
        /// What the parser says.
        why: String,
    },
    /// It has no manifest.
    #[error("it has no manifest; it is a component but no package, make one with `modctl build`")]
    NoManifest,
    /// It has several manifests.
    #[error("it has {count} manifests; package it again with `modctl build`, which leaves one")]
    SeveralManifests {
        /// How many.
        count: usize,
    },
    /// Its manifest is larger than any manifest.
    #[error("its manifest has {size} bytes, at most {limit} are read; shorten descriptions in the CRD")]
    ManifestTooLarge {
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// Its manifest is not what the contract says.
    #[error("its manifest is wrong at {place}: {why}")]
    Manifest {
        /// Where, such as `kinds[0].plural`.
        place: String,
        /// What is wrong and what to write.
        why: String,
    },
    /// It was built for another contract.
    #[error("it was built for contract {wanted}, this host speaks {host}; {fix}")]
    Contract {
        /// What it was built for.
        wanted: String,
        /// What this host speaks.
        host: &'static str,
        /// What to do.
        fix: &'static str,
    },
    /// No component can be made of a core module.
    #[error(
        "no component can be made of it: {why}; build the crate for wasm32-unknown-unknown with operator_guest::export!"
    )]
    NotComponentizable {
        /// What the encoder says.
        why: String,
    },
}

impl PackageError {
    /// The reason as one word of a closed set: condition reason, metric label, JSON output.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "Unreadable",
            Self::TooLarge { .. } | Self::TooLargeInside { .. } => "TooLarge",
            Self::CompressionBroken { .. } => "CompressionBroken",
            Self::Repeated { .. } => "PackageRepeated",
            Self::NotWasm => "NotWasm",
            Self::CoreModule => "CoreModule",
            Self::Truncated { .. } => "Truncated",
            Self::Malformed { .. } => "Malformed",
            Self::NoManifest => "ManifestMissing",
            Self::SeveralManifests { .. } => "ManifestRepeated",
            Self::ManifestTooLarge { .. } => "ManifestTooLarge",
            Self::Manifest { .. } => "ManifestInvalid",
            Self::Contract { .. } => "ContractUnsupported",
            Self::NotComponentizable { .. } => "NotComponentizable",
        }
    }
}
