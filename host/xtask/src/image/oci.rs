//! An image in the OCI layout: layers, configuration, manifest, index, and the tar file that holds them.
//!
//! Nothing in it depends on when or where it is written: names are sorted, times are given, owners are root, and the compressed
//! form carries neither name nor time.

use std::{collections::BTreeMap, io::Write};

use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use crate::failure::Failure;

/// The user that programs run as, in the image and in the chart.
pub(crate) const USER: &str = "65532:65532";

/// What stands under a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A file that everybody may read.
    File(Vec<u8>),
    /// A file that everybody may run.
    Program(Vec<u8>),
    /// A symbolic link.
    Link(&'static str),
}

/// Files by their paths, without a leading slash. Folders come by themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Layer {
    pub(crate) name: &'static str,
    pub(crate) entries: BTreeMap<String, Entry>,
}

/// A complete image.
pub(crate) struct Image {
    pub(crate) name: String,
    layers: Vec<Packed>,
    config: Vec<u8>,
    manifest: Vec<u8>,
}

struct Packed {
    name: &'static str,
    compressed: Vec<u8>,
    /// Of the layer before it was compressed.
    diff_id: String,
}

impl Image {
    /// An image of these layers, the lowest first. `time` is when everything was made, in Unix seconds.
    pub(crate) fn new(name: &str, labels: Vec<(&str, &str)>, layers: Vec<Layer>, time: u64) -> Result<Self, Failure> {
        let layers = layers.into_iter().map(|layer| pack(layer, time)).collect::<Result<Vec<_>, _>>()?;
        let labels: BTreeMap<&str, &str> = labels.into_iter().collect();
        let config = config(&labels, &layers, &timestamp(time)).to_string().into_bytes();
        let blobs: Vec<Value> = layers
            .iter()
            .map(|layer| descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &layer.compressed))
            .collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "layers": blobs, "annotations": labels,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        });
        Ok(Self { name: name.to_owned(), layers, config, manifest: manifest.to_string().into_bytes() })
    }

    /// What registries call it.
    pub(crate) fn digest(&self) -> String {
        digest(&self.manifest)
    }

    /// Each layer's name and compressed size.
    pub(crate) fn sizes(&self) -> impl Iterator<Item = (&'static str, usize)> {
        self.layers.iter().map(|layer| (layer.name, layer.compressed.len()))
    }

    /// The tar file. `manifest.json` beside the OCI layout is what `docker load` reads.
    pub(crate) fn archive(&self) -> Result<Vec<u8>, Failure> {
        let tag = self.name.rsplit_once('/').map_or(self.name.as_str(), |(_, last)| last);
        let tag = tag.rsplit_once(':').map_or("latest", |(_, tag)| tag);
        let mut entry = descriptor(MANIFEST, &self.manifest);
        if let Some(map) = entry.as_object_mut() {
            map.insert("platform".into(), json!({"architecture": architecture(), "os": "linux"}));
            let names = json!({"io.containerd.image.name": self.name, "org.opencontainers.image.ref.name": tag});
            map.insert("annotations".into(), names);
        }
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]});
        let place = |bytes: &[u8]| format!("blobs/sha256/{}", digest(bytes).trim_start_matches("sha256:"));
        let layers: Vec<String> = self.layers.iter().map(|layer| place(&layer.compressed)).collect();
        let docker = json!([{"Config": place(&self.config), "RepoTags": [self.name], "Layers": layers}]);
        let mut entries: BTreeMap<String, Entry> = [
            ("index.json".to_owned(), index.to_string().into_bytes()),
            ("manifest.json".to_owned(), docker.to_string().into_bytes()),
            ("oci-layout".to_owned(), json!({"imageLayoutVersion": "1.0.0"}).to_string().into_bytes()),
            (place(&self.config), self.config.clone()),
            (place(&self.manifest), self.manifest.clone()),
        ]
        .into_iter()
        .map(|(path, bytes)| (path, Entry::File(bytes)))
        .collect();
        entries.extend(self.layers.iter().zip(layers).map(|(layer, at)| (at, Entry::File(layer.compressed.clone()))));
        tar(&entries, 0)
    }
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn config(labels: &BTreeMap<&str, &str>, layers: &[Packed], created: &str) -> Value {
    let history: Vec<Value> = layers
        .iter()
        .map(|layer| json!({"created": created, "created_by": "cargo xtask image", "comment": layer.name}))
        .collect();
    json!({
        "architecture": architecture(), "os": "linux", "created": created, "history": history,
        "config": {
            "User": USER, "WorkingDir": "/", "Entrypoint": ["/manager"], "Cmd": ["run"], "Labels": labels,
            "ExposedPorts": {"8080/tcp": {}, "8081/tcp": {}, "9443/tcp": {}},
            "Env": ["PATH=/", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"],
        },
        "rootfs": {"type": "layers", "diff_ids": layers.iter().map(|layer| &layer.diff_id).collect::<Vec<_>>()},
    })
}

/// As container images call the machine that this runs on, which is what it builds for.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(bytes), "size": bytes.len()})
}

fn pack(layer: Layer, time: u64) -> Result<Packed, Failure> {
    let plain = tar(&layer.entries, time)?;
    let broken =
        |error: std::io::Error| Failure::Internal(format!("the layer {} cannot be written: {error}", layer.name));
    let mut encoder = GzBuilder::new().write(Vec::new(), Compression::default());
    encoder.write_all(&plain).map_err(broken)?;
    Ok(Packed { name: layer.name, compressed: encoder.finish().map_err(broken)?, diff_id: digest(&plain) })
}

/// A tar file of these entries and of the folders that they are in.
fn tar(entries: &BTreeMap<String, Entry>, time: u64) -> Result<Vec<u8>, Failure> {
    let mut all: BTreeMap<String, Option<&Entry>> = BTreeMap::new();
    for (path, entry) in entries {
        let folders = path.match_indices('/').filter_map(|(at, _)| path.get(..=at));
        all.extend(folders.map(|folder| (folder.to_owned(), None)));
        all.insert(path.clone(), Some(entry));
    }
    let mut builder = Builder::new(Vec::new());
    for (path, entry) in all {
        append(&mut builder, &path, entry, time)
            .map_err(|error| Failure::Internal(format!("{path} cannot be written: {error}")))?;
    }
    builder.into_inner().map_err(|error| Failure::Internal(format!("the archive cannot be written: {error}")))
}

fn append(builder: &mut Builder<Vec<u8>>, path: &str, entry: Option<&Entry>, time: u64) -> std::io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_mtime(time);
    header.set_uid(0);
    header.set_gid(0);
    let (kind, mode, bytes): (_, _, &[u8]) = match entry {
        None => (EntryType::Directory, 0o755, &[]),
        Some(Entry::File(bytes)) => (EntryType::Regular, 0o644, bytes),
        Some(Entry::Program(bytes)) => (EntryType::Regular, 0o755, bytes),
        Some(Entry::Link(_)) => (EntryType::Symlink, 0o777, &[]),
    };
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(bytes.len() as u64);
    match entry {
        Some(Entry::Link(target)) => builder.append_link(&mut header, path, target),
        _ => builder.append_data(&mut header, path, bytes),
    }
}

/// Unix seconds as images write time.
fn timestamp(seconds: u64) -> String {
    let at = i64::try_from(seconds).ok().and_then(|at| time::OffsetDateTime::from_unix_timestamp(at).ok());
    let at = at.unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    let (month, day) = (u8::from(at.month()), at.day());
    format!("{:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", at.year(), at.hour(), at.minute(), at.second())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn image(time: u64) -> Image {
        let layer = |name, path: &str, entry| Layer { name, entries: [(path.to_owned(), entry)].into() };
        let mut programs = layer("programs", "manager", Entry::Program(b"elf".to_vec()));
        programs.entries.insert("scone-operator".into(), Entry::Link("manager"));
        let layers = vec![programs, layer("modules", "modules/las.wasm", Entry::File(b"wasm".to_vec()))];
        Image::new("example.org/a/b:1.0", vec![("org.opencontainers.image.title", "b")], layers, time).unwrap()
    }

    fn files(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(archive);
        let entries =
            archive.entries().unwrap().map(Result::unwrap).filter(|entry| entry.header().entry_type().is_file());
        let read = |mut entry: tar::Entry<'_, &[u8]>| {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            (entry.path().unwrap().display().to_string(), bytes)
        };
        entries.map(read).collect()
    }

    fn blob(files: &BTreeMap<String, Vec<u8>>, descriptor: &Value) -> Vec<u8> {
        let name = descriptor["digest"].as_str().unwrap().replace("sha256:", "blobs/sha256/");
        let bytes = files[&name].clone();
        assert_eq!(
            (digest(&bytes), bytes.len() as u64),
            (descriptor["digest"].as_str().unwrap().to_owned(), descriptor["size"].as_u64().unwrap())
        );
        bytes
    }

    #[test]
    fn the_same_files_give_the_same_bytes() {
        assert_eq!(image(7).archive().unwrap(), image(7).archive().unwrap());
        assert_eq!(image(7).digest(), image(7).digest());
        assert_ne!(image(7).digest(), image(8).digest(), "the time is part of it");
    }

    #[test]
    fn an_importer_finds_name_configuration_and_layers() {
        let files = files(&image(0).archive().unwrap());
        let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
        assert_eq!(
            index["manifests"][0]["annotations"],
            json!({"io.containerd.image.name": "example.org/a/b:1.0", "org.opencontainers.image.ref.name": "1.0"})
        );
        let manifest: Value = serde_json::from_slice(&blob(&files, &index["manifests"][0])).unwrap();
        let config: Value = serde_json::from_slice(&blob(&files, &manifest["config"])).unwrap();
        assert_eq!(config["config"]["User"], "65532:65532");
        assert_eq!(config["config"]["Entrypoint"], json!(["/manager"]));
        assert_eq!(config["created"], "1970-01-01T00:00:00Z");
        let layers = manifest["layers"].as_array().unwrap();
        for (layer, diff_id) in layers.iter().zip(config["rootfs"]["diff_ids"].as_array().unwrap()) {
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(&blob(&files, layer)[..]).read_to_end(&mut plain).unwrap();
            assert_eq!(digest(&plain), diff_id.as_str().unwrap());
        }
        assert_eq!(layers.len(), 2);
        let docker: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
        assert_eq!(docker[0]["RepoTags"], json!(["example.org/a/b:1.0"]));
    }

    #[test]
    fn everything_in_a_layer_belongs_to_root_and_nobody_else_may_write_it() {
        let entries = image(0).layers.into_iter().map(|layer| layer.compressed).collect::<Vec<_>>();
        let mut seen = Vec::new();
        for layer in entries {
            let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&layer[..]));
            for entry in archive.entries().unwrap().map(Result::unwrap) {
                let header = entry.header();
                assert_eq!((header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()), (0, 0, 0));
                assert!(header.mode().unwrap() & 0o022 == 0 || header.entry_type().is_symlink());
                seen.push(entry.path().unwrap().display().to_string());
            }
        }
        assert_eq!(seen, ["manager", "scone-operator", "modules/", "modules/las.wasm"]);
    }

    #[test]
    fn times_are_written_as_images_want_them() {
        assert_eq!(timestamp(1_700_000_000), "2023-11-14T22:13:20Z");
    }
}
