//! For runtimes that are not Python: what CPython keeps internal, or does not have, as public calls (extension API 11).

use core::ffi::{CStr, c_char, c_int, c_void};
use core::sync::atomic::Ordering::Acquire;

use super::arg;
use super::pytime::PyTime_t;
use crate::life::visit;
use crate::probe::{self, Point};
use crate::sched::misuse::misuse;
use crate::sched::stw::{self, Scope};
use crate::sched::thread_calls::{How, Outcome};
use crate::sched::{async_exc, gil, raise, thread_calls, thread_end};
use crate::state::error_kind::ExceptionKind;
use crate::state::handle::{Handle, PyThreadHandle};
use crate::state::interp::Interp;
use crate::state::object::PyObject;
use crate::state::public::{PyInterpreterState, PyThreadState};
use crate::state::thread::ThreadStateRef;
use crate::sync::event::PyEvent;

/// The scope of a pause: the interpreter, or all of them for NULL.
///
/// # Safety
/// `interp` is NULL or came from the library.
unsafe fn scope(interp: *mut PyInterpreterState) -> Scope {
    // SAFETY: this function's contract.
    unsafe { Interp::from_ptr(interp) }.map_or(Scope::All, Scope::One)
}

/// Stops every thread state of an interpreter, or of all interpreters, except the caller's.
///
/// When the call returns, no other thread of the scope is attached, and none can attach until PyTState_StartTheWorld().
/// This holds in every mode, with a GIL and without.
///
/// The lists of thread states of the scope stand still: this thread, and others on its behalf, may walk them. A state that
/// a detached thread makes meanwhile is put into its list when the pause ends; one that a detached thread deletes stays in
/// its list, and its memory valid, until the pause ends. A thread that would make or delete an interpreter waits for the end
/// of a pause of all, or of that interpreter. The calling thread changes the lists at once.
///
/// @param interp_or_NULL  The interpreter; NULL for all. Borrowed. Not deleted before the restart.
/// @return 0; -1 with RuntimeError (if a state is attached) when this thread has stopped a world already: pauses do not nest.
///
/// Errors:  -1 as above.
/// Blocks:  until every attached thread of the scope has polled (PyTState_Poll()), detached or ended. An attached caller may
///          be detached meanwhile and is attached on return; see PyTState_SetLateAttachPolicy() if its interpreter ends while
///          it waits.
/// Threads: any: attached, detached or without a state. Until the restart the caller attaches no other state, and waits for
///          nothing that an attached thread may hold. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  pytstate; _PyEval_StopTheWorld() is the same under CPython's internal name.
///
/// # Safety
/// `interp_or_NULL` is NULL or an interpreter that is not deleted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_StopTheWorld(interp_or_NULL: *mut PyInterpreterState) -> c_int {
    if stw::is_requester() {
        raise::raise(ExceptionKind::Runtime, c"this thread has stopped the world already");
        return -1;
    }
    // SAFETY: this function's contract.
    stw::stop(unsafe { scope(interp_or_NULL) });
    0
}

/// Ends the pause that PyTState_StopTheWorld() began.
///
/// @param interp_or_NULL  What the matching call was given. Borrowed.
///
/// Errors:  misuse, and nothing happens, if there is no such pause.
/// Blocks:  no.
/// Threads: the one that stopped the world, or one that acts for it. Not async-signal-safe.
/// Source:  pytstate.
///
/// # Safety
/// `interp_or_NULL` is NULL or an interpreter that is not deleted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_StartTheWorld(interp_or_NULL: *mut PyInterpreterState) {
    // SAFETY: this function's contract.
    let scope = unsafe { scope(interp_or_NULL) };
    if stw::is_requested(scope) {
        stw::start(scope);
    } else {
        misuse(c"PyTState_StartTheWorld", format_args!("the world was not stopped"));
    }
}

/// Calls a function for every thread state of an interpreter, or of all interpreters, once.
///
/// No state of the scope is made or goes during the visit: states that other threads make meanwhile join at its end, and states
/// that they delete leave then; a thread that would make or end an interpreter waits. The threads themselves go on, unless the
/// caller has stopped the world, whose pause then has to cover what is visited.
///
/// @param interp_or_NULL  The interpreter; NULL for all. Borrowed; not ended during the visit.
/// @param visit           The visitor: gets a state, newest first in each interpreter, and `arg`; a result other than 0 ends the
///                        visit. No lock of the library is held in it. Must not be NULL.
/// @param arg             For `visit`. Borrowed.
///
/// Errors:  fatal if `visit` is NULL, and on what docs/shutdown.md lists for a visitor; misuse, and nothing is visited, inside of
///          the caller's own pause or visit of another interpreter.
/// Blocks:  until other pauses and visits of the scope are over, detached; then as long as the visitor does.
/// Threads: any: attached, detached or without a state. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  pytstate.
///
/// # Safety
/// `interp_or_NULL` is NULL or an interpreter that is not deleted; `arg` is what `visit` expects.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_VisitThreads(
    interp_or_NULL: *mut PyInterpreterState,
    visit: Option<unsafe extern "C" fn(*mut PyThreadState, *mut c_void) -> c_int>,
    arg: *mut c_void,
) {
    const FUNC: &CStr = c"PyTState_VisitThreads";
    let Some(function) = visit else { arg::null(FUNC, "visit") };
    // SAFETY: this function's contract.
    let interp = unsafe { Interp::from_ptr(interp_or_NULL) };
    // SAFETY: the host's function and argument; no lock is held.
    let one = |tstate: ThreadStateRef| unsafe { function(tstate.as_ptr(), arg) } != 0;
    if visit::visit(interp, one).is_err() {
        misuse(FUNC, format_args!("this thread holds a pause or a visit of another scope"));
    }
}

/// PyTState_RunOnThread() flag: wait until the function was run.
pub const PyTState_RUN_WAIT: c_int = 1;
/// PyTState_RunOnThread() flag: the caller runs the function if the state is detached.
pub const PyTState_RUN_DETACHED_TOO: c_int = 2;

/// Runs a function on the thread of a state, or queues it for that thread.
///
/// The thread of the state runs what is queued at its next poll (PyTState_Poll()), attached, in the order in which it was queued,
/// at most 100 functions in a poll. The function may be queued before the thread first attaches. If a function returns other than
/// 0, the poll returns -1 with the error indicator as the function left it, and the rest runs at the next poll.
///
/// With PyTState_RUN_DETACHED_TOO, the calling thread runs the function itself, at once, if the state is detached and its thread is
/// not about to attach it. The state cannot be attached until the function has returned, and no pause, no visit and no end of an
/// interpreter goes on meanwhile, so that the function should be short. It runs attached if the caller is attached. If the state
/// is attached, the function is queued, and a caller that waits goes on looking whether it is detached.
///
/// With either flag, a caller whose attached state `tstate` is runs the function at once.
///
/// What is queued is dropped, not run, when the state is cleared or deleted, or given up at finalization. In a fork child, what
/// is queued for a state that is kept stays queued, unless a thread waited for it.
///
/// @param tstate  The state. Must not be NULL. Borrowed; it lives, or was deleted in this life of the runtime and its memory
///                belongs to no newer state.
/// @param fn      The function: returns 0, or another value for an error. Must not be NULL.
/// @param arg     For `fn`. Borrowed until `fn` has run or was dropped. With PyTState_RUN_WAIT that is so when the call returns.
/// @param flags   0, PyTState_RUN_WAIT, PyTState_RUN_DETACHED_TOO, or both.
/// @return 0: `fn` was run, or is queued; 1: the state goes or is gone, and `fn` was not run, or ended its thread;
///         -1 with the error indicator set (if a state is attached): see Errors.
///
/// Errors:  fatal if `tstate` or `fn` is NULL, and on what docs/shutdown.md lists for `fn`. -1: ValueError on other flags;
///          MemoryError; RuntimeError if the caller would wait for itself, because the thread of the state is its own or is
///          stopped by its pause; the error of `fn`, if the calling thread ran it.
/// Blocks:  with PyTState_RUN_WAIT until `fn` was run or dropped, detached: without end if two threads wait for each other, and
///          one of them without PyTState_RUN_DETACHED_TOO. With PyTState_RUN_DETACHED_TOO until pauses and visits are over, and
///          as long as `fn` does. See PyTState_SetLateAttachPolicy() if the caller's interpreter ends while it waits.
/// Threads: any: attached, detached or without a state. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  pytstate.
///
/// # Safety
/// `tstate` is NULL or as above; `arg` is what `fn` expects.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_RunOnThread(
    tstate: *mut PyThreadState,
    r#fn: Option<unsafe extern "C" fn(*mut c_void) -> c_int>,
    arg: *mut c_void,
    flags: c_int,
) -> c_int {
    const FUNC: &CStr = c"PyTState_RunOnThread";
    // SAFETY: this function's contract.
    let tstate = unsafe { arg::state(tstate, FUNC) };
    let Some(function) = r#fn else { arg::null(FUNC, "fn") };
    if flags & !(PyTState_RUN_WAIT | PyTState_RUN_DETACHED_TOO) != 0 {
        raise::raise(ExceptionKind::Value, c"unknown flags");
        return -1;
    }
    let how = How {
        wait: flags & PyTState_RUN_WAIT != 0,
        handshake: flags & PyTState_RUN_DETACHED_TOO != 0,
    };
    match thread_calls::run(tstate, function, arg, how) {
        Outcome::Done | Outcome::RanHere { failed: false } => 0,
        Outcome::Gone => 1,
        Outcome::RanHere { failed: true } => -1,
        Outcome::NoMemory => {
            raise::raise(ExceptionKind::Memory, c"");
            -1
        }
        Outcome::Deadlock => {
            raise::raise(ExceptionKind::Runtime, c"this thread would wait for itself");
            -1
        }
    }
}

/// Returns the host's bytes beside an interpreter (PyTState_Config.interp_host_size), zeroed when it was made.
///
/// @param interp  The interpreter. Must not be NULL. Borrowed.
/// @return The bytes, aligned for any type; NULL if the host asked for none. Valid until PyTState_Config.interp_fini has
///         returned for the interpreter.
///
/// Errors:  fatal if NULL.
/// Blocks:  no.
/// Threads: any, while the interpreter lives. Async-signal-safe.
/// Source:  pytstate.
///
/// # Safety
/// `interp` is NULL or an interpreter that is not deleted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_InterpHostData(interp: *mut PyInterpreterState) -> *mut c_void {
    // SAFETY: this function's contract.
    let interp = unsafe { arg::interp(interp, c"PyTState_InterpHostData") };
    interp.host_data.load(Acquire)
}

/// Sets how long a waiting thread lets another one keep the GIL before it asks for it.
///
/// @param interp  The interpreter whose GIL is meant. Must not be NULL. Borrowed. Interpreters that share a GIL share its
///                interval.
/// @param ns      The interval in nanoseconds, at least 1; rounded up to whole microseconds, at most about 71 minutes.
/// @return 0; -1 with ValueError (if a state is attached) when `ns` is not positive.
///
/// Errors:  fatal if NULL; -1 as above. Without a GIL nothing happens.
/// Blocks:  no.
/// Threads: any, attached or not. Async-signal-safe.
/// Source:  pytstate.
///
/// # Safety
/// `interp` is NULL or an interpreter that is not deleted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_SetSwitchInterval(
    interp: *mut PyInterpreterState,
    ns: PyTime_t,
) -> c_int {
    const FUNC: &CStr = c"PyTState_SetSwitchInterval";
    // SAFETY: this function's contract.
    let interp = unsafe { arg::interp(interp, FUNC) };
    if ns <= 0 {
        raise::raise(ExceptionKind::Value, c"the switch interval must be positive");
        return -1;
    }
    let us = ns / 1000 + i64::from(ns % 1000 != 0);
    gil::set_interval_of(interp, u32::try_from(us).unwrap_or(u32::MAX));
    0
}

/// Returns the switch interval of an interpreter's GIL.
///
/// @param interp  The interpreter. Must not be NULL. Borrowed.
/// @return Nanoseconds; 5,000,000 unless it was set, also for an interpreter without a GIL.
///
/// Errors:  fatal if NULL.
/// Blocks:  no.
/// Threads: any, attached or not. Async-signal-safe.
/// Source:  pytstate.
///
/// # Safety
/// `interp` is NULL or an interpreter that is not deleted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_GetSwitchInterval(interp: *mut PyInterpreterState) -> PyTime_t {
    // SAFETY: this function's contract.
    let interp = unsafe { arg::interp(interp, c"PyTState_GetSwitchInterval") };
    i64::from(gil::interval_of(interp)) * 1000
}

/// Leaves an exception with a thread state: its thread raises it at its next poll.
///
/// The exception may be left before the thread first attaches. It replaces one that was left before and not raised yet.
///
/// @param tstate       The state. Must not be NULL. Borrowed; it lives, or was deleted in this life of the runtime and its
///                     memory belongs to no newer state.
/// @param exc_or_NULL  The exception: a PyExc_* global or an object of the host, of which a new reference is taken. NULL takes
///                     back what was left.
/// @return 1 if it was left; 0 if the state is being cleared or was deleted.
///
/// Errors:  fatal if nothing is attached or `tstate` is NULL; 0 as above.
/// Blocks:  no; a host's destructor may run for the exception that is replaced.
/// Threads: attached, to any interpreter. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  pytstate; PyThreadState_SetAsyncExc() names the thread instead of the state.
///
/// # Safety
/// `tstate` is NULL or as above; `exc_or_NULL` is NULL, a PyExc_* global or a live object of the host.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_SetAsyncExc(
    tstate: *mut PyThreadState,
    exc_or_NULL: *mut PyObject,
) -> c_int {
    const FUNC: &CStr = c"PyTState_SetAsyncExc";
    arg::attached(FUNC);
    // SAFETY: this function's contract.
    let tstate = unsafe { arg::state(tstate, FUNC) };
    c_int::from(async_exc::send_to(tstate, exc_or_NULL))
}

/// Returns the handle of a thread that the library started, found by the id of its thread state.
///
/// PyTState_Census(), PyTState_WaitForThreads() and PyThreadState_GetID() tell ids. No two states of an interpreter have the same
/// id, so that the call is safe at any moment in the life of the thread: it finds the thread, or it finds none.
///
/// @param interp  The interpreter of the state. Must not be NULL. Borrowed.
/// @param id      The id, PyTState_ThreadInfo.id.
/// @return The handle, a new reference for PyThreadHandle_Decref(); NULL without an error if the library started no thread with
///         that state, or has joined it since.
///
/// Errors:  fatal if `interp` is NULL.
/// Blocks:  no.
/// Threads: any, attached or not, while the interpreter lives. Not async-signal-safe. In a fork child, after
///          PyOS_AfterFork_Child().
/// Source:  pytstate.
///
/// # Safety
/// `interp` is NULL or an interpreter that is not deleted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_HandleOf(
    interp: *mut PyInterpreterState,
    id: u64,
) -> *mut PyThreadHandle {
    // SAFETY: this function's contract.
    let interp = unsafe { arg::interp(interp, c"PyTState_HandleOf") };
    thread_end::handle_of(interp, id).map_or(core::ptr::null_mut(), Handle::as_ptr)
}

/// Sets an event and wakes every thread that waits for it in PyEvent_Wait() or PyEvent_WaitTimed().
///
/// Setting an event that is set already has no effect. Once it is set the call does not touch the event any more, so that a
/// thread that waited for it may free it.
///
/// @param event  The event; all-zero is one that is not set. Must not be NULL. Borrowed.
///
/// Errors:  fatal if NULL.
/// Blocks:  never.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  pytstate; _PyEvent_Notify() is the same under CPython's internal name.
///
/// # Safety
/// `event` is NULL or points to an event.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_EventSet(event: *mut PyEvent) {
    // SAFETY: this function's contract.
    unsafe { arg::required(event, c"PyTState_EventSet", "event") }.set();
    probe::point(Point::EventSet);
}

/// Returns the version of the library that runs, which may be newer than the header that a program was compiled with.
///
/// @return A text such as "0.1.0", as the macro PYTSTATE_VERSION of that version. Static; never NULL.
///
/// Errors:  none.
/// Blocks:  never.
/// Threads: any, at any time. Async-signal-safe.
/// Source:  pytstate.
#[unsafe(no_mangle)]
pub extern "C" fn PyTState_Version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}
