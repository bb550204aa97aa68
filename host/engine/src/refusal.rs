//! Why a component is no module of this host.

use crate::CompileError;

/// Why a component was not loaded. Each text names the module, the place and the fix.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The manifest names a contract that this host does not speak.
    #[error("module {module} was built for contract {wanted}, this host speaks {host}; {fix}")]
    Contract {
        /// Which module.
        module: String,
        /// The version that the manifest names.
        wanted: String,
        /// The host's version.
        host: &'static str,
        /// What to do.
        fix: &'static str,
    },
    /// The manifest asks for a larger budget than the host gives.
    #[error(
        "module {module} asks for budgets.{budget} = {asked}, this host allows {ceiling}; ask for less, or raise the host's ceiling"
    )]
    BudgetTooLarge {
        /// Which module.
        module: String,
        /// Which budget, as in the manifest.
        budget: &'static str,
        /// What it asks for.
        asked: u64,
        /// What the host allows.
        ceiling: u64,
    },
    /// The component could not be compiled.
    #[error("module {module} could not be compiled: {why}")]
    Compile {
        /// Which module.
        module: String,
        /// Why.
        why: CompileError,
    },
    /// The component imports something that no module gets.
    #[error(
        "module {module} imports {import}, a module gets scone:operator/logger and nothing else; remove what needs it, or ask for it by a query"
    )]
    ForeignImport {
        /// Which module.
        module: String,
        /// What it imports.
        import: String,
    },
    /// The component does not export what its manifest needs.
    #[error("module {module} does not export {interface}, but {because}; export it, or change the manifest")]
    MissingExport {
        /// Which module.
        module: String,
        /// Which interface.
        interface: String,
        /// Why it is needed.
        because: &'static str,
    },
    /// An interface has other types than the host's.
    #[error(
        "module {module}: {interface} is {found} in the module and {host} in this host, and they differ: {why}; rebuild the module against contract {host}"
    )]
    Incompatible {
        /// Which module.
        module: String,
        /// Which interface, without its version.
        interface: String,
        /// The version in the module.
        found: String,
        /// The version in the host.
        host: &'static str,
        /// The first difference.
        why: String,
    },
    /// A fresh instance could not be made.
    #[error(
        "module {module} cannot be instantiated: {why}; its initial memory and tables must fit its budgets, and it must have no start code that fails"
    )]
    Instantiation {
        /// Which module.
        module: String,
        /// Why.
        why: String,
    },
    /// The module's own word differs from the manifest it came with.
    #[error(
        "module {module}: what it describes and the manifest in its custom section differ at {place}; package it again with modctl"
    )]
    ManifestDiffers {
        /// Which module.
        module: String,
        /// The first key that differs.
        place: String,
    },
    /// `describe` failed.
    #[error("module {module} could not describe itself: {failure}")]
    Describe {
        /// Which module.
        module: String,
        /// How.
        failure: Box<operator_core::Failure>,
    },
    /// The host failed.
    #[error("module {module} could not be loaded: {why}; this is a bug of the host, please report it")]
    Host {
        /// Which module.
        module: String,
        /// What failed.
        why: String,
    },
}

impl LoadError {
    /// The reason as one word of a closed set: condition reason, metric label, JSON output.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Contract { .. } => "ContractUnsupported",
            Self::BudgetTooLarge { .. } => "BudgetTooLarge",
            Self::Compile { why, .. } => why.reason(),
            Self::ForeignImport { .. } => "ImportRefused",
            Self::MissingExport { .. } => "ExportMissing",
            Self::Incompatible { .. } => "InterfaceDiffers",
            Self::Instantiation { .. } => "InstantiationFailed",
            Self::ManifestDiffers { .. } => "ManifestDiffers",
            Self::Describe { .. } => "DescribeFailed",
            Self::Host { .. } => "HostFailed",
        }
    }
}
