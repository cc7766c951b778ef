//! Results that carry a reason: PyStatus of CPython's cpython/initconfig.h.

use super::arg;
use super::ret::exit_with;
use crate::os::thread;
use crate::sched::fatal::fatal;
use core::ffi::{CStr, c_char, c_int};

/// `PyStatus._type`: success.
pub const _PyStatus_TYPE_OK: c_int = 0;
/// `PyStatus._type`: an error with a message.
pub const _PyStatus_TYPE_ERROR: c_int = 1;
/// `PyStatus._type`: a request to end the process.
pub const _PyStatus_TYPE_EXIT: c_int = 2;

/// Result of calls that can fail before there is an error indicator. Passed by value.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PyStatus {
    /// One of _PyStatus_TYPE_OK, _PyStatus_TYPE_ERROR, _PyStatus_TYPE_EXIT.
    pub _type: c_int,
    /// The function that failed, or NULL. Static.
    pub func: *const c_char,
    /// What went wrong, or NULL. Static.
    pub err_msg: *const c_char,
    /// Exit code of an exit request.
    pub exitcode: c_int,
}

const OK: c_int = _PyStatus_TYPE_OK;
const ERROR: c_int = _PyStatus_TYPE_ERROR;
const EXIT: c_int = _PyStatus_TYPE_EXIT;

impl PyStatus {
    pub(super) const fn ok() -> PyStatus {
        PyStatus { _type: OK, func: core::ptr::null(), err_msg: core::ptr::null(), exitcode: 0 }
    }

    pub(super) const fn error(func: &'static CStr, text: &'static CStr) -> PyStatus {
        PyStatus { _type: ERROR, func: func.as_ptr(), err_msg: text.as_ptr(), exitcode: 0 }
    }
}

/// Returns a status of success.
///
/// @return A status for which PyStatus_Exception() is 0.
///
/// Errors:  none.
/// Blocks:  no.
/// Threads: any. Async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyStatus_Ok() -> PyStatus {
    PyStatus::ok()
}

/// Returns a status of an error with a message.
///
/// @param err_msg  What went wrong. Must not be NULL. Borrowed: kept as a pointer.
/// @return A status for which PyStatus_IsError() is 1.
///
/// Errors:  fatal if NULL.
/// Blocks:  no.
/// Threads: any. Async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// `err_msg` is NUL-terminated and outlives the status.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyStatus_Error(err_msg: *const c_char) -> PyStatus {
    // SAFETY: this function's contract.
    let text = unsafe { arg::text(err_msg, c"PyStatus_Error", "err_msg") };
    PyStatus { _type: ERROR, func: core::ptr::null(), err_msg: text.as_ptr(), exitcode: 0 }
}

/// Returns the status of the error "memory allocation failed".
///
/// @return A status for which PyStatus_IsError() is 1.
///
/// Errors:  none.
/// Blocks:  no.
/// Threads: any. Async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyStatus_NoMemory() -> PyStatus {
    PyStatus { func: core::ptr::null(), ..PyStatus::error(c"", c"memory allocation failed") }
}

/// Returns a status that asks to end the process.
///
/// @param exitcode  Exit code.
/// @return A status for which PyStatus_IsExit() is 1.
///
/// Errors:  none.
/// Blocks:  no.
/// Threads: any. Async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyStatus_Exit(exitcode: c_int) -> PyStatus {
    PyStatus { _type: EXIT, exitcode, ..PyStatus::ok() }
}

/// Returns whether a status is an error.
///
/// @param status  The status.
/// @return 1 or 0.
///
/// Errors:  none.
/// Blocks:  no.
/// Threads: any. Async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyStatus_IsError(status: PyStatus) -> c_int {
    c_int::from(status._type == ERROR)
}

/// Returns whether a status asks to end the process.
///
/// @param status  The status.
/// @return 1 or 0.
///
/// Errors:  none.
/// Blocks:  no.
/// Threads: any. Async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyStatus_IsExit(status: PyStatus) -> c_int {
    c_int::from(status._type == EXIT)
}

/// Returns whether a status is an error or asks to end the process.
///
/// @param status  The status.
/// @return 1 or 0.
///
/// Errors:  none.
/// Blocks:  no.
/// Threads: any. Async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyStatus_Exception(status: PyStatus) -> c_int {
    c_int::from(status._type != OK)
}

/// Ends the process as a status says: an exit request with its code, an error with its message and status 1.
///
/// @param status  The status; must not be a success.
///
/// Errors:  fatal on a success.
/// Blocks:  does not return.
/// Threads: any. Not async-signal-safe (exit(3) runs).
/// Source:  CPython 3.13.
///
/// # Safety
/// The texts of `status` are NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn Py_ExitStatusException(status: PyStatus) -> ! {
    const FUNC: &CStr = c"Py_ExitStatusException";
    match status._type {
        EXIT => thread::exit_process(status.exitcode),
        ERROR => {
            // SAFETY: this function's contract.
            let func = unsafe { text_or_empty(status.func) };
            // SAFETY: this function's contract.
            let text = unsafe { text_or_empty(status.err_msg) };
            exit_with(func, text.to_str().unwrap_or("?"))
        }
        _ => fatal(FUNC, format_args!("must not be called on success")),
    }
}

/// # Safety
/// `text` is NULL or NUL-terminated, for `'a`.
unsafe fn text_or_empty<'a>(text: *const c_char) -> &'a CStr {
    if text.is_null() {
        return c"";
    }
    // SAFETY: this function's contract.
    unsafe { CStr::from_ptr(text) }
}
