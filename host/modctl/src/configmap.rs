//! `modctl configmap`: packages as a `ConfigMap` that an installation mounts.

use std::{io::Write, path::PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::{Compression, GzBuilder};
use operator_package::Package;
use serde_json::{Map, Value, json};

use crate::{failure::Failure, load, output::Report, rbac::yaml};

/// What the API server takes, names of keys apart.
const LIMIT: usize = 1024 * 1024;

/// Prints a `ConfigMap` with compressed packages. Apply it with `kubectl apply --server-side -f -`: without that flag, kubectl keeps
/// a copy in an annotation, which is too small for it.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The packages, such as target/modules/las.wasm. Two of usual size fit; make one `ConfigMap` for each module otherwise.
    #[arg(required = true)]
    packages: Vec<PathBuf>,
    /// Its name, as the chart's `modules.configMaps` lists it.
    #[arg(long, default_value = "scone-modules")]
    name: String,
    /// Its namespace: the operator's. Without one, kubectl's.
    #[arg(long)]
    namespace: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    let (mut data, mut size) = (Map::new(), 0);
    for path in &arguments.packages {
        let package = load::package(path)?;
        let compressed = compress(&package)?;
        size += compressed.len();
        let key = format!("{}.wasm.gz", package.manifest.name);
        if data.insert(key.clone(), STANDARD.encode(&compressed).into()).is_some() {
            return Err(Failure::Input(format!("{} is the second package for {key}; leave one out", path.display())));
        }
    }
    if size > LIMIT {
        return Err(Failure::Bad(format!(
            "the packages have {size} bytes when compressed, and a ConfigMap holds {LIMIT}; make one for each module, and list \
             all of them in the chart's modules.configMaps"
        )));
    }
    let mut metadata = json!({"name": arguments.name});
    if let (Some(map), Some(namespace)) = (metadata.as_object_mut(), &arguments.namespace) {
        map.insert("namespace".into(), namespace.clone().into());
    }
    let value =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "binaryData": Value::Object(data)});
    Ok(Report { lines: yaml(std::slice::from_ref(&value))?, value, bad: false })
}

/// Without a name and a time in the header: the same package gives the same bytes.
fn compress(package: &Package) -> Result<Vec<u8>, Failure> {
    let broken =
        |error: std::io::Error| Failure::Internal(format!("{} cannot be compressed: {error}", package.manifest.name));
    let mut encoder = GzBuilder::new().write(Vec::new(), Compression::best());
    encoder.write_all(&package.component).map_err(broken)?;
    encoder.finish().map_err(broken)
}
