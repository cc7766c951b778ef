//! The one word that says what is on: every point and every trace event loads it, once.
//!
//! | bit       | means |
//! |-----------|-------|
//! | `UNKNOWN` | the environment was not read yet; the first arrival (or call) reads it |
//! | `SYNC`    | a sync point somewhere has a pause, an order or a hook |
//! | `PERTURB` | random sleeps at points |
//! | `TRACE`   | a trace runs |
//! | `HOOKS`   | the host is told of attaches and detaches |
//! | `TSAN`    | the host is compiled with ThreadSanitizer, which is told of attaches and detaches |
//! | `CONTROL` | the engine of the command `pytstate` controls this process |
//!
//! MODE-1: Relaxed is enough: a bit only sends its reader to the cold path, which reads
//! everything else under a lock. A thread that arms a point and then starts or wakes a thread has
//! ordered the two by that; a thread that runs already may pass once more unseen.
//! MODE-2: `UNKNOWN` is cleared once, under [`RESOLVE`], after everything the environment asks for
//!    is set up.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The environment was not read yet.
pub(super) const UNKNOWN: u32 = 1 << 0;
/// A sync point somewhere is armed.
pub(super) const SYNC: u32 = 1 << 1;
/// Random sleeps at points.
pub(super) const PERTURB: u32 = 1 << 2;
/// A trace runs.
pub(super) const TRACE: u32 = 1 << 3;

/// The host is told of attaches and detaches.
const HOOKS: u32 = 1 << 5;

/// ThreadSanitizer is told.
pub(super) const TSAN: u32 = 1 << 4;
/// The process is controlled: points are places where another thread may go on.
pub(super) const CONTROL: u32 = 1 << 6;

static MODE: AtomicU32 = AtomicU32::new(UNKNOWN);

/// What is on. One relaxed load.
#[inline(always)]
pub(super) fn get() -> u32 {
    MODE.load(Relaxed)
}

/// Sets bits.
pub(super) fn turn_on(bits: u32) {
    MODE.fetch_or(bits, Relaxed);
}

/// Clears bits.
pub(super) fn turn_off(bits: u32) {
    MODE.fetch_and(!bits, Relaxed);
}

/// Sends every attach and detach by the path on which the host is told, or not.
pub(super) fn tell_host(on: bool) {
    if on { turn_on(HOOKS) } else { turn_off(HOOKS) }
}
