//! Which thread is asked to serve pending calls and signals.
//!
//! REQUEST-1: each adder queues first, fences, then looks for a state to ask; each
//! state that becomes the one to ask is published first, fences, then looks at
//! the queues. Either the adder sees the state or the state sees the request.

use crate::state::eval_breaker::{CALLS_TO_DO, SIGNALS_PENDING, set};
use crate::state::interp::Interp;
use crate::state::list;
use crate::state::runtime::RUNTIME;
use crate::state::thread::ThreadStateRef;
use crate::sync::head::HeadGuard;
use core::ffi::c_void;
use core::sync::atomic::Ordering::{AcqRel, Relaxed, Release, SeqCst};
use core::sync::atomic::{AtomicBool, fence};

/// Whether a signal waits for its handler.
pub(crate) static SIGNAL_TRIPPED: AtomicBool = AtomicBool::new(false);

/// Whether calls are queued for the interpreter of `tstate`.
fn calls_of(tstate: ThreadStateRef) -> bool {
    Interp::of(tstate).is_some_and(|interp| interp.pending.len() != 0)
}

/// Sets the calls bit where a call for `interp` will be noticed (S-PC-03).
pub(crate) fn ask_interpreter(interp: Interp) {
    let head = RUNTIME.lock();
    ask_for_calls(interp, &head);
    drop(head);
}

/// Does what [`ask_interpreter`] does, for a caller that holds the head lock.
fn ask_for_calls(interp: Interp, head: &HeadGuard<'_>) {
    // Pairs with the fence in `refresh_calls`.
    fence(SeqCst);
    if let Some(gil) = interp.gil.load(Relaxed) {
        let holder = ThreadStateRef::holder_of(gil);
        if let Some(holder) = holder.filter(|one| one.interp_ptr() == interp.as_ptr()) {
            set(holder, CALLS_TO_DO);
        }
    } else {
        for tstate in list::iter(interp, head) {
            set(tstate, CALLS_TO_DO);
        }
    }
}

/// `state` never runs again, or is being deleted: the calls of its interpreter
/// that are left are for the next thread that polls.
pub(crate) fn stop_handling(interp: Interp, tstate: ThreadStateRef, head: &HeadGuard<'_>) {
    let me: *mut c_void = tstate.as_raw().cast();
    let handling = &interp.pending.handling;
    if handling.load(Relaxed) == me
        && handling.compare_exchange(me, core::ptr::null_mut(), AcqRel, Relaxed).is_ok()
    {
        ask_for_calls(interp, head);
    }
}

/// Asks the main thread to run the calls that are queued for it. Async-signal-safe.
#[inline]
pub(crate) fn ask_main_thread_for_calls() {
    // Pairs with the fence in `become_main_state`: either this sees the main
    // state, or an initialization that makes one sees the call.
    fence(SeqCst);
    if let Some(tstate) = RUNTIME.main_state() {
        set(tstate, CALLS_TO_DO);
    }
}

/// Asks the main thread to look for signals at its next poll. Async-signal-safe.
pub(crate) fn ask_main_thread() {
    // Pairs with the fence in `become_main_state`.
    fence(SeqCst);
    if let Some(tstate) = RUNTIME.main_state() {
        set(tstate, SIGNALS_PENDING);
    }
}

/// Recomputes the pending-calls bit of a state that just took the GIL over
/// (S-EB-06). The fence pairs with the one in `pending::signal_calls`: either
/// the adder sees the new holder, or the new holder sees the call.
pub(crate) fn refresh_calls(tstate: ThreadStateRef) {
    fence(SeqCst);
    let queued = calls_of(tstate) || (RUNTIME.main_pending.len() != 0 && RUNTIME.on_main_thread());
    if queued {
        set(tstate, CALLS_TO_DO);
    }
}

/// Makes `state` the one that is asked to serve signals and calls of the main
/// thread, and asks it for those that came while there was none. The caller
/// knows that the state is the main thread's, in the main interpreter.
///
/// The fence pairs with those in `signals::ask_main_thread` and
/// `pending::add`: either they see the new main state, or it sees what came.
#[cold]
pub(crate) fn become_main_state(tstate: ThreadStateRef) {
    RUNTIME.main_state.store(Some(tstate), Release);
    fence(SeqCst);
    if SIGNAL_TRIPPED.load(Relaxed) {
        set(tstate, SIGNALS_PENDING);
    }
    if RUNTIME.main_pending.len() != 0 || calls_of(tstate) {
        set(tstate, CALLS_TO_DO);
    }
}
