//! What is known of the pause of one scope: an interpreter, or all of them.
//!
//! Field access: everything under the head lock, unless said otherwise.
//! Mirrors CPython 3.14 `struct _stoptheworld_state` (pycore_interp_structs.h).

use crate::state::public::PyInterpreterState;
use crate::state::thread::{ThreadState, ThreadStateRef};
use crate::sync::head::HeadGuard;
use core::ptr;
use core::sync::atomic::{
    AtomicI64, AtomicPtr, AtomicU32, AtomicUsize, Ordering::Acquire, Ordering::Relaxed,
    Ordering::Release,
};

/// Value of `stopped`: every other thread in scope stands.
const STOPPED: u32 = 1;
/// Value of `stopped`: the threads run, the lists stand still.
const FROZEN: u32 = 2;

/// The pause of one scope.
pub(crate) struct StopScope {
    /// 1 while a pause is requested or held. Any thread reads it.
    pub(crate) requested: AtomicU32,
    /// STOPPED while the pause of this scope is complete, FROZEN while only its
    /// lists stand still, else 0. See [`StopScope::is_stopped_by`].
    stopped: AtomicU32,
    /// Pauses of this scope that have stood so far.
    pauses: AtomicU32,
    /// 1: a thread waits for the end of the pause to make or delete an
    /// interpreter (`sched::frozen`).
    pub(crate) held_back: AtomicU32,
    /// States that do not stand yet.
    pub(crate) countdown: AtomicI64,
    /// The state that asked (exempt), NULL when the caller had none.
    pub(crate) requester: AtomicPtr<ThreadState>,
    /// Identity of the OS thread that asked, 0 while there is no pause.
    pub(crate) thread: AtomicUsize,
    /// The home of the requester, if it is another interpreter.
    pub(crate) home: AtomicPtr<PyInterpreterState>,
    /// Pauses of other interpreters whose requesters have their home here.
    pub(crate) pauses_from_here: AtomicU32,
    /// Bumped when `countdown` reaches 0: futex word of the requester.
    pub(crate) progress: AtomicU32,
}

impl StopScope {
    pub(crate) const fn new() -> StopScope {
        StopScope {
            requested: AtomicU32::new(0),
            stopped: AtomicU32::new(0),
            pauses: AtomicU32::new(0),
            held_back: AtomicU32::new(0),
            countdown: AtomicI64::new(0),
            requester: AtomicPtr::new(ptr::null_mut()),
            thread: AtomicUsize::new(0),
            home: AtomicPtr::new(ptr::null_mut()),
            pauses_from_here: AtomicU32::new(0),
            progress: AtomicU32::new(0),
        }
    }

    /// Whether the pause of this scope is complete and `state` is the state of
    /// the thread that requested it. Exact for the thread that has `state`
    /// attached: that thread alone writes both fields while its pause goes on,
    /// so it reads its own writes, and no other state equals `requester`.
    pub(crate) fn is_stopped_by(&self, tstate: ThreadStateRef) -> bool {
        self.stopped.load(Relaxed) == STOPPED && self.requester.load(Relaxed) == tstate.as_raw()
    }

    /// Whether the lists of this scope stand still, which they also do in a
    /// pause. The head lock is held, under which both ends write it.
    pub(crate) fn is_frozen(&self, _head: &HeadGuard<'_>) -> bool {
        self.stopped.load(Relaxed) != 0
    }

    /// Whether they stand still without a pause: then for the requester, too.
    pub(crate) fn is_only_frozen(&self, _head: &HeadGuard<'_>) -> bool {
        self.stopped.load(Relaxed) == FROZEN
    }

    /// Records that the world of this scope stands: from here on its lists
    /// stand still.
    pub(crate) fn set_stopped(&self, _head: &HeadGuard<'_>) {
        self.pauses.store(self.pauses.load(Relaxed).wrapping_add(1), Relaxed);
        self.stopped.store(STOPPED, Release);
    }

    /// Records that the lists of this scope stand still from here on.
    pub(crate) fn set_frozen(&self, head: &HeadGuard<'_>) {
        self.set_stopped(head);
        self.stopped.store(FROZEN, Release);
    }

    /// Number of the pause that stands, or stood last.
    pub(crate) fn pause(&self) -> u32 {
        self.pauses.load(Relaxed)
    }

    /// Whether that pause still stands.
    pub(crate) fn stands(&self, pause: u32) -> bool {
        self.stopped.load(Acquire) != 0 && self.pause() == pause
    }

    /// Records that the pause is about to end. This comes before the first
    /// thread is resumed: what a resumed thread reads here is 0.
    pub(crate) fn clear_stopped(&self) {
        self.stopped.store(0, Relaxed);
    }

    /// Ends the request.
    pub(crate) fn clear(&self) {
        self.clear_stopped();
        self.requested.store(0, Release);
        self.requester.store(ptr::null_mut(), Relaxed);
        self.thread.store(0, Relaxed);
    }

    /// In a fork child: no pause is requested any more. The only thread calls it.
    pub(crate) fn reset_in_child(&self) {
        self.home.store(ptr::null_mut(), Relaxed);
        self.pauses_from_here.store(0, Relaxed);
        self.countdown.store(0, Relaxed);
        self.held_back.store(0, Relaxed);
        self.clear();
    }
}
