//! What is measured: a real module with a snapshot, in the sandbox and natively.

use std::path::PathBuf;

use operator_core::{
    Answer, CommandResult, Document, Finding, HttpResponse, ObjectRef, Observed, QueryFailure, Request, Snapshot, User,
    contract::{Operation, Phase},
};
use operator_guest::{self as guest, Module, testing, wire};
use operator_package::Package;

use crate::Error;

/// A parent of LAS as large as they come, with ten children and the nodes and pods of three nodes.
pub(crate) const LAS_4K: &str = include_str!("../../../guests/las/tests/bench-4k.yaml");

/// The snapshot as a module built into this program takes it, without what the host cuts from objects: field claims, and what
/// `kubectl apply` keeps in an annotation.
pub(crate) fn native_snapshot<M: Module>(yaml: &str) -> Result<wire::Snapshot, Error> {
    let mut snapshot = testing::snapshot::<M>(yaml)?;
    let documents = snapshot.children.iter_mut().map(|child| &mut child.document);
    for document in documents.chain([&mut snapshot.parent]) {
        let mut object: serde_json::Value = serde_json::from_slice(document)?;
        if let Some(claims) = object.pointer_mut("/metadata/managedFields") {
            *claims = serde_json::json!([]);
        }
        if let Some(applied) =
            object.pointer_mut("/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration")
        {
            *applied = serde_json::json!("");
        }
        *document = object.to_string().into_bytes();
    }
    Ok(snapshot)
}

/// The same as the host takes it.
pub(crate) fn snapshot<M: Module>(yaml: &str) -> Result<Snapshot, Error> {
    let native = native_snapshot::<M>(yaml)?;
    Ok(Snapshot {
        parent: Document::new(native.parent),
        children: native.children.into_iter().map(observed).collect(),
        answers: native.answers.into_iter().map(answer).collect(),
        settings: Document::new(native.settings),
        finalizing: native.finalizing,
        api_versions: native.api_versions.into(),
        now: native.now,
    })
}

/// The parent of the snapshot, about to be created, as a module built into this program takes it.
pub(crate) fn native_request<M: Module>(yaml: &str) -> Result<wire::Request, Error> {
    let snapshot = native_snapshot::<M>(yaml)?;
    let [parent, settings] = [&snapshot.parent, &snapshot.settings].map(|text| serde_json::from_slice(text));
    let (parent, settings): (serde_json::Value, serde_json::Value) = (parent?, settings?);
    // JSON is YAML.
    let file = serde_json::json!({"phase": "validate", "object": parent, "settings": settings});
    Ok(testing::request::<M>(&file.to_string())?)
}

/// The same as the host takes it.
pub(crate) fn request<M: Module>(yaml: &str) -> Result<Request, Error> {
    let native = native_request::<M>(yaml)?;
    Ok(Request {
        phase: Phase::Validate,
        operation: Operation::Create,
        identity: object_ref(native.identity),
        subresource: native.subresource,
        object: native.object.map(Document::new),
        old_object: None,
        user: User { name: native.user.name, groups: native.user.groups },
        dry_run: native.dry_run,
        settings: Document::new(native.settings),
    })
}

/// The package of a built module, or of a fixture.
pub(crate) fn package(name: &str) -> Result<Package, Error> {
    read(&file(name)?)
}

/// The bytes of a built module, or of a fixture.
pub(crate) fn file(name: &str) -> Result<Vec<u8>, Error> {
    let file = format!("{name}.wasm");
    let folders = [folder("SCONE_OPERATOR_MODULES", "modules"), folder("SCONE_OPERATOR_FIXTURES", "fixtures")];
    let found = folders.iter().map(|folder| folder.join(&file)).find(|path| path.is_file());
    Ok(std::fs::read(found.ok_or(Error::NoModule(file))?)?)
}

/// A package from its bytes.
pub(crate) fn read(bytes: &[u8]) -> Result<Package, Error> {
    Ok(Package::read(bytes::Bytes::copy_from_slice(bytes))?)
}

/// The bytes of LAS, made unlike any other by a custom section that says nothing.
pub(crate) fn variant(number: u8) -> Result<Vec<u8>, Error> {
    let mut bytes = file("las")?;
    // Section 0, its size, then the length of its name, the name, and one byte of content.
    bytes.extend([0, 9, 7, b'v', b'a', b'r', b'i', b'a', b'n', b't', number]);
    Ok(bytes)
}

fn folder(variable: &str, name: &str) -> PathBuf {
    let set = std::env::var_os(variable).map(PathBuf::from);
    set.unwrap_or_else(|| test_support::find().unwrap_or_default().join("target").join(name))
}

fn object_ref(native: guest::ObjectRef) -> ObjectRef {
    let guest::ObjectRef { api_version, kind, namespace, name } = native;
    ObjectRef { api_version, kind, namespace, name }
}

fn observed(native: guest::Observed) -> Observed {
    Observed { identity: object_ref(native.identity), document: Document::new(native.document) }
}

fn answer(native: guest::Answer) -> Answer {
    let outcome = match native.outcome {
        Ok(guest::Finding::Objects(found)) => Ok(Finding::Objects(found.into_iter().map(observed).collect())),
        Ok(guest::Finding::Lines(lines)) => Ok(Finding::Lines(lines)),
        Ok(guest::Finding::Deleted(existed)) => Ok(Finding::Deleted(existed)),
        Ok(guest::Finding::Command(guest::CommandResult { code, stdout, stderr })) => {
            Ok(Finding::Command(CommandResult { code, stdout, stderr }))
        }
        Ok(guest::Finding::Http(guest::HttpResponse { status, headers, body })) => {
            Ok(Finding::Http(HttpResponse { status, headers, body }))
        }
        // Snapshots of benchmarks are of settled clusters.
        Err(_) => Err(QueryFailure::Pending),
    };
    Answer { id: native.id, outcome, asked_at: native.asked_at, extensions: native.extensions }
}
