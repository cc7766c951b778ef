//! Abandoned thread states: those that finalization leaves behind, of daemons,
//! foreign threads, and threads that were not waited for (S-DT).
//!
//! They are taken out of the list with the world stopped, marked so that their
//! threads can never attach again, then cleared: their hooks run and their exit
//! events are set. Their blocks stay for the threads that still hold pointers;
//! [`sweep`] gives back those whose thread has ended.
//!
//! LIFE-2: a state attaches in the life that it was made in, and in no other:
//! the end of that life marks every state that it leaves.

use crate::life::tstate::{self, Cleared};
use crate::os::task;
use crate::os::thread;
use crate::probe::{self, Point};
use crate::sched::current::leave_gilstate_slot;
use crate::sched::gil;
use crate::state::interp::Interp;
use crate::state::list;
use crate::state::runtime::RUNTIME;
use crate::state::thread::{ThreadStateRef, status};
use crate::state::word;
use crate::sync::head::HeadGuard;
use crate::sync::lot;
use core::sync::atomic::Ordering::Relaxed;

/// Takes every state of `interp` but `keep` out of the list and marks it. The
/// world (at least of `interp`) is stopped. Returns them chained by `spare`.
pub(crate) fn remove_others(
    interp: Interp,
    keep: ThreadStateRef,
    head: &HeadGuard<'_>,
) -> Option<ThreadStateRef> {
    let mut chain = None;
    while let Some(tstate) = list::iter(interp, head).find(|tstate| *tstate != keep) {
        tstate.set_status(status::ABANDONED);
        word::shut_down(tstate.word());
        tstate::clear_references_to(tstate, head);
        list::unlink(interp, tstate, head);
        // Relaxed: the chain is this thread's own.
        tstate.spare.store(chain, Relaxed);
        chain = Some(tstate);
    }
    chain
}

/// Wakes every thread that waits with a removed state, so that it notices.
pub(crate) fn wake(interp: Interp, chain: Option<ThreadStateRef>) {
    let mut next = chain;
    while let Some(tstate) = next {
        next = tstate.spare.load(Relaxed);
        lot::unpark_all(tstate.word_key());
    }
    if let Some(gil) = interp.gil.load(Relaxed) {
        gil::wake_all(gil);
    }
}

/// Clears removed states (attached caller, world running) and keeps their
/// blocks for their threads.
pub(crate) fn clear_and_keep(chain: Option<ThreadStateRef>) {
    let mut next = chain;
    while let Some(tstate) = next {
        next = tstate.spare.load(Relaxed);
        if tstate::clear(tstate) == Cleared::Before {
            // Its thread may be inside its on_delete hook, from which it never
            // returns attached: what comes after the hook is done here.
            tstate::finish_clear(tstate);
        }
        probe::point(Point::DeleteUnlinked);
        let head = RUNTIME.lock();
        tstate.spare.store(RUNTIME.abandoned.load(Relaxed), Relaxed);
        RUNTIME.abandoned.store(Some(tstate), Relaxed);
        drop(head);
    }
}

/// Gives back the kept blocks whose OS thread has ended, and those of the calling
/// thread: it is about to begin a new life of the runtime.
pub(crate) fn sweep() {
    let head = RUNTIME.lock();
    let mut next = RUNTIME.abandoned.swap(None, Relaxed);
    drop(head);
    while let Some(tstate) = next {
        next = tstate.spare.load(Relaxed);
        let native = tstate.native_id();
        let needed = native != 0 && native != thread::native_id() && task::exists(native);
        if needed {
            let head = RUNTIME.lock();
            tstate.spare.store(RUNTIME.abandoned.load(Relaxed), Relaxed);
            RUNTIME.abandoned.store(Some(tstate), Relaxed);
            drop(head);
        } else {
            leave_gilstate_slot(tstate);
            tstate::give_back(tstate);
        }
    }
}
