//! Pending calls: queued from anywhere, run at a poll (S-PC).
//!
//! Mirrors CPython 3.13 `_PyEval_AddPendingCall`, `make_pending_calls`
//! (ceval_gil.c).

use crate::control::window;
use crate::os::mem;
use crate::probe::{self, Point};
use crate::sched::breaker::{self, CALLS_TO_DO, Raised};
use crate::sched::callout::{self, Callout};
use crate::sched::current::{interp_of, may_handle_signals};
use crate::sched::signals;
use crate::sched::stw::{self, Scope};
use crate::state::interp::Interp;
use crate::state::list;
use crate::state::pending_queue::{Call, Full, MAX_MAIN, PASS_INTERPRETER, PendingQueue, RAW_FREE};
use crate::state::runtime::RUNTIME;
use crate::state::thread_state::Ts;
use crate::sync::rank::Guard;
use core::ffi::c_void;
use core::sync::atomic::Ordering::{AcqRel, Relaxed, SeqCst};
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
            window!("pending.pushed");
            // Pairs with the fence in `breaker::become_main_state`: either this sees
            // the main state, or an initialization that makes one sees the call.
            fence(SeqCst);
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
    ask_somebody(interp, &head);
    drop(head);
}

/// As [`signal_interpreter`], under the head lock.
fn ask_somebody(interp: Interp, head: &Guard<'_>) {
    // Pairs with the fence in `breaker::refresh_calls`.
    fence(SeqCst);
    let gil = interp.gil.load(Relaxed);
    // SAFETY: GILs live inside interpreter blocks, which are never unmapped (I1).
    if let Some(gil) = unsafe { gil.as_ref() } {
        // SAFETY: the deleter of a state empties `holder` under the head lock.
        let holder = unsafe { Ts::from_raw(gil.holder.load(Relaxed).cast()) };
        if let Some(holder) = holder.filter(|one| one.interp_ptr() == interp.as_ptr()) {
            breaker::set(holder, CALLS_TO_DO);
        }
    } else {
        for state in list::iter(interp, head) {
            breaker::set(state, CALLS_TO_DO);
        }
    }
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
    window!("pending.claimed");
    breaker::clear(state, CALLS_TO_DO);
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
        breaker::set(state, CALLS_TO_DO);
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

    /// Whether finalization took the queues over: see [`take_over`].
    fn is_over(&self) -> bool {
        self.interp.pending.passes.load(Relaxed) != self.number
    }
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

/// `state` never runs again, or is being deleted: the calls of its interpreter
/// that are left are the next poll's, whoever polls.
pub(crate) fn stop_handling(interp: Interp, state: Ts, head: &Guard<'_>) {
    let me: *mut c_void = state.as_raw().cast();
    let handling = &interp.pending.handling;
    if handling.load(Relaxed) == me
        && handling.compare_exchange(me, core::ptr::null_mut(), AcqRel, Relaxed).is_ok()
    {
        ask_somebody(interp, head);
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

/// Runs calls until the queues are empty; failures are reported and ignored
/// (S-PC-12). For finalization, which waits neither for a call of another
/// thread nor for the one that it was called from: it takes the queues over.
pub(crate) fn finish(state: Ts) {
    let interp = interp_of(state);
    loop {
        let on_main = may_handle_signals(state);
        let queued = interp.pending.len() != 0 || (on_main && RUNTIME.main_pending.len() != 0);
        if !queued {
            return;
        }
        take_over(interp, state);
        if make_pending_calls(state).is_err() {
            crate::sched::raise::report_and_clear("in a pending call during finalization");
        }
    }
}

/// Ends the pass of another thread of `interp`, or of a call that `state` is
/// in: once that call returns, its pass runs no other.
fn take_over(interp: Interp, state: Ts) {
    let handling = &interp.pending.handling;
    if handling.load(Relaxed).is_null() {
        return;
    }
    // With a GIL no other thread is inside the queue. Without one a thread that
    // stands is not: it takes a call out and runs it without a poll between.
    let stops = state.gil.load(Relaxed).is_null() && !stw::is_requester();
    if stops {
        stw::stop(Scope::One(interp));
    }
    interp.pending.passes.fetch_add(1, Relaxed);
    interp.pending.unclaim();
    if stops {
        stw::start(Scope::One(interp));
    }
}
