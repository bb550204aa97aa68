//! `scone:operator@1`: generated types, and the functions of a component.

mod records;

use operator_contract::CONTRACT_VERSION;
use operator_core::{self as core, Cause, Document, Refusal};
use wasmtime::{
    AsContextMut, Store, StoreContextMut,
    component::{Component, Instance, Linker, WasmList},
};

use self::{
    generated::{
        exports::scone::operator::{admission, reconciliation},
        scone::operator::{logger, types},
    },
    records::{Lists, all, answer, object_ref, observed, operation, phase},
};
use crate::{
    code::{Export, Signature},
    logger::Level,
};

#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::pedantic, reason = "generated")]
mod generated {
    wasmtime::component::bindgen!({
        path: "../../wit/v1",
        world: "operator",
        // Parameters borrow: a snapshot's documents are copied once, from the cache into the module.
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

/// The one import, without its version.
pub(crate) const LOGGER: &str = "scone:operator/logger";
/// The interfaces, without their versions, in the order in which they are checked.
pub(crate) const LIFECYCLE: &str = "scone:operator/lifecycle";
pub(crate) const RECONCILIATION: &str = "scone:operator/reconciliation";
pub(crate) const ADMISSION: &str = "scone:operator/admission";
const CONVERSION: &str = "scone:operator/conversion";

/// What a call of the module gives: none when it does not export the function.
pub(crate) type Reply<T> = wasmtime::Result<Option<Result<T, Refusal>>>;

/// Gives `write` under the exact name that the component imports, so that no other version of it can shadow this one.
pub(crate) fn add_logger<T: 'static>(
    linker: &mut Linker<T>,
    import: &str,
    write: impl Fn(&mut T, Level, &[u8]) + Copy + Send + Sync + 'static,
) -> wasmtime::Result<()> {
    linker.instance(import)?.func_wrap(
        "write",
        move |mut store: StoreContextMut<'_, T>, (level, line): (logger::Level, WasmList<u8>)| {
            // Copied, because the line lies in the store that `write` gets to change; its length is checked first.
            let bytes = line.as_le_slice(&store);
            let bytes = bytes.get(..bytes.len().min(LINE_LIMIT)).unwrap_or_default().to_vec();
            write(store.data_mut(), level.into(), &bytes);
            Ok(())
        },
    )
}

/// Longest line that is copied out of a module, in bytes; the budget for all lines is smaller or about as large.
const LINE_LIMIT: usize = 64 * 1024;

/// The functions of the contract.
struct Describe;
struct ValidateSettings;
struct Reconcile;
struct Admit;
struct Convert;

impl Signature for Describe {
    type Params<'a> = ();
    type Return = (Vec<u8>,);
}

impl Signature for ValidateSettings {
    type Params<'a> = (&'a [u8],);
    type Return = (Result<(), Vec<types::Cause>>,);
}

impl Signature for Reconcile {
    type Params<'a> = (reconciliation::Snapshot<'a>,);
    type Return = (Result<reconciliation::Desired, types::Failure>,);
}

impl Signature for Admit {
    type Params<'a> = (admission::Request<'a>,);
    type Return = (Result<admission::Verdict, types::Failure>,);
}

impl Signature for Convert {
    type Params<'a> = (&'a str, &'a [&'a [u8]]);
    type Return = (Result<Vec<Vec<u8>>, types::Failure>,);
}

/// Where the component's functions are. Looked up once for each loaded module.
pub(crate) struct Exports {
    describe: Option<Export<Describe>>,
    validate_settings: Option<Export<ValidateSettings>>,
    reconcile: Option<Export<Reconcile>>,
    admit: Option<Export<Admit>>,
    convert: Option<Export<Convert>>,
}

impl Exports {
    /// Whatever the component exports of this contract.
    pub(crate) fn of(component: &Component) -> Self {
        Self {
            describe: export(component, LIFECYCLE, "describe"),
            validate_settings: export(component, LIFECYCLE, "validate-settings"),
            reconcile: export(component, RECONCILIATION, "reconcile"),
            admit: export(component, ADMISSION, "admit"),
            convert: export(component, CONVERSION, "convert"),
        }
    }

    /// Whether the component exports this interface.
    pub(crate) fn has(&self, interface: &str) -> bool {
        match interface {
            LIFECYCLE => self.describe.is_some() && self.validate_settings.is_some(),
            RECONCILIATION => self.reconcile.is_some(),
            ADMISSION => self.admit.is_some(),
            CONVERSION => self.convert.is_some(),
            _ => false,
        }
    }

    /// Compares the types of all exported functions with the contract; the error says in which interface they differ.
    pub(crate) fn check<T>(
        &self,
        store: &mut Store<T>,
        instance: &Instance,
    ) -> Result<(), (&'static str, wasmtime::Error)> {
        fn one<S: Signature, T>(
            export: Option<&Export<S>>,
            interface: &'static str,
            store: &mut Store<T>,
            instance: &Instance,
        ) -> Result<(), (&'static str, wasmtime::Error)> {
            let Some(export) = export else { return Ok(()) };
            export.of(store, instance).map(drop).map_err(|error| (interface, error))
        }
        one(self.describe.as_ref(), LIFECYCLE, store, instance)?;
        one(self.validate_settings.as_ref(), LIFECYCLE, store, instance)?;
        one(self.reconcile.as_ref(), RECONCILIATION, store, instance)?;
        one(self.admit.as_ref(), ADMISSION, store, instance)?;
        one(self.convert.as_ref(), CONVERSION, store, instance)
    }

    /// Calls `describe`.
    pub(crate) fn describe(&self, mut store: impl AsContextMut, instance: &Instance) -> Reply<Vec<u8>> {
        let Some(export) = &self.describe else { return Ok(None) };
        let (described,) = export.of(&mut store, instance)?.call(store, ())?;
        Ok(Some(Ok(described)))
    }

    /// Calls `validate-settings`.
    pub(crate) fn validate_settings(
        &self,
        mut store: impl AsContextMut,
        instance: &Instance,
        settings: &Document,
    ) -> Reply<Result<(), Vec<Cause>>> {
        let Some(export) = &self.validate_settings else { return Ok(None) };
        let (judged,) = export.of(&mut store, instance)?.call(store, (settings.bytes(),))?;
        Ok(Some(Ok(judged.map_err(all))))
    }

    /// Calls `reconcile`.
    pub(crate) fn reconcile(
        &self,
        mut store: impl AsContextMut,
        instance: &Instance,
        snapshot: &core::Snapshot,
    ) -> Reply<core::Desired> {
        let Some(export) = &self.reconcile else { return Ok(None) };
        let children: Vec<_> = snapshot.children.iter().map(observed).collect();
        let lists: Vec<_> = snapshot.answers.iter().map(Lists::of).collect();
        let answers: Vec<_> = snapshot.answers.iter().zip(&lists).map(|(a, lists)| answer(a, lists)).collect();
        let api_versions: Vec<&str> = snapshot.api_versions.iter().map(String::as_str).collect();
        let snapshot = reconciliation::Snapshot {
            parent: snapshot.parent.bytes(),
            children: &children,
            answers: &answers,
            settings: snapshot.settings.bytes(),
            finalizing: snapshot.finalizing,
            api_versions: &api_versions,
            now: snapshot.now,
            extensions: &[],
        };
        let (reply,) = export.of(&mut store, instance)?.call(store, (snapshot,))?;
        Ok(Some(reply.map(Into::into).map_err(Into::into)))
    }

    /// Calls `admit`.
    pub(crate) fn admit(
        &self,
        mut store: impl AsContextMut,
        instance: &Instance,
        request: &core::Request,
    ) -> Reply<core::Verdict> {
        let Some(export) = &self.admit else { return Ok(None) };
        let groups: Vec<&str> = request.user.groups.iter().map(String::as_str).collect();
        let request = admission::Request {
            phase: phase(request.phase),
            operation: operation(request.operation),
            identity: object_ref(&request.identity),
            subresource: request.subresource.as_deref(),
            object: request.object.as_ref().map(Document::bytes),
            old_object: request.old_object.as_ref().map(Document::bytes),
            user: admission::User { name: &request.user.name, groups: &groups },
            dry_run: request.dry_run,
            settings: request.settings.bytes(),
            extensions: &[],
        };
        let (reply,) = export.of(&mut store, instance)?.call(store, (request,))?;
        Ok(Some(reply.map(Into::into).map_err(Into::into)))
    }

    /// Calls `convert`.
    pub(crate) fn convert(
        &self,
        mut store: impl AsContextMut,
        instance: &Instance,
        api_version: &str,
        objects: &[Document],
    ) -> Reply<Vec<Document>> {
        let Some(export) = &self.convert else { return Ok(None) };
        let objects: Vec<&[u8]> = objects.iter().map(Document::bytes).collect();
        let (reply,) = export.of(&mut store, instance)?.call(store, (api_version, objects.as_slice()))?;
        Ok(Some(reply.map(|objects| objects.into_iter().map(Document::new).collect()).map_err(Into::into)))
    }
}

/// A function of an interface of this contract. A component may have it under any compatible version.
fn export<S: Signature>(component: &Component, interface: &str, function: &str) -> Option<Export<S>> {
    let interface = component.get_export_index(None, &*format!("{interface}@{CONTRACT_VERSION}"))?;
    component.get_export_index(Some(&interface), function).map(Export::new)
}
