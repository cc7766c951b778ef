//! During a pause the lists of states in its scope do not change: the thread that
//! stopped the world can walk them, and so can other threads on its behalf.
//!
//! A thread that the pause does not stop may make and delete states meanwhile
//! without waiting. A new state is numbered and kept aside, a deleted one marked
//! and left in the list; both are put right when the pause ends ([`settle`]), and
//! before a requester ends an interpreter in its pause. A thread that would make
//! or delete an interpreter waits ([`try_lock`]).
//!
//! The thread that asked for the pause, or runs with the state that did, may
//! change the lists at once. The lists may also stand still without a pause
//! (`stw::freeze`), for a visitor of all states: then for that thread as well.
//!
//! FROZEN-1: Under the head lock: `joining` and `leaving` are empty unless a pause of
//!    the interpreter's stands.
//! FROZEN-2: A state in `joining` is suspended, chained by `spare`, and in no list.
//! FROZEN-3: A state that leaves is DELETED and in the list or in `joining`.

use crate::os::clock::Deadline;
use crate::os::thread;
use crate::probe::{self, Point};
use crate::sched::blocking::Detach;
use crate::sched::current::{current, interp_of};
use crate::state::eval_breaker::{self, CALLS_TO_DO};
use crate::state::interp::Interp;
use crate::state::list;
use crate::state::runtime::RUNTIME;
use crate::state::stop_scope::StopScope;
use crate::state::thread::{ThreadStateRef, status};
use crate::sync::head::HeadGuard;
use crate::sync::lot;
use crate::sync::wait_record::WaitKind;
use core::sync::atomic::Ordering::{Relaxed, Release};

/// The pause of another thread that `interp` stands in.
fn standing(interp: Interp, head: &HeadGuard<'_>) -> Option<&'static StopScope> {
    standing_one(&RUNTIME.stop, head).or_else(|| standing_one(&interp.block().stop, head))
}

fn standing_one(scope: &'static StopScope, head: &HeadGuard<'_>) -> Option<&'static StopScope> {
    if !scope.is_frozen(head) {
        return None;
    }
    if scope.is_only_frozen(head) {
        return Some(scope);
    }
    if scope.thread.load(Relaxed) == thread::ident() as usize {
        return None;
    }
    let attached = current().map_or(core::ptr::null_mut(), |tstate| tstate.as_raw());
    let own = !attached.is_null() && scope.requester.load(Relaxed) == attached;
    (!own).then_some(scope)
}

/// Puts a new, suspended state into the list of `interp`, now or when the pause
/// that stands is over.
pub(crate) fn join(interp: Interp, tstate: ThreadStateRef, head: &HeadGuard<'_>) {
    list::number(interp, tstate, head);
    if standing(interp, head).is_some() {
        tstate.spare.store(interp.joining.load(Relaxed), Relaxed);
        interp.joining.store(Some(tstate), Relaxed);
    } else {
        list::link(interp, tstate, head);
    }
}

/// Takes `tstate` out of the list of `interp`. False while a pause stands: then
/// the end of the pause does it, and gives the block back.
#[must_use]
pub(crate) fn leave(interp: Interp, tstate: ThreadStateRef, head: &HeadGuard<'_>) -> bool {
    if standing(interp, head).is_none() && !is_joining(interp, tstate) {
        list::unlink(interp, tstate, head);
        return true;
    }
    tstate.set_status(status::DELETED);
    interp.leaving.store(1, Relaxed);
    false
}

/// The requester may delete what another thread made in the pause.
fn is_joining(interp: Interp, tstate: ThreadStateRef) -> bool {
    let mut next = interp.joining.load(Relaxed);
    while let Some(one) = next.filter(|one| *one != tstate) {
        next = one.spare.load(Relaxed);
    }
    next.is_some()
}

/// States that left while a pause stood, out of the list, chained by `spare`.
#[must_use]
#[derive(Clone, Copy)]
pub(crate) struct Departed(Option<ThreadStateRef>);

impl Departed {
    pub(crate) const NONE: Departed = Departed(None);

    /// Whether there are departed states.
    pub(crate) fn is_any(self) -> bool {
        self.0.is_some()
    }

    /// Frees the blocks of the departed states. The caller holds no lock.
    pub(crate) fn give_back(self) {
        let mut next = self.0;
        while let Some(tstate) = next {
            next = tstate.spare.load(Relaxed);
            let interp = interp_of(tstate);
            RUNTIME.drop_state_ref(tstate);
            tell_departure(interp);
        }
    }
}

/// Wakes the threads that wait until states of `interp` are gone.
pub(crate) fn tell_departure(interp: Interp) {
    if interp.departure_waiters.load(Relaxed) == 0 {
        return;
    }
    interp.departures.fetch_add(1, Release);
    lot::unpark_all(core::ptr::from_ref(&interp.departures).cast());
}

/// Puts the list of `interp` right: the caller ends the pause, or is the one
/// that may change the list in it. Adds to `departed`.
pub(crate) fn settle(interp: Interp, departed: Departed, head: &HeadGuard<'_>) -> Departed {
    let mut next = interp.joining.load(Relaxed);
    if next.is_none() && interp.leaving.load(Relaxed) == 0 {
        return departed;
    }
    interp.joining.store(None, Relaxed);
    interp.leaving.store(0, Relaxed);
    next = oldest_first(next);
    while let Some(tstate) = next {
        next = tstate.spare.load(Relaxed);
        list::link(interp, tstate, head);
        if interp.gil.is_none(Relaxed) && interp.pending.len() != 0 {
            eval_breaker::set(tstate, CALLS_TO_DO);
        }
    }
    let mut departed = departed;
    while let Some(tstate) = list::iter(interp, head).find(|tstate| tstate.has(status::DELETED)) {
        list::unlink(interp, tstate, head);
        tstate.spare.store(departed.0, Relaxed);
        departed = Departed(Some(tstate));
    }
    departed
}

fn oldest_first(newest: Option<ThreadStateRef>) -> Option<ThreadStateRef> {
    let mut turned = None;
    let mut next = newest;
    while let Some(tstate) = next {
        next = tstate.spare.load(Relaxed);
        tstate.spare.store(turned, Relaxed);
        turned = Some(tstate);
    }
    turned
}

/// A pause that keeps the caller from changing the list of interpreters.
#[must_use]
#[derive(Clone, Copy)]
pub(crate) struct Held {
    scope: &'static StopScope,
    /// Which pause of the scope.
    pause: u32,
}

impl Held {
    /// Sleeps until the pause is over, detached: the requester may need the
    /// caller's GIL. May not return if the caller is attached, which has given
    /// back what it took before.
    pub(crate) fn wait(self) {
        let Held { scope, pause } = self;
        probe::point(Point::StwHeldBack);
        let _ = lot::park_for(
            WaitKind::PauseEnd,
            key(scope),
            || scope.stands(pause),
            Deadline::NEVER,
            core::ptr::null_mut(),
            &mut Detach::new(),
            lot::nothing,
        );
    }
}

/// The head lock, to make or delete an interpreter, unless a pause stands that
/// is not the caller's: of all, or of the interpreter that is deleted.
pub(crate) fn try_lock(deleted: Option<Interp>) -> Result<HeadGuard<'static>, Held> {
    let head = RUNTIME.lock();
    let scope = match deleted {
        Some(interp) => standing(interp, &head),
        None => standing_one(&RUNTIME.stop, &head),
    };
    let Some(scope) = scope else { return Ok(head) };
    scope.held_back.store(1, Relaxed);
    Err(Held { scope, pause: scope.pause() })
}

/// Takes the head lock as [`try_lock`] does, and waits for the end of the pause if there is one.
pub(crate) fn lock(deleted: Interp) -> HeadGuard<'static> {
    loop {
        match try_lock(Some(deleted)) {
            Ok(head) => return head,
            Err(held) => held.wait(),
        }
    }
}

/// Wakes the threads that the ended pause of `scope` held back. The caller holds no lock.
pub(crate) fn wake(scope: &StopScope) {
    // The waiting threads set the field under the head lock, during the pause.
    if scope.held_back.load(Relaxed) != 0 {
        scope.held_back.store(0, Relaxed);
        lot::unpark_all(key(scope));
    }
}

fn key(scope: &StopScope) -> *const () {
    core::ptr::from_ref(&scope.held_back).cast()
}
