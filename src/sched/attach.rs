//! Attaching and detaching: the two moves on which everything else stands.
//!
//! Attach (S-TS-11): take the GIL, win the state word, publish the current
//! pointer, become gilstate, resume the top critical section. Detach (S-TS-12)
//! is the reverse; the current pointer is NULL before the GIL is free.
//!
//! Atomic read-modify-writes when nothing contends: attach 2 (GIL, word; without
//! a GIL word, reclamation slot), detach 1 (GIL; without one none).
//!
//! Mirrors CPython 3.13 `_PyThreadState_Attach`, `detach_thread` (pystate.c).

use crate::os::{errno, tsan};
use crate::probe::trace::{self, Event, Span};
use crate::probe::{self, Point};
use crate::sched::current::{
    become_gilstate, current, gilstate, interp_of, set_current, take_source_location,
};
use crate::sched::{eval_breaker, gil, handover, late, stw};
use crate::state::gil_word::Gil;
use crate::state::thread::{ThreadStateRef, status};
use crate::state::word::{self, TryAttach};
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

/// Whether the caller may attach `state`; a few loads.
#[inline(always)]
pub(crate) fn check(tstate: ThreadStateRef) -> Result<(), Refusal> {
    const USABLE: u32 = status::INITIALIZED | status::BOUND;
    // Destructors and the hook that Clear runs may detach and attach again.
    const CLEARING: u32 = USABLE | status::FINALIZING;
    if current().is_some() {
        return Err(Refusal::AlreadyAttached);
    }
    let bits = tstate.status.load(Relaxed);
    // A state that finalization gave up goes on to the late-attach policy.
    if bits != USABLE && bits != CLEARING && bits & status::ABANDONED == 0 && !ends_interp(tstate) {
        return Err(Refusal::NotUsable);
    }
    if tstate.thread_id() != crate::os::thread::ident() {
        return Err(Refusal::OtherThread);
    }
    Ok(())
}

/// Whether `state` is the one that ends its interpreter: at-exit functions run
/// with it after it was cleared, and may detach and attach again.
#[cold]
fn ends_interp(tstate: ThreadStateRef) -> bool {
    const GONE: u32 = status::UNBOUND | status::DELETED;
    tstate.status.load(Relaxed) & GONE == 0
        && interp_of(tstate).finalizing.load(Acquire) == tstate.as_raw()
}

#[inline(always)]
fn gil_of(tstate: ThreadStateRef) -> Option<&'static Gil> {
    let gil = tstate.gil.load(Relaxed);
    // SAFETY: GILs live inside interpreter blocks, which are never unmapped (I1).
    unsafe { gil.as_ref() }
}

/// Attaches `state` to the calling thread, which has none attached.
///
/// Does not return when the state's interpreter committed to finalization:
/// the late-attach policy decides what happens then. Keeps errno.
pub(crate) fn attach(tstate: ThreadStateRef) {
    attach_inlined(tstate);
}

/// [`attach`], for the calls where each instruction counts.
#[inline(always)]
pub(crate) fn attach_inlined(tstate: ThreadStateRef) {
    if !try_attach(tstate) {
        late::apply_policy(Some(tstate));
    }
}

/// As [`attach`], but returns false, with nothing attached, when the state's
/// interpreter committed to finalization.
#[must_use]
pub(crate) fn attach_unless_over(tstate: ThreadStateRef) -> bool {
    try_attach(tstate)
}

/// One look at what is on stands for all points of an attach that nothing
/// holds up; who has to wait passes the later ones with its eyes open.
#[inline(always)]
fn try_attach(tstate: ThreadStateRef) -> bool {
    if !probe::sync_point::is_off() {
        return attach_watched(tstate);
    }
    let gil = gil_of(tstate);
    let taken = gil.is_none_or(Gil::try_take);
    if !taken || word::try_attach(tstate.word()) != TryAttach::Attached {
        return attach_contended(tstate, taken);
    }
    publish_attached(tstate, gil);
    true
}

/// An attach that passes every point.
#[cold]
#[inline(never)]
fn attach_watched(tstate: ThreadStateRef) -> bool {
    probe::point(Point::AttachBegin);
    let gil = gil_of(tstate);
    let taken = gil.is_none_or(Gil::try_take);
    if taken {
        probe::point(Point::AttachGilTaken);
    }
    if !taken || word::try_attach(tstate.word()) != TryAttach::Attached {
        return attach_contended(tstate, taken);
    }
    note_attached(tstate, gil);
    publish_attached(tstate, gil);
    trace::at(Point::AttachDone, Event::Begin(Span::Attached), || interp_of(tstate).id());
    true
}

/// Tells ThreadSanitizer of an attach. For paths that are slow anyway, or taken
/// only because something watches.
fn note_attached(tstate: ThreadStateRef, gil: Option<&'static Gil>) {
    if let Some(gil) = gil {
        tsan::acquire(&raw const gil.word);
    }
    tsan::acquire(core::ptr::from_ref(tstate.word()));
}

/// Tells ThreadSanitizer of a detach that comes next.
pub(crate) fn note_detaching(tstate: ThreadStateRef) {
    if let Some(gil) = gil_of(tstate) {
        tsan::release(&raw const gil.word);
    }
    tsan::release(core::ptr::from_ref(tstate.word()));
}

/// The rest of an attach that was held up.
#[cold]
#[inline(never)]
fn attach_contended(tstate: ThreadStateRef, taken: bool) -> bool {
    let gil = gil_of(tstate);
    if !attach_slow(tstate, gil, taken) {
        return false;
    }
    note_attached(tstate, gil);
    publish_attached(tstate, gil);
    trace::at(Point::AttachDone, Event::Begin(Span::Attached), || interp_of(tstate).id());
    true
}

/// The caller has the GIL and the word: it becomes who it is.
#[inline(always)]
fn publish_attached(tstate: ThreadStateRef, gil: Option<&'static Gil>) {
    if let Some(gil) = gil {
        gil::note_taken(gil, tstate);
        tstate.holds_gil().store(1, Relaxed);
    }
    set_current(Some(tstate));
    // A state that this thread attached last is its gilstate, and bound to it.
    if gilstate() != Some(tstate) {
        become_owner(tstate);
    }
    note_change(tstate);
    if tstate.critical_section().load(Relaxed) != 0 || !tstate.qsbr.load(Relaxed).is_null() {
        crate::sched::attach_hooks::attached(tstate);
    }
}

/// The attached state is another one than the last time on this thread.
#[cold]
fn become_owner(tstate: ThreadStateRef) {
    handover::at_attach(tstate);
    become_gilstate(tstate);
}

/// Waits for the GIL and for the end of pauses. False when the interpreter
/// committed to finalization; the GIL is not held then.
#[cold]
fn attach_slow(tstate: ThreadStateRef, gil: Option<&'static Gil>, mut taken: bool) -> bool {
    let saved = errno::get();
    loop {
        if let (Some(gil), false) = (gil, taken) {
            match gil::take_slow(gil, tstate) {
                gil::Taken::Held => probe::point(Point::AttachGilTaken),
                gil::Taken::MustExit => return false,
            }
        }
        let outcome = word::try_attach(tstate.word());
        if outcome == TryAttach::Attached {
            break;
        }
        // Nobody waits for anything else with the GIL in hand.
        if let Some(gil) = gil {
            let _ = gil::release(gil, false);
        }
        taken = gil.is_none();
        match outcome {
            TryAttach::Attached => {}
            TryAttach::Suspended => stw::wait_for_turn(tstate),
            TryAttach::ShuttingDown => return false,
            TryAttach::InUse => crate::sched::fatal::fatal(
                c"attach",
                format_args!(
                    "thread state {:p} is attached already, by another use of it",
                    tstate.as_ptr()
                ),
            ),
        }
    }
    stw::attached(tstate);
    errno::set(saved);
    true
}

/// Detaches `state`, the attached state of the calling thread.
///
/// False when its GIL was not locked: the host let go of it behind our back.
#[must_use]
pub(crate) fn detach(tstate: ThreadStateRef) -> bool {
    detach_inlined(tstate)
}

/// [`detach`], for the calls where each instruction counts.
#[inline(always)]
#[must_use]
pub(crate) fn detach_inlined(tstate: ThreadStateRef) -> bool {
    if !probe::sync_point::is_off() {
        return detach_watched(tstate);
    }
    let gil = gil_of(tstate);
    let forced = publish_detached(tstate);
    gil.is_none_or(|gil| gil::release(gil, forced))
}

/// A detach that passes every point.
#[cold]
#[inline(never)]
fn detach_watched(tstate: ThreadStateRef) -> bool {
    trace::at(Point::DetachBegin, Event::Begin(Span::Detached), || interp_of(tstate).id());
    let gil = gil_of(tstate);
    note_detaching(tstate);
    let forced = publish_detached(tstate);
    let released = gil.is_none_or(|gil| {
        probe::point(Point::GilDrop);
        gil::release(gil, forced)
    });
    probe::point(Point::DetachDone);
    released
}

/// Everything of a detach but the GIL, which the caller releases next. Returns
/// whether somebody asked for it. The state may be gone when this returns.
#[inline(always)]
fn publish_detached(tstate: ThreadStateRef) -> bool {
    if tstate.critical_section().load(Relaxed) != 0 || !tstate.qsbr.load(Relaxed).is_null() {
        crate::sched::attach_hooks::detaching(tstate);
    }
    note_change(tstate);
    set_current(None);
    let asked = tstate.eval_breaker().load(Relaxed);
    tstate.holds_gil().store(0, Relaxed);
    if asked & eval_breaker::PLEASE_STOP == 0 {
        word::detach(tstate.word());
    } else {
        stw::suspend_word_or_detach(tstate);
    }
    asked & eval_breaker::GIL_DROP_REQUEST != 0
}

/// Detaches `state` in the middle of a call that ends with [`reattach_after_call`]:
/// meanwhile nobody may take the state over.
pub(crate) fn detach_for_call(tstate: ThreadStateRef) {
    // Relaxed: the release of the word publishes it.
    tstate.detached_by_call.store(1, Relaxed);
    // A GIL that was not locked is reported by the next attach's owner.
    let _ = detach(tstate);
}

/// Attaches `state` again after [`detach_for_call`].
pub(crate) fn reattach_after_call(tstate: ThreadStateRef) {
    attach(tstate);
    // Relaxed: the release of the word at the next detach publishes it.
    tstate.detached_by_call.store(0, Relaxed);
}

/// Lets go of the GIL and of the current pointer without touching the word:
/// the state is being deleted, or its thread suspends itself.
pub(crate) fn release_for_delete(tstate: ThreadStateRef) -> bool {
    note_detaching(tstate);
    set_current(None);
    tstate.holds_gil().store(0, Relaxed);
    gil_of(tstate).is_none_or(|gil| gil::release(gil, false))
}

/// Takes the GIL for the attached `state`, which let go of it alone.
pub(crate) fn take_gil_only(tstate: ThreadStateRef) {
    let Some(gil) = gil_of(tstate) else { return };
    if !gil.try_take() && gil::take_slow(gil, tstate) == gil::Taken::MustExit {
        late::apply_policy(Some(tstate));
    }
    note_attached(tstate, Some(gil));
    gil::note_taken(gil, tstate);
    tstate.holds_gil().store(1, Relaxed);
}

/// Releases the GIL of the attached `state` alone. False when it was not locked.
pub(crate) fn release_gil_only(tstate: ThreadStateRef) -> bool {
    note_detaching(tstate);
    let held = tstate.holds_gil().swap(0, Relaxed) != 0;
    gil_of(tstate).is_none_or(|gil| held && gil::release(gil, false))
}

/// Records time and place of an attach or detach.
#[inline(always)]
fn note_change(tstate: ThreadStateRef) {
    tstate.stamp();
    let place = take_source_location();
    if !place.is_null() {
        tstate.note_place(place);
    }
}
