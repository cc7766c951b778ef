//! Memory that threads read without a lock: when it may be freed. The public form of `internal/pycore_qsbr.h`.

use core::ffi::{CStr, c_int, c_void};

use super::arg;
use crate::sched::{qsbr, raise};
use crate::state::error_kind::ExceptionKind;

/// Declares that the calling thread holds no pointer that it read without a lock.
///
/// Detaching says the same. A thread that stays attached and never calls this keeps everything from being freed.
///
/// Errors:  fatal if nothing is attached.
/// Blocks:  never.
/// Threads: attached. One load and one store. Async-signal-safe.
/// Source:  CPython 3.13 (_Py_qsbr_quiescent_state()).
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_QSBR_QuiescentState() {
    qsbr::quiescent(arg::attached(c"PyTState_QSBR_QuiescentState"));
}

/// Returns a goal: the moment from which on no reader can begin to read what the caller has taken
/// out of its data structures.
///
/// @return The goal, for PyTState_QSBR_Poll(): an odd number that grows by 2 with every call in the interpreter.
///
/// Errors:  fatal if nothing is attached.
/// Blocks:  never.
/// Threads: attached; after the pointers were taken out. One atomic read-modify-write.
/// Source:  CPython 3.13 (_Py_qsbr_advance()).
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_QSBR_Advance() -> u64 {
    qsbr::advance(arg::attached(c"PyTState_QSBR_Advance"))
}

/// Returns whether every thread has stopped reading what was taken out before the goal was made.
///
/// That is when every thread state of the interpreter, the caller's included, was detached or called
/// PyTState_QSBR_QuiescentState() since. Under a GIL all others are detached at this moment: the caller's own calls decide.
///
/// @param goal  From PyTState_QSBR_Advance() in the same interpreter.
/// @return 1 if the memory may be freed (it stays 1); 0 if not yet.
///
/// Errors:  fatal if nothing is attached.
/// Blocks:  never.
/// Threads: attached. Looks at every thread state unless an earlier call saw the goal reached. Not async-signal-safe.
/// Source:  CPython 3.13 (_Py_qsbr_poll()).
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_QSBR_Poll(goal: u64) -> c_int {
    c_int::from(qsbr::poll(arg::attached(c"PyTState_QSBR_Poll"), goal))
}

/// Frees a block once no thread holds a pointer to it any more.
///
/// The block was taken out of everything that leads to it. PyTState_QSBR_Process() makes the call,
/// or the finalization of the interpreter.
///
/// @param block      The block. Passed on; may be NULL. Consumed.
/// @param free_func  What frees it, such as free(). Called attached to the same interpreter, on any of its threads, with no lock
///                   of the library held. Must not be NULL.
/// @return 0; -1 with MemoryError: the block is still the caller's.
///
/// Errors:  fatal if nothing is attached or `free_func` is NULL. -1 as above.
/// Blocks:  never.
/// Threads: attached. Not async-signal-safe. In a fork child, after PyOS_AfterFork_Child(); blocks that wait are kept.
/// Source:  CPython 3.13 (_PyMem_FreeDelayed()).
///
/// # Safety
/// `free_func` may be called with `block` until the interpreter ends.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_QSBR_FreeLater(
    block: *mut c_void,
    free_func: Option<unsafe extern "C" fn(*mut c_void)>,
) -> c_int {
    const FUNC: &CStr = c"PyTState_QSBR_FreeLater";
    let Some(free_func) = free_func else { arg::null(FUNC, "free_func") };
    if qsbr::free_later(arg::attached(FUNC), block, free_func).is_err() {
        raise::raise(ExceptionKind::Memory, c"no memory to note a block that is freed later");
        return -1;
    }
    0
}

/// Frees the blocks of PyTState_QSBR_FreeLater() to which no thread holds a pointer any more, the
/// oldest first.
///
/// A host calls it now and then, as at its polls, when the calling thread holds no pointer itself: see
/// PyTState_QSBR_QuiescentState().
///
/// @return 1 if blocks are left that have to wait, 0 if none is.
///
/// Errors:  fatal if nothing is attached.
/// Blocks:  as long as the host's functions do.
/// Threads: attached. Not async-signal-safe.
/// Source:  CPython 3.13 (_PyMem_ProcessDelayed()).
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_QSBR_Process() -> c_int {
    c_int::from(!qsbr::process(arg::attached(c"PyTState_QSBR_Process")))
}
