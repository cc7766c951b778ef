//! A PyEvent on the heap that lives as long as there is a reference to it.
//!
//! Mirrors the nogil forks' _PyEventRc (python/cpython pull request 124150).

use super::event::PyEvent;
use crate::os::mem;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicIsize, Ordering};

/// The nogil forks' _PyEventRc: same fields. Made by _PyEventRc_New() only.
#[derive(Debug, Default)]
#[repr(C)]
#[allow(non_camel_case_types, reason = "the name that C sees")]
pub struct _PyEventRc {
    /// The event itself.
    pub event: PyEvent,
    /// How many references there are.
    refcount: AtomicIsize,
}

impl _PyEventRc {
    /// An event that is not set, with one reference, the caller's; `None` if there is no memory.
    pub(crate) fn allocate() -> Option<NonNull<Self>> {
        let place = mem::alloc_zeroed::<Self>()?;
        // SAFETY: the block is ours alone, and all-zero bytes are a valid value.
        unsafe { place.as_ref() }.refcount.store(1, Ordering::Relaxed);
        Some(place)
    }

    /// One more reference. The caller has one.
    pub(crate) fn incref(&self) {
        let before = self.refcount.fetch_add(1, Ordering::Relaxed);
        debug_assert!(before > 0);
    }

    /// One reference less; with the last one the memory goes.
    ///
    /// # Safety
    /// The caller gives up a reference of its own, and does not use `this` afterwards without
    /// another.
    pub(crate) unsafe fn decref(this: NonNull<Self>) {
        // AcqRel: every other holder's uses come before the end. SAFETY: the caller's reference
        // keeps it alive.
        let before = unsafe { this.as_ref() }.refcount.fetch_sub(1, Ordering::AcqRel);
        if before == 1 {
            // SAFETY: `allocate` made it, and there is no reference to it any more.
            unsafe { mem::free(this.as_ptr().cast()) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::clock::Deadline;
    use crate::sync::waiting::Stay;
    use std::thread;

    #[test]
    fn it_lives_until_the_last_reference_goes() {
        let this = _PyEventRc::allocate().expect("memory");
        // SAFETY: one reference is the test's.
        let event = unsafe { this.as_ref() };
        thread::scope(|scope| {
            for _ in 0..4 {
                event.incref();
                scope.spawn(move || {
                    assert!(event.event.wait(Deadline::NEVER, &mut Stay));
                    // SAFETY: this thread's own reference.
                    unsafe { _PyEventRc::decref(NonNull::from(event)) };
                });
            }
            event.event.set();
        });
        assert_eq!(event.refcount.load(Ordering::SeqCst), 1);
        // SAFETY: the test's own reference.
        unsafe { _PyEventRc::decref(this) };
    }
}
