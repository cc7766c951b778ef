//! The lock word of a GIL and the facts beside it. Waiting is `sched::gil`.
//!
//! | word             | meaning                                   |
//! |------------------|-------------------------------------------|
//! | 0                | free                                      |
//! | LOCKED           | held, nobody waits                        |
//! | LOCKED, PARKED   | held, somebody is (or was) in the queue   |
//! | PARKED           | free, woken waiters compete for it        |
//!
//! Uncontended: one read-modify-write to take, one to release.
//!
//! Field access: `word` anybody; `holder` and `switches` are written by the
//! thread that holds the GIL, and `holder` is emptied under the head lock by
//! the deleter of that state, so a waiter that looks at `holder` under the
//! head lock sees a live state. `interval_us` anybody, relaxed.
//!
//! Mirrors CPython 3.13 `struct _gil_runtime_state` (pycore_gil.h).

use crate::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// Somebody holds the GIL.
pub(crate) const LOCKED: u32 = 1;
/// The queue of the GIL may not be empty.
pub(crate) const PARKED: u32 = 2;

/// Default switch interval in microseconds (S-GIL-02).
pub(crate) const DEFAULT_INTERVAL_US: u32 = 5000;

/// A GIL. Lives inside the interpreter that made it; memory of interpreters
/// is never returned to the system, so a late waiter reads valid memory.
pub(crate) struct Gil {
    pub(crate) word: AtomicU32,
    /// Switch interval; 0 acts as 1.
    pub(crate) interval_us: AtomicU32,
    /// Last holder (a `ThreadState`), NULL when that state was deleted.
    pub(crate) holder: AtomicPtr<()>,
    /// Grows whenever the GIL passes to another state.
    pub(crate) switches: AtomicU64,
    /// Threads that wait now, parked or about to park.
    pub(crate) waiters: AtomicU32,
}

/// Outcome of [`Gil::release`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// Nobody waits.
    Free,
    /// Still locked: pass it on through the queue.
    Contended,
    /// It was not locked at all.
    NotLocked,
}

impl Gil {
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Gil {
        Gil {
            word: AtomicU32::new(0),
            interval_us: AtomicU32::new(DEFAULT_INTERVAL_US),
            holder: AtomicPtr::new(core::ptr::null_mut()),
            switches: AtomicU64::new(0),
            waiters: AtomicU32::new(0),
        }
    }

    /// Takes the GIL if it is free. One read-modify-write when it is.
    #[inline]
    pub(crate) fn try_take(&self) -> bool {
        // Acquire pairs with the release in `release` and `sched::gil::pass_on`.
        self.word.compare_exchange(0, LOCKED, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Takes the GIL if it is not locked, keeping the queue mark.
    pub(crate) fn try_barge(&self) -> bool {
        let mut seen = self.word.load(Ordering::Relaxed);
        while seen & LOCKED == 0 {
            match self.word.compare_exchange_weak(
                seen,
                seen | LOCKED,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    /// Releases the GIL when nobody waits. One read-modify-write.
    #[inline]
    pub(crate) fn release(&self) -> Release {
        // Release pairs with the acquire in `try_take` and `try_barge`.
        match self.word.compare_exchange(LOCKED, 0, Ordering::Release, Ordering::Relaxed) {
            Ok(_) => Release::Free,
            Err(seen) if seen & LOCKED == 0 => Release::NotLocked,
            Err(_) => Release::Contended,
        }
    }

    /// Whether somebody holds it.
    pub(crate) fn is_locked(&self) -> bool {
        self.word.load(Ordering::Relaxed) & LOCKED != 0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_word_goes_free_locked_free() {
        let gil = Gil::new();
        assert!(gil.try_take());
        assert!(!gil.try_take());
        assert_eq!(gil.release(), Release::Free);
        assert_eq!(gil.release(), Release::NotLocked);
    }

    #[test]
    fn a_queue_mark_survives_barging_and_stops_the_fast_release() {
        let gil = Gil::new();
        gil.word.store(PARKED, Ordering::Relaxed);
        assert!(!gil.try_take());
        assert!(gil.try_barge());
        assert_eq!(gil.release(), Release::Contended);
    }
}
