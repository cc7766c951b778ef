//! Attaching a thread state to the calling thread, and detaching it.
//!
//! Attach (S-TS-11): take the GIL, win the state word, publish the current
//! pointer, become gilstate, resume the top critical section. Detach (S-TS-12)
//! is the reverse; the current pointer is NULL before the GIL is free.
//!
//! Atomic read-modify-writes when nothing contends: attach 2 (GIL, word; without
//! a GIL word, reclamation slot), detach 1 (GIL; without one none).
//!
//! Mirrors CPython 3.13 `_PyThreadState_Attach`, `detach_thread` (pystate.c).

use crate::os::errno;
use crate::sched::current::{current, interp_of, set_current};
pub(crate) use crate::sched::switch::note_detaching;
use crate::sched::switch::{self, Sections, gil_of};
use crate::sched::{gil, late, sections};
use crate::state::thread::{ThreadStateRef, status};
use core::sync::atomic::Ordering::{Acquire, Relaxed};

/// Why a state cannot be attached by the caller.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The calling thread has an attached state already (S-TS-08).
    AlreadyAttached,
    /// The state was cleared or deleted, or never bound.
    NotUsable,
    /// The state is bound to another OS thread.
    OtherThread,
}

/// Whether the caller may attach `tstate`. Costs a few loads.
#[inline(always)]
pub(crate) fn check(tstate: ThreadStateRef) -> Result<(), Refusal> {
    const USABLE: u32 = status::INITIALIZED | status::BOUND;
    // Destructors and the hook that Clear runs may detach and attach again.
    const CLEARING: u32 = USABLE | status::FINALIZING;
    if current().is_some() {
        return Err(Refusal::AlreadyAttached);
    }
    let bits = tstate.status.load(Relaxed);
    // A state that finalization abandoned goes on to the late-attach policy.
    if bits != USABLE && bits != CLEARING && bits & status::ABANDONED == 0 && !ends_interp(tstate) {
        return Err(Refusal::NotUsable);
    }
    if tstate.thread_id() != crate::os::thread::ident() {
        return Err(Refusal::OtherThread);
    }
    Ok(())
}

/// Whether `tstate` is the one that ends its interpreter: at-exit functions run
/// with it after it was cleared, and may detach and attach again.
#[cold]
fn ends_interp(tstate: ThreadStateRef) -> bool {
    const GONE: u32 = status::UNBOUND | status::DELETED;
    tstate.status.load(Relaxed) & GONE == 0
        && interp_of(tstate).finalizing.load(Acquire) == tstate.as_raw()
}

/// Attaches `tstate` to the calling thread, which has none attached.
///
/// Does not return when the state's interpreter committed to finalization:
/// the late-attach policy decides what happens then. Keeps errno.
pub(crate) fn attach(tstate: ThreadStateRef) {
    attach_inlined(tstate);
}

/// [`attach`], for the calls where each instruction counts.
#[inline(always)]
pub(crate) fn attach_inlined(tstate: ThreadStateRef) {
    switch::attach::<Unlocked>(tstate);
}

/// Attaches `tstate` to the calling thread. Returns false, with no state attached,
/// if the state's interpreter committed to finalization.
#[must_use]
pub(crate) fn attach_unless_over(tstate: ThreadStateRef) -> bool {
    switch::try_attach::<Unlocked>(tstate)
}

/// Unlocks the critical sections of a state that is detached, and locks the top
/// one again when it is attached.
struct Unlocked;

impl Sections for Unlocked {
    #[inline(always)]
    fn attached(tstate: ThreadStateRef) {
        if tstate.critical_section().load(Relaxed) != 0 {
            resume_sections(tstate);
        }
    }

    #[inline(always)]
    fn detaching(tstate: ThreadStateRef) {
        if tstate.critical_section().load(Relaxed) != 0 {
            sections::suspend_all(tstate);
        }
    }
}

#[cold]
fn resume_sections(tstate: ThreadStateRef) {
    let saved = errno::get();
    sections::resume(tstate);
    errno::set(saved);
}

/// Unlocks the sections of `tstate` and takes it out of reclamation: its thread
/// is about to detach or to delete it.
#[inline(always)]
pub(crate) fn detaching(tstate: ThreadStateRef) {
    switch::detaching::<Unlocked>(tstate);
}

/// Detaches `tstate`, the attached state of the calling thread.
///
/// Returns false if its GIL was not locked: the host released it behind our back.
#[must_use]
pub(crate) fn detach(tstate: ThreadStateRef) -> bool {
    detach_inlined(tstate)
}

/// [`detach`], for the calls where each instruction counts.
#[inline(always)]
#[must_use]
pub(crate) fn detach_inlined(tstate: ThreadStateRef) -> bool {
    switch::detach::<Unlocked>(tstate)
}

/// Detaches `tstate` in the middle of a call that ends with [`reattach_after_call`]:
/// meanwhile no thread may take the state over.
pub(crate) fn detach_for_call(tstate: ThreadStateRef) {
    switch::detach_for_call::<Unlocked>(tstate);
}

/// Attaches `tstate` again after [`detach_for_call`].
pub(crate) fn reattach_after_call(tstate: ThreadStateRef) {
    switch::reattach_after_call::<Unlocked>(tstate);
}

/// Releases the GIL and clears the current pointer without touching the word:
/// the state is being deleted, or its thread suspends itself.
pub(crate) fn release_for_delete(tstate: ThreadStateRef) -> bool {
    note_detaching(tstate);
    set_current(None);
    tstate.holds_gil().store(0, Relaxed);
    gil_of(tstate).is_none_or(|gil| gil::release(gil, false))
}

/// Takes the GIL for the attached `tstate`, which released the GIL and kept its word.
pub(crate) fn take_gil_only(tstate: ThreadStateRef) {
    let Some(gil) = gil_of(tstate) else { return };
    if !gil.try_take() && gil::take_slow(gil, tstate) == gil::Taken::MustExit {
        late::apply_policy(Some(tstate));
    }
    switch::note_attached(tstate, Some(gil));
    gil::note_taken(gil, tstate);
    tstate.holds_gil().store(1, Relaxed);
}

/// Releases the GIL of the attached `tstate` and keeps its word. Returns false if the
/// GIL was not locked.
pub(crate) fn release_gil_only(tstate: ThreadStateRef) -> bool {
    note_detaching(tstate);
    let held = tstate.holds_gil().swap(0, Relaxed) != 0;
    gil_of(tstate).is_none_or(|gil| held && gil::release(gil, false))
}
