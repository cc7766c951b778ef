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
use crate::sched::callout::{self, Callout};
use crate::sched::current::{self, interp_of, leave_gilstate_slot};
use crate::sched::gilstate_slot;
use crate::sched::standing;
use crate::sched::state_hooks;
use crate::sched::{attach, frozen, raise, thread_end};
use crate::state::error_kind;
use crate::state::eval_breaker::{self, CALLS_TO_DO};
use crate::state::handle::Handle;
use crate::state::hooks::Told;
use crate::state::interp::Interp;
use crate::state::requests;
use crate::state::runtime::RUNTIME;
use crate::state::thread::{ThreadStateRef, Whence, status};
use crate::state::thread_calls;
use crate::state::word;
use crate::sync::atomic::AtomicPtr;
use crate::sync::head::HeadGuard;
use core::sync::atomic::Ordering::{AcqRel, Relaxed, Release, SeqCst};

/// How a new state will be used.
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
    /// (`InterpBlock::incarnation`), which may have ended since it was made.
    pub(crate) first_of: Option<u64>,
}

impl Origin {
    const fn new(whence: Whence, daemon: i32) -> Origin {
        Origin { whence, daemon, before_commit_only: false, handle: None, first_of: None }
    }

    /// The state is made by PyThreadState_New.
    pub(crate) const HOST: Origin = Origin::new(Whence::Unknown, 1);
    /// The state is made by PyGILState_Ensure or PyThreadState_Ensure.
    pub(crate) const C_API: Origin = Origin::new(Whence::CApi, 1);
    /// The state is made to end an interpreter with it.
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
    /// There is no memory.
    NoMemory,
    /// The interpreter is gone, or committed to its end.
    Refused,
}

/// Makes a state of `interp`, linked but bound to no OS thread.
pub(crate) fn new_unbound(interp: Interp, origin: Origin) -> Result<ThreadStateRef, NewError> {
    make(interp, origin, Owner::Later)
}

/// Which thread a new state is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// The state is for the calling thread.
    Caller,
    /// The state is for the thread that binds it later.
    Later,
}

fn make(interp: Interp, origin: Origin, owner: Owner) -> Result<ThreadStateRef, NewError> {
    let head = RUNTIME.lock();
    let mut spare = RUNTIME.take_state_block(&head);
    drop(head);
    if spare.is_none() {
        spare = RUNTIME.new_state_block();
    }
    let tstate = spare.ok_or(NewError::NoMemory)?;
    prepare(tstate, interp, origin);
    if owner == Owner::Caller {
        // Before any other thread can see it: a state that is abandoned before
        // it is bound must be kept for this thread.
        tstate.record_thread();
    }
    state_hooks::tell(Told::New, tstate);
    let head = RUNTIME.lock();
    let is_other = origin.first_of.is_some_and(|life| life != interp.incarnation.load(Relaxed));
    if !interp.is_alive() || is_other || is_too_late(interp, origin) {
        drop(head);
        state_hooks::tell(Told::Delete, tstate);
        tstate.set_status(status::DELETED);
        RUNTIME.drop_state_ref(tstate);
        return Err(NewError::Refused);
    }
    admit(tstate, interp, &head);
    frozen::join(interp, tstate, &head);
    if origin.first_of.is_some() {
        interp.first_state.store(tstate.as_raw(), Relaxed);
    }
    if let Some(handle) = origin.handle {
        tstate.handle.store(handle.as_ptr().cast(), Relaxed);
        handle.tstate.store(Some(tstate), Release);
    }
    drop(head);
    trace::at(Point::TstateCreated, Event::At(Mark::StateCreated), || interp.id());
    Ok(tstate)
}

/// Fills a block that no other thread sees yet.
fn prepare(tstate: ThreadStateRef, interp: Interp, origin: Origin) {
    // All stores are Relaxed: the link under the head lock publishes them.
    let host = tstate.host_size.load(Relaxed);
    tstate.zero_for_reuse(host);
    tstate.host_size.store(host, Relaxed);
    tstate.refs.store(1, Relaxed);
    tstate.interp_cell().store(interp.as_ptr(), Relaxed);
    let gil = interp.gil.load(Relaxed);
    tstate.gil.store(gil, Relaxed);
    if gil.is_none() {
        tstate.qsbr.store(Some(&interp.block().qsbr), Relaxed);
    }
    tstate.whence().store(origin.whence as i32, Relaxed);
    tstate.daemon().store(origin.daemon, Relaxed);
    tstate.gilstate_counter().store(1, Relaxed);
    tstate.exit_event_cell().store(core::ptr::from_ref(&tstate.event).cast_mut(), Relaxed);
    tstate.stamp();
    tstate.created_ns.store(tstate.changed_ns(), Relaxed);
    tstate.created_at.store(current::take_source_location(), Relaxed);
    tstate.status.store(status::INITIALIZED, Relaxed);
}

/// Whether `interp` has committed its finalization: from then on only the
/// finalizing thread gets states. One that another thread got would be deleted
/// under it.
fn is_too_late(interp: Interp, origin: Origin) -> bool {
    interp.committed()
        && (origin.before_commit_only || interp.finalizing_thread() != crate::os::thread::ident())
}

/// Decides how the word of a new state begins.
fn admit(tstate: ThreadStateRef, interp: Interp, head: &HeadGuard<'_>) {
    if standing::begins_suspended(interp, head) {
        word::suspend_self(tstate.word());
    }
    if interp.gil.is_none(Relaxed) && interp.pending.len() != 0 {
        eval_breaker::set(tstate, CALLS_TO_DO);
    }
}

/// Binds `tstate` to the calling OS thread (S-BD-02). False when it was bound
/// before.
#[must_use]
pub(crate) fn bind(tstate: ThreadStateRef) -> bool {
    if tstate.has(status::BOUND) {
        return false;
    }
    tstate.record_thread();
    if current::gilstate().is_none() {
        gilstate_slot::become_gilstate(tstate);
    }
    tstate.set_status(status::BOUND);
    if RUNTIME.main_state.is_none(Relaxed) {
        become_main_state(tstate);
    }
    probe::point(Point::TstateBound);
    true
}

/// The main thread's state in the main interpreter, where there was none: a
/// fork child of a thread without states, say.
#[cold]
fn become_main_state(tstate: ThreadStateRef) {
    if current::may_handle_signals(tstate) {
        requests::become_main_state(tstate);
    }
}

/// Makes a state of `interp`, bound to the caller.
pub(crate) fn new_bound(interp: Interp, origin: Origin) -> Result<ThreadStateRef, NewError> {
    let tstate = make(interp, origin, Owner::Caller)?;
    let fresh = bind(tstate);
    debug_assert!(fresh);
    Ok(tstate)
}

/// Outcome of [`clear`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cleared {
    Now,
    /// The state was cleared, or is being cleared, already: the call had no effect.
    Before,
}

/// Drops everything `tstate` refers to, runs its hook, sets its exit event.
/// The caller is attached to the same interpreter.
pub(crate) fn clear(tstate: ThreadStateRef) -> Cleared {
    // SeqCst: a thread that queues a call sees the mark, or the call is seen here.
    if tstate.status.fetch_or(status::FINALIZING, SeqCst) & status::FINALIZING != 0 {
        return Cleared::Before;
    }
    probe::point(Point::ClearBegin);
    if thread_calls::is_any(tstate) {
        let head = RUNTIME.lock();
        thread_calls::drop_all(tstate, &head);
        drop(head);
    }
    raise::drop_reference(tstate.dict().swap(core::ptr::null_mut(), Relaxed));
    let async_exc = tstate.async_exc().swap(core::ptr::null_mut(), AcqRel);
    raise::drop_reference(async_exc);
    raise::drop_reference(error_kind::clear(tstate));
    if let Some(hook) = tstate.take_on_delete() {
        probe::point(Point::OnDeleteBefore);
        // SAFETY: the host's hook and data; attached, no lock held.
        let run = || unsafe { hook(tstate.on_delete_data().load(Relaxed)) };
        callout::run(Callout::OnDelete, tstate.as_ptr().cast(), run);
        probe::point(Point::OnDeleteAfter);
    }
    // What the hook left behind.
    raise::drop_reference(error_kind::clear(tstate));
    finish_clear(tstate);
    probe::point(Point::ClearDone);
    Cleared::Now
}

/// The last steps of [`clear`]. Has no effect if they were done before.
pub(crate) fn finish_clear(tstate: ThreadStateRef) {
    if tstate.has(status::CLEARED) {
        return;
    }
    state_hooks::tell(Told::Delete, tstate);
    tstate.event.set();
    trace::at(Point::ExitEventSet, Event::At(Mark::ExitEvent), || interp_of(tstate).id());
    tstate.set_status(status::CLEARED);
}

/// Deletes a cleared state that is not attached.
pub(crate) fn delete(tstate: ThreadStateRef) {
    trace::at(Point::DeleteBegin, Event::At(Mark::Deletion), || interp_of(tstate).id());
    unlink_and_give_back(tstate);
    probe::point(Point::DeleteDone);
}

fn unlink_and_give_back(tstate: ThreadStateRef) {
    if unlink(tstate) {
        give_back(tstate);
    }
}

/// Deletes the attached, cleared state of the calling thread.
pub(crate) fn delete_current(tstate: ThreadStateRef) {
    state_hooks::tell(Told::Detach, tstate);
    trace::at(Point::DeleteBegin, Event::At(Mark::Deletion), || interp_of(tstate).id());
    attach::detaching(tstate);
    // Once unlinked, nothing keeps the interpreter from being ended and used again.
    let interp = interp_of(tstate).id();
    let unlinked = unlink(tstate);
    trace::at(Point::DeleteUnlinked, Event::End(Span::Attached), || interp);
    // From here on no call on this thread may use the API (S-DL-03).
    let _ = attach::release_for_delete(tstate);
    probe::point(Point::DeleteGilReleased);
    if unlinked {
        give_back(tstate);
    }
    probe::point(Point::DeleteDone);
}

/// Unlinks `tstate` and wakes the threads that wait for departures. Returns
/// false if its block is given back elsewhere: when the current pause ends, or
/// by the finalization that has abandoned the state.
#[must_use]
fn unlink(tstate: ThreadStateRef) -> bool {
    let interp = interp_of(tstate);
    let head = RUNTIME.lock();
    if tstate.has(status::ABANDONED) {
        return false;
    }
    clear_references_to(tstate, &head);
    let unlinked = frozen::leave(interp, tstate, &head);
    if unlinked {
        standing::count_out(tstate, &head);
    }
    drop(head);
    frozen::tell_departure(interp);
    unlinked
}

/// Removes every pointer to `tstate` that others may follow under the head lock.
pub(crate) fn clear_references_to(tstate: ThreadStateRef, head: &HeadGuard<'_>) {
    let me: *mut () = tstate.as_raw().cast();
    if let Some(gil) = tstate.gil.load(Relaxed) {
        forget_in(&gil.holder, me);
    }
    RUNTIME.main_state.clear_if(tstate);
    forget_in(&interp_of(tstate).running_main, tstate.as_raw());
    leave_gilstate_slot(tstate);
    tstate.set_status(status::UNBOUND);
    requests::stop_handling(interp_of(tstate), tstate, head);
    thread_calls::drop_all(tstate, head);
    thread_end::leave_handle(tstate, head);
}

/// Empties `slot` if it holds `me`. Only a thread with the head lock writes `me`
/// there, or the thread that runs with it: one load says most often that there
/// is nothing to do.
fn forget_in<T>(slot: &AtomicPtr<T>, me: *mut T) {
    if slot.load(Relaxed) == me {
        let _ = slot.compare_exchange(me, core::ptr::null_mut(), AcqRel, Relaxed);
    }
}

/// Returns the block of an unlinked state.
pub(crate) fn give_back(tstate: ThreadStateRef) {
    tstate.set_status(status::DELETED);
    RUNTIME.drop_state_ref(tstate);
}

/// Throws away a state that never ran: its start failed.
pub(crate) fn discard(tstate: ThreadStateRef) {
    state_hooks::tell(Told::Delete, tstate);
    tstate.set_status(status::FINALIZING | status::CLEARED);
    tstate.event.set();
    unlink_and_give_back(tstate);
}
