//! `cpython/critical_section.h`. The macros stand in `pytstate/macros.h`.
//!
//! Sections lock in interpreters without a GIL only. Under a GIL a Begin notes that there is nothing to end, and that is all:
//! which of the two a section is was decided by its Begin.

use core::ffi::CStr;

use super::arg;
use crate::sched::critical_section::{self, EndSectionError, is_real};
use crate::sched::fatal::fatal;
use crate::sched::misuse::misuse;
use crate::sched::sections::{PyCriticalSection, PyCriticalSection2};
use crate::state::object::PyObject;
use crate::state::runtime::RUNTIME;
use crate::state::thread::ThreadStateRef;
use crate::sync::mutex::PyMutex;

/// The mutex of a host's object; `None` when the host gives none, and misuse lets the call go on.
fn object_mutex(object: *mut PyObject, func: &CStr) -> Option<*mut PyMutex> {
    let Some(hook) = RUNTIME.objects().object_mutex else {
        misuse(func, format_args!("the host gave no object_mutex hook (PyTState_ObjectHooks)"));
        return None;
    };
    // SAFETY: the host's hook; attached, no lock held.
    let mutex = unsafe { hook(object) };
    if mutex.is_null() {
        misuse(func, format_args!("the object_mutex hook gave no mutex for object {object:p}"));
        return None;
    }
    Some(mutex)
}

/// Begins a critical section: locks the object's mutex until PyCriticalSection_End().
///
/// In an interpreter with a GIL nothing is locked and the object is not looked at: the GIL is the lock there. Whenever the
/// thread detaches or waits, all its sections are unlocked; the innermost is locked again before the thread goes on.
/// Nothing that an outer section protects can be relied upon after an inner one began.
///
/// @param c   Room for the section, on the stack; initialized here. Borrowed until the End. Not NULL (checked in debug builds
///            only).
/// @param op  The host's object: PyTState_ObjectHooks.object_mutex finds its mutex. Borrowed until the End.
///
/// Errors:  fatal if nothing is attached. Without a GIL: misuse if the host gave no hook, or the hook gave NULL.
/// Blocks:  without a GIL, until the mutex is free, detached while it sleeps. Not if the innermost section of this thread holds
///          the mutex, or if the world is stopped: then the section locks nothing.
/// Threads: attached. Not async-signal-safe.
/// Source:  CPython 3.14; one library for both of its builds.
///
/// # Safety
/// `c` outlives the section, which PyCriticalSection_End() ends on this thread, newest first.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyCriticalSection_Begin(c: *mut PyCriticalSection, op: *mut PyObject) {
    const FUNC: &CStr = c"PyCriticalSection_Begin";
    // SAFETY: this function's contract is `hot`'s.
    let section = unsafe { arg::hot(c) };
    let tstate = arg::attached(FUNC);
    let mutex = if is_real(tstate) { object_mutex(op, FUNC) } else { None };
    if let Some(mutex) = mutex {
        // SAFETY: the hook's mutex lives as long as its object, which outlives the section.
        begin(tstate, section, unsafe { arg::required(mutex, FUNC, "op") });
    } else {
        section.make_empty();
    }
}

#[inline(always)]
fn begin(tstate: ThreadStateRef, section: &PyCriticalSection, mutex: &PyMutex) {
    critical_section::begin(tstate, section, mutex);
}

/// Begins a critical section: locks the mutex until PyCriticalSection_End().
///
/// As PyCriticalSection_Begin(). A detach unlocks the mutex of a section for a while, but not a
/// mutex that PyMutex_Lock() locked.
///
/// @param c  Room for the section, on the stack; initialized here. Borrowed until the End. Not NULL (checked in debug builds
///           only).
/// @param m  The mutex. Borrowed until the End. Not NULL, except under a GIL, where it is not looked at.
///
/// Errors:  fatal if nothing is attached; without a GIL, if `m` is NULL.
/// Blocks:  as PyCriticalSection_Begin().
/// Threads: attached. Not async-signal-safe.
/// Source:  CPython 3.14.
///
/// # Safety
/// `c` and `m` outlive the section, which PyCriticalSection_End() ends on this thread, newest first.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyCriticalSection_BeginMutex(c: *mut PyCriticalSection, m: *mut PyMutex) {
    const FUNC: &CStr = c"PyCriticalSection_BeginMutex";
    // SAFETY: this function's contract is `hot`'s.
    let section = unsafe { arg::hot(c) };
    let tstate = arg::attached(FUNC);
    if is_real(tstate) {
        // SAFETY: this function's contract.
        begin(tstate, section, unsafe { arg::required(m, FUNC, "m") });
    } else {
        section.make_empty();
    }
}

/// Ends the critical section that the thread began last.
///
/// What the section before it lost meanwhile is locked again.
///
/// @param c  The section. Not NULL (checked in debug builds only).
///
/// Errors:  for a section that locks something: fatal if nothing is attached, or if its mutex is not locked; misuse, and
///          nothing happens, if `c` is not the section that the attached state began last.
/// Blocks:  until the mutexes of the section before it are free, if a detach had unlocked them.
/// Threads: the one that called Begin, attached with the same state. Not async-signal-safe.
/// Source:  CPython 3.14.
///
/// # Safety
/// `c` was begun by PyCriticalSection_Begin() or PyCriticalSection_BeginMutex().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyCriticalSection_End(c: *mut PyCriticalSection) {
    // SAFETY: this function's contract is `hot`'s.
    end(unsafe { arg::hot(c) }, c"PyCriticalSection_End");
}

#[inline(always)]
fn end(section: &PyCriticalSection, func: &CStr) {
    if section.is_empty() {
        return;
    }
    match critical_section::end(arg::attached(func), section) {
        Ok(()) => {}
        Err(EndSectionError::NotLocked) => {
            fatal(func, format_args!("unlocking mutex that is not locked"));
        }
        Err(EndSectionError::NotOnTop) => misuse(
            func,
            format_args!("critical section {section:p} is not the one that was begun last"),
        ),
    }
}

/// Begins a critical section of two objects, in an order that cannot deadlock.
///
/// As PyCriticalSection_Begin(). The same object twice is locked once. If the innermost section of this thread holds just these
/// two, this one locks nothing.
///
/// @param c  Room for the section, on the stack; initialized here. Borrowed until the End. Not NULL (checked in debug builds
///           only).
/// @param a  One object of the host. Borrowed until the End.
/// @param b  The other object. Borrowed until the End.
///
/// Errors:  as PyCriticalSection_Begin(); after misuse neither is locked.
/// Blocks:  as PyCriticalSection_Begin().
/// Threads: attached. Not async-signal-safe.
/// Source:  CPython 3.14; one library for both of its builds.
///
/// # Safety
/// `c` outlives the section, which PyCriticalSection2_End() ends on this thread, newest first.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyCriticalSection2_Begin(
    c: *mut PyCriticalSection2,
    a: *mut PyObject,
    b: *mut PyObject,
) {
    const FUNC: &CStr = c"PyCriticalSection2_Begin";
    // SAFETY: this function's contract is `hot`'s.
    let section = unsafe { arg::hot(c) };
    let tstate = arg::attached(FUNC);
    let mutexes = if is_real(tstate) {
        object_mutex(a, FUNC).and_then(|first| Some((first, object_mutex(b, FUNC)?)))
    } else {
        None
    };
    if let Some((first, second)) = mutexes {
        // SAFETY: the hook's mutex lives as long as its object, which outlives the section.
        let first = unsafe { arg::required(first, FUNC, "a") };
        // SAFETY: as above.
        let second = unsafe { arg::required(second, FUNC, "b") };
        begin2(tstate, section, first, second);
    } else {
        section.make_empty();
    }
}

fn begin2(tstate: ThreadStateRef, section: &PyCriticalSection2, a: &PyMutex, b: &PyMutex) {
    if core::ptr::eq(a, b) {
        critical_section::begin2_equal(tstate, section, a);
    } else {
        critical_section::begin2(tstate, section, a, b);
    }
}

/// Begins a critical section of two mutexes, in an order that cannot deadlock.
///
/// As PyCriticalSection2_Begin().
///
/// @param c   Room for the section, on the stack; initialized here. Borrowed until the End. Not NULL (checked in debug builds
///            only).
/// @param m1  One mutex. Borrowed until the End. Not NULL, except under a GIL, where it is not looked at.
/// @param m2  The other mutex; may be the same. Borrowed until the End. As `m1`.
///
/// Errors:  fatal if nothing is attached; without a GIL, if `m1` or `m2` is NULL.
/// Blocks:  as PyCriticalSection_Begin().
/// Threads: attached. Not async-signal-safe.
/// Source:  CPython 3.14.
///
/// # Safety
/// `c` and the mutexes outlive the section, which PyCriticalSection2_End() ends on this thread, newest first.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyCriticalSection2_BeginMutex(
    c: *mut PyCriticalSection2,
    m1: *mut PyMutex,
    m2: *mut PyMutex,
) {
    const FUNC: &CStr = c"PyCriticalSection2_BeginMutex";
    // SAFETY: this function's contract is `hot`'s.
    let section = unsafe { arg::hot(c) };
    let tstate = arg::attached(FUNC);
    if is_real(tstate) {
        // SAFETY: this function's contract.
        let m1 = unsafe { arg::required(m1, FUNC, "m1") };
        // SAFETY: this function's contract.
        let m2 = unsafe { arg::required(m2, FUNC, "m2") };
        begin2(tstate, section, m1, m2);
    } else {
        section.make_empty();
    }
}

/// Ends the critical section of two that the thread began last.
///
/// As PyCriticalSection_End().
///
/// @param c  The section. Not NULL (checked in debug builds only).
///
/// Errors:  as PyCriticalSection_End().
/// Blocks:  as PyCriticalSection_End().
/// Threads: the one that called Begin, attached with the same state. Not async-signal-safe.
/// Source:  CPython 3.14.
///
/// # Safety
/// `c` was begun by PyCriticalSection2_Begin() or PyCriticalSection2_BeginMutex().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyCriticalSection2_End(c: *mut PyCriticalSection2) {
    // SAFETY: this function's contract is `hot`'s.
    end(&unsafe { arg::hot(c) }._cs_base, c"PyCriticalSection2_End");
}
