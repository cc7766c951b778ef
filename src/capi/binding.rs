//! A thread's state kept between calls, and a state handed from one thread to another.

use core::ffi::{CStr, c_int};

use super::arg;
use crate::life::threads::keep;
use crate::life::threads::rebind::{self, RebindError};
use crate::sched::raise;
use crate::state::error_kind::ExceptionKind;
use crate::state::public::PyThreadState;

/// Switches on or off that the calling thread's state is kept between its PyGILState calls.
///
/// For a foreign thread that calls PyGILState_Ensure() and PyGILState_Release() again and again: the last Release, which would
/// clear and delete the state that Ensure made, detaches it only, and the next Ensure attaches it again, with its id, its
/// dictionary and everything else that belongs to the thread. The same holds for PyThreadState_Ensure() of the main
/// interpreter. The state is cleared and deleted when the OS thread ends, by a thread-exit destructor that attaches for that;
/// or when it is switched off; or by finalization, which never waits for it.
///
/// @param on  Not 0: keep; 0 (the default): as CPython; a kept state is deleted now.
/// @return What was set before, 1 or 0.
///
/// Errors:  none.
/// Blocks:  no when switched on. Switched off, until the GIL is free, and as long as the host's
///          destructors do; an attached caller is detached meanwhile. A thread with a kept state
///          takes the GIL when it exits: detach before you join it, or both wait for each other.
/// Threads: any, attached or not; for the calling OS thread only. Not async-signal-safe. A fork child keeps the setting of
///          the thread that forked.
/// Source:  pytstate.
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_KeepThreadState(on: c_int) -> c_int {
    c_int::from(keep::set(on != 0))
}

/// Hands a detached thread state to the calling OS thread.
///
/// From here on only the calling thread may attach it. If the thread has no state that PyGILState_Ensure() would use, this
/// becomes it; the thread that had it loses it. The main thread's state of the main interpreter may be handed on, too: until
/// the main thread gets it back, its polls do not notice signals and calls that are meant for the main thread.
///
/// @param tstate  The state. Must not be NULL. Borrowed.
/// @return 0; also if it is the caller's already. -1 with RuntimeError (if the caller is attached): it is attached, or a
///         thread is about to attach it, in a blocking region with it, or in a call of this library that detached it for
///         a while; it was cleared, deleted or left over at finalization; it is not bound yet; or it is that of a thread
///         that this library started.
///
/// Errors:  fatal if NULL. -1 as above; nothing has changed then.
/// Blocks:  never.
/// Threads: any, attached with another state or not. The threads agree on when: what the old one did with the state comes
///          before what the new one does. Not async-signal-safe.
/// Source:  pytstate; CPython binds a state for good.
///
/// # Safety
/// `tstate` came from this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_Rebind(tstate: *mut PyThreadState) -> c_int {
    // SAFETY: this function's contract.
    let tstate = unsafe { arg::state(tstate, c"PyTState_Rebind") };
    match rebind::rebind(tstate) {
        Ok(()) => 0,
        Err(error) => {
            raise::raise(ExceptionKind::Runtime, text(error));
            -1
        }
    }
}

fn text(error: RebindError) -> &'static CStr {
    match error {
        RebindError::Attached => c"the thread state is attached",
        RebindError::Awaited => c"a thread is about to attach the thread state",
        RebindError::NotUsable => c"the thread state was cleared, deleted or given up",
        RebindError::NotBound => c"the thread state belongs to no thread yet",
        RebindError::Started => c"the thread state belongs to a thread that the runtime started",
    }
}
