//! Readers-writer mutex: waiting writers keep new readers out (S-RW-01..04).
//!
//! | bits | meaning |
//! |---|---|
//! | 0 | bit 0: a writer holds it |
//! | 2 | bit 1: a thread is parked, or was woken and has not come yet; readers must park |
//! | n << 2 | n readers hold it |
//!
//! RWMUTEX-1: Bit 0 and readers exclude each other.
//! RWMUTEX-2: Bit 1 is set before parking; the lot's validation compares the whole word under the
//!    bucket lock, so the thread that frees the mutex either changes the word first or finds the
//!    waiter.
//! RWMUTEX-3: Bit 1 is cleared by a writer's unlock only. It is first set by a writer that meets
//!    readers, or while a writer holds the mutex; so while it stands there is a writer to clear it.
//!
//! Uncontended: one atomic read-modify-write each way.
//! Ordering: every acquisition's Acquire pairs with the Release of the releases before it.
//!
//! Mirrors CPython 3.13 Python/lock.c.

use super::atomic::{AtomicUsize, Ordering, const_unless_loom};
use super::lot::{self, Parked};
use super::wait_record::WaitKind;
use super::waiting::Waiting;
use crate::os::clock::Deadline;
use crate::os::tsan;
use core::ptr;

const WRITER: usize = 1;
const HAS_PARKED: usize = 2;
const READER: usize = 4;

/// CPython's _PyRWMutex: same size, same bits. All-zero is free. Not reentrant. Must not move while
/// in use.
#[derive(Debug, Default)]
#[repr(C)]
#[allow(non_camel_case_types, reason = "the name that C sees")]
pub struct _PyRWMutex {
    bits: AtomicUsize,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<_PyRWMutex>() == size_of::<usize>());

/// An unlock of what is not locked that way (S-RW-04); nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotHeld;

impl _PyRWMutex {
    const_unless_loom! {
        /// A free mutex.
        #[cfg(any(test, loom))]
        pub(crate) fn new() -> Self {
            Self { bits: AtomicUsize::new(0) }
        }
    }

    fn key(&self) -> *const () {
        ptr::from_ref(self).cast()
    }

    /// Takes the mutex together with other readers. Waits while a writer holds it or a thread is
    /// parked.
    #[inline]
    pub(crate) fn read_lock(&self, waiting: &mut impl Waiting) {
        let bits = self.bits.load(Ordering::Relaxed);
        if bits & (WRITER | HAS_PARKED) != 0 || self.change(bits, bits + READER).is_err() {
            self.read_lock_slow(waiting);
        }
        tsan::acquire(self);
    }

    #[cold]
    #[inline(never)]
    fn read_lock_slow(&self, waiting: &mut impl Waiting) {
        let mut bits = self.bits.load(Ordering::Relaxed);
        loop {
            if bits & (WRITER | HAS_PARKED) != 0 {
                bits = self.wait(bits, waiting);
                continue;
            }
            match self.change(bits, bits + READER) {
                Ok(_) => return,
                Err(now) => bits = now,
            }
        }
    }

    /// Makes one attempt to take the mutex.
    #[inline]
    fn change(&self, from: usize, to: usize) -> Result<usize, usize> {
        self.bits.compare_exchange(from, to, Ordering::Acquire, Ordering::Relaxed)
    }

    /// Releases one reader's hold; the last one wakes all parked threads.
    pub(crate) fn read_unlock(&self) -> Result<(), NotHeld> {
        let key = self.key();
        tsan::release(self);
        let before = self.bits.fetch_sub(READER, Ordering::Release);
        if before < READER || before & WRITER != 0 {
            self.bits.fetch_add(READER, Ordering::Relaxed);
            return Err(NotHeld);
        }
        if before - READER == HAS_PARKED {
            lot::unpark_all(key);
        }
        Ok(())
    }

    /// Takes it alone.
    #[inline]
    pub(crate) fn write_lock(&self, waiting: &mut impl Waiting) {
        if self.change(0, WRITER).is_err() {
            self.write_lock_slow(waiting);
        }
        tsan::acquire(self);
    }

    #[cold]
    #[inline(never)]
    fn write_lock_slow(&self, waiting: &mut impl Waiting) {
        let mut bits = self.bits.load(Ordering::Relaxed);
        loop {
            if bits & !HAS_PARKED != 0 {
                bits = self.wait(bits, waiting);
                continue;
            }
            match self.change(bits, bits | WRITER) {
                Ok(_) => return,
                Err(now) => bits = now,
            }
        }
    }

    /// Releases the writer's hold and wakes all parked threads.
    pub(crate) fn write_unlock(&self) -> Result<(), NotHeld> {
        let key = self.key();
        tsan::release(self);
        // A writer's own hold is visible to it without ordering.
        if self.bits.load(Ordering::Relaxed) & WRITER == 0 {
            return Err(NotHeld);
        }
        if self.bits.swap(0, Ordering::Release) & HAS_PARKED != 0 {
            lot::unpark_all(key);
        }
        Ok(())
    }

    /// Parks unless the word changed from `bits`; answers the word as it is then.
    #[cold]
    #[inline(never)]
    fn wait(&self, bits: usize, waiting: &mut impl Waiting) -> usize {
        let parked = bits | HAS_PARKED;
        if bits != parked {
            let marked =
                self.bits.compare_exchange_weak(bits, parked, Ordering::Relaxed, Ordering::Relaxed);
            if let Err(now) = marked {
                return now;
            }
        }
        let validate = || self.bits.load(Ordering::Relaxed) == parked;
        let token = ptr::null_mut();
        let give_back = |parked| self.pass_on(parked);
        let _ = lot::park_for(
            WaitKind::RwMutex,
            self.key(),
            validate,
            Deadline::NEVER,
            token,
            waiting,
            give_back,
        );
        self.bits.load(Ordering::Relaxed)
    }

    /// Passes a wake-up on, for a woken thread that will not take the mutex. As long as bit 1 is
    /// set on a free mutex, readers wait for a writer (RWMUTEX-3), and this thread may be that
    /// writer. It takes the mutex if that is free, and frees it, which wakes all other waiters.
    fn pass_on(&self, parked: Parked) {
        if parked == Parked::Unparked && self.change(HAS_PARKED, HAS_PARKED | WRITER).is_ok() {
            let freed = self.write_unlock();
            debug_assert!(freed.is_ok());
        }
    }

    /// The word, for tests and diagnostics.
    #[cfg(test)]
    pub(crate) fn bits(&self) -> usize {
        self.bits.load(Ordering::Relaxed)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sync::waiting::Stay;
    use std::sync::atomic::{AtomicBool, AtomicIsize};
    use std::thread;

    #[test]
    fn the_bits_are_cpythons() {
        let mutex = _PyRWMutex::new();
        mutex.read_lock(&mut Stay);
        mutex.read_lock(&mut Stay);
        assert_eq!(mutex.bits(), 2 << 2);
        assert_eq!(mutex.read_unlock(), Ok(()));
        assert_eq!(mutex.read_unlock(), Ok(()));
        mutex.write_lock(&mut Stay);
        assert_eq!(mutex.bits(), 1);
        assert_eq!(mutex.write_unlock(), Ok(()));
        assert_eq!(mutex.bits(), 0);
    }

    #[test]
    fn the_wrong_unlock_is_told_and_changes_nothing() {
        let mutex = _PyRWMutex::new();
        assert_eq!(mutex.read_unlock(), Err(NotHeld));
        assert_eq!(mutex.write_unlock(), Err(NotHeld));
        assert_eq!(mutex.bits(), 0);
        mutex.write_lock(&mut Stay);
        assert_eq!(mutex.read_unlock(), Err(NotHeld));
        assert_eq!(mutex.bits(), 1);
        assert_eq!(mutex.write_unlock(), Ok(()));
        mutex.read_lock(&mut Stay);
        assert_eq!(mutex.write_unlock(), Err(NotHeld));
        assert_eq!(mutex.bits(), 4);
    }

    #[test]
    fn a_reader_that_comes_after_a_waiting_writer_waits() {
        let mutex = _PyRWMutex::new();
        let written = AtomicBool::new(false);
        mutex.read_lock(&mut Stay);
        thread::scope(|scope| {
            scope.spawn(|| {
                mutex.write_lock(&mut Stay);
                written.store(true, Ordering::SeqCst);
                assert_eq!(mutex.write_unlock(), Ok(()));
            });
            while lot::count(mutex.key()) != 1 {
                thread::yield_now();
            }
            assert_eq!(mutex.bits(), 4 | 2);
            scope.spawn(|| {
                mutex.read_lock(&mut Stay);
                assert!(written.load(Ordering::SeqCst), "the reader passed the writer");
                assert_eq!(mutex.read_unlock(), Ok(()));
            });
            while lot::count(mutex.key()) != 2 {
                thread::yield_now();
            }
            assert_eq!(mutex.read_unlock(), Ok(()));
        });
        assert_eq!(mutex.bits(), 0);
    }

    #[test]
    fn readers_share_and_writers_exclude() {
        let mutex = _PyRWMutex::new();
        // Readers add 1, a writer takes 1000.
        let inside = AtomicIsize::new(0);
        thread::scope(|scope| {
            for nth in 0..6 {
                let (mutex, inside) = (&mutex, &inside);
                scope.spawn(move || {
                    for round in 0..2_000 {
                        if (round + nth) % 5 == 0 {
                            mutex.write_lock(&mut Stay);
                            assert_eq!(inside.fetch_sub(1000, Ordering::Relaxed), 0);
                            assert_eq!(inside.fetch_add(1000, Ordering::Relaxed), -1000);
                            assert_eq!(mutex.write_unlock(), Ok(()));
                        } else {
                            mutex.read_lock(&mut Stay);
                            assert!(inside.fetch_add(1, Ordering::Relaxed) >= 0);
                            assert!(inside.fetch_sub(1, Ordering::Relaxed) >= 1);
                            assert_eq!(mutex.read_unlock(), Ok(()));
                        }
                    }
                });
            }
        });
        assert_eq!(mutex.bits(), 0);
    }
}
