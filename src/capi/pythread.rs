//! Plain OS threads: the thread part of CPython's pythread.h and pycore_pythread.h. They have no thread state and no
//! handle; threads that can be waited for are PyThreadHandle's.

use super::arg;
use crate::life::threads::spawn;
use crate::os::clock::Deadline;
use crate::os::thread::{self, Join, OsThread, Reaping};
use crate::sched::current::{self, interp_of};
use crate::sched::misuse::misuse;
use core::ffi::{CStr, c_int, c_ulong, c_ulonglong, c_void};
use core::sync::atomic::Ordering::Relaxed;

/// Identity of an OS thread, in full width.
pub type PyThread_ident_t = c_ulonglong;

/// An OS thread that PyThread_start_joinable_thread() started.
pub type PyThread_handle_t = usize;

/// PYTHREAD_INVALID_THREAD_ID of the header.
const INVALID: c_ulong = c_ulong::MAX;

/// CPython's own lower bound of a thread's stack.
const LEAST_STACK: usize = 32 * 1024;

/// Does nothing: threads can be used at any time.
///
/// Errors:  none.
/// Blocks:  never.
/// Threads: any, attached or not, also before initialization. Async-signal-safe.
/// Source:  CPython 3.13.
#[unsafe(no_mangle)]
pub extern "C" fn PyThread_init_thread() {}

/// Starts an OS thread that runs func(arg), without a thread state. The thread cannot be joined.
///
/// Its stack is as PyThread_set_stacksize() says in the attached interpreter, else the system's default.
///
/// @param func  What to run. Must not be NULL. The thread ends when it returns, or by PyThread_exit_thread().
/// @param arg   Passed on. Borrowed.
/// @return The thread's identity, never 0, or PYTHREAD_INVALID_THREAD_ID: no memory, or the OS has no thread to give.
///
/// Errors:  fatal if `func` is NULL; PYTHREAD_INVALID_THREAD_ID as above, no error indicator is set.
/// Blocks:  never.
/// Threads: any, attached or not, also before initialization. Not async-signal-safe. In a fork child, after
///          PyOS_AfterFork_Child().
/// Source:  CPython 3.13.
///
/// # Safety
/// `func` may be called with `arg` on another thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThread_start_new_thread(
    func: Option<unsafe extern "C" fn(*mut c_void)>,
    arg: *mut c_void,
) -> c_ulong {
    let Some(func) = func else { arg::null(c"PyThread_start_new_thread", "func") };
    match thread::spawn_plain(func, arg, stack_size(), Reaping::Detached) {
        Ok(thread) => thread as c_ulong,
        Err(_) => INVALID,
    }
}

/// Starts an OS thread that runs func(arg), without a thread state, to be joined or detached exactly once.
///
/// @param func    What to run. Must not be NULL. The thread ends when it returns, or by PyThread_exit_thread().
/// @param arg     Passed on. Borrowed.
/// @param ident   Gets the thread's identity. Must not be NULL.
/// @param handle  Gets what PyThread_join_thread() and PyThread_detach_thread() take. Must not be NULL.
/// @return 0; -1: no memory, or the OS has no thread to give; then nothing was written.
///
/// Errors:  fatal if `func`, `ident` or `handle` is NULL; -1 as above, no error indicator is set.
/// Blocks:  never.
/// Threads: as PyThread_start_new_thread().
/// Source:  CPython 3.13.
///
/// # Safety
/// `func` may be called with `arg` on another thread; `ident` and `handle` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThread_start_joinable_thread(
    func: Option<unsafe extern "C" fn(*mut c_void)>,
    arg: *mut c_void,
    ident: *mut PyThread_ident_t,
    handle: *mut PyThread_handle_t,
) -> c_int {
    const FUNC: &CStr = c"PyThread_start_joinable_thread";
    let Some(func) = func else { arg::null(FUNC, "func") };
    if ident.is_null() {
        arg::null(FUNC, "ident");
    }
    if handle.is_null() {
        arg::null(FUNC, "handle");
    }
    match thread::spawn_plain(func, arg, stack_size(), Reaping::Joinable) {
        Ok(thread) => {
            // SAFETY: this function's contract.
            unsafe { ident.write(thread as PyThread_ident_t) };
            // SAFETY: this function's contract.
            unsafe { handle.write(thread as PyThread_handle_t) };
            0
        }
        Err(_) => -1,
    }
}

/// Waits until a thread that PyThread_start_joinable_thread() started has ended.
///
/// @param handle  The thread. Consumed if it succeeds.
/// @return 0, or -1: it is the calling thread, or the OS refused.
///
/// Errors:  -1 as above; no error indicator is set.
/// Blocks:  until the thread has ended, without detaching. Signals do not end the wait.
/// Threads: any, attached or not. Not async-signal-safe. A fork child cannot join the parent's threads.
/// Source:  CPython 3.13.
///
/// # Safety
/// `handle` was neither joined nor detached, and no other thread does so now.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThread_join_thread(handle: PyThread_handle_t) -> c_int {
    match thread::join(handle as OsThread, 0, Deadline::NEVER) {
        Join::Joined => 0,
        Join::TimedOut | Join::Failed => -1,
    }
}

/// Releases a thread that PyThread_start_joinable_thread() started from having to be joined: the
/// system frees it when it ends.
///
/// @param handle  The thread. Consumed.
/// @return 0, or -1: the OS refused.
///
/// Errors:  -1 as above; no error indicator is set.
/// Blocks:  never.
/// Threads: any, attached or not. Not async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// `handle` was neither joined nor detached, and no other thread does so now.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThread_detach_thread(handle: PyThread_handle_t) -> c_int {
    if thread::detach(handle as OsThread) { 0 } else { -1 }
}

/// Ends the calling OS thread. No function below it returns; thread-local destructors run.
///
/// A thread that PyThreadHandle_Start() started ends as if its function had returned: its state is attached, cleared
/// and deleted, its exit event set, and it can be joined. Every other thread must be detached and keeps whatever
/// states it has. In the main thread, the process goes on until its last thread ends.
///
/// Errors:  misuse if a state is attached that is not the thread's own: no thread could attach any
///          more.
/// Blocks:  does not return. A started thread waits for the GIL first.
/// Threads: any. Not async-signal-safe.
/// Source:  CPython 3.13 (deprecated since 3.14), where the states of a thread that ends so are never deleted.
///
/// # Safety
/// The functions below the caller need not return.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThread_exit_thread() -> ! {
    if let Err(other) = spawn::end_current() {
        misuse(
            c"PyThread_exit_thread",
            format_args!("thread state {:p} is still attached", other.as_ptr()),
        );
    }
    thread::exit_thread()
}

/// Puts the calling OS thread to sleep until the process ends, without using the processor.
///
/// Errors:  misuse if a state is attached: no thread could attach any more.
/// Blocks:  does not return. Signal handlers still run.
/// Threads: any, detached. Async-signal-safe.
/// Source:  CPython 3.14 (and 3.13.8).
#[unsafe(no_mangle)]
pub extern "C" fn PyThread_hang_thread() -> ! {
    if let Some(tstate) = current::current() {
        misuse(
            c"PyThread_hang_thread",
            format_args!("thread state {:p} is still attached", tstate.as_ptr()),
        );
    }
    thread::hang()
}

/// Returns the identity of the calling OS thread.
///
/// @return Never 0, never PYTHREAD_INVALID_THREAD_ID. The OS gives it to a new thread after this one has ended.
///
/// Errors:  none.
/// Blocks:  never.
/// Threads: any, attached or not. Async-signal-safe. A fork child's thread keeps it.
/// Source:  CPython 3.13.
#[unsafe(no_mangle)]
pub extern "C" fn PyThread_get_thread_ident() -> c_ulong {
    thread::ident()
}

/// Returns the identity of the calling OS thread, in full width.
///
/// @return As PyThread_get_thread_ident().
///
/// Errors:  none.
/// Blocks:  never.
/// Threads: any, attached or not. Async-signal-safe. A fork child's thread keeps it.
/// Source:  CPython 3.13.
#[unsafe(no_mangle)]
pub extern "C" fn PyThread_get_thread_ident_ex() -> PyThread_ident_t {
    PyThread_ident_t::from(thread::ident())
}

/// Returns the kernel's number of the calling OS thread.
///
/// @return The number: no other thread of the system has it while this one lives.
///
/// Errors:  none.
/// Blocks:  never.
/// Threads: any, attached or not. Async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.13.
#[unsafe(no_mangle)]
pub extern "C" fn PyThread_get_thread_native_id() -> c_ulong {
    thread::native_id()
}

/// Returns the stack size of threads that are started from the attached interpreter.
///
/// @return Bytes; 0 is the system's default.
///
/// Errors:  fatal if nothing is attached.
/// Blocks:  never.
/// Threads: attached. Not async-signal-safe.
/// Source:  CPython 3.13.
#[unsafe(no_mangle)]
pub extern "C" fn PyThread_get_stacksize() -> usize {
    interp_of(arg::attached(c"PyThread_get_stacksize")).stack_size.load(Relaxed)
}

/// Sets the stack size of threads that are started from the attached interpreter from now on.
///
/// @param size  Bytes; 0 is the system's default.
/// @return 0; -1: less than 32 KiB or than the system's least, or the OS refuses it; then nothing changes.
///
/// Errors:  fatal if nothing is attached; -1 as above, no error indicator is set.
/// Blocks:  never.
/// Threads: attached. Not async-signal-safe.
/// Source:  CPython 3.13.
#[unsafe(no_mangle)]
pub extern "C" fn PyThread_set_stacksize(size: usize) -> c_int {
    let interp = interp_of(arg::attached(c"PyThread_set_stacksize"));
    let least = LEAST_STACK.max(thread::least_stack());
    if size != 0 && (size < least || !thread::stack_size_accepted(size)) {
        return -1;
    }
    interp.stack_size.store(size, Relaxed);
    0
}

/// What the attached interpreter wants, 0 without one.
fn stack_size() -> usize {
    current::current().map_or(0, |tstate| interp_of(tstate).stack_size.load(Relaxed))
}
