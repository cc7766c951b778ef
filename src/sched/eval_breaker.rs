//! The eval breaker: what a running thread is asked to do at its next poll.
//!
//! Setting is an atomic or from any thread and, for signals, from a handler;
//! polling costs the host one relaxed load when nothing is pending.
//!
//! Mirrors CPython 3.13 `_Py_HandlePending` (ceval_gil.c); bit values as there.

use crate::os::errno;
use crate::sched::current::interp_of;
use crate::sched::{async_exc, attach, pending, stw};
use crate::state::runtime::RUNTIME;
use crate::state::thread::ThreadStateRef;
use core::sync::atomic::Ordering::{AcqRel, Relaxed, Release, SeqCst};
use core::sync::atomic::fence;

pub(crate) const GIL_DROP_REQUEST: usize = 1 << 0;
pub(crate) const SIGNALS_PENDING: usize = 1 << 1;
pub(crate) const CALLS_TO_DO: usize = 1 << 2;
pub(crate) const ASYNC_EXCEPTION: usize = 1 << 3;
pub(crate) const PLEASE_STOP: usize = 1 << 5;

/// The error indicator is set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raised;

/// Sets a bit on `state`.
pub(crate) fn set(tstate: ThreadStateRef, bit: usize) {
    tstate.eval_breaker().fetch_or(bit, AcqRel);
}

/// Clears a bit on `state`; free when it is not set.
pub(crate) fn clear(tstate: ThreadStateRef, bit: usize) {
    if is_set(tstate, bit) {
        tstate.eval_breaker().fetch_and(!bit, AcqRel);
    }
}

/// Whether a bit is set.
#[inline(always)]
pub(crate) fn is_set(tstate: ThreadStateRef, bit: usize) -> bool {
    tstate.eval_breaker().load(Relaxed) & bit != 0
}

/// Recomputes the pending-calls bit of a state that just took the GIL over
/// (S-EB-06). The fence pairs with the one in `pending::signal_calls`: either
/// the adder sees the new holder, or the new holder sees the call.
pub(crate) fn refresh_calls(tstate: ThreadStateRef) {
    fence(SeqCst);
    let queued = interp_of(tstate).pending.len() != 0
        || (RUNTIME.main_pending.len() != 0 && RUNTIME.on_main_thread());
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
    RUNTIME.main_state.store(tstate.as_raw(), Release);
    fence(SeqCst);
    if crate::sched::signals::any_tripped() {
        set(tstate, SIGNALS_PENDING);
    }
    if RUNTIME.main_pending.len() != 0 || interp_of(tstate).pending.len() != 0 {
        set(tstate, CALLS_TO_DO);
    }
}

/// Serves the pending bits in CPython's order (S-EB-03). The word is sampled
/// once; an error leaves later bits for the next visit (S-EB-05).
pub(crate) fn handle_pending(tstate: ThreadStateRef) -> Result<(), Raised> {
    let bits = tstate.eval_breaker().load(Relaxed);
    if bits & PLEASE_STOP != 0 {
        let saved = errno::get();
        stw::suspend_if_asked(tstate);
        errno::set(saved);
    }
    if bits & SIGNALS_PENDING != 0 {
        crate::sched::signals::handle(tstate)?;
    }
    if bits & CALLS_TO_DO != 0 {
        pending::make_pending_calls(tstate)?;
    }
    if bits & GIL_DROP_REQUEST != 0 {
        // The bit stays set until another state has the GIL: see `gil`.
        attach::detach_for_call(tstate);
        attach::reattach_after_call(tstate);
        crate::sched::gil::forget_request(tstate);
    }
    if bits & ASYNC_EXCEPTION != 0 {
        async_exc::raise_pending(tstate)?;
    }
    Ok(())
}
