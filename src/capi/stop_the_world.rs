//! Stop-the-world pauses: that part of `internal/pycore_pystate.h`.

use core::ffi::CStr;

use super::arg;
use crate::sched::misuse::misuse;
use crate::sched::stw::{self, Scope};
use crate::state::public::PyInterpreterState;

/// CPython's process-wide state. There is one runtime in a process; pointers to it are taken and ignored.
#[repr(C)]
pub struct _PyRuntimeState {
    _opaque: [u8; 0],
}

fn stop(scope: Scope, func: &CStr) {
    if stw::is_requester() {
        misuse(func, format_args!("this thread has stopped the world already; pauses do not nest"));
    }
    stw::stop(scope);
}

fn start(scope: Scope, func: &CStr) {
    if stw::is_requested(scope) {
        stw::start(scope);
    } else {
        misuse(func, format_args!("the world was not stopped"));
    }
}

/// Stops every thread state of every interpreter, except the caller's.
///
/// On return no other thread is attached, and none can attach, in any mode, until
/// _PyEval_StartTheWorldAll(). The lists of thread states stand still: this thread, and others on
/// its behalf, may walk them. A state that another thread makes meanwhile, without being attached,
/// is put into its list when the pause ends, and is stopped until then; one that another thread
/// deletes stays in its list, and its memory valid, until the pause ends. A thread that would make
/// or delete an interpreter waits until the pause ends. The calling thread changes the lists at
/// once. Requests are served in the order of their arrival; those for different single interpreters
/// go on side by side. A thread that was kept from attaching by one pause is let in by the next
/// one, up to its first poll.
///
/// @param runtime  Ignored; may be NULL. Borrowed.
///
/// Errors:  misuse if this thread has stopped a world already: such a call would wait for itself.
/// Blocks:  until every attached thread has polled (_Py_HandlePending()), detached or ended. An attached caller may be detached
///          meanwhile, and is attached on return; see PyTState_SetLateAttachPolicy() if its interpreter ends while it waits.
/// Threads: any: attached, detached or without a state. Until the restart the caller attaches no other state, and waits for
///          nothing that an attached thread may hold. Not async-signal-safe.
/// Source:  CPython 3.14; does nothing there in builds with a GIL.
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyEval_StopTheWorldAll(runtime: *mut _PyRuntimeState) {
    let _ = runtime;
    stop(Scope::All, c"_PyEval_StopTheWorldAll");
}

/// Ends the pause that _PyEval_StopTheWorldAll() began.
///
/// @param runtime  Ignored; may be NULL. Borrowed.
///
/// Errors:  misuse, and nothing happens, if there is no such pause.
/// Blocks:  no.
/// Threads: the one that stopped the world, or one that acts for it. Not async-signal-safe.
/// Source:  CPython 3.14; does nothing there in builds with a GIL.
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyEval_StartTheWorldAll(runtime: *mut _PyRuntimeState) {
    let _ = runtime;
    start(Scope::All, c"_PyEval_StartTheWorldAll");
}

/// Stops every thread state of one interpreter, except the caller's.
///
/// As _PyEval_StopTheWorldAll(). Different interpreters may be stopped at once, by different threads.
///
/// @param interp  The interpreter. Must not be NULL. Borrowed.
///
/// Errors:  fatal if NULL; misuse if this thread has stopped a world already.
/// Blocks:  as _PyEval_StopTheWorldAll().
/// Threads: as _PyEval_StopTheWorldAll(); a caller may be attached to another interpreter.
/// Source:  CPython 3.14; does nothing there in builds with a GIL.
///
/// # Safety
/// `interp` came from this library and is not deleted before the restart.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyEval_StopTheWorld(interp: *mut PyInterpreterState) {
    const FUNC: &CStr = c"_PyEval_StopTheWorld";
    // SAFETY: this function's contract.
    stop(Scope::One(unsafe { arg::interp(interp, FUNC) }), FUNC);
}

/// Ends the pause that _PyEval_StopTheWorld() began.
///
/// @param interp  The interpreter. Must not be NULL. Borrowed.
///
/// Errors:  fatal if NULL; misuse, and nothing happens, if there is no such pause.
/// Blocks:  no.
/// Threads: as _PyEval_StartTheWorldAll().
/// Source:  CPython 3.14; does nothing there in builds with a GIL.
///
/// # Safety
/// `interp` came from this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyEval_StartTheWorld(interp: *mut PyInterpreterState) {
    const FUNC: &CStr = c"_PyEval_StartTheWorld";
    // SAFETY: this function's contract.
    start(Scope::One(unsafe { arg::interp(interp, FUNC) }), FUNC);
}
