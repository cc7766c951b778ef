//! Pending calls and polling: CPython's ceval.h, pycore_ceval.h, and PyThreadState_SetAsyncExc() of its pystate.h.

use super::arg;
use crate::sched::async_exc;
use crate::sched::current::interp_of;
use crate::sched::drain;
use crate::sched::misuse::misuse;
use crate::sched::pending::{self, Target};
use crate::sched::poll;
use crate::state::object::PyObject;
use crate::state::pending_queue::{_Py_pending_call_func, Call, Full, MAIN_THREAD_ONLY, RAW_FREE};
use crate::state::public::PyInterpreterState;
use crate::state::public::PyThreadState;
use crate::state::runtime::RUNTIME;
use core::ffi::{CStr, c_int, c_ulong, c_void};

/// What _PyEval_AddPendingCall() returns.
pub type _Py_add_pending_call_result = c_int;

/// The call is queued.
pub const _Py_ADD_PENDING_SUCCESS: c_int = 0;
/// The queue is at its limit, or there is no memory for it.
pub const _Py_ADD_PENDING_FULL: c_int = -1;

/// Flag: only the main thread runs the call.
pub const _Py_PENDING_MAINTHREADONLY: c_int = 1;
/// Flag: free(arg) after the call, also when it failed.
pub const _Py_PENDING_RAWFREE: c_int = 2;

const _: () =
    assert!(_Py_PENDING_MAINTHREADONLY == MAIN_THREAD_ONLY && _Py_PENDING_RAWFREE == RAW_FREE);

/// Queues a call func(arg) that the main thread makes at one of its next polls in the main
/// interpreter.
///
/// Calls run in the order in which they were added, attached, with no lock of the library held. A
/// call that returns non-zero must have set the error indicator; it ends the poll, and later calls
/// stay queued. When a call returns, the state that it was called with must be attached; so it may
/// call Py_FinalizeEx() only if it ends the process afterwards, as Py_Exit() does.
///
/// @param func  What to call. Must not be NULL. It may add further calls.
/// @param arg   Passed on. Borrowed.
/// @return 0, or -1: 32 calls are queued already, or there is no memory for the queue.
///
/// Errors:  fatal if `func` is NULL, and later if the call returns without its state; -1 as above, no error indicator is
///          set. If another thread than the main one finalizes, calls that are left are forgotten.
/// Blocks:  never.
/// Threads: any, attached or not. Async-signal-safe after Py_Initialize() (it takes no lock and, but for the first
///          call of the process, no memory). In a fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.12+ (before, any thread of the current interpreter ran it).
///
/// # Safety
/// `func` may be called with `arg` until the runtime ends.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn Py_AddPendingCall(
    func: Option<unsafe extern "C" fn(*mut c_void) -> c_int>,
    arg: *mut c_void,
) -> c_int {
    let Some(func) = func else { arg::null(c"Py_AddPendingCall", "func") };
    let call = Call { func: Some(func), arg, flags: MAIN_THREAD_ONLY };
    status(pending::add(Target::MainThread, call).is_ok())
}

/// Queues a call func(arg) that a thread of the interpreter, or the main thread, makes at one of
/// its next polls.
///
/// @param interp  The interpreter: whichever of its attached threads polls first runs the call. Must not be NULL.
///                Borrowed.
/// @param func    What to call, as Py_AddPendingCall()'s. Must not be NULL.
/// @param arg     Passed on. Borrowed, or consumed with _Py_PENDING_RAWFREE.
/// @param flags   _Py_PENDING_MAINTHREADONLY: the main thread runs it, and `interp` is the main interpreter;
///                _Py_PENDING_RAWFREE: `arg` came from malloc() and is freed after the call.
/// @return _Py_ADD_PENDING_SUCCESS, or _Py_ADD_PENDING_FULL: 300 calls are queued already (32 for the main thread), or
///         there is no memory for the queue; then `arg` is still the caller's.
///
/// Errors:  fatal if `interp` or `func` is NULL; misuse if another interpreter is combined with
///          _Py_PENDING_MAINTHREADONLY; _Py_ADD_PENDING_FULL as above, no error indicator is set.
/// Blocks:  never.
/// Threads: as Py_AddPendingCall().
/// Source:  CPython 3.13.
///
/// # Safety
/// `interp` is NULL or an interpreter of this library; `func` may be called with `arg` until it ends.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyEval_AddPendingCall(
    interp: *mut PyInterpreterState,
    func: _Py_pending_call_func,
    arg: *mut c_void,
    flags: c_int,
) -> _Py_add_pending_call_result {
    const FUNC: &CStr = c"_PyEval_AddPendingCall";
    // SAFETY: this function's contract.
    let interp = unsafe { arg::interp(interp, FUNC) };
    let Some(func) = func else { arg::null(FUNC, "func") };
    let target = if flags & MAIN_THREAD_ONLY == 0 {
        Target::Interpreter(interp)
    } else {
        if RUNTIME.main_interp() != Some(interp) {
            misuse(FUNC, format_args!("interpreter {} is not the main one", interp.id()));
        }
        Target::MainThread
    };
    match pending::add(target, Call { func: Some(func), arg, flags }) {
        Ok(()) => _Py_ADD_PENDING_SUCCESS,
        Err(Full) => _Py_ADD_PENDING_FULL,
    }
}

/// Runs what is pending for the main thread: the handlers of signals that arrived, then the queued
/// calls.
///
/// @return 0: all ran, or the caller is not the main thread in the main interpreter; -1: one failed with the error
///         indicator set; what is left stays queued.
///
/// Errors:  fatal if nothing is attached; -1 as above.
/// Blocks:  as long as the calls do.
/// Threads: attached. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.13.
#[unsafe(no_mangle)]
pub extern "C" fn Py_MakePendingCalls() -> c_int {
    let tstate = arg::attached(c"Py_MakePendingCalls");
    status(pending::make_main_calls(tstate).is_ok())
}

/// Runs the calls that are queued for the interpreter of a state, at most 100. In the main thread
/// of the main interpreter it also runs what Py_MakePendingCalls() runs.
///
/// Does nothing while another thread of the interpreter, or a call on this thread, runs them.
///
/// @param tstate  The attached state. Must not be NULL. Borrowed.
/// @return 0, or -1: a call failed with the error indicator set; what is left stays queued.
///
/// Errors:  fatal if nothing is attached; misuse if `tstate` is not the attached state; -1 as above.
/// Blocks:  as long as the calls do.
/// Threads: attached. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.13.
///
/// # Safety
/// None: `tstate` is only compared.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyEval_MakePendingCalls(tstate: *mut PyThreadState) -> c_int {
    status(pending::make_pending_calls(arg::own(tstate, c"_PyEval_MakePendingCalls")).is_ok())
}

/// Runs the calls that are queued for the interpreter of a state until none is left. Failures are
/// reported and ignored.
///
/// @param tstate  The attached state. Must not be NULL. Borrowed.
///
/// Errors:  fatal if nothing is attached; misuse if `tstate` is not the attached state.
/// Blocks:  as long as the calls do: without end if each call adds another.
/// Threads: attached. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.13.
///
/// # Safety
/// None: `tstate` is only compared.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _Py_FinishPendingCalls(tstate: *mut PyThreadState) {
    drain::finish(arg::own(tstate, c"_Py_FinishPendingCalls"));
}

/// Does what the attached thread was asked to do: the poll of a host. PyTState_Poll() calls it only
/// if there is something to do.
///
/// In this order: stand while the world is stopped; handlers of signals; calls that were added; functions of
/// PyTState_RunOnThread(); let another thread have the GIL; raise an asynchronous exception.
///
/// @param tstate  The attached state. Must not be NULL. Borrowed.
/// @return 0, or -1: something failed with the error indicator set; what comes after it is left for the next poll.
///
/// Errors:  fatal if nothing is attached; misuse if `tstate` is not the attached state; -1 as above.
/// Blocks:  while the world is stopped, or another thread has the GIL; see PyTState_SetLateAttachPolicy().
/// Threads: attached. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.13.
///
/// # Safety
/// None: `tstate` is only compared.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _Py_HandlePending(tstate: *mut PyThreadState) -> c_int {
    status(poll::handle_pending(arg::own(tstate, c"_Py_HandlePending")).is_ok())
}

/// Asks another thread of the attached interpreter to raise an exception at its next poll.
///
/// Only the newest state of that thread is asked. It keeps one exception: a second call replaces the first, and the
/// state's PyThreadState_Clear() drops it.
///
/// @param id   The thread's identity, as PyThread_get_thread_ident() gave it there.
/// @param exc  A PyExc_* global or an object of the host; NULL takes back what was not raised yet. A new reference is
///             taken.
/// @return 1, or 0: no state of the interpreter belongs to such a thread.
///
/// Errors:  fatal if nothing is attached.
/// Blocks:  never; a destructor of the host may run.
/// Threads: attached. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.13.
///
/// # Safety
/// `exc` is NULL, a PyExc_* global or a live object of the host.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThreadState_SetAsyncExc(id: c_ulong, exc: *mut PyObject) -> c_int {
    let interp = interp_of(arg::attached(c"PyThreadState_SetAsyncExc"));
    c_int::from(async_exc::send(interp, id, exc))
}

fn status(ok: bool) -> c_int {
    if ok { 0 } else { -1 }
}
