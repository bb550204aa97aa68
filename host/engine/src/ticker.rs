//! The clock that interrupts modules.

use std::{io, sync::Weak, thread, time::Duration};

use crate::engine::Core;

/// How long one tick is, in milliseconds; deadlines are counted in ticks.
pub(crate) const TICK_MS: u64 = 1;
/// How long the ticker sleeps while no call is under way: a call that starts meanwhile gets so much more, never less.
const IDLE: Duration = Duration::from_millis(10);

/// Starts the thread that ticks until the engine is gone.
pub(crate) fn start(core: Weak<Core>) -> io::Result<()> {
    thread::Builder::new().name("module-ticker".to_owned()).spawn(move || {
        while let Some(core) = core.upgrade() {
            core.engine.increment_epoch();
            core.pool.expire();
            core.admissions.expire();
            let pause = if core.slots.busy() { Duration::from_millis(TICK_MS) } else { IDLE };
            drop(core);
            thread::sleep(pause);
        }
    })?;
    Ok(())
}
