//! The last steps of an OS thread, seen from the runtime.
//!
//! A thread that the library started leaves through [`finish`], whether its
//! body returned or finalization ended it. Any thread that had a gilstate is
//! seen by [`at_exit`], the C library's thread-exit destructor.

use crate::os::thread;
use crate::os::thread::Join;
use crate::os::{clock::Deadline, tls};
use crate::probe::{self, Point};
use crate::sched::current;
use crate::state::handle::{DONE, Dropped, Handle, RUNNING};
use crate::state::runtime::RUNTIME;
use crate::state::thread_state::Ts;
use crate::sync::owed;
use core::sync::atomic::Ordering::Relaxed;

/// How a thread that met finalization goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// The OS thread ends.
    Exits,
    /// The OS thread sleeps for ever: whoever joins it must not wait for it.
    Hangs,
}

/// Gives up what the calling thread still has: joins of it succeed from here.
pub(crate) fn leave(_state: Option<Ts>, leaving: Leaving) {
    let Some(handle) = current::own_handle() else {
        return;
    };
    current::set_own_handle(core::ptr::null_mut());
    if leaving == Leaving::Hangs {
        // Relaxed: the exit event, which `finish` sets, publishes it to joiners.
        handle.hung.store(1, Relaxed);
    }
    finish(handle);
}

/// The tail of a started thread: no state any more, only raw primitives
/// (S-HD-09). Drops the thread's reference to `handle`.
pub(crate) fn finish(handle: Handle) {
    handle.tstate.store(core::ptr::null_mut(), core::sync::atomic::Ordering::Release);
    handle.exiting.set();
    probe::point(Point::ThreadEventSet);
    release_handle(handle);
    let _ = reap_gone();
}

/// Drops a reference; the last one sees to the OS thread and the memory.
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
        // Whoever joins it frees it. Every start and every end of a thread
        // looks after the graveyard, so it does not grow.
        if handle.buried.load(Relaxed) == 0 {
            RUNTIME.bury_handle(handle, &head);
        }
        return;
    }
    if unjoined {
        RUNTIME.unlink_handle(handle, &head);
    }
    drop(head);
    if unjoined {
        // Hung: never ends, so it is nobody's to join.
        let _ = thread::detach(handle.os());
    }
    // SAFETY: the last reference, and in no list.
    unsafe { handle.free() };
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

/// Buried threads that one look at the graveyard joins at most.
const BATCH: usize = 16;

/// Joins buried threads that are gone already; never waits for one. They stay
/// in the list meanwhile, so that nobody who waits for them can miss them.
/// Returns how many were joined.
pub(crate) fn reap_gone() -> usize {
    if RUNTIME.graveyard.load(Relaxed).is_null() {
        return 0;
    }
    let mut batch = [None; BATCH];
    let mut room = batch.iter_mut();
    let head = RUNTIME.lock();
    for handle in RUNTIME.buried_handles(&head) {
        if handle.ident() == thread::ident() || !handle.joining.try_lock() {
            continue;
        }
        let Some(slot) = room.next() else {
            let _ = handle.joining.unlock();
            break;
        };
        handle.incref();
        *slot = Some(handle);
    }
    drop(head);
    let mut joined = 0;
    for handle in batch.into_iter().flatten() {
        joined += usize::from(join_os_thread(handle, Deadline::after(0)) == Join::Joined);
        let _ = handle.joining.unlock();
        release_handle(handle);
    }
    joined
}

/// Runs in every ending thread that had a gilstate: takes the mark from the
/// state, so that nobody writes into this thread's block after it is gone.
pub(crate) struct AtExit;

impl thread::ThreadEnd for AtExit {
    fn run() {
        let block = tls::block();
        owed::forget();
        // A state that is still attached belongs to a thread that the host
        // ended in the middle; nobody can tell what it was about.
        if let Some(end) = current::keeper().filter(|_| current::current().is_none()) {
            end();
        }
        current::set_keeper(None);
        let head = RUNTIME.lock();
        if let Some(state) = current::gilstate() {
            state.gilstate_slot.store(core::ptr::null_mut(), Relaxed);
            block.gilstate.store(core::ptr::null_mut(), Relaxed);
        }
        drop(head);
        // Only now: of a thread that is not armed, `gilstate` does not show a
        // state that finalization gave up, and the mark would stay. A later
        // destructor that ensures arms it once more.
        block.armed.store(0, Relaxed);
        // The host may have ended a started thread behind our back
        // (pthread_exit): its joiners must not wait for ever.
        leave(None, Leaving::Exits);
    }
}
