//! The doubly linked list of an interpreter's thread states, newest first
//! (S-TS-16). Every function wants the head lock's guard as proof.
//!
//! Ordering: pointers into the list are stored with release, for the dump from a
//! signal handler, which walks it without the lock (`life::report::dump`, acquire).

use crate::state::interp::Interp;
use crate::state::thread::ThreadStateRef;
use crate::sync::head::HeadGuard;
use core::sync::atomic::Ordering::{Relaxed, Release};

/// Gives `tstate` the next id.
pub(crate) fn number(interp: Interp, tstate: ThreadStateRef, _head: &HeadGuard) {
    let id = interp.last_thread_id.load(Relaxed) + 1;
    interp.last_thread_id.store(id, Relaxed);
    tstate.id_cell().store(id, Relaxed);
}

/// Puts `tstate`, which has its id, at the head.
pub(crate) fn link(interp: Interp, tstate: ThreadStateRef, _head: &HeadGuard) {
    let old = interp.threads.load(Relaxed);
    tstate.next().store(old, Release);
    tstate.prev().store(None, Relaxed);
    if let Some(old) = old {
        old.prev().store(Some(tstate), Relaxed);
    }
    interp.threads.store(Some(tstate), Release);
    interp.thread_count.store(interp.thread_count.load(Relaxed) + 1, Relaxed);
}

/// Takes `tstate` out.
pub(crate) fn unlink(interp: Interp, tstate: ThreadStateRef, _head: &HeadGuard) {
    let (prev, next) = (tstate.prev().load(Relaxed), tstate.next().load(Relaxed));
    match prev {
        Some(prev) => prev.next().store(next, Release),
        None => interp.threads.store(next, Release),
    }
    if let Some(next) = next {
        next.prev().store(prev, Relaxed);
    }
    tstate.prev().store(None, Relaxed);
    tstate.next().store(None, Relaxed);
    interp.thread_count.store(interp.thread_count.load(Relaxed) - 1, Relaxed);
    if interp.first_state.load(Relaxed) == tstate.as_raw() {
        interp.first_state.store(core::ptr::null_mut(), Relaxed);
    }
}

/// The states of `interp`, newest first.
pub(crate) fn iter(interp: Interp, _head: &HeadGuard) -> Iter {
    Iter { next: interp.threads.load(Relaxed) }
}

/// The states that are older than `tstate`, which is in the list.
pub(crate) fn iter_older(tstate: ThreadStateRef, _head: &HeadGuard) -> Iter {
    Iter { next: tstate.next().load(Relaxed) }
}

/// Iterator of [`iter`] and [`iter_older`].
pub(crate) struct Iter {
    next: Option<ThreadStateRef>,
}

impl Iterator for Iter {
    type Item = ThreadStateRef;

    fn next(&mut self) -> Option<ThreadStateRef> {
        let tstate = self.next?;
        self.next = tstate.next().load(Relaxed);
        Some(tstate)
    }
}
