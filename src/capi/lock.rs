//! `cpython/lock.h`: PyMutex.
//!
//! The inline fast paths stand in `pytstate/macros.h`; every function here also works when it is called directly.

use core::ffi::c_int;

use super::arg;
use super::pythread_lock::PyLockStatus;
use super::pytime::PyTime_t;
use crate::probe::{self, Point};
use crate::sched::blocking::Detach;
use crate::sched::fatal::fatal;
use crate::sched::lock_rules::{self, LockRules, SignalRule};
use crate::sync::mutex::{NotLocked, PyMutex, Released};

/// Value of a PyMutex that is not locked.
pub const _Py_UNLOCKED: u8 = 0;
/// Bit of a PyMutex that is locked.
pub const _Py_LOCKED: u8 = 1;
/// Bit of a lock on whose address threads sleep.
pub const _Py_HAS_PARKED: u8 = 2;

/// How a lock waits: `_Py_LOCK_...` and `_PY_LOCK_...` values, or-ed.
pub type _PyLockFlags = c_int;
/// Waits without detaching: an attached caller keeps its GIL.
pub const _Py_LOCK_DONT_DETACH: c_int = 0;
/// Detaches an attached caller while it sleeps.
pub const _PY_LOCK_DETACH: c_int = 1;
/// Runs pending calls when a signal arrives; gives up if they raise.
pub const _PY_LOCK_HANDLE_SIGNALS: c_int = 2;
/// Gives up when a signal arrives.
pub const _PY_FAIL_IF_INTERRUPTED: c_int = 4;
/// The lock is locked and unlocked by attached threads only: while the runtime finalizes, no thread
/// is left to unlock it.
pub const _PY_LOCK_PYTHONLOCK: c_int = 8;

/// The rules that the flags stand for; other bits are ignored.
pub(super) fn rules(flags: _PyLockFlags) -> LockRules {
    LockRules {
        detach: flags & _PY_LOCK_DETACH != 0,
        on_signal: if flags & _PY_FAIL_IF_INTERRUPTED != 0 {
            SignalRule::GiveUp
        } else if flags & _PY_LOCK_HANDLE_SIGNALS != 0 {
            SignalRule::RunPendingCalls
        } else {
            SignalRule::Ignore
        },
        attached_only: flags & _PY_LOCK_PYTHONLOCK != 0,
    }
}

/// Passes the sync point of an unlock that handed the mutex over.
#[inline]
fn passed(unlocked: Result<Released, NotLocked>) -> Result<(), NotLocked> {
    if unlocked? == Released::HandedOff {
        probe::point(Point::MutexHanded);
    }
    Ok(())
}

/// Locks the mutex.
///
/// Not recursive: locking twice on one thread never returns. An uncontended lock is one atomic
/// read-modify-write. A thread that has waited for more than a millisecond gets the lock handed
/// when it is unlocked; until then the first thread that comes gets it.
///
/// @param m  The mutex; all-zero is unlocked. Borrowed, must not move while in use. Not NULL (checked in
///           debug builds only).
///
/// Errors:  none.
/// Blocks:  until the mutex is free. An attached caller is detached while it sleeps, and attached again
///          before the return, which may block too, or never return once the interpreter finalizes.
///          Signals do not end the wait.
/// Threads: any, attached or not, also before initialization. Not async-signal-safe. In a fork
///          child, after PyOS_AfterFork_Child(); a lock that a thread held in the parent is still
///          locked.
/// Source:  CPython 3.13.
///
/// # Safety
/// `m` points to a mutex that outlives the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyMutex_Lock(m: *mut PyMutex) {
    probe::point_on(Point::MutexLock, m);
    // SAFETY: this function's contract is `hot`'s.
    unsafe { arg::hot(m) }.lock(&mut Detach::at(Point::MutexWait));
}

/// Unlocks the mutex and wakes the thread that has waited longest.
///
/// An uncontended unlock is one atomic read-modify-write. Once it is unlocked the call does not
/// touch the mutex any more: the thread that locks it next may free it.
///
/// @param m  The mutex. Borrowed. Not NULL (checked in debug builds only).
///
/// Errors:  aborts with "unlocking mutex that is not locked" if it is not locked, in every build.
/// Blocks:  never.
/// Threads: any, also another one than the one that locked it; attached or not. Not async-signal-safe. In a
///          fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.13.
///
/// # Safety
/// `m` points to a mutex.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyMutex_Unlock(m: *mut PyMutex) {
    // SAFETY: this function's contract is `hot`'s.
    let unlocked = unsafe { arg::hot(m) }.release();
    if passed(unlocked).is_err() {
        fatal(c"PyMutex_Unlock", format_args!("unlocking mutex that is not locked"));
    }
    probe::point_on(Point::MutexUnlocked, m);
}

/// Returns whether the mutex is locked at this moment, by any thread.
///
/// @param m  The mutex. Borrowed. Not NULL (checked in debug builds only).
/// @return 1 if it is locked, 0 if not. Good for assertions only: it may change at once.
///
/// Errors:  none.
/// Blocks:  never.
/// Threads: any, attached or not. Async-signal-safe.
/// Source:  CPython 3.14.
///
/// # Safety
/// `m` points to a mutex.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyMutex_IsLocked(m: *mut PyMutex) -> c_int {
    // SAFETY: this function's contract is `hot`'s.
    c_int::from(unsafe { arg::hot(m) }.is_locked())
}

/// Locks the mutex, with a time limit and a choice of how to wait.
///
/// @param m           The mutex. Borrowed. Not NULL (checked in debug builds only).
/// @param timeout_ns  Nanoseconds; negative waits without limit, 0 only tries.
/// @param flags       `_PY_LOCK_DETACH`: detach an attached caller while it sleeps.
///                    `_PY_LOCK_HANDLE_SIGNALS`: when a signal arrives, run pending calls, and go on waiting
///                    unless they raise. `_PY_FAIL_IF_INTERRUPTED`: give up when a signal arrives.
///                    `_PY_LOCK_PYTHONLOCK`: under the rules of 3.15 (PyTState_Config.compat), do not wait while
///                    the runtime finalizes. Other bits are ignored.
/// @return PY_LOCK_ACQUIRED; PY_LOCK_FAILURE when the time passed, never early, or, with
///         PythonFinalizationError set, when no thread is left to unlock it; PY_LOCK_INTR when a
///         signal ended the wait, with the error indicator set if it was a pending call that
///         raised.
///
/// Errors:  as above.
/// Blocks:  up to `timeout_ns`; an attached caller with `_PY_LOCK_DETACH` also until it is attached again.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.13; `_PY_FAIL_IF_INTERRUPTED` and `_PY_LOCK_PYTHONLOCK` 3.15.
///
/// # Safety
/// `m` points to a mutex that outlives the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyMutex_LockTimed(
    m: *mut PyMutex,
    timeout_ns: PyTime_t,
    flags: _PyLockFlags,
) -> PyLockStatus {
    // SAFETY: this function's contract is `hot`'s.
    let mutex = unsafe { arg::hot(m) };
    lock_rules::lock_timed(mutex, timeout_ns, rules(flags)).into()
}

/// Unlocks the mutex if it is locked.
///
/// @param m  The mutex. Borrowed. Not NULL (checked in debug builds only).
/// @return 0, or -1 if it was not locked; it stays unlocked then.
///
/// Errors:  -1 as above; no error indicator is set.
/// Blocks:  never.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.13.
///
/// # Safety
/// `m` points to a mutex.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyMutex_TryUnlock(m: *mut PyMutex) -> c_int {
    // SAFETY: this function's contract is `hot`'s.
    match passed(unsafe { arg::hot(m) }.release()) {
        Ok(()) => 0,
        Err(_) => -1,
    }
}
