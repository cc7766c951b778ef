//! The slots of the calling thread: its current state, its gilstate, its handle.
//!
//! Mirrors CPython 3.13 `_Py_tss_tstate`, `autoTSSkey` (pystate.c).

use crate::os::tls;
use crate::state::handle::Handle;
use crate::state::thread::ThreadStateRef;
use core::ffi::{c_char, c_void};
use core::sync::atomic::Ordering::Relaxed;

/// The attached state of the calling thread.
#[inline(always)]
pub(crate) fn current() -> Option<ThreadStateRef> {
    let pointer = tls::current();
    // SAFETY: the slot holds NULL or the attached state, which is live.
    unsafe { ThreadStateRef::from_raw(pointer.cast()) }
}

/// Publishes the attached state. The slot must be NULL before the GIL is released
/// (S-TS-12).
#[inline(always)]
pub(crate) fn set_current(tstate: Option<ThreadStateRef>) {
    let pointer = tstate.map_or(core::ptr::null_mut(), |tstate| tstate.as_raw().cast());
    tls::block().current.store(pointer, Relaxed);
}

/// The state that the PyGILState calls of this thread use.
///
/// A thread that deletes the state removes the mark from it and does not touch the
/// slot of the other thread, which may have ended. So the mark decides.
#[inline(always)]
pub(crate) fn gilstate() -> Option<ThreadStateRef> {
    let block = tls::block();
    let pointer = block.gilstate.load(Relaxed);
    // SAFETY: NULL or a block of a state, which stays mapped (TS-1).
    let tstate = unsafe { ThreadStateRef::from_raw(pointer.cast()) };
    tstate.filter(|tstate| core::ptr::eq(tstate.gilstate_slot.load(Relaxed), block))
}

/// Removes the mark from `tstate`, which is then no thread's gilstate.
pub(crate) fn leave_gilstate_slot(tstate: ThreadStateRef) {
    tstate.gilstate_slot.store(core::ptr::null_mut(), Relaxed);
}

/// The function that deletes the state that is kept for this thread, or `None`.
pub(crate) fn on_thread_end() -> Option<fn()> {
    tls::block().on_thread_end.load(Relaxed)
}

/// Registers the function that deletes the state that is kept for this thread, or
/// removes it with `None`.
pub(crate) fn set_keeper(on_thread_end: Option<fn()>) {
    tls::block().on_thread_end.store(on_thread_end, Relaxed);
}

/// Takes the place ("file:line") that the host left for the next call, if any.
#[inline(always)]
pub(crate) fn take_source_location() -> *mut c_char {
    let slot = &tls::block().place;
    let place = slot.load(Relaxed);
    if !place.is_null() {
        slot.store(core::ptr::null_mut(), Relaxed);
    }
    place.cast()
}

/// The place that the host left and that no call has used yet, or NULL. Async-signal-safe.
pub(crate) fn left_place() -> *const c_char {
    tls::block().place.load(Relaxed).cast()
}

/// Leaves a place for the next attach, detach or creation on this thread.
pub(crate) fn leave_source_location(place: *const c_char) {
    tls::block().place.store(place.cast_mut().cast(), Relaxed);
}

/// The handle of the calling thread, if the library started it.
pub(crate) fn own_handle() -> Option<Handle> {
    let pointer: *mut () = tls::block().handle.load(Relaxed);
    // SAFETY: set by the thread's start routine, which holds a reference until
    // it empties the slot.
    unsafe { Handle::from_ptr(pointer.cast()) }
}

/// Sets the handle of the calling thread.
pub(crate) fn set_own_handle(handle: *mut c_void) {
    tls::block().handle.store(handle.cast(), Relaxed);
}
