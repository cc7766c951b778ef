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
use crate::state::handle::{DONE, Dropped, Handle};
use crate::state::runtime::RUNTIME;
use crate::state::thread_state::Ts;
use crate::sync::rank::Guard;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

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
    reap_gone();
}

/// Drops a reference; the last one sees to the OS thread and the memory.
pub(crate) fn release_handle(handle: Handle) {
    if handle.drop_ref() == Dropped::Shared {
        return;
    }
    if handle.state() == crate::state::handle::RUNNING && handle.os() != 0 {
        if handle.hung.load(Relaxed) != 0 {
            // Never ends, so it is nobody's to join; the block stays with it.
            let head = RUNTIME.lock();
            RUNTIME.unlink_handle(handle, &head);
            drop(head);
            let _ = thread::detach(handle.os());
        } else {
            bury(handle);
            return;
        }
    }
    // SAFETY: the last reference; DONE, refused or hung handles are in no list.
    unsafe { handle.free() };
}

/// Queues an ended thread that nobody joined; its block is freed by whoever
/// joins it. Bounded: every start, every end and every wait reaps the queue.
fn bury(handle: Handle) {
    let head = RUNTIME.lock();
    RUNTIME.unlink_handle(handle, &head);
    push_buried(handle, &head);
    drop(head);
}

/// Joins the buried threads that are gone already; never waits for one.
pub(crate) fn reap_gone() {
    let _ = reap(Deadline::after(0));
}

/// Outcome of [`reap`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reaped {
    /// No buried thread exists any more, but perhaps the caller's own.
    All,
    /// The deadline passed, or another thread is joining some of them.
    Some,
}

/// Joins the buried threads, waiting for each until `deadline`.
pub(crate) fn reap(deadline: Deadline) -> Reaped {
    if RUNTIME.graveyard.load(Relaxed).is_null() && RUNTIME.reapers.load(Acquire) == 0 {
        return Reaped::All;
    }
    let head = RUNTIME.lock();
    let mut next = RUNTIME.graveyard.swap(core::ptr::null_mut(), Relaxed);
    let others = RUNTIME.reapers.fetch_add(1, AcqRel);
    drop(head);
    let mut all = others == 0;
    // SAFETY: buried handles belong to whoever took them out of the queue.
    while let Some(handle) = unsafe { Handle::from_ptr(next) } {
        next = handle.next.load(Relaxed);
        let mine = handle.ident() == thread::ident();
        let joined = !mine && thread::join(handle.os(), handle.native(), deadline) == Join::Joined;
        if joined {
            handle.publish(DONE);
            // SAFETY: no reference, in no list, its thread is gone.
            unsafe { handle.free() };
        } else {
            all = all && mine;
            let head = RUNTIME.lock();
            push_buried(handle, &head);
            drop(head);
        }
    }
    RUNTIME.reapers.fetch_sub(1, AcqRel);
    if all {
        return Reaped::All;
    }
    thread::yield_now();
    Reaped::Some
}

fn push_buried(handle: Handle, _head: &Guard<'_>) {
    handle.next.store(RUNTIME.graveyard.load(Relaxed), Relaxed);
    RUNTIME.graveyard.store(handle.as_ptr(), Relaxed);
}

/// Runs in every ending thread that had a gilstate: takes the mark from the
/// state, so that nobody writes into this thread's block after it is gone.
pub(crate) struct AtExit;

impl thread::ThreadEnd for AtExit {
    fn run() {
        let block = tls::block();
        block.armed.store(0, Relaxed);
        let head = RUNTIME.lock();
        if let Some(state) = current::gilstate() {
            state.gilstate_slot.store(core::ptr::null_mut(), Relaxed);
            block.gilstate.store(core::ptr::null_mut(), Relaxed);
        }
        drop(head);
        // The host may have ended a started thread behind our back
        // (pthread_exit): its joiners must not wait for ever.
        leave(None, Leaving::Exits);
    }
}
