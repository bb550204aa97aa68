//! Compiled modules on disk.
//!
//! Native code runs with all rights of the host, so a file is used only after a MAC over all of it was right. The key lies
//! beside the files and only this user can read it: whoever can read it can also change this process. A file that is not
//! right is removed and its module compiled again.
//!
//! A file holds the code and then the MAC, so that the code starts where mapping starts. Its name is the hash of the
//! component and of whatever makes code incompatible.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    sync::atomic::{AtomicU32, Ordering},
    time::SystemTime,
};

use cap_std::fs::{Dir, DirBuilder, DirBuilderExt, MetadataExt, OpenOptions, OpenOptionsExt};
use tracing::warn;

/// Sub-folder of the folder that the host gives, so that its own mode does not matter.
const FOLDER: &str = "compiled";
const KEY: &str = "key";
const EXTENSION: &str = ".cwasm";
const MAC: usize = blake3::OUT_LEN;
/// Most files that are kept; the oldest go first.
const FILES: usize = 256;
/// Bytes hashed at once: they stay in the processor's cache between copying and hashing.
const CHUNK: usize = 64 * 1024;

/// Why there is no cache.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The folder cannot be used.
    #[error("the compile cache cannot be used: {FOLDER}/{place}; give the host a folder that it may write to")]
    Folder {
        /// Which file.
        place: &'static str,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Others may write to the folder.
    #[error(
        "the compile cache is not private: {FOLDER} has mode {mode:o} and owner {owner}; remove it, or chmod it to 700"
    )]
    NotPrivate {
        /// Its mode.
        mode: u32,
        /// Its owner's user id.
        owner: u32,
    },
}

/// Compiled modules by component.
pub(crate) struct Cache {
    folder: Dir,
    key: [u8; 32],
    fingerprint: blake3::Hash,
}

impl Cache {
    /// Opens the cache below `parent`, and makes what is missing. `fingerprint` says what code is compatible.
    pub(crate) fn open(parent: &Dir, fingerprint: blake3::Hash) -> Result<Self, CacheError> {
        let failed = |place| move |source| CacheError::Folder { place, source };
        let mut private = DirBuilder::new();
        private.mode(0o700);
        match parent.create_dir_with(FOLDER, &private) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed("")(error)),
            _ => {}
        }
        let folder = parent.open_dir(FOLDER).map_err(failed(""))?;
        let metadata = folder.dir_metadata().map_err(failed(""))?;
        let (mode, owner) = (metadata.mode() & 0o7777, metadata.uid());
        if mode & 0o077 != 0 || owner != rustix::process::geteuid().as_raw() {
            return Err(CacheError::NotPrivate { mode, owner });
        }
        let key = key(&folder).map_err(failed(KEY))?;
        Ok(Self { folder, key, fingerprint })
    }

    /// The file with the code of this component, checked, or none.
    pub(crate) fn get(&self, component: &blake3::Hash) -> Option<File> {
        let name = self.name(component);
        let mut file = match self.folder.open(&name) {
            Ok(file) => file.into_std(),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    warn!(file = name, %error, "a compiled module cannot be read; it is compiled again");
                }
                return None;
            }
        };
        match self.intact(&mut file, component) {
            Ok(true) => return Some(file),
            Ok(false) => warn!(file = name, "a compiled module is damaged or was tampered with; it is compiled again"),
            Err(error) => warn!(file = name, %error, "a compiled module cannot be read; it is compiled again"),
        }
        self.remove(component);
        None
    }

    /// Keeps the code of this component. Whoever reads meanwhile sees the old file or the new one.
    pub(crate) fn put(&self, component: &blake3::Hash, code: &[u8]) -> io::Result<()> {
        let mut mac = self.mac(component);
        mac.update(code);
        write(&self.folder, &self.name(component), &[code, mac.finalize().as_bytes()])?;
        self.tidy()
    }

    /// Forgets this component.
    pub(crate) fn remove(&self, component: &blake3::Hash) {
        // What cannot be removed fails its check again next time.
        drop(self.folder.remove_file(self.name(component)));
    }

    fn name(&self, component: &blake3::Hash) -> String {
        let fingerprint = self.fingerprint.to_hex();
        format!("{}-{}{EXTENSION}", component.to_hex(), fingerprint.get(..16).unwrap_or_default())
    }

    fn mac(&self, component: &blake3::Hash) -> blake3::Hasher {
        let mut mac = blake3::Hasher::new_keyed(&self.key);
        mac.update(component.as_bytes()).update(self.fingerprint.as_bytes());
        mac
    }

    fn intact(&self, file: &mut File, component: &blake3::Hash) -> io::Result<bool> {
        let Some(mut left) = file.metadata()?.len().checked_sub(MAC as u64) else { return Ok(false) };
        let mut mac = self.mac(component);
        let mut chunk = vec![0; CHUNK];
        while left > 0 {
            let part = chunk.get_mut(..usize::try_from(left).unwrap_or(CHUNK).min(CHUNK)).unwrap_or_default();
            file.read_exact(part)?;
            mac.update(part);
            left -= part.len() as u64;
        }
        let mut found = [0; MAC];
        file.read_exact(&mut found)?;
        file.seek(SeekFrom::Start(0))?;
        // `Hash` compares in constant time.
        Ok(mac.finalize() == blake3::Hash::from_bytes(found))
    }

    fn tidy(&self) -> io::Result<()> {
        let mut files: Vec<(SystemTime, String)> = Vec::new();
        for entry in self.folder.entries()? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string()
                && name.ends_with(EXTENSION)
            {
                files.push((entry.metadata()?.modified()?.into_std(), name));
            }
        }
        files.sort();
        for (_, name) in files.iter().take(files.len().saturating_sub(FILES)) {
            self.folder.remove_file(name)?;
        }
        Ok(())
    }
}

/// The key, made when there is none. A key of another length is replaced: all files then fail their check.
fn key(folder: &Dir) -> io::Result<[u8; 32]> {
    if let Some(key) = stored(folder)? {
        return Ok(key);
    }
    let mut key = [0; 32];
    let mut filled = 0;
    while let Some(rest) = key.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())?;
    }
    write(folder, KEY, &[&key])?;
    // Two processes may have made one each; the file says whose won.
    stored(folder)?.ok_or_else(|| io::Error::other("the key changes while it is made"))
}

fn stored(folder: &Dir) -> io::Result<Option<[u8; 32]>> {
    match folder.read(KEY) {
        Ok(bytes) => Ok(bytes.try_into().ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes a file at once: a private temporary file, on the disk before it gets its name.
fn write(folder: &Dir, name: &str, parts: &[&[u8]]) -> io::Result<()> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let temporary = format!("{name}.{}.{number}.new", std::process::id());
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = folder.open_with(&temporary, &options).and_then(|mut file| {
        for part in parts {
            file.write_all(part)?;
        }
        file.sync_all()
    });
    let named = written.and_then(|()| folder.rename(&temporary, folder, name));
    if named.is_err() {
        drop(folder.remove_file(&temporary));
    }
    named
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

    use cap_std::ambient_authority;

    use super::*;

    fn fingerprint() -> blake3::Hash {
        blake3::hash(b"engine 1")
    }

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn cache(&self, fingerprint: blake3::Hash) -> Result<Cache, CacheError> {
            Cache::open(&Dir::open_ambient_dir(self.0.path(), ambient_authority()).unwrap(), fingerprint)
        }

        fn files(&self) -> Vec<PathBuf> {
            let files = fs::read_dir(self.0.path().join(FOLDER)).unwrap();
            files.map(|f| f.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "cwasm")).collect()
        }
    }

    fn contents(file: Option<File>) -> Option<Vec<u8>> {
        file.map(|mut file| {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).unwrap();
            bytes.truncate(bytes.len() - MAC);
            bytes
        })
    }

    #[test]
    fn code_comes_back_and_survives_a_restart() {
        let (place, module) = (Place::new(), blake3::hash(b"module"));
        place.cache(fingerprint()).unwrap().put(&module, b"code").unwrap();
        assert_eq!(contents(place.cache(fingerprint()).unwrap().get(&module)).unwrap(), b"code");
        assert_eq!(place.files().len(), 1);
    }

    #[test]
    fn a_file_that_was_changed_is_removed() {
        let (place, module) = (Place::new(), blake3::hash(b"module"));
        let cache = place.cache(fingerprint()).unwrap();
        for position in [0, 3, 4, 4 + MAC - 1] {
            cache.put(&module, b"code").unwrap();
            let file = place.files().remove(0);
            let mut bytes = fs::read(&file).unwrap();
            bytes[position] ^= 1;
            fs::write(&file, bytes).unwrap();
            assert!(cache.get(&module).is_none());
            assert!(place.files().is_empty());
        }
    }

    #[test]
    fn a_file_that_was_cut_is_removed() {
        let (place, module) = (Place::new(), blake3::hash(b"module"));
        let cache = place.cache(fingerprint()).unwrap();
        for length in [0, 10, 35] {
            cache.put(&module, b"code").unwrap();
            fs::OpenOptions::new().write(true).open(place.files().remove(0)).unwrap().set_len(length).unwrap();
            assert!(cache.get(&module).is_none());
        }
    }

    #[test]
    fn code_of_one_module_is_not_taken_for_another() {
        let (place, one, other) = (Place::new(), blake3::hash(b"one"), blake3::hash(b"other"));
        let cache = place.cache(fingerprint()).unwrap();
        cache.put(&one, b"code").unwrap();
        let folder = place.0.path().join(FOLDER);
        fs::copy(folder.join(cache.name(&one)), folder.join(cache.name(&other))).unwrap();
        assert!(cache.get(&other).is_none());
        assert!(cache.get(&one).is_some());
    }

    #[test]
    fn another_engine_does_not_see_the_code() {
        let (place, module) = (Place::new(), blake3::hash(b"module"));
        place.cache(fingerprint()).unwrap().put(&module, b"code").unwrap();
        assert!(place.cache(blake3::hash(b"engine 2")).unwrap().get(&module).is_none());
    }

    #[test]
    fn code_from_another_key_is_removed() {
        let (place, module) = (Place::new(), blake3::hash(b"module"));
        place.cache(fingerprint()).unwrap().put(&module, b"code").unwrap();
        fs::write(place.0.path().join(FOLDER).join(KEY), [7; 32]).unwrap();
        assert!(place.cache(fingerprint()).unwrap().get(&module).is_none());
    }

    #[test]
    fn a_damaged_key_is_replaced() {
        let (place, module) = (Place::new(), blake3::hash(b"module"));
        place.cache(fingerprint()).unwrap();
        fs::write(place.0.path().join(FOLDER).join(KEY), b"short").unwrap();
        let cache = place.cache(fingerprint()).unwrap();
        cache.put(&module, b"code").unwrap();
        assert!(place.cache(fingerprint()).unwrap().get(&module).is_some());
    }

    #[test]
    fn folder_and_files_are_private() {
        let place = Place::new();
        place.cache(fingerprint()).unwrap().put(&blake3::hash(b"module"), b"code").unwrap();
        let folder = place.0.path().join(FOLDER);
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(folder.clone()), 0o700);
        assert_eq!(mode(folder.join(KEY)), 0o600);
        assert_eq!(mode(place.files().remove(0)), 0o600);
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_refused() {
        let place = Place::new();
        let folder = place.0.path().join(FOLDER);
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o770)).unwrap();
        assert!(matches!(place.cache(fingerprint()), Err(CacheError::NotPrivate { mode: 0o770, .. })));
    }

    #[test]
    fn the_oldest_files_go_when_there_are_too_many() {
        let place = Place::new();
        let cache = place.cache(fingerprint()).unwrap();
        let folder = place.0.path().join(FOLDER);
        for number in 0..FILES {
            fs::write(folder.join(format!("{number:03}{EXTENSION}")), b"").unwrap();
        }
        cache.put(&blake3::hash(b"module"), b"code").unwrap();
        assert_eq!(place.files().len(), FILES);
        assert!(cache.get(&blake3::hash(b"module")).is_some());
    }
}
