//! PyEvent: set once, never reset (S-EV-01..03).
//!
//! | v | meaning |
//! |---|---|
//! | 0 | not set |
//! | 1 | set |
//! | 2 | not set, a thread is parked (or was) |
//!
//! EVENT-1: A waiter moves 0 to 2 before it parks, and the lot's validation checks 2 under the
//!    bucket lock; so a set either changes the byte first (the waiter does not sleep) or sees 2 and
//!    finds the waiter.
//! EVENT-2: Setting touches the byte once; the waking after it uses the address only. A waiter that
//!    saw 1 may free the event.
//!
//! Ordering: the set's Release pairs with every Acquire load that sees 1.
//!
//! Mirrors CPython 3.13 Python/lock.c.

use super::atomic::{AtomicU8, Ordering, const_unless_loom};
use super::lot::{self, Parked, QueuePosition};
use super::wait_record::WaitKind;
use super::waiting::{OnSignal, Waiting};
use crate::os::clock::Deadline;
use crate::os::tsan;
use core::ptr;

const UNSET: u8 = 0;
const SET: u8 = 1;
const HAS_PARKED: u8 = 2;

/// CPython's PyEvent: same size, same values. All-zero is not set. Must not move while in use.
#[derive(Debug, Default)]
#[repr(C)]
pub struct PyEvent {
    v: AtomicU8,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<PyEvent>() == 1 && align_of::<PyEvent>() == 1);

impl PyEvent {
    const_unless_loom! {
        /// An event that is not set.
        pub(crate) fn new() -> Self {
            Self { v: AtomicU8::new(UNSET) }
        }
    }

    fn key(&self) -> *const () {
        ptr::from_ref(self).cast()
    }

    /// Sets the event and wakes all waiting threads. Has no effect if it is already set. Needs no
    /// thread state.
    pub(crate) fn set(&self) {
        let key = self.key();
        tsan::release(self);
        if self.v.swap(SET, Ordering::AcqRel) == HAS_PARKED {
            lot::unpark_all(key);
        }
    }

    /// Returns true once the event is set; it stays set.
    #[inline]
    pub(crate) fn is_set(&self) -> bool {
        let set = self.v.load(Ordering::Acquire) == SET;
        if set {
            tsan::acquire(self);
        }
        set
    }

    /// Waits until it is set: true; or until `deadline` passed, or a signal made `waiting` give up:
    /// whether it is set then.
    #[inline]
    pub(crate) fn wait(&self, deadline: Deadline, waiting: &mut impl Waiting) -> bool {
        self.is_set() || self.wait_slow(deadline, waiting)
    }

    #[cold]
    #[inline(never)]
    fn wait_slow(&self, deadline: Deadline, waiting: &mut impl Waiting) -> bool {
        loop {
            let marked =
                self.v.compare_exchange(UNSET, HAS_PARKED, Ordering::Relaxed, Ordering::Acquire);
            if marked == Err(SET) {
                return self.is_set();
            }
            let validate = || self.v.load(Ordering::Relaxed) == HAS_PARKED;
            let token = ptr::null_mut();
            let (place, gives) = ((QueuePosition::Crowd, Some(WaitKind::Event)), lot::nothing);
            match lot::park_at(place, self.key(), validate, deadline, token, waiting, gives) {
                Parked::Unparked | Parked::Again => {
                    if self.is_set() {
                        return true;
                    }
                }
                Parked::TimedOut => return self.is_set(),
                Parked::Interrupted => {
                    if waiting.interrupted() == OnSignal::GiveUp {
                        return self.is_set();
                    }
                }
            }
        }
    }

    /// Makes it not set, for the user of a recycled place.
    ///
    /// # Safety
    /// No thread waits for it, sets it or looks at it; in a fork child, the lot was reset already.
    pub(crate) unsafe fn reset(&self) {
        self.v.store(UNSET, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
