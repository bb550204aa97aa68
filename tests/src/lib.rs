//! Tests that need more than one crate, by ring: `architecture` (pure), `engine`, `scenarios`. This library holds nothing: what
//! tests share is the crates themselves.
