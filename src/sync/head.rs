//! The head lock (CPython's HEAD_LOCK), and cells that can be reached only under it.
//!
//! HEAD-1: There is one [`Head`] in the process, inside its mutex. A `&Head` therefore shows that
//!    the calling thread holds the lock; a `&HeadGuard` becomes one by itself where a function asks
//!    for it.
//! HEAD-2: `Head` is not Sync and its guard is not Send: the proof stays on the thread that holds
//!    the lock.
//!
//! What a signal handler or a thread without the lock reads is an atomic, not a [`HeadCell`].

use super::fork_lock::{ForkRow, fork_row};
use super::rank::{self, HeadRank, RankedLock, RankedMutex};
use core::cell::Cell;
use core::marker::PhantomData;

/// The proof that the head lock is held (HEAD-1).
pub(crate) struct Head {
    /// Makes `Head` Send, so that its mutex is Sync, and keeps it from being Sync (HEAD-2).
    not_shared: PhantomData<Cell<()>>,
}

static HEAD: RankedMutex<HeadRank, Head> = rank::mutex(Head { not_shared: PhantomData });

/// The head lock, held until this is dropped.
pub(crate) type HeadGuard<'a> = lock_api::MutexGuard<'a, RankedLock<HeadRank>, Head>;

/// Takes the head lock. It never detaches; hold it for a few instructions and call nothing outside
/// the library under it (S-IN-11).
#[inline]
pub(crate) fn lock() -> HeadGuard<'static> {
    HEAD.lock()
}

/// Keeps the lock held after the guard is gone, across a fork(): [`force_unlock`] frees it in the
/// parent, the fork table in the child.
pub(crate) fn keep(guard: HeadGuard<'static>) {
    lock_api::MutexGuard::leak(guard);
}

/// Frees the lock after [`keep`], in the parent. False if it was free.
pub(crate) fn force_unlock() -> bool {
    // SAFETY: the guard was given to `keep`, so that no guard is freed twice.
    let raw = unsafe { HEAD.raw() };
    raw.force_unlock()
}

/// The head lock in the fork table.
pub(crate) static FORK_ROWS: [ForkRow; 1] = [fork_row!(HEAD)];

/// A snapshot, for assertions.
#[allow(dead_code, reason = "for assertions of the layers above")]
pub(crate) fn is_locked() -> bool {
    HEAD.is_locked()
}

/// A value that is read and written under the head lock only. As large as the value; all-zero if
/// the value is.
#[repr(transparent)]
#[derive(Default)]
pub(crate) struct HeadCell<T> {
    value: Cell<T>,
}

// SAFETY: HEAD-1 and HEAD-2: only the thread that holds the lock reaches the value, each after the
// one before it.
unsafe impl<T: Send> Sync for HeadCell<T> {}

#[allow(dead_code, reason = "the cell's whole vocabulary, for the layers above")]
impl<T> HeadCell<T> {
    /// A cell with `value` in it.
    pub(crate) const fn new(value: T) -> Self {
        Self { value: Cell::new(value) }
    }

    /// A copy of the value.
    #[inline]
    pub(crate) fn get(&self, _head: &Head) -> T
    where
        T: Copy,
    {
        self.value.get()
    }

    /// Replaces the value.
    #[inline]
    pub(crate) fn set(&self, value: T, _head: &Head) {
        self.value.set(value);
    }

    /// Replaces the value and returns the old one.
    #[inline]
    pub(crate) fn replace(&self, value: T, _head: &Head) -> T {
        self.value.replace(value)
    }

    /// Leaves the default value and returns the old one.
    #[inline]
    pub(crate) fn take(&self, _head: &Head) -> T
    where
        T: Default,
    {
        self.value.take()
    }

    /// Replaces the value by what `change` makes of it, and returns the new one.
    #[inline]
    pub(crate) fn update(&self, _head: &Head, change: impl FnOnce(T) -> T) -> T
    where
        T: Copy,
    {
        let value = change(self.value.get());
        self.value.set(value);
        value
    }

    /// The value of a cell that no other thread can reach.
    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

/// A pointer that is read and written under the head lock only.
///
/// This is a type of its own because a pointer is not Send. It needs no more than [`HeadCell`]: it
/// is an address, and each dereference states what may be done with the memory behind it.
#[repr(transparent)]
pub(crate) struct HeadPtr<T> {
    pointer: Cell<*mut T>,
}

// SAFETY: as for `HeadCell`; an address may be known to any thread.
unsafe impl<T> Sync for HeadPtr<T> {}
// SAFETY: as above.
unsafe impl<T> Send for HeadPtr<T> {}

#[allow(dead_code, reason = "the cell's whole vocabulary, for the layers above")]
impl<T> HeadPtr<T> {
    /// A NULL pointer.
    pub(crate) const fn null() -> Self {
        Self { pointer: Cell::new(core::ptr::null_mut()) }
    }

    /// The pointer.
    #[inline]
    pub(crate) fn get(&self, _head: &Head) -> *mut T {
        self.pointer.get()
    }

    /// Replaces the pointer.
    #[inline]
    pub(crate) fn set(&self, pointer: *mut T, _head: &Head) {
        self.pointer.set(pointer);
    }

    /// Replaces the pointer and returns the old one.
    #[inline]
    pub(crate) fn replace(&self, pointer: *mut T, _head: &Head) -> *mut T {
        self.pointer.replace(pointer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn a_cell_is_reached_under_the_head_lock_by_one_thread_at_a_time() {
        static COUNT: HeadCell<u64> = HeadCell::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..5_000 {
                        let head = lock();
                        COUNT.set(COUNT.get(&head) + 1, &head);
                    }
                });
            }
        });
        let head = lock();
        assert_eq!(COUNT.update(&head, |count| count + 1), 20_001);
        assert_eq!(COUNT.take(&head), 20_001);
        assert_eq!(COUNT.replace(7, &head), 0);
    }
}
