//! Running a function on the thread of another state, or beside it
//! (`PyTState_RunOnThread`).
//!
//! A call is queued with the state (`state::thread_calls`), and its thread runs it
//! at its next poll. A *handshake* does not wait for that: the caller runs the
//! function while the state, which is detached, is suspended. It takes its turn
//! among the pauses as a visit does (`stw::freeze`), so that no pause resumes the
//! state meanwhile, and none waits for it: HotSpot's handshakes are the model.

use crate::os::clock::Deadline;
use crate::os::{thread, tsan};
use crate::sched::blocking::Detach;
use crate::sched::callout::{self, Callout};
use crate::sched::current::current;
use crate::sched::standing;
use crate::sched::stw::{self, Scope};
use crate::state::error_kind::Raised;
use crate::state::eval_breaker::{self, THREAD_CALLS};
use crate::state::interp::Interp;
use crate::state::runtime::RUNTIME;
use crate::state::thread::{ThreadStateRef, status};
use crate::state::thread_calls::{self, DROPPED, RAN, ThreadCall, ThreadFn};
use crate::state::word;
use crate::sync::owed;
use crate::sync::waiting::{Stay, Waiting};
use core::ffi::c_void;
use core::sync::atomic::Ordering::{Acquire, Relaxed};

/// How long a waiter sleeps before it looks whether the state is detached.
const LOOK_NS: i64 = 1_000_000;

/// Calls that one poll runs at most.
const PER_POLL: u32 = 100;

/// How a call is to be made.
#[derive(Clone, Copy)]
pub(crate) struct How {
    /// Until it was run.
    pub(crate) wait: bool,
    /// By the caller, if the state is detached.
    pub(crate) handshake: bool,
}

/// What became of a call.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was run on its thread, or waits for it.
    Done,
    /// The caller ran it; whether it failed.
    RanHere {
        failed: bool,
    },
    /// The state went first.
    Gone,
    NoMemory,
    /// The caller would wait for itself.
    Deadlock,
}

/// Runs `func(arg)` on the thread of `target`, or queues it.
pub(crate) fn run(target: ThreadStateRef, func: ThreadFn, arg: *mut c_void, how: How) -> Outcome {
    if (how.wait || how.handshake) && current() == Some(target) {
        return ran(call_here(Callout::ThreadCall, target, func, arg));
    }
    if how.handshake {
        match handshake(target, || true) {
            Shaken::No => {}
            Shaken::Gone => return Outcome::Gone,
            Shaken::Held(held) => return ran(held.run(func, arg)),
        }
    }
    if how.wait && waits_for_itself(target) {
        return if thread_calls::is_gone(target) { Outcome::Gone } else { Outcome::Deadlock };
    }
    let Some(call) = ThreadCall::new(func, arg, how.wait) else { return Outcome::NoMemory };
    let head = RUNTIME.lock();
    let queued = thread_calls::push(target, call, &head);
    drop(head);
    if !queued {
        call.settle(DROPPED);
        if how.wait {
            call.release();
        }
        return Outcome::Gone;
    }
    if !how.wait {
        return Outcome::Done;
    }
    let outcome = owed::or_give_back(|| call.release(), || wait(target, call, how, func, arg));
    call.release();
    outcome
}

fn ran(result: Result<(), Raised>) -> Outcome {
    Outcome::RanHere { failed: result.is_err() }
}

/// Whether the thread of `target` is the caller's, or is stopped by the caller.
fn waits_for_itself(target: ThreadStateRef) -> bool {
    let own = target.has(status::BOUND) && target.thread_id() == thread::ident();
    own || (is_own_scope(target) && target.word().load(Relaxed) == word::SUSPENDED)
}

/// Whether the calling thread holds a pause or a visit that covers `target`.
fn is_own_scope(target: ThreadStateRef) -> bool {
    Interp::of(target).is_some_and(|interp| stw::is_requester_of(Scope::One(interp)))
}

/// Waits for `call`, detached; makes it itself when the state is found detached,
/// if that was asked for.
fn wait(
    target: ThreadStateRef,
    call: ThreadCall,
    how: How,
    func: ThreadFn,
    arg: *mut c_void,
) -> Outcome {
    loop {
        let settled = sleep(target, call, how);
        if settled {
            return if call.outcome() == RAN { Outcome::Done } else { Outcome::Gone };
        }
        // A call that is still in the queue keeps the block the state's (TC-1).
        let still = || {
            let head = RUNTIME.lock();
            let taken = thread_calls::take(target, call, &head);
            drop(head);
            taken
        };
        if let Shaken::Held(held) = handshake(target, still) {
            let give_back = || call.settle(DROPPED);
            let result = owed::or_give_back(give_back, || held.run(func, arg));
            call.settle(RAN);
            return ran(result);
        }
    }
}

/// Sleeps until `call` is settled: true; or until its state may be detached.
fn sleep(target: ThreadStateRef, call: ThreadCall, how: How) -> bool {
    let mut around = Detach::new();
    if call.done.is_set() {
        return true;
    }
    around.before_sleep();
    let settled = loop {
        let deadline = if how.handshake { Deadline::after(LOOK_NS) } else { Deadline::NEVER };
        if call.done.wait(deadline, &mut Stay) {
            break true;
        }
        if is_quiet(target) {
            break false;
        }
    };
    around.after_sleep();
    settled
}

/// Whether `target` is detached and its thread is not about to attach it.
fn is_quiet(target: ThreadStateRef) -> bool {
    target.word().load(Acquire) == word::DETACHED && !standing::is_awaited(target)
}

/// Outcome of [`handshake`].
enum Shaken {
    /// The state cannot be held: its thread runs, or is about to.
    No,
    /// The state is going.
    Gone,
    Held(Held),
}

/// A state that its thread cannot attach, until this is run.
struct Held {
    target: ThreadStateRef,
    /// The lists stand still for it, and the pause of all is its own.
    frozen: bool,
}

/// Keeps the detached `target` from being attached, if `wanted` says so then.
fn handshake(target: ThreadStateRef, wanted: impl FnOnce() -> bool) -> Shaken {
    if thread_calls::is_gone(target) {
        return Shaken::Gone;
    }
    let frozen = !is_own_scope(target);
    if frozen {
        if stw::is_requester() || !is_quiet(target) {
            return Shaken::No;
        }
        stw::freeze(Scope::All);
    }
    let result = hold(target, frozen, wanted);
    if frozen && !matches!(result, Shaken::Held(_)) {
        stw::start(Scope::All);
    }
    result
}

/// The part of [`handshake`] for which no state comes or goes.
fn hold(target: ThreadStateRef, frozen: bool, wanted: impl FnOnce() -> bool) -> Shaken {
    let head = RUNTIME.lock();
    let gone = thread_calls::is_gone(target);
    // In the caller's own pause it stands already; the end resumes both.
    let is_held = !gone
        && (is_quiet(target) && word::suspend(target.word())
            || !frozen && target.word().load(Acquire) == word::SUSPENDED);
    drop(head);
    if gone {
        return Shaken::Gone;
    }
    tsan::acquire(core::ptr::from_ref(target.word()));
    // What is suspended in vain is resumed by the end of the turn.
    if is_held && wanted() { Shaken::Held(Held { target, frozen }) } else { Shaken::No }
}

impl Held {
    /// Runs the function, then lets the state go.
    fn run(self, func: ThreadFn, arg: *mut c_void) -> Result<(), Raised> {
        let Held { target, frozen } = self;
        let work = || call_here(Callout::Handshake, target, func, arg);
        if !frozen {
            return work();
        }
        let result = owed::or_give_back(|| stw::start(Scope::All), work);
        stw::start(Scope::All);
        result
    }
}

/// Calls the function of the host on the calling thread. No lock is held.
fn call_here(
    callout: Callout,
    target: ThreadStateRef,
    func: ThreadFn,
    arg: *mut c_void,
) -> Result<(), Raised> {
    // SAFETY: the host's function and argument; no lock is held.
    let run = || unsafe { func(arg) };
    if callout::run(callout, target.as_ptr().cast(), run) == 0 { Ok(()) } else { Err(Raised) }
}

/// Runs the calls that wait for the attached `tstate`, oldest first; stops at the
/// first that fails.
pub(crate) fn run_queued(tstate: ThreadStateRef) -> Result<(), Raised> {
    eval_breaker::clear(tstate, THREAD_CALLS);
    let mut result = Ok(());
    for _ in 0..PER_POLL {
        let head = RUNTIME.lock();
        let call = thread_calls::pop(tstate, &head);
        drop(head);
        let Some(call) = call else { break };
        let (Some(func), arg) = call.function() else {
            call.settle(DROPPED);
            continue;
        };
        let work = || call_here(Callout::ThreadCall, tstate, func, arg);
        result = owed::or_give_back(|| call.settle(DROPPED), work);
        call.settle(RAN);
        if result.is_err() {
            break;
        }
    }
    if thread_calls::is_any(tstate) {
        eval_breaker::set(tstate, THREAD_CALLS);
    }
    result
}
