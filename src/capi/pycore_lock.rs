//! `internal/pycore_lock.h` without PyMutex and PyEvent: once flag, readers-writer mutex, sequence lock, raw mutex,
//! recursive mutex.
//!
//! The inline fast paths stand in `pytstate/internal_macros.h`.

use core::ffi::{CStr, c_int, c_void};

use super::arg;
use super::lock::{_PyLockFlags, rules};
use super::pythread_lock::PyLockStatus;
use super::pytime::PyTime_t;
use crate::os::clock::Deadline;
use crate::os::thread;
use crate::sched::blocking::Detach;
use crate::sched::fatal::fatal;
use crate::sched::lock_rules::ByRules;
use crate::sync::once::{_PyOnceFlag, Once};
use crate::sync::raw_mutex::_PyRawMutex;
use crate::sync::recursive::_PyRecursiveMutex;
use crate::sync::rwmutex::_PyRWMutex;
use crate::sync::seqlock::_PySeqLock;

/// Value of a once flag whose function has succeeded.
pub const _Py_ONCE_INITIALIZED: u8 = 4;

/// Identity of the calling thread, for recursive mutexes.
#[allow(clippy::useless_conversion, reason = "an unsigned long is narrower on 32-bit systems")]
fn me() -> u64 {
    u64::from(thread::ident())
}

/// Ends the process if `result` says that the state was wrong.
fn must<E>(result: Result<(), E>, func: &'static CStr, problem: &str) {
    if result.is_err() {
        fatal(func, format_args!("{problem}"));
    }
}

/// Calls `fn` unless an earlier call has succeeded. _PyOnceFlag_CallOnce() calls it if the flag is
/// not set.
///
/// @param flag  The flag; all-zero is not set. Borrowed, must not move while in use. NULL is fatal.
/// @param fn    Returns 0 when it is done, -1 when it failed: the next caller, or one that waits
///              already, calls its own then. Any other result is fatal. Runs with no lock of the
///              library held; calling on the same flag from within never returns. NULL is fatal.
/// @param arg   Passed to `fn`. Any value.
/// @return 0 when it is done, by this call or an earlier one; -1 when this call's `fn` failed.
///
/// Errors:  -1 as above; no error indicator is set but what `fn` sets.
/// Blocks:  while another thread runs its `fn`. An attached caller is detached while it sleeps, and
///          attached again before the return, which may never come once the interpreter finalizes. Signals do
///          not end the wait.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.13.
///
/// # Safety
/// `flag` points to a flag that outlives the call, and `fn` may be called with `arg`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyOnceFlag_CallOnceSlow(
    flag: *mut _PyOnceFlag,
    r#fn: Option<unsafe extern "C" fn(arg: *mut c_void) -> c_int>,
    arg: *mut c_void,
) -> c_int {
    // SAFETY: this function's contract is `required`'s.
    let flag = unsafe { arg::required(flag, c"_PyOnceFlag_CallOnce", "flag") };
    let Some(function) = r#fn else {
        fatal(c"_PyOnceFlag_CallOnce", format_args!("fn is NULL"));
    };
    let run = || {
        // SAFETY: this function's contract.
        match unsafe { function(arg) } {
            0 => true,
            -1 => false,
            other => fatal(
                c"_PyOnceFlag_CallOnce",
                format_args!("invalid result from _PyOnceFlag_CallOnce: {other}"),
            ),
        }
    };
    match flag.call(run, &mut Detach::new()) {
        Once::Done => 0,
        Once::Failed => -1,
    }
}

/// Locks the mutex together with other readers.
///
/// Not reentrant: a reader that locks again while a writer waits never returns.
///
/// @param rwmutex  The mutex; all-zero is free. Borrowed, must not move while in use. NULL is fatal.
///
/// Errors:  none.
/// Blocks:  while a writer has the mutex, or a thread waits for it. An attached caller is detached
///          while it sleeps, and attached again before the return, which may never come once the
///          interpreter finalizes. Signals do not end the wait.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.13.
///
/// # Safety
/// `rwmutex` points to a mutex that outlives the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyRWMutex_RLock(rwmutex: *mut _PyRWMutex) {
    // SAFETY: this function's contract is `required`'s.
    let mutex = unsafe { arg::required(rwmutex, c"_PyRWMutex_RLock", "rwmutex") };
    mutex.read_lock(&mut Detach::new());
}

/// Unlocks the mutex for one reader. The last reader wakes every thread that waits.
///
/// @param rwmutex  The mutex; all-zero is free. Borrowed, must not move while in use. NULL is fatal.
///
/// Errors:  aborts with "unlocking a mutex that no reader has" if that is so, in every build.
/// Blocks:  never.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.13.
///
/// # Safety
/// `rwmutex` points to a mutex that outlives the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyRWMutex_RUnlock(rwmutex: *mut _PyRWMutex) {
    // SAFETY: this function's contract is `required`'s.
    let mutex = unsafe { arg::required(rwmutex, c"_PyRWMutex_RUnlock", "rwmutex") };
    must(mutex.read_unlock(), c"_PyRWMutex_RUnlock", "unlocking a mutex that no reader has");
}

/// Locks the mutex for one writer.
///
/// @param rwmutex  The mutex; all-zero is free. Borrowed, must not move while in use. NULL is fatal.
///
/// Errors:  none.
/// Blocks:  while a thread has the mutex. An attached caller is detached while it sleeps, and
///          attached again before the return, which may never come once the interpreter finalizes.
///          Signals do not end the wait.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.13.
///
/// # Safety
/// `rwmutex` points to a mutex that outlives the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyRWMutex_Lock(rwmutex: *mut _PyRWMutex) {
    // SAFETY: this function's contract is `required`'s.
    let mutex = unsafe { arg::required(rwmutex, c"_PyRWMutex_Lock", "rwmutex") };
    mutex.write_lock(&mut Detach::new());
}

/// Unlocks the mutex for the writer and wakes every thread that waits.
///
/// @param rwmutex  The mutex; all-zero is free. Borrowed, must not move while in use. NULL is fatal.
///
/// Errors:  aborts with "unlocking a mutex that no writer has" if that is so, in every build.
/// Blocks:  never.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.13.
///
/// # Safety
/// `rwmutex` points to a mutex that outlives the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyRWMutex_Unlock(rwmutex: *mut _PyRWMutex) {
    // SAFETY: this function's contract is `required`'s.
    let mutex = unsafe { arg::required(rwmutex, c"_PyRWMutex_Unlock", "rwmutex") };
    must(mutex.write_unlock(), c"_PyRWMutex_Unlock", "unlocking a mutex that no writer has");
}

/// Begins a write. Readers that are reading at the moment have to read again.
///
/// @param seqlock  The lock; all-zero is free. Borrowed, must not move while in use. NULL is fatal.
///
/// Errors:  none.
/// Blocks:  while a writer is active, yielding the processor. Never parks, never detaches.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, after _PySeqLock_AfterFork().
/// Source:  CPython 3.13.
///
/// # Safety
/// `seqlock` points to a lock that outlives the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PySeqLock_LockWrite(seqlock: *mut _PySeqLock) {
    // SAFETY: this function's contract is `required`'s.
    let lock = unsafe { arg::required(seqlock, c"_PySeqLock_LockWrite", "seqlock") };
    lock.lock_write();
}

/// Ends the write.
///
/// @param seqlock  The lock; all-zero is free. Borrowed, must not move while in use. NULL is fatal.
///
/// Errors:  aborts with "no writer is active" if that is so, in every build.
/// Blocks:  never.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, after _PySeqLock_AfterFork().
/// Source:  CPython 3.13.
///
/// # Safety
/// `seqlock` points to a lock that outlives the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PySeqLock_UnlockWrite(seqlock: *mut _PySeqLock) {
    // SAFETY: this function's contract is `required`'s.
    let lock = unsafe { arg::required(seqlock, c"_PySeqLock_UnlockWrite", "seqlock") };
    must(lock.unlock_write(), c"_PySeqLock_UnlockWrite", "no writer is active");
}

/// Ends a write that has written nothing. Readers that began before it need not read again.
///
/// @param seqlock  The lock; all-zero is free. Borrowed, must not move while in use. NULL is fatal.
///
/// Errors:  aborts with "no writer is active" if that is so, in every build.
/// Blocks:  never.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, after _PySeqLock_AfterFork().
/// Source:  CPython 3.13.
///
/// # Safety
/// `seqlock` points to a lock that outlives the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PySeqLock_AbandonWrite(seqlock: *mut _PySeqLock) {
    // SAFETY: this function's contract is `required`'s.
    let lock = unsafe { arg::required(seqlock, c"_PySeqLock_AbandonWrite", "seqlock") };
    must(lock.abandon_write(), c"_PySeqLock_AbandonWrite", "no writer is active");
}

/// Waits until no writer is active, and begins a read.
///
/// @param seqlock  The lock; all-zero is free. Borrowed, must not move while in use. NULL is fatal.
/// @return What _PySeqLock_EndRead() is to be given; even.
///
/// Errors:  none.
/// Blocks:  while a writer is active, yielding the processor. Never parks, never detaches.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, after _PySeqLock_AfterFork().
/// Source:  CPython 3.13.
///
/// # Safety
/// `seqlock` points to a lock that outlives the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PySeqLock_BeginRead(seqlock: *mut _PySeqLock) -> u32 {
    // SAFETY: this function's contract is `required`'s.
    let lock = unsafe { arg::required(seqlock, c"_PySeqLock_BeginRead", "seqlock") };
    lock.begin_read()
}

/// Returns whether the data that was read is consistent.
///
/// @param seqlock  The lock; all-zero is free. Borrowed, must not move while in use. NULL is fatal.
/// @param previous  What _PySeqLock_BeginRead() returned.
/// @return 1 if nothing was written since; 0 if what was read must be thrown away and read again.
///
/// Errors:  none.
/// Blocks:  never; yields the processor once before it returns 0.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, after _PySeqLock_AfterFork().
/// Source:  CPython 3.13.
///
/// # Safety
/// `seqlock` points to a lock that outlives the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PySeqLock_EndRead(seqlock: *mut _PySeqLock, previous: u32) -> c_int {
    // SAFETY: this function's contract is `required`'s.
    let lock = unsafe { arg::required(seqlock, c"_PySeqLock_EndRead", "seqlock") };
    c_int::from(lock.end_read(previous))
}

/// Frees the lock in a fork child if a thread of the parent was writing.
///
/// @param seqlock  The lock; all-zero is free. Borrowed, must not move while in use. NULL is fatal.
/// @return 1 if a thread was writing: the data must be thrown away; 0 if not.
///
/// Errors:  none.
/// Blocks:  never.
/// Threads: the only one of a fork child.
/// Source:  CPython 3.13.
///
/// # Safety
/// `seqlock` points to a lock that outlives the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PySeqLock_AfterFork(seqlock: *mut _PySeqLock) -> c_int {
    // SAFETY: this function's contract is `required`'s.
    let lock = unsafe { arg::required(seqlock, c"_PySeqLock_AfterFork", "seqlock") };
    c_int::from(lock.after_fork())
}

/// Locks the mutex. _PyRawMutex_Lock() calls it if the mutex is not free.
///
/// Not recursive. Nothing is handed over: a woken thread competes with threads that come.
///
/// @param m  The mutex; all-zero is free. Borrowed, must not move while in use. NULL is fatal.
///
/// Errors:  none.
/// Blocks:  until the mutex is free. Never detaches: an attached caller keeps its GIL. Signals do not end the wait.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, a lock that a thread held
///          in the parent is still locked.
/// Source:  CPython 3.13.
///
/// # Safety
/// `m` points to a mutex that outlives the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyRawMutex_LockSlow(m: *mut _PyRawMutex) {
    // SAFETY: this function's contract is `required`'s.
    unsafe { arg::required(m, c"_PyRawMutex_Lock", "m") }.lock();
}

/// Unlocks the mutex and wakes the thread that came last. _PyRawMutex_Unlock() calls it if threads
/// wait.
///
/// @param m  The mutex; all-zero is free. Borrowed, must not move while in use. NULL is fatal.
///
/// Errors:  aborts with "unlocking mutex that is not locked" if it is not locked, in every build.
/// Blocks:  never.
/// Threads: any, attached or not. Not async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// `m` points to a mutex that outlives the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyRawMutex_UnlockSlow(m: *mut _PyRawMutex) {
    // SAFETY: this function's contract is `required`'s.
    let mutex = unsafe { arg::required(m, c"_PyRawMutex_Unlock", "m") };
    must(mutex.unlock(), c"_PyRawMutex_Unlock", "unlocking mutex that is not locked");
}

/// Returns whether the calling thread has the recursive mutex.
///
/// @param m  The mutex; all-zero is free. Borrowed, must not move while in use. NULL is fatal.
/// @return 1 if it has, 0 if not.
///
/// Errors:  none.
/// Blocks:  never.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.13.
///
/// # Safety
/// `m` points to a mutex that outlives the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyRecursiveMutex_IsLockedByCurrentThread(
    m: *mut _PyRecursiveMutex,
) -> c_int {
    let func = c"_PyRecursiveMutex_IsLockedByCurrentThread";
    // SAFETY: this function's contract is `required`'s.
    c_int::from(unsafe { arg::required(m, func, "m") }.is_owned_by(me()))
}

/// Locks the recursive mutex. The thread that has locked it already locks it once more.
///
/// @param m  The mutex; all-zero is free. Borrowed, must not move while in use. NULL is fatal.
///
/// Errors:  none.
/// Blocks:  until no other thread has it. An attached caller is detached while it sleeps, and attached
///          again before the return, which may never come once the interpreter finalizes. Signals do not end
///          the wait.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.13.
///
/// # Safety
/// `m` points to a mutex that outlives the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyRecursiveMutex_Lock(m: *mut _PyRecursiveMutex) {
    // SAFETY: this function's contract is `required`'s.
    let mutex = unsafe { arg::required(m, c"_PyRecursiveMutex_Lock", "m") };
    mutex.lock(me(), &mut Detach::new());
}

/// Locks the recursive mutex, with a time limit and a choice of how to wait.
///
/// @param m  The mutex; all-zero is free. Borrowed, must not move while in use. NULL is fatal.
/// @param timeout  Nanoseconds; negative waits without limit, 0 only tries.
/// @param flags    As _PyMutex_LockTimed() takes them.
/// @return PY_LOCK_ACQUIRED, always if the calling thread has it already; PY_LOCK_FAILURE when the time passed,
///         never early; PY_LOCK_INTR when a signal ended the wait.
///
/// Errors:  as above; the error indicator is set if a pending call raised.
/// Blocks:  up to `timeout`; an attached caller with `_PY_LOCK_DETACH` also until it is attached again.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.14.
///
/// # Safety
/// `m` points to a mutex that outlives the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyRecursiveMutex_LockTimed(
    m: *mut _PyRecursiveMutex,
    timeout: PyTime_t,
    flags: _PyLockFlags,
) -> PyLockStatus {
    // SAFETY: this function's contract is `required`'s.
    let mutex = unsafe { arg::required(m, c"_PyRecursiveMutex_LockTimed", "m") };
    mutex.lock_timed(me(), Deadline::after(timeout), &mut ByRules::new(rules(flags))).into()
}

/// Unlocks the recursive mutex once. It is free when the calling thread has unlocked it as often as
/// it locked it.
///
/// @param m  The mutex; all-zero is free. Borrowed, must not move while in use. NULL is fatal.
///
/// Errors:  aborts with "unlocking a recursive mutex that is not owned by the current thread" if that is so, in
///          every build.
/// Blocks:  never.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.13.
///
/// # Safety
/// `m` points to a mutex that outlives the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyRecursiveMutex_Unlock(m: *mut _PyRecursiveMutex) {
    // SAFETY: this function's contract is `required`'s.
    let mutex = unsafe { arg::required(m, c"_PyRecursiveMutex_Unlock", "m") };
    must(
        mutex.unlock(me()),
        c"_PyRecursiveMutex_Unlock",
        "unlocking a recursive mutex that is not owned by the current thread",
    );
}

/// Unlocks the recursive mutex once if the calling thread has locked it.
///
/// @param m  The mutex; all-zero is free. Borrowed, must not move while in use. NULL is fatal.
/// @return 0, or -1 if the calling thread does not have the mutex; nothing changed then.
///
/// Errors:  -1 as above; no error indicator is set.
/// Blocks:  never.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.14.
///
/// # Safety
/// `m` points to a mutex that outlives the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyRecursiveMutex_TryUnlock(m: *mut _PyRecursiveMutex) -> c_int {
    // SAFETY: this function's contract is `required`'s.
    match unsafe { arg::required(m, c"_PyRecursiveMutex_TryUnlock", "m") }.unlock(me()) {
        Ok(()) => 0,
        Err(_) => -1,
    }
}
