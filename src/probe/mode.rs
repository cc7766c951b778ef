//! The one word that says what is on: every point and every trace event loads it, once.
//!
//! | bit       | means |
//! |-----------|-------|
//! | `UNKNOWN` | the environment was not read yet; the first arrival (or call) reads it |
//! | `SYNC`    | a sync point somewhere has a pause, an order or a hook |
//! | `PERTURB` | random sleeps at points |
//! | `TRACE`   | a trace runs |
//! | `TSAN`    | the host is compiled with ThreadSanitizer, which is told of attaches and detaches |
//! | `CONTROL` | the engine of the command `pytstate` controls this process |
//!
//! M1. Relaxed is enough: a bit only sends its reader to the cold path, which reads
//! everything else under a lock. Who arms a point and then starts or wakes a thread has
//! ordered the two by that; a thread that runs already may pass once more unseen.
//! M2. `UNKNOWN` is cleared once, under [`RESOLVE`], after everything the environment asks for is set up.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::os::tsan;

use super::{environment, monitor::Monitor};

/// The environment was not read yet.
pub(super) const UNKNOWN: u32 = 1 << 0;
/// A sync point somewhere is armed.
pub(super) const SYNC: u32 = 1 << 1;
/// Random sleeps at points.
pub(super) const PERTURB: u32 = 1 << 2;
/// A trace runs.
pub(super) const TRACE: u32 = 1 << 3;

/// ThreadSanitizer is told.
const TSAN: u32 = 1 << 4;
/// The process is controlled: points are places where another thread may go on.
pub(super) const CONTROL: u32 = 1 << 5;

static MODE: AtomicU32 = AtomicU32::new(UNKNOWN);

/// Who holds it reads the environment.
static RESOLVE: Monitor<()> = Monitor::new(());

/// What is on. One relaxed load.
#[inline(always)]
pub(super) fn get() -> u32 {
    MODE.load(Relaxed)
}

/// What is on, after the environment had its say.
pub(super) fn resolved() -> u32 {
    if get() & UNKNOWN != 0 {
        let _held = RESOLVE.enter();
        // The lock orders this load after the store of whoever was first.
        if get() & UNKNOWN != 0 {
            environment::apply();
            if tsan::is_present() {
                turn_on(TSAN);
            }
            turn_off(UNKNOWN);
        }
    }
    get()
}

/// Sets bits.
pub(super) fn turn_on(bits: u32) {
    MODE.fetch_or(bits, Relaxed);
}

/// Clears bits.
pub(super) fn turn_off(bits: u32) {
    MODE.fetch_and(!bits, Relaxed);
}

/// Frees the lock in a fork child.
///
/// # Safety
/// As [`super::reset_in_child`].
pub(super) unsafe fn reset_in_child() {
    // SAFETY: this function's contract is the monitor's.
    unsafe { RESOLVE.reset_in_child() };
}
