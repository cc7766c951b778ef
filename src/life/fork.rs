//! Forking (S-FK). See docs/fork.md for what survives.
//!
//! Held across fork(): the pause of all worlds, then the head lock. The child
//! resets, in this order: the parking lot, every lock of [`reset_locks`], the
//! GILs, thread handles, thread states, interpreters.
//!
//! Mirrors CPython 3.13 `PyOS_BeforeFork`, `PyOS_AfterFork_Child`
//! (posixmodule.c), with the main state updated as well (S-FK-12).

use crate::life::{finalize, guards, init, interp, tstate};
use crate::os::{futex, thread};
use crate::probe::trace::{self, Event, Mark};
use crate::probe::{self, Point};
use crate::sched::current::{self, current, interp_of, traced_interp};
use crate::sched::stw::{self, Scope};
use crate::sched::{breaker, raise, region, signals};
use crate::state::error;
use crate::state::gil_word::{Gil, LOCKED};
use crate::state::handle::{DONE, Dropped, Handle};
use crate::state::interp::Interp;
use crate::state::list;
use crate::state::runtime::RUNTIME;
use crate::state::thread_state::{Ts, status};
use crate::state::word;
use crate::sync::lot;
use crate::sync::rank::Rank;
use core::sync::atomic::Ordering::{Relaxed, Release};

/// Before fork(): stops every world and takes the head lock. Attached caller.
pub(crate) fn before() {
    probe::point(Point::ForkBefore);
    stw::stop(Scope::All);
    RUNTIME.lock().keep();
}

/// After fork() in the parent, whether it succeeded or not.
pub(crate) fn after_in_parent() {
    let held = RUNTIME.head.force_unlock();
    debug_assert!(held, "PyOS_AfterFork_Parent without PyOS_BeforeFork");
    stw::start(Scope::All);
    trace::at(Point::ForkParent, Event::At(Mark::Fork), traced_interp);
}

/// After fork() in the child. The calling thread is the only one, attached.
///
/// # Safety
/// This is a fork child, and nothing else of the library was called in it.
pub(crate) unsafe fn after_in_child(state: Ts) {
    // SAFETY: the caller's contract.
    unsafe { reset_locks() };
    thread::forget_native_id();
    if let Some(own) = current::own_handle() {
        own.native.store(thread::native_id() as usize, Relaxed);
    }
    RUNTIME.main_thread.store(thread::ident() as usize, Relaxed);
    state.record_thread();
    region::reset_in_child(state);
    reset_gils(state);
    finish_handles();
    let mine = interp_of(state);
    keep_only(mine, state);
    mine.first_state.store(state.as_raw(), Relaxed);
    RUNTIME.main_state.store(state.as_raw(), Release);
    guards::drop_vanished(thread::ident());
    finalize::reset_in_child();
    signals::forget();
    end_other_interps(mine);
    probe::point(Point::ForkChild);
}

/// Every lock of the library, by rank; the lot first.
///
/// The `match` makes a rank without an entry a compile error.
unsafe fn reset_locks() {
    // SAFETY: this function's contract: the only thread of the process.
    unsafe { futex::reset_in_child() };
    // SAFETY: as above.
    unsafe { lot::reset_in_child() };
    for rank in Rank::ALL {
        match rank {
            Rank::Head => {
                // SAFETY: as above; the guard was kept, so none is alive.
                unsafe { RUNTIME.head.reset_in_child() };
            }
            Rank::Probe => {
                // SAFETY: as above.
                unsafe { probe::reset_in_child() };
            }
            // Buckets belong to the lot, which was reset first.
            Rank::Bucket => {}
        }
    }
    // SAFETY: as above.
    unsafe { init::INIT.reset_in_child() };
    RUNTIME.stop_gate.reset_in_child();
    RUNTIME.stop.reset_in_child();
    let head = RUNTIME.lock();
    for interp in RUNTIME.interps(&head) {
        interp.stop.reset_in_child();
    }
    drop(head);
}

/// Frees every GIL but the survivor's, which it holds alone.
fn reset_gils(state: Ts) {
    let head = RUNTIME.lock();
    let mine = state.gil.load(Relaxed);
    for interp in RUNTIME.interps(&head) {
        let gil: &Gil = &interp.own_gil;
        let held = core::ptr::eq(gil, mine);
        gil.word.store(if held { LOCKED } else { 0 }, Relaxed);
        gil.waiters.store(0, Relaxed);
        gil.holder.store(if held { state.as_raw().cast() } else { core::ptr::null_mut() }, Relaxed);
    }
    drop(head);
    breaker::clear(state, breaker::GIL_DROP_REQUEST | breaker::PLEASE_STOP);
    word::suspend_self(state.word());
    let resumed = word::resume(state.word());
    debug_assert!(resumed);
    let attached = word::try_attach(state.word());
    debug_assert_eq!(attached, word::TryAttach::Attached);
}

/// Every started thread but the survivor is over: its handle is done, its
/// event set, and no OS thread is joined (S-FK-07).
fn finish_handles() {
    let own = current::own_handle();
    loop {
        let head = RUNTIME.lock();
        let next = RUNTIME.handles(&head).find(|handle| Some(*handle) != own);
        if let Some(handle) = next {
            RUNTIME.unlink_handle(handle, &head);
        }
        drop(head);
        let Some(handle) = next else { break };
        finish_handle(handle);
    }
}

fn finish_handle(handle: Handle) {
    // A thread that set its event has given its reference up, or was about to:
    // then the block stays for ever, rather than being freed twice.
    let left = handle.exiting.is_set();
    handle.tstate.store(core::ptr::null_mut(), Relaxed);
    // SAFETY: the only thread of the process; nobody waits.
    unsafe { handle.joining.reset_in_child() };
    // SAFETY: as above.
    unsafe { handle.exiting.reset() };
    handle.exiting.set();
    handle.publish(DONE);
    let head = RUNTIME.lock();
    let buried = handle.buried.load(Relaxed) != 0;
    // Else the reference of the thread that did not survive goes.
    let last = buried || (!left && handle.drop_ref(&head) == Dropped::Last);
    drop(head);
    if last {
        // SAFETY: nobody refers to it, and the caller unlinked it.
        unsafe { handle.free() };
    }
}

/// Discards every state of `interp` but `keep`: no hook runs, exit events are
/// set, what they refer to is dropped.
fn keep_only(interp: Interp, keep: Ts) {
    interp.departure_waiters.store(0, Relaxed);
    interp.pending.finish_writes();
    RUNTIME.main_pending.finish_writes();
    let handling = interp.pending.handling.load(Relaxed);
    if handling != keep.as_raw().cast() {
        interp.pending.handling.store(core::ptr::null_mut(), Relaxed);
    }
    while let Some(state) = other_state(interp, Some(keep)) {
        discard(state);
    }
}

fn other_state(interp: Interp, keep: Option<Ts>) -> Option<Ts> {
    let head = RUNTIME.lock();
    let found = list::iter(interp, &head).find(|state| Some(*state) != keep);
    drop(head);
    found
}

fn discard(state: Ts) {
    let interp = interp_of(state);
    let head = RUNTIME.lock();
    // The thread of another state is gone, and its thread-local block with it;
    // only this thread's own slot may be emptied.
    if state.thread_id() != thread::ident() {
        state.gilstate_slot.store(core::ptr::null_mut(), Relaxed);
    }
    state.handle.store(core::ptr::null_mut(), Relaxed);
    tstate::forget(state, &head);
    list::unlink(interp, state, &head);
    drop(head);
    let seen = state.advance(status::FINALIZING | status::CLEARED);
    if seen & status::CLEARED == 0 {
        raise::drop_reference(state.dict().swap(core::ptr::null_mut(), Relaxed));
        raise::drop_reference(state.async_exc().swap(core::ptr::null_mut(), Relaxed));
        raise::drop_reference(error::clear(state));
        // SAFETY: the only thread of the process; nobody waits on it.
        unsafe { state.event.reset() };
        state.event.set();
    }
    tstate::give_back(state);
}

/// Ends the other interpreters: their threads are gone (gh-139759).
fn end_other_interps(mine: Interp) {
    loop {
        let head = RUNTIME.lock();
        let other = RUNTIME.interps(&head).find(|interp| *interp != mine);
        drop(head);
        let Some(other) = other else { return };
        other.departure_waiters.store(0, Relaxed);
        while let Some(state) = other_state(other, None) {
            discard(state);
        }
        interp::clear(other);
        let deleted = interp::delete(other);
        debug_assert!(deleted.is_ok());
    }
}

/// Whether the caller may go on in a fork child: only the main interpreter
/// survives (S-FK-11).
pub(crate) fn survivor() -> Option<(Ts, bool)> {
    let state = current()?;
    let main = RUNTIME.main_interp().map(Interp::as_ptr);
    Some((state, main == Some(state.interp_ptr())))
}
