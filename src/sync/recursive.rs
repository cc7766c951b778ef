//! _PyRecursiveMutex: a PyMutex, its owner, and how many times more the owner locked it (S-MX-12).
//!
//! RECURSIVE-1: `thread` is the owner's identity while `mutex` is locked through this type, and 0
//!    otherwise. Only the owner writes it, so a thread that reads its own identity there owns the
//!    mutex; any other value it may read tells it that it does not.
//! RECURSIVE-2: `level` is touched by the owner only.
//!
//! The caller passes its identity in, because this layer knows no threads. Identities are not 0.
//!
//! Mirrors CPython 3.13 Python/lock.c.

use super::mutex::{LockOutcome, PyMutex};
use super::waiting::Waiting;
use crate::os::clock::Deadline;
use core::cell::Cell;
use core::sync::atomic::{AtomicU64, Ordering};

/// CPython's _PyRecursiveMutex: same size, same fields. All-zero is free. Must not move while in
/// use.
#[derive(Debug, Default)]
#[repr(C)]
#[allow(non_camel_case_types, reason = "the name that C sees")]
pub struct _PyRecursiveMutex {
    mutex: PyMutex,
    thread: AtomicU64,
    level: Cell<usize>,
}

// SAFETY: RECURSIVE-2: `level` is touched under `mutex`, by its owner, only.
unsafe impl Sync for _PyRecursiveMutex {}

/// An unlock by a thread that does not own the mutex; nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotOwner;

impl _PyRecursiveMutex {
    /// A free mutex.
    #[cfg(test)]
    pub(crate) const fn new() -> Self {
        Self { mutex: PyMutex::new(), thread: AtomicU64::new(0), level: Cell::new(0) }
    }

    /// Whether the thread `me`, which must be the calling one, owns the mutex.
    pub(crate) fn is_owned_by(&self, me: u64) -> bool {
        self.thread.load(Ordering::Relaxed) == me
    }

    /// Locks for the calling thread `me`, once more if it owns it already; until `deadline`.
    pub(crate) fn lock_timed(
        &self,
        me: u64,
        deadline: Deadline,
        waiting: &mut impl Waiting,
    ) -> LockOutcome {
        if self.is_owned_by(me) {
            self.level.set(self.level.get() + 1);
            return LockOutcome::Acquired;
        }
        let outcome = self.mutex.lock_timed(deadline, waiting);
        if outcome == LockOutcome::Acquired {
            self.thread.store(me, Ordering::Relaxed);
            debug_assert_eq!(self.level.get(), 0);
        }
        outcome
    }

    /// Locks for the calling thread `me`, once more if it owns it already, however long it takes.
    pub(crate) fn lock(&self, me: u64, waiting: &mut impl Waiting) {
        while self.lock_timed(me, Deadline::NEVER, waiting) != LockOutcome::Acquired {}
    }

    /// Takes one of the calling thread's locks back; the last one frees the mutex.
    pub(crate) fn unlock(&self, me: u64) -> Result<(), NotOwner> {
        if !self.is_owned_by(me) {
            return Err(NotOwner);
        }
        if let Some(lower) = self.level.get().checked_sub(1) {
            self.level.set(lower);
            return Ok(());
        }
        self.thread.store(0, Ordering::Relaxed);
        self.mutex.unlock().map_err(|_| NotOwner)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sync::waiting::Stay;

    #[test]
    fn the_owner_never_blocks_and_unlocks_as_often_as_it_locked() {
        let mutex = _PyRecursiveMutex::new();
        for _ in 0..3 {
            mutex.lock(7, &mut Stay);
        }
        assert_eq!((mutex.level.get(), mutex.is_owned_by(7)), (2, true));
        for _ in 0..3 {
            assert!(mutex.mutex.is_locked());
            assert_eq!(mutex.unlock(7), Ok(()));
        }
        assert!(!mutex.is_owned_by(7) && !mutex.mutex.is_locked());
        assert_eq!(mutex.unlock(7), Err(NotOwner));
    }

    #[test]
    fn another_thread_neither_gets_nor_unlocks_it() {
        let mutex = _PyRecursiveMutex::new();
        mutex.lock(7, &mut Stay);
        let outcome = mutex.lock_timed(8, Deadline::after(1_000), &mut Stay);
        assert_eq!(outcome, LockOutcome::TimedOut);
        assert_eq!(mutex.unlock(8), Err(NotOwner));
        assert_eq!(mutex.unlock(7), Ok(()));
        assert_eq!(mutex.lock_timed(8, Deadline::after(0), &mut Stay), LockOutcome::Acquired);
    }
}
