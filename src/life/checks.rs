//! What a call may do with a thread state: clear it, delete it, attach it.

use crate::life::tstate;
use crate::sched::attach::{self, Refusal};
use crate::sched::callout::{self, Callout, Ends};
use crate::state::thread::{ThreadStateRef, status};
use crate::state::word;
use core::sync::atomic::Ordering::Relaxed;

/// Why a state must not be cleared.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClearRefusal {
    /// A function of the host that the library has called still needs it.
    Needed(Callout),
    AttachedElsewhere,
    /// It belongs to another interpreter than the caller's state.
    OtherInterpreter,
}

/// Checks that `caller`, the attached state, may clear `tstate`.
pub(crate) fn clear(tstate: ThreadStateRef, caller: ThreadStateRef) -> Result<(), ClearRefusal> {
    if let Some(callout) = callout::forbids(Ends::State(tstate)) {
        return Err(ClearRefusal::Needed(callout));
    }
    if tstate != caller && tstate.word().load(Relaxed) == word::ATTACHED {
        return Err(ClearRefusal::AttachedElsewhere);
    }
    if tstate.interp_ptr() != caller.interp_ptr() {
        return Err(ClearRefusal::OtherInterpreter);
    }
    Ok(())
}

/// Why a state must not be deleted.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeleteRefusal {
    Deleted,
    Abandoned,
    /// A function of the host that the library has called still needs it.
    Needed(Callout),
    BeingCleared,
    NotCleared,
}

/// Checks what every deletion demands (S-DL-04).
pub(crate) fn delete(tstate: ThreadStateRef) -> Result<(), DeleteRefusal> {
    if tstate.has(status::DELETED) {
        return Err(DeleteRefusal::Deleted);
    }
    if tstate.has(status::ABANDONED) {
        return Err(DeleteRefusal::Abandoned);
    }
    if let Some(callout) = callout::forbids(Ends::State(tstate)) {
        return Err(DeleteRefusal::Needed(callout));
    }
    if tstate.has(status::CLEARED) {
        return Ok(());
    }
    let clearing = tstate.has(status::FINALIZING);
    Err(if clearing { DeleteRefusal::BeingCleared } else { DeleteRefusal::NotCleared })
}

/// Checks that the calling thread may attach `tstate`, and binds a state that has
/// no thread yet: it was made for the thread that uses it first
/// (_PyThreadState_Prealloc).
#[inline(always)]
pub(crate) fn attach(tstate: ThreadStateRef) -> Result<(), Refusal> {
    match attach::check(tstate) {
        Err(Refusal::NotUsable) => bind_unbound(tstate),
        checked => checked,
    }
}

#[cold]
fn bind_unbound(tstate: ThreadStateRef) -> Result<(), Refusal> {
    if tstate.has(status::DELETED) || tstate.has(status::FINALIZING) {
        return Err(Refusal::NotUsable);
    }
    let fresh = tstate::bind(tstate);
    debug_assert!(fresh);
    Ok(())
}
