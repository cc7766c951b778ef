//! Errors taken out of the indicator and put back: pyerrors.h of CPython.

use super::arg;
use crate::sched::raise;
use crate::state::error_kind;
use crate::state::object::PyObject;
use core::ffi::CStr;

/// Takes the error out of the indicator, which is empty then.
///
/// @return The exception, with the caller's reference; NULL: no error was set. PyErr_SetRaisedException() puts it back,
///         with its text if no other error was set on this thread state meanwhile.
///
/// Errors:  fatal if nothing is attached.
/// Blocks:  never.
/// Threads: attached. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.13.
#[unsafe(no_mangle)]
pub extern "C" fn PyErr_GetRaisedException() -> *mut PyObject {
    error_kind::fetch(arg::attached(c"PyErr_GetRaisedException"))
}

/// Puts an exception into the error indicator, in the place of what is there.
///
/// @param exc  The exception; NULL empties the indicator. The caller gives a reference away.
///
/// Errors:  fatal if nothing is attached.
/// Blocks:  as long as the host's `decref` and `raise` hooks do.
/// Threads: attached. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.13.
///
/// # Safety
/// `exc` is NULL, an exception of this library, or an object of the host with a reference that is the caller's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyErr_SetRaisedException(exc: *mut PyObject) {
    arg::attached(c"PyErr_SetRaisedException");
    raise::restore(exc);
}

/// Takes the error out of the indicator, in three parts.
///
/// @param ptype       Gets the exception, with the caller's reference, or NULL: no error was set. Must not be NULL.
/// @param pvalue      Gets NULL: an error is one object here. Must not be NULL.
/// @param ptraceback  Gets NULL: there are no frames. Must not be NULL.
///
/// Errors:  fatal if nothing is attached, or if a parameter is NULL.
/// Blocks:  never.
/// Threads: attached. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.13, where PyErr_GetRaisedException() is its successor.
///
/// # Safety
/// The three are writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyErr_Fetch(
    ptype: *mut *mut PyObject,
    pvalue: *mut *mut PyObject,
    ptraceback: *mut *mut PyObject,
) {
    const FUNC: &CStr = c"PyErr_Fetch";
    let tstate = arg::attached(FUNC);
    for (place, name) in [(ptype, "ptype"), (pvalue, "pvalue"), (ptraceback, "ptraceback")] {
        if place.is_null() {
            arg::null(FUNC, name);
        }
        // SAFETY: this function's contract.
        unsafe { place.write(core::ptr::null_mut()) };
    }
    // SAFETY: this function's contract.
    unsafe { ptype.write(error_kind::fetch(tstate)) };
}

/// Puts an error that PyErr_Fetch() took back into the indicator, in the place of what is there.
///
/// @param type       The exception; NULL empties the indicator. The caller gives a reference away.
/// @param value      NULL, or an object that is dropped. The caller gives a reference away.
/// @param traceback  NULL, or an object that is dropped. The caller gives a reference away.
///
/// Errors:  fatal if nothing is attached.
/// Blocks:  as long as the host's `decref` and `raise` hooks do.
/// Threads: attached. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.13, where PyErr_SetRaisedException() is its successor.
///
/// # Safety
/// Each is NULL, an exception of this library, or an object of the host with a reference that is the caller's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyErr_Restore(
    r#type: *mut PyObject,
    value: *mut PyObject,
    traceback: *mut PyObject,
) {
    arg::attached(c"PyErr_Restore");
    raise::restore(r#type);
    raise::drop_reference(value);
    raise::drop_reference(traceback);
}
