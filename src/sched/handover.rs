//! Which OS thread a state is bound to, when that changes.
//!
//! A state is bound to the thread that attaches it: CPython lets a host attach a
//! state on any thread, and embedders do so. The thread that has won the word
//! binds the state to itself ([`at_attach`]), so that of several threads that
//! take turns with one state each is its owner while it runs.
//!
//! The owner's fields change under the head lock, because a thread that finds a
//! state by its thread id holds that lock.

use crate::os::thread;
use crate::sched::current;
use crate::sched::fatal::fatal;
use crate::state::requests;
use crate::state::runtime::RUNTIME;
use crate::state::thread::ThreadStateRef;
use crate::sync::head::HeadGuard;
use core::sync::atomic::Ordering::Relaxed;

/// Whether the thread of `tstate` has detached it for a while, inside of a call
/// of this library or in a blocking region, and counts on attaching it again.
pub(crate) fn is_in_call(tstate: ThreadStateRef) -> bool {
    tstate.detached_by_call.load(Relaxed) != 0 || tstate.is_in_region()
}

/// Whether `tstate` belongs to a thread that the library started. Such a state stays
/// with its thread until the thread ends.
pub(crate) fn is_started(tstate: ThreadStateRef) -> bool {
    !tstate.handle.load(Relaxed).is_null()
}

/// Binds `tstate`, whose word the calling thread has won, to that thread, unless
/// it is already.
#[cold]
pub(crate) fn at_attach(tstate: ThreadStateRef) {
    if tstate.thread_id() == thread::ident() || is_started(tstate) {
        return;
    }
    // The release of the word by the thread that detached it publishes this.
    if is_in_call(tstate) {
        refuse(tstate, c"attach");
    }
    let head = RUNTIME.lock();
    bind_to_caller(tstate, &head);
    drop(head);
}

/// Aborts the attach of a state whose own thread is in the middle of a call.
#[cold]
pub(crate) fn refuse(tstate: ThreadStateRef, func: &core::ffi::CStr) -> ! {
    fatal(
        func,
        format_args!(
            "thread state {:p} belongs to thread 0x{:x} (tid {}), which is in the middle of a call and attaches it again",
            tstate.as_ptr(),
            tstate.thread_id(),
            tstate.native_id()
        ),
    )
}

/// Binds `tstate`, whose word the caller has won or which is suspended, to the
/// calling thread. It is no longer the gilstate of its old thread.
pub(crate) fn bind_to_caller(tstate: ThreadStateRef, _head: &HeadGuard<'_>) {
    current::leave_gilstate_slot(tstate);
    tstate.record_thread();
    tstate.stack.forget();
    hand_over_main(tstate);
}

/// Updates the main state: the one that the main thread has in the main interpreter.
fn hand_over_main(tstate: ThreadStateRef) {
    if !RUNTIME.on_main_thread() {
        RUNTIME.main_state.clear_if(tstate);
    } else if current::may_handle_signals(tstate) && RUNTIME.main_state().is_none() {
        requests::become_main_state(tstate);
    }
}
