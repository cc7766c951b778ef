//! `cpython/lock.h`: PyMutex.
//!
//! The inline fast paths stand in `pytstate/macros.h`; every function here also works when it is called directly.

use core::ffi::c_int;

use super::arg;
use super::pythread_lock::PyLockStatus;
use super::pytime::PyTime_t;
use crate::os::clock::Deadline;
use crate::probe::{self, Point};
use crate::sched::blocking::{Detach, DetachAndSignals};
use crate::sched::fatal::fatal;
use crate::sched::raise::raise;
use crate::state::config::Compat;
use crate::state::error::Kind;
use crate::state::runtime::RUNTIME;
use crate::sync::mutex::{NotLocked, PyMutex, Released};
use crate::sync::waiting::{OnSignal, Waiting};

/// Value of a PyMutex that is not locked.
pub const _Py_UNLOCKED: u8 = 0;
/// Bit of a PyMutex that is locked.
pub const _Py_LOCKED: u8 = 1;
/// Bit of a lock on whose address somebody sleeps.
pub const _Py_HAS_PARKED: u8 = 2;

/// How a lock waits: `_Py_LOCK_...` and `_PY_LOCK_...` values, or-ed.
pub type _PyLockFlags = c_int;
/// Waits as the caller is: an attached caller keeps its GIL.
pub const _Py_LOCK_DONT_DETACH: c_int = 0;
/// Detaches an attached caller while it sleeps.
pub const _PY_LOCK_DETACH: c_int = 1;
/// Runs pending calls when a signal arrives; gives up if they raise.
pub const _PY_LOCK_HANDLE_SIGNALS: c_int = 2;
/// Gives up when a signal arrives.
pub const _PY_FAIL_IF_INTERRUPTED: c_int = 4;
/// Only attached threads lock and unlock it: while the runtime finalizes nobody is left to unlock it.
pub const _PY_LOCK_PYTHONLOCK: c_int = 8;

/// A [`Waiting`] as [`_PyLockFlags`] describe it.
pub(super) struct ByFlags {
    flags: _PyLockFlags,
    at: Option<Point>,
    around: DetachAndSignals,
}

impl ByFlags {
    pub(super) fn new(flags: _PyLockFlags) -> Self {
        Self { flags, at: None, around: DetachAndSignals::new() }
    }

    /// The same; passes a sync point before it sleeps.
    pub(super) fn at(point: Point, flags: _PyLockFlags) -> Self {
        Self { at: Some(point), ..Self::new(flags) }
    }
}

impl Waiting for ByFlags {
    fn before_sleep(&mut self) {
        if let Some(point) = self.at {
            probe::point(point);
        }
        if self.flags & _PY_LOCK_DETACH != 0 {
            self.around.before_sleep();
        }
    }

    fn after_sleep(&mut self) {
        // Attaches only what `before_sleep` detached.
        self.around.after_sleep();
    }

    fn ends_on_signal(&self) -> bool {
        self.flags & (_PY_LOCK_HANDLE_SIGNALS | _PY_FAIL_IF_INTERRUPTED) != 0
    }

    fn interrupted(&mut self) -> OnSignal {
        if self.flags & _PY_FAIL_IF_INTERRUPTED != 0 {
            return OnSignal::GiveUp;
        }
        self.around.interrupted()
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
/// read-modify-write. A thread that has waited for more than a millisecond gets the lock handed when it is
/// unlocked; until then whoever comes first gets it.
///
/// @param m  The mutex; all-zero is unlocked. Borrowed, must not move while in use. Not NULL (checked in
///           debug builds only).
///
/// Errors:  none.
/// Blocks:  until the mutex is free. An attached caller is detached while it sleeps, and attached again
///          before the return, which may block too, or never return once the interpreter finalizes.
///          Signals do not end the wait.
/// Threads: any, attached or not, also before initialization. Not async-signal-safe. In a fork child,
///          after PyOS_AfterFork_Child(); who held it in the parent still holds it.
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

/// Unlocks the mutex, and wakes who has waited longest.
///
/// An uncontended unlock is one atomic read-modify-write. Once it is unlocked the call does not touch the
/// mutex any more: whoever locks it next may free it.
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

/// Tells whether the mutex is locked at this moment, by any thread.
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
/// @return PY_LOCK_ACQUIRED; PY_LOCK_FAILURE when the time passed, never early, or, with PythonFinalizationError
///         set, when nobody is left to unlock it; PY_LOCK_INTR when a signal ended the wait, with the error
///         indicator set if it was a pending call that raised.
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
    if timeout_ns == 0 {
        return if mutex.try_lock() {
            PyLockStatus::PY_LOCK_ACQUIRED
        } else {
            PyLockStatus::PY_LOCK_FAILURE
        };
    }
    if flags & _PY_LOCK_PYTHONLOCK != 0 && nobody_unlocks() {
        if mutex.try_lock() {
            return PyLockStatus::PY_LOCK_ACQUIRED;
        }
        raise(Kind::PythonFinalization, c"cannot acquire lock at interpreter finalization");
        return PyLockStatus::PY_LOCK_FAILURE;
    }
    let mut waiting = ByFlags::at(Point::MutexWait, flags);
    mutex.lock_timed(Deadline::after(timeout_ns), &mut waiting).into()
}

/// Whether the runtime finalizes, under rules by which a lock of attached threads then refuses to wait (S-MX-09).
fn nobody_unlocks() -> bool {
    RUNTIME.is_finalizing() && RUNTIME.compat() >= Compat::V3_15
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
