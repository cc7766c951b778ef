//! What CPython's evaluator keeps in a thread state, as far as it means something without one.

use super::arg;
use crate::state::public::PyThreadState;
use core::sync::atomic::Ordering::Relaxed;

/// A running function's frame (opaque). This library runs no bytecode, so there is none to be had.
#[repr(C)]
pub struct _frame {
    _opaque: [u8; 0],
}

/// A frame of an evaluator. This library runs no bytecode, so that there are
/// none; the name stands in prototypes only. Opaque.
pub type PyFrameObject = _frame;

/// Returns the frame of the function that the thread runs.
///
/// @param tstate  The state. Must not be NULL. Borrowed.
/// @return NULL: nothing that runs under this library has a frame. CPython, too, answers NULL for a thread that runs no
///         Python function.
///
/// Errors:  fatal if NULL. None are set.
/// Blocks:  no.
/// Threads: any. Async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// `tstate` is not deleted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThreadState_GetFrame(tstate: *mut PyThreadState) -> *mut PyFrameObject {
    // SAFETY: this function's contract.
    let _ = unsafe { arg::state(tstate, c"PyThreadState_GetFrame") };
    core::ptr::null_mut()
}

/// Switches tracing and profiling off for a thread state, one level deeper. The depth is the host's to honour: see
/// PyTState_TracingDepth().
///
/// @param tstate  The state. Must not be NULL. Borrowed.
///
/// Errors:  fatal if NULL.
/// Blocks:  no.
/// Threads: the state's own. Async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// `tstate` is not deleted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThreadState_EnterTracing(tstate: *mut PyThreadState) {
    // SAFETY: this function's contract.
    let tstate = unsafe { arg::state(tstate, c"PyThreadState_EnterTracing") };
    tstate.tracing.fetch_add(1, Relaxed);
}

/// Switches tracing and profiling on again, one level: reverses one PyThreadState_EnterTracing().
///
/// @param tstate  The state. Must not be NULL. Borrowed.
///
/// Errors:  fatal if NULL; misuse if tracing is not switched off.
/// Blocks:  no.
/// Threads: the state's own. Async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// `tstate` is not deleted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThreadState_LeaveTracing(tstate: *mut PyThreadState) {
    const FUNC: &core::ffi::CStr = c"PyThreadState_LeaveTracing";
    // SAFETY: this function's contract.
    let tstate = unsafe { arg::state(tstate, FUNC) };
    if tstate.tracing.load(Relaxed) <= 0 {
        crate::sched::misuse::misuse(
            FUNC,
            format_args!("tracing is not switched off in thread state {tstate:p}"),
        );
        return;
    }
    tstate.tracing.fetch_sub(1, Relaxed);
}

/// Returns how many PyThreadState_EnterTracing() calls of a thread state are open.
///
/// @param tstate  The state. Must not be NULL. Borrowed.
/// @return The depth: 0 means that a host's tracer may be called.
///
/// Errors:  fatal if NULL.
/// Blocks:  no.
/// Threads: any. Async-signal-safe.
/// Source:  pytstate.
///
/// # Safety
/// `tstate` is not deleted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_TracingDepth(tstate: *mut PyThreadState) -> core::ffi::c_int {
    // SAFETY: this function's contract.
    let tstate = unsafe { arg::state(tstate, c"PyTState_TracingDepth") };
    tstate.tracing.load(Relaxed)
}
