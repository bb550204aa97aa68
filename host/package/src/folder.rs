//! A folder of packages. Opened once as a directory handle, so that no link and no `..` in a name leads out of it.

use std::{
    collections::BTreeSet,
    io::{self, ErrorKind, Read},
};

use cap_std::{
    ambient_authority,
    fs::{Dir, File},
};
use flate2::read::MultiGzDecoder;

use crate::{PACKAGE_LIMIT, Package, PackageError};

/// How the file of a package ends: as it is, or compressed by gzip, for places that take no more than a mebibyte.
pub const ENDINGS: [&str; 2] = [".wasm", ".wasm.gz"];

/// Files named `NAME.wasm` or `NAME.wasm.gz` in one directory.
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

    /// Names of the packages, without their endings, ordered.
    pub fn names(&self) -> Result<Vec<String>, PackageError> {
        let unreadable = |source| PackageError::Unreadable { name: self.path.clone(), source };
        let mut names = BTreeSet::new();
        for entry in self.dir.entries().map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.file_name();
            let name = name.to_str().unwrap_or_default();
            names.extend(ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)).map(str::to_owned));
        }
        Ok(names.into_iter().collect())
    }

    /// Reads one package by its name without its ending. A file that is too large is not read at all, and no more of a compressed
    /// one is decompressed than a package may have.
    pub fn read(&self, name: &str) -> Result<Package, PackageError> {
        let [plain, compressed] = ENDINGS.map(|ending| self.file(&format!("{name}{ending}")));
        match (plain, compressed) {
            (Ok(_), Ok(_)) => Err(PackageError::Repeated { name: name.to_owned(), folder: self.path.clone() }),
            (Err(missing), compressed) if is_missing(&missing) => match compressed {
                Err(also) if is_missing(&also) => Err(missing),
                compressed => Package::read(decompress(compressed?)?),
            },
            (plain, _) => {
                let (mut file, mut bytes) = (plain?, Vec::new());
                file.read_to_end(&mut bytes).map_err(|source| self.unreadable(&format!("{name}.wasm"), source))?;
                Package::read(bytes)
            }
        }
    }

    /// An open file of at most as many bytes as a package may have.
    fn file(&self, file: &str) -> Result<io::Take<File>, PackageError> {
        let opened = self.dir.open(file).map_err(|source| self.unreadable(file, source))?;
        let size = opened.metadata().map_err(|source| self.unreadable(file, source))?.len();
        if size > PACKAGE_LIMIT {
            return Err(PackageError::TooLarge { size, limit: PACKAGE_LIMIT });
        }
        // It may grow meanwhile.
        Ok(opened.take(PACKAGE_LIMIT + 1))
    }

    fn unreadable(&self, file: &str, source: io::Error) -> PackageError {
        PackageError::Unreadable { name: format!("{}/{file}", self.path), source }
    }
}

fn is_missing(error: &PackageError) -> bool {
    matches!(error, PackageError::Unreadable { source, .. } if source.kind() == ErrorKind::NotFound)
}

fn decompress(file: impl Read) -> Result<Vec<u8>, PackageError> {
    let mut bytes = Vec::new();
    let read = MultiGzDecoder::new(file).take(PACKAGE_LIMIT + 1).read_to_end(&mut bytes);
    read.map_err(|error| PackageError::CompressionBroken { why: error.to_string() })?;
    if bytes.len() as u64 > PACKAGE_LIMIT {
        return Err(PackageError::TooLargeInside { limit: PACKAGE_LIMIT });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use cap_tempfile::TempDir;
    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn folder() -> (TempDir, Folder) {
        let dir = cap_tempfile::tempdir(ambient_authority()).unwrap();
        let folder = Folder::of(dir.try_clone().unwrap(), "modules");
        (dir, folder)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_link_does_not_lead_out_of_the_folder() {
        let outside = cap_tempfile::tempdir(ambient_authority()).unwrap();
        outside.write("secret.wasm", b"x").unwrap();
        let (inside, folder) = folder();
        inside.symlink("../../../../../../etc/hostname", "link.wasm").unwrap();
        assert_eq!(folder.names().unwrap(), ["link"]);
        for name in ["link", "../secret", "/etc/hostname"] {
            assert_eq!(folder.read(name).unwrap_err().reason(), "Unreadable", "{name}");
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = folder().1.read("las").unwrap_err();
        assert!(error.to_string().starts_with("modules/las.wasm cannot be read"), "{error}");
    }

    #[test]
    fn a_compressed_package_is_read_as_the_package_itself() {
        let (dir, folder) = folder();
        dir.write("core.wasm.gz", gzip(b"\0asm\x01\0\0\0")).unwrap();
        dir.write("other.wasm", b"\0asm\x01\0\0\0").unwrap();
        dir.write("notes.txt", b"").unwrap();
        assert_eq!(folder.names().unwrap(), ["core", "other"]);
        assert_eq!(folder.read("core").unwrap_err().reason(), "CoreModule");
    }

    #[test]
    fn a_package_that_is_there_twice_is_refused_rather_than_guessed() {
        let (dir, folder) = folder();
        dir.write("las.wasm", b"").unwrap();
        dir.write("las.wasm.gz", b"").unwrap();
        assert_eq!(folder.names().unwrap(), ["las"]);
        assert_eq!(
            folder.read("las").unwrap_err().to_string(),
            "las.wasm and las.wasm.gz are both in modules; remove one of them"
        );
    }

    #[test]
    fn a_small_file_that_would_fill_the_memory_is_refused() {
        let (dir, folder) = folder();
        let bomb = gzip(&vec![0; usize::try_from(PACKAGE_LIMIT).unwrap() + 1]);
        assert!(bomb.len() < 100_000, "{}", bomb.len());
        dir.write("bomb.wasm.gz", bomb).unwrap();
        let error = folder.read("bomb").unwrap_err();
        assert_eq!(error.reason(), "TooLarge");
        assert!(error.to_string().contains("more than 67108864 bytes once it is decompressed"), "{error}");
    }

    #[test]
    fn several_bombs_in_a_row_are_refused_like_one() {
        let (dir, folder) = folder();
        let half = gzip(&vec![0; usize::try_from(PACKAGE_LIMIT).unwrap() / 2 + 1]);
        dir.write("bomb.wasm.gz", [half.clone(), half].concat()).unwrap();
        assert_eq!(folder.read("bomb").unwrap_err().reason(), "TooLarge");
    }

    #[test]
    fn a_compressed_file_that_is_cut_or_none_says_so() {
        let (dir, folder) = folder();
        let whole = gzip(&[7; 5000]);
        dir.write("cut.wasm.gz", whole.get(..whole.len() / 2).unwrap()).unwrap();
        dir.write("not.wasm.gz", b"\0asm\x0d\0\x01\0").unwrap();
        for name in ["cut", "not"] {
            let error = folder.read(name).unwrap_err();
            assert_eq!(error.reason(), "CompressionBroken", "{name}");
            assert!(error.to_string().contains("gzip -9"), "{error}");
        }
    }
}
