//! Sub-interpreters: creation (S-NI) and finalization (S-EI).
//!
//! LIFE-9: one thread ends an interpreter: it claims the end before it makes or
//! takes the state to end it with, and that state is never abandoned.

use super::RESCAN_NS;
use super::lifecycle::{self, NewInterpError};
use super::rounds::Rounds;
use crate::life::abandoned;
use crate::life::phase;
use crate::life::tstate::{self, NewError, Origin};
use crate::os::clock::Deadline;
use crate::os::thread;
use crate::probe::trace::{self, Event, Mark};
use crate::probe::{self, Point};
use crate::sched::attach;
use crate::sched::current::{current, interp_of};
use crate::sched::stw::{self, Scope};
use crate::state::config::{Compat, GilKind, PyInterpreterConfig};
use crate::state::interp::{Interp, PyTState_PHASE_FINALIZING};
use crate::state::list;
use crate::state::runtime::RUNTIME;
use crate::state::thread::{ThreadStateRef, status};
use crate::sync::lot;
use crate::sync::wait_record::WaitKind;
use crate::sync::waiting::Stay;
use core::ffi::CStr;
use core::sync::atomic::Ordering::Relaxed;

/// Hosts are known to compare it.
const NO_RUNTIME: &CStr = c"Py_Initialize must be called first";

/// Creates an interpreter and its first state and attaches that; the caller's
/// state is left detached. On failure it is attached again (S-NI-02).
pub(crate) fn create(
    config: &PyInterpreterConfig,
    whence: i64,
) -> Result<ThreadStateRef, &'static CStr> {
    if !RUNTIME.is_initialized() {
        return Err(NO_RUNTIME);
    }
    let kind = config.validate().inspect_err(|_| lifecycle::use_up_id())?;
    let before = current();
    if let Some(before) = before {
        let _ = attach::detach(before);
    }
    let created = create_detached(config, kind, whence);
    match (created, before) {
        (Ok(tstate), _) => {
            attach::attach(tstate);
            Ok(tstate)
        }
        (Err(text), Some(before)) => {
            attach::attach(before);
            Err(text)
        }
        (Err(text), None) => Err(text),
    }
}

fn create_detached(
    config: &PyInterpreterConfig,
    kind: GilKind,
    whence: i64,
) -> Result<ThreadStateRef, &'static CStr> {
    let (interp, life) = lifecycle::new(config, kind, whence).map_err(|error| match error {
        NewInterpError::NoMemory => c"no memory for a new interpreter",
        NewInterpError::NoId => c"failed to get an interpreter ID",
        NewInterpError::Refused => c"interp_init refused the interpreter",
        NewInterpError::TooLate => NO_RUNTIME,
    })?;
    tstate::new_bound(interp, Origin::first(life)).map_err(|error| match error {
        NewError::NoMemory => {
            lifecycle::discard(interp, life);
            c"no memory for the first thread state of a new interpreter"
        }
        // Finalization of the runtime claimed the interpreter first.
        NewError::Refused => NO_RUNTIME,
    })
}

/// What happens to states that are left when an interpreter ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum IfThreadsRemain {
    /// The finalization of the interpreter fails (CPython up to 3.13).
    Refuse,
    /// The states are abandoned: the late-attach policy applies to their threads.
    Abandon,
}

impl IfThreadsRemain {
    /// The behaviour of the CPython version whose rules apply.
    pub(crate) fn by_version() -> IfThreadsRemain {
        if RUNTIME.compat() >= Compat::V3_14 {
            IfThreadsRemain::Abandon
        } else {
            IfThreadsRemain::Refuse
        }
    }
}

/// Why an interpreter could not be finalized.
#[derive(Clone, Copy)]
pub(crate) enum EndInterpreterError {
    /// This state is left.
    NotLast(ThreadStateRef),
    /// Another thread is finalizing the interpreter.
    EndedElsewhere,
    /// The calling thread is finalizing the interpreter, and is inside a function of the host.
    EndedHere,
}

/// Ends the interpreter of the attached `tstate`. On return nothing is attached
/// and the interpreter is gone.
pub(crate) fn end(
    tstate: ThreadStateRef,
    policy: IfThreadsRemain,
) -> Result<(), EndInterpreterError> {
    let interp = interp_of(tstate);
    if !claim(interp) {
        let here = interp.ender.load(Relaxed) == thread::ident() as usize;
        return Err(if here {
            EndInterpreterError::EndedHere
        } else {
            EndInterpreterError::EndedElsewhere
        });
    }
    end_claimed(tstate, policy)
}

/// Claims the finalization of `interp` for the calling thread. Returns false if
/// it is claimed already.
#[must_use]
pub(crate) fn claim(interp: Interp) -> bool {
    let claimed = interp.ending.swap(1, Relaxed) == 0;
    if claimed {
        interp.ender.store(thread::ident() as usize, Relaxed);
    }
    claimed
}

/// Does what [`end`] does, on the thread that made the [`claim`].
pub(crate) fn end_claimed(
    tstate: ThreadStateRef,
    policy: IfThreadsRemain,
) -> Result<(), EndInterpreterError> {
    let interp = interp_of(tstate);
    probe::point(Point::InterpEndBegin);
    let mut rounds = Rounds::new(interp, tstate);
    loop {
        rounds.run_until_guards();
        probe::point(Point::InterpEndCheck);
        stw::stop(Scope::One(interp));
        if rounds.try_commit(|_| true) {
            break;
        }
        stw::start(Scope::One(interp));
    }
    let head = RUNTIME.lock();
    // A state that was deleted in this pause is still in the list.
    let is_left = |one: &ThreadStateRef| *one != tstate && !one.has(status::DELETED);
    let other = list::iter(interp, &head).find(is_left);
    if let Some(other) = other.filter(|_| policy == IfThreadsRemain::Refuse) {
        drop(head);
        return Err(EndInterpreterError::NotLast(other));
    }
    let chain = abandoned::remove_others(interp, tstate, &head);
    drop(head);
    stw::start(Scope::One(interp));
    abandoned::wake(interp, chain);
    abandoned::clear_and_keep(chain);
    phase::set(interp, PyTState_PHASE_FINALIZING);
    lifecycle::clear(interp);
    let deleted = lifecycle::delete(interp);
    debug_assert!(deleted.is_ok());
    trace::at(Point::InterpEndDone, Event::At(Mark::InterpreterGone), || interp.id());
    Ok(())
}

/// Leaves the finalization of the attached state's interpreter to the thread
/// that has claimed it, which abandons the state, and waits for that. Nothing is
/// attached then.
pub(crate) fn leave_to_other(tstate: ThreadStateRef) {
    let interp = interp_of(tstate);
    // While the state is attached the interpreter stays.
    let life = interp.incarnation.load(Relaxed);
    // The end must not wait for a thread that waits for it.
    tstate.daemon().store(1, Relaxed);
    let _ = attach::detach(tstate);
    let here = || interp.is_alive() && interp.incarnation.load(Relaxed) == life;
    while here() {
        let _ = lot::park_for(
            WaitKind::InterpreterEnd,
            lifecycle::gone_key(interp),
            here,
            Deadline::after(RESCAN_NS),
            core::ptr::null_mut(),
            &mut Stay,
            lot::nothing,
        );
    }
}
