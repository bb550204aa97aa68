//! Module packages: a component with its manifest in a custom section.
//!
//! [`Package::read`] reads and checks a package without compiling or running anything of it, so a host knows what a module
//! asks for before it spends anything on it. [`build`], [`shrink`] and [`with_manifest`] make packages, byte for byte the same
//! from the same input. [`Folder`] is a source of packages: files of one directory, which nothing in it can leave.

mod check;
mod error;
mod folder;
mod make;
mod packager;
mod read;
mod sections;

pub use error::PackageError;
pub use folder::{ENDINGS, Folder};
pub use make::{build, shrink, with_manifest};
pub use packager::packager;
pub use read::{PACKAGE_LIMIT, Package};
