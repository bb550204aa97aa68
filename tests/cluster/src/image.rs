//! Images of one layer, written as OCI layouts without a container engine.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// An image in the making. The same contents always give the same bytes.
#[derive(Clone, Debug)]
pub struct Image {
    reference: String,
    layer: Vec<u8>,
    config: Value,
}

impl Image {
    /// An empty image with its full name: registry, path, tag.
    pub fn new(reference: &str) -> Self {
        Self {
            reference: reference.to_owned(),
            layer: Vec::new(),
            config: json!({"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}),
        }
    }

    /// With a program at this path, without a leading slash.
    #[must_use]
    pub fn program(mut self, path: &str, bytes: &[u8]) -> Self {
        entry(&mut self.layer, path, Entry::Program(bytes));
        self
    }

    /// With a link at this path to another.
    #[must_use]
    pub fn link(mut self, path: &str, target: &str) -> Self {
        entry(&mut self.layer, path, Entry::Link(target));
        self
    }

    /// What it runs.
    #[must_use]
    pub fn entrypoint(self, words: &[&str]) -> Self {
        self.set("Entrypoint", json!(words))
    }

    /// With a variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        if let Some(variables) = self.config.get_mut("Env").and_then(Value::as_array_mut) {
            variables.push(format!("{name}={value}").into());
        }
        self
    }

    /// As whom it runs; a number, so that kubelet can tell that it is not root.
    #[must_use]
    pub fn user(self, user: u32) -> Self {
        self.set("User", json!(user.to_string()))
    }

    /// With a label, as `docker inspect` shows it.
    #[must_use]
    pub fn label(self, key: &str, value: &str) -> Self {
        self.set("Labels", json!({ key: value }))
    }

    fn set(mut self, field: &str, value: Value) -> Self {
        if let Some(config) = self.config.as_object_mut() {
            config.insert(field.to_owned(), value);
        }
        self
    }

    /// Its full name.
    pub fn reference(&self) -> &str {
        &self.reference
    }

    /// The OCI layout, as one tar file.
    pub fn tar(&self) -> Vec<u8> {
        let mut layer = self.layer.clone();
        finish(&mut layer);
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let config = json!({
            "architecture": architecture, "os": "linux", "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
        });
        let config = config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
        });
        let manifest = manifest.to_string().into_bytes();
        let mut named = descriptor(MANIFEST, &manifest);
        if let Some(named) = named.as_object_mut() {
            named.insert("annotations".to_owned(), json!({"io.containerd.image.name": self.reference}));
        }
        let index = json!({"schemaVersion": 2, "manifests": [named]}).to_string();
        let mut layout = Vec::new();
        entry(&mut layout, "oci-layout", Entry::File(br#"{"imageLayoutVersion":"1.0.0"}"#));
        entry(&mut layout, "index.json", Entry::File(index.as_bytes()));
        for blob in [&config, &layer, &manifest] {
            entry(&mut layout, &format!("blobs/{}", digest(blob).replace(':', "/")), Entry::File(blob));
        }
        finish(&mut layout);
        layout
    }
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn descriptor(media: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media, "digest": digest(bytes), "size": bytes.len()})
}

enum Entry<'a> {
    Program(&'a [u8]),
    File(&'a [u8]),
    Link(&'a str),
}

/// Appends an entry in the format of POSIX.1-1988, for names up to 100 bytes.
fn entry(out: &mut Vec<u8>, path: &str, entry: Entry<'_>) {
    let (mode, kind, target, bytes) = match entry {
        Entry::Program(bytes) => ("0000755", '0', "", bytes),
        Entry::File(bytes) => ("0000644", '0', "", bytes),
        Entry::Link(target) => ("0000777", '2', target, [].as_slice()),
    };
    let size = format!("{:011o}", bytes.len());
    // name, mode, user, group, size, time, checksum, type, link, magic and version; each with the width of its field.
    let fields = |checksum: &str| {
        let (none, kind) = ("0000000", kind.to_string());
        let fields = [
            (path, 100),
            (mode, 8),
            (none, 8),
            (none, 8),
            (size.as_str(), 12),
            ("00000000000", 12),
            (checksum, 8),
            (kind.as_str(), 1),
            (target, 100),
            ("ustar\x0000", 8),
        ];
        let mut header = Vec::with_capacity(512);
        for (text, width) in fields {
            let end = header.len() + width;
            header.extend(text.bytes().take(width));
            header.resize(end, 0);
        }
        header.resize(512, 0);
        header
    };
    // The sum is over a header with blanks in its place.
    let sum: u32 = fields("        ").iter().map(|byte| u32::from(*byte)).sum();
    out.extend(fields(&format!("{sum:06o}\0 ")));
    out.extend(bytes);
    out.resize(out.len().next_multiple_of(512), 0);
}

/// Two empty records end an archive.
fn finish(archive: &mut Vec<u8>) {
    archive.resize(archive.len() + 1024, 0);
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        process::{Command, Stdio},
    };

    use super::*;

    #[test]
    fn an_image_is_a_layout_that_tar_reads() {
        let image = Image::new("example.com/a/b:1").program("bin/a", b"run").link("bin/b", "a").entrypoint(&["/bin/a"]);
        let folder = tempfile::tempdir().unwrap();
        let mut tar = Command::new("tar").args(["-x", "-C"]).arg(folder.path()).stdin(Stdio::piped()).spawn().unwrap();
        tar.stdin.take().unwrap().write_all(&image.tar()).unwrap();
        assert!(tar.wait().unwrap().success());
        let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
        let index: Value = serde_json::from_slice(&read("index.json")).unwrap();
        assert_eq!(index["manifests"][0]["annotations"]["io.containerd.image.name"], "example.com/a/b:1");
        let blob = |value: &Value| read(&format!("blobs/{}", value["digest"].as_str().unwrap().replace(':', "/")));
        let manifest: Value = serde_json::from_slice(&blob(&index["manifests"][0])).unwrap();
        let config: Value = serde_json::from_slice(&blob(&manifest["config"])).unwrap();
        assert_eq!(config["config"]["Entrypoint"], json!(["/bin/a"]));
        assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
    }

    #[test]
    fn the_same_contents_give_the_same_bytes() {
        let image = || Image::new("example.com/a:1").program("a", b"1").user(1).tar();
        assert_eq!(image(), image());
    }
}
