//! Which threads a wait for the threads of an interpreter covers: those that
//! are no daemons.

use crate::os::thread;
use crate::state::handle::Handle;
use crate::state::interp::Interp;
use crate::state::thread::ThreadStateRef;
use crate::sync::head::HeadGuard;
use core::sync::atomic::Ordering::{Acquire, Relaxed};

/// Whether the wait covers `tstate`: it is no daemon, not the first state of the
/// interpreter, and not a state of the calling OS thread.
pub(crate) fn is_awaited(interp: Interp, tstate: ThreadStateRef) -> bool {
    tstate.daemon().load(Relaxed) == 0
        && interp.first_state.load(Relaxed) != tstate.as_raw()
        && tstate.thread_id() != thread::ident()
}

/// Like [`is_awaited`], but covers the states of started threads as well, of
/// which one may be the first state of the interpreter.
pub(crate) fn is_awaited_any(interp: Interp, tstate: ThreadStateRef) -> bool {
    if tstate.handle.load(Relaxed).is_null() {
        return is_awaited(interp, tstate);
    }
    tstate.daemon().load(Relaxed) == 0 && tstate.thread_id() != thread::ident()
}

/// Whether the wait covers the started thread of `handle`.
pub(crate) fn is_awaited_thread(interp: Interp, handle: Handle, _head: &HeadGuard<'_>) -> bool {
    if !handle.is_of(interp) || handle.hung.load(Relaxed) != 0 || handle.ident() == thread::ident()
    {
        return false;
    }
    // The field of a living state decides. A deleted state has left its value in the handle.
    let tstate = handle.tstate.load(Acquire);
    tstate.map_or(!handle.is_daemon(), |tstate| tstate.daemon().load(Relaxed) == 0)
}
