//! `pythread.h`: the locks of before PyMutex.

use core::ffi::{CStr, c_int, c_longlong, c_void};

use super::arg;
use crate::os::clock::Deadline;
use crate::os::mem;
use crate::probe::{self, Point};
use crate::sched::fatal::fatal;
use crate::sched::lock_rules;
use crate::sync::mutex::LockOutcome;
use crate::sync::thread_lock::{Signals, ThreadLock};

/// A lock that PyThread_allocate_lock() made; not recursive, any thread may release it.
pub type PyThread_type_lock = *mut c_void;

/// A length of time in microseconds.
pub type PY_TIMEOUT_T = c_longlong;

/// The longest timeout in microseconds: what fits into nanoseconds.
const TIMEOUT_MAX: PY_TIMEOUT_T = PY_TIMEOUT_T::MAX / 1000;

/// How acquiring a lock ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
#[allow(non_camel_case_types, reason = "CPython's names")]
pub enum PyLockStatus {
    /// The time passed, or it was only tried.
    PY_LOCK_FAILURE = 0,
    /// The caller has the lock.
    PY_LOCK_ACQUIRED = 1,
    /// A signal ended the wait.
    PY_LOCK_INTR = 2,
}

impl From<LockOutcome> for PyLockStatus {
    fn from(outcome: LockOutcome) -> Self {
        match outcome {
            LockOutcome::Acquired => Self::PY_LOCK_ACQUIRED,
            LockOutcome::TimedOut => Self::PY_LOCK_FAILURE,
            LockOutcome::Interrupted => Self::PY_LOCK_INTR,
        }
    }
}

/// Microseconds as C gives them: negative is never, too many are as many as there can be.
fn deadline(microseconds: PY_TIMEOUT_T) -> Deadline {
    Deadline::after(microseconds.min(TIMEOUT_MAX).saturating_mul(1000))
}

/// Makes a lock that is free.
///
/// @return The lock, or NULL if there is no memory. Owned: to be freed with PyThread_free_lock().
///
/// Errors:  NULL as above; no error indicator is set.
/// Blocks:  never.
/// Threads: any, attached or not, also before initialization. Not async-signal-safe.
/// Source:  CPython 3.13.
#[unsafe(no_mangle)]
pub extern "C" fn PyThread_allocate_lock() -> PyThread_type_lock {
    // All-zero is a free ThreadLock.
    mem::alloc_zeroed::<ThreadLock>().map_or(core::ptr::null_mut(), |lock| lock.as_ptr().cast())
}

/// Frees the memory of a lock.
///
/// @param lock  The lock, which no thread holds or waits for. NULL does nothing.
///
/// Errors:  none.
/// Blocks:  never.
/// Threads: any, attached or not. Not async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// `lock` is NULL or came from PyThread_allocate_lock() and is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThread_free_lock(lock: PyThread_type_lock) {
    // SAFETY: this function's contract is free's.
    unsafe { mem::free(lock.cast()) };
}

/// Takes a lock.
///
/// @param lock      The lock. Borrowed. NULL is fatal.
/// @param waitflag  NOWAIT_LOCK (0) only tries; anything else waits without limit.
/// @return 1 if the caller has the lock, 0 if not.
///
/// Errors:  none.
/// Blocks:  until the lock is free, if asked to. Does not detach: an attached caller keeps its GIL, and the
///          holder may need it. Signals do not end the wait.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, a lock that a thread held
///          in the parent is still locked.
/// Source:  CPython 3.13.
///
/// # Safety
/// `lock` came from PyThread_allocate_lock() and is not freed before the return.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThread_acquire_lock(lock: PyThread_type_lock, waitflag: c_int) -> c_int {
    // SAFETY: this function's contract is the helper's.
    let lock = unsafe { this(lock, c"PyThread_acquire_lock") };
    probe::point_on(Point::PythreadAcquire, lock);
    if waitflag == 0 {
        return c_int::from(lock.try_acquire());
    }
    let outcome = lock.acquire(Deadline::NEVER, Signals::Ignore);
    c_int::from(outcome == LockOutcome::Acquired)
}

/// Takes a lock, with a time limit.
///
/// @param lock          The lock. Borrowed. NULL is fatal.
/// @param microseconds  Negative waits without limit, 0 only tries; more than PY_TIMEOUT_MAX is taken as that.
/// @param intr_flag     Not 0: a signal ends the wait. 0: the wait goes on, with the same deadline.
/// @return PY_LOCK_ACQUIRED; PY_LOCK_FAILURE when the time passed, never early; PY_LOCK_INTR.
///
/// Errors:  as above; no error indicator is set.
/// Blocks:  up to `microseconds`. Does not detach: an attached caller keeps its GIL, and the holder may need
///          it.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, a lock that a thread held
///          in the parent is still locked.
/// Source:  CPython 3.13.
///
/// # Safety
/// `lock` came from PyThread_allocate_lock() and is not freed before the return.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThread_acquire_lock_timed(
    lock: PyThread_type_lock,
    microseconds: PY_TIMEOUT_T,
    intr_flag: c_int,
) -> PyLockStatus {
    // SAFETY: this function's contract is the helper's.
    let lock = unsafe { this(lock, c"PyThread_acquire_lock_timed") };
    probe::point_on(Point::PythreadAcquire, lock);
    if lock.try_acquire() {
        return PyLockStatus::PY_LOCK_ACQUIRED;
    }
    if microseconds == 0 {
        return PyLockStatus::PY_LOCK_FAILURE;
    }
    let signals = if intr_flag == 0 { Signals::Ignore } else { Signals::End };
    lock.acquire(deadline(microseconds), signals).into()
}

/// Takes a lock as an attached thread should: tries, then waits detached, and runs pending calls when a
/// signal arrives.
///
/// @param lock          The lock. Borrowed. NULL is fatal.
/// @param microseconds  Negative waits without limit, 0 only tries; more than PY_TIMEOUT_MAX is taken as that.
/// @return PY_LOCK_ACQUIRED; PY_LOCK_FAILURE when the time passed, never early; PY_LOCK_INTR when a pending
///         call raised, with the error indicator set.
///
/// Errors:  as above.
/// Blocks:  up to `microseconds`, detached, and until the caller is attached again.
/// Threads: attached (a detached caller simply waits). Not async-signal-safe. In a fork child, after
///          PyOS_AfterFork_Child().
/// Source:  CPython 3.13.
///
/// # Safety
/// `lock` came from PyThread_allocate_lock() and is not freed before the return.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThread_acquire_lock_timed_with_retries(
    lock: PyThread_type_lock,
    microseconds: PY_TIMEOUT_T,
) -> PyLockStatus {
    // SAFETY: this function's contract is the helper's.
    let lock = unsafe { this(lock, c"PyThread_acquire_lock_timed_with_retries") };
    probe::point_on(Point::PythreadAcquire, lock);
    if lock.try_acquire() {
        return PyLockStatus::PY_LOCK_ACQUIRED;
    }
    if microseconds == 0 {
        return PyLockStatus::PY_LOCK_FAILURE;
    }
    lock_rules::acquire_with_retries(lock, deadline(microseconds)).into()
}

/// Releases a lock and wakes one thread that waits for it.
///
/// @param lock  The lock. Borrowed. NULL is fatal.
///
/// Errors:  if no thread has it: fatal, "unlocking mutex that is not locked", under the rules of
///          3.15; before, it lets one more thread in later, as the semaphores of CPython do
///          (PyTState_Config.compat chooses).
/// Blocks:  never.
/// Threads: any, also another one than the one that acquired it; attached or not. Not async-signal-safe.
/// Source:  CPython 3.15.
///
/// # Safety
/// `lock` came from PyThread_allocate_lock() and is not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThread_release_lock(lock: PyThread_type_lock) {
    const FUNC: &CStr = c"PyThread_release_lock";
    // SAFETY: this function's contract is the helper's.
    let lock = unsafe { this(lock, FUNC) };
    let address = core::ptr::from_ref(lock);
    if lock_rules::release(lock).is_ok() {
        // A thread that took it meanwhile may have freed it: only its address is used here.
        probe::point_on(Point::PythreadReleased, address);
    } else {
        fatal(FUNC, format_args!("unlocking mutex that is not locked"));
    }
}

/// Replaces a lock in a fork child by a free one, because a thread of the parent may hold it.
///
/// @param lock  Where the lock stands; the new one is written there. The old one's memory is not
///              freed: another thread may still hold its address. NULL is fatal.
/// @return 0, or -1 if there is no memory; nothing changed then.
///
/// Errors:  -1 as above; no error indicator is set.
/// Blocks:  never.
/// Threads: the only one of a fork child.
/// Source:  CPython 3.13.
///
/// # Safety
/// `lock` points to a writable lock variable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyThread_at_fork_reinit(lock: *mut PyThread_type_lock) -> c_int {
    // SAFETY: this function's contract; the place is only checked for NULL here.
    unsafe { arg::required(lock, c"_PyThread_at_fork_reinit", "lock") };
    let fresh = PyThread_allocate_lock();
    if fresh.is_null() {
        return -1;
    }
    // SAFETY: this function's contract.
    unsafe { lock.write(fresh) };
    0
}

/// The lock behind the handle.
///
/// # Safety
/// `lock` is NULL or came from PyThread_allocate_lock() and outlives `'a`.
unsafe fn this<'a>(lock: PyThread_type_lock, func: &'static CStr) -> &'a ThreadLock {
    // SAFETY: this function's contract is `required`'s.
    unsafe { arg::required(lock.cast(), func, "lock") }
}
