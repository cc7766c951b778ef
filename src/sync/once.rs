//! A once flag whose function may fail and is then run again by the next caller (S-ON-01..03).
//!
//! | v | meaning |
//! |---|---|
//! | 0 | not done, no thread runs it |
//! | 1 | a thread runs it |
//! | 3 | a thread runs it, another is parked (or was) |
//! | 4 | done; the last state |
//!
//! ONCE-1: Only the thread that moved 0 to 1 leaves 1 or 3, and it does so once.
//! ONCE-2: A waiter sets bit 1 before it parks, and the lot's validation checks 3 under the bucket
//!    lock; so the end of the run either changes the byte first (the waiter does not sleep) or sees
//!    bit 1 and wakes all waiters.
//!
//! Ordering: the end's Release pairs with every Acquire load that sees 4, and with the Acquire of
//! the thread that runs it next.
//!
//! Mirrors CPython 3.13 Python/lock.c.

use super::atomic::{AtomicU8, Ordering, const_unless_loom};
use super::lot;
use super::owed;
use super::wait_record::WaitKind;
use super::waiting::Waiting;
use crate::os::clock::Deadline;
use crate::os::tsan;
use core::ptr;

const INITIAL: u8 = 0;
const RUNNING: u8 = 1;
const HAS_PARKED: u8 = 2;
const DONE: u8 = 4;

/// CPython's _PyOnceFlag: same size, same values. All-zero is not done. Must not move while in use.
#[derive(Debug, Default)]
#[repr(C)]
#[allow(non_camel_case_types, reason = "the name that C sees")]
pub struct _PyOnceFlag {
    v: AtomicU8,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<_PyOnceFlag>() == 1 && align_of::<_PyOnceFlag>() == 1);

/// What a caller of [`_PyOnceFlag::call`] gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Once {
    /// The function has succeeded, in this call or an earlier one.
    Done,
    /// The function of this call failed; no other call failed because of it.
    Failed,
}

impl _PyOnceFlag {
    const_unless_loom! {
        /// A flag that is not done.
        #[cfg(any(test, loom))]
        pub(crate) fn new() -> Self {
            Self { v: AtomicU8::new(INITIAL) }
        }
    }

    fn key(&self) -> *const () {
        ptr::from_ref(self).cast()
    }

    /// Returns true once the flag is done.
    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        let done = self.v.load(Ordering::Acquire) == DONE;
        if done {
            tsan::acquire(self);
        }
        done
    }

    /// Runs `function` unless the flag is done; waits while another thread runs it. `function`
    /// returns whether it succeeded; if not, the next caller, waiting or new, runs its own. Calling
    /// on the same flag from within `function` never returns.
    #[inline]
    pub(crate) fn call(&self, function: impl FnOnce() -> bool, waiting: &mut impl Waiting) -> Once {
        if self.is_done() {
            return Once::Done;
        }
        self.call_slow(function, waiting)
    }

    #[cold]
    #[inline(never)]
    fn call_slow(&self, function: impl FnOnce() -> bool, waiting: &mut impl Waiting) -> Once {
        let mut value = self.v.load(Ordering::Acquire);
        loop {
            match value {
                DONE => {
                    tsan::acquire(self);
                    return Once::Done;
                }
                INITIAL => {
                    let won = self.v.compare_exchange(
                        INITIAL,
                        RUNNING,
                        Ordering::Acquire,
                        Ordering::Acquire,
                    );
                    match won {
                        Ok(_) => break,
                        Err(now) => value = now,
                    }
                }
                _ => {
                    self.wait(value, waiting);
                    value = self.v.load(Ordering::Acquire);
                }
            }
        }
        tsan::acquire(self);
        // If the caller never returns from the function, the next caller runs its own.
        if owed::or_give_back(|| self.finish(INITIAL), function) {
            self.finish(DONE);
            Once::Done
        } else {
            self.finish(INITIAL);
            Once::Failed
        }
    }

    /// Parks until the run that `value` shows has ended; may return early.
    fn wait(&self, value: u8, waiting: &mut impl Waiting) {
        let parked = RUNNING | HAS_PARKED;
        if value == RUNNING {
            let marked =
                self.v.compare_exchange(RUNNING, parked, Ordering::Relaxed, Ordering::Relaxed);
            if marked.is_err() {
                return;
            }
        }
        let validate = || self.v.load(Ordering::Relaxed) == parked;
        let token = ptr::null_mut();
        let _ = lot::park_for(
            WaitKind::Once,
            self.key(),
            validate,
            Deadline::NEVER,
            token,
            waiting,
            lot::nothing,
        );
    }

    fn finish(&self, end: u8) {
        let key = self.key();
        tsan::release(self);
        if self.v.swap(end, Ordering::AcqRel) & HAS_PARKED != 0 {
            lot::unpark_all(key);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sync::waiting::Stay;
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    fn value(flag: &_PyOnceFlag) -> u8 {
        flag.v.load(Ordering::SeqCst)
    }

    #[test]
    fn success_runs_once_and_lasts() {
        let flag = _PyOnceFlag::new();
        let mut runs = 0;
        for _ in 0..3 {
            let once = flag.call(
                || {
                    runs += 1;
                    true
                },
                &mut Stay,
            );
            assert_eq!(once, Once::Done);
        }
        assert_eq!((runs, value(&flag)), (1, 4));
    }

    #[test]
    fn failure_is_the_callers_own_and_the_next_one_tries_again() {
        let flag = _PyOnceFlag::new();
        assert_eq!(flag.call(|| false, &mut Stay), Once::Failed);
        assert_eq!(value(&flag), 0);
        assert_eq!(flag.call(|| true, &mut Stay), Once::Done);
        assert_eq!(flag.call(|| unreachable!(), &mut Stay), Once::Done);
    }

    #[test]
    fn waiters_of_a_failed_run_run_their_own_until_one_succeeds() {
        let flag = _PyOnceFlag::new();
        let (runs, failures) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            let outcome = flag.call(
                || {
                    for _ in 0..6 {
                        scope.spawn(|| {
                            // Only the third run succeeds.
                            let run = || runs.fetch_add(1, Ordering::SeqCst) == 2;
                            if flag.call(run, &mut Stay) == Once::Failed {
                                failures.fetch_add(1, Ordering::SeqCst);
                            }
                        });
                    }
                    while lot::count(flag.key()) != 6 {
                        thread::yield_now();
                    }
                    assert_eq!(value(&flag), 3);
                    false
                },
                &mut Stay,
            );
            assert_eq!(outcome, Once::Failed);
        });
        assert_eq!((runs.into_inner(), failures.into_inner(), value(&flag)), (3, 2, 4));
    }
}
