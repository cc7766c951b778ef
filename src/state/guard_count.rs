//! Interpreter guards: a count that finalization closes for good.
//!
//! | value       | meaning                                               |
//! |-------------|-------------------------------------------------------|
//! | 0           | no guard is open; finalization may commit             |
//! | n           | n guards are open                                     |
//! | FORBIDDEN   | finalization committed; terminal (S-G8-05)            |
//!
//! `throttled_until` is a moment on the monotonic clock, written by the thread
//! that ends the interpreter: before it, threads without a guard get none
//! (`life::guards::backoff`).
//!
//! Ordering: `open` acquires, `close` releases, `forbid` does both, so the
//! finalizer sees what guard holders did before they closed.

use core::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

/// All bits set: no guard will ever open again.
pub(crate) const FORBIDDEN: usize = usize::MAX;

/// Outcome of [`GuardCount::close`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Close {
    /// Other guards are still open.
    Open,
    /// That was the last one: wake the finalizer.
    Last,
    /// There was none to close.
    Unbalanced,
}

/// Number of open guards of one interpreter.
pub(crate) struct GuardCount {
    pub(crate) value: AtomicUsize,
    /// Nanoseconds; 0: guards are not throttled.
    pub(crate) throttled_until: AtomicI64,
}

impl GuardCount {
    pub(crate) const fn new() -> GuardCount {
        GuardCount { value: AtomicUsize::new(0), throttled_until: AtomicI64::new(0) }
    }

    /// Opens one more guard unless they are forbidden.
    #[must_use]
    pub(crate) fn open(&self) -> bool {
        let mut seen = self.value.load(Ordering::Relaxed);
        while seen != FORBIDDEN {
            match self.value.compare_exchange_weak(
                seen,
                seen + 1,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    /// Closes one guard.
    pub(crate) fn close(&self) -> Close {
        let mut seen = self.value.load(Ordering::Relaxed);
        loop {
            if seen == FORBIDDEN || seen == 0 {
                return Close::Unbalanced;
            }
            match self.value.compare_exchange_weak(
                seen,
                seen - 1,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(1) => return Close::Last,
                Ok(_) => return Close::Open,
                Err(now) => seen = now,
            }
        }
    }

    /// Forbids guards for good if none is open.
    #[must_use]
    pub(crate) fn forbid(&self) -> bool {
        self.value.compare_exchange(0, FORBIDDEN, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Number of open guards (0 when forbidden).
    pub(crate) fn open_now(&self) -> usize {
        match self.value.load(Ordering::Acquire) {
            FORBIDDEN => 0,
            count => count,
        }
    }

    /// Back to zero: a new interpreter, or a fork child whose guards' owners
    /// did not survive.
    pub(crate) fn reset(&self) {
        self.throttled_until.store(0, Ordering::Relaxed);
        self.value.store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forbidding_needs_all_guards_closed_and_is_final() {
        let count = GuardCount::new();
        assert!(count.open());
        assert!(count.open());
        assert!(!count.forbid());
        assert_eq!(count.close(), Close::Open);
        assert_eq!(count.close(), Close::Last);
        assert_eq!(count.close(), Close::Unbalanced);
        assert!(count.forbid());
        assert!(!count.open());
        assert_eq!(count.close(), Close::Unbalanced);
        assert_eq!(count.open_now(), 0);
    }
}
