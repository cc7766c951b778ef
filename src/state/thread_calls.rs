//! Calls that wait for the thread of one state (`PyTState_RunOnThread`).
//!
//! Invariants:
//! - TC-1: the queue of a state is read and written under the head lock. A call
//!   that is queued belongs to a state in a list, whose block no other state has.
//! - TC-2: a call leaves its queue once: its thread takes it, or a waiter that runs
//!   it itself, or it is dropped because the state goes ([`drop_all`]).
//! - TC-3: the block of a call is counted: one reference of the one that settles it,
//!   one of its waiter. A call may outlive its state, and a waiter its call.

use crate::os::{mem, tsan};
use crate::state::eval_breaker::{self, THREAD_CALLS};
use crate::state::thread::{ThreadStateRef, status};
use crate::sync::event::PyEvent;
use crate::sync::head::HeadGuard;
use core::cell::Cell;
use core::ffi::{c_int, c_void};
use core::ops::Deref;
use core::ptr::{self, NonNull};
use core::sync::atomic::{
    AtomicPtr, AtomicU32, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed,
    Ordering::Release, Ordering::SeqCst,
};

/// A function that is run on a thread.
pub(crate) type ThreadFn = unsafe extern "C" fn(*mut c_void) -> c_int;

/// In its queue, or being run.
const OPEN: u32 = 0;
/// It was run.
pub(crate) const RAN: u32 = 1;
/// It is not run: the state went first.
pub(crate) const DROPPED: u32 = 2;

/// The block of a call.
pub(crate) struct CallBlock {
    next: AtomicPtr<CallBlock>,
    /// Written before the call is queued, constant after.
    func: Cell<Option<ThreadFn>>,
    arg: Cell<*mut c_void>,
    refs: AtomicU32,
    outcome: AtomicU32,
    /// 1: a thread waits for it.
    awaited: AtomicU32,
    /// Set once, with the outcome.
    pub(crate) done: PyEvent,
}

/// A counted pointer to a call (TC-3). Copying does not count.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct ThreadCall(NonNull<CallBlock>);

impl Deref for ThreadCall {
    type Target = CallBlock;

    fn deref(&self) -> &CallBlock {
        // SAFETY: TC-3.
        unsafe { self.0.as_ref() }
    }
}

impl ThreadCall {
    /// A call that is in no queue, with a second reference if a thread waits for it;
    /// `None` without memory.
    pub(crate) fn new(func: ThreadFn, arg: *mut c_void, awaited: bool) -> Option<ThreadCall> {
        let call = ThreadCall(mem::alloc_zeroed::<CallBlock>()?);
        call.func.set(Some(func));
        call.arg.set(arg);
        call.outcome.store(OPEN, Relaxed);
        call.refs.store(1 + u32::from(awaited), Relaxed);
        call.awaited.store(u32::from(awaited), Relaxed);
        Some(call)
    }

    /// The function and its argument, for the thread that took the call.
    pub(crate) fn function(self) -> (Option<ThreadFn>, *mut c_void) {
        tsan::acquire(self.0.as_ptr());
        (self.func.get(), self.arg.get())
    }

    pub(crate) fn outcome(self) -> u32 {
        self.outcome.load(Acquire)
    }

    /// Says what became of the call, which is in no queue any more, and drops the
    /// reference of the caller.
    pub(crate) fn settle(self, outcome: u32) {
        self.outcome.store(outcome, Release);
        self.done.set();
        self.release();
    }

    /// Drops a reference.
    pub(crate) fn release(self) {
        if self.refs.fetch_sub(1, AcqRel) == 1 {
            tsan::acquire(self.0.as_ptr());
            // SAFETY: made by `new`; that was the last reference.
            unsafe { mem::free(self.0.as_ptr().cast()) };
        } else {
            tsan::release(self.0.as_ptr());
        }
    }

    fn from_raw(pointer: *mut CallBlock) -> Option<ThreadCall> {
        NonNull::new(pointer).map(ThreadCall)
    }

    fn as_raw(self) -> *mut CallBlock {
        self.0.as_ptr()
    }
}

/// Whether `tstate` is going, or gone: it takes no calls.
pub(crate) fn is_gone(tstate: ThreadStateRef) -> bool {
    const GONE: u32 = status::FINALIZING | status::DELETED | status::ABANDONED;
    tstate.status.load(SeqCst) & GONE != 0
}

fn first(tstate: ThreadStateRef) -> Option<ThreadCall> {
    ThreadCall::from_raw(tstate.calls.load(Relaxed).cast())
}

/// Whether calls wait for `tstate`.
pub(crate) fn is_any(tstate: ThreadStateRef) -> bool {
    !tstate.calls.load(SeqCst).is_null()
}

/// Queues `call` behind the others and asks the thread to poll. False, and the
/// call is in no queue, if the state is going.
#[must_use]
pub(crate) fn push(tstate: ThreadStateRef, call: ThreadCall, head: &HeadGuard<'_>) -> bool {
    if is_gone(tstate) {
        return false;
    }
    tsan::release(call.as_raw());
    call.next.store(ptr::null_mut(), Relaxed);
    match first(tstate) {
        // SeqCst: a thread that clears the state marks it, then looks for calls.
        None => tstate.calls.store(call.as_raw().cast(), SeqCst),
        Some(_) => {
            // TC-1: the last one of a queue that is not empty is in it.
            if let Some(last) = ThreadCall::from_raw(tstate.last_call.load(Relaxed).cast()) {
                last.next.store(call.as_raw(), Relaxed);
            }
        }
    }
    tstate.last_call.store(call.as_raw().cast(), Relaxed);
    if is_gone(tstate) {
        // The state was marked meanwhile: it may have looked before.
        return !take(tstate, call, head);
    }
    eval_breaker::set(tstate, THREAD_CALLS);
    true
}

/// Takes the oldest call; its reference is the caller's.
pub(crate) fn pop(tstate: ThreadStateRef, _head: &HeadGuard<'_>) -> Option<ThreadCall> {
    let call = first(tstate)?;
    tstate.calls.store(call.next.load(Relaxed).cast(), Relaxed);
    Some(call)
}

/// Takes `call` out of the queue of `tstate`. False if it is not in it any more.
#[must_use]
pub(crate) fn take(tstate: ThreadStateRef, call: ThreadCall, _head: &HeadGuard<'_>) -> bool {
    let mut before = None;
    let mut next = first(tstate);
    while let Some(one) = next.filter(|one| *one != call) {
        before = Some(one);
        next = ThreadCall::from_raw(one.next.load(Relaxed));
    }
    if next.is_none() {
        return false;
    }
    let after = call.next.load(Relaxed);
    match before {
        None => tstate.calls.store(after.cast(), Relaxed),
        Some(before) => before.next.store(after, Relaxed),
    }
    if after.is_null() {
        let last = before.map_or(ptr::null_mut(), ThreadCall::as_raw);
        tstate.last_call.store(last.cast(), Relaxed);
    }
    true
}

/// Drops the calls of a state that goes: they are not run, and their waiters are
/// told. Nothing but a load if there are none.
pub(crate) fn drop_all(tstate: ThreadStateRef, head: &HeadGuard<'_>) {
    while let Some(call) = pop(tstate, head) {
        call.settle(DROPPED);
    }
}

/// In a fork child, for a state that is kept: the threads that wait for calls are
/// not there, and what those calls would use was theirs.
pub(crate) fn drop_awaited(tstate: ThreadStateRef, head: &HeadGuard<'_>) {
    let mut next = first(tstate);
    while let Some(call) = next {
        next = ThreadCall::from_raw(call.next.load(Relaxed));
        if call.awaited.load(Relaxed) != 0 && take(tstate, call, head) {
            // The reference of the waiter, which may use the event, is leaked.
            call.release();
        }
    }
}
