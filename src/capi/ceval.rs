//! Attaching and detaching: the thread part of CPython's ceval.h.

use super::arg;
use super::pystate::{detach_exactly, not_locked};
use crate::os::errno;
use crate::sched::current;
use crate::sched::fatal::fatal;
use crate::sched::{attach, gil};
use crate::state::public::PyThreadState;
use crate::state::runtime::RUNTIME;
use crate::state::thread::ThreadStateRef;
use core::ffi::{CStr, c_int, c_ulong};
use core::sync::atomic::Ordering::Relaxed;

/// Detaches the attached thread state and releases the GIL.
///
/// @return The state, for PyEval_RestoreThread(). Never NULL. Borrowed.
///
/// Errors:  fatal if nothing is attached.
/// Blocks:  no.
/// Threads: attached. Not async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyEval_SaveThread() -> *mut PyThreadState {
    const FUNC: &CStr = c"PyEval_SaveThread";
    let tstate = arg::attached(FUNC);
    if !attach::detach_inlined(tstate) {
        not_locked(FUNC);
    }
    tstate.as_ptr()
}

/// Attaches `tstate`; the calling thread has none attached. Keeps errno.
///
/// @param tstate  The state. Must not be NULL. Borrowed.
///
/// Errors:  fatal if NULL, if a state is attached already, if `tstate` was cleared or deleted. A state of another OS
///          thread becomes that of the caller: it has the caller's thread id and is its gilstate from then on. That is
///          reported at PyTState_CHECK_WARN and _CALLBACK, and fatal at PyTState_CHECK_STRICT. It is fatal at every
///          level if that thread is in the middle of a call or blocking region that attaches the state again, and
///          misuse if the state is that of a thread of PyThreadHandle_Start().
/// Blocks:  until the GIL is free and no pause is on; see PyTState_SetLateAttachPolicy().
/// Threads: any. Not async-signal-safe. In a fork child, only after PyOS_AfterFork_Child().
/// Source:  CPython 3.13.
///
/// # Safety
/// `tstate` came from this library and is not deleted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyEval_RestoreThread(tstate: *mut PyThreadState) {
    const FUNC: &CStr = c"PyEval_RestoreThread";
    // SAFETY: this function's contract.
    let tstate = unsafe { arg::state(tstate, FUNC) };
    arg::attachable(tstate, FUNC);
    attach::attach_inlined(tstate);
}

/// Attaches `tstate`; the calling thread has none attached. Keeps errno.
///
/// @param tstate  The state. Must not be NULL. Borrowed.
///
/// Errors:  as PyEval_RestoreThread().
/// Blocks:  as PyEval_RestoreThread().
/// Threads: any. Not async-signal-safe. In a fork child, only after PyOS_AfterFork_Child().
/// Source:  CPython 3.13.
///
/// # Safety
/// `tstate` came from this library and is not deleted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyEval_AcquireThread(tstate: *mut PyThreadState) {
    const FUNC: &CStr = c"PyEval_AcquireThread";
    // SAFETY: this function's contract.
    let tstate = unsafe { arg::state(tstate, FUNC) };
    arg::attachable(tstate, FUNC);
    attach::attach(tstate);
}

/// Detaches `tstate`, which is the attached state, and releases the GIL.
///
/// @param tstate  The attached state. Must not be NULL. Borrowed.
///
/// Errors:  fatal if NULL, if nothing is attached, or if another state is ("wrong thread state").
/// Blocks:  no.
/// Threads: attached. Not async-signal-safe.
/// Source:  CPython 3.13; the check of the argument as before 3.13.
///
/// # Safety
/// `tstate` is not deleted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyEval_ReleaseThread(tstate: *mut PyThreadState) {
    const FUNC: &CStr = c"PyEval_ReleaseThread";
    // SAFETY: this function's contract.
    let tstate = unsafe { arg::state(tstate, FUNC) };
    detach_exactly(tstate, FUNC);
}

/// Takes the GIL for the attached state without attaching anything.
///
/// Errors:  fatal if nothing is attached, or if the attached state holds the GIL already (CPython deadlocks there).
/// Blocks:  until the GIL is free.
/// Threads: attached, after PyEval_ReleaseLock(). Not async-signal-safe.
/// Source:  CPython 3.12 (3.13 keeps the symbol only).
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyEval_AcquireLock() {
    const FUNC: &CStr = c"PyEval_AcquireLock";
    let tstate = arg::attached(FUNC);
    if tstate.holds_gil().load(Relaxed) != 0 {
        fatal(FUNC, format_args!("thread state {:p} holds the GIL already", tstate.as_ptr()));
    }
    let saved = errno::get();
    attach::take_gil_only(tstate);
    errno::set(saved);
}

/// Releases the GIL of the attached state without detaching it.
///
/// Errors:  fatal if nothing is attached, or if the GIL is not locked.
/// Blocks:  no.
/// Threads: attached. Not async-signal-safe.
/// Source:  CPython 3.12 (3.13 keeps the symbol only).
///
/// # Safety
/// Until PyEval_AcquireLock() the thread does nothing that needs the GIL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyEval_ReleaseLock() {
    const FUNC: &CStr = c"PyEval_ReleaseLock";
    let tstate = arg::attached(FUNC);
    if !attach::release_gil_only(tstate) {
        not_locked(FUNC);
    }
}

/// Does nothing; the runtime is always ready for threads.
///
/// Errors:  none.
/// Blocks:  no.
/// Threads: any. Async-signal-safe.
/// Source:  CPython 3.9+ (deprecated there).
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyEval_InitThreads() {}

/// Returns whether the main interpreter exists, and with it its GIL.
///
/// @return 1 between initialization and finalization, else 0.
///
/// Errors:  none.
/// Blocks:  no.
/// Threads: any. Async-signal-safe.
/// Source:  CPython 3.12 (3.13 keeps the symbol only).
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyEval_ThreadsInitialized() -> c_int {
    c_int::from(RUNTIME.main_interp().is_some())
}

/// Sets how long a waiter lets a thread keep the GIL before it asks for it.
///
/// @param microseconds  The interval; 0 acts as 1. Shared by interpreters that share the GIL.
///
/// Errors:  fatal if nothing is attached. Without a GIL nothing happens.
/// Blocks:  no.
/// Threads: attached. Async-signal-safe if attached.
/// Source:  CPython 3.13.
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyEval_SetSwitchInterval(microseconds: c_ulong) {
    let tstate = arg::attached(c"_PyEval_SetSwitchInterval");
    gil::set_interval_us(tstate, u32::try_from(microseconds).unwrap_or(u32::MAX));
}

/// Returns the switch interval of the attached interpreter's GIL.
///
/// @return Microseconds; 5000 by default, also without a GIL.
///
/// Errors:  fatal if nothing is attached.
/// Blocks:  no.
/// Threads: attached. Async-signal-safe if attached.
/// Source:  CPython 3.13.
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyEval_GetSwitchInterval() -> c_ulong {
    let tstate: ThreadStateRef =
        current::current().unwrap_or_else(|| arg::no_state(c"_PyEval_GetSwitchInterval"));
    c_ulong::from(gil::interval_us(tstate))
}
