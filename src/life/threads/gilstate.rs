//! PyGILState: a state for whatever thread asks (S-GS).

use super::keep;
use crate::life::environment;
use crate::life::tstate::{self, NewError, Origin};
use crate::probe::{self, Point};
use crate::sched::callout::{self, Callout, Ends};
use crate::sched::current::{current, gilstate};
use crate::sched::{attach, late};
use crate::state::config::Compat;
use crate::state::runtime::RUNTIME;
use crate::state::thread::{ThreadStateRef, Whence, status};
use core::sync::atomic::Ordering::Relaxed;

/// The state of the thread before Ensure (CPython's PyGILState_STATE).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ensured {
    /// The thread was attached already.
    Locked,
    /// The thread was detached or had no state.
    Unlocked,
}

/// Why Ensure failed.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EnsureError {
    /// No memory for a state: fatal in CPython (S-GS-06).
    NoMemory,
    /// The runtime was never initialized (up to 3.13).
    NeverInitialized,
}

/// Attaches the thread's gilstate, making one in the main interpreter if the
/// thread has none. Does not return if the runtime is gone (late attach).
pub(crate) fn ensure() -> Result<Ensured, EnsureError> {
    probe::point(Point::GilstateEnsureBegin);
    let outcome = match gilstate() {
        Some(tstate) if current() == Some(tstate) => {
            count(tstate, 1);
            Ensured::Locked
        }
        Some(tstate) => {
            attach::attach(tstate);
            count(tstate, 1);
            Ensured::Unlocked
        }
        None => {
            make_state()?;
            Ensured::Unlocked
        }
    };
    probe::point(Point::GilstateEnsureDone);
    Ok(outcome)
}

/// Whether the check of the thread's gilstate says yes to every thread: after a
/// sub-interpreter was made, and up to 3.14 while there is no runtime.
pub(crate) fn is_unchecked() -> bool {
    if RUNTIME.gilstate_check.load(Relaxed) == 0 {
        return true;
    }
    RUNTIME.main_interp().is_none() && rules() < Compat::V3_15
}

/// The version whose rules apply, also while there is no runtime.
fn rules() -> Compat {
    if RUNTIME.generation.load(Relaxed) == 0 {
        environment::compat_before_first()
    } else {
        RUNTIME.compat()
    }
}

fn make_state() -> Result<(), EnsureError> {
    let Some(main) = RUNTIME.main_interp() else {
        // From 3.14 on a runtime that was never there is as one that is gone (S-GS-17).
        let never = RUNTIME.generation.load(Relaxed) == 0;
        if never && environment::compat_before_first() < Compat::V3_14 {
            return Err(EnsureError::NeverInitialized);
        }
        late::apply_policy(None);
    };
    match tstate::new_bound(main, Origin::C_API) {
        Ok(tstate) => {
            tstate.gilstate_counter().store(0, Relaxed);
            attach::attach(tstate);
            count(tstate, 1);
            Ok(())
        }
        Err(NewError::NoMemory) => Err(EnsureError::NoMemory),
        Err(NewError::Refused) => late::apply_policy(None),
    }
}

fn count(tstate: ThreadStateRef, by: i32) -> i32 {
    let counter = tstate.gilstate_counter();
    let value = counter.load(Relaxed) + by;
    counter.store(value, Relaxed);
    value
}

/// Why Release failed: all fatal (S-GS-08, S-GS-09).
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReleaseError {
    /// The thread has no gilstate.
    NoState,
    /// Its gilstate is not the attached one.
    NotCurrent(*mut crate::state::public::PyThreadState),
    /// More releases than ensures.
    Unbalanced,
    /// It would delete the state that a function of the host was called with.
    Needed(Callout),
}

/// Whether the last Release may delete `tstate`: PyGILState_Ensure made it, and
/// it is not being deleted already, with destructors running.
fn may_reach_zero(tstate: ThreadStateRef) -> bool {
    tstate.whence().load(Relaxed) == Whence::CApi as i32
        && tstate.ensure_deletes.load(Relaxed) == 0
        && !tstate.has(status::FINALIZING)
}

/// Whether a release that leaves `left` Ensure calls open is the outermost use
/// of `tstate`. A state that was kept may be attached by PyThreadState_Ensure
/// with no PyGILState_Ensure open, or have been made by the former.
fn is_last(tstate: ThreadStateRef, left: i32, token: Ensured) -> bool {
    let unused = left == 0 || (token == Ensured::Unlocked && keep::is_idle(tstate));
    unused && tstate.ensure_counter.load(Relaxed) == 0
}

/// Reverses one Ensure.
pub(crate) fn release(token: Ensured) -> Result<(), ReleaseError> {
    probe::point(Point::GilstateReleaseBegin);
    let tstate = gilstate().ok_or(ReleaseError::NoState)?;
    if current() != Some(tstate) {
        return Err(ReleaseError::NotCurrent(tstate.as_ptr()));
    }
    match count(tstate, -1) {
        left if left < 0 => return Err(ReleaseError::Unbalanced),
        0 if !may_reach_zero(tstate) => return Err(ReleaseError::Unbalanced),
        // Only the outermost call may delete the state, or keep it detached.
        left if is_last(tstate, left, token) && !keep::keeps(tstate) => {
            if let Some(callout) = callout::forbids(Ends::State(tstate)) {
                return Err(ReleaseError::Needed(callout));
            }
            // Destructors may nest Ensure and Release (S-GS-10).
            count(tstate, 1);
            let _ = tstate::clear(tstate);
            count(tstate, -1);
            tstate::delete_current(tstate);
        }
        _ if token == Ensured::Unlocked => {
            let _ = attach::detach(tstate);
        }
        // The matching Ensure found the state attached.
        _ => {}
    }
    probe::point(Point::GilstateReleaseDone);
    Ok(())
}
