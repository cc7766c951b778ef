//! `internal/pycore_lock.h`: PyEvent, alone and reference-counted.

use core::ffi::c_int;
use core::ptr::{self, NonNull};

use super::arg;
use super::pytime::PyTime_t;
use crate::os::clock::Deadline;
use crate::probe::{self, Point};
use crate::sched::blocking::Detach;
use crate::sched::lock_rules::{ByRules, LockRules};
use crate::sync::event::PyEvent;
use crate::sync::event_rc::_PyEventRc;

/// Returns whether the event is set.
///
/// @param evt  The event; all-zero is not set. Borrowed. Not NULL (checked in debug builds only).
/// @return 1 if it is set (it stays set); 0 if not.
///
/// Errors:  none.
/// Blocks:  never.
/// Threads: any, attached or not. Async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// `evt` points to an event.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyEvent_IsSet(evt: *mut PyEvent) -> c_int {
    // SAFETY: this function's contract is `hot`'s.
    c_int::from(unsafe { arg::hot(evt) }.is_set())
}

/// Sets the event and wakes every thread that waits for it. Has no effect if the event is already
/// set.
///
/// Once it is set the call does not touch the event any more: a thread that waited for it may free
/// it.
///
/// @param evt  The event. Borrowed. Not NULL (checked in debug builds only).
///
/// Errors:  none.
/// Blocks:  never.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.13.
///
/// # Safety
/// `evt` points to an event.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyEvent_Notify(evt: *mut PyEvent) {
    // SAFETY: this function's contract is `hot`'s.
    unsafe { arg::hot(evt) }.set();
    probe::point(Point::EventSet);
}

/// Waits until the event is set.
///
/// @param evt  The event. Borrowed, must not move while in use. Not NULL (checked in debug builds only).
///
/// Errors:  none.
/// Blocks:  until the event is set. An attached caller is detached while it sleeps, and attached again before
///          the return, which may never come once the interpreter finalizes. Signals do not end the wait.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.13.
///
/// # Safety
/// `evt` points to an event that lives until it is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyEvent_Wait(evt: *mut PyEvent) {
    // SAFETY: this function's contract is `hot`'s.
    let event = unsafe { arg::hot(evt) };
    while !event.wait(Deadline::NEVER, &mut Detach::at(Point::EventWait)) {}
}

/// Waits until the event is set, the time limit has passed, or a signal arrives.
///
/// @param evt         The event. Borrowed. Not NULL (checked in debug builds only).
/// @param timeout_ns  Nanoseconds; nothing but a signal ends the wait earlier. Negative waits without limit.
/// @param detach      Not 0: an attached caller is detached while it sleeps. 0: it keeps its GIL.
/// @return 1 if the event is set, 0 if not: the time passed or a signal arrived, which only the caller's own
///         clock can tell apart.
///
/// Errors:  none.
/// Blocks:  up to `timeout_ns`; a detached caller also until it is attached again.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.13.
///
/// # Safety
/// `evt` points to an event that outlives the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyEvent_WaitTimed(
    evt: *mut PyEvent,
    timeout_ns: PyTime_t,
    detach: c_int,
) -> c_int {
    let mut waiting = ByRules::at(Point::EventWait, LockRules::interruptible(detach != 0));
    // SAFETY: this function's contract is `hot`'s.
    let event = unsafe { arg::hot(evt) };
    c_int::from(event.wait(Deadline::after(timeout_ns), &mut waiting))
}

/// Makes an event that is not set, on the heap.
///
/// @return The event with one reference, the caller's; NULL if there is no memory.
///
/// Errors:  NULL as above; no error indicator is set.
/// Blocks:  never.
/// Threads: any, attached or not. Not async-signal-safe.
/// Source:  the nogil forks of CPython 3.12 (gh-114271).
#[unsafe(no_mangle)]
pub extern "C" fn _PyEventRc_New() -> *mut _PyEventRc {
    _PyEventRc::allocate().map_or(ptr::null_mut(), NonNull::as_ptr)
}

/// Takes one more reference to an event.
///
/// @param erc  The event, to which the caller has a reference. Borrowed. NULL is fatal.
///
/// Errors:  none.
/// Blocks:  never.
/// Threads: any, attached or not. Async-signal-safe.
/// Source:  the nogil forks of CPython 3.12 (gh-114271).
///
/// # Safety
/// `erc` points to an event to which the caller has a reference.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyEventRc_Incref(erc: *mut _PyEventRc) {
    // SAFETY: this function's contract is `required`'s.
    unsafe { arg::required(erc, c"_PyEventRc_Incref", "erc") }.incref();
}

/// Drops one reference to an event. Dropping the last one frees the event.
///
/// @param erc  The event. The caller's reference goes. NULL is fatal.
///
/// Errors:  none.
/// Blocks:  never.
/// Threads: any, attached or not. Not async-signal-safe.
/// Source:  the nogil forks of CPython 3.12 (gh-114271).
///
/// # Safety
/// `erc` points to an event to which the caller has a reference, which it does not use any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyEventRc_Decref(erc: *mut _PyEventRc) {
    // SAFETY: this function's contract is `required`'s.
    let event = unsafe { arg::required(erc, c"_PyEventRc_Decref", "erc") };
    // SAFETY: this function's contract.
    unsafe { _PyEventRc::decref(NonNull::from(event)) };
}
