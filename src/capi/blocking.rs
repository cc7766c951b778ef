//! Blocking regions: a thread that waits for the outside can be woken (extension API 2).

use super::arg;
use crate::sched::misuse::misuse;
use crate::sched::region::{self, RegionError};
use crate::state::public::PyThreadState;
use crate::state::thread::ThreadStateRef;
use core::ffi::{CStr, c_int, c_void};

/// Detaches the attached state until PyTState_EndBlocking(), as PyEval_SaveThread() does, and
/// registers a function that interrupts the call in which the thread then blocks.
///
/// When the finalization of the interpreter (Py_FinalizeEx(), Py_EndInterpreter()) waits for this
/// thread because it is no daemon or opened a guard, the finalizing thread calls `ubf(arg)`; so
/// does PyTState_Unblock(). It is called again every 100 ms while the thread stays: the first call
/// may come before the thread blocks. The thread decides itself whether it continues or ends.
///
/// @param ubf  Unblock function: must make the blocking call return, soon, by a byte in a pipe, shutdown(2), pthread_kill(3)
///             or the like. Called with the caller detached, with no lock of the library held, perhaps while the thread is
///             about to block or has just stopped blocking; never after PyTState_EndBlocking() has returned. NULL: nothing
///             wakes the thread, as with PyEval_SaveThread().
/// @param arg  Passed on. Borrowed until PyTState_EndBlocking().
/// @return 0; -1 when the misuse of nesting was let pass (PyTState_Config.check_level): the caller stays attached.
///
/// Errors:  fatal if nothing is attached; misuse if the state is in a blocking region already.
/// Blocks:  no.
/// Threads: attached; detached afterwards. Not async-signal-safe.
/// Source:  pytstate; Ruby's rb_nogvl().
///
/// # Safety
/// `ubf` is NULL or may be called with `arg` on any thread, until PyTState_EndBlocking().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_BeginBlocking(
    ubf: Option<unsafe extern "C" fn(*mut c_void)>,
    arg: *mut c_void,
) -> c_int {
    const FUNC: &CStr = c"PyTState_BeginBlocking";
    let tstate = arg::attached(FUNC);
    match region::begin(tstate, ubf, arg) {
        Ok(()) => 0,
        Err(_) => {
            misuse(
                FUNC,
                format_args!("thread state {:p} is in a blocking region already", tstate.as_ptr()),
            );
            -1
        }
    }
}

/// Ends the blocking region of the calling thread: waits for an unblock function that runs at this moment, unregisters it,
/// attaches the state again. Keeps errno.
///
/// Errors:  fatal if a state other than the region's is attached; misuse if the thread is in no blocking region.
/// Blocks:  until the unblock function has returned, then until the GIL is free; see PyTState_SetLateAttachPolicy().
/// Threads: the one that called PyTState_BeginBlocking(). Not async-signal-safe.
/// Source:  pytstate; Ruby's rb_nogvl().
#[unsafe(no_mangle)]
pub extern "C" fn PyTState_EndBlocking() {
    const FUNC: &CStr = c"PyTState_EndBlocking";
    match region::end() {
        Ok(()) => {}
        Err(RegionError::OtherAttached(other)) => arg::attached_already(FUNC, Some(other)),
        Err(RegionError::Nested | RegionError::NotInside) => {
            misuse(FUNC, format_args!("the calling thread is in no blocking region"));
        }
    }
}

/// Calls the unblock function of the blocking region that `tstate` is in, on the calling thread.
///
/// @param tstate  The state. Must not be NULL. Borrowed.
/// @return 1 if the function was called; 0 if the state is in no region, gave no function, or another thread is calling it
///         at this moment.
///
/// Errors:  fatal if NULL.
/// Blocks:  as the function does, detached if the caller is attached.
/// Threads: any, attached or not. Not async-signal-safe.
/// Source:  pytstate; Ruby's Thread#wakeup.
///
/// # Safety
/// `tstate` is not deleted before the call returns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_Unblock(tstate: *mut PyThreadState) -> c_int {
    // SAFETY: this function's contract.
    let tstate: ThreadStateRef = unsafe { arg::state(tstate, c"PyTState_Unblock") };
    c_int::from(region::unblock(tstate))
}
