//! Native code becomes a component: the only hand-written `unsafe` of the host (invariant I7).

use std::{fs::File, os::fd::AsRawFd};

use wasmtime::{Engine, component::Component};

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
