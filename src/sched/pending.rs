//! Pending calls: queued from anywhere, run at a poll (S-PC).
//!
//! Mirrors CPython 3.13 `_PyEval_AddPendingCall`, `make_pending_calls`
//! (ceval_gil.c).

use crate::os::mem;
use crate::probe::{self, Point};
use crate::sched::breaker::{self, CALLS_TO_DO, Raised};
use crate::sched::current::{interp_of, may_handle_signals};
use crate::sched::signals;
use crate::state::interp::Interp;
use crate::state::list;
use crate::state::pending_queue::{Call, Full, MAX_MAIN, PASS_INTERPRETER, PendingQueue, RAW_FREE};
use crate::state::runtime::RUNTIME;
use crate::state::thread_state::Ts;
use crate::sync::owed;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};
use core::sync::atomic::fence;

/// Which queue a call goes to.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// Whoever polls next in this interpreter.
    Interpreter(Interp),
    /// The main thread in the main interpreter.
    MainThread,
}

/// Queues a call. Any thread, attached or not. For the main thread: two atomic
/// read-modify-writes, no lock, and async-signal-safe once the queue was used.
#[inline]
pub(crate) fn add(target: Target, call: Call) -> Result<(), Full> {
    // Even a failed add asks for a poll (S-PC-04).
    let queued = match target {
        Target::Interpreter(interp) => {
            let queued = interp.pending.push(call);
            signal_interpreter(interp);
            queued
        }
        Target::MainThread => {
            let queued = RUNTIME.main_pending.push(call);
            if let Some(state) = RUNTIME.main_state() {
                breaker::set(state, CALLS_TO_DO);
            }
            queued
        }
    };
    probe::point(Point::PendingAdded);
    queued
}

/// Sets the calls bit where a call for `interp` will be noticed (S-PC-03).
fn signal_interpreter(interp: Interp) {
    let head = RUNTIME.lock();
    // Pairs with the fence in `breaker::refresh_calls`.
    fence(SeqCst);
    let gil = interp.gil.load(Relaxed);
    // SAFETY: GILs live inside interpreter blocks, which are never unmapped (I1).
    if let Some(gil) = unsafe { gil.as_ref() } {
        // SAFETY: the deleter of a state empties `holder` under the head lock.
        if let Some(holder) = unsafe { Ts::from_raw(gil.holder.load(Relaxed).cast()) }
            && holder.interp_ptr() == interp.as_ptr()
        {
            breaker::set(holder, CALLS_TO_DO);
        }
    } else {
        for state in list::iter(interp, &head) {
            breaker::set(state, CALLS_TO_DO);
        }
    }
    drop(head);
}

/// Runs signal handlers and queued calls for the attached `state`.
///
/// One read-modify-write when no signal came and no call fails: the bit.
pub(crate) fn make_pending_calls(state: Ts) -> Result<(), Raised> {
    make_calls(state, may_handle_signals(state))
}

/// As [`make_pending_calls`], on the main thread in the main interpreter alone.
pub(crate) fn make_main_calls(state: Ts) -> Result<(), Raised> {
    if may_handle_signals(state) { make_calls(state, true) } else { Ok(()) }
}

#[inline(always)]
fn make_calls(state: Ts, on_main: bool) -> Result<(), Raised> {
    let interp = interp_of(state);
    if on_main {
        signals::handle_here(state)?;
    }
    if !claim(interp, state) {
        return Ok(());
    }
    breaker::clear(state, CALLS_TO_DO);
    let run = || {
        run_queue(&interp.pending, PASS_INTERPRETER)?;
        if on_main { run_queue(&RUNTIME.main_pending, MAX_MAIN) } else { Ok(()) }
    };
    // A call may attach and never return.
    let result = owed::or_give_back(|| interp.pending.unclaim(), run);
    let left = interp.pending.len() != 0 || (on_main && RUNTIME.main_pending.len() != 0);
    if result.is_err() || left {
        breaker::set(state, CALLS_TO_DO);
    }
    interp.pending.unclaim();
    result
}

/// Makes `state` the one that runs the calls of its interpreter. A second or
/// recursive entry moves the bit to the first one (S-PC-07).
fn claim(interp: Interp, state: Ts) -> bool {
    let me = state.as_raw().cast();
    let under_gil = !state.gil.load(Relaxed).is_null();
    match interp.pending.claim(me, under_gil) {
        Ok(()) => true,
        Err(other) => {
            if other != me {
                let head = RUNTIME.lock();
                let busy = list::iter(interp, &head).find(|one| one.as_raw().cast() == other);
                if let Some(busy) = busy {
                    breaker::set(busy, CALLS_TO_DO);
                }
                drop(head);
                breaker::clear(state, CALLS_TO_DO);
            }
            false
        }
    }
}

/// Runs up to `limit` calls, oldest first; stops at the first that fails.
fn run_queue(queue: &PendingQueue, limit: u32) -> Result<(), Raised> {
    for _ in 0..limit {
        let Some(call) = queue.pop() else { break };
        let Some(func) = call.func else { continue };
        probe::point(Point::PendingRun);
        // SAFETY: the host's function and argument; attached, no lock held.
        let status = unsafe { func(call.arg) };
        if call.flags & RAW_FREE != 0 {
            // SAFETY: the flag says that the argument came from malloc (S-PC-11).
            unsafe { mem::free(call.arg.cast()) };
        }
        if status != 0 {
            return Err(Raised);
        }
    }
    Ok(())
}

/// Runs calls until the queues are empty; failures are reported and ignored
/// (S-PC-12). For finalization.
pub(crate) fn finish(state: Ts) {
    let interp = interp_of(state);
    loop {
        let on_main = may_handle_signals(state);
        let queued = interp.pending.len() != 0 || (on_main && RUNTIME.main_pending.len() != 0);
        if !queued {
            return;
        }
        if make_pending_calls(state).is_err() {
            crate::sched::raise::report_and_clear("in a pending call during finalization");
        }
    }
}
