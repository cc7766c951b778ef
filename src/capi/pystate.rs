//! Thread states: CPython's pystate.h and cpython/pystate.h.

use super::arg;
use crate::life::checks::{self, ClearRefusal, DeleteRefusal};
use crate::life::tstate::{self, Cleared, Origin};
use crate::sched::attach;
use crate::sched::current::{self, interp_of};
use crate::sched::fatal::fatal;
use crate::sched::misuse::misuse;
use crate::state::object::PyObject;
use crate::state::public::PyInterpreterState;
use crate::state::public::PyThreadState;
use crate::state::runtime::RUNTIME;
use crate::state::thread::ThreadStateRef;
use crate::state::word;
use core::ffi::{CStr, c_int};
use core::sync::atomic::Ordering::Relaxed;

/// Makes a thread state of `interp`, bound to the calling OS thread.
///
/// @param interp  Owner of the new state. Must not be NULL. Borrowed.
/// @return The state, detached (suspended while a stop-the-world pause is on), owned by the
///         interpreter until PyThreadState_Delete(); NULL if there is no memory, if the interpreter
///         is gone, or if it has committed its finalization and the caller is not the finalizing
///         thread.
///
/// Errors:  fatal if `interp` is NULL. NULL sets no error.
/// Blocks:  no.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, only after PyOS_AfterFork_Child().
/// Source:  CPython 3.13.
///
/// # Safety
/// `interp` came from this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThreadState_New(interp: *mut PyInterpreterState) -> *mut PyThreadState {
    // SAFETY: this function's contract.
    let interp = unsafe { arg::interp(interp, c"PyThreadState_New") };
    tstate::new_bound(interp, Origin::HOST).map_or(core::ptr::null_mut(), ThreadStateRef::as_ptr)
}

/// Clears a thread state: drops the references that it holds, then calls its `on_delete` hook, then
/// sets its exit event.
///
/// @param tstate  State of the interpreter that the caller is attached to. Must not be NULL. Borrowed.
///
/// Errors:  fatal if NULL, if nothing is attached, if `tstate` is attached to another thread; misuse if it was cleared
///          before or belongs to another interpreter. Fatal in a function of the host that the library called with
///          `tstate` attached, or because of it (docs/shutdown.md); and between the calls around a fork.
/// Blocks:  as long as the host's destructors and hook do.
/// Threads: attached. Not async-signal-safe. In a fork child, only after PyOS_AfterFork_Child().
/// Source:  CPython 3.13; `on_delete` as in 3.9 to 3.12; the exit event as in the first form of gh-114271.
///
/// # Safety
/// `tstate` is not deleted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThreadState_Clear(tstate: *mut PyThreadState) {
    const FUNC: &CStr = c"PyThreadState_Clear";
    // SAFETY: this function's contract.
    let tstate = unsafe { arg::state(tstate, FUNC) };
    let caller = arg::attached(FUNC);
    arg::not_forking(FUNC);
    match checks::clear(tstate, caller) {
        Ok(()) => {}
        Err(ClearRefusal::Needed(callout)) => arg::needed(FUNC, callout),
        Err(ClearRefusal::AttachedElsewhere) => {
            fatal(FUNC, format_args!("thread state {tstate:p} is attached to another thread"))
        }
        Err(ClearRefusal::OtherInterpreter) => misuse(
            FUNC,
            format_args!(
                "thread state {tstate:p} belongs to another interpreter than the attached one"
            ),
        ),
    }
    if tstate::clear(tstate) == Cleared::Before {
        misuse(FUNC, format_args!("thread state {tstate:p} was cleared before"));
    }
}

/// Reports what every deletion demands (S-DL-04). A state that was not cleared is
/// cleared after the misuse is reported, if the caller is attached.
fn check_deletable(tstate: ThreadStateRef, func: &CStr) {
    let pointer = tstate.as_ptr();
    arg::not_forking(func);
    match checks::delete(tstate) {
        Ok(()) => {}
        Err(DeleteRefusal::Deleted) => {
            fatal(func, format_args!("thread state {pointer:p} was deleted before"))
        }
        Err(DeleteRefusal::Abandoned) => {
            fatal(func, format_args!("thread state {pointer:p} was left over at finalization"))
        }
        Err(DeleteRefusal::Needed(callout)) => arg::needed(func, callout),
        Err(DeleteRefusal::BeingCleared) => {
            fatal(func, format_args!("thread state {pointer:p} is being cleared"))
        }
        Err(DeleteRefusal::NotCleared) => {
            misuse(func, format_args!("thread state {pointer:p} was not cleared"));
            if current::current().is_some() {
                let _ = tstate::clear(tstate);
            }
        }
    }
}

/// Deletes a cleared thread state that is not attached to any thread.
///
/// @param tstate  The state. Must not be NULL. Consumed.
///
/// Errors:  fatal if NULL, if it is the attached state of this or another thread, or was deleted; misuse if it was not
///          cleared (it is cleared then, if the caller is attached). Fatal while it is being cleared, in a function of
///          the host that the library called with `tstate` attached, or because of it (docs/shutdown.md), and between the
///          calls around a fork.
/// Blocks:  no.
/// Threads: any, attached or not. Not async-signal-safe. In a fork child, only after PyOS_AfterFork_Child().
/// Source:  CPython 3.13.
///
/// # Safety
/// `tstate` came from this library, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThreadState_Delete(tstate: *mut PyThreadState) {
    const FUNC: &CStr = c"PyThreadState_Delete";
    // SAFETY: this function's contract.
    let tstate = unsafe { arg::state(tstate, FUNC) };
    if current::current() == Some(tstate) {
        fatal(FUNC, format_args!("tstate {tstate:p} is still current"));
    }
    if tstate.word().load(Relaxed) == word::ATTACHED {
        fatal(FUNC, format_args!("tstate {tstate:p} is still attached to another thread"));
    }
    check_deletable(tstate, FUNC);
    tstate::delete(tstate);
}

/// Deletes the attached, cleared thread state and releases the GIL.
///
/// Errors:  fatal if nothing is attached; misuse if the state was not cleared (it is cleared then). Fatal while it is being
///          cleared, in a function of the host that the library called with the state attached (docs/shutdown.md), and
///          between the calls around a fork.
/// Blocks:  no.
/// Threads: attached; detached afterwards. Not async-signal-safe. In a fork child, only after PyOS_AfterFork_Child().
/// Source:  CPython 3.13.
///
/// # Safety
/// The state is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThreadState_DeleteCurrent() {
    const FUNC: &CStr = c"PyThreadState_DeleteCurrent";
    let tstate = arg::attached(FUNC);
    check_deletable(tstate, FUNC);
    tstate::delete_current(tstate);
}

/// Returns the attached thread state of the calling thread.
///
/// @return The state, never NULL. Borrowed.
///
/// Errors:  fatal if nothing is attached.
/// Blocks:  no.
/// Threads: attached. Async-signal-safe if attached.
/// Source:  CPython 3.13. No atomic read-modify-write: one thread-local load.
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThreadState_Get() -> *mut PyThreadState {
    arg::attached(c"PyThreadState_Get").as_ptr()
}

/// Returns the attached thread state of the calling thread, or NULL if there is none.
///
/// @return The state, or NULL when nothing is attached. Borrowed.
///
/// Errors:  none.
/// Blocks:  no.
/// Threads: any. Async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThreadState_GetUnchecked() -> *mut PyThreadState {
    current::current().map_or(core::ptr::null_mut(), ThreadStateRef::as_ptr)
}

/// Detaches the attached state of the calling thread, if any, and attaches `tstate`, if not NULL.
///
/// @param tstate  State to attach, or NULL to only detach. Borrowed. The attached state itself is detached and attached
///                again.
/// @return The state that was attached before, or NULL. Borrowed.
///
/// Errors:  fatal if `tstate` was cleared or deleted. A state of another OS thread becomes that of the caller, as with
///          PyEval_RestoreThread().
/// Blocks:  until the GIL is free and no pause is on; see PyTState_SetLateAttachPolicy() for an interpreter that
///          committed to finalization.
/// Threads: any. Not async-signal-safe. In a fork child, only after PyOS_AfterFork_Child().
/// Source:  CPython 3.13 (since 3.12 Swap takes the GIL).
///
/// # Safety
/// `tstate` is NULL, or came from this library and is not deleted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThreadState_Swap(tstate: *mut PyThreadState) -> *mut PyThreadState {
    const FUNC: &CStr = c"PyThreadState_Swap";
    // SAFETY: this function's contract.
    let next = unsafe { ThreadStateRef::from_ptr(tstate) };
    let before = current::current();
    if before.is_some_and(|before| !attach::detach_inlined(before)) {
        not_locked(FUNC);
    }
    if let Some(next) = next {
        arg::attachable(next, FUNC);
        attach::attach_inlined(next);
    }
    before.map_or(core::ptr::null_mut(), ThreadStateRef::as_ptr)
}

/// Aborts a detach whose GIL was already released elsewhere (S-FE-20).
#[cold]
pub(super) fn not_locked(func: &CStr) -> ! {
    fatal(func, format_args!("drop_gil: GIL is not locked"))
}

/// Returns the interpreter of a thread state.
///
/// @param tstate  The state. Must not be NULL. Borrowed.
/// @return Its interpreter, never NULL. Borrowed.
///
/// Errors:  fatal if NULL.
/// Blocks:  no.
/// Threads: any, also for a detached state. Async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// `tstate` is not deleted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThreadState_GetInterpreter(
    tstate: *mut PyThreadState,
) -> *mut PyInterpreterState {
    // SAFETY: this function's contract.
    let tstate = unsafe { arg::state(tstate, c"PyThreadState_GetInterpreter") };
    tstate.interp_ptr()
}

/// Returns the id of a thread state.
///
/// @param tstate  The state. Must not be NULL. Borrowed.
/// @return Its id: 1 and up, unique in its interpreter, never reused there.
///
/// Errors:  fatal if NULL.
/// Blocks:  no.
/// Threads: any, also for a detached state. Async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// `tstate` is not deleted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThreadState_GetID(tstate: *mut PyThreadState) -> u64 {
    // SAFETY: this function's contract.
    let tstate = unsafe { arg::state(tstate, c"PyThreadState_GetID") };
    tstate.id()
}

/// Returns the next older thread state of the same interpreter. The call takes no lock, for
/// debuggers.
///
/// @param tstate  A state. Must not be NULL. Borrowed.
/// @return The next one, or NULL at the end. Borrowed.
///
/// Errors:  fatal if NULL.
/// Blocks:  no.
/// Threads: any, while no thread makes or deletes states. Async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// `tstate` is linked, and the list does not change during the walk.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThreadState_Next(tstate: *mut PyThreadState) -> *mut PyThreadState {
    // SAFETY: this function's contract.
    let tstate = unsafe { arg::state(tstate, c"PyThreadState_Next") };
    tstate.next().load(Relaxed).map_or(core::ptr::null_mut(), ThreadStateRef::as_ptr)
}

/// Returns the per-thread dictionary of the attached state. It is made at the first call.
///
/// @return The host's dictionary (PyTState_ObjectHooks.new_dict), or NULL when nothing is attached, the host gave no
///         hook, or the hook returned NULL. Borrowed.
///
/// Errors:  none are set.
/// Blocks:  as long as the host's hook does.
/// Threads: any. Not async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyThreadState_GetDict() -> *mut PyObject {
    let Some(tstate) = current::current() else {
        return core::ptr::null_mut();
    };
    let known = tstate.dict().load(Relaxed);
    if !known.is_null() {
        return known;
    }
    let Some(new_dict) = RUNTIME.objects().new_dict else {
        return core::ptr::null_mut();
    };
    // SAFETY: the host's hook; attached, no lock held.
    let dict = unsafe { new_dict() };
    tstate.dict().store(dict, Relaxed);
    dict
}

/// Attaches `tstate`; the calling thread has none attached.
///
/// @param tstate  The state. Must not be NULL. Borrowed.
///
/// Errors:  fatal if NULL, if a state is attached already, if `tstate` was cleared or deleted. A state of another OS
///          thread becomes that of the caller, as with PyEval_RestoreThread().
/// Blocks:  until the GIL is free and no pause is on; see PyTState_SetLateAttachPolicy().
/// Threads: any. Not async-signal-safe. Keeps errno.
/// Source:  CPython 3.13 (pycore_pystate.h).
///
/// # Safety
/// `tstate` is not deleted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyThreadState_Attach(tstate: *mut PyThreadState) {
    const FUNC: &CStr = c"_PyThreadState_Attach";
    // SAFETY: this function's contract.
    let tstate = unsafe { arg::state(tstate, FUNC) };
    arg::attachable(tstate, FUNC);
    attach::attach(tstate);
}

/// Detaches `tstate`, the attached state of the calling thread.
///
/// @param tstate  The attached state. Must not be NULL. Borrowed.
///
/// Errors:  fatal if NULL, if it is not the attached state, or if its GIL is not locked.
/// Blocks:  no.
/// Threads: attached. Not async-signal-safe.
/// Source:  CPython 3.13 (pycore_pystate.h).
///
/// # Safety
/// `tstate` is not deleted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyThreadState_Detach(tstate: *mut PyThreadState) {
    const FUNC: &CStr = c"_PyThreadState_Detach";
    // SAFETY: this function's contract.
    let tstate = unsafe { arg::state(tstate, FUNC) };
    detach_exactly(tstate, FUNC);
}

/// Detaches `state` if it is the attached one; fatal if it is not.
pub(super) fn detach_exactly(tstate: ThreadStateRef, func: &CStr) {
    match current::current() {
        Some(now) if now == tstate => {}
        None => arg::no_state(func),
        Some(now) => fatal(
            func,
            format_args!(
                "wrong thread state: {:p} is not the attached one, {:p} is",
                tstate.as_ptr(),
                now.as_ptr()
            ),
        ),
    }
    if !attach::detach(tstate) {
        not_locked(func);
    }
}

/// Makes a thread state that is bound to no OS thread yet.
///
/// @param interp  Owner. Must not be NULL. Borrowed.
/// @return The state, or NULL without memory.
///
/// Errors:  fatal if `interp` is NULL.
/// Blocks:  no.
/// Threads: any. Not async-signal-safe.
/// Source:  CPython 3.13 (kept there for the stable ABI only). The state is bound when it is first attached.
///
/// # Safety
/// `interp` came from this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyThreadState_Prealloc(
    interp: *mut PyInterpreterState,
) -> *mut PyThreadState {
    // SAFETY: this function's contract.
    let interp = unsafe { arg::interp(interp, c"_PyThreadState_Prealloc") };
    tstate::new_unbound(interp, Origin::HOST).map_or(core::ptr::null_mut(), ThreadStateRef::as_ptr)
}

/// Aborts with a fatal error: only the library initializes thread states.
///
/// @param tstate  Ignored.
///
/// Errors:  fatal.
/// Blocks:  no.
/// Threads: any.
/// Source:  CPython 3.13 (kept there for the stable ABI only).
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _PyThreadState_Init(tstate: *mut PyThreadState) {
    fatal(c"_PyThreadState_Init", format_args!("for internal use only (thread state {tstate:p})"));
}

/// Returns whether an attached or detached state belongs to the main interpreter's main thread.
///
/// @return 1 if the calling OS thread is the main thread, else 0.
///
/// Errors:  none.
/// Blocks:  no.
/// Threads: any. Async-signal-safe.
/// Source:  CPython 3.14 (exported there; inline before).
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _Py_IsMainThread() -> c_int {
    c_int::from(RUNTIME.on_main_thread())
}

/// Returns the interpreter of the attached state.
///
/// @return The interpreter, never NULL. Borrowed.
///
/// Errors:  fatal if nothing is attached.
/// Blocks:  no.
/// Threads: attached. Async-signal-safe if attached.
/// Source:  CPython 3.13.
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyInterpreterState_Get() -> *mut PyInterpreterState {
    interp_of(arg::attached(c"PyInterpreterState_Get")).as_ptr()
}
