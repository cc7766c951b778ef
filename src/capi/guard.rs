//! PEP 788: interpreter guards and views, and attaching through them (CPython 3.15's pystate.h).
//!
//! A foreign thread takes a view while it knows the interpreter, and later attaches with PyThreadState_EnsureFromView(),
//! which returns NULL, rather than never, once the interpreter is gone.

use super::arg;
use crate::life::guards::open::{self, GuardError};
use crate::life::guards::view::{self, PyInterpreterView};
use crate::life::threads::ensure::{self, PyThreadStateToken, ReleaseError};
use crate::sched::current::interp_of;
use crate::sched::fatal::fatal;
use crate::sched::raise;
use crate::state::error_kind::ExceptionKind;
use crate::state::guard::{InterpGuard, PyInterpreterGuard};
use crate::state::public::PyInterpreterState;
use core::ffi::CStr;
use core::ptr::{self, NonNull};

/// Opens a guard on the attached interpreter, which does not commit its finalization while the
/// guard is open.
///
/// Finalization still waits for threads, runs the registered functions and ends sub-interpreters;
/// then it waits for the guard. Guards that are never closed are named by
/// PyTState_SetShutdownReport(), with the place that PyTState_Here() left.
///
/// @return The guard, or NULL with MemoryError, or with PythonFinalizationError: finalization has
///         committed, or it is throttling new guards (docs/shutdown.md) and this thread holds none.
///         Owned: any thread closes it, with PyInterpreterGuard_Close().
///
/// Errors:  fatal if nothing is attached; NULL as above.
/// Blocks:  never.
/// Threads: attached. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.15.
#[unsafe(no_mangle)]
pub extern "C" fn PyInterpreterGuard_FromCurrent() -> *mut PyInterpreterGuard {
    match open::open_current(arg::attached(c"PyInterpreterGuard_FromCurrent")) {
        Ok(guard) => guard.as_ptr(),
        Err(GuardError::NoMemory) => {
            raise::raise(ExceptionKind::Memory, c"");
            ptr::null_mut()
        }
        Err(GuardError::Unavailable) => {
            raise::raise(
                ExceptionKind::PythonFinalization,
                c"cannot guard the interpreter: it is finalizing",
            );
            ptr::null_mut()
        }
    }
}

/// Opens a guard on the interpreter that a view names.
///
/// @param view  The view. Must not be NULL. Borrowed; stays as it is.
/// @return The guard; or NULL, without an error indicator: the interpreter is gone or has committed
///         its finalization, there is no memory, or, if the caller is attached, as
///         PyInterpreterGuard_FromCurrent(). Owned: PyInterpreterGuard_Close().
///
/// Errors:  fatal if NULL; NULL as above.
/// Blocks:  not if attached. Else, while finalization throttles new guards (docs/shutdown.md), a
///          thread that holds no guard is delayed: by 5 ms at first, later by more, at most by 1.3
///          s.
/// Threads: any, attached (to any interpreter) or not, also before initialization and after
///          finalization. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.15.
///
/// # Safety
/// `view` is NULL or a view that is not closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyInterpreterGuard_FromView(
    view: *mut PyInterpreterView,
) -> *mut PyInterpreterGuard {
    // SAFETY: this function's contract.
    let view = unsafe { arg::required(view, c"PyInterpreterGuard_FromView", "view") };
    open::open_view(view).map_or(ptr::null_mut(), InterpGuard::as_ptr)
}

/// Closes a guard. Closing the last one lets a finalization that waits for guards continue.
///
/// @param guard  The guard. Must not be NULL. Consumed.
///
/// Errors:  fatal if NULL, or if the guard is closed already (which is found out unless it was opened anew meanwhile).
/// Blocks:  never.
/// Threads: any, attached or not. Not async-signal-safe. A fork child drops the guards of the
///          threads that did not survive: they protect nothing there, but can still be closed.
/// Source:  CPython 3.15, where closing twice, and guards in a fork child, are undefined.
///
/// # Safety
/// `guard` is NULL or came from this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyInterpreterGuard_Close(guard: *mut PyInterpreterGuard) {
    const FUNC: &CStr = c"PyInterpreterGuard_Close";
    // SAFETY: this function's contract.
    let guard = unsafe { required(guard, FUNC) };
    if !open::close(guard) {
        fatal(FUNC, format_args!("guard {:p} is not open", guard.as_ptr()));
    }
}

/// Returns the interpreter of an open guard.
///
/// @param guard  The guard. Must not be NULL. Borrowed.
/// @return The interpreter; NULL if it ended in spite of the guard. Borrowed.
///
/// Errors:  fatal if NULL.
/// Blocks:  never.
/// Threads: any, attached or not. Not async-signal-safe.
/// Source:  CPython 3.15.
///
/// # Safety
/// `guard` is NULL or an open guard.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyInterpreterGuard_GetInterpreter(
    guard: *mut PyInterpreterGuard,
) -> *mut PyInterpreterState {
    // SAFETY: this function's contract.
    let guard = unsafe { required(guard, c"_PyInterpreterGuard_GetInterpreter") };
    guard.interp().map_or(ptr::null_mut(), |interp| interp.as_ptr())
}

/// Returns the number of guards that are open on an interpreter.
///
/// @param interp  The interpreter. Must not be NULL. Borrowed.
/// @return The number; a snapshot.
///
/// Errors:  fatal if NULL.
/// Blocks:  never.
/// Threads: any, attached or not. Not async-signal-safe.
/// Source:  CPython 3.15.
///
/// # Safety
/// `interp` is NULL or an interpreter of this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyInterpreterState_GuardCountdown(
    interp: *mut PyInterpreterState,
) -> isize {
    // SAFETY: this function's contract.
    let interp = unsafe { arg::interp(interp, c"_PyInterpreterState_GuardCountdown") };
    interp.guards.open_now() as isize
}

/// Makes a view of the attached interpreter: a name that may outlive the interpreter. It never
/// names another interpreter, neither in this life of the runtime nor in a later one.
///
/// @return The view, or NULL with MemoryError. Owned: PyInterpreterView_Close().
///
/// Errors:  fatal if nothing is attached; NULL as above.
/// Blocks:  never.
/// Threads: attached. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child(), which keeps views.
/// Source:  CPython 3.15.
#[unsafe(no_mangle)]
pub extern "C" fn PyInterpreterView_FromCurrent() -> *mut PyInterpreterView {
    let interp = interp_of(arg::attached(c"PyInterpreterView_FromCurrent"));
    match view::make(Some(interp)) {
        Some(view) => view.as_ptr(),
        None => {
            raise::raise(ExceptionKind::Memory, c"");
            ptr::null_mut()
        }
    }
}

/// Makes a view of the main interpreter, which need not exist yet. After a finalization the view
/// names the next main interpreter.
///
/// @return The view, or NULL, without an error indicator: no memory. Owned: PyInterpreterView_Close().
///
/// Errors:  NULL as above.
/// Blocks:  never.
/// Threads: any, attached or not, also before initialization. Not async-signal-safe.
/// Source:  CPython 3.15.
#[unsafe(no_mangle)]
pub extern "C" fn PyInterpreterView_FromMain() -> *mut PyInterpreterView {
    view::make(None).map_or(ptr::null_mut(), NonNull::as_ptr)
}

/// Frees a view. Guards that were opened through it stay open.
///
/// @param view  The view. Must not be NULL. Consumed.
///
/// Errors:  fatal if NULL.
/// Blocks:  never.
/// Threads: any, attached or not, also after finalization. Not async-signal-safe.
/// Source:  CPython 3.15.
///
/// # Safety
/// `view` is NULL or a view that is not closed, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyInterpreterView_Close(view: *mut PyInterpreterView) {
    let Some(view) = NonNull::new(view) else { arg::null(c"PyInterpreterView_Close", "view") };
    // SAFETY: this function's contract.
    unsafe { view::free(view) };
}

/// Attaches the caller to the interpreter that a guard holds.
///
/// The call uses the attached state if that belongs to the interpreter. Otherwise it attaches the
/// state that this thread used last if that belongs to the interpreter, or else a new state, which
/// the outermost PyThreadState_Release() deletes. If a state of another interpreter is attached, it
/// is detached, and the release attaches it again. Calls nest.
///
/// @param guard  An open guard. Must not be NULL. Borrowed; stays open. If it is closed before the release, the thread
///               counts as a daemon: it may meet PyTState_SetLateAttachPolicy().
/// @return A token for PyThreadState_Release(), never NULL and not to be looked at; or NULL, without an error indicator:
///         no memory, or the interpreter ended in spite of the guard; then nothing was attached or detached.
///
/// Errors:  fatal if NULL; NULL as above.
/// Blocks:  until the GIL is free and no pause is on; the finalization of the interpreter waits for
///          the guard.
/// Threads: any, attached (to any interpreter) or not. Not async-signal-safe. In a fork child,
///          after PyOS_AfterFork_Child().
/// Source:  CPython 3.15.
///
/// # Safety
/// `guard` is NULL or an open guard.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThreadState_Ensure(
    guard: *mut PyInterpreterGuard,
) -> *mut PyThreadStateToken {
    // SAFETY: this function's contract.
    let guard = unsafe { required(guard, c"PyThreadState_Ensure") };
    ensure::ensure(guard).unwrap_or(ptr::null_mut())
}

/// Attaches the caller to the interpreter that a view names, as PyThreadState_Ensure() does through a guard of its own.
///
/// The state keeps that guard until the outermost PyThreadState_Release().
///
/// @param view  The view. Must not be NULL. Borrowed; stays as it is.
/// @return As PyThreadState_Ensure(); NULL also where PyInterpreterGuard_FromView() gives none.
///
/// Errors:  fatal if NULL; NULL as above.
/// Blocks:  as PyInterpreterGuard_FromView(); then until the GIL is free and no pause is on. The
///          finalization of the interpreter waits for the release.
/// Threads: any, attached (to any interpreter) or not, also before initialization and after
///          finalization. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child().
/// Source:  CPython 3.15.
///
/// # Safety
/// `view` is NULL or a view that is not closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThreadState_EnsureFromView(
    view: *mut PyInterpreterView,
) -> *mut PyThreadStateToken {
    // SAFETY: this function's contract.
    let view = unsafe { arg::required(view, c"PyThreadState_EnsureFromView", "view") };
    ensure::ensure_from_view(view).unwrap_or(ptr::null_mut())
}

/// Reverses one PyThreadState_Ensure() or PyThreadState_EnsureFromView(). The calls nest: the last
/// one is reversed first.
///
/// The outermost release clears and deletes the state if Ensure made it, closes the guard that the state keeps, and
/// attaches again what was attached before.
///
/// @param token  What the matching call returned. Must not be NULL. Consumed.
///
/// Errors:  fatal if `token` is NULL, nothing is attached, there are more releases than calls, the token cannot be the
///          matching one, or the state that would be deleted is the one with which the library called a function of the
///          host (docs/shutdown.md).
/// Blocks:  until the GIL is free, if a state is attached again; see PyTState_SetLateAttachPolicy() for a state of another
///          interpreter.
/// Threads: attached to the state that the call attached, on the same thread. Not async-signal-safe. In a fork child, after
///          PyOS_AfterFork_Child().
/// Source:  CPython 3.15, where a wrong token is undefined, and the guard is kept while a state of another interpreter is
///          attached again.
///
/// # Safety
/// `token` came from the matching call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThreadState_Release(token: *mut PyThreadStateToken) {
    const FUNC: &CStr = c"PyThreadState_Release";
    if token.is_null() {
        arg::null(FUNC, "token");
    }
    // SAFETY: this function's contract.
    match unsafe { ensure::release(token) } {
        Ok(()) => {}
        Err(ReleaseError::Needed(callout)) => arg::needed(FUNC, callout),
        Err(ReleaseError::NotAttached) => arg::no_state(FUNC),
        Err(ReleaseError::Unbalanced) => fatal(
            FUNC,
            format_args!("PyThreadState_Release() called more times than PyThreadState_Ensure()"),
        ),
        Err(ReleaseError::WrongToken) => fatal(
            FUNC,
            format_args!("token {token:p} does not belong to the PyThreadState_Ensure() undone"),
        ),
    }
}

/// A guard that may not be NULL.
///
/// # Safety
/// `pointer` is NULL or came from the library.
unsafe fn required(pointer: *mut PyInterpreterGuard, func: &CStr) -> InterpGuard {
    // SAFETY: this function's contract.
    match unsafe { InterpGuard::from_ptr(pointer) } {
        Some(guard) => guard,
        None => arg::null(func, "guard"),
    }
}
