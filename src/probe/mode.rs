//! The one word that says what is on: every point and every trace event loads it, once.
//!
//! | bit         | means |
//! |-------------|-------|
//! | `SYNC`      | a sync point somewhere has a pause, an order or a hook |
//!
//! M1. Relaxed is enough: a bit only sends its reader to the cold path, which reads
//! everything else under a lock. Who arms a point and then starts or wakes a thread has
//! ordered the two by that; a thread that runs already may pass once more unseen.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A sync point somewhere is armed.
pub(super) const SYNC: u32 = 1 << 0;

static MODE: AtomicU32 = AtomicU32::new(0);

/// What is on. One relaxed load.
#[inline(always)]
pub(super) fn get() -> u32 {
    MODE.load(Relaxed)
}
