//! What is known of the pause of one scope: an interpreter, or all of them.
//!
//! Field access: everything under the head lock, unless said otherwise.
//! Mirrors CPython 3.14 `struct _stoptheworld_state` (pycore_interp_structs.h).

use crate::state::pause::Pause;
use crate::state::public::PyInterpreterState;
use crate::state::thread::{ThreadState, ThreadStateRef};
use crate::sync::head::HeadGuard;
use core::ops::Deref;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering::Relaxed};

/// The pause of one scope.
pub(crate) struct StopScope {
    /// Words and flags.
    pause: Pause,
    /// 1: a thread waits for the end of the pause to make or delete an
    /// interpreter (`sched::frozen`).
    pub(crate) held_back: AtomicU32,
    /// The state that asked (exempt), NULL when the caller had none.
    pub(crate) requester: AtomicPtr<ThreadState>,
    /// Identity of the OS thread that asked, 0 while there is no pause.
    pub(crate) thread: AtomicUsize,
    /// The home of the requester, if it is another interpreter.
    pub(crate) home: AtomicPtr<PyInterpreterState>,
    /// Pauses of other interpreters whose requesters have their home here.
    pub(crate) pauses_from_here: AtomicU32,
}

impl Deref for StopScope {
    type Target = Pause;

    fn deref(&self) -> &Pause {
        &self.pause
    }
}

impl StopScope {
    pub(crate) const fn new() -> StopScope {
        StopScope {
            pause: Pause::new(),
            held_back: AtomicU32::new(0),
            requester: AtomicPtr::new(ptr::null_mut()),
            thread: AtomicUsize::new(0),
            home: AtomicPtr::new(ptr::null_mut()),
            pauses_from_here: AtomicU32::new(0),
        }
    }

    /// Whether the pause of this scope is complete and `state` is the state of
    /// the thread that requested it. Exact for the thread that has `state`
    /// attached: that thread alone writes both fields while its pause goes on,
    /// so it reads its own writes, and no other state equals `requester`.
    pub(crate) fn is_stopped_by(&self, tstate: ThreadStateRef) -> bool {
        self.pause.is_stopped() && self.requester.load(Relaxed) == tstate.as_raw()
    }

    /// Whether the lists of this scope stand still, which they also do in a
    /// pause. The head lock is held, under which both ends write it.
    pub(crate) fn is_frozen(&self, _head: &HeadGuard<'_>) -> bool {
        self.lists_stand()
    }

    /// Whether they stand still without a pause: then for the requester, too.
    pub(crate) fn is_only_frozen(&self, _head: &HeadGuard<'_>) -> bool {
        self.only_lists_stand()
    }

    /// Ends the request.
    pub(crate) fn clear(&self) {
        self.pause.clear();
        self.requester.store(ptr::null_mut(), Relaxed);
        self.thread.store(0, Relaxed);
    }

    /// In a fork child: no pause is requested any more. The only thread calls it.
    pub(crate) fn reset_in_child(&self) {
        self.home.store(ptr::null_mut(), Relaxed);
        self.pauses_from_here.store(0, Relaxed);
        self.held_back.store(0, Relaxed);
        self.pause.reset_in_child();
        self.clear();
    }
}
