//! The doubly linked list of an interpreter's thread states, newest first
//! (S-TS-16). Every function wants the head lock's guard as proof.
//!
//! Ordering: pointers into the list are stored with release, for the dump from a
//! signal handler, which walks it without the lock (`life::report`, acquire).

use crate::state::interp::Interp;
use crate::state::thread_state::Ts;
use crate::sync::rank::Guard;
use core::sync::atomic::Ordering::{Relaxed, Release};

/// Gives `state` the next id.
pub(crate) fn number(interp: Interp, state: Ts, _head: &Guard) {
    let id = interp.last_thread_id.load(Relaxed) + 1;
    interp.last_thread_id.store(id, Relaxed);
    state.id_cell().store(id, Relaxed);
}

/// Puts `state`, which has its id, at the head.
pub(crate) fn link(interp: Interp, state: Ts, _head: &Guard) {
    let old = interp.threads.load(Relaxed);
    state.next().store(old, Release);
    state.prev().store(core::ptr::null_mut(), Relaxed);
    // SAFETY: members of the list are live (T1).
    if let Some(old) = unsafe { Ts::from_ptr(old) } {
        old.prev().store(state.as_ptr(), Relaxed);
    }
    interp.threads.store(state.as_ptr(), Release);
    interp.thread_count.store(interp.thread_count.load(Relaxed) + 1, Relaxed);
}

/// Takes `state` out.
pub(crate) fn unlink(interp: Interp, state: Ts, _head: &Guard) {
    let (prev, next) = (state.prev().load(Relaxed), state.next().load(Relaxed));
    // SAFETY: members of the list are live (T1).
    match unsafe { Ts::from_ptr(prev) } {
        Some(prev) => prev.next().store(next, Release),
        None => interp.threads.store(next, Release),
    }
    // SAFETY: as above.
    if let Some(next) = unsafe { Ts::from_ptr(next) } {
        next.prev().store(prev, Relaxed);
    }
    state.prev().store(core::ptr::null_mut(), Relaxed);
    state.next().store(core::ptr::null_mut(), Relaxed);
    interp.thread_count.store(interp.thread_count.load(Relaxed) - 1, Relaxed);
    if interp.first_state.load(Relaxed) == state.as_raw() {
        interp.first_state.store(core::ptr::null_mut(), Relaxed);
    }
}

/// The states of `interp`, newest first.
pub(crate) fn iter(interp: Interp, _head: &Guard) -> Iter {
    Iter { next: interp.threads.load(Relaxed) }
}

/// Iterator of [`iter`].
pub(crate) struct Iter {
    next: *mut crate::state::thread_state::PyThreadState,
}

impl Iterator for Iter {
    type Item = Ts;

    fn next(&mut self) -> Option<Ts> {
        // SAFETY: members of the list are live (T1).
        let state = unsafe { Ts::from_ptr(self.next) }?;
        self.next = state.next().load(Relaxed);
        Some(state)
    }
}
