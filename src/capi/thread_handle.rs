//! Threads that can be joined (extension API 3).

use super::arg;
use super::pytime::PyTime_t;
use super::pytstate::name_was_cut;
use crate::life::threads::join::{self, JoinError, Joined};
use crate::life::threads::names::{self, Kept};
use crate::life::threads::spawn::{self, Daemon, StartError};
use crate::os::clock::Deadline;
use crate::sched::raise;
use crate::sched::thread_end::release_handle;
use crate::state::error_kind::ExceptionKind as Error;
use crate::state::handle::{DONE, Handle, PyThreadHandle, RUNNING};
use crate::state::public::PyInterpreterState;
use crate::state::public::PyThreadState;
use crate::state::thread::ThreadStateRef;
use core::ffi::{CStr, c_char, c_int, c_ulonglong, c_void};
use core::sync::atomic::Ordering::Acquire;

/// `PyThreadHandle_Start` flag: the runtime does not wait for the thread.
pub const PyThreadHandle_DAEMON: c_int = 1;

/// Makes a handle for a thread that is not started yet.
///
/// @return The handle with one reference, owned by the caller; NULL with MemoryError (if attached) without memory.
///
/// Errors:  NULL as above.
/// Blocks:  no.
/// Threads: any, attached or not. Not async-signal-safe.
/// Source:  pytstate; CPython's ThreadHandle (3.13).
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThreadHandle_New() -> *mut PyThreadHandle {
    match Handle::new() {
        Some(handle) => handle.as_ptr(),
        None => {
            raise::raise(Error::Memory, c"");
            core::ptr::null_mut()
        }
    }
}

/// Takes one more reference to a handle.
///
/// @param handle  The handle. Must not be NULL. Borrowed.
///
/// Errors:  fatal if NULL.
/// Blocks:  no.
/// Threads: any. Async-signal-safe.
/// Source:  pytstate.
///
/// # Safety
/// `handle` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThreadHandle_Incref(handle: *mut PyThreadHandle) {
    // SAFETY: this function's contract.
    let handle = unsafe { arg::handle(handle, c"PyThreadHandle_Incref") };
    handle.incref();
}

/// Drops one reference to a handle. If the thread is still running it continues, and the library
/// joins it itself when it has ended.
///
/// @param handle  The handle, or NULL (nothing happens). Consumed.
///
/// Errors:  none.
/// Blocks:  no.
/// Threads: any. Not async-signal-safe.
/// Source:  pytstate.
///
/// # Safety
/// `handle` is NULL or live, and the caller owns the reference.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThreadHandle_Decref(handle: *mut PyThreadHandle) {
    // SAFETY: this function's contract.
    if let Some(handle) = unsafe { Handle::from_ptr(handle) } {
        release_handle(handle);
    }
}

/// Starts an OS thread that runs `func(arg)` attached to a fresh thread state of `interp`. When `func` returns, the
/// library clears and deletes the state and ends the thread.
///
/// @param handle  A handle that was not started. Must not be NULL. Borrowed.
/// @param interp  Where the thread runs. Must not be NULL. Borrowed.
/// @param func    What it runs. Must not be NULL. It must return with its own state attached, or with none.
/// @param arg     Argument of `func`. May be NULL. Passed on.
/// @param flags   0 or PyThreadHandle_DAEMON.
/// @return 0; -1 with the error indicator set (if attached).
///
/// Errors:  fatal on NULL. -1: RuntimeError "thread already started"; RuntimeError if the
///          interpreter forbids threads, or daemon threads; PythonFinalizationError (RuntimeError
///          under the rules of 3.12) if it has committed its finalization; RuntimeError "can't
///          start new thread" if the OS has none; MemoryError; ValueError on other flags. The
///          handle is then as it was, and nothing is linked.
/// Blocks:  no.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, only after PyOS_AfterFork_Child().
/// Source:  pytstate; CPython's _thread.start_joinable_thread (3.13).
///
/// # Safety
/// The pointers are valid; `arg` is what `func` expects, for as long as it needs it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThreadHandle_Start(
    handle: *mut PyThreadHandle,
    interp: *mut PyInterpreterState,
    func: Option<unsafe extern "C" fn(*mut c_void)>,
    arg: *mut c_void,
    flags: c_int,
) -> c_int {
    const FUNC: &CStr = c"PyThreadHandle_Start";
    // SAFETY: this function's contract.
    let handle = unsafe { arg::handle(handle, FUNC) };
    // SAFETY: this function's contract.
    let interp = unsafe { arg::interp(interp, FUNC) };
    let Some(func) = func else { arg::null(FUNC, "func") };
    let kind = match flags {
        0 => Daemon::Awaited,
        PyThreadHandle_DAEMON => Daemon::Daemon,
        _ => {
            raise::raise(Error::Value, c"unknown flags");
            return -1;
        }
    };
    let error = match spawn::start(handle, interp, func, arg, kind) {
        Ok(()) => return 0,
        Err(error) => error,
    };
    let (class, text) = match error {
        StartError::AlreadyStarted => (Error::Runtime, c"thread already started"),
        StartError::ThreadsForbidden => {
            (Error::Runtime, c"threads are not supported in this interpreter")
        }
        StartError::DaemonsForbidden => {
            (Error::Runtime, c"daemon threads are not supported in this interpreter")
        }
        StartError::Finalizing => {
            (spawn::too_late_error(), c"can't create new thread at interpreter shutdown")
        }
        StartError::NoMemory => (Error::Memory, c""),
        StartError::NoThread => (Error::Runtime, c"can't start new thread"),
    };
    raise::raise(class, text);
    -1
}

/// Names a thread by its handle: before it is started, while it runs, or after it has ended.
///
/// The name appears in the census and in reports. A thread that runs is also named for the OS (the first 15 bytes), and so is
/// one that is started later.
///
/// @param handle  The handle. Must not be NULL. Borrowed.
/// @param name    The name, up to 63 bytes are kept. Must not be NULL. Copied.
/// @return 0; -1 with ValueError (if attached) when it was cut to 63 bytes: the cut name is set all the same.
///
/// Errors:  fatal if NULL. -1 as above.
/// Blocks:  no.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  pytstate.
///
/// # Safety
/// `handle` is NULL or live; `name` is NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThreadHandle_SetName(
    handle: *mut PyThreadHandle,
    name: *const c_char,
) -> c_int {
    const FUNC: &CStr = c"PyThreadHandle_SetName";
    // SAFETY: this function's contract.
    let handle = unsafe { arg::handle(handle, FUNC) };
    // SAFETY: this function's contract.
    let name = unsafe { arg::text(name, FUNC, "name") }.to_bytes();
    match names::name_thread(handle, name) {
        Kept::Whole => 0,
        Kept::Cut => name_was_cut(),
    }
}

/// Waits until the OS thread of `handle` has exited: its thread-local destructors have run, and the
/// OS does not list it any more.
///
/// @param handle      A started handle. Must not be NULL. Borrowed.
/// @param timeout_ns  Nanoseconds; negative: no limit; 0: only look.
/// @return 0 joined; 1 timed out; -1 with the error indicator set (if attached).
///
/// Errors:  fatal if NULL. -1: RuntimeError "thread not started", "cannot join current thread", "failed joining thread";
///          "cannot join thread ..." where the threads of a cycle would join each other without a limit of time: the last
///          of these joins is refused, and its message names all of them;
///          PythonFinalizationError while the runtime finalizes, under the rules of 3.14; the error of a signal handler.
/// Blocks:  until the thread has ended, detached. A thread that hangs since finalization counts as
///          joined.
/// Threads: any number at once, attached or not. Idempotent. Not async-signal-safe.
/// Source:  pytstate; CPython's ThreadHandle.join (3.13).
///
/// # Safety
/// `handle` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThreadHandle_Join(
    handle: *mut PyThreadHandle,
    timeout_ns: PyTime_t,
) -> c_int {
    // SAFETY: this function's contract.
    let handle = unsafe { arg::handle(handle, c"PyThreadHandle_Join") };
    let error = match join::join(handle, Deadline::after(timeout_ns)) {
        Ok(Joined::Gone) => return 0,
        Ok(Joined::TimedOut) => return 1,
        Err(error) => error,
    };
    match error {
        JoinError::NotStarted => raise::raise(Error::Runtime, c"thread not started"),
        JoinError::Itself => raise::raise(Error::Runtime, c"cannot join current thread"),
        JoinError::Failed => raise::raise(Error::Runtime, c"failed joining thread"),
        JoinError::Finalizing => raise::raise(
            Error::PythonFinalization,
            c"cannot join a thread while the runtime finalizes",
        ),
        JoinError::Interrupted | JoinError::Cycle => {}
    }
    -1
}

/// Returns whether the thread has finished: its exit event is set, and a join waits at most for the
/// OS.
///
/// @param handle  The handle. Must not be NULL. Borrowed.
/// @return 1 if so, else 0 (also when it was never started).
///
/// Errors:  fatal if NULL.
/// Blocks:  no.
/// Threads: any. Async-signal-safe.
/// Source:  pytstate; CPython's ThreadHandle.is_done (3.13).
///
/// # Safety
/// `handle` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThreadHandle_IsDone(handle: *mut PyThreadHandle) -> c_int {
    // SAFETY: this function's contract.
    let handle = unsafe { arg::handle(handle, c"PyThreadHandle_IsDone") };
    c_int::from(handle.exiting.is_set())
}

/// Returns the identity of the thread, which is what PyThread_get_thread_ident() returns on it.
///
/// @param handle  The handle. Must not be NULL. Borrowed.
/// @return The identity; 0 before the start. The OS may reuse it after the thread has exited.
///
/// Errors:  fatal if NULL.
/// Blocks:  no.
/// Threads: any. Async-signal-safe.
/// Source:  pytstate; CPython's ThreadHandle.ident (3.13).
///
/// # Safety
/// `handle` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThreadHandle_Ident(handle: *mut PyThreadHandle) -> c_ulonglong {
    // SAFETY: this function's contract.
    let handle = unsafe { arg::handle(handle, c"PyThreadHandle_Ident") };
    match handle.state() {
        RUNNING | DONE => c_ulonglong::from(handle.ident()),
        _ => 0,
    }
}

/// Returns the thread state of the thread.
///
/// @param handle  The handle. Must not be NULL. Borrowed.
/// @return The state; NULL before the start and once it is deleted. Borrowed: it lives until its thread deletes it.
///
/// Errors:  fatal if NULL.
/// Blocks:  no.
/// Threads: any. Async-signal-safe.
/// Source:  pytstate.
///
/// # Safety
/// `handle` is live. The caller knows by other means that the state lives on while it is used.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThreadHandle_ThreadState(
    handle: *mut PyThreadHandle,
) -> *mut PyThreadState {
    // SAFETY: this function's contract.
    let handle = unsafe { arg::handle(handle, c"PyThreadHandle_ThreadState") };
    let tstate = handle.tstate.load(Acquire);
    tstate.map_or(core::ptr::null_mut(), ThreadStateRef::as_ptr)
}
