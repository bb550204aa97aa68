//! An allocator for instances that live for one call: it hands out memory and takes back only the latest block.
//!
//! Freeing is what ordinary allocators spend their time on, and a fresh instance never needs it. Memory starts behind the
//! module's data and grows only when the initial memory is used up, because growing costs a system call in the host.
#![expect(
    unsafe_code,
    reason = "an allocator is unsafe by its signature; this is one of the two places (ARCHITECTURE.md, I7)"
)]

use std::{
    alloc::{GlobalAlloc, Layout},
    arch::wasm32,
    cell::Cell,
    ptr,
};

const PAGE: usize = 64 * 1024;

/// Growing costs the same for one page and for four.
const STEP: usize = 4;

struct Bump {
    /// First free byte; 0 before the first allocation.
    next: Cell<usize>,
    /// End of the memory there is.
    end: Cell<usize>,
}

// SAFETY: this target has one thread.
unsafe impl Sync for Bump {}

#[global_allocator]
static ALLOCATOR: Bump = Bump { next: Cell::new(0), end: Cell::new(0) };

unsafe extern "C" {
    /// Where the linker says that data ends. Only its address means something.
    static __heap_base: u8;
}

impl Bump {
    fn start(&self) -> usize {
        if self.next.get() == 0 {
            self.next.set(&raw const __heap_base as usize);
            self.end.set(wasm32::memory_size(0) * PAGE);
        }
        self.next.get()
    }

    /// Makes sure that memory reaches `top`; false when the host refuses.
    fn reach(&self, top: usize) -> bool {
        if top <= self.end.get() {
            return true;
        }
        let pages = (top - self.end.get()).div_ceil(PAGE);
        let wanted = pages.max(STEP);
        let refused = |pages| wasm32::memory_grow(0, pages) == usize::MAX;
        if refused(wanted) && (wanted == pages || refused(pages)) {
            return false;
        }
        self.end.set(wasm32::memory_size(0) * PAGE);
        true
    }
}

// SAFETY: blocks lie behind each other and never overlap: `next` only moves past the end of a new block, or back to the
// start of the latest one when its owner gives it up.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(start) = self.start().checked_next_multiple_of(layout.align()) else { return ptr::null_mut() };
        let Some(top) = start.checked_add(layout.size()) else { return ptr::null_mut() };
        if !self.reach(top) {
            return ptr::null_mut();
        }
        self.next.set(top);
        start as *mut u8
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if block as usize + layout.size() == self.next.get() {
            self.next.set(block as usize);
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if block as usize + layout.size() == self.next.get() {
            let Some(top) = (block as usize).checked_add(size) else { return ptr::null_mut() };
            if !self.reach(top) {
                return ptr::null_mut();
            }
            self.next.set(top);
            return block;
        }
        if size <= layout.size() {
            return block;
        }
        // SAFETY: the caller promises that `size` is not zero and that `layout` is the block's.
        unsafe {
            let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !moved.is_null() {
                ptr::copy_nonoverlapping(block, moved, layout.size());
            }
            moved
        }
    }
}
