//! The exports: [`crate::native`] behind the generated bindings, and a panic hook that tells where.

use std::{marker::PhantomData, panic};

use crate::{
    Cause, Document, Failure, Module,
    bindings::exports::scone::operator::{admission, conversion, lifecycle, reconciliation},
    log, native, wire,
};

/// What `export!` exports for a module.
pub struct Edge<M>(PhantomData<M>);

/// Instances are fresh for every call, so every export starts with this. The place is no secret; the message may hold one,
/// so it goes to the level that is off in production.
fn report_panics() {
    panic::set_hook(Box::new(|info| {
        match info.location() {
            Some(place) => log::error(&format!("panicked at {}:{}:{}", place.file(), place.line(), place.column())),
            None => log::error("panicked"),
        }
        if let Some(message) = info.payload_as_str() {
            log::debug(message);
        }
    }));
}

impl<M: Module> lifecycle::Guest for Edge<M> {
    fn describe() -> Document {
        report_panics();
        native::describe::<M>()
    }

    fn validate_settings(settings: Document) -> Result<(), Vec<Cause>> {
        report_panics();
        native::validate_settings::<M>(settings)
    }
}

impl<M: Module> reconciliation::Guest for Edge<M> {
    fn reconcile(snapshot: wire::Snapshot) -> Result<wire::Desired, Failure> {
        report_panics();
        native::reconcile::<M>(snapshot)
    }
}

impl<M: Module> admission::Guest for Edge<M> {
    fn admit(request: wire::Request) -> Result<wire::Verdict, Failure> {
        report_panics();
        native::admit::<M>(request)
    }
}

impl<M: Module> conversion::Guest for Edge<M> {
    fn convert(api_version: String, objects: Vec<Document>) -> Result<Vec<Document>, Failure> {
        report_panics();
        native::convert::<M>(&api_version, objects)
    }
}
