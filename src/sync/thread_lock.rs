//! The lock behind PyThread_type_lock: a futex word (S-LK-01..05). Never detaches by itself.
//!
//! | word | meaning |
//! |---|---|
//! | 0 | free |
//! | 1 | held, nobody sleeps |
//! | 2 | held, somebody may sleep |
//!
//! No queue of ours and nothing outside the lock: a fork child may use, release or free it as it finds it.
//!
//! `surplus` counts releases of a free lock, where the rules of before 3.15 take those (S-LK-04): each lets one more thread in,
//! as with the semaphores that CPython used. It is 0 in every program that is right, and looked at only on slow paths.
//!
//! Uncontended: one compare-and-swap to lock, one swap to release.
//! Ordering: the lock's Acquire pairs with the Release of the release before it.

use super::atomic::{AtomicU32, Ordering, const_unless_loom};
use super::backoff::Backoff;
use super::mutex::LockOutcome;
use crate::os::clock::Deadline;
use crate::os::futex::{self, Wait};
use crate::os::tsan;

const FREE: u32 = 0;
const HELD: u32 = 1;
const WAITED_FOR: u32 = 2;

/// Whether a signal ends a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signals {
    /// The wait goes on, with the same deadline.
    Ignore,
    /// The wait ends with [`LockOutcome::Interrupted`].
    End,
}

/// See the module. All-zero is free.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct ThreadLock {
    word: AtomicU32,
    surplus: AtomicU32,
}

/// [`ThreadLock::release`] of a lock that nobody held; it stays free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotLocked;

impl ThreadLock {
    const_unless_loom! {
        /// A free lock.
        #[cfg(any(test, loom))]
        pub(crate) fn new() -> Self {
            Self { word: AtomicU32::new(FREE), surplus: AtomicU32::new(0) }
        }
    }

    /// Takes it if it is free.
    #[inline]
    pub(crate) fn try_acquire(&self) -> bool {
        let taken =
            self.word.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed).is_ok()
                || self.take_surplus();
        if taken {
            tsan::acquire(self);
        }
        taken
    }

    /// Counts a release of a free lock.
    pub(crate) fn add_surplus(&self) {
        self.surplus.fetch_add(1, Ordering::Release);
        // Somebody may have come to wait between the release and this.
        futex::wake(&raw const self.word, 1);
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
        let outcome = self.acquire_slow(deadline, signals);
        if outcome == LockOutcome::Acquired {
            tsan::acquire(self);
        }
        outcome
    }

    #[cold]
    #[inline(never)]
    fn acquire_slow(&self, deadline: Deadline, signals: Signals) -> LockOutcome {
        let mut backoff = Backoff::new();
        // Behind somebody who sleeps there is nothing to gain.
        while self.word.load(Ordering::Relaxed) != WAITED_FOR && backoff.pause() {
            if self.word.load(Ordering::Relaxed) == FREE && self.try_acquire() {
                return LockOutcome::Acquired;
            }
        }
        // From here on the word says WAITED_FOR while we hold it: others may sleep, and the release then wakes one.
        while self.word.swap(WAITED_FOR, Ordering::Acquire) != FREE {
            if self.take_surplus() {
                return LockOutcome::Acquired;
            }
            match futex::wait(&self.word, WAITED_FOR, deadline) {
                Wait::Woken | Wait::Changed => {}
                Wait::Interrupted if signals == Signals::Ignore => {}
                Wait::Interrupted => return LockOutcome::Interrupted,
                Wait::TimedOut => return LockOutcome::TimedOut,
            }
        }
        LockOutcome::Acquired
    }

    /// Frees it, by any thread, and wakes one sleeper. Its memory may be given back by whoever takes it next.
    #[inline]
    pub(crate) fn release(&self) -> Result<(), NotLocked> {
        tsan::release(self);
        let was = self.word.swap(FREE, Ordering::Release);
        if was == WAITED_FOR {
            // Only the address is used (futex F2).
            futex::wake(&raw const self.word, 1);
        }
        if was == FREE { Err(NotLocked) } else { Ok(()) }
    }

    /// A snapshot, for assertions.
    #[cfg(test)]
    pub(crate) fn is_locked(&self) -> bool {
        self.word.load(Ordering::Relaxed) != FREE
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
            while lock.word.load(Ordering::Relaxed) != WAITED_FOR {
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
        if !futex::REPORTS_SIGNALS {
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
