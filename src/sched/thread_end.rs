//! The last steps of an OS thread, seen from the runtime.
//!
//! A thread that the library started leaves through [`finish`], whether its
//! body returned or finalization ended it. Any thread that had a gilstate is
//! seen by [`at_exit`], the C library's thread-exit destructor.

use crate::os::thread;
use crate::os::thread::Join;
use crate::os::{clock::Deadline, tls};
use crate::probe::{self, Point};
use crate::sched::this_thread as current;
use crate::state::handle::{DONE, Dropped, Handle, RUNNING};
use crate::state::interp::Interp;
use crate::state::list;
use crate::state::requests;
use crate::state::runtime::RUNTIME;
use crate::state::thread::ThreadStateRef;
use crate::state::thread_calls;
use crate::sync::head::HeadGuard;
use crate::sync::lot;
use crate::sync::owed;
use core::sync::atomic::Ordering::{Relaxed, Release};

/// What happens to a thread that met finalization.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// The OS thread ends.
    Exits,
    /// The OS thread sleeps and never wakes up: a joiner must not wait for it.
    Hangs,
}

/// Releases what the calling thread still has, because it never runs again. From here
/// on a join of it succeeds.
pub(crate) fn detach_handle(leaving: Leaving) {
    let Some(handle) = current::own_handle() else {
        return;
    };
    give_up_states(|tstate| core::ptr::eq(tstate.handle.load(Relaxed).cast(), handle.as_ptr()));
    current::set_own_handle(core::ptr::null_mut());
    if leaving == Leaving::Hangs {
        // Relaxed: the exit event, which `finish` sets, publishes it to joiners.
        handle.hung.store(1, Relaxed);
    }
    finish(handle);
}

/// Abandons every linked state of the calling thread, which is late in some
/// interpreter and never runs again.
pub(crate) fn give_up_own_states() {
    let me = thread::ident();
    give_up_states(|tstate| tstate.thread_id() == me);
}

/// Abandons the linked states that `chosen` selects, because their thread never uses
/// them again: no finalization waits for them, none points to the handle, and none
/// keeps the claim on the pending calls of its interpreter.
/// The states stay until their interpreters end, and are cleared there.
fn give_up_states(chosen: impl Fn(ThreadStateRef) -> bool) {
    let head = RUNTIME.lock();
    for interp in RUNTIME.interps(&head) {
        let mut any = false;
        for tstate in list::iter(interp, &head).filter(|tstate| chosen(*tstate)) {
            // This has to come before the daemon field loses the value that the host gave it.
            leave_handle(tstate, &head);
            tstate.daemon().store(1, Relaxed);
            requests::stop_handling(interp, tstate, &head);
            thread_calls::drop_all(tstate, &head);
            any = true;
        }
        if any {
            // A wait that looked at the states before this change sleeps on this word.
            interp.departures.fetch_add(1, Release);
            lot::unpark_all(core::ptr::from_ref(&interp.departures).cast());
        }
    }
    drop(head);
}

/// Separates `tstate` from the handle of the thread that was started for it.
pub(crate) fn leave_handle(tstate: ThreadStateRef, _head: &HeadGuard<'_>) {
    let handle = tstate.handle.swap(core::ptr::null_mut(), Relaxed);
    // SAFETY: a thread that runs holds a reference to its handle (HANDLE-1), and one
    // that ends separates its states from the handle first.
    if let Some(handle) = unsafe { Handle::from_ptr(handle.cast()) } {
        let daemon = u32::from(tstate.daemon().load(Relaxed) != 0);
        handle.daemon.store(daemon, Relaxed);
        handle.last.fill(tstate);
        handle.tstate.store(None, Release);
    }
}

/// Ends a started thread, which has no state any more and uses only raw primitives
/// (S-HD-09). Drops the thread's reference to `handle`.
pub(crate) fn finish(handle: Handle) {
    handle.tstate.store(None, Release);
    handle.exiting.set();
    probe::point(Point::ThreadEventSet);
    release_handle(handle);
    let _ = reap_gone();
}

/// Drops a reference. The last one joins or detaches the OS thread and frees the
/// handle.
pub(crate) fn release_handle(handle: Handle) {
    if handle.drop_shared_ref() {
        return;
    }
    let head = RUNTIME.lock();
    if handle.drop_ref(&head) == Dropped::Shared {
        return;
    }
    let unjoined = handle.state() == RUNNING && handle.os() != 0;
    if unjoined && handle.hung.load(Relaxed) == 0 {
        // The joiner frees it. Every start and every end of a thread
        // looks after the graveyard, so it does not grow.
        if handle.unreferenced.load(Relaxed) == 0 {
            RUNTIME.move_to_unjoined(handle, &head);
        }
        return;
    }
    if unjoined {
        RUNTIME.unlink_handle(handle, &head);
    }
    drop(head);
    if unjoined {
        // A hung thread never ends, so no thread joins it.
        let _ = thread::detach(handle.os());
    }
    // SAFETY: the last reference, and in no list.
    unsafe { handle.free() };
}

/// A new reference to the handle of the thread that was started for the state
/// of `interp` with this id. The state may be gone, if the thread is not joined.
pub(crate) fn handle_of(interp: Interp, id: u64) -> Option<Handle> {
    let head = RUNTIME.lock();
    // A handle with a state, or with an OS thread to join, is in a list (HANDLE-4); one
    // that is in a list may be referred to again (HANDLE-1).
    let found = RUNTIME.handles(&head).find(|handle| {
        let last = handle.last.id.load(Relaxed);
        let own = handle.tstate.load(Relaxed).map_or(last, |tstate| tstate.id());
        own == id && id != 0 && handle.is_of(interp)
    });
    if let Some(handle) = found {
        handle.incref();
    }
    drop(head);
    found
}

/// Joins the OS thread of a handle whose `joining` the caller holds.
pub(crate) fn join_os_thread(handle: Handle, deadline: Deadline) -> Join {
    let joined = thread::join(handle.os(), handle.native(), deadline);
    if joined == Join::Joined {
        let head = RUNTIME.lock();
        RUNTIME.unlink_handle(handle, &head);
        handle.publish(DONE);
        drop(head);
    }
    joined
}

/// The number of ended threads that one scan of a list joins at most.
const BATCH: usize = 16;

/// Joins buried threads that are gone already; never waits for one. They stay
/// in the list meanwhile, so that no waiter can miss them.
/// Returns how many were joined.
pub(crate) fn reap_gone() -> usize {
    if RUNTIME.unjoined.load(Relaxed).is_null() {
        return 0;
    }
    let head = RUNTIME.lock();
    let batch = Batch::of(RUNTIME.unjoined_handles(&head));
    drop(head);
    batch.join().joined
}

/// Joins the threads that `wanted` chooses and that are gone already, whether or not
/// the host refers to their handles. It never waits for a thread.
pub(crate) fn join_gone(wanted: impl Fn(Handle, &HeadGuard<'_>) -> bool) {
    let mut not_gone = 0;
    loop {
        let head = RUNTIME.lock();
        let ended = |handle: &Handle| handle.exiting.is_set() && wanted(*handle, &head);
        let batch = Batch::of(RUNTIME.handles(&head).filter(ended).skip(not_gone));
        drop(head);
        let done = batch.join();
        if done.looked_at == 0 {
            return;
        }
        not_gone += done.looked_at - done.joined;
    }
}

/// Some handles whose `joining` the caller holds, with a reference of each.
struct Batch([Option<Handle>; BATCH]);

/// What became of a [`Batch`].
struct Done {
    looked_at: usize,
    joined: usize,
}

impl Batch {
    /// The first of `handles` that no other thread joins. Head lock held.
    fn of(handles: impl Iterator<Item = Handle>) -> Batch {
        let mut batch = [None; BATCH];
        let free =
            handles.filter(|handle| handle.ident() != thread::ident() && handle.joining.try_lock());
        // The slots come first: a handle without one must not be locked.
        for (slot, handle) in batch.iter_mut().zip(free) {
            handle.incref();
            *slot = Some(handle);
        }
        Batch(batch)
    }

    /// Joins the threads that are gone and releases every handle.
    fn join(self) -> Done {
        let mut done = Done { looked_at: 0, joined: 0 };
        for handle in self.0.into_iter().flatten() {
            let joined = join_os_thread(handle, Deadline::after(0)) == Join::Joined;
            done.looked_at += 1;
            done.joined += usize::from(joined);
            let _ = handle.joining.unlock();
            release_handle(handle);
        }
        done
    }
}

/// Runs in every ending thread that had a gilstate: deletes a state that is kept for
/// it, removes the mark from its state, and releases its handle.
pub(crate) struct AtExit;

impl thread::ThreadEnd for AtExit {
    fn run() {
        let block = tls::block();
        owed::forget();
        // A state that is still attached belongs to a thread that the host
        // ended in the middle; its purpose is unknown.
        if let Some(end) = current::on_thread_end().filter(|_| current::current().is_none()) {
            end();
        }
        current::set_keeper(None);
        if let Some(tstate) = current::gilstate() {
            current::leave_gilstate_slot(tstate);
            block.gilstate.store(core::ptr::null_mut(), Relaxed);
        }
        // A later destructor that ensures arms it once more; in the last round
        // of destructors that has no effect, and the mark stays on the state.
        block.armed.store(0, Relaxed);
        // The host may have ended a started thread behind our back
        // (pthread_exit): its joiners must not wait without end.
        detach_handle(Leaving::Exits);
    }
}
