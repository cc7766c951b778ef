//! Making, clearing and deleting thread states.
//!
//! End of a state (S-DL-01, extension API 1), in this order:
//! clear: references dropped, `on_delete`, exit event set, cleared;
//! delete: unlinked (and counted out of a pause), slot emptied, waiters told,
//! GIL released, block given back.
//!
//! Cost of New + Clear + Delete when nothing contends: three pairs of the head
//! lock (link, unlink, block) and one exchange of the exit event.
//!
//! Mirrors CPython 3.13 `new_threadstate`, `PyThreadState_Clear`,
//! `tstate_delete_common` (pystate.c).

use crate::probe::trace::{self, Event, Mark, Span};
use crate::probe::{self, Point};
use crate::sched::breaker::{self, CALLS_TO_DO};
use crate::sched::current::{self, interp_of, leave_gilstate_slot};
use crate::sched::{attach, raise, stw};
use crate::state::error;
use crate::state::handle::Handle;
use crate::state::interp::Interp;
use crate::state::list;
use crate::state::runtime::RUNTIME;
use crate::state::thread_state::{Ts, Whence, status};
use crate::state::word;
use crate::sync::atomic::AtomicPtr;
use crate::sync::lot;
use crate::sync::rank::Guard;
use core::sync::atomic::Ordering::{AcqRel, Relaxed, Release};

/// What a new state is for.
#[derive(Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) whence: Whence,
    /// Value of `is_daemon`.
    pub(crate) daemon: i32,
    /// Refuse even the thread that ends the interpreter, once that is committed.
    pub(crate) before_commit_only: bool,
    /// The thread that the library starts for it.
    pub(crate) handle: Option<Handle>,
    /// It is the first state of the interpreter that the block was in this life
    /// (`_is::lives`), which may have ended since it was made.
    pub(crate) first_of: Option<u64>,
}

impl Origin {
    const fn new(whence: Whence, daemon: i32) -> Origin {
        Origin { whence, daemon, before_commit_only: false, handle: None, first_of: None }
    }

    /// PyThreadState_New.
    pub(crate) const HOST: Origin = Origin::new(Whence::Unknown, 1);
    /// PyGILState_Ensure, PyThreadState_Ensure.
    pub(crate) const C_API: Origin = Origin::new(Whence::CApi, 1);
    /// A state to end an interpreter with.
    pub(crate) const FINI: Origin = Origin::new(Whence::Fini, 0);

    /// The first state of an interpreter, in this life of its block.
    pub(crate) const fn first(life: u64) -> Origin {
        Origin { first_of: Some(life), ..Origin::new(Whence::Init, 0) }
    }
}

/// Why there is no new state.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NewError {
    /// Out of memory.
    NoMemory,
    /// The interpreter is gone, or committed to its end.
    Refused,
}

/// Makes a state of `interp`, linked but bound to no OS thread.
pub(crate) fn new_unbound(interp: Interp, origin: Origin) -> Result<Ts, NewError> {
    make(interp, origin, Owner::Later)
}

/// Whose thread a new state is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// The caller's.
    Caller,
    /// Whoever binds it.
    Later,
}

fn make(interp: Interp, origin: Origin, owner: Owner) -> Result<Ts, NewError> {
    let head = RUNTIME.lock();
    let mut spare = RUNTIME.take_state_block(&head);
    drop(head);
    if spare.is_none() {
        spare = RUNTIME.new_state_block();
    }
    let state = spare.ok_or(NewError::NoMemory)?;
    prepare(state, interp, origin);
    if owner == Owner::Caller {
        // Before anybody can see it: a state that is given up before it is
        // bound must be kept for this thread.
        state.record_thread();
    }
    let head = RUNTIME.lock();
    let is_other = origin.first_of.is_some_and(|life| life != interp.lives.load(Relaxed));
    if !interp.is_alive() || is_other || is_too_late(interp, origin) {
        drop(head);
        state.advance(status::DELETED);
        RUNTIME.drop_state_ref(state);
        return Err(NewError::Refused);
    }
    admit(state, interp, &head);
    list::link(interp, state, &head);
    if origin.first_of.is_some() {
        interp.first_state.store(state.as_raw(), Relaxed);
    }
    if let Some(handle) = origin.handle {
        state.handle.store(handle.as_ptr().cast(), Relaxed);
        handle.tstate.store(state.as_raw(), Release);
    }
    drop(head);
    trace::at(Point::TstateCreated, Event::At(Mark::StateCreated), || interp.id());
    Ok(state)
}

/// Fills a block that nobody else sees yet.
fn prepare(state: Ts, interp: Interp, origin: Origin) {
    let host = state.host_size.load(Relaxed);
    state.wipe(host);
    state.host_size.store(host, Relaxed);
    state.refs.store(1, Relaxed);
    state.interp_cell().store(interp.as_ptr(), Relaxed);
    let gil = interp.gil.load(Relaxed);
    state.gil.store(gil, Relaxed);
    if gil.is_null() {
        state.qsbr.store(core::ptr::from_ref(&interp.qsbr).cast_mut(), Relaxed);
    }
    state.whence().store(origin.whence as i32, Relaxed);
    state.daemon().store(origin.daemon, Relaxed);
    state.gilstate_counter().store(1, Relaxed);
    state.exit_event_cell().store(core::ptr::from_ref(&state.event).cast_mut(), Relaxed);
    state.stamp();
    state.created_ns.store(state.changed_ns(), Relaxed);
    state.created_at.store(current::take_place(), Relaxed);
    state.status.store(status::INITIALIZED, Relaxed);
}

/// Whether the end of `interp` is committed: from then on only the thread that
/// ends it gets states. One that another thread got would be deleted under it.
fn is_too_late(interp: Interp, origin: Origin) -> bool {
    interp.committed()
        && (origin.before_commit_only || interp.finalizing_thread() != crate::os::thread::ident())
}

/// Decides how the word of a new state begins.
fn admit(state: Ts, interp: Interp, head: &Guard<'_>) {
    if stw::begins_suspended(interp, head) {
        word::suspend_self(state.word());
    }
    if interp.gil.load(Relaxed).is_null() && interp.pending.len() != 0 {
        breaker::set(state, CALLS_TO_DO);
    }
}

/// Binds `state` to the calling OS thread (S-BD-02). False when it was bound
/// before.
#[must_use]
pub(crate) fn bind(state: Ts) -> bool {
    if state.has(status::BOUND) {
        return false;
    }
    state.record_thread();
    if current::gilstate().is_none() {
        current::become_gilstate(state);
    }
    state.advance(status::BOUND);
    if RUNTIME.main_state.load(Relaxed).is_null() {
        become_main_state(state);
    }
    probe::point(Point::TstateBound);
    true
}

/// The main thread's state in the main interpreter, where there was none: a
/// fork child of a thread without states, say.
#[cold]
fn become_main_state(state: Ts) {
    if current::may_handle_signals(state) {
        RUNTIME.main_state.store(state.as_raw(), Release);
    }
}

/// Makes a state of `interp`, bound to the caller.
pub(crate) fn new_bound(interp: Interp, origin: Origin) -> Result<Ts, NewError> {
    let state = make(interp, origin, Owner::Caller)?;
    let fresh = bind(state);
    debug_assert!(fresh);
    Ok(state)
}

/// Outcome of [`clear`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cleared {
    Now,
    /// It was cleared (or is being cleared) already: nothing was done.
    Before,
}

/// Drops everything `state` refers to, runs its hook, sets its exit event.
/// The caller is attached to the same interpreter.
pub(crate) fn clear(state: Ts) -> Cleared {
    if state.advance(status::FINALIZING) & status::FINALIZING != 0 {
        return Cleared::Before;
    }
    probe::point(Point::ClearBegin);
    raise::drop_reference(state.dict().swap(core::ptr::null_mut(), Relaxed));
    let async_exc = state.async_exc().swap(core::ptr::null_mut(), AcqRel);
    raise::drop_reference(async_exc);
    raise::drop_reference(error::clear(state));
    if let Some(hook) = state.take_on_delete() {
        probe::point(Point::OnDeleteBefore);
        // SAFETY: the host's hook and data; attached, no lock held.
        unsafe { hook(state.on_delete_data().load(Relaxed)) };
        probe::point(Point::OnDeleteAfter);
    }
    // What the hook left behind.
    raise::drop_reference(error::clear(state));
    state.event.set();
    trace::at(Point::ExitEventSet, Event::At(Mark::ExitEvent), || interp_of(state).id());
    state.advance(status::CLEARED);
    probe::point(Point::ClearDone);
    Cleared::Now
}

/// Deletes a cleared state that nobody runs with.
pub(crate) fn delete(state: Ts) {
    trace::at(Point::DeleteBegin, Event::At(Mark::Deletion), || interp_of(state).id());
    unlink(state);
    give_back(state);
    probe::point(Point::DeleteDone);
}

/// Deletes the attached, cleared state of the calling thread.
pub(crate) fn delete_current(state: Ts) {
    trace::at(Point::DeleteBegin, Event::At(Mark::Deletion), || interp_of(state).id());
    if state.critical_section().load(Relaxed) != 0 || !state.qsbr.load(Relaxed).is_null() {
        crate::sched::gilfree::detaching(state);
    }
    // Once unlinked, nothing keeps the interpreter from being ended and used again.
    let interp = interp_of(state).id();
    unlink(state);
    trace::at(Point::DeleteUnlinked, Event::End(Span::Attached), || interp);
    // From here on no call on this thread may use the API (S-DL-03).
    let _ = attach::let_go(state);
    probe::point(Point::DeleteGilReleased);
    give_back(state);
    probe::point(Point::DeleteDone);
}

/// Takes `state` out of everything that leads to it and tells those who wait
/// for departures.
fn unlink(state: Ts) {
    let interp = interp_of(state);
    let head = RUNTIME.lock();
    forget(state, &head);
    list::unlink(interp, state, &head);
    stw::count_out(state, &head);
    drop(head);
    tell_departure(interp);
}

/// Removes every pointer to `state` that others may follow under the head lock.
pub(crate) fn forget(state: Ts, _head: &Guard<'_>) {
    let me: *mut () = state.as_raw().cast();
    let gil = state.gil.load(Relaxed);
    // SAFETY: GILs live inside interpreter blocks, which are never unmapped (I1).
    if let Some(gil) = unsafe { gil.as_ref() } {
        forget_in(&gil.holder, me);
    }
    forget_in(&RUNTIME.main_state, state.as_raw());
    forget_in(&interp_of(state).running_main, state.as_raw());
    leave_gilstate_slot(state);
    state.advance(status::UNBOUND);
    let handle = state.handle.swap(core::ptr::null_mut(), Relaxed);
    // SAFETY: a running thread holds a reference to its handle (H1).
    if let Some(handle) = unsafe { Handle::from_ptr(handle.cast()) } {
        let daemon = u32::from(state.daemon().load(Relaxed) != 0);
        handle.daemon.store(daemon, Relaxed);
        handle.tstate.store(core::ptr::null_mut(), Release);
    }
}

/// Empties `slot` if it holds `me`. Only somebody with the head lock writes
/// `me` there, or the thread that runs with it: one load says most often that
/// there is nothing to do.
fn forget_in<T>(slot: &AtomicPtr<T>, me: *mut T) {
    if slot.load(Relaxed) == me {
        let _ = slot.compare_exchange(me, core::ptr::null_mut(), AcqRel, Relaxed);
    }
}

/// Wakes who waits until states of `interp` are gone.
pub(crate) fn tell_departure(interp: Interp) {
    if interp.departure_waiters.load(Relaxed) == 0 {
        return;
    }
    interp.departures.fetch_add(1, Release);
    lot::unpark_all(core::ptr::from_ref(&interp.departures).cast());
}

/// Returns the block of an unlinked state.
pub(crate) fn give_back(state: Ts) {
    state.advance(status::DELETED);
    RUNTIME.drop_state_ref(state);
}

/// Throws away a state that never ran: its start failed.
pub(crate) fn discard(state: Ts) {
    state.advance(status::FINALIZING | status::CLEARED);
    state.event.set();
    unlink(state);
    give_back(state);
}
