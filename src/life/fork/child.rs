//! What a fork child keeps, and how it is reset (S-FK-06..15).
//!
//! Reset, in this order: every lock of the fork table, the pauses, the
//! surviving states and their GIL, thread handles, then interpreter by
//! interpreter the states of threads that did not survive.
//!
//! Mirrors CPython 3.13 `PyOS_AfterFork_Child` (posixmodule.c), with the main
//! state updated as well (S-FK-12), sub-interpreters ended in order (gh-139759)
//! and guards of vanished threads dropped (S-FK-14).

use crate::life::at_exit::{self, When};
use crate::life::fork::table;
use crate::life::interp::lifecycle;
use crate::life::runtime::{finalize, init};
use crate::life::tstate;
use crate::os::thread;
use crate::probe::{self, Point};
use crate::sched::current::{self, current, gilstate, interp_of};
use crate::sched::frozen::{self, Departed};
use crate::sched::{raise, region, signals};
use crate::state::error_kind;
use crate::state::eval_breaker;
use crate::state::guard;
use crate::state::handle::{DONE, Dropped, Handle};
use crate::state::interp::{Interp, PyTState_PHASE_RUNNING};
use crate::state::list;
use crate::state::requests;
use crate::state::runtime::RUNTIME;
use crate::state::stop;
use crate::state::thread::{ThreadStateRef, status};
use crate::state::thread_calls;
use crate::state::word;
use crate::sync::fork_lock::ForkLock;
use crate::sync::wait_record;
use core::ffi::c_ulong;
use core::sync::atomic::Ordering::{Relaxed, Release};

/// Which thread states the child keeps.
#[derive(Clone, Copy)]
pub(crate) enum Survivors {
    /// The given state, which is attached (PyOS_AfterFork_Child). Code of the host
    /// runs: destructors, at-exit functions of the interpreters that go.
    Only(ThreadStateRef),
    /// All states of the thread that forked, attached or not; the main interpreter
    /// stays in any case. No code of the host runs: what vanishes is leaked.
    OwnStates,
}

/// The thread that forked.
#[derive(Clone, Copy)]
struct Forker {
    ident: c_ulong,
    /// Its kernel id: the parent's, or the child's once the surviving states
    /// have that one.
    native: c_ulong,
    keep: Survivors,
}

impl Forker {
    fn keeps(self, tstate: ThreadStateRef) -> bool {
        match self.keep {
            Survivors::Only(only) => tstate == only,
            // Identities are reused, but not together with kernel ids.
            Survivors::OwnStates => {
                tstate.thread_id() == self.ident && tstate.native_id() == self.native
            }
        }
    }

    /// The kept state of `interp`; the thread's gilstate if it has several.
    fn kept_in(self, interp: Interp) -> Option<ThreadStateRef> {
        let head = RUNTIME.lock();
        let preferred = gilstate().filter(|tstate| interp_of(*tstate) == interp);
        let found = preferred
            .into_iter()
            .chain(list::iter(interp, &head))
            .find(|tstate| self.keeps(*tstate));
        drop(head);
        found
    }

    fn keeps_interp(self, interp: Interp) -> bool {
        // The finalization was committed by a thread that did not survive.
        let lost = interp.committed() && interp.finalizing_thread() != self.ident;
        let wanted = match self.keep {
            Survivors::Only(only) => interp == interp_of(only),
            Survivors::OwnStates => {
                RUNTIME.main_interp() == Some(interp) || self.kept_in(interp).is_some()
            }
        };
        wanted && !lost
    }

    fn calls_host(self) -> bool {
        matches!(self.keep, Survivors::Only(_))
    }
}

/// Resets the runtime in a fork child.
///
/// # Safety
/// The caller is the only thread of a fork child, inside nothing of the library.
pub(crate) unsafe fn reset_in_child(keep: Survivors) {
    let mut forker = Forker { ident: thread::ident(), native: thread::native_id(), keep };
    // SAFETY: the caller's contract.
    unsafe { reset_locks() };
    wait_record::reset_in_child();
    thread::forget_native_id();
    settle_lists();
    for interp in interps() {
        refresh_states(forker, interp);
    }
    forker.native = thread::native_id();
    if let Some(own) = current::own_handle() {
        own.native.store(forker.native as usize, Relaxed);
    }
    RUNTIME.main_thread.store(forker.ident as usize, Relaxed);
    RUNTIME.main_pending.finish_writes();
    reset_gils();
    finish_handles();
    guard::drop_vanished();
    finalize::reset_in_child();
    signals::forget();
    // The newest interpreter comes first, so the main one is last.
    for interp in interps() {
        if forker.keeps_interp(interp) {
            keep_interp(forker, interp);
        } else {
            end_interp(forker, interp);
        }
    }
    probe::point(Point::ForkChild);
}

/// The interpreters, newest first. The one at hand may be unlinked.
fn interps() -> impl Iterator<Item = Interp> {
    let mut next = RUNTIME.interpreters.load(Relaxed);
    core::iter::from_fn(move || {
        let interp = next?;
        next = interp.next.load(Relaxed);
        Some(interp)
    })
}

/// Resets every lock of the library, and the pauses, which no thread is left to end.
///
/// # Safety
/// The contract of [`reset_in_child`] applies.
unsafe fn reset_locks() {
    // SAFETY: this function's contract.
    unsafe { table::reset_in_child() };
    probe::reset_in_child();
    stop::GATE.reset_in_child();
    RUNTIME.stop.reset_in_child();
    for interp in interps() {
        interp.stop.reset_in_child();
    }
}

/// Links the states that were made, and unlinks those that were deleted, in the pause of the fork.
fn settle_lists() {
    let mut departed = Departed::NONE;
    let head = RUNTIME.lock();
    for interp in interps() {
        departed = frozen::settle(interp, departed, &head);
    }
    drop(head);
    departed.give_back();
}

/// Updates the kept states of `interp`: no pause stops them any more, and their
/// thread has another kernel id.
fn refresh_states(forker: Forker, interp: Interp) {
    let head = RUNTIME.lock();
    for tstate in list::iter(interp, &head).filter(|tstate| forker.keeps(*tstate)) {
        tstate.record_thread();
        region::reset_in_child(tstate);
        thread_calls::drop_awaited(tstate, &head);
        eval_breaker::clear(tstate, eval_breaker::GIL_DROP_REQUEST | eval_breaker::PLEASE_STOP);
        let _ = word::resume(tstate.word());
        tstate.waits_for_pause.store(0, Relaxed);
    }
    drop(head);
}

/// Frees every GIL but the one that the calling thread holds: those of ended
/// interpreters, too, which a late thread has for an instant.
fn reset_gils() {
    init::note_process();
    let holder = current().filter(|tstate| tstate.holds_gil().load(Relaxed) != 0);
    for interp in interps().chain(RUNTIME.pooled_interps()) {
        let gil = &interp.block().own_gil;
        let holder = holder.filter(|tstate| tstate.gil.is(gil, Relaxed));
        gil.reset_in_child(holder.is_some());
        gil.holder
            .store(holder.map_or(core::ptr::null_mut(), ThreadStateRef::as_raw).cast(), Relaxed);
    }
}

/// Every started thread but the survivor is over: its handle is done, its event
/// set, and no OS thread is joined (S-FK-07). The survivor's own needs nothing:
/// a thread that joins it has not come further than its event, because the
/// thread gives its handle up before it sets that (HANDLE-2, HANDLE-3).
fn finish_handles() {
    let own = current::own_handle();
    debug_assert!(own.is_none_or(|own| !own.joining.is_locked()));
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
    // then the block is leaked rather than freed twice.
    let left = handle.exiting.is_set();
    handle.tstate.store(None, Relaxed);
    // SAFETY: the only thread of the process, so no thread waits.
    unsafe { handle.joining.reset_in_child() };
    // SAFETY: the only thread of the process, so no thread waits.
    unsafe { handle.exiting.reset() };
    handle.exiting.set();
    handle.publish(DONE);
    let head = RUNTIME.lock();
    let unreferenced = handle.unreferenced.load(Relaxed) != 0;
    // Otherwise the reference of the thread that did not survive is dropped.
    let last = unreferenced || (!left && handle.drop_ref(&head) == Dropped::Last);
    drop(head);
    if last {
        // SAFETY: no reference is left, and the caller unlinked it.
        unsafe { handle.free() };
    }
}

/// Leaves in `interp` the states that are kept, and nothing that a vanished
/// thread was busy with.
fn keep_interp(forker: Forker, interp: Interp) {
    interp.departure_waiters.store(0, Relaxed);
    interp.pending.finish_writes();
    let kept = forker.kept_in(interp);
    let kept_raw = kept.map_or(core::ptr::null_mut(), ThreadStateRef::as_raw);
    if interp.pending.handling.load(Relaxed) != kept_raw.cast() {
        interp.pending.handling.store(core::ptr::null_mut(), Relaxed);
    }
    while let Some(tstate) = find_state(interp, |tstate| !forker.keeps(tstate)) {
        discard(tstate, forker);
    }
    interp.first_state.store(kept_raw, Relaxed);
    if interp.ender.load(Relaxed) != forker.ident as usize {
        interp.ending.store(0, Relaxed);
        interp.phase.store(PyTState_PHASE_RUNNING, Relaxed);
    }
    if RUNTIME.main_interp() == Some(interp) {
        match kept {
            Some(tstate) => requests::become_main_state(tstate),
            None => RUNTIME.main_state.store(kept, Release),
        }
    } else if let Some(tstate) = kept {
        // A call may have been noticed by a state that did not survive.
        requests::refresh_calls(tstate);
    }
}

fn find_state(interp: Interp, wanted: impl Fn(ThreadStateRef) -> bool) -> Option<ThreadStateRef> {
    let head = RUNTIME.lock();
    let found = list::iter(interp, &head).find(|tstate| wanted(*tstate));
    drop(head);
    found
}

/// Discards a state whose thread did not survive: no hook runs, and its exit
/// event is set.
fn discard(tstate: ThreadStateRef, forker: Forker) {
    let interp = interp_of(tstate);
    let head = RUNTIME.lock();
    tstate.handle.store(core::ptr::null_mut(), Relaxed);
    tstate::clear_references_to(tstate, &head);
    list::unlink(interp, tstate, &head);
    drop(head);
    let seen = tstate.set_status(status::FINALIZING | status::CLEARED);
    if seen & status::CLEARED == 0 {
        let dict = tstate.dict().swap(core::ptr::null_mut(), Relaxed);
        let async_exc = tstate.async_exc().swap(core::ptr::null_mut(), Relaxed);
        let exception = error_kind::clear(tstate);
        if forker.calls_host() {
            for object in [dict, async_exc, exception] {
                raise::drop_reference(object);
            }
        }
        // SAFETY: the only thread of the process, so no thread waits on it.
        unsafe { tstate.event.reset() };
        tstate.event.set();
    }
    tstate::give_back(tstate);
}

/// Ends an interpreter whose threads are gone.
fn end_interp(forker: Forker, interp: Interp) {
    interp.departure_waiters.store(0, Relaxed);
    interp.pending.finish_writes();
    while let Some(tstate) = find_state(interp, |_| true) {
        discard(tstate, forker);
    }
    // The guards concern only a finalization that waits for threads.
    at_exit::forget(interp, When::BeforeCommit);
    let deleted = if forker.calls_host() {
        lifecycle::clear(interp);
        lifecycle::delete(interp)
    } else {
        at_exit::forget(interp, When::AtClear);
        interp.dict.store(core::ptr::null_mut(), Relaxed);
        lifecycle::delete_silently(interp)
    };
    debug_assert!(deleted.is_ok());
}
