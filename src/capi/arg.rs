//! Decoding arguments: one helper for each documented NULL rule.

use crate::life::checks;
use crate::life::fork::parent;
use crate::sched::attach::Refusal;
use crate::sched::callout::{self, Callout, Ends};
use crate::sched::current::current;
use crate::sched::fatal::{NO_STATE, fatal};
use crate::sched::handover;
use crate::sched::misuse::{misuse, unusual};
use crate::state::handle::{Handle, PyThreadHandle};
use crate::state::interp::Interp;
use crate::state::public::PyInterpreterState;
use crate::state::public::PyThreadState;
use crate::state::thread::{ThreadStateRef, status};
use core::ffi::CStr;

/// May be NULL.
///
/// # Safety
/// `pointer` is NULL or valid for `'a`.
pub(super) unsafe fn nullable<'a, T>(pointer: *const T) -> Option<&'a T> {
    // SAFETY: this function's contract.
    unsafe { pointer.as_ref() }
}

/// May not be NULL: fatal in every build, naming function and parameter.
///
/// # Safety
/// `pointer` is NULL or valid for `'a`.
#[inline]
pub(super) unsafe fn required<'a, T>(pointer: *const T, func: &CStr, name: &str) -> &'a T {
    // SAFETY: this function's contract.
    match unsafe { pointer.as_ref() } {
        Some(reference) => reference,
        None => null(func, name),
    }
}

/// On a path too hot for a test in release builds: checked in debug builds.
///
/// # Safety
/// `pointer` is valid for `'a`.
#[inline(always)]
pub(super) unsafe fn hot<'a, T>(pointer: *const T) -> &'a T {
    debug_assert!(!pointer.is_null());
    // SAFETY: this function's contract.
    unsafe { &*pointer }
}

/// The end of a call with a NULL that is not allowed.
#[cold]
pub(super) fn null(func: &CStr, name: &str) -> ! {
    fatal(func, format_args!("argument '{name}' must not be NULL"))
}

/// A thread state that may not be NULL.
///
/// # Safety
/// `pointer` is NULL or a thread state that is not deleted.
#[inline]
pub(super) unsafe fn state(pointer: *mut PyThreadState, func: &CStr) -> ThreadStateRef {
    // SAFETY: this function's contract.
    match unsafe { ThreadStateRef::from_ptr(pointer) } {
        Some(tstate) => tstate,
        None => null(func, "tstate"),
    }
}

/// An interpreter that may not be NULL.
///
/// # Safety
/// `pointer` is NULL or an interpreter of this library.
#[inline]
pub(super) unsafe fn interp(pointer: *mut PyInterpreterState, func: &CStr) -> Interp {
    // SAFETY: this function's contract.
    match unsafe { Interp::from_ptr(pointer) } {
        Some(interp) => interp,
        None => null(func, "interp"),
    }
}

/// A thread handle that may not be NULL.
///
/// # Safety
/// `pointer` is NULL or a live handle.
pub(super) unsafe fn handle(pointer: *mut PyThreadHandle, func: &CStr) -> Handle {
    // SAFETY: this function's contract.
    match unsafe { Handle::from_ptr(pointer) } {
        Some(handle) => handle,
        None => null(func, "handle"),
    }
}

/// A NUL-terminated string that may not be NULL.
///
/// # Safety
/// `pointer` is NULL or a string that lives for `'a`.
pub(super) unsafe fn text<'a>(
    pointer: *const core::ffi::c_char,
    func: &CStr,
    name: &str,
) -> &'a CStr {
    if pointer.is_null() {
        null(func, name);
    }
    // SAFETY: this function's contract.
    unsafe { CStr::from_ptr(pointer) }
}

/// The attached state of the caller; fatal when there is none.
#[inline(always)]
pub(super) fn attached(func: &CStr) -> ThreadStateRef {
    match current() {
        Some(tstate) => tstate,
        None => no_state(func),
    }
}

/// The attached state of the caller, which names it: fatal when there is none,
/// misuse when it is another.
pub(super) fn own(pointer: *mut PyThreadState, func: &CStr) -> ThreadStateRef {
    let tstate = attached(func);
    if tstate.as_ptr() != pointer {
        misuse(
            func,
            format_args!("thread state {pointer:p} is not the attached one, {:p}", tstate.as_ptr()),
        );
    }
    tstate
}

/// Fatal if a function of the host that the library has called on this thread
/// still needs what the call would end, or if the thread is between the two
/// calls around a fork.
#[inline]
pub(super) fn may_end(func: &CStr, ends: Ends) {
    if let Some(callout) = callout::forbids(ends) {
        needed(func, callout);
    }
    not_forking(func);
}

/// Fatal if the thread is between the two calls around a fork.
#[inline]
pub(super) fn not_forking(func: &CStr) {
    if parent::is_forking() {
        fatal(func, format_args!("called between the calls before and after a fork"));
    }
}

/// Fatal in a function during which no interpreter is made: a visitor, say.
pub(super) fn may_make_interp(func: &CStr) {
    if let Some(callout) = callout::keeps_interps() {
        fatal(func, format_args!("called from {}", callout.name()));
    }
}

/// The end of a call that would end what a function of the host still needs.
#[cold]
pub(super) fn needed(func: &CStr, callout: Callout) -> ! {
    fatal(func, format_args!("called from {}, which still needs what this ends", callout.name()))
}

/// The end of a call that needs an attached state (S-FE-01).
#[cold]
pub(super) fn no_state(func: &CStr) -> ! {
    fatal(func, format_args!("{NO_STATE}"))
}

/// Checks that the caller may attach `state`; fatal when it may not.
#[inline(always)]
pub(super) fn attachable(tstate: ThreadStateRef, func: &CStr) {
    if let Err(refusal) = checks::attach(tstate) {
        refuse(tstate, func, refusal);
    }
}

/// The end of an attach by a thread that has a state attached (S-FE-08).
#[cold]
pub(super) fn attached_already(func: &CStr, attached: Option<ThreadStateRef>) -> ! {
    fatal(
        func,
        format_args!(
            "non-NULL old thread state: {:p} is attached to this thread already",
            attached.map_or(core::ptr::null_mut(), ThreadStateRef::as_ptr)
        ),
    )
}

#[cold]
fn refuse(tstate: ThreadStateRef, func: &CStr, refusal: Refusal) {
    match refusal {
        Refusal::AlreadyAttached => attached_already(func, current()),
        Refusal::NotUsable if tstate.has(status::DELETED) => {
            fatal(func, format_args!("thread state {:p} was deleted", tstate.as_ptr()))
        }
        Refusal::NotUsable => {
            fatal(func, format_args!("thread state {:p} was cleared", tstate.as_ptr()))
        }
        Refusal::OtherThread => of_other_thread(tstate, func),
    }
}

/// An attach of a state that another OS thread has used last.
fn of_other_thread(tstate: ThreadStateRef, func: &CStr) {
    if tstate.has(status::ABANDONED) {
        // The late-attach policy comes next.
        return;
    }
    if handover::is_in_call(tstate) {
        handover::refuse(tstate, func);
    }
    let (pointer, thread, native) = (tstate.as_ptr(), tstate.thread_id(), tstate.native_id());
    if handover::is_started(tstate) {
        misuse(
            func,
            format_args!(
                "thread state {pointer:p} belongs to thread 0x{thread:x} (tid {native}), which was started for it"
            ),
        );
    } else {
        unusual(
            func,
            format_args!("thread state {pointer:p} belongs to thread 0x{thread:x} (tid {native})"),
        );
    }
}
