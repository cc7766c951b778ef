//! Forking: the PyOS_*Fork* part of CPython's intrcheck.h.

use super::arg;
use super::pylifecycle::exit_with;
use crate::life::fork;

/// Prepares for fork(): stops every other thread of the runtime and takes its locks.
///
/// Errors:  fatal if nothing is attached.
/// Blocks:  until every attached thread has polled, detached or ended.
/// Threads: attached. Not async-signal-safe. Must be followed by fork() and PyOS_AfterFork_Parent() or _Child().
/// Source:  CPython 3.13.
///
/// # Safety
/// Until the call that follows fork(), nothing else of the library is called.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyOS_BeforeFork() {
    let _ = arg::attached(c"PyOS_BeforeFork");
    fork::before();
}

/// Goes on in the parent after fork(), also when fork() failed.
///
/// Errors:  fatal if nothing is attached.
/// Blocks:  no.
/// Threads: the one that called PyOS_BeforeFork(), attached. Not async-signal-safe.
/// Source:  CPython 3.13.
///
/// # Safety
/// PyOS_BeforeFork() was called on this thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyOS_AfterFork_Parent() {
    let _ = arg::attached(c"PyOS_AfterFork_Parent");
    fork::after_in_parent();
}

/// Makes the runtime whole in a fork child: the calling thread and its state survive, alone (docs/fork.md).
///
/// Errors:  fatal if nothing is attached. Ends the child with status 1 if the attached state is not in the main
///          interpreter.
/// Blocks:  no.
/// Threads: the only one of the child, attached. Not async-signal-safe.
/// Source:  CPython 3.13; also updates the main state, and ends other interpreters cleanly.
///
/// # Safety
/// This is the child of a fork() after PyOS_BeforeFork() on this thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyOS_AfterFork_Child() {
    match fork::survivor() {
        Some((state, true)) => {
            // SAFETY: this function's contract.
            unsafe { fork::after_in_child(state) };
        }
        Some((_, false)) => exit_with(c"PyOS_AfterFork_Child", "not main interpreter"),
        None => arg::no_state(c"PyOS_AfterFork_Child"),
    }
}

/// PyOS_AfterFork_Child() under its old name.
///
/// Errors:  as PyOS_AfterFork_Child().
/// Blocks:  no.
/// Threads: as PyOS_AfterFork_Child().
/// Source:  CPython 3.13 (deprecated there since 3.7).
///
/// # Safety
/// As PyOS_AfterFork_Child().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyOS_AfterFork() {
    // SAFETY: this function's contract.
    unsafe { PyOS_AfterFork_Child() }
}
