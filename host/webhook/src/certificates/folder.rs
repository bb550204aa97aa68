//! A mounted certificate: `tls.crt`, `tls.key` and `ca.crt`, as a certificate manager writes them and kubelet mounts them.

use std::io::ErrorKind;

use cap_std::fs::Dir;

use crate::Error;

/// Largest file that is read, in bytes.
const LIMIT: u64 = 1024 * 1024;

/// What a folder holds.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Files {
    pub(crate) certificate: String,
    pub(crate) key: String,
    pub(crate) authority: String,
}

/// Reads the three files. Links are followed within the folder: kubelet swaps one of them. Files of two versions, read in the middle
/// of that, do not belong together, are refused by whoever loads them, and read again.
pub(crate) fn read(folder: &Dir, place: &str) -> Result<Files, Error> {
    let file = |name: &str| {
        let wrong = |why: String| Error::Certificate { place: place.to_owned(), why };
        let size = folder.metadata(name).map(|metadata| metadata.len());
        match size {
            Ok(size) if size > LIMIT => {
                Err(wrong(format!("{name} is larger than {LIMIT} bytes; check what is mounted")))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(wrong(format!("{name} is missing; mount a Secret with tls.crt, tls.key and ca.crt")))
            }
            Err(error) => Err(wrong(format!("{name}: {error}; check that it may be read"))),
            Ok(_) => folder
                .read_to_string(name)
                .map_err(|error| wrong(format!("{name}: {error}; check that it may be read"))),
        }
    };
    Ok(Files { certificate: file("tls.crt")?, key: file("tls.key")?, authority: file("ca.crt")? })
}

/// A new mounted certificate on its way in: trusted before it is served.
#[derive(Default)]
pub(crate) struct Handover {
    /// What is served.
    pub(crate) current: Option<Files>,
    /// What is not served yet, and since when, in Unix seconds.
    pub(crate) candidate: Option<(Files, i64)>,
    /// The authority that is trusted still, and since when it is no longer used.
    pub(crate) former: Option<(String, i64)>,
}

impl Handover {
    /// All authorities to trust, in PEM.
    pub(crate) fn bundle(&self) -> String {
        let current = self.current.iter().map(|files| files.authority.as_str());
        let candidate = self.candidate.iter().map(|(files, _)| files.authority.as_str());
        let former = self.former.iter().map(|(authority, _)| authority.as_str());
        let mut all: Vec<&str> = current.chain(candidate).chain(former).map(str::trim).collect();
        let mut seen = std::collections::BTreeSet::new();
        all.retain(|pem| seen.insert(*pem));
        all.into_iter().flat_map(|pem| [pem, "\n"]).collect()
    }

    /// Hears what the folder holds now.
    pub(crate) fn hear(&mut self, files: Files, now: i64) {
        if self.current.as_ref() == Some(&files) {
            self.candidate = None;
        } else if self.candidate.as_ref().is_none_or(|(candidate, _)| *candidate != files) {
            self.candidate = Some((files, now));
        }
    }

    /// The candidate was served: from now on it is what is served.
    pub(crate) fn served(&mut self, now: i64) {
        if let Some((files, _)) = self.candidate.take()
            && let Some(before) = self.current.replace(files)
        {
            self.former = Some((before.authority, now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(authority: &str) -> Files {
        Files { certificate: "c".into(), key: "k".into(), authority: authority.into() }
    }

    #[test]
    fn a_swapped_link_is_followed() {
        let folder = cap_tempfile::tempdir(cap_std::ambient_authority()).unwrap();
        for (version, text) in [("..1", "one"), ("..2", "two")] {
            folder.create_dir(version).unwrap();
            for name in ["tls.crt", "tls.key", "ca.crt"] {
                folder.write(format!("{version}/{name}"), text).unwrap();
            }
        }
        folder.symlink("..1", "..data").unwrap();
        for name in ["tls.crt", "tls.key", "ca.crt"] {
            folder.symlink(format!("..data/{name}"), name).unwrap();
        }
        assert_eq!(read(&folder, "here").unwrap().authority, "one");
        folder.symlink("..2", "..data_tmp").unwrap();
        folder.rename("..data_tmp", &folder, "..data").unwrap();
        assert_eq!(read(&folder, "here").unwrap().authority, "two");
    }

    #[test]
    fn a_missing_file_is_named() {
        let folder = cap_tempfile::tempdir(cap_std::ambient_authority()).unwrap();
        let error = read(&folder, "/certs").err().unwrap().to_string();
        assert!(error.contains("/certs") && error.contains("tls.crt is missing"), "{error}");
    }

    #[test]
    fn the_old_authority_stays_trusted_beside_the_new_one() {
        let mut handover = Handover::default();
        handover.hear(files("one"), 1);
        handover.served(1);
        handover.hear(files("two"), 2);
        assert_eq!(handover.bundle(), "one\ntwo\n", "before it is served");
        handover.served(3);
        assert_eq!(handover.bundle(), "two\none\n", "and after");
    }
}
