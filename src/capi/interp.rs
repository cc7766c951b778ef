//! Interpreter states: the interpreter part of CPython's pystate.h.

use super::arg;
use crate::life::interp::lifecycle::{self, DeleteError, NewInterpError};
use crate::life::report::reporter::Reporter;
use crate::life::threads::wait::{self, Blocked};
use crate::os::clock::Deadline;
use crate::sched::callout::Ends;
use crate::sched::fatal::fatal;
use crate::sched::raise;
use crate::state::config::{GilKind, PyInterpreterConfig};
use crate::state::error_kind::ExceptionKind;
use crate::state::interp::Interp;
use crate::state::object::PyObject;
use crate::state::public::PyInterpreterState;
use crate::state::public::PyThreadState;
use crate::state::runtime::RUNTIME;
use crate::state::thread::ThreadStateRef;
use core::ffi::{CStr, c_int, c_ulong};
use core::sync::atomic::Ordering::{Acquire, Relaxed};

/// Makes an interpreter state without thread states. Most hosts want Py_NewInterpreterFromConfig().
///
/// @return The interpreter, owned by the runtime until PyInterpreterState_Delete(). Never NULL.
///
/// Errors:  ends the process with status 1 without memory, before the runtime was initialized, or
///          after the commit of its finalization.
/// Blocks:  no.
/// Threads: any, attached or not. Not async-signal-safe.
/// Source:  CPython 3.13. It shares the main interpreter's GIL and has the legacy settings.
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyInterpreterState_New() -> *mut PyInterpreterState {
    arg::may_make_interp(c"PyInterpreterState_New");
    const WHENCE_UNKNOWN: i64 = 0;
    let text = match lifecycle::new(&PyInterpreterConfig::LEGACY, GilKind::Shared, WHENCE_UNKNOWN) {
        Ok((interp, _)) => return interp.as_ptr(),
        Err(NewInterpError::NoMemory) => "no memory for a new interpreter",
        Err(NewInterpError::NoId) => {
            "failed to get an interpreter ID: the runtime is not initialized"
        }
        Err(NewInterpError::Refused) => "interp_init refused the interpreter",
        Err(NewInterpError::TooLate) => "the end of the runtime is committed",
    };
    super::ret::exit_with(c"PyInterpreterState_New", text)
}

/// Clears every thread state of an interpreter, then the interpreter, then runs its PyUnstable_AtExit() functions.
///
/// @param interp  The interpreter. Must not be NULL. Borrowed.
///
/// Errors:  fatal if NULL or if nothing is attached; fatal in a function of the host that the library called with a state
///          of the interpreter attached, or because it ends (docs/shutdown.md), and between the calls around a fork.
/// Blocks:  as long as the host's destructors and functions do.
/// Threads: attached, perhaps to another interpreter. Not async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// `interp` is not deleted, and no other thread runs in it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyInterpreterState_Clear(interp: *mut PyInterpreterState) {
    const FUNC: &CStr = c"PyInterpreterState_Clear";
    // SAFETY: this function's contract.
    let interp = unsafe { arg::interp(interp, FUNC) };
    let _ = arg::attached(FUNC);
    arg::may_end(FUNC, Ends::Interp(interp));
    lifecycle::clear(interp);
}

/// Deletes a cleared interpreter and the thread states that it still has. A caller attached to it is detached.
///
/// @param interp  The interpreter. Must not be NULL. Consumed.
///
/// Errors:  fatal if NULL, if it is not in the list ("NULL interpreter"), if a state of it is attached elsewhere
///          ("remaining threads"), or if it is the main one while others exist ("remaining subinterpreters"). Fatal in a
///          function of the host that the library called with a state of the interpreter attached, or because it ends
///          (docs/shutdown.md), and between the calls around a fork.
/// Blocks:  no.
/// Threads: any. Not async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// `interp` is not deleted, and neither it nor its states are used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyInterpreterState_Delete(interp: *mut PyInterpreterState) {
    const FUNC: &CStr = c"PyInterpreterState_Delete";
    // SAFETY: this function's contract.
    let interp = unsafe { arg::interp(interp, FUNC) };
    arg::may_end(FUNC, Ends::Interp(interp));
    match lifecycle::delete(interp) {
        Ok(()) => {}
        Err(DeleteError::Unlisted) => {
            fatal(FUNC, format_args!("NULL interpreter (it is not in the list)"))
        }
        Err(DeleteError::RemainingThreads) => fatal(FUNC, format_args!("remaining threads")),
        Err(DeleteError::RemainingInterpreters) => {
            fatal(FUNC, format_args!("remaining subinterpreters"))
        }
    }
}

/// Returns the id of an interpreter.
///
/// @param interp  The interpreter, or NULL. Borrowed.
/// @return Its id, 0 for the main one; -1 with RuntimeError if `interp` is NULL.
///
/// Errors:  -1 as above.
/// Blocks:  no.
/// Threads: any. Async-signal-safe if not NULL.
/// Source:  CPython 3.13.
///
/// # Safety
/// `interp` is NULL or came from this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyInterpreterState_GetID(interp: *mut PyInterpreterState) -> i64 {
    // SAFETY: this function's contract.
    match unsafe { Interp::from_ptr(interp) } {
        Some(interp) => interp.id(),
        None => {
            raise::raise(ExceptionKind::Runtime, c"no interpreter provided");
            -1
        }
    }
}

/// Returns the main interpreter.
///
/// @return The interpreter; NULL before initialization and after finalization. Borrowed.
///
/// Errors:  none.
/// Blocks:  no.
/// Threads: any. Async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyInterpreterState_Main() -> *mut PyInterpreterState {
    RUNTIME.main.load(Acquire).map_or(core::ptr::null_mut(), Interp::as_ptr)
}

/// Returns the newest interpreter. The call takes no lock, for debuggers.
///
/// @return The interpreter, or NULL if there is none. Borrowed.
///
/// Errors:  none.
/// Blocks:  no.
/// Threads: any, while no thread makes or deletes interpreters. Async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyInterpreterState_Head() -> *mut PyInterpreterState {
    RUNTIME.interpreters.load(Acquire).map_or(core::ptr::null_mut(), Interp::as_ptr)
}

/// Returns the next older interpreter. The call takes no lock, for debuggers.
///
/// @param interp  An interpreter. Must not be NULL. Borrowed.
/// @return The next one, or NULL at the end. Borrowed.
///
/// Errors:  fatal if NULL.
/// Blocks:  no.
/// Threads: any, while no thread makes or deletes interpreters. Async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// `interp` is in the list, and the list does not change during the walk.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyInterpreterState_Next(
    interp: *mut PyInterpreterState,
) -> *mut PyInterpreterState {
    // SAFETY: this function's contract.
    let interp = unsafe { arg::interp(interp, c"PyInterpreterState_Next") };
    interp.next.load(Relaxed).map_or(core::ptr::null_mut(), Interp::as_ptr)
}

/// Returns the newest thread state of an interpreter. The call takes no lock, for debuggers.
///
/// @param interp  An interpreter. Must not be NULL. Borrowed.
/// @return The state, or NULL if there is none. Borrowed.
///
/// Errors:  fatal if NULL.
/// Blocks:  no.
/// Threads: any, while no thread makes or deletes states. Async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// `interp` is not deleted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyInterpreterState_ThreadHead(
    interp: *mut PyInterpreterState,
) -> *mut PyThreadState {
    // SAFETY: this function's contract.
    let interp = unsafe { arg::interp(interp, c"PyInterpreterState_ThreadHead") };
    interp.threads.load(Relaxed).map_or(core::ptr::null_mut(), ThreadStateRef::as_ptr)
}

/// Returns the dictionary of an interpreter. It is made at the first call.
///
/// @param interp  The interpreter. Must not be NULL. Borrowed.
/// @return The host's dictionary (PyTState_ObjectHooks.new_dict), or NULL when the host gave no hook or it returned NULL.
///         Borrowed.
///
/// Errors:  fatal if NULL. None are set.
/// Blocks:  as long as the host's hook does.
/// Threads: attached. Not async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// `interp` is not deleted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyInterpreterState_GetDict(
    interp: *mut PyInterpreterState,
) -> *mut PyObject {
    // SAFETY: this function's contract.
    let interp = unsafe { arg::interp(interp, c"PyInterpreterState_GetDict") };
    let known = interp.dict.load(Acquire);
    if !known.is_null() {
        return known;
    }
    let Some(new_dict) = RUNTIME.objects().new_dict else {
        return core::ptr::null_mut();
    };
    // SAFETY: the host's hook; no lock held.
    let fresh = unsafe { new_dict() };
    match interp.dict.compare_exchange(
        core::ptr::null_mut(),
        fresh,
        core::sync::atomic::Ordering::AcqRel,
        Acquire,
    ) {
        Ok(_) => fresh,
        Err(other) => {
            raise::drop_reference(fresh);
            other
        }
    }
}

/// Finds an interpreter by its id.
///
/// @param id  The id.
/// @return The interpreter, or NULL with InterpreterNotFoundError. Borrowed.
///
/// Errors:  NULL as above.
/// Blocks:  no.
/// Threads: any; the error indicator needs an attached caller. Not async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyInterpreterState_LookUpID(id: i64) -> *mut PyInterpreterState {
    match lifecycle::look_up(id) {
        Some(interp) => interp.as_ptr(),
        None => {
            raise::raise(ExceptionKind::InterpreterNotFound, c"unrecognized interpreter ID");
            core::ptr::null_mut()
        }
    }
}

/// Returns whether dropping the last id reference ends the interpreter.
///
/// @param interp  The interpreter. Must not be NULL. Borrowed.
/// @return 0 or 1.
///
/// Errors:  fatal if NULL.
/// Blocks:  no.
/// Threads: any. Async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// `interp` is not deleted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyInterpreterState_RequiresIDRef(
    interp: *mut PyInterpreterState,
) -> c_int {
    // SAFETY: this function's contract.
    let interp = unsafe { arg::interp(interp, c"_PyInterpreterState_RequiresIDRef") };
    interp.requires_id_ref.load(Relaxed)
}

/// Sets whether dropping the last id reference ends the interpreter.
///
/// @param interp    The interpreter. Must not be NULL. Borrowed.
/// @param required  0: no; anything else: yes.
///
/// Errors:  fatal if NULL.
/// Blocks:  no.
/// Threads: any. Async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// `interp` is not deleted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyInterpreterState_RequireIDRef(
    interp: *mut PyInterpreterState,
    required: c_int,
) {
    // SAFETY: this function's contract.
    let interp = unsafe { arg::interp(interp, c"_PyInterpreterState_RequireIDRef") };
    interp.requires_id_ref.store(c_int::from(required != 0), Relaxed);
}

/// Returns whether an interpreter has a feature.
///
/// @param interp   The interpreter. Must not be NULL. Borrowed.
/// @param feature  One or more Py_RTFLAGS_* bits.
/// @return 1 if it has all of them, else 0.
///
/// Errors:  fatal if NULL.
/// Blocks:  no.
/// Threads: any. Async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// `interp` is not deleted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyInterpreterState_HasFeature(
    interp: *mut PyInterpreterState,
    feature: c_ulong,
) -> c_int {
    // SAFETY: this function's contract.
    let interp = unsafe { arg::interp(interp, c"_PyInterpreterState_HasFeature") };
    c_int::from(interp.has_feature(feature))
}

/// Waits until every non-daemon thread state of `interp` is deleted, except the caller's and the
/// interpreter's first one, and until the OS threads of those that this library started have
/// exited.
///
/// @param interp  The interpreter. Must not be NULL. Borrowed.
///
/// Errors:  fatal if NULL or if nothing is attached. Returns early, with the error indicator set, when a signal handler
///          or pending call fails while the main thread waits.
/// Blocks:  until they are gone, detached. Threads that start meanwhile are waited for as well.
/// Threads: attached, to any interpreter. Not async-signal-safe.
/// Source:  the first form of gh-114271; see PyTState_WaitForThreads() for a deadline and a list.
///
/// # Safety
/// `interp` is not deleted before the call returns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyInterpreterState_WaitForThreads(interp: *mut PyInterpreterState) {
    const FUNC: &CStr = c"_PyInterpreterState_WaitForThreads";
    // SAFETY: this function's contract.
    let interp = unsafe { arg::interp(interp, FUNC) };
    let _ = arg::attached(FUNC);
    let _ =
        wait::wait_for_threads(interp, Deadline::NEVER, &mut Reporter::silent(), Blocked::Leave);
}
