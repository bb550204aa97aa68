//! The pointer that a hot swap changes.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::Module;

/// The generation of one module that serves now. Whoever calls it takes the pointer once and ends on what it took, so a swap
/// loses no call: the old generation frees itself with its last call.
pub struct Serving {
    current: ArcSwap<Arc<dyn Module>>,
}

impl Serving {
    /// Serves this generation.
    pub fn new(module: Arc<dyn Module>) -> Self {
        Self { current: ArcSwap::from_pointee(module) }
    }

    /// The generation that serves now.
    pub fn current(&self) -> Arc<dyn Module> {
        Arc::clone(&self.current.load())
    }

    /// Serves another generation from now on, and returns the one that served until now.
    pub fn swap(&self, module: Arc<dyn Module>) -> Arc<dyn Module> {
        Arc::clone(&self.current.swap(Arc::new(module)))
    }
}
