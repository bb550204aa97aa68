//! A folder of packages. Opened once as a directory handle, so that no link and no `..` in a name leads out of it.

use std::io::Read;

use cap_std::{ambient_authority, fs::Dir};

use crate::{PACKAGE_LIMIT, Package, PackageError};

/// Files named `NAME.wasm` in one directory.
#[derive(Debug)]
pub struct Folder {
    dir: Dir,
    path: String,
}

impl Folder {
    /// Opens a directory.
    pub fn open(path: &str) -> Result<Self, PackageError> {
        let unreadable = |source| PackageError::Unreadable { name: path.to_owned(), source };
        let dir = Dir::open_ambient_dir(path, ambient_authority()).map_err(unreadable)?;
        Ok(Self { dir, path: path.to_owned() })
    }

    /// A directory that is open already; `path` is how messages call it.
    pub fn of(dir: Dir, path: &str) -> Self {
        Self { dir, path: path.to_owned() }
    }

    /// Names of the packages, without `.wasm`, ordered.
    pub fn names(&self) -> Result<Vec<String>, PackageError> {
        let unreadable = |source| PackageError::Unreadable { name: self.path.clone(), source };
        let mut names = Vec::new();
        for entry in self.dir.entries().map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.file_name();
            names.extend(name.to_str().and_then(|name| name.strip_suffix(".wasm")).map(str::to_owned));
        }
        names.sort();
        Ok(names)
    }

    /// Reads one package by its name without `.wasm`. A file that is too large is not read at all.
    pub fn read(&self, name: &str) -> Result<Package, PackageError> {
        let file = format!("{name}.wasm");
        let unreadable = |source| PackageError::Unreadable { name: format!("{}/{file}", self.path), source };
        let opened = self.dir.open(&file).map_err(unreadable)?;
        let size = opened.metadata().map_err(unreadable)?.len();
        if size > PACKAGE_LIMIT {
            return Err(PackageError::TooLarge { size, limit: PACKAGE_LIMIT });
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        opened.take(PACKAGE_LIMIT + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        Package::read(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_does_not_lead_out_of_the_folder() {
        let outside = cap_tempfile::tempdir(ambient_authority()).unwrap();
        outside.write("secret.wasm", b"x").unwrap();
        let inside = cap_tempfile::tempdir(ambient_authority()).unwrap();
        inside.symlink("../../../../../../etc/hostname", "link.wasm").unwrap();
        let folder = Folder::of(inside.try_clone().unwrap(), "modules");
        assert_eq!(folder.names().unwrap(), ["link"]);
        for name in ["link", "../secret", "/etc/hostname"] {
            assert_eq!(folder.read(name).unwrap_err().reason(), "Unreadable", "{name}");
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let dir = cap_tempfile::tempdir(ambient_authority()).unwrap();
        let error = Folder::of(dir.try_clone().unwrap(), "modules").read("las").unwrap_err();
        assert!(error.to_string().starts_with("modules/las.wasm cannot be read"), "{error}");
    }
}
