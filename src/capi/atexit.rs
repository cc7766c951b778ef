//! What runs at the end: Py_AtExit() of CPython's pylifecycle.h, PyUnstable_AtExit(), and PyTState_AtShutdown().

use super::arg;
use crate::life::at_exit::{self, Refused, When};
use crate::sched::current::interp_of;
use crate::sched::misuse::misuse;
use crate::sched::raise;
use crate::state::error_kind::ExceptionKind;
use crate::state::interp::Interp;
use crate::state::public::PyInterpreterState;
use core::ffi::{CStr, c_int, c_void};

/// A function that finalization calls, with its data.
pub type atexit_datacallbackfunc = Option<unsafe extern "C" fn(*mut c_void)>;

/// Registers a function that Py_FinalizeEx() calls last, after the runtime is gone. The function
/// that was registered last runs first.
///
/// @param func  What to call; it must not use what needs a thread state, but may register another, which then runs
///              next. Must not be NULL.
/// @return 0, or -1: 32 functions are registered already.
///
/// Errors:  fatal if NULL; -1 as above, no error indicator is set.
/// Blocks:  never.
/// Threads: any, attached or not, also before initialization. Not async-signal-safe. A fork child keeps them.
/// Source:  CPython 3.13.
///
/// # Safety
/// `func` may be called during finalization.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn Py_AtExit(func: Option<unsafe extern "C" fn()>) -> c_int {
    let Some(func) = func else { arg::null(c"Py_AtExit", "func") };
    if at_exit::register(func) { 0 } else { -1 }
}

/// Registers func(data) to be called while the attached interpreter is cleared. The function that
/// was registered last runs first.
///
/// The caller of PyInterpreterState_Clear(), Py_EndInterpreter() or Py_FinalizeEx() runs it,
/// attached, when no other thread can attach any more.
///
/// @param interp  The attached interpreter. Must not be NULL. Borrowed.
/// @param func    What to call. Must not be NULL.
/// @param data    Passed on. Borrowed.
/// @return 0; -1 with MemoryError.
///
/// Errors:  fatal if nothing is attached or `interp` or `func` is NULL; misuse if `interp` is not the attached
///          interpreter; -1 as above.
/// Blocks:  never.
/// Threads: attached. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.13.
///
/// # Safety
/// `interp` is NULL or an interpreter of this library; `func` may be called with `data` until it ends.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyUnstable_AtExit(
    interp: *mut PyInterpreterState,
    func: atexit_datacallbackfunc,
    data: *mut c_void,
) -> c_int {
    const FUNC: &CStr = c"PyUnstable_AtExit";
    let attached = interp_of(arg::attached(FUNC));
    // SAFETY: this function's contract.
    let interp = unsafe { arg::interp(interp, FUNC) };
    if interp != attached {
        misuse(
            FUNC,
            format_args!("interpreter {} is not the attached one, {}", interp.id(), attached.id()),
        );
    }
    register(FUNC, interp, When::AtClear, func, data)
}

/// Registers func(data) to be called during the finalization of an interpreter, before the commit:
/// threads can still start and attach.
///
/// It runs attached, after the non-daemon threads have ended; what it starts is waited for, what it registers runs as
/// well. The newest runs first.
///
/// @param interp  The interpreter. Must not be NULL. Borrowed.
/// @param func    What to call. Must not be NULL.
/// @param data    Passed on. Borrowed.
/// @return 0; -1 with MemoryError, or with PythonFinalizationError if `interp` has committed its
///         finalization. A caller that is not attached gets no error indicator.
///
/// Errors:  fatal if `interp` or `func` is NULL; -1 as above.
/// Blocks:  never.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  pytstate; threading._register_atexit() of CPython 3.9+ for C.
///
/// # Safety
/// `interp` is NULL or an interpreter of this library; `func` may be called with `data` until it ends.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_AtShutdown(
    interp: *mut PyInterpreterState,
    func: atexit_datacallbackfunc,
    data: *mut c_void,
) -> c_int {
    const FUNC: &CStr = c"PyTState_AtShutdown";
    // SAFETY: this function's contract.
    let interp = unsafe { arg::interp(interp, FUNC) };
    register(FUNC, interp, When::BeforeCommit, func, data)
}

fn register(
    name: &CStr,
    interp: Interp,
    when: When,
    func: atexit_datacallbackfunc,
    data: *mut c_void,
) -> c_int {
    let Some(func) = func else { arg::null(name, "func") };
    match at_exit::register_with(interp, when, func, data) {
        Ok(()) => 0,
        Err(Refused::NoMemory) => {
            raise::raise(ExceptionKind::Memory, c"");
            -1
        }
        Err(Refused::TooLate) => {
            raise::raise(
                ExceptionKind::PythonFinalization,
                c"can't register a function: the interpreter is finalizing",
            );
            -1
        }
    }
}
