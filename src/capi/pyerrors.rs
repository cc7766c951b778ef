//! Errors: the error indicator of CPython's pyerrors.h, without objects, and the end of the process by Py_FatalError().
//!
//! The indicator is an exception type, one of the globals below or an object of the host, and a text. A host that has
//! exceptions of its own installs PyTState_ObjectHooks.raise and gets them instead; the indicator then stays empty.

use super::arg;
use crate::probe::text::Message;
use crate::sched::fatal::fatal;
use crate::sched::{current, raise};
use crate::state::error_kind::{self, ExceptionKind};
use crate::state::object::PyObject;
use core::ffi::{CStr, c_char, c_int};

/// RuntimeError. Opaque: compare it, pass it on, never look inside. Not counted.
#[unsafe(no_mangle)]
pub static mut PyExc_RuntimeError: *mut PyObject = ExceptionKind::Runtime.object();
/// ValueError.
#[unsafe(no_mangle)]
pub static mut PyExc_ValueError: *mut PyObject = ExceptionKind::Value.object();
/// MemoryError.
#[unsafe(no_mangle)]
pub static mut PyExc_MemoryError: *mut PyObject = ExceptionKind::Memory.object();
/// SystemError.
#[unsafe(no_mangle)]
pub static mut PyExc_SystemError: *mut PyObject = ExceptionKind::System.object();
/// OverflowError.
#[unsafe(no_mangle)]
pub static mut PyExc_OverflowError: *mut PyObject = ExceptionKind::Overflow.object();
/// TimeoutError, an OSError.
#[unsafe(no_mangle)]
pub static mut PyExc_TimeoutError: *mut PyObject = ExceptionKind::Timeout.object();
/// KeyboardInterrupt: SIGINT arrived.
#[unsafe(no_mangle)]
pub static mut PyExc_KeyboardInterrupt: *mut PyObject = ExceptionKind::KeyboardInterrupt.object();
/// PythonFinalizationError, a RuntimeError: refused since the interpreter is about to end.
#[unsafe(no_mangle)]
pub static mut PyExc_PythonFinalizationError: *mut PyObject =
    ExceptionKind::PythonFinalization.object();
/// RecursionError, a RuntimeError.
#[unsafe(no_mangle)]
pub static mut PyExc_RecursionError: *mut PyObject = ExceptionKind::Recursion.object();
/// InterpreterError.
#[unsafe(no_mangle)]
pub static mut PyExc_InterpreterError: *mut PyObject = ExceptionKind::Interpreter.object();
/// InterpreterNotFoundError, an InterpreterError.
#[unsafe(no_mangle)]
pub static mut PyExc_InterpreterNotFoundError: *mut PyObject =
    ExceptionKind::InterpreterNotFound.object();
/// OSError.
#[unsafe(no_mangle)]
pub static mut PyExc_OSError: *mut PyObject = ExceptionKind::Os.object();
/// TypeError.
#[unsafe(no_mangle)]
pub static mut PyExc_TypeError: *mut PyObject = ExceptionKind::Type.object();

/// Returns whether the error indicator is set.
///
/// @return The exception type of the indicator, or NULL: no error. Borrowed.
///
/// Errors:  fatal if nothing is attached.
/// Blocks:  never.
/// Threads: attached. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.13.
#[unsafe(no_mangle)]
pub extern "C" fn PyErr_Occurred() -> *mut PyObject {
    arg::attached(c"PyErr_Occurred").exception()
}

/// Empties the error indicator.
///
/// Errors:  fatal if nothing is attached.
/// Blocks:  never; a host's exception may run a destructor of the host.
/// Threads: attached. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.13.
#[unsafe(no_mangle)]
pub extern "C" fn PyErr_Clear() {
    arg::attached(c"PyErr_Clear");
    raise::clear();
}

/// Sets the error indicator, or raises in the host if it installed PyTState_ObjectHooks.raise.
///
/// @param exception  A PyExc_* global, or an object of the host. Must not be NULL. A new reference is taken.
/// @param string     What went wrong. Must not be NULL. Copied; without memory for the copy the text is empty.
///
/// Errors:  fatal if nothing is attached or a pointer is NULL. An error that was set before is forgotten.
/// Blocks:  never.
/// Threads: attached. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.13.
///
/// # Safety
/// `exception` is NULL, a PyExc_* global or a live object of the host; `string` is NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyErr_SetString(exception: *mut PyObject, string: *const c_char) {
    const FUNC: &CStr = c"PyErr_SetString";
    arg::attached(FUNC);
    // SAFETY: this function's contract.
    let text = unsafe { arg::text(string, FUNC, "string") };
    raise::raise_object(not_null(exception, FUNC), Some(text));
}

/// Sets the error indicator without a text.
///
/// @param exception  As PyErr_SetString()'s. Must not be NULL.
///
/// Errors:  as PyErr_SetString().
/// Blocks:  never.
/// Threads: attached. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.13.
///
/// # Safety
/// `exception` is NULL, a PyExc_* global or a live object of the host.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyErr_SetNone(exception: *mut PyObject) {
    const FUNC: &CStr = c"PyErr_SetNone";
    arg::attached(FUNC);
    raise::raise_object(not_null(exception, FUNC), Some(c""));
}

/// Sets the error indicator to MemoryError, without a text and without memory.
///
/// @return NULL, for `return PyErr_NoMemory();`.
///
/// Errors:  fatal if nothing is attached.
/// Blocks:  never.
/// Threads: attached. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.13.
#[unsafe(no_mangle)]
pub extern "C" fn PyErr_NoMemory() -> *mut PyObject {
    arg::attached(c"PyErr_NoMemory");
    raise::raise(ExceptionKind::Memory, c"");
    core::ptr::null_mut()
}

/// Returns whether the error that is set is of this type or of a subtype.
///
/// @param exc  A PyExc_* global, or an object of the host, which only matches itself. NULL matches nothing.
/// @return 1 or 0; 0 if no error is set.
///
/// Errors:  fatal if nothing is attached.
/// Blocks:  never.
/// Threads: attached. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.13, where exc may also be a tuple.
///
/// # Safety
/// None: `exc` is only compared.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyErr_ExceptionMatches(exc: *mut PyObject) -> c_int {
    let set = arg::attached(c"PyErr_ExceptionMatches").exception();
    let same = !set.is_null() && set == exc;
    let related =
        ExceptionKind::of(set).zip(ExceptionKind::of(exc)).is_some_and(|(set, exc)| set.is_a(exc));
    c_int::from(same || related)
}

/// Prints the error that is set on standard error, as "RuntimeError: text", and empties the indicator.
///
/// Does nothing if none is set.
///
/// Errors:  fatal if nothing is attached.
/// Blocks:  for standard error, without detaching.
/// Threads: attached. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.13.
#[unsafe(no_mangle)]
pub extern "C" fn PyErr_Print() {
    arg::attached(c"PyErr_Print");
    raise::print_and_clear();
}

/// Returns the text of the error that is set.
///
/// @return The text; "" if no error is set, if it has no text, or if nothing is attached. Borrowed: valid until the
///         indicator changes. Never NULL.
///
/// Errors:  none.
/// Blocks:  never.
/// Threads: any. Not async-signal-safe.
/// Source:  pytstate.
#[unsafe(no_mangle)]
pub extern "C" fn PyTState_ErrMessage() -> *const c_char {
    current::current().map_or(c"".as_ptr(), error_kind::text)
}

/// Prints "Fatal Python error: " with a message and what is known about the calling thread, and aborts.
///
/// A macro of the same name adds the calling function: "Fatal Python error: function: message".
///
/// @param message  What went wrong. NULL prints "<message not set>". Borrowed.
///
/// Errors:  a fatal error while this thread reports one aborts at once.
/// Blocks:  does not return.
/// Threads: any, with or without a thread state, with any lock held. Async-signal-safe. In a fork child, at any time.
/// Source:  CPython 3.13.
///
/// # Safety
/// `message` is NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn Py_FatalError(message: *const c_char) -> ! {
    // SAFETY: this function's contract.
    unsafe { _Py_FatalErrorFunc(core::ptr::null(), message) }
}

/// Does what Py_FatalError() does, and prints the name of a function before the message.
///
/// @param func     Name of the function that found the error, or NULL. Borrowed.
/// @param message  What went wrong. NULL prints "<message not set>". Borrowed.
///
/// Errors:  a fatal error while this thread reports one aborts at once.
/// Blocks:  does not return.
/// Threads: any, with or without a thread state, with any lock held. Async-signal-safe. In a fork child, at any time.
/// Source:  CPython 3.13.
///
/// # Safety
/// `func` and `message` are NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _Py_FatalErrorFunc(func: *const c_char, message: *const c_char) -> ! {
    let func = if func.is_null() {
        c""
    } else {
        // SAFETY: this function's contract.
        unsafe { CStr::from_ptr(func) }
    };
    let message = if message.is_null() {
        c"<message not set>"
    } else {
        // SAFETY: this function's contract.
        unsafe { CStr::from_ptr(message) }
    };
    fatal(func, format_args!("{}", Message(message.to_bytes())))
}

fn not_null(exception: *mut PyObject, func: &CStr) -> *mut PyObject {
    if exception.is_null() {
        arg::null(func, "exception");
    }
    exception
}
