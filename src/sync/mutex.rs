//! PyMutex: one byte; waiting threads sleep in the lot (S-MX-01..10).
//!
//! | bits | meaning |
//! |---|---|
//! | 0 | free |
//! | 1 | locked |
//! | 3 | locked, a thread is parked (or was: a waiter that timed out leaves bit 1 for the next unlock) |
//! | 2 | free, a thread is parked: the woken one has not come yet, any thread may take it |
//!
//! MUTEX-1: Bit 1 is set by a waiter before it parks, and the lot's validation checks 3 under the
//!    bucket lock; so an unlock either changes the byte first (the waiter does not sleep) or finds
//!    the waiter.
//! MUTEX-2: While bit 1 is set, unlocking goes through the lot; the byte is then written under the
//!    bucket lock.
//! MUTEX-3: A waiter older than [`FAIR_AFTER_NS`] gets the lock handed: the byte stays locked and
//!    no other thread can barge in.
//!
//! An uncontended lock is one atomic read-modify-write, an uncontended unlock one. Ordering: a
//! lock's Acquire pairs with the Release of the unlock before it; with hand-off, the lot's `woken`
//! is that pair.
//!
//! Mirrors CPython 3.13 Python/lock.c.

use super::atomic::{AtomicU8, Cell, Ordering, const_unless_loom};
use super::backoff::Backoff;
#[cfg(not(loom))]
use super::fork_lock::ForkLock;
use super::lot::{self, Parked};
use super::wait_record::WaitKind;
#[cfg(test)]
use super::waiting::Stay;
use super::waiting::{OnSignal, Waiting};
use crate::os::clock::{Deadline, now_ns};
use crate::os::tsan;
use core::ptr;

pub(crate) use super::word_lock::LockOutcome;

const UNLOCKED: u8 = 0;
const LOCKED: u8 = 1;
const HAS_PARKED: u8 = 2;

/// A waiter of this age is handed the lock instead of competing for it.
const FAIR_AFTER_NS: i64 = 1_000_000;

/// CPython's PyMutex: same size, same bits. All-zero is unlocked. Not recursive. Must not move
/// while in use.
#[derive(Debug, Default)]
#[repr(C)]
pub struct PyMutex {
    _bits: AtomicU8,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<PyMutex>() == 1 && align_of::<PyMutex>() == 1);

/// Which thread has a mutex after [`PyMutex::release`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Released {
    /// The thread that comes first; a waiter may have been woken to try.
    Free,
    /// The waiter that was woken.
    HandedOff,
}

/// [`PyMutex::unlock`] of an unlocked mutex; it stays unlocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotLocked;

/// What a parked thread shows to the unlocking one, as the lot's token. Written under the bucket
/// lock only.
struct Entry {
    fair_at_ns: i64,
    handed_off: Cell<bool>,
}

impl PyMutex {
    const_unless_loom! {
        /// An unlocked mutex.
        pub(crate) fn new() -> Self {
            Self { _bits: AtomicU8::new(UNLOCKED) }
        }
    }

    fn key(&self) -> *const () {
        ptr::from_ref(self).cast()
    }

    /// Locks, waiting as `waiting` says, however long it takes and whatever signals arrive.
    #[inline]
    pub(crate) fn lock(&self, waiting: &mut impl Waiting) {
        if self.try_clean() {
            return tsan::acquire(self);
        }
        while self.lock_slow(Deadline::NEVER, waiting) != LockOutcome::Acquired {}
    }

    /// Locks, waiting as `waiting` says, until `deadline`. One that has passed makes this a try.
    #[inline]
    pub(crate) fn lock_timed(&self, deadline: Deadline, waiting: &mut impl Waiting) -> LockOutcome {
        if self.try_clean() {
            tsan::acquire(self);
            return LockOutcome::Acquired;
        }
        self.lock_slow(deadline, waiting)
    }

    /// Locks if it is unlocked; never waits.
    #[inline]
    pub(crate) fn try_lock(&self) -> bool {
        let mut bits = UNLOCKED;
        while bits & LOCKED == 0 {
            match self._bits.compare_exchange_weak(
                bits,
                bits | LOCKED,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => {
                    tsan::acquire(self);
                    return true;
                }
                Err(now) => bits = now,
            }
        }
        false
    }

    /// The fast path: from 0 to 1.
    #[inline]
    fn try_clean(&self) -> bool {
        self._bits.compare_exchange(UNLOCKED, LOCKED, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    #[cold]
    #[inline(never)]
    fn lock_slow(&self, deadline: Deadline, waiting: &mut impl Waiting) -> LockOutcome {
        let outcome = self.wait(deadline, waiting);
        if outcome == LockOutcome::Acquired {
            tsan::acquire(self);
        }
        outcome
    }

    fn wait(&self, deadline: Deadline, waiting: &mut impl Waiting) -> LockOutcome {
        let mut backoff = Backoff::new();
        let mut entry = None;
        loop {
            // Spinning gains nothing while another thread is parked.
            let paused = self._bits.load(Ordering::Relaxed) & HAS_PARKED == 0 && backoff.pause();
            let bits = self._bits.load(Ordering::Relaxed);
            if bits & LOCKED == 0 {
                let taken = self._bits.compare_exchange(
                    bits,
                    bits | LOCKED,
                    Ordering::Acquire,
                    Ordering::Relaxed,
                );
                if taken.is_ok() {
                    return LockOutcome::Acquired;
                }
                continue;
            }
            if paused {
                continue;
            }
            if deadline.passed() {
                return LockOutcome::TimedOut;
            }
            if bits & HAS_PARKED == 0 {
                let marked = self._bits.compare_exchange_weak(
                    bits,
                    bits | HAS_PARKED,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                );
                if marked.is_err() {
                    continue;
                }
            }
            // Age counts from the first park, over all of them.
            let entry: &Entry = entry.get_or_insert_with(|| Entry {
                fair_at_ns: now_ns().saturating_add(FAIR_AFTER_NS),
                handed_off: Cell::new(false),
            });
            let validate = || self._bits.load(Ordering::Relaxed) == LOCKED | HAS_PARKED;
            let token = ptr::from_ref(entry).cast_mut().cast();
            let give_back = |parked| self.pass_on(parked, entry.handed_off.get());
            match lot::park_for(
                WaitKind::Mutex,
                self.key(),
                validate,
                deadline,
                token,
                waiting,
                give_back,
            ) {
                Parked::Unparked if entry.handed_off.get() => return LockOutcome::Acquired,
                Parked::Unparked | Parked::Again => {}
                Parked::TimedOut => return LockOutcome::TimedOut,
                Parked::Interrupted => {
                    if waiting.interrupted() == OnSignal::GiveUp {
                        return LockOutcome::Interrupted;
                    }
                }
            }
        }
    }

    /// Passes a wake-up on, for a waiter that will not take the mutex. If the mutex was handed to
    /// it, it unlocks the mutex. If it was woken to compete, the other waiters sleep until it has
    /// locked or left: it locks a free mutex for a moment, so that the unlock wakes the next
    /// waiter.
    fn pass_on(&self, parked: Parked, handed_off: bool) {
        if parked == Parked::Unparked && (handed_off || self.try_lock()) {
            let unlocked = self.unlock();
            debug_assert_eq!(unlocked, Ok(()));
        }
    }

    /// Unlocks the mutex, from any thread. The next owner may free the mutex's memory, so it is not
    /// touched afterwards.
    #[inline]
    pub(crate) fn unlock(&self) -> Result<(), NotLocked> {
        self.release().map(|_| ())
    }

    /// Does what [`PyMutex::unlock`] does, and tells whether the mutex was handed over.
    #[inline]
    pub(crate) fn release(&self) -> Result<Released, NotLocked> {
        tsan::release(self);
        match self._bits.compare_exchange(LOCKED, UNLOCKED, Ordering::Release, Ordering::Relaxed) {
            Ok(_) => Ok(Released::Free),
            Err(bits) => self.release_slow(bits),
        }
    }

    #[cold]
    #[inline(never)]
    fn release_slow(&self, mut bits: u8) -> Result<Released, NotLocked> {
        loop {
            if bits & LOCKED == 0 {
                return Err(NotLocked);
            }
            if bits & HAS_PARKED != 0 {
                break;
            }
            match self._bits.compare_exchange_weak(
                bits,
                UNLOCKED,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(Released::Free),
                Err(now) => bits = now,
            }
        }
        let mut released = Released::Free;
        lot::unpark_one(self.key(), |token, has_more| {
            // SAFETY: tokens on this key are entries of `lock_slow`, alive until the lot releases
            // the waiter (LOT-2).
            let entry = token.map(|token| unsafe { &*token.cast::<Entry>().cast_const() });
            released = self.store_after_queue(entry, has_more);
        });
        Ok(released)
    }

    /// Under the bucket lock: frees the byte, or hands the lock to the waiter that is about to be
    /// woken (MUTEX-3).
    fn store_after_queue(&self, waiter: Option<&Entry>, has_more: bool) -> Released {
        let mut released = Released::Free;
        let mut bits = if has_more { HAS_PARKED } else { UNLOCKED };
        if let Some(waiter) = waiter {
            if now_ns() >= waiter.fair_at_ns {
                waiter.handed_off.set(true);
                bits |= LOCKED;
                released = Released::HandedOff;
            }
        }
        self._bits.store(bits, Ordering::Release);
        released
    }

    /// A snapshot, for assertions (S-MX-10).
    #[inline]
    pub(crate) fn is_locked(&self) -> bool {
        self._bits.load(Ordering::Relaxed) & LOCKED != 0
    }
}

#[cfg(not(loom))]
impl ForkLock for PyMutex {
    /// The lot was reset already, so no thread is parked on it.
    unsafe fn reset_in_child(&self) {
        self._bits.store(UNLOCKED, Ordering::Relaxed);
    }

    #[cfg(test)]
    fn leave_held(&self) {
        let _ = self.try_lock();
    }

    #[cfg(test)]
    fn is_free(&self) -> bool {
        !self.is_locked()
    }
}

/// Runs `body` under `mutex` without detaching. For tests and short sections of this library.
#[cfg(test)]
pub(crate) fn with<R>(mutex: &PyMutex, body: impl FnOnce() -> R) -> R {
    mutex.lock(&mut Stay);
    let result = body();
    let unlocked = mutex.unlock();
    debug_assert_eq!(unlocked, Ok(()));
    result
}

#[cfg(all(test, not(loom)))]
mod tests;
