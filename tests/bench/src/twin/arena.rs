//! The allocator of this program: that of the operator, and while a native twin is called that of modules.
//!
//! In an instance, `guests/sdk/src/bump.rs` hands out memory from front to back and takes back only the latest block; with the instance
//! all of it goes. A twin on a general allocator would pay for each block that it frees, which the module never does. So it gets the same
//! algorithm here, in one block that each call starts anew, as an instance does.
#![expect(
    unsafe_code,
    reason = "an allocator is unsafe by its signature; this is one of the places (ARCHITECTURE.md, I7), and ships with nothing"
)]

use std::{
    alloc::{GlobalAlloc, Layout},
    cell::Cell,
    hint::black_box,
    ptr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicPtr, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use mimalloc::MiMalloc;
use operator_guest::{Module, native::forgetful, wire};

#[repr(align(4096))]
struct Page {
    _bytes: [u8; 4096],
}

/// Far more than a call may use in the sandbox.
const BLOCK: Layout = Layout::new::<[Page; 65_536]>();
const SIZE: usize = BLOCK.size();

struct Switch {
    /// Where the arena is; null until it is needed.
    base: AtomicPtr<u8>,
    /// First free byte of the arena, counted from its base. Only the thread that is inside changes it.
    next: AtomicUsize,
}

#[global_allocator]
static ALLOCATOR: Switch = Switch { base: AtomicPtr::new(ptr::null_mut()), next: AtomicUsize::new(0) };

/// One call at a time is inside.
static ALONE: Mutex<()> = Mutex::new(());

thread_local! {
    /// Whether this thread allocates in the arena.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

impl Switch {
    /// Where a block lies in the arena; none when it lies elsewhere.
    fn place(&self, block: *mut u8) -> Option<usize> {
        let base = self.base.load(Relaxed);
        let place = block.addr().wrapping_sub(base.addr());
        (!base.is_null() && place < SIZE).then_some(place)
    }

    /// Whether a block is the latest one, and this thread's.
    fn is_latest(&self, place: usize, layout: Layout) -> bool {
        INSIDE.get() && place + layout.size() == self.next.load(Relaxed)
    }

    /// A new block in the arena; none outside, or when the arena is used up.
    fn take(&self, layout: Layout) -> Option<*mut u8> {
        if !INSIDE.get() {
            return None;
        }
        // The base is aligned to a page, and more is asked for by nobody.
        let start = self.next.load(Relaxed).checked_next_multiple_of(layout.align())?;
        let top = start.checked_add(layout.size()).filter(|top| *top <= SIZE)?;
        self.next.store(top, Relaxed);
        // SAFETY: `top` and with it `start` are within the block of `SIZE` bytes at the base.
        Some(unsafe { self.base.load(Relaxed).add(start) })
    }
}

// SAFETY: a block is either mimalloc's or the arena's, told by its address, and each gets back only its own. Blocks in the arena lie behind
// each other and never overlap: `next` only moves past the end of a new block, or back to the start of the latest one when its owner gives
// it up, and only one thread at a time is inside.
unsafe impl GlobalAlloc for Switch {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that mimalloc needs.
        self.take(layout).unwrap_or_else(|| unsafe { MiMalloc.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match self.take(layout) {
            Some(block) => {
                // SAFETY: the block was just handed out with this size.
                unsafe { block.write_bytes(0, layout.size()) };
                block
            }
            // SAFETY: as in `alloc`.
            None => unsafe { MiMalloc.alloc_zeroed(layout) },
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match self.place(block) {
            Some(place) if self.is_latest(place, layout) => self.next.store(place, Relaxed),
            Some(_) => {}
            // SAFETY: what is not in the arena is from mimalloc.
            None => unsafe { MiMalloc.dealloc(block, layout) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some(place) = self.place(block) else {
            // SAFETY: what is not in the arena is from mimalloc.
            return unsafe { MiMalloc.realloc(block, layout, size) };
        };
        if self.is_latest(place, layout) && place + size <= SIZE {
            self.next.store(place + size, Relaxed);
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

/// While it lives, this thread allocates in the arena.
struct Inside;

impl Inside {
    /// # Safety
    /// Nothing that was allocated inside before may be used any more: its memory is handed out again.
    unsafe fn enter() -> Self {
        if ALLOCATOR.base.load(Relaxed).is_null() {
            // SAFETY: the size is not zero. When there is no memory, the base stays null and nothing is inside.
            ALLOCATOR.base.store(unsafe { MiMalloc.alloc(BLOCK) }, Relaxed);
        }
        ALLOCATOR.next.store(0, Relaxed);
        INSIDE.set(!ALLOCATOR.base.load(Relaxed).is_null());
        Self
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.set(false);
    }
}

/// How long so many calls of a module's `reconcile` take, each like a call of a fresh instance: until its answer is made and given up.
pub(crate) fn reconcile<M: Module>(calls: u32, snapshot: &wire::Snapshot) -> Duration {
    pure(calls, snapshot, forgetful::reconcile::<M>)
}

/// The same for a validation.
pub(crate) fn validate<M: Module>(calls: u32, request: &wire::Request) -> Duration {
    pure(calls, request, forgetful::validate::<M>)
}

/// Times a pure function. Only for functions of modules: they keep nothing, as their contract says. What the code under them makes once, at
/// its first use, it makes in a call that is not counted, outside the arena.
fn pure<I: Clone, O>(calls: u32, input: &I, call: impl Fn(I) -> O) -> Duration {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    drop(call(input.clone()));
    let mut took = Duration::ZERO;
    for _ in 0..calls {
        // SAFETY: a call's input and answer are given up within this loop, and a pure function keeps nothing else.
        let inside = unsafe { Inside::enter() };
        // The host writes an instance's input into its memory before the module runs.
        let input = input.clone();
        let start = Instant::now();
        drop(black_box(call(input)));
        took += start.elapsed();
        drop(inside);
    }
    took
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where blocks of so many bytes lie in the arena, counted from its base.
    fn places(sizes: &[usize]) -> Vec<Option<usize>> {
        let blocks: Vec<Vec<u8>> = sizes.iter().map(|size| Vec::with_capacity(*size)).collect();
        blocks.iter().map(|block| ALLOCATOR.place(block.as_ptr().cast_mut())).collect()
    }

    /// What a function sees inside, in memory that is not inside.
    fn inside<T: Copy>(look: impl FnOnce() -> T) -> T {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: nothing of an earlier test is used any more, since its result is a copy.
        let _inside = unsafe { Inside::enter() };
        look()
    }

    #[test]
    fn blocks_are_in_the_arena_while_a_twin_is_called_and_elsewhere_before_and_after() {
        assert_eq!(places(&[100]), [None]);
        assert!(inside(|| places(&[100]).iter().all(Option::is_some)));
        assert_eq!(places(&[100]), [None]);
    }

    #[test]
    fn only_the_latest_block_is_taken_back() {
        let (first, second) = inside(|| {
            let (first, second) = (Box::new([1_u8; 64]), Box::new([2_u8; 64]));
            let at = |block: &[u8; 64]| ALLOCATOR.place(block.as_ptr().cast_mut());
            let places = (at(&first), at(&second));
            drop(first);
            let third = Box::new([3_u8; 64]);
            assert!(at(&third) > places.1, "an earlier block was handed out again");
            drop(third);
            drop(second);
            assert_eq!(at(&Box::new([4_u8; 64])), places.1);
            places
        });
        assert_eq!(second.unwrap() - first.unwrap(), 64);
    }

    #[test]
    fn the_latest_block_grows_where_it_is_and_an_earlier_one_is_moved_whole() {
        inside(|| {
            let mut early: Vec<u8> = vec![7; 10];
            let mut late: Vec<u8> = vec![8; 10];
            let (early_at, late_at) = (early.as_ptr(), late.as_ptr());
            late.reserve_exact(1_000);
            assert_eq!(late.as_ptr(), late_at);
            early.reserve_exact(1_000);
            assert_ne!(early.as_ptr(), early_at);
            assert_eq!((early, late), (vec![7; 10], vec![8; 10]));
        });
    }

    #[test]
    fn each_call_starts_with_an_empty_arena() {
        let first = || inside(|| ALLOCATOR.place(Vec::<u8>::with_capacity(1_000_000).as_ptr().cast_mut()));
        assert_eq!((first(), first()), (Some(0), Some(0)));
    }
}
