//! The exports as ordinary functions: the same records in and out, without WebAssembly. The exports themselves are nothing
//! but these, so tests and benchmarks run what a host runs.

use crate::{Cause, Document, Failure, Module, Phase, Request, Settings, Snapshot, Verdict, wire};

/// The manifest as a JSON document.
pub fn describe<M: Module>() -> Document {
    // Names, lists and a JSON value: this can always be written.
    serde_json::to_vec(&M::manifest()).unwrap_or_default()
}

/// Judges settings.
pub fn validate_settings<M: Module>(settings: Document) -> Result<(), Vec<Cause>> {
    M::validate_settings(&Settings(settings))
}

/// Computes what should exist for one parent.
pub fn reconcile<M: Module>(snapshot: wire::Snapshot) -> Result<wire::Desired, Failure> {
    let snapshot = Snapshot::from_wire(snapshot)?;
    let desired = M::reconcile(&snapshot);
    done_with(snapshot);
    desired?.into_wire()
}

/// Judges one request.
pub fn admit<M: Module>(request: wire::Request) -> Result<wire::Verdict, Failure> {
    match Request::<M::Parent>::from_wire(request) {
        Err((identity, cause)) => Ok(Verdict::invalid([cause]).into_wire(&identity)),
        Ok(request) if request.phase == Phase::Validate => {
            let verdict = M::validate(&request).into_wire(&request.identity);
            done_with(request);
            Ok(verdict)
        }
        Ok(request) => mutate::<M>(request),
    }
}

/// Ends with what was read. An instance lives for one call and its memory goes with it, so in WebAssembly nothing is freed: walking through
/// a large object for that takes longer than many a validation.
fn done_with<T>(input: T) {
    if cfg!(target_family = "wasm") {
        std::mem::forget(input);
    }
}

fn mutate<M: Module>(mut request: Request<M::Parent>) -> Result<wire::Verdict, Failure> {
    let mut verdict = Verdict::accept().into_wire(&request.identity);
    if let Some(mut object) = request.object.take() {
        let before = serialized(&object)?;
        M::default(&mut object, &request);
        let after = serialized(&object)?;
        if before != after {
            (verdict.before, verdict.object) = (Some(before), Some(after));
        }
        done_with(object);
    }
    done_with(request);
    Ok(verdict)
}

fn serialized<P: serde::Serialize>(object: &P) -> Result<Document, Failure> {
    serde_json::to_vec(object)
        .map_err(|error| Failure::Retry(format!("the module cannot write the object as JSON: {error}; fix its type")))
}

/// Converts every object to another version.
pub fn convert<M: Module>(api_version: &str, objects: Vec<Document>) -> Result<Vec<Document>, Failure> {
    M::convert(api_version, objects)
}

/// Calls that end as they do in WebAssembly, where what was read is not freed. For benchmarks whose allocator takes the memory of a call back
/// as a whole; with any other one each call leaks.
#[cfg(not(target_family = "wasm"))]
pub mod forgetful {
    use std::mem::ManuallyDrop;

    use crate::{Failure, Module, Request, Snapshot, Verdict, wire};

    /// [`reconcile`](super::reconcile).
    pub fn reconcile<M: Module>(snapshot: wire::Snapshot) -> Result<wire::Desired, Failure> {
        let snapshot = ManuallyDrop::new(Snapshot::from_wire(snapshot)?);
        M::reconcile(&snapshot)?.into_wire()
    }

    /// [`admit`](super::admit), in the validating phase.
    pub fn validate<M: Module>(request: wire::Request) -> wire::Verdict {
        match Request::<M::Parent>::from_wire(request) {
            Err((identity, cause)) => Verdict::invalid([cause]).into_wire(&identity),
            Ok(request) => {
                let request = ManuallyDrop::new(request);
                M::validate(&request).into_wire(&request.identity)
            }
        }
    }
}
