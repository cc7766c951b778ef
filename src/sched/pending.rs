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
use crate::state::pending_queue::{Call, MAX_MAIN, PASS_INTERPRETER, PendingQueue, RAW_FREE};
use crate::state::runtime::RUNTIME;
use crate::state::thread_state::Ts;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};
use core::sync::atomic::fence;

/// The queue is at its limit, or there was no memory for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Full;

/// Which queue a call goes to.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// Whoever polls next in this interpreter.
    Interpreter(Interp),
    /// The main thread in the main interpreter.
    MainThread,
}

/// Queues a call. Any thread, attached or not.
pub(crate) fn add(target: Target, call: Call) -> Result<(), Full> {
    let queue: &PendingQueue = match &target {
        Target::Interpreter(interp) => &interp.pending,
        Target::MainThread => &RUNTIME.main_pending,
    };
    let fresh = if queue.has_slots() { core::ptr::null_mut() } else { PendingQueue::new_slots() };
    let head = RUNTIME.lock();
    let surplus = if fresh.is_null() { fresh } else { queue.adopt(fresh, &head) };
    let queued = queue.push(call, &head);
    // Even a failed add asks for a poll (S-PC-04).
    signal_calls(target, &head);
    drop(head);
    // SAFETY: NULL, or memory that the queue did not want.
    unsafe { mem::free(surplus) };
    probe::point(Point::PendingAdded);
    if queued { Ok(()) } else { Err(Full) }
}

/// Sets the calls bit where the call will be noticed (S-PC-03).
fn signal_calls(target: Target, head: &crate::sync::rank::Guard<'_>) {
    // Pairs with the fence in `breaker::refresh_calls`.
    fence(SeqCst);
    let interp = match target {
        Target::MainThread => {
            if let Some(state) = RUNTIME.main_state() {
                breaker::set(state, CALLS_TO_DO);
            }
            return;
        }
        Target::Interpreter(interp) => interp,
    };
    let gil = interp.gil.load(Relaxed);
    // SAFETY: GILs live inside interpreter blocks, which are never unmapped (I1).
    let Some(gil) = (unsafe { gil.as_ref() }) else {
        for state in list::iter(interp, head) {
            breaker::set(state, CALLS_TO_DO);
        }
        return;
    };
    // SAFETY: the deleter of a state empties `holder` under the head lock.
    if let Some(holder) = unsafe { Ts::from_raw(gil.holder.load(Relaxed).cast()) }
        && holder.interp_ptr() == interp.as_ptr()
    {
        breaker::set(holder, CALLS_TO_DO);
    }
}

/// Runs signal handlers and queued calls for the attached `state`.
pub(crate) fn make_pending_calls(state: Ts) -> Result<(), Raised> {
    let interp = interp_of(state);
    let on_main = may_handle_signals(state);
    if on_main {
        signals::handle(state)?;
    }
    if !claim(interp, state) {
        return Ok(());
    }
    breaker::clear(state, CALLS_TO_DO);
    let mut result = run_queue(&interp.pending, PASS_INTERPRETER);
    if result.is_ok() && on_main {
        result = run_queue(&RUNTIME.main_pending, MAX_MAIN);
    }
    let left = interp.pending.len() != 0 || (on_main && RUNTIME.main_pending.len() != 0);
    if result.is_err() || left {
        breaker::set(state, CALLS_TO_DO);
    }
    interp.pending.handling.store(core::ptr::null_mut(), Relaxed);
    result
}

/// Makes `state` the one that runs the calls of its interpreter. A second or
/// recursive entry moves the bit to the first one (S-PC-07).
fn claim(interp: Interp, state: Ts) -> bool {
    let me = state.as_raw().cast();
    match interp.pending.handling.compare_exchange(core::ptr::null_mut(), me, SeqCst, SeqCst) {
        Ok(_) => true,
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
        if queue.len() == 0 {
            break;
        }
        let head = RUNTIME.lock();
        let call = queue.pop(&head);
        drop(head);
        let Some(call) = call else { break };
        probe::point(Point::PendingRun);
        // SAFETY: the host's function and argument; attached, no lock held.
        let status = unsafe { (call.func)(call.arg) };
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
