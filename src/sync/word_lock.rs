//! The smallest lock: one futex word, no queue of ours, no thread state, no rank. Every internal
//! lock is made of it, through the traits of `lock_api`; so is the lock behind PyThread_type_lock.
//!
//! | word | meaning |
//! |---|---|
//! | 0 | free |
//! | 1 | locked, no thread sleeps |
//! | 2 | locked, and a thread may sleep |
//!
//! WORD_LOCK-1: A thread that has slept locks the word with 2, because other threads may still
//!    sleep; its unlock then wakes one.
//! WORD_LOCK-2: Nothing about the lock lives outside the word: storing 0 in a fork child makes it
//!    as good as new.
//!
//! Uncontended: one compare-and-swap to lock, one swap to unlock.
//! Ordering: the lock's Acquire pairs with the Release of the unlock before it.

use super::atomic::{AtomicU32, Ordering, const_unless_loom};
use super::backoff::Backoff;
use crate::os::clock::Deadline;
use crate::os::futex::{self, Wait};

const FREE: u32 = 0;
const LOCKED: u32 = 1;
const WAITED_FOR: u32 = 2;

/// How an attempt to lock ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum LockOutcome {
    /// The caller has the lock.
    Acquired,
    /// The deadline passed.
    TimedOut,
    /// A signal ended the wait, which only some waits allow.
    Interrupted,
}

/// Whether a signal ends a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signals {
    /// The wait goes on, with the same deadline.
    Ignore,
    /// The wait ends with [`LockOutcome::Interrupted`].
    End,
}

/// The lock. All-zero is free.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct WordLock {
    #[cfg(not(loom))]
    word: AtomicU32,
    /// Filled by [`WordLock::new`]. It can be empty only because `RawMutex::INIT` is a constant,
    /// which loom's atomics cannot be.
    #[cfg(loom)]
    word: std::sync::OnceLock<AtomicU32>,
}

impl WordLock {
    const_unless_loom! {
        /// A free lock.
        pub(crate) fn new() -> Self {
            #[cfg(not(loom))]
            return Self { word: AtomicU32::new(FREE) };
            #[cfg(loom)]
            return Self { word: std::sync::OnceLock::from(AtomicU32::new(FREE)) };
        }
    }

    #[cfg(not(loom))]
    #[inline]
    fn word(&self) -> &AtomicU32 {
        &self.word
    }

    #[cfg(loom)]
    fn word(&self) -> &AtomicU32 {
        self.word.get().expect("a lock of a model is made by WordLock::new")
    }

    /// Locks it, sleeping if need be; signals do not end the wait.
    #[inline]
    pub(crate) fn lock(&self) {
        if !self.try_lock() {
            let outcome = self.lock_slow(Deadline::NEVER, Signals::Ignore, || false);
            debug_assert_eq!(outcome, LockOutcome::Acquired);
        }
    }

    /// Locks it, waiting until `deadline`, or until a signal if the caller wants that. The wait
    /// also ends, as with the lock, when `instead` returns true; it is asked before each sleep.
    #[cold]
    #[inline(never)]
    pub(crate) fn lock_slow(
        &self,
        deadline: Deadline,
        signals: Signals,
        instead: impl Fn() -> bool,
    ) -> LockOutcome {
        let mut backoff = Backoff::new();
        // If another thread sleeps already, watching the word gains nothing.
        while self.word().load(Ordering::Relaxed) != WAITED_FOR && backoff.pause() {
            if self.word().load(Ordering::Relaxed) == FREE && (self.try_lock() || instead()) {
                return LockOutcome::Acquired;
            }
        }
        // WORD_LOCK-1.
        while self.word().swap(WAITED_FOR, Ordering::Acquire) != FREE {
            if instead() {
                return LockOutcome::Acquired;
            }
            match futex::wait(self.word(), WAITED_FOR, deadline) {
                Wait::Woken | Wait::Changed => {}
                Wait::Interrupted if signals == Signals::Ignore => {}
                Wait::Interrupted => return LockOutcome::Interrupted,
                Wait::TimedOut => return LockOutcome::TimedOut,
            }
        }
        LockOutcome::Acquired
    }

    /// Locks it if it is free.
    #[inline]
    pub(crate) fn try_lock(&self) -> bool {
        self.word().compare_exchange(FREE, LOCKED, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Frees the lock and wakes one sleeping thread. False if the lock was free (it stays free).
    /// Any thread may call it, and the thread that locks it next may free its memory.
    #[inline]
    pub(crate) fn unlock(&self) -> bool {
        let word = &raw const *self.word();
        let was = self.word().swap(FREE, Ordering::Release);
        if was == WAITED_FOR {
            // The lock may be gone by now: the wake uses its address only (FUTEX-2).
            futex::wake(word, 1);
        }
        was != FREE
    }

    /// Wakes one sleeping thread, so that it asks its `instead` again.
    pub(crate) fn wake_one(&self) {
        futex::wake(&raw const *self.word(), 1);
    }

    /// A snapshot, for assertions.
    pub(crate) fn is_locked(&self) -> bool {
        self.word().load(Ordering::Relaxed) != FREE
    }

    /// True if a thread sleeps on the lock, or may sleep on it.
    #[cfg(test)]
    pub(crate) fn is_waited_for(&self) -> bool {
        self.word().load(Ordering::Relaxed) == WAITED_FOR
    }

    /// Frees the lock without waking any thread (WORD_LOCK-2).
    ///
    /// # Safety
    /// The caller is the only thread of a fork child, and holds no guard of the lock.
    pub(crate) unsafe fn reset_in_child(&self) {
        self.word().store(FREE, Ordering::Relaxed);
    }
}

// SAFETY: `lock` and a successful `try_lock` return to one thread at a time, until `unlock`.
unsafe impl lock_api::RawMutex for WordLock {
    #[cfg(not(loom))]
    #[allow(
        clippy::declare_interior_mutable_const,
        reason = "the trait initialises locks with it; each use is a lock of its own"
    )]
    const INIT: Self = Self::new();
    #[cfg(loom)]
    #[allow(
        clippy::declare_interior_mutable_const,
        reason = "the trait initialises locks with it; each use is a lock of its own"
    )]
    const INIT: Self = Self { word: std::sync::OnceLock::new() };

    type GuardMarker = lock_api::GuardNoSend;

    #[inline]
    fn lock(&self) {
        WordLock::lock(self);
    }

    #[inline]
    fn try_lock(&self) -> bool {
        WordLock::try_lock(self)
    }

    #[inline]
    unsafe fn unlock(&self) {
        let was_locked = WordLock::unlock(self);
        debug_assert!(was_locked, "a lock was freed under its guard");
    }

    fn is_locked(&self) -> bool {
        WordLock::is_locked(self)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn it_excludes() {
        let count = lock_api::Mutex::<WordLock, u64>::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        *count.lock() += 1;
                    }
                });
            }
        });
        assert!(!count.is_locked());
        assert_eq!(count.into_inner(), 80_000);
    }

    #[test]
    fn unlocking_a_free_lock_is_reported() {
        let lock = WordLock::new();
        assert!(!lock.unlock());
        assert!(lock.try_lock());
        assert!(!lock.try_lock());
        assert!(lock.unlock());
    }

    #[test]
    fn a_reset_frees_the_lock_of_a_vanished_thread() {
        let lock = WordLock::new();
        lock.lock();
        // SAFETY: the lock is this test's alone.
        unsafe { lock.reset_in_child() };
        assert!(!lock.is_locked());
        assert!(lock.try_lock());
    }
}
