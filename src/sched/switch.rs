//! Attaching and detaching, whatever becomes of critical sections meanwhile:
//! `sched::attach` unlocks them, a wait for the mutex of one leaves them alone.
//!
//! Mirrors CPython 3.13 `_PyThreadState_Attach`, `detach_thread` (pystate.c).

use crate::os::{errno, tsan};
use crate::probe::trace::{self, Event, Span};
use crate::probe::{self, Point};
use crate::sched::current::{gilstate, interp_of, set_current, take_source_location};
use crate::sched::fatal::fatal;
use crate::sched::gilstate_slot::become_gilstate;
use crate::sched::{gil, handover, late, qsbr, standing, state_hooks};
use crate::state::eval_breaker;
use crate::state::gil_word::Gil;
use crate::state::hooks::Told;
use crate::state::thread::ThreadStateRef;
use crate::state::word::{self, TryAttach};
use core::sync::atomic::Ordering::Relaxed;

/// What a switch does with the critical sections of the state.
pub(crate) trait Sections {
    /// Called after the attach of a state that has sections. Keeps errno.
    fn attached(tstate: ThreadStateRef);

    /// Called before the detach of a state that has sections.
    fn detaching(tstate: ThreadStateRef);
}

#[inline(always)]
pub(crate) fn gil_of(tstate: ThreadStateRef) -> Option<&'static Gil> {
    tstate.gil.load(Relaxed)
}

/// Whether a switch concerns critical sections or reclamation.
#[inline(always)]
fn is_seen_at_switches(tstate: ThreadStateRef) -> bool {
    tstate.critical_section().load(Relaxed) != 0 || !tstate.qsbr.is_none(Relaxed)
}

/// Unlocks the sections of a state that is about to be detached and takes it
/// out of reclamation.
#[inline(always)]
pub(crate) fn detaching<S: Sections>(tstate: ThreadStateRef) {
    if is_seen_at_switches(tstate) {
        S::detaching(tstate);
        qsbr::offline(tstate);
    }
}

/// Attaches `tstate`; the late-attach policy applies if it may not be attached.
#[inline(always)]
pub(crate) fn attach<S: Sections>(tstate: ThreadStateRef) {
    if !try_attach::<S>(tstate) {
        late::apply_policy(Some(tstate));
    }
}

/// Checks once whether any sync point is armed. The uncontended path then skips
/// the points; the contended path checks each of them again.
#[inline(always)]
#[must_use]
pub(crate) fn try_attach<S: Sections>(tstate: ThreadStateRef) -> bool {
    if !probe::sync_point::is_off() {
        return attach_watched::<S>(tstate);
    }
    let gil = gil_of(tstate);
    let taken = gil.is_none_or(Gil::try_take);
    if !taken || word::try_attach(tstate.word()) != TryAttach::Attached {
        return attach_contended::<S>(tstate, taken);
    }
    publish_attached::<S>(tstate, gil);
    true
}

/// Attaches as the fast path does, and passes every sync point on the way.
#[cold]
#[inline(never)]
fn attach_watched<S: Sections>(tstate: ThreadStateRef) -> bool {
    probe::point(Point::AttachBegin);
    let gil = gil_of(tstate);
    let taken = gil.is_none_or(Gil::try_take);
    if taken {
        probe::point(Point::AttachGilTaken);
    }
    if !taken || word::try_attach(tstate.word()) != TryAttach::Attached {
        return attach_contended::<S>(tstate, taken);
    }
    note_attached(tstate, gil);
    publish_attached::<S>(tstate, gil);
    trace::at(Point::AttachDone, Event::Begin(Span::Attached), || interp_of(tstate).id());
    state_hooks::tell(Told::Attach, tstate);
    true
}

/// Tells ThreadSanitizer of an attach. Used on paths that are slow anyway, or taken
/// only because the trace or a sync point is on.
pub(crate) fn note_attached(tstate: ThreadStateRef, gil: Option<&'static Gil>) {
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

/// Finishes an attach that had to wait.
#[cold]
#[inline(never)]
fn attach_contended<S: Sections>(tstate: ThreadStateRef, taken: bool) -> bool {
    let gil = gil_of(tstate);
    if !attach_slow(tstate, gil, taken) {
        return false;
    }
    note_attached(tstate, gil);
    publish_attached::<S>(tstate, gil);
    trace::at(Point::AttachDone, Event::Begin(Span::Attached), || interp_of(tstate).id());
    state_hooks::tell(Told::Attach, tstate);
    true
}

/// Publishes the state as current, once the caller holds the GIL and the
/// ATTACHED word.
#[inline(always)]
fn publish_attached<S: Sections>(tstate: ThreadStateRef, gil: Option<&'static Gil>) {
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
    if is_seen_at_switches(tstate) {
        qsbr::online(tstate);
        S::attached(tstate);
    }
}

/// Handles the attach of another state than the one that this thread attached last.
#[cold]
fn become_owner(tstate: ThreadStateRef) {
    handover::at_attach(tstate);
    become_gilstate(tstate);
}

/// Waits for the GIL and for the end of pauses. Returns false if the
/// interpreter committed to finalization; the GIL is not held then.
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
        // A thread waits for nothing else while it holds the GIL.
        if let Some(gil) = gil {
            let _ = gil::release(gil, false);
        }
        taken = gil.is_none();
        match outcome {
            TryAttach::Attached => {}
            TryAttach::Suspended => standing::wait_for_turn(tstate),
            TryAttach::ShuttingDown => return false,
            TryAttach::InUse => fatal(
                c"attach",
                format_args!(
                    "thread state {:p} is attached already, by another use of it",
                    tstate.as_ptr()
                ),
            ),
        }
    }
    standing::attached(tstate);
    errno::set(saved);
    true
}

/// Detaches `tstate`, the attached state of the calling thread. Returns false if its
/// GIL was not locked.
#[inline(always)]
#[must_use]
pub(crate) fn detach<S: Sections>(tstate: ThreadStateRef) -> bool {
    if !probe::sync_point::is_off() {
        return detach_watched::<S>(tstate);
    }
    let gil = gil_of(tstate);
    let forced = publish_detached::<S>(tstate);
    gil.is_none_or(|gil| gil::release(gil, forced))
}

/// Detaches as the fast path does, and passes every sync point on the way.
#[cold]
#[inline(never)]
fn detach_watched<S: Sections>(tstate: ThreadStateRef) -> bool {
    state_hooks::tell(Told::Detach, tstate);
    trace::at(Point::DetachBegin, Event::Begin(Span::Detached), || interp_of(tstate).id());
    let gil = gil_of(tstate);
    note_detaching(tstate);
    let forced = publish_detached::<S>(tstate);
    let released = gil.is_none_or(|gil| {
        probe::point(Point::GilDrop);
        gil::release(gil, forced)
    });
    probe::point(Point::DetachDone);
    released
}

/// Does all of a detach except for the GIL, which the caller releases next. Returns
/// whether a thread asked for the GIL. The state may be gone when this returns.
#[inline(always)]
fn publish_detached<S: Sections>(tstate: ThreadStateRef) -> bool {
    detaching::<S>(tstate);
    note_change(tstate);
    set_current(None);
    let asked = tstate.eval_breaker().load(Relaxed);
    tstate.holds_gil().store(0, Relaxed);
    if asked & eval_breaker::PLEASE_STOP == 0 {
        word::detach(tstate.word());
    } else {
        standing::suspend_word_or_detach(tstate);
    }
    asked & eval_breaker::GIL_DROP_REQUEST != 0
}

/// Detaches `tstate` in the middle of a call that ends with [`reattach_after_call`]:
/// meanwhile no thread may take the state over.
pub(crate) fn detach_for_call<S: Sections>(tstate: ThreadStateRef) {
    // Relaxed: the release of the word publishes it.
    tstate.detached_by_call.store(1, Relaxed);
    // Ignores false (the GIL was not locked): the GIL is free, as it has to be.
    let _ = detach::<S>(tstate);
}

/// Attaches `tstate` again after [`detach_for_call`].
pub(crate) fn reattach_after_call<S: Sections>(tstate: ThreadStateRef) {
    attach::<S>(tstate);
    // Relaxed: the release of the word at the next detach publishes it.
    tstate.detached_by_call.store(0, Relaxed);
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
