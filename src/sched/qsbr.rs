//! Reclamation for the states of an interpreter: polls, and memory that is
//! freed when no thread can read it any more.
//!
//! Under a GIL every state but the caller's is detached, so the caller's own
//! quiescent states decide; its slot is written by [`quiescent`] alone.

use crate::os::mem;
use crate::sched::callout::{self, Callout};
use crate::sched::current::interp_of;
use crate::state::interp::Interp;
use crate::state::list;
use crate::state::qsbr::Qsbr;
use crate::state::runtime::RUNTIME;
use crate::state::thread::ThreadStateRef;
use crate::sync::head::HeadGuard;
use core::ffi::c_void;
use core::ptr::NonNull;
use core::sync::atomic::Ordering::{Acquire, Relaxed};

/// The function of the host that frees a block.
pub(crate) type Free = unsafe extern "C" fn(*mut c_void);

/// A block that waits to be freed.
struct Deferred {
    block: *mut c_void,
    free: Free,
    goal: u64,
    next: *mut Deferred,
}

/// Called after an attach without a GIL.
#[inline(always)]
pub(crate) fn online(tstate: ThreadStateRef) {
    if let Some(qsbr) = tstate.qsbr.load(Relaxed) {
        qsbr.online(&tstate.qsbr_slot);
    }
}

/// Called before a detach without a GIL.
#[inline(always)]
pub(crate) fn offline(tstate: ThreadStateRef) {
    if !tstate.qsbr.is_none(Relaxed) {
        Qsbr::offline(&tstate.qsbr_slot);
    }
}

/// Records that the caller, attached with `tstate`, holds no pointer at this moment.
pub(crate) fn quiescent(tstate: ThreadStateRef) {
    interp_of(tstate).qsbr.quiescent(&tstate.qsbr_slot);
}

/// Returns the goal for the blocks that the caller took out before.
pub(crate) fn advance(tstate: ThreadStateRef) -> u64 {
    interp_of(tstate).qsbr.advance()
}

/// Whether no thread holds a pointer to a block that was taken out before `goal` was made.
pub(crate) fn poll(tstate: ThreadStateRef, goal: u64) -> bool {
    if !tstate.gil.is_none(Relaxed) {
        return Qsbr::one_reached(tstate.qsbr_slot.load(Acquire), goal);
    }
    let interp = interp_of(tstate);
    if interp.qsbr.has_reached(goal) {
        return true;
    }
    let head = RUNTIME.lock();
    scan(interp, &head);
    drop(head);
    interp.qsbr.has_reached(goal)
}

fn scan(interp: Interp, head: &HeadGuard<'_>) {
    interp.qsbr.scan(list::iter(interp, head).map(|tstate| &tstate.block().qsbr_slot));
}

/// There is no memory to register a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoMemory;

/// Registers `free(block)` to be called once no thread can hold a pointer to it.
pub(crate) fn free_later(
    tstate: ThreadStateRef,
    block: *mut c_void,
    free: Free,
) -> Result<(), NoMemory> {
    let fresh = mem::calloc(size_of::<Deferred>());
    let node = NonNull::new(fresh.cast::<Deferred>()).ok_or(NoMemory)?;
    let goal = advance(tstate);
    let next = core::ptr::null_mut();
    // SAFETY: a fresh block of the right size.
    unsafe { node.as_ptr().write(Deferred { block, free, goal, next }) };
    let interp = interp_of(tstate);
    let head = RUNTIME.lock();
    let last: *mut Deferred = interp.deferred_last.load(Relaxed).cast();
    // SAFETY: queued nodes are live; head lock held.
    match unsafe { last.as_mut() } {
        Some(last) => last.next = node.as_ptr(),
        None => interp.deferred.store(node.as_ptr().cast(), Relaxed),
    }
    interp.deferred_last.store(node.as_ptr().cast(), Relaxed);
    drop(head);
    Ok(())
}

/// Takes the oldest node if its block may be freed now.
fn take(
    interp: Interp,
    ready: impl FnOnce(u64) -> bool,
    _head: &HeadGuard<'_>,
) -> Option<Deferred> {
    let first: *mut Deferred = interp.deferred.load(Relaxed).cast();
    // SAFETY: queued nodes are live; head lock held.
    let node = unsafe { first.as_ref() }.filter(|node| ready(node.goal))?;
    let node = Deferred { ..*node };
    interp.deferred.store(node.next.cast(), Relaxed);
    if node.next.is_null() {
        interp.deferred_last.store(core::ptr::null_mut(), Relaxed);
    }
    // SAFETY: out of the queue; allocated by `free_later`.
    unsafe { mem::free(first.cast()) };
    Some(node)
}

fn run(node: &Deferred) {
    // SAFETY: the host's function and block; attached, no lock held.
    let run = || unsafe { (node.free)(node.block) };
    callout::run(Callout::FreeFunction, core::ptr::null(), run);
}

/// Frees every block that may be freed by now. Returns true if none is left.
pub(crate) fn process(tstate: ThreadStateRef) -> bool {
    let interp = interp_of(tstate);
    let own = (!tstate.gil.is_none(Relaxed)).then(|| tstate.qsbr_slot.load(Acquire));
    if own.is_none() && !interp.deferred.load(Relaxed).is_null() {
        let head = RUNTIME.lock();
        scan(interp, &head);
        drop(head);
    }
    let ready = |goal| match own {
        Some(seen) => Qsbr::one_reached(seen, goal),
        None => interp.qsbr.has_reached(goal),
    };
    loop {
        let head = RUNTIME.lock();
        let node = take(interp, ready, &head);
        let empty = interp.deferred.load(Relaxed).is_null();
        drop(head);
        match node {
            Some(node) => run(&node),
            None => return empty,
        }
    }
}

/// Frees everything: the interpreter is cleared, no other thread can attach.
pub(crate) fn finish(interp: Interp) {
    loop {
        let head = RUNTIME.lock();
        let node = take(interp, |_| true, &head);
        drop(head);
        match node {
            Some(node) => run(&node),
            None => return,
        }
    }
}
