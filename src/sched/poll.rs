//! A poll: the running thread does what it was asked to do.
//!
//! Mirrors CPython 3.13 `_Py_HandlePending` (ceval_gil.c).

use crate::os::errno;
use crate::probe::Point;
use crate::probe::trace::{self, Event, Span};
use crate::sched::current::{interp_of, set_current};
use crate::sched::standing::{self, NONE, suspend_word_or_detach, wait_resumed};
use crate::sched::state_hooks;
use crate::sched::{async_exc, attach, gil, pending, signals, thread_calls};
use crate::state::error_kind::Raised;
use crate::state::eval_breaker::{
    self, ASYNC_EXCEPTION, CALLS_TO_DO, GIL_DROP_REQUEST, PLEASE_STOP, SIGNALS_PENDING,
    THREAD_CALLS,
};
use crate::state::hooks::Told;
use crate::state::runtime::RUNTIME;
use crate::state::thread::{STOOD, ThreadStateRef};
use core::sync::atomic::Ordering::Relaxed;

/// Serves the pending bits in CPython's order (S-EB-03). The word is sampled
/// once; an error leaves later bits for the next visit (S-EB-05).
pub(crate) fn handle_pending(tstate: ThreadStateRef) -> Result<(), Raised> {
    let bits = tstate.eval_breaker().load(Relaxed);
    if bits & PLEASE_STOP != 0 {
        let saved = errno::get();
        suspend_if_asked(tstate);
        errno::set(saved);
    }
    if bits & SIGNALS_PENDING != 0 {
        signals::handle(tstate)?;
    }
    if bits & CALLS_TO_DO != 0 {
        pending::make_pending_calls(tstate)?;
    }
    if bits & THREAD_CALLS != 0 {
        thread_calls::run_queued(tstate)?;
    }
    if bits & GIL_DROP_REQUEST != 0 {
        // The bit stays set until another state has the GIL: see `gil`.
        attach::detach_for_call(tstate);
        attach::reattach_after_call(tstate);
        gil::forget_request(tstate);
    }
    if bits & ASYNC_EXCEPTION != 0 {
        async_exc::raise_pending(tstate)?;
    }
    Ok(())
}

/// Serves a stop request at a poll: releases the GIL, stands until the pause is over,
/// and attaches again.
fn suspend_if_asked(tstate: ThreadStateRef) {
    let head = RUNTIME.lock();
    eval_breaker::clear(tstate, PLEASE_STOP);
    let asked = standing::active_for(tstate, &head).is_some();
    drop(head);
    if !asked {
        return;
    }
    // Before its word changes: no thread may take the state over meanwhile. Relaxed:
    // the release of the word publishes it.
    tstate.waits_for_pause.store(STOOD, Relaxed);
    suspend_self_and_release_gil(tstate);
    wait_resumed(tstate, STOOD);
    attach::attach(tstate);
    // Relaxed: a pause that still reads OWED only waits a little longer.
    tstate.waits_for_pause.store(NONE, Relaxed);
}

fn suspend_self_and_release_gil(tstate: ThreadStateRef) {
    state_hooks::tell(Told::Detach, tstate);
    attach::detaching(tstate);
    tstate.stamp();
    attach::note_detaching(tstate);
    set_current(None);
    tstate.holds_gil().store(0, Relaxed);
    let gil = tstate.gil.load(Relaxed);
    let interp = interp_of(tstate).id();
    suspend_word_or_detach(tstate);
    if let Some(gil) = gil {
        let _ = gil::release(gil, false);
    }
    trace::at(Point::StwSuspended, Event::Begin(Span::Suspended), || interp);
}
