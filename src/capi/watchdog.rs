//! Naming threads that keep others waiting.

use core::ffi::c_int;

use super::pytime::PyTime_t;
use crate::sched::watchdog;

/// Sets the time limit after which the library names threads that keep others waiting: a thread
/// that holds the GIL, and a thread that does not stop for a pause.
///
/// A line such as "pytstate: thread 'db-pool-3' (tid 4711, state 5 of interp 0) has held the GIL
/// for 5.0 s, attached at pool.c:88" is written when a thread waits for a GIL that has not been
/// released for `limit`, or "pytstate: a pause has waited 5.0 s for thread ..." when a stop of the
/// world has waited that long; again after each further `limit`. There is no extra thread: the
/// waiting threads check. Places are those of PyTState_Here(), names those of PyTState_SetName().
///
/// @param limit  Nanoseconds; 0 or less: no reports (the default).
/// @param fd     File descriptor to write to.
/// @return 0.
///
/// Errors:  none; a write error is ignored.
/// Blocks:  never. Reports are written as write(2) does, by the thread that waits, which holds no lock meanwhile.
/// Threads: any, any time; for all interpreters. Async-signal-safe. Overrides PYTSTATE_WATCHDOG of the environment.
/// Source:  pytstate.
///
/// # Safety
/// None.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyTState_SetWatchdog(limit: PyTime_t, fd: c_int) -> c_int {
    watchdog::set(limit, fd);
    0
}
