//! Native code becomes a component, and its exports become functions of the contract: the only hand-written `unsafe` of the host
//! (invariant I7).

use std::{
    fs::File,
    marker::PhantomData,
    os::fd::AsRawFd,
    sync::atomic::{AtomicBool, Ordering},
};

use wasmtime::{
    AsContextMut, Engine, bail,
    component::{Component, ComponentExportIndex, ComponentNamedList, Instance, Lift, Lower, TypedFunc},
};

/// Maps the code in an open file. The file must hold what our compiler wrote: the cache has checked that (a MAC over all of
/// it, with a key that only this user can read) through this very handle, and the path below opens the same file again,
/// whatever has happened to its name since. Nobody may change the file afterwards; its folder is private.
pub(crate) fn from_file(engine: &Engine, file: &File) -> wasmtime::Result<Component> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    #[expect(unsafe_code, reason = "code that our own compiler wrote, checked by its MAC through the same handle")]
    // SAFETY: see above.
    unsafe {
        Component::deserialize_file(engine, path)
    }
}

/// Copies code that came straight from our compiler's standard output.
pub(crate) fn from_bytes(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    #[expect(unsafe_code, reason = "code that our own compiler has just written")]
    // SAFETY: the bytes come from the pipe of a compiler that this process started.
    unsafe {
        Component::deserialize(engine, code)
    }
}

/// The types of a function of the contract.
pub(crate) trait Signature {
    /// What it takes; it may borrow from the host.
    type Params<'a>: ComponentNamedList + Lower;
    /// What it gives.
    type Return: ComponentNamedList + Lift;
}

/// A function that one component exports.
///
/// Wasmtime compares the types whenever a function is taken from an instance, record by record and name by name, which takes a twentieth of a
/// small call. A component's types never change, so they are compared once.
pub(crate) struct Export<S> {
    index: ComponentExportIndex,
    compared: AtomicBool,
    signature: PhantomData<fn(S)>,
}

impl<S: Signature> Export<S> {
    /// The function behind this index.
    pub(crate) fn new(index: ComponentExportIndex) -> Self {
        Self { index, compared: AtomicBool::new(false), signature: PhantomData }
    }

    /// The function of one instance of that component; of any other there is none.
    pub(crate) fn of<'a>(
        &self,
        mut store: impl AsContextMut,
        instance: &Instance,
    ) -> wasmtime::Result<TypedFunc<S::Params<'a>, S::Return>> {
        if !self.compared.load(Ordering::Relaxed) {
            let function = instance.get_typed_func(&mut store, self.index)?;
            self.compared.store(true, Ordering::Relaxed);
            return Ok(function);
        }
        // The index holds the identity of its component, and wasmtime compares that.
        let Some(function) = instance.get_func(&mut store, self.index) else {
            bail!("the function is of another component");
        };
        #[expect(unsafe_code, reason = "the types were compared when this function was first taken")]
        // SAFETY: it is the same export of the same component as the one whose types were compared above, and types do not depend
        // on how long a parameter is borrowed.
        Ok(unsafe { TypedFunc::new_unchecked(function) })
    }
}
