//! A thread state for whatever thread asks: the PyGILState part of CPython's pystate.h.

use super::arg;
use crate::life::threads::gilstate::{self, EnsureError, Ensured, ReleaseError};
use crate::sched::current;
use crate::sched::fatal::fatal;
use crate::state::public::PyThreadState;
use crate::state::thread::ThreadStateRef;
use core::ffi::{CStr, c_int};

/// Pairs PyGILState_Ensure() with PyGILState_Release().
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PyGILState_STATE {
    /// The caller had its state attached.
    PyGILState_LOCKED,
    /// The caller was detached, or had no state.
    PyGILState_UNLOCKED,
}

/// [`PyGILState_STATE`] as C passes it: another value would be undefined
/// behaviour in an enum.
pub type PyGILState_STATE_arg = c_int;

/// Attaches the calling thread, with its own thread state if it has one, else with a new one in the main interpreter.
///
/// @return Token for PyGILState_Release(): PyGILState_LOCKED or PyGILState_UNLOCKED.
///
/// Errors:  fatal if a state cannot be made. The late-attach policy applies if the runtime was never initialized; with
///          PYTSTATE_COMPAT=3.13 or 3.12 in the environment that is fatal.
/// Blocks:  until the GIL is free; after finalization see PyTState_SetLateAttachPolicy().
/// Threads: any, attached or not; nests. Not async-signal-safe. In a fork child, only after PyOS_AfterFork_Child().
/// Source:  CPython 3.13.
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyGILState_Ensure() -> PyGILState_STATE {
    const FUNC: &CStr = c"PyGILState_Ensure";
    match gilstate::ensure() {
        Ok(Ensured::Locked) => PyGILState_STATE::PyGILState_LOCKED,
        Ok(Ensured::Unlocked) => PyGILState_STATE::PyGILState_UNLOCKED,
        Err(EnsureError::NoMemory) => {
            fatal(FUNC, format_args!("Couldn't create thread-state for new thread"))
        }
        Err(EnsureError::NeverInitialized) => {
            fatal(FUNC, format_args!("the runtime was never initialized"))
        }
    }
}

/// Reverses one PyGILState_Ensure() of the same thread. The calls nest: the last Ensure is reversed
/// first.
///
/// @param oldstate  Token of that call: PyGILState_LOCKED (0) or PyGILState_UNLOCKED (1).
///
/// Errors:  fatal if the thread has no gilstate, if that one is not attached, on more releases than ensures, on another
///          value of `oldstate`, or if it would delete the state with which the library called a function of the host
///          (docs/shutdown.md).
/// Blocks:  as long as the host's destructors do, when the last release deletes the state.
/// Threads: the one that called Ensure, attached. Not async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// `oldstate` came from the matching PyGILState_Ensure().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyGILState_Release(oldstate: PyGILState_STATE_arg) {
    const FUNC: &CStr = c"PyGILState_Release";
    let token = match oldstate {
        0 => Ensured::Locked,
        1 => Ensured::Unlocked,
        other => fatal(FUNC, format_args!("{other} is no PyGILState_STATE")),
    };
    match gilstate::release(token) {
        Ok(()) => {}
        Err(ReleaseError::NoState) => fatal(
            FUNC,
            format_args!("auto-releasing thread-state, but no thread-state for this thread"),
        ),
        Err(ReleaseError::NotCurrent(tstate)) => {
            fatal(FUNC, format_args!("thread state {tstate:p} must be current when releasing"))
        }
        Err(ReleaseError::Needed(callout)) => arg::needed(FUNC, callout),
        Err(ReleaseError::Unbalanced) => {
            fatal(FUNC, format_args!("called more times than PyGILState_Ensure()"))
        }
    }
}

/// Returns the thread state that the PyGILState calls of this thread use.
///
/// @return The state, attached or not; NULL if the thread has none. Borrowed.
///
/// Errors:  none.
/// Blocks:  no.
/// Threads: any, any time. Async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyGILState_GetThisThreadState() -> *mut PyThreadState {
    current::gilstate().map_or(core::ptr::null_mut(), ThreadStateRef::as_ptr)
}

/// Returns whether the thread state that the PyGILState calls of this thread use is attached.
///
/// @return 1 if so, or always once a sub-interpreter was made in this life of the runtime; else 0. While the runtime is
///         not initialized, 1 under `compat` levels below 3.15.
///
/// Errors:  none.
/// Blocks:  no.
/// Threads: any. Async-signal-safe.
/// Source:  CPython 3.15.
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyGILState_Check() -> c_int {
    let attached = current::current();
    let attached = attached.is_some() && attached == current::gilstate();
    c_int::from(attached || gilstate::is_unchecked())
}
