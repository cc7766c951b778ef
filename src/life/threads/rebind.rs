//! Handing a thread state from one OS thread to another.
//!
//! Under the head lock the word of a detached state cannot be suspended or
//! resumed, and its old thread can only attach it in the one step that wins the
//! word. So the word is won first, as an attach would, and given back at the
//! end: an attach in between finds the state in use, which is fatal, because
//! two threads then want the same state at the same time.

use crate::os::thread;
use crate::sched::gilstate_slot;
use crate::sched::standing;
use crate::sched::{current, handover};
use crate::state::runtime::RUNTIME;
use crate::state::thread::{ThreadStateRef, status};
use crate::state::word::{self, TryAttach};
use core::sync::atomic::Ordering::{Acquire, Relaxed};
use core::sync::atomic::fence;

/// Why a state was not handed on.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RebindError {
    Attached,
    /// A thread waits for the GIL, or for the end of a pause, with it, is in a
    /// blocking region, or in a call that detached it for a while.
    Awaited,
    /// Cleared, deleted, or left over at finalization.
    NotUsable,
    /// It has no thread yet.
    NotBound,
    /// It is that of a thread that the library started.
    Started,
}

/// Binds the detached `tstate` to the calling thread.
pub(crate) fn rebind(tstate: ThreadStateRef) -> Result<(), RebindError> {
    let head = RUNTIME.lock();
    usable(tstate)?;
    let suspended = match word::try_attach(tstate.word()) {
        TryAttach::Attached => false,
        // A pause is on: no thread attaches the state before the pause ends,
        // which it cannot do under the head lock.
        TryAttach::Suspended => true,
        TryAttach::InUse => return Err(RebindError::Attached),
        TryAttach::ShuttingDown => return Err(RebindError::NotUsable),
    };
    // Acquires what the old thread wrote before it released the word.
    fence(Acquire);
    let awaited = handover::is_in_call(tstate)
        || tstate.gil_requested().load(Relaxed) != 0
        || standing::is_awaited(tstate);
    let own = tstate.thread_id() == thread::ident();
    if !awaited && !own {
        handover::bind_to_caller(tstate, &head);
        if current::gilstate().is_none() {
            gilstate_slot::become_gilstate(tstate);
        }
    }
    if !suspended {
        word::detach(tstate.word());
    }
    drop(head);
    if awaited { Err(RebindError::Awaited) } else { Ok(()) }
}

fn usable(tstate: ThreadStateRef) -> Result<(), RebindError> {
    let bits = tstate.status.load(Relaxed);
    if bits & !(status::INITIALIZED | status::BOUND) != 0 {
        return Err(RebindError::NotUsable);
    }
    if bits & status::BOUND == 0 {
        return Err(RebindError::NotBound);
    }
    if handover::is_started(tstate) {
        return Err(RebindError::Started);
    }
    Ok(())
}
