//! The lock behind PyThread_type_lock: a [`WordLock`] (S-LK-01..05). It never detaches by itself.
//!
//! It has no queue of ours and nothing outside the lock: a fork child may use, release or free it
//! as it finds it.
//!
//! `surplus` counts releases of a free lock, where the rules of before 3.15 take those (S-LK-04):
//! each lets one more thread in, as with the semaphores that CPython used. It is 0 in every correct
//! program, and looked at only on slow paths.
//!
//! Uncontended: one compare-and-swap to lock, one swap to release.
//! Ordering: the lock's Acquire pairs with the Release of the release before it.

use super::atomic::{AtomicU32, Ordering, const_unless_loom};
use super::wait_record::{WaitKind, WaitRecord};
use super::word_lock::{LockOutcome, WordLock};
use crate::os::clock::Deadline;
use crate::os::tsan;

pub(crate) use super::word_lock::Signals;

/// The lock. All-zero is free.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct ThreadLock {
    lock: WordLock,
    surplus: AtomicU32,
}

/// [`ThreadLock::release`] of a free lock; it stays free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotLocked;

impl ThreadLock {
    const_unless_loom! {
        /// A free lock.
        #[cfg(any(test, loom))]
        pub(crate) fn new() -> Self {
            Self { lock: WordLock::new(), surplus: AtomicU32::new(0) }
        }
    }

    /// Takes it if it is free.
    #[inline]
    pub(crate) fn try_acquire(&self) -> bool {
        let taken = self.lock.try_lock() || self.take_surplus();
        if taken {
            tsan::acquire(self);
        }
        taken
    }

    /// Counts a release of a free lock.
    pub(crate) fn add_surplus(&self) {
        self.surplus.fetch_add(1, Ordering::Release);
        // A thread may have begun to wait between the release and this.
        self.lock.wake_one();
    }

    fn take_surplus(&self) -> bool {
        self.surplus.load(Ordering::Relaxed) != 0
            && self
                .surplus
                .fetch_update(Ordering::Acquire, Ordering::Relaxed, |count| count.checked_sub(1))
                .is_ok()
    }

    /// Takes it, waiting until `deadline`, or until a signal if the caller wants that.
    #[inline]
    pub(crate) fn acquire(&self, deadline: Deadline, signals: Signals) -> LockOutcome {
        if self.try_acquire() {
            return LockOutcome::Acquired;
        }
        let record = WaitRecord::begin(WaitKind::ThreadLock, core::ptr::from_ref(self).addr());
        let outcome = self.lock.lock_slow(deadline, signals, || self.take_surplus());
        drop(record);
        if outcome == LockOutcome::Acquired {
            tsan::acquire(self);
        }
        outcome
    }

    /// Frees it, by any thread, and wakes one sleeping thread. The thread that takes it next may
    /// free its memory.
    #[inline]
    pub(crate) fn release(&self) -> Result<(), NotLocked> {
        tsan::release(self);
        if self.lock.unlock() { Ok(()) } else { Err(NotLocked) }
    }

    /// A snapshot, for assertions.
    #[cfg(test)]
    pub(crate) fn is_locked(&self) -> bool {
        self.lock.is_locked()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::os::clock::now_ns;
    use crate::os::testing as signal;
    use std::os::unix::thread::JoinHandleExt;
    use std::thread;

    const MS: i64 = 1_000_000;

    #[test]
    fn any_thread_may_release_and_the_second_release_is_told() {
        let lock = ThreadLock::new();
        assert!(lock.try_acquire());
        assert!(!lock.try_acquire());
        thread::scope(|scope| {
            scope.spawn(|| assert_eq!(lock.release(), Ok(())));
        });
        assert_eq!(lock.release(), Err(NotLocked));
        assert!(!lock.is_locked());
    }

    #[test]
    fn each_surplus_release_lets_one_more_in() {
        let lock = ThreadLock::new();
        assert_eq!(lock.release(), Err(NotLocked));
        lock.add_surplus();
        assert!(lock.try_acquire());
        assert_eq!(lock.acquire(Deadline::after(0), Signals::End), LockOutcome::Acquired);
        assert!(!lock.try_acquire());
        assert_eq!(lock.release(), Ok(()));
        assert!(lock.try_acquire());
    }

    #[test]
    fn a_surplus_release_wakes_who_waits() {
        let lock = ThreadLock::new();
        assert!(lock.try_acquire());
        thread::scope(|scope| {
            let waiter = scope.spawn(|| lock.acquire(Deadline::NEVER, Signals::Ignore));
            while !lock.lock.is_waited_for() {
                thread::yield_now();
            }
            lock.add_surplus();
            assert_eq!(waiter.join().unwrap(), LockOutcome::Acquired);
        });
    }

    #[test]
    fn a_timed_acquire_is_never_early() {
        let lock = ThreadLock::new();
        assert!(lock.try_acquire());
        for timeout in [0, 1, 2 * MS, 20 * MS] {
            let start = now_ns();
            let outcome = lock.acquire(Deadline::after(timeout), Signals::End);
            let waited = now_ns() - start;
            assert_eq!(outcome, LockOutcome::TimedOut);
            assert!(waited >= timeout, "waited {waited} of {timeout}");
        }
    }

    #[test]
    fn four_threads_pass_it_on() {
        let lock = ThreadLock::new();
        let turns = AtomicU32::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..5_000 {
                        assert_eq!(
                            lock.acquire(Deadline::NEVER, Signals::Ignore),
                            LockOutcome::Acquired
                        );
                        let seen = turns.load(Ordering::Relaxed);
                        turns.store(seen + 1, Ordering::Relaxed);
                        assert_eq!(lock.release(), Ok(()));
                    }
                });
            }
        });
        assert_eq!(turns.into_inner(), 20_000);
    }

    #[test]
    fn a_signal_ends_the_wait_only_of_who_asked() {
        if !crate::os::futex::REPORTS_SIGNALS {
            return;
        }
        signal::install();
        let lock: &'static ThreadLock = Box::leak(Box::new(ThreadLock::new()));
        assert!(lock.try_acquire());
        let hearing = thread::spawn(|| lock.acquire(Deadline::NEVER, Signals::End));
        let start = now_ns();
        let deaf = thread::spawn(|| lock.acquire(Deadline::after(30 * MS), Signals::Ignore));
        while !(hearing.is_finished() && deaf.is_finished()) {
            signal::send(hearing.as_pthread_t());
            signal::send(deaf.as_pthread_t());
            thread::yield_now();
        }
        let waited = now_ns() - start;
        assert_eq!(hearing.join().unwrap(), LockOutcome::Interrupted);
        assert_eq!(deaf.join().unwrap(), LockOutcome::TimedOut);
        assert!(waited >= 30 * MS, "waited {waited}");
    }
}
