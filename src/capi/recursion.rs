//! Recursion checks: Py_EnterRecursiveCall() and its family in CPython's ceval.h, and the stack protection of 3.15.

use super::arg;
use crate::probe::text::LineBuf;
use crate::sched::current::interp_of;
use crate::sched::{raise, recursion};
use crate::state::error_kind::ExceptionKind;
use crate::state::public::PyThreadState;
use crate::state::stack_bounds::LEAST;
use core::ffi::{CStr, c_char, c_int, c_void};
use core::fmt::Write;
use core::sync::atomic::Ordering::Relaxed;

/// Checks that the calling thread has enough C stack left to go one level deeper.
///
/// The stack's bounds come from the OS, or from PyUnstable_ThreadState_SetStackProtection(). A thread that is on neither
/// stack passes.
///
/// @param where  End of the error's message, such as " in comparison"; NULL is as "". Borrowed.
/// @return 0; -1 with RecursionError "Stack overflow (used N kB)" and `where`: less than 32 KiB is left.
///
/// Errors:  fatal if nothing is attached, and when less than 16 KiB is left: the error was not heeded. -1 as above.
/// Blocks:  no.
/// Threads: attached. Not async-signal-safe.
/// Source:  CPython 3.14. Up to 3.13 calls were counted instead.
///
/// # Safety
/// `where` is NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn Py_EnterRecursiveCall(r#where: *const c_char) -> c_int {
    let tstate = arg::attached(c"Py_EnterRecursiveCall");
    match recursion::check(tstate, r#where) {
        Ok(()) => 0,
        Err(_) => -1,
    }
}

/// Does nothing: Py_EnterRecursiveCall() checks the stack itself. Call it after a
/// Py_EnterRecursiveCall() that returned 0.
///
/// Errors:  none.
/// Blocks:  no.
/// Threads: any. Async-signal-safe.
/// Source:  CPython 3.14.
#[unsafe(no_mangle)]
pub extern "C" fn Py_LeaveRecursiveCall() {}

/// Sets the recursion limit of the attached interpreter: the number that Py_GetRecursionLimit()
/// returns, for hosts that count levels. Py_EnterRecursiveCall() checks the stack and not the
/// limit.
///
/// @param new_limit  The limit; not checked.
///
/// Errors:  fatal if nothing is attached.
/// Blocks:  no.
/// Threads: attached. Async-signal-safe if attached.
/// Source:  CPython 3.12+ (there the bytecode evaluator counts Python frames).
#[unsafe(no_mangle)]
pub extern "C" fn Py_SetRecursionLimit(new_limit: c_int) {
    let tstate = arg::attached(c"Py_SetRecursionLimit");
    interp_of(tstate).recursion_limit.store(new_limit, Relaxed);
}

/// Returns the recursion limit of the attached interpreter.
///
/// @return The limit; 1000 unless Py_SetRecursionLimit() changed it.
///
/// Errors:  fatal if nothing is attached.
/// Blocks:  no.
/// Threads: attached. Async-signal-safe if attached.
/// Source:  CPython 3.13.
#[unsafe(no_mangle)]
pub extern "C" fn Py_GetRecursionLimit() -> c_int {
    let tstate = arg::attached(c"Py_GetRecursionLimit");
    interp_of(tstate).recursion_limit.load(Relaxed)
}

/// Sets the bounds of the C stack on which the thread of `tstate` runs from now on, for
/// Py_EnterRecursiveCall(). It is for hosts that switch stacks.
///
/// @param tstate            The state. Must not be NULL. Borrowed.
/// @param stack_start_addr  Lowest address of the stack.
/// @param stack_size        Its size in bytes, at least 48 KiB (24 KiB where pointers have 4 bytes).
/// @return 0; -1 with ValueError (if attached) on a size that is too small or goes beyond memory: nothing is changed.
///
/// Errors:  fatal if `tstate` is NULL. -1 as above.
/// Blocks:  no.
/// Threads: the one that `tstate` is bound to, before or after the switch, with no other call of the API between. Not
///          async-signal-safe.
/// Source:  CPython 3.15 (and 3.14.1).
///
/// # Safety
/// `tstate` is not deleted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyUnstable_ThreadState_SetStackProtection(
    tstate: *mut PyThreadState,
    stack_start_addr: *mut c_void,
    stack_size: usize,
) -> c_int {
    const FUNC: &CStr = c"PyUnstable_ThreadState_SetStackProtection";
    // SAFETY: this function's contract.
    let tstate = unsafe { arg::state(tstate, FUNC) };
    if tstate.stack.protect(stack_start_addr.addr(), stack_size) {
        return 0;
    }
    let mut line = LineBuf::<96>::new();
    let _ = if stack_size < LEAST {
        write!(line, "stack_size must be at least {LEAST} bytes\0")
    } else {
        line.write_str("the stack goes beyond the end of memory\0")
    };
    raise::raise(ExceptionKind::Value, CStr::from_bytes_until_nul(line.as_bytes()).unwrap_or(c""));
    -1
}

/// Sets the bounds of the C stack of `tstate` back to those of the OS thread's stack.
///
/// @param tstate  The state. Must not be NULL. Borrowed.
///
/// Errors:  fatal if NULL.
/// Blocks:  no.
/// Threads: as PyUnstable_ThreadState_SetStackProtection().
/// Source:  CPython 3.15 (and 3.14.1).
///
/// # Safety
/// `tstate` is not deleted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyUnstable_ThreadState_ResetStackProtection(tstate: *mut PyThreadState) {
    // SAFETY: this function's contract.
    let tstate = unsafe { arg::state(tstate, c"PyUnstable_ThreadState_ResetStackProtection") };
    tstate.stack.reset();
}
