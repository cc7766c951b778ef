//! Pending calls: queued from anywhere, run at a poll (S-PC).
//!
//! Mirrors CPython 3.13 `_PyEval_AddPendingCall`, `make_pending_calls`
//! (ceval_gil.c).

use crate::control::window;
use crate::os::mem;
use crate::probe::{self, Point};
use crate::sched::callout::{self, Callout};
use crate::sched::current::{interp_of, may_handle_signals};
use crate::sched::signals;
use crate::state::config::Compat;
use crate::state::error_kind::Raised;
use crate::state::eval_breaker::{self, CALLS_TO_DO};
use crate::state::interp::Interp;
use crate::state::list;
use crate::state::pending_queue::{
    Call, Full, MAX_MAIN, MAX_MAIN_3_12, PASS_INTERPRETER, PendingQueue, RAW_FREE,
};
use crate::state::requests;
use crate::state::runtime::RUNTIME;
use crate::state::thread::ThreadStateRef;
use core::sync::atomic::Ordering::Relaxed;

/// Which queue a call goes to.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// The next thread that polls in this interpreter.
    Interpreter(Interp),
    /// The main thread in the main interpreter.
    MainThread,
}

/// How many calls wait for the main thread at most.
fn max_main() -> u32 {
    if RUNTIME.compat() < Compat::V3_13 { MAX_MAIN_3_12 } else { MAX_MAIN }
}

/// Queues a call. Any thread, attached or not. For the main thread: two atomic
/// read-modify-writes, no lock, and async-signal-safe once the queue was used.
#[inline]
pub(crate) fn add(target: Target, call: Call) -> Result<(), Full> {
    // Even a failed add asks for a poll (S-PC-04).
    let queued = match target {
        Target::Interpreter(interp) => {
            let queued = interp.pending.push(call);
            requests::ask_interpreter(interp);
            queued
        }
        Target::MainThread => {
            let queued = RUNTIME.main_pending.push_below(max_main(), call);
            window!("pending.pushed");
            requests::ask_main_thread_for_calls();
            queued
        }
    };
    probe::point(Point::PendingAdded);
    queued
}

/// Runs signal handlers and queued calls for the attached `tstate`.
///
/// One read-modify-write when no signal came and no call fails: the bit.
pub(crate) fn make_pending_calls(tstate: ThreadStateRef) -> Result<(), Raised> {
    make_calls(tstate, may_handle_signals(tstate))
}

/// Does what [`make_pending_calls`] does on the main thread in the main interpreter,
/// and has no effect elsewhere.
pub(crate) fn make_main_calls(tstate: ThreadStateRef) -> Result<(), Raised> {
    if may_handle_signals(tstate) { make_calls(tstate, true) } else { Ok(()) }
}

#[inline(always)]
fn make_calls(tstate: ThreadStateRef, on_main: bool) -> Result<(), Raised> {
    let interp = interp_of(tstate);
    if on_main {
        signals::handle_here(tstate)?;
    }
    if !claim(interp, tstate) {
        return Ok(());
    }
    window!("pending.claimed");
    eval_breaker::clear(tstate, CALLS_TO_DO);
    let pass = Pass::new(interp);
    let mut result = run_queue(&interp.pending, PASS_INTERPRETER, &pass);
    if result.is_ok() && on_main {
        result = run_queue(&RUNTIME.main_pending, MAX_MAIN, &pass);
    }
    if pass.is_over() {
        return result;
    }
    let left = interp.pending.len() != 0 || (on_main && RUNTIME.main_pending.len() != 0);
    if result.is_err() || left {
        eval_breaker::set(tstate, CALLS_TO_DO);
    }
    window!("pending.unclaim");
    interp.pending.unclaim();
    result
}

/// One pass over the queues of an interpreter.
struct Pass {
    interp: Interp,
    number: u32,
}

impl Pass {
    fn new(interp: Interp) -> Pass {
        Pass { interp, number: interp.pending.passes.load(Relaxed) }
    }

    /// Whether finalization took the queues over: see `sched::drain`.
    fn is_over(&self) -> bool {
        self.interp.pending.passes.load(Relaxed) != self.number
    }
}

/// Makes `tstate` the one that runs the calls of its interpreter. A second or
/// recursive entry moves the bit to the first one (S-PC-07).
fn claim(interp: Interp, tstate: ThreadStateRef) -> bool {
    let me = tstate.as_raw().cast();
    let under_gil = !tstate.gil.is_none(Relaxed);
    match interp.pending.claim(me, under_gil) {
        Ok(()) => true,
        Err(other) => {
            if other != me {
                let head = RUNTIME.lock();
                let busy = list::iter(interp, &head).find(|one| one.as_raw().cast() == other);
                if let Some(busy) = busy {
                    eval_breaker::set(busy, CALLS_TO_DO);
                }
                drop(head);
                eval_breaker::clear(tstate, CALLS_TO_DO);
            }
            false
        }
    }
}

/// Runs up to `limit` calls, oldest first; stops at the first that fails.
fn run_queue(queue: &PendingQueue, limit: u32, pass: &Pass) -> Result<(), Raised> {
    for _ in 0..limit {
        if pass.is_over() {
            break;
        }
        let Some(call) = queue.pop() else { break };
        let Some(func) = call.func else { continue };
        probe::point(Point::PendingRun);
        // SAFETY: the host's function and argument; attached, no lock held.
        let run = || unsafe { func(call.arg) };
        let status = callout::run(Callout::PendingCall, core::ptr::null(), run);
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
