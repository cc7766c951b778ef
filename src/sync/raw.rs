//! The smallest lock: one futex word, no queue of ours, no thread state, no rank. For the lot's buckets and `rank`.
//!
//! | word | meaning |
//! |---|---|
//! | 0 | free |
//! | 1 | held, nobody sleeps |
//! | 2 | held, somebody may sleep |
//!
//! Uncontended: one compare-and-swap to lock, one swap to unlock.
//! Ordering: the lock's Acquire pairs with the Release of the unlock before it.

use super::atomic::{AtomicU32, Ordering, const_unless_loom};
use super::backoff::Backoff;
use crate::os::clock::Deadline;
use crate::os::futex;

const FREE: u32 = 0;
const HELD: u32 = 1;
const WAITED_FOR: u32 = 2;

/// See the module.
#[derive(Debug)]
pub(crate) struct RawLock {
    word: AtomicU32,
}

impl RawLock {
    const_unless_loom! {
        /// A free lock.
        pub(crate) fn new() -> Self {
            Self { word: AtomicU32::new(FREE) }
        }
    }

    /// Takes the lock, sleeping if need be, whatever signals arrive.
    #[inline]
    pub(crate) fn lock(&self) {
        if self.word.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed).is_err() {
            self.lock_slow();
        }
    }

    #[cold]
    #[inline(never)]
    fn lock_slow(&self) {
        let mut backoff = Backoff::new();
        // Behind somebody who sleeps there is nothing to gain.
        while self.word.load(Ordering::Relaxed) != WAITED_FOR && backoff.pause() {
            if self.word.load(Ordering::Relaxed) == FREE && self.try_lock() {
                return;
            }
        }
        // From here on the word says WAITED_FOR while we hold it: others may sleep, and the unlock then wakes one.
        while self.word.swap(WAITED_FOR, Ordering::Acquire) != FREE {
            let _ = futex::wait(&self.word, WAITED_FOR, Deadline::NEVER);
        }
    }

    /// Takes the lock if it is free.
    pub(crate) fn try_lock(&self) -> bool {
        self.word.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Frees the lock and wakes one sleeper. False if it was not held (it stays free).
    #[inline]
    pub(crate) fn unlock(&self) -> bool {
        let was = self.word.swap(FREE, Ordering::Release);
        if was == WAITED_FOR {
            // The lock may be gone by now: the wake uses its address only (futex F2).
            futex::wake(&raw const self.word, 1);
        }
        was != FREE
    }

    /// A snapshot, for assertions.
    #[cfg(test)]
    pub(crate) fn is_locked(&self) -> bool {
        self.word.load(Ordering::Relaxed) != FREE
    }

    /// Frees the lock without waking anybody.
    ///
    /// # Safety
    /// The caller is the only thread of a fork child, and does not hold the lock's guard.
    pub(crate) unsafe fn reset_in_child(&self) {
        self.word.store(FREE, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::cell::UnsafeCell;
    use std::thread;

    struct Counter(UnsafeCell<u64>);
    // SAFETY: the test reads and writes it under the lock only.
    unsafe impl Sync for Counter {}

    #[test]
    fn it_excludes() {
        let lock = RawLock::new();
        let counter = Counter(UnsafeCell::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let counter = &counter;
                    for _ in 0..10_000 {
                        lock.lock();
                        // SAFETY: under the lock.
                        unsafe { *counter.0.get() += 1 };
                        assert!(lock.unlock());
                    }
                });
            }
        });
        assert_eq!(counter.0.into_inner(), 80_000);
        assert!(!lock.is_locked());
    }

    #[test]
    fn unlocking_a_free_lock_is_told() {
        let lock = RawLock::new();
        assert!(!lock.unlock());
        assert!(lock.try_lock());
        assert!(!lock.try_lock());
        assert!(lock.unlock());
    }
}
