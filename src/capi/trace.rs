//! The lifecycle trace: a timeline for Chrome and Perfetto (`docs/trace.md`).

use core::ffi::{CStr, c_char, c_int};

use crate::os::errno;
use crate::probe::trace::{self, TraceError};

/// 0, or -1 with `errno` where the OS has a say in it.
fn encode(result: Result<(), TraceError>) -> c_int {
    match result {
        Ok(()) => 0,
        Err(TraceError::Os(number)) => {
            errno::set(number);
            -1
        }
        Err(TraceError::Running | TraceError::NotRunning | TraceError::BadPath) => -1,
    }
}

/// Starts to write a timeline of all threads' and interpreters' lives to a file.
///
/// The file is a JSON array that chrome://tracing and Perfetto read. It is complete after PyTState_TraceStop(),
/// after a finalization, and after an exit(). PYTSTATE_TRACE=path in the environment starts a trace
/// without this call.
///
/// @param path  The file, created with mode 0600 or emptied; "%p" in it stands for the process's id. Borrowed. NULL is
///              an error.
/// @return 0, or -1: a trace is running already; `path` is NULL, empty or longer than 1023 bytes; the file
///         cannot be created or written (errno says why: ELOOP for a link in a folder that all can write, EACCES also
///         for another user's file in such a folder).
///
/// Errors:  -1 as above; no error indicator is set.
/// Blocks:  for the file, without detaching.
/// Threads: any, with or without a thread state. Not async-signal-safe. In a fork child, after
///          PyOS_AfterFork_Child(): the child's own trace. The parent's goes on in the parent alone.
/// Source:  pytstate.
///
/// # Safety
/// `path` is NULL or a NUL-terminated string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_TraceStart(path: *const c_char) -> c_int {
    if path.is_null() {
        return -1;
    }
    // SAFETY: not NULL, so a string by this function's contract.
    let path = unsafe { CStr::from_ptr(path) };
    encode(trace::start(path))
}

/// Ends the trace: writes what is left and closes the file.
///
/// @return 0, or -1: no trace is running; or something could not be written (errno says why) and the file
///         lacks events.
///
/// Errors:  -1 as above; no error indicator is set.
/// Blocks:  for the file, without detaching.
/// Threads: any, with or without a thread state. Not async-signal-safe. In a fork child, after
///          PyOS_AfterFork_Child().
/// Source:  pytstate.
#[unsafe(no_mangle)]
pub extern "C" fn PyTState_TraceStop() -> c_int {
    encode(trace::stop())
}
