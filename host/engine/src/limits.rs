//! What one store may hold.

use wasmtime::ResourceLimiter;

use crate::Budget;

/// Which limit was hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Memory,
    Table,
}

/// Counts all memories and tables of one call together, and remembers what it refused: the module only sees that growing
/// failed, and usually traps for that reason.
pub(crate) struct Limits {
    memory_limit: usize,
    table_limit: usize,
    memory: usize,
    tables: usize,
    /// What the growth under way would add; taken back when it fails for another reason.
    pending: usize,
    refused: Option<Refused>,
}

impl Limits {
    pub(crate) fn new(budget: &Budget) -> Self {
        Self {
            memory_limit: budget.memory_kib as usize * 1024,
            table_limit: budget.table_elements as usize,
            memory: 0,
            tables: 0,
            pending: 0,
            refused: None,
        }
    }

    /// Bytes of linear memory.
    pub(crate) fn memory(&self) -> usize {
        self.memory
    }

    /// The first limit that was hit.
    pub(crate) fn refused(&self) -> Option<Refused> {
        self.refused
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let pending = desired.saturating_sub(current);
        if self.memory.saturating_add(pending) > self.memory_limit {
            self.refused.get_or_insert(Refused::Memory);
            return Ok(false);
        }
        self.memory += pending;
        self.pending = pending;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory = self.memory.saturating_sub(std::mem::take(&mut self.pending));
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let pending = desired.saturating_sub(current);
        if self.tables.saturating_add(pending) > self.table_limit {
            self.refused.get_or_insert(Refused::Table);
            return Ok(false);
        }
        self.tables += pending;
        self.pending = pending;
        Ok(true)
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.tables = self.tables.saturating_sub(std::mem::take(&mut self.pending));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_count_together() {
        let mut limits = Limits::new(&Budget { memory_kib: 128, ..Budget::DEFAULT });
        assert!(limits.memory_growing(0, 65_536, None).unwrap());
        assert!(limits.memory_growing(0, 65_536, None).unwrap());
        assert!(!limits.memory_growing(65_536, 131_072, None).unwrap());
        assert_eq!((limits.memory(), limits.refused()), (131_072, Some(Refused::Memory)));
    }

    #[test]
    fn a_growth_that_fails_for_another_reason_is_not_counted() {
        let mut limits = Limits::new(&Budget::DEFAULT);
        assert!(limits.memory_growing(0, 65_536, Some(0)).unwrap());
        limits.memory_grow_failed(wasmtime::Error::msg("maximum")).unwrap();
        assert_eq!((limits.memory(), limits.refused()), (0, None));
    }

    #[test]
    fn a_table_beyond_the_budget_is_refused() {
        let mut limits = Limits::new(&Budget { table_elements: 10, ..Budget::DEFAULT });
        assert!(!limits.table_growing(0, 11, None).unwrap());
        assert_eq!(limits.refused(), Some(Refused::Table));
    }
}
