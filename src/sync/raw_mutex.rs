//! _PyRawMutex: a word and an intrusive list of waiters, newest first (S-MX-11). Never detaches,
//! ignores signals.
//!
//! The word is 0, or 1 (locked, no thread waits), or the address of the newest [`Waiter`] with bit
//! 0 saying "locked".
//!
//! RAW_MUTEX-1: Waiters are pushed by any thread while bit 0 is set, and popped by the unlocking
//!    thread only; so a waiter whose address the unlocking thread read is alive until that thread
//!    pops it.
//! RAW_MUTEX-2: A waiter lives on the stack of the thread that waits, and stays until it saw its
//!    own `woken`; storing that is the last thing the unlocking thread does to it.
//! RAW_MUTEX-3: A woken thread competes again: nothing is handed over.
//!
//! Uncontended: one atomic read-modify-write each way. Ordering: the push's Release pairs with the
//! pop's Acquire (`next`); the unlock's Release with the next lock's Acquire.
//!
//! Mirrors CPython 3.13 Python/lock.c.

use super::atomic::{AtomicU32, AtomicUsize, Cell, Ordering, const_unless_loom};
use super::wait_record::{WaitKind, WaitRecord};
use crate::os::clock::Deadline;
use crate::os::futex;
use crate::os::tsan;
use core::ptr;

const LOCKED: usize = 1;

/// CPython's _PyRawMutex: same size, same bit. All-zero is free. Must not move while in use.
#[derive(Debug, Default)]
#[repr(C)]
#[allow(non_camel_case_types, reason = "the name that C sees")]
pub struct _PyRawMutex {
    v: AtomicUsize,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<_PyRawMutex>() == size_of::<usize>());

/// Aligned, so that bit 0 of its address is free.
#[repr(align(4))]
struct Waiter {
    /// The next older waiter's address, or 0.
    next: Cell<usize>,
    woken: AtomicU32,
}

/// [`_PyRawMutex::unlock`] was called for a lock that no thread held; it stays free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotLocked;

impl _PyRawMutex {
    const_unless_loom! {
        /// A free mutex.
        #[cfg(any(test, loom))]
        pub(crate) fn new() -> Self {
            Self { v: AtomicUsize::new(0) }
        }
    }

    /// Locks, however long it takes.
    #[inline]
    pub(crate) fn lock(&self) {
        let taken = self.v.compare_exchange(0, LOCKED, Ordering::Acquire, Ordering::Relaxed);
        if taken.is_err() {
            self.lock_slow();
        }
        tsan::acquire(self);
    }

    #[cold]
    #[inline(never)]
    fn lock_slow(&self) {
        let waiter = Waiter { next: Cell::new(0), woken: AtomicU32::new(0) };
        let mut word = self.v.load(Ordering::Relaxed);
        loop {
            if word & LOCKED == 0 {
                let taken = self.v.compare_exchange_weak(
                    word,
                    word | LOCKED,
                    Ordering::Acquire,
                    Ordering::Relaxed,
                );
                match taken {
                    Ok(_) => return,
                    Err(now) => word = now,
                }
                continue;
            }
            waiter.next.set(word & !LOCKED);
            let address = ptr::from_ref(&waiter).expose_provenance();
            let pushed = self.v.compare_exchange_weak(
                word,
                address | LOCKED,
                Ordering::Release,
                Ordering::Relaxed,
            );
            if let Err(now) = pushed {
                word = now;
                continue;
            }
            let _record = WaitRecord::begin(WaitKind::RawMutex, ptr::from_ref(self).addr());
            // RAW_MUTEX-2: whatever else wakes this thread, it stays until its own token is there.
            while waiter.woken.load(Ordering::Acquire) == 0 {
                let _ = futex::wait(&waiter.woken, 0, Deadline::NEVER);
            }
            waiter.woken.store(0, Ordering::Relaxed);
            word = self.v.load(Ordering::Relaxed);
        }
    }

    /// Unlocks and wakes the newest waiter.
    #[inline]
    pub(crate) fn unlock(&self) -> Result<(), NotLocked> {
        tsan::release(self);
        let freed = self.v.compare_exchange(LOCKED, 0, Ordering::Release, Ordering::Relaxed);
        match freed {
            Ok(_) => Ok(()),
            Err(_) => self.unlock_slow(),
        }
    }

    #[cold]
    #[inline(never)]
    fn unlock_slow(&self) -> Result<(), NotLocked> {
        let mut word = self.v.load(Ordering::Acquire);
        loop {
            if word & LOCKED == 0 {
                return Err(NotLocked);
            }
            let waiter: *const Waiter = ptr::with_exposed_provenance(word & !LOCKED);
            // SAFETY: RAW_MUTEX-1: the calling thread unlocks, so no other thread pops, and the
            // waiter is alive. `next` was written before the push, whose Release the load of `word`
            // (Acquire) saw.
            let next = unsafe { waiter.as_ref() }.map_or(0, |waiter| waiter.next.get());
            let popped =
                self.v.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Acquire);
            if let Err(now) = popped {
                word = now;
                continue;
            }
            if !waiter.is_null() {
                // SAFETY: RAW_MUTEX-2: popped, and not yet told.
                let woken = unsafe { &raw const (*waiter).woken };
                // SAFETY: as above.
                unsafe { &*woken }.store(1, Ordering::Release);
                futex::wake(woken, 1);
            }
            return Ok(());
        }
    }

    /// A snapshot, for assertions.
    #[cfg(test)]
    pub(crate) fn is_locked(&self) -> bool {
        self.v.load(Ordering::Relaxed) & LOCKED != 0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::cell::UnsafeCell;
    use std::sync::mpsc;
    use std::thread;

    struct Counter(UnsafeCell<u64>);
    // SAFETY: the test reads and writes it under the mutex only.
    unsafe impl Sync for Counter {}

    fn waiters(mutex: &_PyRawMutex) -> bool {
        mutex.v.load(Ordering::SeqCst) & !LOCKED != 0
    }

    #[test]
    fn it_excludes() {
        let mutex = _PyRawMutex::new();
        let counter = Counter(UnsafeCell::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let counter = &counter;
                    for _ in 0..5_000 {
                        mutex.lock();
                        // SAFETY: under the mutex.
                        unsafe { *counter.0.get() += 1 };
                        assert_eq!(mutex.unlock(), Ok(()));
                    }
                });
            }
        });
        assert_eq!(counter.0.into_inner(), 40_000);
        assert_eq!(mutex.v.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn unlocking_a_free_mutex_is_told() {
        let mutex = _PyRawMutex::new();
        assert_eq!(mutex.unlock(), Err(NotLocked));
        mutex.lock();
        assert!(mutex.is_locked());
        assert_eq!(mutex.unlock(), Ok(()));
        assert!(!mutex.is_locked());
    }

    #[test]
    fn the_newest_waiter_is_woken_first() {
        let mutex = _PyRawMutex::new();
        let (send, receive) = mpsc::channel();
        mutex.lock();
        thread::scope(|scope| {
            let mut newest = LOCKED;
            for nth in 0..4 {
                let (mutex, send) = (&mutex, send.clone());
                scope.spawn(move || {
                    mutex.lock();
                    send.send(nth).unwrap();
                    assert_eq!(mutex.unlock(), Ok(()));
                });
                // The word changes when the new waiter has pushed itself.
                while mutex.v.load(Ordering::SeqCst) == newest {
                    thread::yield_now();
                }
                newest = mutex.v.load(Ordering::SeqCst);
            }
            assert!(waiters(&mutex));
            assert_eq!(mutex.unlock(), Ok(()));
        });
        drop(send);
        assert_eq!(receive.iter().collect::<Vec<_>>(), [3, 2, 1, 0]);
    }
}
